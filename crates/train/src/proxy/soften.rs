//! Pairs again, with a proxy in place of the model that it imitates.

use std::path::Path;

use burn::tensor::Device;
use vae2x_core::Array;
use vae2x_core::weights::TensorFile;
use vae2x_nn::array::{to_array, to_tensor};
use vae2x_nn::degradation::Proxy;

use super::pairs::PairFiles;
use crate::fit::write;
use crate::{Error, Result};

/// Writes the pairs of a folder into another one, under the same names: each clean latent, what the proxy makes of it at the pair's time,
/// and that time. Gives their number.
///
/// # Errors
/// Reading and writing errors; [`Error::Data`] for latents of another channel count.
pub fn soften(pairs: &PairFiles, proxy: &Proxy, device: &Device, target: &Path) -> Result<usize> {
    std::fs::create_dir_all(target).map_err(|e| Error::io(target, e))?;
    let mut count = 0;
    for path in pairs.paths() {
        let file = TensorFile::open(path)?;
        let mut arrays: Vec<(String, Array)> = Vec::new();
        for name in file.tensors().keys().filter_map(|key| key.strip_suffix(".clean")) {
            let (clean, time) = (file.read(&format!("{name}.clean"))?, file.read(&format!("{name}.t"))?);
            let shape = clean.shape().to_vec();
            let [c, t, h, w] = match shape[..] {
                [c, h, w] => [c, 1, h, w],
                _ => clean.dims("latent")?,
            };
            if c != proxy.config().channels {
                let wanted = proxy.config().channels;
                let what = format!("{}: {name}: {c} channels; the proxy takes {wanted}", path.display());
                return Err(Error::Data(what));
            }
            let latent = to_tensor(&clean.clone().reshape([1, c, t, h, w])?, name, device)?;
            let softened = to_array(proxy.forward_clip(latent, &[f64::from(time.data()[0])]))?.reshape(shape)?;
            arrays.push((format!("{name}.clean"), clean));
            arrays.push((format!("{name}.degraded"), softened));
            arrays.push((format!("{name}.t"), time));
            count += 1;
        }
        if let Some(name) = path.file_name().filter(|_| !arrays.is_empty()) {
            write(&target.join(name), &arrays, Default::default())?;
        }
    }
    Ok(count)
}
