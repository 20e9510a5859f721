//! The losses of a decoded picture, as one gradient with respect to it.
//!
//! Every group of losses that shares a network is differentiated by itself, from a fresh copy of the picture, and its graph is gone
//! before the next one is built; the decoder is differentiated once, with the sum. That is the same gradient with the memory of the
//! largest group instead of all.

use burn::tensor::{Device, Tensor};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use vae2x_core::weights::{TensorFile, formula};
use vae2x_core::{Array, Error as CoreError};
use vae2x_nn::array::to_tensor;
use vae2x_nn::loss::fdl::{FdlConfig, Projections, fdl, unit_kernels};
use vae2x_nn::loss::l1::{charbonnier, l1};
use vae2x_nn::loss::lpips::{Lpips, feature_l1};
use vae2x_nn::vgg::{self, Depth, Vgg, VggSource};

use crate::config::{LossConfig, VggChoice};
use crate::ranks::seeded;
use crate::{Error, Result};

/// The losses and their networks.
pub struct PictureLosses {
    config: LossConfig,
    fdl: FdlConfig,
    lpips: Option<Lpips>,
    vgg19: Option<Vgg>,
    /// Of LPIPS, feature L1 and the frequency distribution loss.
    names: [&'static str; 3],
    /// Projections by formula, named by the step, as VGG19's weights are: for comparing with other programs.
    formula_projections: bool,
}

/// What the losses say of a picture.
pub struct Pull {
    /// Of the weighted sum with respect to the pictures, without autodiff.
    pub gradient: Tensor<4>,
    /// Each loss before its weight; `loss` is the weighted sum.
    pub values: Vec<(&'static str, f64)>,
    total: f64,
}

impl Pull {
    /// Adds what a group of losses says of the pictures, in one backward pass.
    fn add(
        &mut self,
        pictures: &Tensor<4>,
        losses: impl FnOnce(Tensor<4>) -> Result<Terms>,
    ) -> Result<()> {
        let leaf = Tensor::from_inner(pictures.clone()).require_grad();
        let mut weighted = Vec::new();
        for (name, weight, loss) in losses(leaf.clone())? {
            let value = f64::from(loss.clone().into_scalar::<f32>());
            self.values.push((name, value));
            self.total += weight * value;
            weighted.push(loss.mul_scalar(weight));
        }
        let sum = weighted.into_iter().reduce(|a, b| a + b);
        if let Some(gradient) = sum.and_then(|sum| leaf.grad(&sum.backward())) {
            self.gradient = self.gradient.clone() + gradient;
        }
        Ok(())
    }
}

/// For [`VggChoice::label`].
pub const LPIPS_NAMES: [&str; 3] = ["lpips", "lpips_random", "lpips_formula"];
const FEATURE_L1_NAMES: [&str; 3] = ["feature_l1", "feature_l1_random", "feature_l1_formula"];
const FDL_NAMES: [&str; 3] = ["fdl", "fdl_random", "fdl_formula"];

/// Losses of a picture: name, weight, value.
type Terms = Vec<(&'static str, f64, Tensor<1>)>;

/// Where the weights of both VGGs come from.
#[derive(Clone, Debug, Default)]
pub struct VggChoices {
    /// For LPIPS.
    pub vgg16: Option<VggChoice>,
    /// For the frequency distribution and the feature L1.
    pub vgg19: Option<VggChoice>,
}

/// Calls `build` with the weights that a choice names.
fn with_source<T>(
    choice: &VggChoice,
    depth: Depth,
    build: impl FnOnce(&VggSource<'_>) -> vae2x_core::Result<T>,
) -> Result<T> {
    Ok(match choice {
        VggChoice::Formula => build(&vgg::formula(depth))?,
        VggChoice::Random(seed) => build(&vgg::random(*seed))?,
        VggChoice::File(path) => build(&vgg::from_file(&TensorFile::open(path)?))?,
    })
}

/// LPIPS with VGG16 from `choice`.
///
/// # Errors
/// If a file lacks a tensor.
pub fn load_lpips(choice: &VggChoice, device: &Device) -> Result<Lpips> {
    with_source(choice, Depth::Vgg16, |source| Lpips::load(source, device))
}

impl PictureLosses {
    /// Builds what `config` gives a weight. Networks are constants: `device` has no autodiff.
    ///
    /// # Errors
    /// [`Error::Config`] if weights are missing; reading errors.
    pub fn load(config: &LossConfig, choices: &VggChoices, device: &Device) -> Result<Self> {
        let missing = |key: &str| Error::Config(format!("loss.{key} is missing"));
        let lpips = match (config.lpips != 0.0, &choices.vgg16) {
            (false, _) => None,
            (true, None) => return Err(missing("vgg16")),
            (true, Some(choice)) => Some(load_lpips(choice, device)?),
        };
        let fdl = config.fdl_options.to_config();
        let stages = fdl
            .stage_weights
            .iter()
            .rposition(|&w| w != 0.0)
            .map_or(0, |last| last + 1);
        let vgg19 = match (
            config.fdl != 0.0 || config.feature_l1 != 0.0,
            &choices.vgg19,
        ) {
            (false, _) => None,
            (true, None) => return Err(missing("vgg19")),
            (true, Some(choice)) => Some(with_source(choice, Depth::Vgg19, |source| {
                Vgg::load(Depth::Vgg19, stages, source, device)
            })?),
        };
        let formula_projections = choices.vgg19 == Some(VggChoice::Formula);
        let [vgg16_label, vgg19_label] = [&choices.vgg16, &choices.vgg19].map(|choice| {
            move |names: [&'static str; 3]| {
                choice
                    .as_ref()
                    .map_or(names[0], |choice| choice.label(names))
            }
        });
        let names = [
            vgg16_label(LPIPS_NAMES),
            vgg19_label(FEATURE_L1_NAMES),
            vgg19_label(FDL_NAMES),
        ];
        Ok(Self {
            config: config.clone(),
            fdl,
            lpips,
            vgg19,
            names,
            formula_projections,
        })
    }

    /// Values and gradient of a batch.
    ///
    /// # Shapes
    /// `[B, 3, H, W]` in [-1, 1], both, without autodiff
    ///
    /// # Errors
    /// If the crop is too small for the losses.
    pub fn pull(
        &self,
        pictures: &Tensor<4>,
        target: &Tensor<4>,
        step: u64,
        rng: &mut ChaCha8Rng,
    ) -> Result<Pull> {
        let mut pull = Pull {
            gradient: pictures.zeros_like(),
            values: Vec::new(),
            total: 0.0,
        };
        let config = &self.config;
        let [lpips_name, feature_l1_name, fdl_name] = self.names;
        if config.l1 != 0.0 {
            pull.add(pictures, |x| {
                let loss = match config.charbonnier {
                    0.0 => l1(x, target.clone()),
                    epsilon => charbonnier(x, target.clone(), epsilon),
                };
                Ok(vec![("l1", config.l1, loss)])
            })?;
        }
        let window = self.window(pictures.dims(), rng);
        if let Some(lpips) = &self.lpips {
            let wanted = window(target.clone());
            pull.add(pictures, |x| {
                Ok(vec![(
                    lpips_name,
                    config.lpips,
                    lpips.distance(window(x), wanted).mean(),
                )])
            })?;
        }
        if let Some(vgg) = &self.vgg19 {
            let wanted = vgg.features(window(target.clone()));
            let with_fdl = config.fdl != 0.0;
            let projections = with_fdl
                .then(|| self.projections(&wanted, step, rng))
                .transpose()?;
            pull.add(pictures, |x| {
                let (seen, mut terms) = (vgg.features(window(x)), Vec::new());
                if config.feature_l1 != 0.0 {
                    terms.push((
                        feature_l1_name,
                        config.feature_l1,
                        feature_l1(&seen, &wanted).mean(),
                    ));
                }
                if let Some(projections) = projections {
                    terms.push((
                        fdl_name,
                        config.fdl,
                        fdl(&self.fdl, &projections, &seen, &wanted)?.mean(),
                    ));
                }
                Ok(terms)
            })?;
        }
        let total = pull.total;
        pull.values.push(("loss", total));
        Ok(pull)
    }

    /// The part that VGG losses see, at one place for both pictures.
    fn window(
        &self,
        [_, _, h, w]: [usize; 4],
        rng: &mut ChaCha8Rng,
    ) -> impl Fn(Tensor<4>) -> Tensor<4> + use<> {
        let side = self.config.vgg_crop;
        let is_part = side != 0 && side < h.min(w);
        let place = if is_part {
            [
                rng.random_range(0..=h - side),
                rng.random_range(0..=w - side),
            ]
        } else {
            [0, 0]
        };
        move |x| {
            if is_part {
                x.narrow(2, place[0], side).narrow(3, place[1], side)
            } else {
                x
            }
        }
    }

    fn projections(
        &self,
        features: &[Tensor<4>],
        step: u64,
        rng: &mut ChaCha8Rng,
    ) -> Result<Projections> {
        let shapes: Vec<_> = features.iter().map(Tensor::dims).collect();
        let device = features
            .first()
            .map(Tensor::device)
            .ok_or_else(|| CoreError::Config("no features".into()))?;
        if !self.formula_projections {
            return Ok(seeded(&device, rng.random(), |device| {
                Projections::sample(&self.fdl, &shapes, device)
            }));
        }
        let by_formula = |(i, shape): (usize, &[usize; 4])| -> Result<Option<Tensor<4>>> {
            let patch = self.fdl.patch;
            if self.fdl.stage_weights[i] == 0.0 || shape[2].min(shape[3]) < patch {
                return Ok(None);
            }
            let shape = [self.fdl.projections, shape[1], patch, patch];
            let values =
                formula::unit(&format!("fdl.proj.{step}.{i}"), shape.iter().product()).collect();
            Ok(Some(unit_kernels(to_tensor(
                &Array::new(shape, values)?,
                "projections",
                &device,
            )?)))
        };
        Ok(Projections {
            stages: shapes
                .iter()
                .enumerate()
                .map(by_formula)
                .collect::<Result<_>>()?,
        })
    }
}
