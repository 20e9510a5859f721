//! Measuring on held-out photos, against what one has without a 2x decoder: the base decode, enlarged.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, Tensor};
use vae2x_core::Array;
use vae2x_core::weights::Weights;
use vae2x_measure::metrics::{psnr, sharpness, ssim};
use vae2x_measure::speckle::{LEAST_SIDE, speckle};
use vae2x_media::picture::write_image;
use vae2x_media::pixels::picture_size;
use vae2x_media::resample::{Filter, resize};
use vae2x_media::sheet::{Panel, sheet};
use vae2x_nn::array::{to_array, to_tensor};
use vae2x_nn::loss::lpips::Lpips;
use vae2x_nn::wan_vae::{Decoder, Encoder};

use super::config::{EvalConfig, VggChoice};
use super::learner::Learner;
use super::losses::load_lpips;
use super::model::{decode, encode};
use super::terms::LPIPS_NAMES;
use crate::data::crop::{clamped, window_of};
use crate::data::{Source, photo};
use crate::{Error, Result};

/// Photos on a sample sheet.
const SHOWN: usize = 4;

/// A held-out photo.
struct Case {
    target: Array,
    input: Array,
    /// The base decode, or the input, at the target's size; none for a VAE of its own.
    baseline: Option<Array>,
}

/// LPIPS under the name that its network has earned.
pub struct EvalLpips {
    metric: Lpips,
    name: &'static str,
}

impl EvalLpips {
    /// With VGG16 from `choice`.
    ///
    /// # Errors
    /// If a file lacks a tensor.
    pub fn load(choice: &VggChoice, device: &Device) -> Result<Self> {
        Ok(Self {
            metric: load_lpips(choice, device)?,
            name: choice.label(LPIPS_NAMES),
        })
    }
}

/// Held-out photos and what is measured on them.
pub struct Evaluation {
    cases: Vec<Case>,
    lpips: Option<EvalLpips>,
    /// Target pixels per input pixel.
    factor: usize,
    /// Before the names of the baseline's measures.
    prefix: &'static str,
    device: Device,
}

/// Where the photos come from and what they are measured with.
pub struct EvaluationOptions<'a> {
    /// The photos.
    pub sources: &'a [Source],
    /// Sizes.
    pub config: &'a EvalConfig,
    /// Target pixels per input pixel.
    pub factor: usize,
    /// If its weights are there.
    pub lpips: Option<EvalLpips>,
    /// A base decoder to compare with; without one, the input is enlarged.
    pub base: Option<&'a dyn Weights>,
}

impl Evaluation {
    /// Reads the photos and makes the baseline.
    ///
    /// # Errors
    /// If a photo cannot be read or is too small.
    pub fn new(options: EvaluationOptions<'_>, device: &Device) -> Result<Self> {
        let base = options.base.filter(|base| base.config().out_channels == 3);
        let prefix = if base.is_some() { "base_" } else { "input_" };
        let networks = base.map(|base| -> Result<_> {
            Ok((Encoder::load(base, device)?, Decoder::load(base, device)?))
        });
        let networks = networks.transpose()?;
        let cases = options.sources.iter().map(|source| {
            let (target, input) = pair(source, options.config, options.factor)?;
            let small = match &networks {
                None => input.clone(),
                Some((encoder, decoder)) => {
                    let [latent, _] = encode(encoder, batch(&input, device)?);
                    single(decode(decoder, latent, 1)?.pictures)?
                }
            };
            let size = picture_size(&target)?;
            let baseline = (options.factor > 1 || base.is_some())
                .then(|| resize(&small, size, Filter::Lanczos3).map(clamped));
            Ok(Case {
                baseline: baseline.transpose()?,
                target,
                input,
            })
        });
        Ok(Self {
            cases: cases.collect::<Result<_>>()?,
            lpips: options.lpips,
            factor: options.factor,
            prefix,
            device: device.clone(),
        })
    }

    /// Whether there are no photos.
    pub fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// Means over the photos, for the model and for the baseline, whose names have `base_` before them or, if it is the input enlarged,
    /// `input_`: `psnr`, `ssim`, `lpips` (or [`VggChoice::label`]), `sharpness`, relative to the target's, and `speckle_db` where images
    /// are large enough. Writes a sheet with input, baseline, output and target.
    ///
    /// # Errors
    /// If the sheet cannot be written.
    pub fn measure(&self, learner: &Learner, sheet_path: &Path) -> Result<BTreeMap<String, f64>> {
        let generator = learner.best_generator();
        let mut means = BTreeMap::new();
        let mut outputs = Vec::new();
        for case in &self.cases {
            let decoded = learner.reconstruct(&generator, batch(&case.input, &self.device)?)?;
            let output = clamped(single(decoded)?);
            let baseline = case.baseline.iter().map(|picture| (self.prefix, picture));
            for (prefix, picture) in std::iter::once(("", &output)).chain(baseline) {
                for (name, value) in self.metrics(picture, &case.target)? {
                    *means.entry(format!("{prefix}{name}")).or_default() +=
                        value / self.cases.len() as f64;
                }
            }
            outputs.push(output);
        }
        write_sheet(&self.cases, &outputs, sheet_path)?;
        Ok(means)
    }

    fn metrics(&self, picture: &Array, target: &Array) -> Result<Vec<(&'static str, f64)>> {
        let mut values = vec![
            ("psnr", psnr(picture, target)?),
            ("ssim", ssim(picture, target)?),
            ("sharpness", sharpness(picture)? / sharpness(target)?),
        ];
        if picture_size(picture)?
            .iter()
            .all(|&side| side >= LEAST_SIDE * self.factor)
        {
            values.push(("speckle_db", speckle(picture, self.factor)?.speckle_db));
        }
        if let Some(lpips) = &self.lpips {
            let distance = lpips
                .metric
                .distance(batch(picture, &self.device)?, batch(target, &self.device)?);
            values.push((lpips.name, f64::from(distance.into_scalar::<f32>())));
        }
        Ok(values)
    }
}

/// The centre of a photo, and its half.
fn pair(source: &Source, config: &EvalConfig, factor: usize) -> Result<(Array, Array)> {
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
    Ok((target, input))
}

fn batch(picture: &Array, device: &Device) -> Result<Tensor<4>> {
    Ok(to_tensor::<3>(picture, "picture", device)?.unsqueeze::<4>())
}

fn single(pictures: Tensor<4>) -> Result<Array> {
    Ok(to_array(pictures.squeeze_dim::<3>(0))?)
}

fn write_sheet(cases: &[Case], outputs: &[Array], path: &Path) -> Result<()> {
    let enlarged: Vec<Array> = cases
        .iter()
        .take(SHOWN)
        .map(|case| resize(&case.input, picture_size(&case.target)?, Filter::Area))
        .collect::<vae2x_core::Result<_>>()?;
    let row = |((case, output), enlarged)| {
        let Case {
            target, baseline, ..
        }: &Case = case;
        let baseline = baseline.iter().map(|picture| ("base", picture));
        let panels = std::iter::once(("input", enlarged))
            .chain(baseline)
            .chain([("output", output), ("target", target)]);
        panels
            .map(|(caption, picture)| Panel {
                caption,
                image: picture,
            })
            .collect()
    };
    let rows: Vec<Vec<Panel<'_>>> = cases.iter().zip(outputs).zip(&enlarged).map(row).collect();
    Ok(write_image(path, &sheet(&rows)?, &Default::default())?)
}
