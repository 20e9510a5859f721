//! The least memory of a decoder's training.

use vae2x_core::arch::{self, Layer, TensorSpec};
use vae2x_core::{Precision, VaeConfig};
use vae2x_nn::discriminator;
use vae2x_nn::wan_vae::parameters::{decoder_specs, encoder_specs};

use super::config::{Config, Part};
use super::images::image_specs;
use super::terms::Network;
use crate::data::order::Order;
use crate::run::memory::{Need, Place, VALUE, parameters};

/// Convolutions and channels of VGG16's stages, each of half the size of the one before; VGG19 has more.
const VGG: [(f64, f64); 5] = [
    (2.0, 64.0),
    (2.0, 128.0),
    (3.0, 256.0),
    (3.0, 512.0),
    (3.0, 512.0),
];

/// What a run takes on each device, and on the host, for a model of `vae`; `has_time` is whether it has temporal taps.
pub fn need(config: &Config, vae: &VaeConfig, has_time: bool) -> Need {
    let vae = &VaeConfig {
        out_channels: 3 * config.scale().pow(2),
        ..vae.clone()
    };
    let need = model(Need::default(), config, vae, has_time);
    let need = graph(need, config, vae);
    let need = losses(need, config);
    crops(need, config)
}

fn with_encoder(config: &Config) -> bool {
    config.part() != Part::Decoder
}

fn batch(config: &Config) -> String {
    let (batch, crop) = (config.train.batch, config.data.crop);
    format!("a batch (train.batch = {batch}, data.crop = {crop})")
}

/// The networks.
fn model(need: Need, config: &Config, vae: &VaeConfig, has_time: bool) -> Need {
    let [decoder, encoder] = match config.is_of_images() {
        true => [decoder_specs(vae, false), encoder_specs(vae, false)].map(image_specs),
        false => {
            // Single frames give convolutions over time no gradient.
            let is_still = |spec: &TensorSpec| !spec.name.contains(".time_conv.");
            [decoder_specs(vae, has_time), encoder_specs(vae, has_time)]
                .map(|specs| specs.into_iter().filter(is_still).collect())
        }
    };
    let of = match config.model.base_dim {
        Some(width) if config.model.base.is_none() => format!("model.base_dim = {width}"),
        _ => "the model of model.base".to_string(),
    };
    let has_average = config.train.ema > 0.0;
    let need = need.and_trained(&format!("the decoder ({of})"), &decoder, has_average);
    let of = format!("the encoder ({of})");
    match with_encoder(config) {
        true => need.and_trained(&of, &encoder, has_average),
        false => need.and(Place::Device, of, parameters(&encoder) * VALUE),
    }
}

/// What the backward pass needs of the forward one.
fn graph(need: Need, config: &Config, vae: &VaeConfig) -> Need {
    let input = config.data.crop as f64 / config.scale() as f64;
    let mut values = kept(&arch::decoder(vae), input / vae.spatial() as f64);
    if with_encoder(config) {
        values += kept(&arch::encoder(vae), input);
    }
    // What norms give is computed again: half of what convolutions and norms have seen.
    let share = match config.train.gradient_checkpointing {
        true => 0.5,
        false => 1.0,
    };
    let value = match config.train.precision {
        Precision::F32 => VALUE,
        _ => VALUE / 2.0,
    };
    let bytes = config.train.batch as f64 * values * share * value;
    let what = format!("what the backward pass needs of {}", batch(config));
    need.and(Place::Device, what, bytes)
}

/// The networks of losses, and what they make of a batch.
fn losses(need: Need, config: &Config) -> Need {
    let mut need = need.and(
        Place::Device,
        format!("VGG's features of {}", batch(config)),
        config.train.batch as f64 * vgg_values(config) * VALUE,
    );
    if config.gan.weight != 0.0 {
        let width = config.gan.width;
        let count: usize = discriminator::tensors(width)
            .iter()
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum();
        // Weights, gradients, and both averages of the optimizer.
        let bytes = 4.0 * count as f64 * VALUE;
        let what = format!("the discriminator (gan.width = {width})");
        need = need.and(Place::Device, what, bytes);
    }
    if config.loss.fdl != 0.0 {
        let fdl = &config.loss.fdl_options;
        let what = format!(
            "random kernels (loss.fdl_options.projections = {}, patch = {})",
            fdl.projections, fdl.patch
        );
        need = need.and(Place::Device, what, kernel_values(config) * VALUE);
    }
    need
}

/// A batch of crops and their halves, and those that are prepared ahead.
fn crops(need: Need, config: &Config) -> Need {
    let data = &config.data;
    let pixels = (data.crop as f64).powi(2) * (1.0 + (config.scale() as f64).powi(-2));
    let pair = 3.0 * pixels * VALUE;
    let order = Order::new(0, data.crops_per_photo, data.shuffle);
    let ahead = (order.ahead(data.workers, data.prefetch) + order.block()) as f64;
    let what = format!(
        "crops ahead (data.shuffle = {}, data.workers = {}, data.prefetch = {}, data.crop = {})",
        data.shuffle, data.workers, data.prefetch, data.crop
    );
    need.and(Place::Host, batch(config), config.train.batch as f64 * pair)
        .and(Place::Host, what, ahead * pair)
}

/// Values that the backward pass of layers needs, which begin with `side` cells or pixels: what norms and convolutions have seen.
fn kept(layers: &[Layer], side: f64) -> f64 {
    let mut cells = side * side;
    layers
        .iter()
        .map(|layer| layer_values(layer, &mut cells))
        .sum()
}

fn layer_values(layer: &Layer, cells: &mut f64) -> f64 {
    let seen = |channels: usize| channels as f64;
    match layer {
        Layer::Conv(conv) => *cells * seen(conv.inputs),
        Layer::Residual(block) => {
            *cells * 2.0 * (seen(block.conv1.inputs) + seen(block.conv2.inputs))
        }
        Layer::Attention(attention) => *cells * 5.0 * seen(attention.norm.channels),
        Layer::Upsample { conv, .. } => {
            *cells *= 4.0;
            *cells * seen(conv.inputs)
        }
        Layer::Downsample { conv, .. } => {
            let values = *cells * seen(conv.inputs);
            *cells /= 4.0;
            values
        }
        Layer::Head { norm, .. } => *cells * 2.0 * seen(norm.channels),
    }
}

/// Side of what VGG's losses see.
fn seen(config: &Config) -> f64 {
    match config.loss.vgg_crop {
        0 => config.data.crop as f64,
        side => side as f64,
    }
}

/// Features of one image, where a loss asks for them.
fn vgg_values(config: &Config) -> f64 {
    let is_used = [Network::Vgg16, Network::Vgg19]
        .iter()
        .any(|network| network.is_used(&config.loss));
    // A loss of VGG19's may end at its first stage.
    let stages = if Network::Vgg16.is_used(&config.loss) {
        VGG.len()
    } else {
        1
    };
    let stage = |(i, (convs, channels)): (usize, &(f64, f64))| {
        convs * channels * seen(config).powi(2) / 4f64.powi(i as i32)
    };
    match is_used {
        true => VGG.iter().take(stages).enumerate().map(stage).sum(),
        false => 0.0,
    }
}

/// The random kernels of the frequency distribution loss, and what they make of an image.
fn kernel_values(config: &Config) -> f64 {
    let fdl = &config.loss.fdl_options;
    let stages = VGG.iter().zip(&fdl.layer_weights).enumerate();
    let of_stage = |(i, ((_, channels), weight)): (usize, (&(f64, f64), &f64))| {
        let side = (seen(config) / 2f64.powi(i as i32)).floor();
        let patch = fdl.patch as f64;
        if *weight == 0.0 || side < patch {
            return 0.0;
        }
        let outputs = config.train.batch as f64 * (side - patch + 1.0).powi(2);
        fdl.projections as f64 * (channels * patch * patch + outputs)
    };
    stages.map(of_stage).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    fn config(changes: &[&str]) -> Config {
        let text = "[model]\nbase = \"demo:base\"\n[data]\nphotos = [\"photos\"]\n";
        let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
        Config::parse(text, &changes).unwrap()
    }

    /// What is said of a run on a machine of 8 GiB.
    fn problem(changes: &[&str], width: usize) -> Option<String> {
        let vae = VaeConfig::with_widths(width, 12);
        match need(&config(changes), &vae, true).check(None, 8 << 30) {
            Err(Error::Core(vae2x_core::Error::Memory(text))) => Some(text),
            other => {
                other.unwrap();
                None
            }
        }
    }

    #[test]
    fn values_that_ask_for_too_much_are_named() {
        assert_eq!(problem(&["train.batch=1", "data.crop=256"], 96), None);
        assert_eq!(problem(&["train.batch=4", "data.crop=128"], 16), None);
        let fdl = ["loss.fdl=1", "loss.vgg19=random:0"];
        for (changes, width, named) in [
            (&["train.batch=60000"][..], 16, "train.batch = 60000"),
            (&["data.crop=8192"], 16, "data.crop = 8192"),
            (
                &["data.workers=1000", "data.prefetch=1000"],
                16,
                "data.prefetch = 1000",
            ),
            (&["gan.weight=1", "gan.width=1024"], 16, "gan.width = 1024"),
            (
                &[&fdl[..], &["loss.fdl_options.projections=65536"]].concat(),
                16,
                "loss.fdl_options.projections = 65536",
            ),
            (&["train.batch=1"], 1024, "model.base"),
        ] {
            let said = problem(changes, width);
            assert!(
                said.as_ref().is_some_and(|text| text.contains(named)),
                "{changes:?}: {said:?}"
            );
        }
    }
}
