//! Opens a latent file: which tensor it is, what the file says of itself, and whether the values can be decoded.

use std::path::{Path, PathBuf};

use vae2x_core::latent::Space;
use vae2x_core::weights::{DType, Format, TensorFile, TensorInfo};
use vae2x_core::{Array, Error, Result};

use super::layout;
use super::names::{COMFY_TENSOR, COMFY_VERSION, LATENTS, SPACE_MARKER};
use crate::picture::COMFY_TEXTS;
use crate::pixels::require_finite;

/// What the caller knows of a latent file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatentOptions {
    /// The tensor's name, where the file holds several.
    pub key: Option<String>,
    /// Height and width in pixels of the picture at base resolution, for latents that diffusers has packed.
    pub packed_size: Option<[usize; 2]>,
}

/// What made a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// ComfyUI's SaveLatent.
    Comfy,
    /// An early SaveLatent, which scaled latents by 0.18215; undone on opening.
    ComfyLegacy,
    /// Any other safetensors file.
    Safetensors,
    /// A file of `torch.save`.
    Torch,
    /// A file of `numpy.save`.
    Npy,
}

/// A latent in memory, with what its file says of it.
#[derive(Clone, Debug)]
pub struct LatentFile {
    /// The file.
    pub path: PathBuf,
    /// `[B, 16, T, h, w]`, finite, of the space that [`super::decide_space`] finds.
    pub array: Array,
    /// What made the file.
    pub origin: Origin,
    /// The tensor's name; empty for npy files and bare torch tensors.
    pub key: String,
    /// Whether the tensor was packed as diffusers packs Qwen-Image's latents.
    pub packed: bool,
    /// The space that the file's metadata names.
    pub marked: Option<Space>,
    /// ComfyUI's `prompt` and `workflow`, where they are there and not empty.
    pub text: Vec<(String, String)>,
}

impl LatentFile {
    /// Opens a `.latent`, safetensors, torch or npy file; its format is told from its bytes.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] if it is no tensor file or no tensor is clearly the latent; [`Error::Tensor`] if
    /// the tensor is no latent of 16 channels, or holds NaN or infinity.
    pub fn open(path: &Path, options: &LatentOptions) -> Result<Self> {
        Self::from_file(&TensorFile::open(path)?, options)
    }

    /// As [`Self::open`], of an open file.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_file(file: &TensorFile, options: &LatentOptions) -> Result<Self> {
        let key = choose(file, options.key.as_deref())?;
        let tensor = layout::Tensor {
            path: file.path(),
            key: &key,
        };
        // The shape is judged before the data is read: a wrong file may be huge.
        let layout = layout::recognize(&tensor, &file.tensors()[&key].shape, options.packed_size)?;
        let mut array = file.read(&key)?;
        require_finite("the latent", &array)
            .map_err(|e| tensor.error("finite values", &e.to_string()))?;
        let origin = origin(file, &key);
        if origin == Origin::ComfyLegacy {
            array
                .data_mut()
                .iter_mut()
                .for_each(|v| *v /= COMFY_LEGACY_SCALE);
        }
        Ok(Self {
            array: layout.apply(array)?,
            packed: layout.is_packed(),
            marked: marked(file)?,
            text: text(file),
            path: file.path().to_path_buf(),
            origin,
            key,
        })
    }
}

/// Shape `[B, 16, T, h, w]` of the latent in an open file, from its head alone.
///
/// # Errors
/// As [`LatentFile::open`], as far as the head tells.
pub fn look_at_latent(file: &TensorFile, options: &LatentOptions) -> Result<[usize; 5]> {
    let key = choose(file, options.key.as_deref())?;
    let tensor = layout::Tensor {
        path: file.path(),
        key: &key,
    };
    Ok(layout::recognize(&tensor, &file.tensors()[&key].shape, options.packed_size)?.shape())
}

/// What SaveLatent multiplied by before it wrote the version tensor (Stable Diffusion 1's scale, whatever the model).
const COMFY_LEGACY_SCALE: f32 = 0.18215;

fn origin(file: &TensorFile, key: &str) -> Origin {
    match file.format() {
        Format::Torch => Origin::Torch,
        Format::Npy => Origin::Npy,
        Format::Safetensors if key != COMFY_TENSOR => Origin::Safetensors,
        Format::Safetensors if file.tensors().contains_key(COMFY_VERSION) => Origin::Comfy,
        Format::Safetensors => Origin::ComfyLegacy,
    }
}

fn marked(file: &TensorFile) -> Result<Option<Space>> {
    match file.metadata().get(SPACE_MARKER).map(String::as_str) {
        None => Ok(None),
        Some("raw") => Ok(Some(Space::Raw)),
        Some("normalized") => Ok(Some(Space::Normalized)),
        Some(other) => Err(Error::format(
            file.path(),
            format!("its metadata has {SPACE_MARKER} = '{other}'; expected 'raw' or 'normalized'"),
        )),
    }
}

fn text(file: &TensorFile) -> Vec<(String, String)> {
    let found = COMFY_TEXTS
        .iter()
        .filter_map(|&key| Some((key.to_owned(), file.metadata().get(key)?.clone())));
    found.filter(|(_, text)| !text.is_empty()).collect()
}

/// The latent's name: the one asked for, else the first usual name, else the only candidate.
fn choose(file: &TensorFile, asked: Option<&str>) -> Result<String> {
    /// Names in files of ComfyUI, diffusers users and torch users, the surest first.
    const USUAL: [&str; 4] = [COMFY_TENSOR, LATENTS, "latent", "samples"];
    if let Some(key) = asked {
        return match file.tensors().contains_key(key) {
            true => Ok(key.to_owned()),
            false => Err(Error::format(
                file.path(),
                format!("no tensor is named '{key}'; there are {}", list(file)),
            )),
        };
    }
    let could_be = |info: &TensorInfo| is_float(info.dtype) && (3..=5).contains(&info.shape.len());
    let usual = USUAL
        .iter()
        .find(|&&key| file.tensors().get(key).is_some_and(could_be));
    if let Some(key) = usual {
        return Ok((*key).to_owned());
    }
    // Files of a single tensor of three axes are packed latents or single pictures.
    let least = if file.tensors().len() == 1 { 3 } else { 4 };
    let mut candidates = file
        .tensors()
        .iter()
        .filter(|(_, info)| could_be(info) && info.shape.len() >= least);
    match (candidates.next(), candidates.next()) {
        (Some((key, _)), None) => Ok(key.clone()),
        (None, _) => Err(Error::format(
            file.path(),
            format!("no tensor could be a latent; there are {}", list(file)),
        )),
        (Some(_), Some(_)) => Err(Error::format(
            file.path(),
            format!(
                "several tensors could be the latent; choose one with --key: {}",
                list(file)
            ),
        )),
    }
}

fn is_float(dtype: DType) -> bool {
    matches!(dtype, DType::F64 | DType::F32 | DType::F16 | DType::BF16)
}

/// Names, types and shapes of the first tensors.
fn list(file: &TensorFile) -> String {
    const NAMED: usize = 8;
    let named = file.tensors().iter().take(NAMED);
    let named: Vec<_> = named
        .map(|(key, info)| format!("'{key}' {} {:?}", info.dtype, info.shape))
        .collect();
    match file.tensors().len() {
        0 => "none".into(),
        n if n > NAMED => format!("{} and {} more", named.join(", "), n - NAMED),
        _ => named.join(", "),
    }
}
