//! Pairs again, with a proxy in place of the model that it imitates.

use std::path::Path;

use burn::tensor::Device;
use vae2x_core::Array;
use vae2x_core::weights::TensorFile;
use vae2x_nn::array::{to_array, to_tensor};
use vae2x_nn::degradation::Proxy;

use super::pairs::names;
use crate::fit::write;
use crate::{Error, Result};

/// Writes the pairs of a file into another one, under the same names: each clean latent, what the proxy makes of it at the pair's time, and that
/// time. Gives their number; a file without pairs is not written.
///
/// # Errors
/// Reading and writing errors; [`Error::Data`] for latents of another channel count.
pub fn soften(source: &Path, proxy: &Proxy, device: &Device, target: &Path) -> Result<usize> {
    let file = TensorFile::open(source)?;
    let mut arrays: Vec<(String, Array)> = Vec::new();
    for name in names(&file) {
        let (clean, time) = (
            file.read(&format!("{name}.clean"))?,
            file.read(&format!("{name}.t"))?,
        );
        let shape = clean.shape().to_vec();
        let [c, t, h, w] = match shape[..] {
            [c, h, w] => [c, 1, h, w],
            _ => clean.dims("latent")?,
        };
        if c != proxy.config().channels {
            let wanted = proxy.config().channels;
            return Err(Error::Data(format!(
                "{}: {name}: {c} channels; the proxy takes {wanted}",
                source.display()
            )));
        }
        let latent = to_tensor(&clean.clone().reshape([1, c, t, h, w])?, name, device)?;
        let softened =
            to_array(proxy.forward_clip(latent, &[f64::from(time.data()[0])]))?.reshape(shape)?;
        arrays.push((format!("{name}.clean"), clean));
        arrays.push((format!("{name}.degraded"), softened));
        arrays.push((format!("{name}.t"), time));
    }
    if !arrays.is_empty() {
        write(target, &arrays, Default::default())?;
    }
    Ok(arrays.len() / 3)
}
