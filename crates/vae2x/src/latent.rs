//! A latent whose space is settled before a model sees it, so that nobody can forget it.

use std::path::{Path, PathBuf};

use vae2x_core::latent::{Normalized, Raw, Space};
use vae2x_core::{Array, Extent, Result, VaeConfig};
use vae2x_media::latent::{
    Axes, Decision, LatentFile, LatentOptions as FileOptions, SpaceChoice, WriteOptions, write_raw,
};

/// How a latent file is read.
#[derive(Clone, Debug, Default)]
pub struct LatentOptions {
    /// The space of the latent; by default as the file states it, else as its kind and its statistics suggest.
    pub space: SpaceChoice,
    /// The tensor's name, where the file holds several.
    pub key: Option<String>,
    /// Height and width in pixels at base resolution, for latents that diffusers has packed.
    pub packed_size: Option<[usize; 2]>,
    /// The order of the tensor's axes, for shapes that leave it open, such as `"CTHW".parse()?`.
    pub axes: Option<Axes>,
}

impl LatentOptions {
    fn of_file(&self) -> FileOptions {
        FileOptions {
            key: self.key.clone(),
            packed_size: self.packed_size,
            axes: self.axes.clone(),
        }
    }
}

/// A latent `[B, z, T, h, w]`, from a file or from memory.
///
/// Diffusion models work on normalized latents, `(raw - mean) / std` per channel, and the VAE on raw ones. A file is settled when
/// a model takes it, with the mean and std of that model; values in memory are in the space that their constructor names.
#[derive(Clone, Debug)]
pub struct Latent {
    content: Content,
    text: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
enum Content {
    File(LatentFile, SpaceChoice),
    Raw(Raw),
    Normalized(Normalized),
    /// The result of a model, with that model's statistics.
    Encoded(Raw, Box<VaeConfig>),
}

impl Latent {
    /// Opens ComfyUI's `.latent`, safetensors, torch, npy or npz; the first bytes decide the format.
    ///
    /// # Errors
    /// If the file cannot be read, no tensor is clearly the latent, or it holds values that are not finite.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, &LatentOptions::default())
    }

    /// As [`Self::open`], with options.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(path: impl AsRef<Path>, options: &LatentOptions) -> Result<Self> {
        let file = LatentFile::open(path.as_ref(), &options.of_file())?;
        let text = file.text.clone();
        Ok(Self {
            content: Content::File(file, options.space),
            text,
        })
    }

    /// Takes an array in memory as a file without any marks would be taken: of any layout that is recognised, such as
    /// `[z, h, w]`, `[B, z, h, w]`, `[z, T, h, w]` or diffusers' packed one, settled by its statistics unless `options` name
    /// its space.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_array(array: Array, options: &LatentOptions) -> Result<Self> {
        let file = LatentFile::from_array(array, &options.of_file())?;
        Ok(Self::of(Content::File(file, options.space)))
    }

    /// A raw latent `[B, z, T, h, w]`, as the VAE uses it.
    ///
    /// # Errors
    /// [`vae2x_core::Error::Shape`] unless it has five axes of at least 1.
    pub fn raw(array: Array) -> Result<Self> {
        Ok(Self::of(Content::Raw(Raw::new(array)?)))
    }

    /// A normalized latent `[B, z, T, h, w]`, as diffusion models use it.
    ///
    /// # Errors
    /// [`vae2x_core::Error::Shape`] unless it has five axes of at least 1.
    pub fn normalized(array: Array) -> Result<Self> {
        Ok(Self::of(Content::Normalized(Normalized::new(array)?)))
    }

    pub(crate) fn encoded(raw: Raw, config: &VaeConfig) -> Self {
        Self::of(Content::Encoded(raw, Box::new(config.clone())))
    }

    fn of(content: Content) -> Self {
        Self {
            content,
            text: Vec::new(),
        }
    }

    /// The same latent with texts that a file keeps, such as ComfyUI's `prompt` and `workflow`.
    pub fn with_text(mut self, text: Vec<(String, String)>) -> Self {
        self.text = text;
        self
    }

    /// ComfyUI's `prompt` and `workflow`, where the file has them.
    pub fn text(&self) -> &[(String, String)] {
        &self.text
    }

    /// `[B, z, T, h, w]`
    pub fn shape(&self) -> &[usize] {
        self.array().shape()
    }

    /// The extent of each batch item.
    pub fn extent(&self) -> Extent {
        match *self.shape() {
            [_, _, frames, h, w] => Extent {
                frames,
                cells: [h, w],
            },
            // Every way to make a latent checks that it has five axes.
            _ => unreachable!("a latent has five axes"),
        }
    }

    /// The values as they are held, in either space.
    fn array(&self) -> &Array {
        match &self.content {
            Content::File(file, _) => file.stored(),
            Content::Raw(raw) | Content::Encoded(raw, _) => raw.array(),
            Content::Normalized(normalized) => normalized.array(),
        }
    }

    /// The raw latent for the VAE of `config`, and how its space was decided if it came from a file.
    ///
    /// # Errors
    /// [`vae2x_core::Error::Shape`] if the channels are not the model's.
    pub fn settle(self, config: &VaeConfig) -> Result<(Raw, Option<Decision>)> {
        match self.content {
            Content::File(file, choice) => {
                let (raw, decision) = file.into_raw(config, choice)?;
                Ok((raw, Some(decision)))
            }
            Content::Raw(raw) | Content::Encoded(raw, _) => Ok((raw, None)),
            Content::Normalized(normalized) => Ok((normalized.denormalize(config)?, None)),
        }
    }

    /// The values `[B, z, T, h, w]` in `space`, with the mean and std of the model that encoded the latent, else Wan2.1's.
    ///
    /// # Errors
    /// [`vae2x_core::Error::Shape`] if the channels are not the model's.
    pub fn values(&self, space: Space) -> Result<Array> {
        let config = self.config();
        let (raw, _) = self.clone().settle(&config)?;
        match space {
            Space::Raw => Ok(raw.array().clone()),
            Space::Normalized => Ok(raw.normalize(&config)?.array().clone()),
        }
    }

    /// The configuration of the model that encoded the latent, else Wan2.1's.
    fn config(&self) -> VaeConfig {
        match &self.content {
            Content::Encoded(_, config) => VaeConfig::clone(config),
            _ => VaeConfig::default(),
        }
    }

    /// Writes `.latent` (ComfyUI, always raw), `.safetensors` (normalized, as diffusers has it) or `.npy` (normalized).
    /// The mean and std are those of the model that encoded the latent, else Wan2.1's. Returns the file and the space.
    ///
    /// # Errors
    /// [`vae2x_core::Error::BadRequest`] for another extension; [`vae2x_core::Error::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(PathBuf, Space)> {
        self.save_in(path, None)
    }

    /// As [`Self::save`], in this space where the format can hold it, else in the format's usual one.
    ///
    /// # Errors
    /// As [`Self::save`].
    pub fn save_in(
        &self,
        path: impl AsRef<Path>,
        space: Option<Space>,
    ) -> Result<(PathBuf, Space)> {
        let config = self.config();
        let (raw, _) = self.clone().settle(&config)?;
        let options = WriteOptions {
            space,
            text: self.text.clone(),
            ..WriteOptions::default()
        };
        let space = write_raw(path.as_ref(), &raw, &config, &options)?;
        Ok((path.as_ref().to_path_buf(), space))
    }
}
