//! Opens a latent file: finds the tensor, reads what the file says about it, and checks its values.

use std::path::{Path, PathBuf};

use vae2x_core::latent::{Normalized, Raw, Space, to_raw};
use vae2x_core::weights::{DType, Format, TensorFile, TensorInfo};
use vae2x_core::{Array, Error, Result, VaeConfig};

use super::layout;
use super::names::{COMFY_TENSOR, COMFY_VERSION, LATENTS, SPACE_MARKER};
use crate::picture::COMFY_TEXTS;
use crate::pixels::require_finite;

/// How a latent file is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatentOptions {
    /// The tensor's name, for files that hold several.
    pub key: Option<String>,
    /// Height and width in pixels of the image at base resolution, for latents that diffusers has
    /// packed.
    pub packed_size: Option<[usize; 2]>,
}

/// The program or library that made a file.
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

/// A latent in memory, with what its file says about it.
#[derive(Clone, Debug)]
pub struct LatentFile {
    /// The file that was read.
    pub path: PathBuf,
    /// `[B, 16, T, h, w]`, finite, of a space that is not settled yet.
    array: Array,
    /// The program or library that made the file.
    pub origin: Origin,
    /// The tensor's name; empty for npy files and bare torch tensors.
    pub key: String,
    /// Whether the tensor was packed as diffusers packs Qwen-Image's latents.
    pub packed: bool,
    /// The space that the file's metadata names.
    pub marked: Option<Space>,
    /// ComfyUI's `prompt` and `workflow`, unless empty.
    pub text: Vec<(String, String)>,
}

impl LatentFile {
    /// Opens a `.latent`, safetensors, torch or npy file; its format is detected from its bytes.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] if it is not a tensor file or no tensor is clearly the
    /// latent; [`Error::Tensor`] if the tensor is not a latent of a known space;
    /// [`Error::NotFinite`].
    pub fn open(path: &Path, options: &LatentOptions) -> Result<Self> {
        Self::from_file(&TensorFile::open(path)?, options)
    }

    /// As [`Self::open`], for an open file.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_file(file: &TensorFile, options: &LatentOptions) -> Result<Self> {
        let key = choose(file, options.key.as_deref())?;
        let tensor = layout::Tensor {
            path: file.path(),
            key: &key,
        };
        // The shape is checked before the data is read: a wrong file may be huge.
        let layout = layout::recognize(&tensor, &file.tensors()[&key].shape, options.packed_size)?;
        let mut array = file.read(&key)?;
        let what = format!("{}: tensor '{key}'", file.path().display());
        require_finite(&what, &array)?;
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

impl LatentFile {
    /// `[B, 16, T, h, w]`
    pub fn shape(&self) -> [usize; 5] {
        let shape = self.array.shape();
        std::array::from_fn(|axis| shape[axis])
    }

    /// The values as the file holds them, raw or normalized: for statistics. [`Self::into_raw`]
    /// settles which.
    pub fn stored(&self) -> &Array {
        &self.array
    }

    /// The latent as the VAE takes it, given the space that its values are in.
    ///
    /// # Errors
    /// [`Error::Shape`] if its channels are not the model's.
    pub fn into_raw_from(self, space: Space, config: &VaeConfig) -> Result<Raw> {
        to_raw(self.array, space, config)
    }

    /// The latent as diffusion models take it, given the space that its values are in.
    ///
    /// # Errors
    /// [`Error::Shape`] if its channels are not the model's.
    pub fn into_normalized_from(self, space: Space, config: &VaeConfig) -> Result<Normalized> {
        match space {
            Space::Normalized => Normalized::new(self.array),
            Space::Raw => Raw::new(self.array)?.normalize(config),
        }
    }
}

/// Shape `[B, 16, T, h, w]` of the latent in an open file, from its header alone.
///
/// # Errors
/// As [`LatentFile::open`], as far as the header shows.
pub fn look_at_latent(file: &TensorFile, options: &LatentOptions) -> Result<[usize; 5]> {
    let key = choose(file, options.key.as_deref())?;
    let tensor = layout::Tensor {
        path: file.path(),
        key: &key,
    };
    Ok(layout::recognize(&tensor, &file.tensors()[&key].shape, options.packed_size)?.shape())
}

/// The factor that SaveLatent applied before it wrote the version tensor: Stable Diffusion 1's
/// scale, whatever the model.
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
    /// Names in files of ComfyUI, diffusers users and torch users, the most certain first.
    const USUAL: [&str; 4] = [COMFY_TENSOR, LATENTS, "latent", "samples"];
    if let Some(key) = asked {
        return match file.tensors().contains_key(key) {
            true => Ok(key.to_owned()),
            false => Err(Error::format(
                file.path(),
                format!("no tensor is named '{key}'; found {}", list(file)),
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
    // Files of a single tensor of three axes are packed latents or single images.
    let least = if file.tensors().len() == 1 { 3 } else { 4 };
    let mut candidates = file
        .tensors()
        .iter()
        .filter(|(_, info)| could_be(info) && info.shape.len() >= least);
    match (candidates.next(), candidates.next()) {
        (Some((key, _)), None) => Ok(key.clone()),
        (None, _) => Err(Error::format(
            file.path(),
            format!("no tensor could be a latent; found {}", list(file)),
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
    dtype.is_float() || dtype.is_fp8()
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
