//! What a configuration must be, checked before any work starts; the first thing that is wrong is named with its key.

use vae2x_core::{Precision, VaeConfig};

use super::{Config, Part};
use crate::decoder::terms::{Network, TERMS};
use crate::run::{at_most, check};
use crate::{Error, Result};

/// The side that five stages of a VGG can halve.
const SMALLEST_VGG: usize = 16;
/// The side that leaves the discriminator a logit, in whole latent cells.
const SMALLEST_GAN: usize = 32;
/// Counts that no run has use for; what is below, and still too much for the machine, [`need`](crate::decoder::memory::need) finds.
const MOST_CROPS: usize = 1 << 16;
const MOST_SKIPPED: usize = 1 << 10;
const LARGEST_SIDE: usize = 1 << 13;
const MOST_WORKERS: usize = 1 << 10;
const MOST_AHEAD: usize = 1 << 10;
/// MiB: 16 TiB.
const LARGEST_CACHE: usize = 1 << 24;
const WIDEST: usize = 1 << 10;
const MOST_PROJECTIONS: usize = 1 << 16;
const MOST_TIMES: usize = 8;
/// Latent cells: beyond it nothing is left of the largest crop.
const WIDEST_BLUR: f64 = 256.0;

impl Config {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`] with the key and what was expected.
    pub(super) fn validate(&self) -> Result<()> {
        let (train, data, loss) = (&self.train, &self.data, &self.loss);
        check(
            train.parts.len() == 1,
            "train.parts: expected one of decoder, all, base",
        )?;
        check(
            self.model.base.is_some()
                || (self.part() == Part::Base && self.model.base_dim.is_some()),
            "model.base is missing (for train.parts = [\"base\"], model.base_dim may stand for it)",
        )?;
        check(
            !data.photos.is_empty(),
            "data.photos is empty: name folders, globs, manifests or tar shards",
        )?;
        check(
            train.steps > 0 && train.batch > 0 && train.accumulate > 0,
            "train: steps, batch, accumulate must be 1 or more",
        )?;
        check(
            data.workers > 0 && data.prefetch > 0 && data.crops_per_photo > 0,
            "data: workers, prefetch and crops_per_photo must be 1 or more",
        )?;
        check(
            self.log.every > 0 && self.log.eval_every > 0,
            "log: every and eval_every must be 1 or more",
        )?;
        check(
            self.log.checkpoint_every > 0 && self.log.keep > 0,
            "log: checkpoint_every and keep must be 1 or more",
        )?;
        check(
            matches!(self.model.scale, None | Some(1 | 2 | 4)),
            "model.scale: expected 1, 2 or 4",
        )?;
        check(
            self.part() != Part::Base || self.scale() == 1,
            "model.scale: train.parts = [\"base\"] trains a decoder of scale 1",
        )?;
        let cell = VaeConfig::default().spatial() * self.scale();
        let whole = |side: usize| side > 0 && side.is_multiple_of(cell);
        check(
            whole(data.crop),
            &format!("data.crop is {}; expected a multiple of {cell}", data.crop),
        )?;
        check(
            whole(self.eval.size),
            &format!(
                "eval.size is {}; expected a multiple of {cell}",
                self.eval.size
            ),
        )?;
        check(
            0.0 < data.scale[0] && data.scale[0] <= data.scale[1] && data.scale[1] <= 1.0,
            "data.scale: expected [least, most] with 0 < least <= most <= 1",
        )?;
        for (key, betas) in [("train.betas", train.betas), ("gan.betas", self.gan.betas)] {
            check(
                betas.iter().all(|b| (0.0..1.0).contains(b)),
                &format!("{key}: expected two numbers from 0 to below 1"),
            )?;
        }
        check(
            (0.0..1.0).contains(&train.ema),
            "train.ema: expected a number from 0 to below 1",
        )?;
        check(
            train.precision != Precision::F16,
            "train.precision: expected f32 or bf16; gradients in f16 would need scaling",
        )?;
        self.validate_numbers()?;
        self.validate_limits()?;
        self.degradation.proxy_file()?;
        check(
            loss.vgg_crop <= data.crop,
            "loss.vgg_crop: expected at most data.crop",
        )?;
        let seen = if loss.vgg_crop == 0 {
            data.crop
        } else {
            loss.vgg_crop
        };
        let has_vgg = TERMS.iter().any(|term| {
            let is_used = (term.weight)(loss) != 0.0;
            is_used && term.network != Network::Pixels
        });
        check(
            !has_vgg || seen >= SMALLEST_VGG,
            &format!("VGG losses see {seen} pixels; expected {SMALLEST_VGG} or more"),
        )?;
        let patch_gan = self.gan.weight == 0.0 || data.crop >= SMALLEST_GAN;
        check(
            patch_gan,
            &format!(
                "data.crop is {}; the discriminator needs {SMALLEST_GAN} or more",
                data.crop
            ),
        )?;
        check(
            self.gan.weight == 0.0 || self.gan.width > 0,
            "gan.width must be 1 or more",
        )?;
        for term in TERMS {
            let given = match term.network {
                Network::Pixels => continue,
                Network::Vgg16 => &loss.vgg16,
                Network::Vgg19 => &loss.vgg19,
            };
            let key = term.network.key().unwrap_or_default();
            check(
                (term.weight)(loss) == 0.0 || given.is_some(),
                &needs_vgg(term.key, key),
            )?;
        }
        let fdl = &loss.fdl_options;
        check(
            fdl.dimensions == 2,
            &format!(
                "loss.fdl_options.dimensions is {}; expected 2, as training reads images (3 is for clips: frames, height and width)",
                fdl.dimensions
            ),
        )?;
        check(
            fdl.patch > 0 && fdl.projections > 0,
            "loss.fdl_options: patch and projections must be 1 or more",
        )?;
        check(
            (1..=5).contains(&fdl.layer_weights.len()),
            "loss.fdl_options.layer_weights: expected 1 to 5 numbers",
        )?;
        let uses_vgg19 = Network::Vgg19.is_used(loss);
        let first = fdl.layer_weights.iter().position(|&w| w != 0.0);
        check(
            !uses_vgg19 || first.is_some(),
            "loss.fdl_options.layer_weights are all 0: no layer of VGG19 is left",
        )?;
        // Each stage of a VGG halves the map.
        let map = seen >> first.unwrap_or(0);
        check(
            loss.fdl == 0.0 || fdl.patch <= map,
            &format!(
                "loss.fdl_options.patch is {}; the largest feature map has {map} pixels",
                fdl.patch
            ),
        )?;
        check(
            loss.vgg16.is_none() || self.eval.size >= SMALLEST_VGG,
            &format!(
                "eval.size is {}; LPIPS needs {SMALLEST_VGG} or more",
                self.eval.size
            ),
        )
    }

    /// Sizes and counts that would ask for more memory than any machine has.
    fn validate_limits(&self) -> Result<()> {
        let (train, data) = (&self.train, &self.data);
        let limits = [
            ("train.batch", train.batch, MOST_CROPS),
            ("train.accumulate", train.accumulate, MOST_CROPS),
            ("train.skip_bad", train.skip_bad, MOST_SKIPPED),
            ("data.crop", data.crop, LARGEST_SIDE),
            ("data.workers", data.workers, MOST_WORKERS),
            ("data.prefetch", data.prefetch, MOST_AHEAD),
            ("data.cache", data.cache, LARGEST_CACHE),
            ("data.crops_per_photo", data.crops_per_photo, MOST_AHEAD),
            ("data.shuffle", data.shuffle, MOST_CROPS),
            ("eval.size", self.eval.size, LARGEST_SIDE),
            ("gan.width", self.gan.width, WIDEST),
            (
                "loss.fdl_options.projections",
                self.loss.fdl_options.projections,
                MOST_PROJECTIONS,
            ),
            ("model.base_dim", self.model.base_dim.unwrap_or(0), WIDEST),
        ];
        at_most(&limits)
    }

    /// Numbers in their ranges; NaN is in none.
    fn validate_numbers(&self) -> Result<()> {
        let (train, loss, fdl) = (&self.train, &self.loss, &self.loss.fdl_options);
        let check = |holds: bool, key: &str, what: &str| match holds {
            true => Ok(()),
            false => Err(Error::Config(format!("{key}: expected {what}"))),
        };
        let positive = [("train.lr", train.lr), ("gan.lr", self.gan.lr)];
        for (key, value) in positive {
            check(value > 0.0 && value.is_finite(), key, "a positive number")?;
        }
        for (key, value) in [
            ("train.explode", train.explode),
            ("train.explode_loss", train.explode_loss),
        ] {
            check(value > 0.0, key, "a positive number, or inf for no limit")?;
        }
        let weights = [
            ("loss.charbonnier", f64::from(loss.charbonnier)),
            ("loss.kl", loss.kl),
            ("loss.fdl_options.phase_weight", fdl.phase_weight),
            ("gan.weight", self.gan.weight),
            ("train.lr_min", train.lr_min),
            ("train.weight_decay", f64::from(train.weight_decay)),
            ("train.clip", train.clip),
            ("data.min_sharpness", self.data.min_sharpness),
            ("degradation.blur", self.degradation.blur),
            ("degradation.noise", self.degradation.noise),
        ];
        for term in TERMS {
            let weight = (term.weight)(loss);
            check(
                weight >= 0.0 && weight.is_finite(),
                &format!("loss.{}", term.key),
                "0 or a positive number",
            )?;
        }
        let layers = fdl
            .layer_weights
            .iter()
            .map(|&weight| ("loss.fdl_options.layer_weights", weight));
        for (key, value) in weights.into_iter().chain(layers) {
            check(
                value >= 0.0 && value.is_finite(),
                key,
                "0 or a positive number",
            )?;
        }
        for (key, value) in [
            ("degradation.t_max", self.degradation.t_max),
            ("degradation.clean", self.degradation.clean),
        ] {
            check((0.0..=1.0).contains(&value), key, "a number from 0 to 1")?;
        }
        check(
            self.eval.times.len() <= MOST_TIMES
                && self.eval.times.iter().all(|t| 0.0 < *t && *t <= 1.0),
            "eval.times",
            &format!("at most {MOST_TIMES} numbers above 0, up to 1"),
        )?;
        check(
            self.degradation.blur <= WIDEST_BLUR,
            "degradation.blur",
            &format!("at most {WIDEST_BLUR} latent cells"),
        )
    }
}

fn needs_vgg(what: &str, key: &str) -> String {
    format!(
        "loss.{what} needs weights: --set loss.{key}=PATH (a torchvision or timm file, or a hub id), or \
         --set loss.{key}=random:0 for random features"
    )
}
