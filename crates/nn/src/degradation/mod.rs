//! The degradation proxy: a small convolutional network that softens a clean latent as a diffusion model does at a flow time `t`.
//!
//! `y = x + gate(t) f(x, t)` with `gate(0) = 0`, so that at `t = 0` it is the identity whatever the weights are. `f` is a residual
//! network of 3x3 convolutions at the latent's own resolution; `t` scales and shifts the channels inside each block, and once more before
//! the last convolution, so that even a linear filter whose shape depends on `t` is within easy reach. Any size, frame by frame,
//! normalized latents. The default has about a million parameters.
//!
//! A file is safetensors with the names of [`specs`] and the configuration as JSON in its metadata, under [`METADATA`].
//!
//! Source of the scales and shifts: Perez et al., "FiLM: visual reasoning with a general conditioning layer", 2018.

use burn::module::{Module, Param};
use burn::tensor::activation::silu;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use vae2x_core::arch::TensorSpec;
use vae2x_core::weights::{ModelTensors, ModelWeights, TensorFile, formula};
use vae2x_core::{Array, Error, Result};

use crate::conv::conv2d;
use crate::layers::{Linear, TensorSource, parameter};

/// The metadata's key.
pub const METADATA: &str = "vae2x.degradation";

/// The flow time at which the gate has come 63 % of its way to 1; decoders are trained with times around it.
const GATE_TIME: f64 = 0.05;
/// Number of cosines and of sines that encode the time; the fastest turns every sixteenth of the way from 0 to 1.
const OCTAVES: usize = 6;
/// Channels that a file may ask for.
const WIDEST: usize = 1 << 16;
/// Keeps residual blocks and modulations small at the start.
const SMALL: f32 = 0.2;

/// Sizes of a proxy.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyConfig {
    /// Latent channels.
    pub channels: usize,
    /// Channels inside.
    pub width: usize,
    /// Residual blocks of two convolutions.
    pub blocks: usize,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            channels: 16,
            width: 96,
            blocks: 6,
        }
    }
}

/// A convolution of 3x3 that keeps the size.
#[derive(Module, Debug)]
pub struct Conv {
    /// `[O, I, 3, 3]`
    pub weight: Param<Tensor<4>>,
    /// `[O]`
    pub bias: Param<Tensor<1>>,
}

impl Conv {
    fn load(
        name: &str,
        [outputs, inputs]: [usize; 2],
        source: &TensorSource<'_>,
        device: &Device,
    ) -> Result<Self> {
        Ok(Self {
            weight: parameter(
                &format!("{name}.weight"),
                [outputs, inputs, 3, 3],
                source,
                device,
            )?,
            bias: parameter(&format!("{name}.bias"), [outputs], source, device)?,
        })
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        conv2d(
            x,
            self.weight.val(),
            Some(self.bias.val()),
            ConvOptions::new([1, 1], [1, 1], [1, 1], 1),
        )
    }
}

/// `x + conv2(silu(modulated(conv1(silu(x)))))`
#[derive(Module, Debug)]
pub struct Block {
    /// First.
    pub conv1: Conv,
    /// From the time to scales and shifts.
    pub time: Linear,
    /// Second.
    pub conv2: Conv,
}

/// The network. Fields are in the order of [`specs`].
#[derive(Module, Debug)]
pub struct Proxy {
    /// Embeds the time's cosines and sines.
    pub time: [Linear; 2],
    /// To the inner width.
    pub conv_in: Conv,
    /// In the order of the data.
    pub blocks: Vec<Block>,
    /// Scales and shifts before the last convolution.
    pub time_out: Linear,
    /// Back to the latent's channels.
    pub conv_out: Conv,
    #[module(skip)]
    config: ProxyConfig,
}

impl ProxyConfig {
    /// Refuses sizes that are 0.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(&self) -> Result<()> {
        match self.channels > 0 && self.width > 0 && self.blocks > 0 {
            true => Ok(()),
            false => Err(Error::Config(format!("a size of the proxy is 0: {self:?}"))),
        }
    }
}

/// All tensors, in the order of the module's parameters.
pub fn specs(config: &ProxyConfig) -> Vec<TensorSpec> {
    let ProxyConfig {
        channels,
        width,
        blocks,
    } = *config;
    let spec = |name: String, shape: &[usize]| TensorSpec {
        name,
        shape: shape.into(),
    };
    let pair = |name: String, shape: &[usize]| {
        [
            spec(format!("{name}.weight"), shape),
            spec(format!("{name}.bias"), &shape[..1]),
        ]
    };
    let block = |i: usize| {
        [
            pair(format!("blocks.{i}.conv1"), &[width, width, 3, 3]),
            pair(format!("blocks.{i}.time"), &[2 * width, width]),
            pair(format!("blocks.{i}.conv2"), &[width, width, 3, 3]),
        ]
    };
    let before = [
        pair("time.0".into(), &[width, 2 * OCTAVES]),
        pair("time.1".into(), &[width, width]),
        pair("conv_in".into(), &[width, channels, 3, 3]),
    ];
    let after = [
        pair("time_out".into(), &[2 * width, width]),
        pair("conv_out".into(), &[channels, width, 3, 3]),
    ];
    before
        .into_iter()
        .chain((0..blocks).flat_map(block))
        .chain(after)
        .flatten()
        .collect()
}

/// Start values that follow from a seed; the last convolution is 0, so that an untrained proxy changes nothing.
///
/// # Errors
/// None for the names of [`specs`].
pub fn initial(seed: u64, name: &str, shape: &[usize]) -> Result<Array> {
    let gain = if name.contains("conv2") || name.contains("blocks.") && name.contains("time") {
        SMALL
    } else {
        1.0
    };
    match name.starts_with("conv_out") {
        true => Ok(Array::zeros(shape)),
        false => Array::new(
            shape,
            formula::tensor(&format!("proxy.{seed}.{name}"), shape, gain),
        ),
    }
}

impl Proxy {
    /// Builds the network from `source`, which is asked for every tensor of [`specs`].
    ///
    /// # Errors
    /// Errors of `source`; [`Error::Config`] for sizes of 0.
    pub fn load(config: &ProxyConfig, source: &TensorSource<'_>, device: &Device) -> Result<Self> {
        config.validate()?;
        let ProxyConfig {
            channels,
            width,
            blocks,
        } = *config;
        let linear = |name: &str, shape: [usize; 2]| Linear::load(name, shape, source, device);
        let conv = |name: &str, shape: [usize; 2]| Conv::load(name, shape, source, device);
        let block = |i: usize| {
            Ok(Block {
                conv1: conv(&format!("blocks.{i}.conv1"), [width, width])?,
                time: linear(&format!("blocks.{i}.time"), [2 * width, width])?,
                conv2: conv(&format!("blocks.{i}.conv2"), [width, width])?,
            })
        };
        Ok(Self {
            time: [
                linear("time.0", [width, 2 * OCTAVES])?,
                linear("time.1", [width, width])?,
            ],
            conv_in: conv("conv_in", [width, channels])?,
            blocks: (0..blocks).map(block).collect::<Result<_>>()?,
            time_out: linear("time_out", [2 * width, width])?,
            conv_out: conv("conv_out", [channels, width])?,
            config: config.clone(),
        })
    }

    /// Builds the network that a file holds, for latents of `channels` channels.
    ///
    /// # Errors
    /// [`Error::Format`] if it is not a proxy's file; [`Error::NotThisModel`] if it is for another channel count;
    /// [`Error::TensorSet`], [`Error::Tensor`], [`Error::NotFinite`].
    pub fn from_file(file: TensorFile, channels: usize, device: &Device) -> Result<Self> {
        let path = file.path().to_path_buf();
        let Some(text) = file.metadata().get(METADATA) else {
            return Err(Error::format(
                path,
                format!("not a degradation proxy: its metadata has no '{METADATA}'"),
            ));
        };
        let config: ProxyConfig = serde_json::from_str(text)
            .map_err(|e| Error::format(&path, format!("'{METADATA}' in its metadata: {e}")))?;
        if config.channels != channels {
            let found = config.channels;
            return Err(Error::NotThisModel {
                path,
                found: format!(
                    "this proxy is for latents of {found} channels; the latents here have {channels}"
                ),
            });
        }
        config.validate()?;
        if config.blocks > file.tensors().len() || config.width > WIDEST {
            return Err(Error::format(
                path,
                format!("'{METADATA}' in its metadata: {config:?} does not fit its tensors"),
            ));
        }
        let wanted = specs(&config)
            .into_iter()
            .map(|spec| (spec.clone(), spec.name));
        let weights: ModelWeights =
            ModelTensors::from_file(file, None).assign(wanted, |_| false)?;
        Self::load(&config, &|name, shape| weights.tensor(name, shape), device)
    }

    /// The sizes.
    pub fn config(&self) -> &ProxyConfig {
        &self.config
    }

    /// Softens normalized latents.
    ///
    /// # Shapes
    /// `[B, channels, h, w]`, one flow time in [0, 1] for each -> the same shape
    pub fn forward(&self, latents: Tensor<4>, times: &[f64]) -> Tensor<4> {
        let device = latents.device();
        let [first, second] = &self.time;
        let time = silu(second.forward(silu(first.forward(clock(times, &device)))));
        let mut x = self.conv_in.forward(latents.clone());
        for block in &self.blocks {
            let y = modulated(
                block.conv1.forward(silu(x.clone())),
                block.time.forward(time.clone()),
            );
            x = x + block.conv2.forward(silu(y));
        }
        let change = self
            .conv_out
            .forward(modulated(x, self.time_out.forward(time)));
        let gates: Vec<f32> = times
            .iter()
            .map(|t| -(-t / GATE_TIME).exp_m1() as f32)
            .collect();
        latents
            + change * Tensor::from_data(TensorData::new(gates, [times.len(), 1, 1, 1]), &device)
    }

    /// Softens clips frame by frame, or images.
    ///
    /// # Shapes
    /// `[B, channels, T, h, w]`, one flow time for each clip -> the same shape
    pub fn forward_clip(&self, latents: Tensor<5>, times: &[f64]) -> Tensor<5> {
        let t = latents.dims()[2];
        let frames = (0..t).map(|i| {
            let frame = latents.clone().narrow(2, i, 1).squeeze_dim::<4>(2);
            self.forward(frame, times).unsqueeze_dim::<5>(2)
        });
        Tensor::cat(frames.collect(), 2)
    }
}

/// `x (1 + scale) + shift`, per channel.
///
/// # Shapes
/// `[B, C, h, w]`, `[B, 1, 2 C]` -> `[B, C, h, w]`
fn modulated(x: Tensor<4>, parts: Tensor<3>) -> Tensor<4> {
    let [b, c, _, _] = x.dims();
    let part = |i: usize| parts.clone().narrow(2, i * c, c).reshape([b, c, 1, 1]);
    x * (part(0) + 1.0) + part(1)
}

/// Cosines and sines of the times at doubling rates.
///
/// # Shapes
/// `B` times -> `[B, 1, 2 OCTAVES]`
fn clock(times: &[f64], device: &Device) -> Tensor<3> {
    let angles = |t: f64| (0..OCTAVES).map(move |i| t * std::f64::consts::PI * f64::from(1 << i));
    let one = |&t: &f64| angles(t).map(f64::cos).chain(angles(t).map(f64::sin));
    let values: Vec<f32> = times.iter().flat_map(one).map(|v| v as f32).collect();
    Tensor::from_data(
        TensorData::new(values, [times.len(), 1, 2 * OCTAVES]),
        device,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::{to_array, to_tensor};
    use crate::wan_vae::parameters;
    use vae2x_core::weights::write::write_arrays;
    use vae2x_testkit::compare::{assert_close, assert_same};

    const TINY: ProxyConfig = ProxyConfig {
        channels: 3,
        width: 8,
        blocks: 2,
    };

    /// With a last convolution that is not 0.
    fn proxy() -> Proxy {
        Proxy::load(
            &TINY,
            &|name, shape| Array::new(shape, formula::tensor(name, shape, 1.0)),
            &Device::flex(),
        )
        .unwrap()
    }

    fn latents(shape: [usize; 5]) -> Tensor<5> {
        let values = formula::unit("latents", shape.iter().product()).collect();
        to_tensor(
            &Array::new(shape, values).unwrap(),
            "latents",
            &Device::flex(),
        )
        .unwrap()
    }

    #[test]
    fn the_default_has_about_a_million_parameters() {
        let count: usize = specs(&ProxyConfig::default())
            .iter()
            .map(|s| s.shape.iter().product::<usize>())
            .sum();
        assert!((900_000..1_300_000).contains(&count), "{count}");
    }

    #[test]
    fn time_0_is_the_identity_to_the_bit_and_others_are_not() {
        let x = latents([2, 3, 1, 5, 7]);
        let y = proxy().forward_clip(x.clone(), &[0.0, 0.1]);
        let item = |t: &Tensor<5>, b: usize| to_array(t.clone().narrow(0, b, 1)).unwrap();
        assert_same("t = 0", &item(&y, 0), &item(&x, 0));
        assert!(vae2x_testkit::compare::relative_l2(item(&y, 1).data(), item(&x, 1).data()) > 0.01);
    }

    #[test]
    fn clips_are_their_frames_and_batches_their_items() {
        let (proxy, x) = (proxy(), latents([2, 3, 4, 5, 7]));
        let whole = proxy.forward_clip(x.clone(), &[0.05, 0.3]);
        let part = x.narrow(0, 1, 1).narrow(2, 2, 1);
        let want = proxy
            .forward(part.squeeze_dim::<4>(2), &[0.3])
            .unsqueeze_dim::<5>(2);
        let got = whole.narrow(0, 1, 1).narrow(2, 2, 1);
        assert_close(
            "a frame",
            &to_array(got).unwrap(),
            &to_array(want).unwrap(),
            1e-6,
        );
    }

    #[test]
    fn files_come_back_and_others_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("proxy.safetensors");
        let arrays = parameters::read(&proxy(), &specs(&TINY)).unwrap();
        let arrays: Vec<(&str, &Array)> = arrays.iter().map(|(n, a)| (n.as_str(), a)).collect();
        let config = (METADATA.to_string(), serde_json::to_string(&TINY).unwrap());
        write_arrays(&path, &arrays, &[config].into()).unwrap();
        let open = |channels| {
            Proxy::from_file(TensorFile::open(&path).unwrap(), channels, &Device::flex())
        };
        let run =
            |proxy: &Proxy| to_array(proxy.forward_clip(latents([1, 3, 1, 4, 4]), &[0.2])).unwrap();
        assert_same("read again", &run(&open(3).unwrap()), &run(&proxy()));
        let error = open(16).err();
        assert!(
            matches!(
                &error,
                Some(Error::NotThisModel { path: at, found })
                    if *at == path && found.contains(" 3 ") && found.contains("16")
            ),
            "{error:?}"
        );
        let mut broken: Vec<(&str, Array)> =
            arrays.iter().map(|(n, a)| (*n, (*a).clone())).collect();
        broken[1].1.data_mut()[0] = f32::INFINITY;
        let broken: Vec<(&str, &Array)> = broken.iter().map(|(n, a)| (*n, a)).collect();
        let config = (METADATA.to_string(), serde_json::to_string(&TINY).unwrap());
        write_arrays(&path, &broken, &[config].into()).unwrap();
        let error = open(3).err();
        assert!(
            matches!(&error, Some(Error::NotFinite { what, count: 1, .. }) if what.contains(broken[1].0)),
            "{error:?}"
        );
        write_arrays(&path, &arrays, &Default::default()).unwrap();
        let error = open(3).err();
        assert!(
            matches!(&error, Some(Error::Format { path: at, .. }) if *at == path),
            "{error:?}"
        );
    }
}
