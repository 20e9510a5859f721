//! What an evaluation decodes: the centres of held-out photos and of given latents.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use vae2x_core::weights::TensorFile;
use vae2x_core::{Array, VaeConfig};
use vae2x_media::frames::{Folders, list_inputs};
use vae2x_media::latent::{LatentFile, LatentOptions, SpaceChoice, is_latent_name};
use vae2x_media::pixels::picture_size;
use vae2x_media::resample::{Filter, resize};
use vae2x_nn::array::to_tensor;

use super::super::config::EvalConfig;
use crate::data::crop::{clamped, window_of};
use crate::data::{Source, photo};
use crate::log::Screen;
use crate::{Error, Result};

/// Latents that are decoded at every evaluation, at most: each has a row on a sheet.
pub const MOST_LATENTS: usize = 16;
/// Tensors of SDEdit's pairs that are latents as a model gives them end so.
const DEGRADED: &str = ".degraded";

/// A held-out photo.
pub struct Photo {
    /// `[3, size, size]`
    pub target: Array,
    /// What is encoded.
    pub input: Array,
}

/// The centre of a photo, and what is encoded for it.
pub fn read_photo(source: &Source, config: &EvalConfig, factor: usize) -> Result<Photo> {
    let photo = photo::read(source)?.0.on_grey();
    let [h, w] = picture_size(&photo)?;
    let short = h.min(w);
    let photo = match config.short_side {
        0 => photo,
        side if side >= short => photo,
        side => clamped(resize(
            &photo,
            [(h * side).div_ceil(short), (w * side).div_ceil(short)],
            Filter::Area,
        )?),
    };
    let [h, w] = picture_size(&photo)?;
    let size = config.size;
    if h < size || w < size {
        return Err(Error::Data(format!(
            "{source}: {w}x{h} pixels; eval.size asks for {size}"
        )));
    }
    let target = window_of(&photo, [(h - size) / 2, (w - size) / 2], [size; 2], false)?;
    let input = clamped(resize(&target, [size / factor; 2], Filter::Area)?);
    Ok(Photo { target, input })
}

/// A latent to decode.
pub struct GivenLatent {
    /// Its file, or the name of its tensor where a file has several.
    pub path: PathBuf,
    /// Raw, `[1, z, h, w]`.
    pub latent: Tensor<4>,
}

/// Reads the files, and what folders and patterns stand for. Of clips and batches, the first latent frame of the first item; of each, at
/// most `side` cells of its centre.
///
/// # Errors
/// If a path stands for no latent, a file cannot be read, or there are more than [`MOST_LATENTS`].
pub fn read_latents(
    paths: &[String],
    side: usize,
    vae: &VaeConfig,
    device: &Device,
    screen: &mut dyn Screen,
) -> Result<Vec<GivenLatent>> {
    let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
    let listed = list_inputs(&paths, Folders::OfLatents);
    if let Some((path, error)) = listed.failed.first() {
        return Err(Error::Data(format!(
            "eval.latents: {}: {error}",
            path.display()
        )));
    }
    listed.notes.iter().for_each(|note| screen.note(note));
    let mut latents = Vec::new();
    for path in &listed.files {
        if !is_latent_name(path) {
            return Err(Error::Data(format!(
                "eval.latents: {}: expected a file of latents or a folder",
                path.display()
            )));
        }
        for (path, array) in read_file(path, vae, screen)? {
            let [_, _, h, w] = array.dims("latent")?;
            let [h, w] = [h, w].map(|n: usize| (n.saturating_sub(side) / 2, n.min(side)));
            let latent = to_tensor::<4>(&array, "latent", device)?.swap_dims(0, 1);
            let latent = latent.narrow(2, h.0, h.1).narrow(3, w.0, w.1);
            latents.push(GivenLatent { path, latent });
        }
        if latents.len() > MOST_LATENTS {
            return Err(Error::Data(format!(
                "eval.latents: {} or more latents; expected at most {MOST_LATENTS}, as each is decoded at every evaluation",
                latents.len()
            )));
        }
    }
    Ok(latents)
}

/// The latent frames of a file, `[z, 1, h, w]`, with a path that is their own.
fn read_file(
    path: &Path,
    vae: &VaeConfig,
    screen: &mut dyn Screen,
) -> Result<Vec<(PathBuf, Array)>> {
    let file = TensorFile::open(path)?;
    let pairs: Vec<&String> = file
        .tensors()
        .keys()
        .filter(|name| name.ends_with(DEGRADED))
        .collect();
    if pairs.is_empty() {
        let latent = LatentFile::from_file(&file, &LatentOptions::default())?;
        let (raw, decision) = latent.into_raw(vae, SpaceChoice::Auto)?;
        if let Some(warning) = decision.warning() {
            screen.note(&format!("{}: {warning}", path.display()));
        }
        return Ok(vec![(path.to_path_buf(), raw.frame(0, 0))]);
    }
    let of_pair = |name: &String| -> Result<_> {
        let options = LatentOptions {
            key: Some(name.clone()),
            ..Default::default()
        };
        let latent = LatentFile::from_file(&file, &options)?;
        let (raw, _) = latent.into_raw(vae, SpaceChoice::Normalized)?;
        let name = name.trim_end_matches(DEGRADED);
        Ok((
            path.with_file_name(format!("{name}.latent")),
            raw.frame(0, 0),
        ))
    };
    pairs
        .into_iter()
        .take(MOST_LATENTS + 1)
        .map(of_pair)
        .collect()
}
