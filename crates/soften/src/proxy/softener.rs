//! A trained proxy at work on files: of latents, or of pairs, where it takes the place of the model that it imitates.

use std::path::Path;

use burn::tensor::Device;
use vae2x_core::Array;
use vae2x_core::latent::{Normalized, Space};
use vae2x_core::weights::TensorFile;
use vae2x_media::latent::{LatentFormat, write_latent};
use vae2x_nn::array::{to_array, to_tensor};
use vae2x_nn::degradation::Proxy;
use vae2x_train::run::checkpoint::write;
use vae2x_train::{Error, Result};

use super::pairs::{frames, latent, names, time};
use crate::latents::LatentFolder;

/// A trained proxy on a device.
#[derive(Debug)]
pub struct Softener {
    proxy: Proxy,
    device: Device,
}

impl Softener {
    /// Loads a proxy for latents of `channels` channels.
    ///
    /// # Errors
    /// If the file cannot be read, is not a proxy, or is for other latents.
    pub fn open(path: &Path, channels: usize, device: Device) -> Result<Self> {
        let proxy = Proxy::from_file(TensorFile::open(path)?, channels, &device)?;
        Ok(Self { proxy, device })
    }

    /// Softens a file of a folder at flow time `time` and writes it to `target`, making the folders that are missing. Returns the space that
    /// the target's kind of file is written in.
    ///
    /// # Errors
    /// Reading and writing errors.
    pub fn latents(
        &self,
        folder: &LatentFolder,
        index: usize,
        time: f64,
        target: &Path,
    ) -> Result<Space> {
        let (latents, text) = folder.read_whole(index)?;
        let times = vec![time; latents.array().shape()[0]];
        let softened = Normalized::new(self.soften(latents.array(), &times)?)?;
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent).map_err(|e| Error::io(parent, e))?;
        }
        let space = LatentFormat::from_path(target)?.usual_space();
        match space {
            Space::Normalized => write_latent(target, softened.array(), space, &text)?,
            Space::Raw => {
                let raw = softened.denormalize(folder.config())?;
                write_latent(target, raw.array(), space, &text)?;
            }
        }
        Ok(space)
    }

    /// Writes the pairs of a file into another one, under the same names: each clean latent, what the proxy makes of it at the pair's time,
    /// and that time. Returns their number; a file without pairs is not written.
    ///
    /// # Errors
    /// Reading and writing errors; [`Error::Data`] for latents of another channel count.
    pub fn pairs(&self, source: &Path, target: &Path) -> Result<usize> {
        let file = TensorFile::open(source)?;
        let mut arrays: Vec<(String, Array)> = Vec::new();
        for name in names(&file) {
            frames(&file, name)?;
            let (clean, time) = (latent(&file, name, "clean", None)?, time(&file, name)?);
            let shape = clean.shape().to_vec();
            let [c, t, h, w] = match shape[..] {
                [c, h, w] => [c, 1, h, w],
                _ => clean.dims("latent")?,
            };
            let wanted = self.proxy.config().channels;
            if c != wanted {
                return Err(Error::Data(format!(
                    "{}: {name}: {c} channels; the proxy takes {wanted}",
                    source.display()
                )));
            }
            let batch = clean.clone().reshape([1, c, t, h, w])?;
            let softened = self.soften(&batch, &[f64::from(time)])?.reshape(shape)?;
            arrays.push((format!("{name}.clean"), clean));
            arrays.push((format!("{name}.degraded"), softened));
            arrays.push((format!("{name}.t"), Array::new([1], vec![time])?));
        }
        if !arrays.is_empty() {
            write(target, &arrays, Default::default())?;
        }
        Ok(arrays.len() / 3)
    }

    /// # Shapes
    /// `[B, C, T, h, w]`, one time for each of the batch -> the same shape
    fn soften(&self, latents: &Array, times: &[f64]) -> Result<Array> {
        let latents = to_tensor(latents, "latent", &self.device)?;
        Ok(to_array(self.proxy.forward_clip(latents, times))?)
    }
}
