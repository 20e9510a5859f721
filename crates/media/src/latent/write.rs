//! Latent files for ComfyUI (`.latent`), for diffusers users (`.safetensors`) and for numpy (`.npy`).

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use vae2x_core::latent::Space;
use vae2x_core::weights::write::write_arrays;
use vae2x_core::{Array, Error, Result, temp};

use super::names::{COMFY_TENSOR, COMFY_VERSION, LATENTS, SPACE_MARKER};
use crate::array_format::ArrayFormat;

/// A format that latents are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LatentFormat {
    /// As ComfyUI's SaveLatent writes and LoadLatent reads: always raw.
    Comfy,
    /// A tensor `latents`, with the space in the metadata.
    Safetensors,
    /// A bare array: which space it is, the reader must know.
    Npy,
}

impl LatentFormat {
    /// The format that a path's extension names.
    ///
    /// # Errors
    /// [`Error::BadRequest`] listing the known ones.
    pub fn from_path(path: &Path) -> Result<Self> {
        let extension = path
            .extension()
            .map(|e| e.to_string_lossy().to_ascii_lowercase());
        match extension.as_deref() {
            Some("latent") => Ok(Self::Comfy),
            Some("safetensors") => Ok(Self::Safetensors),
            Some("npy") => Ok(Self::Npy),
            _ => Err(Error::BadRequest(format!(
                "{}: latents are written as .latent (ComfyUI), .safetensors or .npy",
                path.display()
            ))),
        }
    }

    /// The space that readers of the format expect where nothing says otherwise: raw in ComfyUI, normalized in diffusers.
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

/// Writes a latent of `space` in the format of `path`'s extension, whole or not at all. `text` is metadata such as ComfyUI's
/// `prompt` and `workflow`; npy leaves it out.
///
/// # Shapes
/// `[B, 16, T, h, w]`, or packed `[B, tokens, 64]`
///
/// # Errors
/// [`Error::BadRequest`] for an unknown extension or a space that the format cannot hold; [`Error::Io`].
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
