//! The finishing that `decode` is asked for, and the models that it needs.

use std::path::Path;

use vae2x::{Colours, Extent, Finish, Finisher, Light, Vae, VaeConfig};
use vae2x_media::picture::read_image;

use crate::args::DecodeArgs;
use crate::compute::Compute;
use crate::{ui, usage};

/// Finishing, and the base decoder's name if its colours are matched.
pub struct FinishPlan {
    /// The finishing of frames.
    pub finish: Finish,
    /// The weights named by `--match-color base:WEIGHTS`.
    pub base: Option<String>,
}

impl FinishPlan {
    /// Takes the arguments; reads the image that `--match-color` names.
    ///
    /// # Errors
    /// If it cannot be read, or `base:` names no weights.
    pub fn of(args: &DecodeArgs) -> anyhow::Result<Self> {
        let (colours, base) = colours(args.match_color.as_deref())?;
        let light = match args.linear_light {
            true => Light::Linear,
            false => Light::Encoded,
        };
        let finish = Finish {
            scale: args.scale,
            light,
            colours,
            taking: args.match_color_by,
            levels_drift: args.match_color_drift,
            detail: (&args.detail).into(),
            overshoot: args.overshoot(),
        };
        Ok(Self { finish, base })
    }

    /// The model called `vae`, and the base decoder if one is named.
    ///
    /// # Errors
    /// As [`Compute::open`].
    pub fn open(&self, compute: &Compute, vae: &str) -> anyhow::Result<(Vae, Option<Vae>)> {
        match &self.base {
            Some(base) => {
                let [vae, base] = compute.open_pair(vae, base)?;
                Ok((vae, Some(base)))
            }
            None => Ok((compute.open(vae)?, None)),
        }
    }
}

fn colours(text: Option<&str>) -> anyhow::Result<(Colours, Option<String>)> {
    match text.map(|text| (text, text.strip_prefix("base:"))) {
        None => Ok((Colours::Own, None)),
        Some((_, Some(""))) => {
            usage("--match-color base: has no weights; give base:WEIGHTS, such as base:demo:base")
        }
        Some((_, Some(weights))) => Ok((Colours::Base, Some(weights.to_owned()))),
        Some((path, None)) => {
            let image = read_image(Path::new(path))?;
            image.notes.iter().for_each(ui::warn);
            Ok((Colours::Image(image.pixels), None))
        }
    }
}

/// Warns where a reference image cannot show the same view as a latent.
pub fn note_view(finisher: &Finisher, latent: &Path, clip: Extent, config: &VaeConfig) {
    /// Encoders crop up to seven pixels; a larger difference, of more than a twentieth, has another cause.
    const CUT: f64 = 0.05;
    let stretch = finisher.stretch(clip.cells);
    let (Some(stretch), Some([rows, columns])) = (stretch, finisher.reference_size()) else {
        return;
    };
    if stretch.abs() > CUT {
        let [h, w] = clip.cells.map(|n| n * config.spatial());
        ui::warn(format!(
            "{}: the --match-color image ({columns}x{rows}) is stretched to {w}x{h}; if it shows another view, use \
             --match-color-by stats",
            latent.display(),
        ));
    }
}
