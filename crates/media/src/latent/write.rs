//! Latent files for ComfyUI (`.latent`), for diffusers users (`.safetensors`) and for numpy
//! (`.npy`).

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use vae2x_core::latent::{Normalized, Raw, Space};
use vae2x_core::weights::write::write_arrays;
use vae2x_core::{Array, Error, Result, VaeConfig, temp};

use super::layout::pack;
use super::names::{COMFY_TENSOR, COMFY_VERSION, LATENTS, SPACE_MARKER};
use crate::array_format::ArrayFormat;

/// A format that latents are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LatentFormat {
    /// As ComfyUI's SaveLatent writes and LoadLatent reads: always raw.
    Comfy,
    /// A tensor `latents`, with the space in the metadata.
    Safetensors,
    /// A bare array; the reader must know which space it is in.
    Npy,
}

impl LatentFormat {
    /// The format for a path's extension.
    ///
    /// # Errors
    /// [`Error::BadRequest`] for any other, listing these.
    pub fn from_path(path: &Path) -> Result<Self> {
        let extension = path
            .extension()
            .map(|e| e.to_string_lossy().to_ascii_lowercase());
        match extension.as_deref() {
            Some("latent") => Ok(Self::Comfy),
            Some("safetensors") => Ok(Self::Safetensors),
            Some("npy") => Ok(Self::Npy),
            _ => Err(Error::BadRequest(format!(
                "{}: expected .latent (ComfyUI), .safetensors or .npy",
                path.display()
            ))),
        }
    }

    /// The space that readers of the format expect by default: raw in ComfyUI, normalized in
    /// diffusers.
    pub fn usual_space(self) -> Space {
        match self {
            Self::Comfy => Space::Raw,
            Self::Safetensors | Self::Npy => Space::Normalized,
        }
    }

    /// Whether the format can hold `space`.
    ///
    /// # Errors
    /// [`Error::BadRequest`] for normalized latents as `.latent`.
    pub fn check_space(self, space: Space) -> Result<()> {
        match (self, space) {
            (Self::Comfy, Space::Normalized) => Err(Error::BadRequest(
                "a .latent file is always raw; write .safetensors or .npy for normalized latents"
                    .into(),
            )),
            _ => Ok(()),
        }
    }
}

/// How a latent is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// The space to write in, where the format can hold it; otherwise the format's usual one.
    pub space: Option<Space>,
    /// Whether to pack as diffusers does; `.latent` files are never packed.
    pub packed: bool,
    /// Metadata such as ComfyUI's `prompt` and `workflow`; npy leaves it out.
    pub text: Vec<(String, String)>,
}

/// Writes a raw latent in the format of `path`'s extension, whole or not at all, and returns the
/// space it took.
///
/// # Errors
/// [`Error::BadRequest`] for an unknown extension; [`Error::Shape`] if the latent does not fit the
/// model or cannot be packed; [`Error::Io`].
pub fn write_raw(
    path: &Path,
    latent: &Raw,
    config: &VaeConfig,
    options: &WriteOptions,
) -> Result<Space> {
    let space = space_to_take(path, options)?;
    match space {
        Space::Raw => write_values(path, latent.array(), space, options)?,
        Space::Normalized => {
            let latent = latent.clone().normalize(config)?;
            write_values(path, latent.array(), space, options)?;
        }
    }
    Ok(space)
}

/// As [`write_raw`], for a normalized latent.
///
/// # Errors
/// As [`write_raw`].
pub fn write_normalized(
    path: &Path,
    latent: &Normalized,
    config: &VaeConfig,
    options: &WriteOptions,
) -> Result<Space> {
    let space = space_to_take(path, options)?;
    match space {
        Space::Normalized => write_values(path, latent.array(), space, options)?,
        Space::Raw => {
            let latent = latent.clone().denormalize(config)?;
            write_values(path, latent.array(), space, options)?;
        }
    }
    Ok(space)
}

/// The space asked for, or the usual one of a format that cannot hold it.
fn space_to_take(path: &Path, options: &WriteOptions) -> Result<Space> {
    let format = LatentFormat::from_path(path)?;
    let asked = options
        .space
        .filter(|&space| format.check_space(space).is_ok());
    Ok(asked.unwrap_or(format.usual_space()))
}

fn write_values(path: &Path, values: &Array, space: Space, options: &WriteOptions) -> Result<()> {
    let is_packed = options.packed && LatentFormat::from_path(path)? != LatentFormat::Comfy;
    match is_packed {
        true => write_latent(path, &pack(values)?, space, &options.text),
        false => write_latent(path, values, space, &options.text),
    }
}

/// Writes a latent of `space` in the format of `path`'s extension, whole or not at all. `text` is
/// metadata such as ComfyUI's `prompt` and `workflow`; npy leaves it out.
///
/// # Shapes
/// `[B, 16, T, h, w]`, or packed `[B, tokens, 64]`
///
/// # Errors
/// [`Error::BadRequest`] for an unknown extension or a space that the format cannot hold;
/// [`Error::Io`].
pub fn write_latent(
    path: &Path,
    latent: &Array,
    space: Space,
    text: &[(String, String)],
) -> Result<()> {
    let format = LatentFormat::from_path(path)?;
    format.check_space(space)?;
    let mut metadata: BTreeMap<_, _> = text.iter().cloned().collect();
    match format {
        LatentFormat::Comfy => {
            // SaveLatent writes the entry even where there is no prompt.
            metadata.entry("prompt".into()).or_default();
            write_arrays(
                path,
                &[(COMFY_VERSION, &Array::zeros([0])), (COMFY_TENSOR, latent)],
                &metadata,
            )
        }
        LatentFormat::Safetensors => {
            metadata.insert(SPACE_MARKER.into(), space.to_string());
            write_arrays(path, &[(LATENTS, latent)], &metadata)
        }
        LatentFormat::Npy => {
            let header = ArrayFormat::Npy.header("", latent.shape())?;
            let data: Vec<u8> = latent.data().iter().flat_map(|v| v.to_le_bytes()).collect();
            temp::write(path, |out| {
                out.write_all(&header)
                    .and_then(|()| out.write_all(&data))
                    .map_err(|e| Error::io(path, e))
            })
        }
    }
}
