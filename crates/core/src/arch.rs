//! The ordered list of layers, with the names and shapes of their tensors, that every engine builds from.
//!
//! Names are those of the original layout (`decoder.upsamples.4.residual.2.weight`), shapes those of the original
//! five-dimensional file. The order is the order in which data flows. The semantics of a layer are defined once, here;
//! engines implement them. Source of the architecture: Wan2.1, `wan/modules/vae.py`
//! (<https://github.com/Wan-Video/Wan2.1/blob/main/wan/modules/vae.py>).

use crate::config::VaeConfig;

/// The frames before one that a convolution over time sees.
const PAST: usize = 2;

/// A tensor of the model: its canonical name and shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Name in the original layout.
    pub name: String,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
}

/// The taps of a convolution, which also fix the rank of its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taps {
    /// `[O, I, 3, 3, 3]`: zero padding 1 in space; in time the two frames before (zeros before the first).
    Causal,
    /// `[O, I, 1, 1, 1]`: per pixel.
    Point,
    /// `[O, I, 1, 1]`: per pixel of each frame (attention).
    FramePoint,
    /// `[O, I, 3, 3]`: per frame (after upsampling: zero padding 1; downsampling: see [`Layer::Downsample`]).
    Frame,
    /// `[O, I, 3, 1, 1]`: per pixel, over three frames.
    Time,
}

/// A convolution: `NAME.weight` and `NAME.bias`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Prefix of the tensors' names.
    pub name: String,
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Taps.
    pub taps: Taps,
}

/// RMS norm over the channels of each pixel: `x / max(|x|_2, 1e-12) * sqrt(C) * gamma`; `NAME.gamma`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Norm {
    /// Prefix of the tensor's name.
    pub name: String,
    /// Channels.
    pub channels: usize,
    /// Trailing axes of length 1 in the file: 3 for clips, 2 for the norm of the attention.
    pub trailing: usize,
}

/// `shortcut(x) + conv2(silu(norm2(conv1(silu(norm1(x))))))`, the shortcut being the identity if absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Residual {
    /// Before the first convolution.
    pub norm1: Norm,
    /// `inputs -> outputs`, [`Taps::Causal`].
    pub conv1: Conv,
    /// Before the second convolution.
    pub norm2: Norm,
    /// `outputs -> outputs`, [`Taps::Causal`].
    pub conv2: Conv,
    /// `inputs -> outputs`, [`Taps::Point`]; only where they differ.
    pub shortcut: Option<Conv>,
}

/// `x + proj(attention(to_qkv(norm(x))))`: one head of all channels, over all cells of one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attention {
    /// Before the attention.
    pub norm: Norm,
    /// `C -> 3 C`: queries, keys, values.
    pub to_qkv: Conv,
    /// `C -> C`.
    pub proj: Conv,
}

/// One step of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layer {
    /// A plain convolution.
    Conv(Conv),
    /// A residual block.
    Residual(Residual),
    /// Attention within each frame.
    Attention(Attention),
    /// First `time`, if present: every frame but the very first of a clip becomes two, whose channels are the halves of
    /// `time`'s output (`C -> 2 C`, [`Taps::Time`], the two frames before, where zeros stand for the very first frame and
    /// all before it). Then nearest-neighbour 2x in space and `conv` (`C -> C / 2`, [`Taps::Frame`]) on each frame.
    Upsample {
        /// Doubles time.
        time: Option<Conv>,
        /// After the enlargement.
        conv: Conv,
    },
    /// First `conv` on each frame: padding of 1 on the right and below, stride 2. Then `time`, if present: the very first
    /// frame passes; from then on a stride of 2 over the frames, each output seeing its pair and the frame before.
    Downsample {
        /// Halves space.
        conv: Conv,
        /// Halves time ([`Taps::Time`]).
        time: Option<Conv>,
    },
    /// `conv(silu(norm(x)))`.
    Head {
        /// Before the last convolution.
        norm: Norm,
        /// The last convolution, [`Taps::Causal`].
        conv: Conv,
    },
}

impl Conv {
    fn new(name: String, inputs: usize, outputs: usize, taps: Taps) -> Self {
        Self {
            name,
            inputs,
            outputs,
            taps,
        }
    }

    /// Name and shape of the weight.
    pub fn weight(&self) -> TensorSpec {
        let taps: &[usize] = match self.taps {
            Taps::Causal => &[3, 3, 3],
            Taps::Point => &[1, 1, 1],
            Taps::FramePoint => &[1, 1],
            Taps::Frame => &[3, 3],
            Taps::Time => &[3, 1, 1],
        };
        TensorSpec {
            name: format!("{}.weight", self.name),
            shape: [&[self.outputs, self.inputs], taps].concat(),
        }
    }

    /// Name and shape of the bias.
    pub fn bias(&self) -> TensorSpec {
        TensorSpec {
            name: format!("{}.bias", self.name),
            shape: vec![self.outputs],
        }
    }
}

impl Norm {
    fn new(name: String, channels: usize, trailing: usize) -> Self {
        Self {
            name,
            channels,
            trailing,
        }
    }

    /// Name and shape of gamma.
    pub fn gamma(&self) -> TensorSpec {
        let shape = [vec![self.channels], vec![1; self.trailing]].concat();
        TensorSpec {
            name: format!("{}.gamma", self.name),
            shape,
        }
    }
}

impl Residual {
    fn new(name: &str, inputs: usize, outputs: usize) -> Self {
        let part = |i: usize| format!("{name}.residual.{i}");
        Self {
            norm1: Norm::new(part(0), inputs, 3),
            conv1: Conv::new(part(2), inputs, outputs, Taps::Causal),
            norm2: Norm::new(part(3), outputs, 3),
            conv2: Conv::new(part(6), outputs, outputs, Taps::Causal),
            shortcut: (inputs != outputs)
                .then(|| Conv::new(format!("{name}.shortcut"), inputs, outputs, Taps::Point)),
        }
    }
}

impl Attention {
    fn new(name: &str, channels: usize) -> Self {
        let part = |p: &str| format!("{name}.{p}");
        Self {
            norm: Norm::new(part("norm"), channels, 2),
            to_qkv: Conv::new(part("to_qkv"), channels, 3 * channels, Taps::FramePoint),
            proj: Conv::new(part("proj"), channels, channels, Taps::FramePoint),
        }
    }
}

impl Layer {
    /// The layer's convolutions and norms, in the order data meets them.
    fn parts(&self) -> (Vec<&Norm>, Vec<&Conv>) {
        match self {
            Self::Conv(conv) => (vec![], vec![conv]),
            Self::Residual(r) => (
                vec![&r.norm1, &r.norm2],
                [&r.conv1, &r.conv2]
                    .into_iter()
                    .chain(&r.shortcut)
                    .collect(),
            ),
            Self::Attention(a) => (vec![&a.norm], vec![&a.to_qkv, &a.proj]),
            Self::Upsample { time, conv } | Self::Downsample { conv, time } => {
                (vec![], [conv].into_iter().chain(time).collect())
            }
            Self::Head { norm, conv } => (vec![norm], vec![conv]),
        }
    }

    fn causal_convs(&self) -> usize {
        let (_, convs) = self.parts();
        convs.iter().filter(|c| c.taps == Taps::Causal).count()
    }

    /// All tensors of the layer.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let (norms, convs) = self.parts();
        let gammas = norms.into_iter().map(Norm::gamma);
        gammas
            .chain(convs.into_iter().flat_map(|c| [c.weight(), c.bias()]))
            .collect()
    }
}

/// Pixels `[image_channels, F, H, W]` in [-1, 1] -> mean and log-variance `[2 z_dim, T, h, w]`; the mean is the raw latent.
pub fn encoder(config: &VaeConfig) -> Vec<Layer> {
    let width = |stage: usize| config.encoder_base_dim * config.dim_mult[stage];
    let mut layers = vec![Layer::Conv(Conv::new(
        "encoder.conv1".into(),
        config.image_channels,
        config.encoder_base_dim,
        Taps::Causal,
    ))];
    let mut channels = config.encoder_base_dim;
    let mut index = 0;
    let mut next = || {
        index += 1;
        format!("encoder.downsamples.{}", index - 1)
    };
    for stage in 0..config.dim_mult.len() {
        for _ in 0..config.num_res_blocks {
            layers.push(Layer::Residual(Residual::new(
                &next(),
                channels,
                width(stage),
            )));
            channels = width(stage);
        }
        if let Some(&temporal) = config.temporal_downsample.get(stage) {
            let name = next();
            let time = Conv::new(format!("{name}.time_conv"), channels, channels, Taps::Time);
            layers.push(Layer::Downsample {
                conv: Conv::new(
                    format!("{name}.resample.1"),
                    channels,
                    channels,
                    Taps::Frame,
                ),
                time: temporal.then_some(time),
            });
        }
    }
    layers.extend(middle("encoder", channels));
    layers.push(head("encoder", channels, 2 * config.z_dim));
    layers.push(Layer::Conv(Conv::new(
        "conv1".into(),
        2 * config.z_dim,
        2 * config.z_dim,
        Taps::Point,
    )));
    layers
}

/// Raw latent `[z_dim, T, h, w]` -> `[out_channels, F, 8h, 8w]`, to be pixel-shuffled.
pub fn decoder(config: &VaeConfig) -> Vec<Layer> {
    let width = |stage: usize| config.decoder_base_dim * config.dim_mult[stage];
    let coarsest = config.dim_mult.len() - 1;
    let mut channels = width(coarsest);
    let mut layers = vec![
        Layer::Conv(Conv::new(
            "conv2".into(),
            config.z_dim,
            config.z_dim,
            Taps::Point,
        )),
        Layer::Conv(Conv::new(
            "decoder.conv1".into(),
            config.z_dim,
            channels,
            Taps::Causal,
        )),
    ];
    layers.extend(middle("decoder", channels));
    let mut index = 0;
    let mut next = || {
        index += 1;
        format!("decoder.upsamples.{}", index - 1)
    };
    for stage in (0..=coarsest).rev() {
        for _ in 0..=config.num_res_blocks {
            layers.push(Layer::Residual(Residual::new(
                &next(),
                channels,
                width(stage),
            )));
            channels = width(stage);
        }
        if stage > 0 {
            let name = next();
            let time = Conv::new(
                format!("{name}.time_conv"),
                channels,
                2 * channels,
                Taps::Time,
            );
            layers.push(Layer::Upsample {
                time: config.temporal_downsample[stage - 1].then_some(time),
                conv: Conv::new(
                    format!("{name}.resample.1"),
                    channels,
                    channels / 2,
                    Taps::Frame,
                ),
            });
            channels /= 2;
        }
    }
    layers.push(head("decoder", channels, config.out_channels));
    layers
}

/// The number of latent frames before one that its pixels depend on, through the past of all layers. Decoding that begins
/// that much earlier and one more, for the first latent frame gives no second one, has the bits of the whole clip.
///
/// An engine may compute the frames of a latent frame together, so that each has rounding from all that any of them sees.
pub fn decoder_past(config: &VaeConfig) -> usize {
    let layers = decoder(config);
    let doubles = |layer: &&Layer| matches!(layer, Layer::Upsample { time: Some(_), .. });
    let mut together = 1 << layers.iter().filter(doubles).count();
    // From the pixels back to the latent, in frames at each layer's input.
    let mut past = 0usize;
    for layer in layers.iter().rev() {
        for _ in 0..layer.causal_convs() {
            past = past.next_multiple_of(together) + PAST;
        }
        if doubles(&layer) {
            past = past.div_ceil(2) + PAST;
            together /= 2;
        }
    }
    past
}

/// Every tensor of the model: the encoder's, then the decoder's.
pub fn tensors(config: &VaeConfig) -> Vec<TensorSpec> {
    encoder(config)
        .iter()
        .chain(&decoder(config))
        .flat_map(Layer::tensors)
        .collect()
}

/// Whether a tensor of this canonical name is the encoder's, not the decoder's.
pub fn is_of_encoder(name: &str) -> bool {
    ["encoder.", "conv1."]
        .iter()
        .any(|part| name.starts_with(part))
}

fn middle(side: &str, channels: usize) -> [Layer; 3] {
    [
        Layer::Residual(Residual::new(
            &format!("{side}.middle.0"),
            channels,
            channels,
        )),
        Layer::Attention(Attention::new(&format!("{side}.middle.1"), channels)),
        Layer::Residual(Residual::new(
            &format!("{side}.middle.2"),
            channels,
            channels,
        )),
    ]
}

fn head(side: &str, channels: usize, outputs: usize) -> Layer {
    Layer::Head {
        norm: Norm::new(format!("{side}.head.0"), channels, 3),
        conv: Conv::new(format!("{side}.head.2"), channels, outputs, Taps::Causal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_published_model_has_its_published_size() {
        let specs = tensors(&VaeConfig::default());
        let parameters: usize = specs
            .iter()
            .map(|s| s.shape.iter().product::<usize>())
            .sum();
        assert_eq!((specs.len(), parameters), (194, 126_892_531));
        assert_eq!(
            specs.iter().map(|s| &s.name).collect::<HashSet<_>>().len(),
            194
        );
    }

    #[test]
    fn the_past_of_the_decoder_is_that_of_all_its_layers() {
        // At base resolution the head's convolution and those of six blocks, each a latent frame of four further back, but the
        // first; six at half of it, after the doubling; six more, four of the middle and the first at the latent's rate.
        let finest = 12 * 4 + 2;
        let half = (finest / 2 + 2usize).next_multiple_of(2) + 6 * 2;
        let latent = half / 2 + 2 + (6 + 4 + 1) * 2;
        assert_eq!(decoder_past(&VaeConfig::default()), latent);
    }

    #[test]
    fn every_tensor_is_of_one_side() {
        let config = VaeConfig::default();
        let all = |layers: Vec<Layer>, is_encoder: bool| {
            let names = layers.iter().flat_map(Layer::tensors);
            names
                .map(|s| s.name)
                .all(|n| is_of_encoder(&n) == is_encoder)
        };
        assert!(all(encoder(&config), true) && all(decoder(&config), false));
    }

    #[test]
    fn names_and_shapes_are_the_files() {
        let specs = tensors(&VaeConfig::with_widths(96, 12));
        let shape = |name: &str| {
            specs
                .iter()
                .find(|s| s.name == name)
                .map(|s| s.shape.clone())
        };
        assert_eq!(
            shape("decoder.upsamples.4.residual.2.weight"),
            Some(vec![384, 192, 3, 3, 3])
        );
        assert_eq!(
            shape("decoder.upsamples.4.shortcut.weight"),
            Some(vec![384, 192, 1, 1, 1])
        );
        assert_eq!(
            shape("decoder.upsamples.3.time_conv.weight"),
            Some(vec![768, 384, 3, 1, 1])
        );
        assert_eq!(shape("decoder.upsamples.11.time_conv.weight"), None);
        assert_eq!(
            shape("encoder.downsamples.8.resample.1.weight"),
            Some(vec![384, 384, 3, 3])
        );
        assert_eq!(shape("decoder.middle.1.norm.gamma"), Some(vec![384, 1, 1]));
        assert_eq!(shape("decoder.head.2.weight"), Some(vec![12, 96, 3, 3, 3]));
    }
}
