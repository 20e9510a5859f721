//! Opens a latent file: finds the tensor, reads what the file says about it, and checks its values.

use std::path::{Path, PathBuf};

use vae2x_core::latent::{Normalized, Raw, Space, to_raw};
use vae2x_core::weights::{Format, TensorFile};
use vae2x_core::{Array, Error, Result, VaeConfig};

use super::axes::Axes;
use super::choose::{Choice, choose, join};
use super::layout::{self, Found, Given};
use super::names::{COMFY_TENSOR, COMFY_VERSION, SPACE_MARKER};
use super::settle;
use crate::picture::COMFY_TEXTS;

/// How a latent file is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatentOptions {
    /// The tensor's name, for files that hold several.
    pub key: Option<String>,
    /// Height and width in pixels of the image at base resolution, for latents that diffusers has
    /// packed.
    pub packed_size: Option<[usize; 2]>,
    /// The order of the tensor's axes, for shapes that leave it open.
    pub axes: Option<Axes>,
}

impl LatentOptions {
    pub(super) fn given(&self) -> Given<'_> {
        Given {
            axes: self.axes.as_ref(),
            size: self.packed_size,
        }
    }
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
    /// A file of `numpy.savez`.
    Npz,
    /// None: an array in memory.
    Memory,
}

impl Origin {
    /// Undoes the scale of early SaveLatents.
    pub(super) fn rescale(self, array: &mut Array) {
        if self == Self::ComfyLegacy {
            let values = array.data_mut().iter_mut();
            values.for_each(|v| *v /= COMFY_LEGACY_SCALE);
        }
    }
}

/// A latent in memory, with what its file says about it.
#[derive(Clone, Debug)]
pub struct LatentFile {
    /// The file that was read.
    pub path: PathBuf,
    /// `[B, 16, T, h, w]`, finite, of a space that is not settled yet.
    pub(super) array: Array,
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
    /// What was decided about the file that its user may want to know, each a sentence.
    pub notes: Vec<String>,
}

impl LatentFile {
    /// Opens a `.latent`, safetensors, torch, npy or npz file; its format is detected from its bytes.
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
        let Choice { key, left_out } = choose(file, options.key.as_deref())?;
        let tensor = layout::Tensor {
            path: file.path(),
            key: &key,
        };
        // The shape is checked before the data is read: a wrong file may be huge.
        let found = recognize(file, &tensor, options)?;
        let mut array = file.read_finite(&key)?;
        let settled = settle::settle(&tensor, found, || Ok(array.clone()))?;
        settle::check_sides(&tensor, &settled.layout, &array)?;
        let origin = origin(file, &key);
        origin.rescale(&mut array);
        Ok(Self {
            array: settled.layout.apply(array)?,
            packed: settled.layout.is_packed(),
            notes: notes(settled.note, &key, left_out),
            marked: marked(file)?,
            text: text(file),
            path: file.path().to_path_buf(),
            origin,
            key,
        })
    }
}

/// What was decided about the axes, and the tensors that are not read.
pub(super) fn notes(axes: Option<String>, key: &str, left_out: Vec<String>) -> Vec<String> {
    let mut notes = Vec::from_iter(axes);
    if !left_out.is_empty() {
        let others = join(left_out.len(), left_out.into_iter());
        notes.push(format!("tensor '{key}' is read; left out: {others}"));
    }
    notes
}

impl LatentFile {
    /// As [`Self::open`], for an array in memory, which is called "array" in messages.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_array(array: Array, options: &LatentOptions) -> Result<Self> {
        let path = Path::new("array");
        let tensor = layout::Tensor { path, key: "" };
        let found = layout::recognize(&tensor, array.shape(), options.given())?;
        array.require_finite(|| "array".into())?;
        let settled = settle::settle(&tensor, found, || Ok(array.clone()))?;
        settle::check_sides(&tensor, &settled.layout, &array)?;
        Ok(Self {
            path: path.to_path_buf(),
            array: settled.layout.apply(array)?,
            origin: Origin::Memory,
            key: String::new(),
            packed: settled.layout.is_packed(),
            marked: None,
            text: Vec::new(),
            notes: Vec::from_iter(settled.note),
        })
    }

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

/// Shape `[B, 16, T, h, w]` of the latent in an open file, from its header alone, unless that leaves
/// the order of its axes open.
///
/// # Errors
/// As [`LatentFile::open`], as far as the header shows.
pub fn look_at_latent(file: &TensorFile, options: &LatentOptions) -> Result<[usize; 5]> {
    let key = choose(file, options.key.as_deref())?.key;
    let tensor = layout::Tensor {
        path: file.path(),
        key: &key,
    };
    let found = recognize(file, &tensor, options)?;
    let settled = settle::settle(&tensor, found, || file.read_finite(&key))?;
    Ok(settled.layout.shape())
}

pub(super) fn recognize(
    file: &TensorFile,
    tensor: &layout::Tensor<'_>,
    options: &LatentOptions,
) -> Result<Found> {
    layout::recognize(tensor, &file.tensors()[tensor.key].shape, options.given())
}

/// The factor that SaveLatent applied before it wrote the version tensor: Stable Diffusion 1's
/// scale, whatever the model.
const COMFY_LEGACY_SCALE: f32 = 0.18215;

pub(super) fn origin(file: &TensorFile, key: &str) -> Origin {
    match file.format() {
        Format::Torch => Origin::Torch,
        Format::Npy => Origin::Npy,
        Format::Npz => Origin::Npz,
        Format::Safetensors if key != COMFY_TENSOR => Origin::Safetensors,
        Format::Safetensors if file.tensors().contains_key(COMFY_VERSION) => Origin::Comfy,
        Format::Safetensors => Origin::ComfyLegacy,
    }
}

pub(super) fn marked(file: &TensorFile) -> Result<Option<Space>> {
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

pub(super) fn text(file: &TensorFile) -> Vec<(String, String)> {
    let found = COMFY_TEXTS
        .iter()
        .filter_map(|&key| Some((key.to_owned(), file.metadata().get(key)?.clone())));
    found.filter(|(_, text)| !text.is_empty()).collect()
}
