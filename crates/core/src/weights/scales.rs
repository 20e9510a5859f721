//! Scales of quantized weights: a weight's values are its elements times its scale.
//!
//! Beside `NAME.weight` there is `NAME.scale_weight` (ComfyUI's first form) or `NAME.weight_scale` (its second, diffusers'
//! and vLLM's), one number or one per output channel. What else such files hold is for computing in 8 bits and not needed
//! here: scales of activations, and markers. Source: `convert_old_quants` of ComfyUI's
//! `comfy/utils.py` (<https://github.com/comfyanonymous/ComfyUI>).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::file::TensorFile;
use crate::error::Result;

/// What a weight's name ends with.
const WEIGHT: &str = "weight";
/// What takes its place in the name of its scale.
const SCALES: [&str; 2] = ["scale_weight", "weight_scale"];
/// What takes its place in names of what is not needed.
const ACTIVATIONS: [&str; 2] = ["scale_input", "input_scale"];
/// What takes its place in the name of a description in JSON.
const DESCRIPTION: &str = "comfy_quant";
/// An empty tensor that says that a file has scales.
const MARKER: &str = "scaled_fp8";
/// Forms in which elements are plain 8-bit floats.
const PLAIN_FORMATS: [&str; 2] = ["float8_e4m3fn", "float8_e5m2"];
/// Bytes of a description.
const MAX_DESCRIPTION: usize = 4096;
/// The largest 16-bit float. A scale is a tensor's largest weight divided by the largest code, which is more than 1, and
/// weights are published in types that go as far.
const MAX_SCALE: f32 = 65504.0;

/// The scale of a weight: one number, or one per output channel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scale(Vec<f32>);

/// The tensors beside a weight that say how it is quantized: files by index, and names there.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    pub scale: Option<(usize, String)>,
    pub description: Option<(usize, String)>,
}

/// Takes what belongs to a weight out of `names`, the tensors and their files that have no use yet.
pub(crate) fn take(names: &mut BTreeMap<String, usize>, weight: &str) -> Beside {
    let Some(layer) = weight.strip_suffix(WEIGHT) else {
        return Beside::default();
    };
    let mut take = |last: &str| names.remove_entry(&format!("{layer}{last}"));
    ACTIVATIONS.iter().for_each(|last| drop(take(last)));
    let swap = |(name, file)| (file, name);
    Beside {
        scale: SCALES.iter().find_map(|last| take(last)).map(swap),
        description: take(DESCRIPTION).map(swap),
    }
}

/// Whether a weight of this name may have a scale.
pub(crate) fn is_weight(name: &str) -> bool {
    name.ends_with(WEIGHT)
}

/// Whether a tensor only says that there are scales.
pub(crate) fn is_marker(name: &str) -> bool {
    name.rsplit(['.', '/']).next() == Some(MARKER)
}

/// Reads the scale of a weight with `channels` outputs.
///
/// # Errors
/// [`crate::Error::Tensor`] if it is not a number from 0 to [`MAX_SCALE`] or one for each channel; [`crate::Error::Io`].
pub(crate) fn read(file: &TensorFile, name: &str, channels: usize) -> Result<Scale> {
    let Some(info) = file.tensors().get(name) else {
        return Err(file.tensor_error(name, "a scale", "none"));
    };
    let per_channel =
        |shape: &[usize]| shape.first() == Some(&channels) && shape[1..].iter().all(|&n| n == 1);
    if !info.dtype.is_float() {
        return Err(file.tensor_error(name, "a scale as F32, F16, BF16 or F64", info.dtype.name()));
    }
    if !info.shape.iter().all(|&n| n == 1) && !per_channel(&info.shape) {
        let expected = format!("a scale of shape [], [1], [{channels}] or [{channels}, 1, ...]");
        return Err(file.tensor_error(name, &expected, &format!("{:?}", info.shape)));
    }
    let values = file.read(name)?.into_data();
    match values.iter().find(|v| !(0.0..=MAX_SCALE).contains(*v)) {
        None => Ok(Scale(values)),
        Some(wrong) => {
            let expected = format!("scales from 0 to {MAX_SCALE}");
            Err(file.tensor_error(name, &expected, &wrong.to_string()))
        }
    }
}

/// Refuses a description of anything but plain 8-bit floats.
///
/// # Errors
/// [`crate::Error::Tensor`]; [`crate::Error::Io`].
pub(crate) fn check_description(file: &TensorFile, name: &str) -> Result<()> {
    #[derive(Deserialize)]
    struct Description {
        format: String,
        /// Whether channels were rotated before they were quantized.
        #[serde(default)]
        convrot: bool,
    }
    let expected = format!("the format {}", PLAIN_FORMATS.join(" or "));
    let wrong = |got: &str| file.tensor_error(name, &expected, got);
    let size = file
        .tensors()
        .get(name)
        .map(|info| info.shape.iter().product::<usize>());
    if size.is_none_or(|size| size > MAX_DESCRIPTION) {
        return Err(wrong("no short text"));
    }
    let (_, _, bytes) = file.read_bytes(name)?;
    let found: Description =
        serde_json::from_slice(&bytes).map_err(|e| wrong(&format!("no such JSON ({e})")))?;
    match PLAIN_FORMATS.contains(&found.format.as_str()) {
        true if found.convrot => Err(wrong("rotated channels (convrot)")),
        true => Ok(()),
        false => Err(wrong(&found.format)),
    }
}

impl Scale {
    /// Multiplies the weight's values, the first axis being its output channels.
    pub fn apply(&self, values: &mut [f32]) {
        let channel = values.len().checked_div(self.0.len()).unwrap_or(0).max(1);
        for (values, scale) in values.chunks_mut(channel).zip(&self.0) {
            values.iter_mut().for_each(|v| *v *= scale);
        }
    }

    /// The scale of some output channels.
    pub fn of(&self, channels: &[usize]) -> Self {
        let one = |&channel: &usize| match self.0[..] {
            [all] => all,
            _ => self.0.get(channel).copied().unwrap_or(f32::NAN),
        };
        Self(channels.iter().map(one).collect())
    }
}
