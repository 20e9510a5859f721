//! The losses of a decoded image, as one gradient with respect to it.
//!
//! Every group of losses that shares a network is differentiated by itself, from a fresh copy of the image, and its graph is gone
//! before the next one is built; the decoder is differentiated once, with the sum. That is the same gradient with the memory of the
//! largest group instead of all.

use burn::tensor::{Device, Tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vae2x_core::Array;
use vae2x_core::weights::{TensorFile, formula};
use vae2x_nn::array::to_tensor;
use vae2x_nn::loss::fdl::{FdlConfig, Projections, unit_kernels};
use vae2x_nn::loss::lpips::Lpips;
use vae2x_nn::vgg::{self, Depth, Vgg, VggSource};

use super::config::{LossConfig, VggChoice};
use super::terms::{Network, Term, View};
use crate::run::noise::{normal, seeded};
use crate::{Error, Result};

/// The losses and their networks.
pub struct PictureLosses {
    config: LossConfig,
    fdl: FdlConfig,
    lpips: Option<Lpips>,
    vgg19: Option<Vgg>,
    choices: VggChoices,
    /// Unless every step draws its own.
    projections: Option<Projections>,
}

/// The losses of decoded images.
pub struct Pull {
    /// Gradient of the weighted sum with respect to the images, without autodiff.
    pub gradient: Tensor<4>,
    /// Each loss before its weight; `loss` is the weighted sum.
    pub values: Vec<(&'static str, f64)>,
    /// [`squared_pull`] of each weighted loss, at steps that are reported.
    pub squares: Vec<(&'static str, f64)>,
    total: f64,
}

/// The step that losses are wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossStep {
    /// Counted from 0.
    pub step: u64,
    /// Whether each loss is also differentiated by itself, for [`Pull::squares`].
    pub is_reported: bool,
}

impl From<u64> for LossStep {
    /// A step that is not reported.
    fn from(step: u64) -> Self {
        Self {
            step,
            is_reported: false,
        }
    }
}

/// What pulls at the decoded images, squared: the mean square of a gradient times the number of values, so that losses which are means
/// over pixels and images give the same at every crop and batch, and L1 of weight 1 gives 1.
pub fn squared_pull(gradient: &Tensor<4>) -> f64 {
    let count = gradient.dims().iter().product::<usize>() as f64;
    let square = gradient.clone().mul_scalar(count).square().mean();
    f64::from(square.into_scalar::<f32>())
}

impl Pull {
    /// Adds the values and gradient of a group of losses, in one backward pass.
    fn add(
        &mut self,
        pictures: &Tensor<4>,
        terms: &[&Term],
        is_reported: bool,
        losses: impl Fn(Tensor<4>, &[&Term]) -> Result<Values>,
    ) -> Result<()> {
        let differentiate = |terms: &[&Term]| -> Result<_> {
            let leaf = Tensor::from_inner(pictures.clone()).require_grad();
            let values = losses(leaf.clone(), terms)?;
            let numbers: Vec<_> = values
                .iter()
                .map(|(name, weight, loss)| {
                    (*name, *weight, f64::from(loss.clone().into_scalar::<f32>()))
                })
                .collect();
            let weighted = values
                .into_iter()
                .map(|(_, weight, loss)| loss.mul_scalar(weight));
            let sum = weighted.reduce(|a, b| a + b);
            let gradient = sum.and_then(|sum| leaf.grad(&sum.backward()));
            Ok((numbers, gradient.unwrap_or_else(|| pictures.zeros_like())))
        };
        let (numbers, gradient) = differentiate(terms)?;
        for (name, weight, value) in numbers {
            self.values.push((name, value));
            self.total += weight * value;
        }
        if let ([others @ .., last], true) = (terms, is_reported) {
            // The last one's gradient is what the others leave of the sum, so that training does not depend on what is reported.
            let mut rest = gradient.clone();
            for term in others {
                let (_, own) = differentiate(&[term])?;
                self.squares.push((term.pull, squared_pull(&own)));
                rest = rest - own;
            }
            self.squares.push((last.pull, squared_pull(&rest)));
        }
        self.gradient = self.gradient.clone() + gradient;
        Ok(())
    }
}

/// Losses of an image: name, weight, value.
type Values = Vec<(&'static str, f64, Tensor<1>)>;

/// Where the weights of both VGGs come from.
#[derive(Clone, Debug, Default)]
pub struct VggChoices {
    /// For LPIPS.
    pub vgg16: Option<VggChoice>,
    /// For the frequency distribution and the feature L1.
    pub vgg19: Option<VggChoice>,
}

impl VggChoices {
    /// The choice for a network that has weights.
    ///
    /// # Errors
    /// [`Error::Config`] if it is missing.
    fn of(&self, network: Network) -> Result<&VggChoice> {
        let choice = match network {
            Network::Pixels => None,
            Network::Vgg16 => self.vgg16.as_ref(),
            Network::Vgg19 => self.vgg19.as_ref(),
        };
        let key = network.key().unwrap_or_default();
        choice.ok_or_else(|| Error::Config(format!("loss.{key} is missing")))
    }

    /// The name of a loss in logs.
    fn name(&self, term: &Term) -> &'static str {
        let choice = self.of(term.network);
        choice.map_or(term.names[0], |choice| choice.label(term.names))
    }
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
    /// Builds what `config` gives a weight, with what is drawn once drawn from `seed`. Networks are constants: `device` has no
    /// autodiff.
    ///
    /// # Errors
    /// [`Error::Config`] if weights are missing; reading errors.
    pub fn load(
        config: &LossConfig,
        choices: &VggChoices,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        let fdl = config.fdl_options.to_config();
        let last_stage = fdl.stage_weights.iter().rposition(|&w| w != 0.0);
        let stages = last_stage.map_or(0, |last| last + 1);
        let choice = |network: Network| {
            let is_used = network.is_used(config);
            is_used.then(|| choices.of(network)).transpose()
        };
        let load_vgg19 = |choice| {
            with_source(choice, Depth::Vgg19, |source| {
                Vgg::load(Depth::Vgg19, stages, source, device)
            })
        };
        let is_fixed = config.fdl != 0.0 && !config.fdl_options.resample;
        let projections = is_fixed.then(|| match choices.vgg19 {
            Some(VggChoice::Formula) => projections_by_formula(&fdl, 0, device),
            _ => drawn_projections(&fdl, seed, device),
        });
        Ok(Self {
            projections: projections.transpose()?,
            lpips: choice(Network::Vgg16)?
                .map(|choice| load_lpips(choice, device))
                .transpose()?,
            vgg19: choice(Network::Vgg19)?.map(load_vgg19).transpose()?,
            config: config.clone(),
            choices: choices.clone(),
            fdl,
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
        at: impl Into<LossStep>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Pull> {
        let at = at.into();
        let mut pull = Pull {
            gradient: pictures.zeros_like(),
            values: Vec::new(),
            squares: Vec::new(),
            total: 0.0,
        };
        let window = self.window(pictures.dims(), rng);
        for network in Network::ALL {
            let terms: Vec<&Term> = network.terms(&self.config).collect();
            if terms.is_empty() {
                continue;
            }
            let part = |x: Tensor<4>| match network {
                Network::Pixels => x,
                _ => window(x),
            };
            let target = part(target.clone());
            let wanted = self.features(network, &target);
            let projections = self.projections(network, &target.device(), at.step, rng)?;
            pull.add(pictures, &terms, at.is_reported, |x, terms| {
                let picture = part(x);
                let view = View {
                    features: [self.features(network, &picture), wanted.clone()],
                    picture,
                    target: target.clone(),
                    lpips: self.lpips.as_ref(),
                    projections: projections.as_ref(),
                    fdl: &self.fdl,
                    config: &self.config,
                };
                let value = |term: &&Term| -> Result<_> {
                    let weight = (term.weight)(&self.config);
                    Ok((self.choices.name(term), weight, (term.value)(&view)?))
                };
                terms.iter().map(value).collect()
            })?;
        }
        let total = pull.total;
        pull.values.push(("loss", total));
        Ok(pull)
    }

    /// The part that VGG losses see, at one place for both images.
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

    /// VGG19's features, for its losses.
    fn features(&self, network: Network, picture: &Tensor<4>) -> Vec<Tensor<4>> {
        match (network, &self.vgg19) {
            (Network::Vgg19, Some(vgg)) => vgg.features(picture.clone()),
            _ => Vec::new(),
        }
    }

    /// The random kernels of the frequency distribution loss, if it has a weight. By formula, named by the step, where VGG19's
    /// weights are: for comparing with other programs.
    fn projections(
        &self,
        network: Network,
        device: &Device,
        step: u64,
        rng: &mut ChaCha8Rng,
    ) -> Result<Option<Projections>> {
        if network != Network::Vgg19 || self.config.fdl == 0.0 {
            return Ok(None);
        }
        if self.projections.is_some() {
            return Ok(self.projections.clone());
        }
        if self.choices.vgg19 == Some(VggChoice::Formula) {
            return projections_by_formula(&self.fdl, step, device).map(Some);
        }
        let widths = Depth::Vgg19.widths();
        let draw = |device: &Device| Projections::sample(&self.fdl, &widths, device);
        Ok(Some(seeded(device, rng.random(), draw)))
    }
}

/// The kernels of a run, the same on every device.
fn drawn_projections(fdl: &FdlConfig, seed: u64, device: &Device) -> Result<Projections> {
    projections(fdl, device, |stage, shape| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // Steps count from 0.
        rng.set_stream(u64::MAX - stage as u64);
        Ok(normal(shape, &mut rng))
    })
}

fn projections_by_formula(fdl: &FdlConfig, step: u64, device: &Device) -> Result<Projections> {
    projections(fdl, device, |stage, shape| {
        let name = format!("fdl.proj.{step}.{stage}");
        let values = formula::unit(&name, shape.iter().product()).collect();
        Ok(Array::new(shape, values)?)
    })
}

/// Kernels from the values that `fill` has for a stage and a shape.
fn projections(
    fdl: &FdlConfig,
    device: &Device,
    fill: impl Fn(usize, &[usize]) -> Result<Array>,
) -> Result<Projections> {
    let stages = fdl.stage_weights.iter().zip(Depth::Vgg19.widths());
    let kernels = |(stage, (weight, channels)): (usize, (&f64, usize))| {
        if *weight == 0.0 {
            return Ok(None);
        }
        let values = fill(stage, &fdl.kernels(channels))?;
        Ok(Some(unit_kernels(to_tensor(
            &values,
            "projections",
            device,
        )?)))
    };
    Ok(Projections {
        stages: stages.enumerate().map(kernels).collect::<Result<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use vae2x_nn::array::to_array;

    fn losses(resample: bool, seed: u64) -> PictureLosses {
        let mut config = LossConfig {
            fdl: 1.0,
            ..LossConfig::default()
        };
        config.fdl_options.resample = resample;
        config.fdl_options.projections = 2;
        config.fdl_options.layer_weights = vec![1.0];
        let choices = VggChoices {
            vgg16: None,
            vgg19: Some(VggChoice::Random(0)),
        };
        PictureLosses::load(&config, &choices, seed, &Device::flex()).unwrap()
    }

    #[test]
    fn kernels_are_drawn_once_from_the_seed_or_each_step_from_its_numbers() {
        let image = |name: &str| {
            let values = formula::unit(name, 3 * 16 * 16).collect();
            let image = Array::new([1, 3, 16, 16], values).unwrap();
            to_tensor::<4>(&image, name, &Device::flex()).unwrap()
        };
        let pull = |losses: &PictureLosses, step: u64| {
            let mut rng = ChaCha8Rng::seed_from_u64(5);
            rng.set_stream(step);
            let pull = losses
                .pull(&image("x"), &image("y"), step, &mut rng)
                .unwrap();
            to_array(pull.gradient).unwrap()
        };
        let (once, each) = (losses(false, 5), losses(true, 5));
        assert_eq!(pull(&once, 0), pull(&once, 1));
        assert_eq!(pull(&once, 0), pull(&losses(false, 5), 1));
        assert_ne!(pull(&once, 0), pull(&losses(false, 6), 0));
        assert_ne!(pull(&each, 0), pull(&each, 1));
        assert_eq!(pull(&each, 1), pull(&losses(true, 5), 1));
    }
}
