//! A run's configuration: TOML, every key known, every value checked before work starts.
//!
//! `--set a.b=value` overrides a key before the whole is read, so that a misspelt override is refused as a misspelt key is.

mod by_name;
mod check;
mod degradation;
mod eval;
pub mod loss;
mod vgg;

pub(crate) use degradation::HOW_TO_GET_A_PROXY;
pub use degradation::{DegradationConfig, DegradationKind};
pub use eval::{EvalConfig, LogConfig};
pub use loss::{FdlNorm, FdlOptions, GanConfig, GanForm, LossConfig};
pub use vgg::VggChoice;

use std::path::Path;

use serde::{Deserialize, Serialize};
use vae2x_core::Precision;

use crate::Result;
use crate::decoder::widen::Widening;
use crate::run::{open_config, parse_config, to_toml};

/// Everything that a run needs to know.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The model, and the weights to start from.
    pub model: ModelConfig,
    /// Photos.
    pub data: DataConfig,
    /// Steps, optimizers.
    #[serde(default)]
    pub train: TrainConfig,
    /// The generator's losses but the adversarial one.
    #[serde(default)]
    pub loss: LossConfig,
    /// The adversarial loss.
    #[serde(default)]
    pub gan: GanConfig,
    /// The degradation of latents on their way to the decoder.
    #[serde(default)]
    pub degradation: DegradationConfig,
    /// Measuring on held-out photos.
    #[serde(default)]
    pub eval: EvalConfig,
    /// Intervals of logs, evaluations and checkpoints.
    #[serde(default)]
    pub log: LogConfig,
}

/// `[model]`
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// The VAE to start from: a file, a folder, a hub id, `demo:base`. A base decoder is given the scale. May be left out for
    /// `train.parts = ["base"]`.
    pub base: Option<String>,
    /// Base width of a model from scratch, for `train.parts = ["base"]`.
    pub base_dim: Option<usize>,
    /// Output pixels per input pixel: 1, 2 or 4; left out, 2, and 1 for `train.parts = ["base"]`.
    pub scale: Option<usize>,
    /// Output of a base decoder made 2x or 4x before it is trained: `interpolate` between the base's pixels, or `repeat` them.
    pub start: Widening,
}

/// A part of the model that can be trained.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The decoder and `post_quant`; the encoder is frozen.
    Decoder,
    /// Encoder and decoder.
    All,
    /// Encoder and 3-channel decoder, with the KL term: a VAE of its own.
    Base,
}

/// How the learning rate goes on after the warmup.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// It stays.
    #[default]
    Constant,
    /// Half a cosine down to `lr_min`.
    Cosine,
}

/// `[train]`
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// One of `decoder`, `all`, `base`.
    pub parts: Vec<Part>,
    /// Optimizer steps of the whole run.
    pub steps: u64,
    /// Crops per forward pass, on each device.
    pub batch: usize,
    /// Forward passes per step.
    pub accumulate: usize,
    /// Random seed of the run.
    pub seed: u64,
    /// Learning rate.
    pub lr: f64,
    /// Where the cosine ends.
    pub lr_min: f64,
    /// After the warmup.
    pub schedule: Schedule,
    /// Steps in which the learning rate grows from 0.
    pub warmup: u64,
    /// AdamW's averaging of gradients and of their squares.
    pub betas: [f32; 2],
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// The gradient's norm over all parameters is held below this; 0 for no limit.
    pub clip: f64,
    /// Decay of the moving average of weights; 0 for none.
    pub ema: f64,
    /// A gradient norm above this is bad.
    pub explode: f64,
    /// The weighted sum of the generator's losses, or an adversarial loss before its weight, above this is bad.
    pub explode_loss: f64,
    /// Bad batches in a row, with losses or gradients that are not finite or above the limits, that are skipped; one more stops the
    /// run.
    pub skip_bad: usize,
    /// Recompute cheap activations in the backward pass instead of keeping them.
    pub gradient_checkpointing: bool,
    /// Arithmetic of the trained networks: `f32`, or `bf16` for half the memory of activations. Gradients in `bf16` have the range of
    /// `f32` and need no scaling. Parameters, losses, the discriminator and frozen networks are always in `f32`.
    #[serde(with = "by_name")]
    pub precision: Precision,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            parts: vec![Part::Decoder],
            steps: 300_000,
            batch: 4,
            accumulate: 1,
            seed: 0,
            lr: 1e-4,
            lr_min: 0.0,
            schedule: Schedule::Constant,
            warmup: 0,
            betas: [0.9, 0.99],
            weight_decay: 0.0,
            clip: 1.0,
            ema: 0.9995,
            explode: 1e6,
            explode_loss: 1e3,
            skip_bad: 0,
            gradient_checkpointing: false,
            precision: Precision::F32,
        }
    }
}

/// `[data]`
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Folders, globs, `.jsonl` manifests of `dataset scan`, `.tar` shards.
    pub photos: Vec<String>,
    /// Photos to measure on, as `photos`; those that are in both are not trained on.
    pub held_out: Vec<String>,
    /// Side of a training crop, in target pixels.
    pub crop: usize,
    /// Photos are scaled by a factor between these before they are cropped.
    pub scale: [f64; 2],
    /// Mirror half of the crops.
    pub flip: bool,
    /// Photos with a shorter side below this are dropped. 0: the crop's side.
    pub min_side: usize,
    /// Crops below this variance of the Laplacian (8-bit units) are not used: of four places the first that is sharp enough is
    /// taken, and if none is, another photo.
    pub min_sharpness: f64,
    /// JPEGs below this estimated quality are dropped.
    pub min_jpeg_quality: u8,
    /// Threads that read photos.
    pub workers: usize,
    /// Crops that each worker prepares ahead, if that is more than `shuffle`.
    pub prefetch: usize,
    /// Crops that are cut from a photo each time it is decoded.
    pub crops_per_photo: usize,
    /// Crops of several photos are mixed in blocks of this many. Up to twice as many are in memory.
    pub shuffle: usize,
    /// MiB of decoded photos that are kept in memory.
    pub cache: usize,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            photos: Vec::new(),
            held_out: Vec::new(),
            crop: 512,
            scale: [0.5, 1.0],
            flip: true,
            min_side: 0,
            min_sharpness: 20.0,
            min_jpeg_quality: 75,
            workers: 4,
            prefetch: 4,
            crops_per_photo: 4,
            shuffle: 128,
            cache: 0,
        }
    }
}

impl Config {
    /// Reads a file and applies `key=value` overrides.
    ///
    /// # Errors
    /// [`Error::Config`] naming the file, the key and what was expected.
    pub fn open(path: &Path, overrides: &[String]) -> Result<Self> {
        open_config(path, overrides, Self::validate)
    }

    /// As [`Self::open`], from text.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn parse(text: &str, overrides: &[String]) -> Result<Self> {
        parse_config(text, overrides, Self::validate)
    }

    /// The text that [`Self::parse`] reads.
    ///
    /// # Errors
    /// [`Error::Config`] for values that TOML cannot hold, such as integers above 2^63.
    pub fn to_toml(&self) -> Result<String> {
        to_toml(self)
    }

    /// The part of the model that is trained.
    pub fn part(&self) -> Part {
        self.train.parts.first().copied().unwrap_or(Part::Decoder)
    }

    /// Whether only that part of a model is trained which images meet. A VAE from scratch has no other weights to go back among.
    pub fn is_of_images(&self) -> bool {
        self.model.base.is_some()
    }

    /// Target pixels per input pixel.
    pub fn scale(&self) -> usize {
        let usual = if self.part() == Part::Base { 1 } else { 2 };
        self.model.scale.unwrap_or(usual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    const LEAST: &str = "[model]\nbase = \"demo:base\"\n[data]\nphotos = [\"photos\"]\n";

    /// What is wrong with a configuration.
    #[track_caller]
    fn problem(text: &str, overrides: &[&str]) -> String {
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        match Config::parse(text, &overrides) {
            Err(Error::Config(problem)) => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let overrides = [
            "train.lr=3e-5",
            "loss.vgg19=random:7",
            "data.scale=[0.25, 0.5]",
            "gan.adaptive=true",
        ];
        let config = Config::parse(LEAST, &overrides.map(String::from)).unwrap();
        assert_eq!(
            (config.train.lr, config.data.scale, config.gan.adaptive),
            (3e-5, [0.25, 0.5], true)
        );
        assert_eq!(config.loss.vgg19.as_deref(), Some("random:7"));
        assert_eq!(
            Config::parse(&config.to_toml().unwrap(), &[]).unwrap(),
            config
        );
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let text = format!("{LEAST}[train]\nlearning_rate = 1.0\n");
        assert!(problem(&text, &[]).contains("learning_rate"));
        for (change, name) in [
            ("train.stepz=3", "stepz"),
            ("optimizer.lr=3", "optimizer"),
            ("train.lr", "train.lr"),
            ("train.lr=fast", "fast"),
        ] {
            assert!(problem(LEAST, &[change]).contains(name), "{change}");
        }
    }

    #[test]
    fn impossible_values_say_what_is_expected() {
        let fdl = ["loss.fdl=1", "loss.vgg19=random:0"];
        let small = [&fdl[..], &["loss.vgg_crop=8"]].concat();
        let unweighted = [&fdl[..], &["loss.fdl_options.layer_weights=[0, 0]"]].concat();
        let large = [
            "loss.fdl_options.layer_weights=[0, 0, 1]",
            "loss.vgg_crop=32",
            "loss.fdl_options.patch=9",
        ];
        let large = [&fdl[..], &large].concat();
        // The key, and the number that is expected.
        for (changes, key, expected) in [
            (&["data.crop=100"][..], "data.crop", "16"),
            (&["loss.fdl=1"], "loss.vgg19", "random:0"),
            (&small, "VGG", "16"),
            (&["gan.weight=1", "data.crop=16"], "data.crop", "32"),
            (&unweighted, "loss.fdl_options.layer_weights", ""),
            (&large, "loss.fdl_options.patch", "8"),
            (&["loss.fdl_options.dimensions=3"], "dimensions", "frames"),
            (&["data.photos=[]"], "data.photos", ""),
            (&["train.parts=[\"encoder\"]"], "encoder", "decoder"),
        ] {
            let problem = problem(LEAST, changes);
            assert!(
                problem.contains(key) && problem.contains(expected),
                "{changes:?}: {problem}"
            );
        }
        assert!(problem("[model]\n[data]\nphotos=[\"a\"]", &[]).contains("model.base"));
    }

    #[test]
    fn sizes_and_counts_have_limits() {
        let keys = [
            "train.batch",
            "train.accumulate",
            "data.workers",
            "data.prefetch",
            "data.cache",
            "gan.width",
            "loss.fdl_options.projections",
            "model.base_dim",
        ];
        for key in keys {
            for value in ["100000000", "9223372036854775807"] {
                let problem = problem(LEAST, &[&format!("{key}={value}")]);
                assert!(
                    problem.contains(key) && problem.contains(value),
                    "{problem}"
                );
            }
        }
        for key in ["data.crop", "eval.size"] {
            assert!(problem(LEAST, &[&format!("{key}=1000000000")]).contains(key));
        }
        assert!(problem(LEAST, &["degradation.blur=1e30"]).contains("degradation.blur"));
    }

    /// Every value of a configuration, by its key.
    fn keys() -> Vec<String> {
        let config = Config::parse(LEAST, &[]).unwrap();
        let table: toml::Table = config.to_toml().unwrap().parse().unwrap();
        let mut tables = vec![(String::new(), table)];
        let mut keys = Vec::new();
        while let Some((prefix, table)) = tables.pop() {
            for (key, value) in table {
                let key = format!("{prefix}{key}");
                match value {
                    toml::Value::Table(table) => tables.push((format!("{key}."), table)),
                    _ => keys.push(key),
                }
            }
        }
        keys
    }

    proptest::proptest! {
        /// Whatever a value is, it is refused, or what it takes is known.
        #[test]
        fn values_have_their_ranges(
            key in proptest::sample::select(keys()),
            whole in proptest::num::i64::ANY,
            bits in proptest::num::f64::ANY,
            which in 0..4,
        ) {
            let value = match which {
                0 => whole.to_string(),
                1 => format!("{bits:?}"),
                2 => format!("[{whole}, {bits:?}]"),
                _ => (whole % (1 << 14)).to_string(),
            };
            // NaN and infinity are written otherwise in TOML.
            let value = value.replace("NaN", "nan");
            let more = ["gan.weight=0.1", "loss.fdl=1", "loss.vgg19=random:0"].map(String::from);
            let overrides = [&more[..], &[format!("{key}={value}")]].concat();
            if let Ok(config) = Config::parse(LEAST, &overrides) {
                let vae = vae2x_core::VaeConfig::with_widths(4, 12);
                let need = crate::decoder::memory::need(&config, &vae, true);
                // More than this no value asks for.
                need.check(None, 1 << 60).unwrap();
            }
        }

        /// Damaged configurations are errors, or configurations.
        #[test]
        fn damaged_configurations_do_not_panic(
            edits in proptest::collection::vec((proptest::num::usize::ANY, proptest::num::u8::ANY), 1..4),
        ) {
            let mut bytes = include_bytes!("../../../../../configs/decoder_2x.toml").to_vec();
            for (at, value) in edits {
                let at = at % bytes.len();
                bytes[at] = value;
            }
            if let Ok(text) = String::from_utf8(bytes) {
                let _ = Config::parse(&text, &[]);
            }
        }
    }

    #[test]
    fn numbers_that_are_none_or_negative_are_refused_by_their_key() {
        let keys = [
            "loss.l1",
            "loss.kl",
            "loss.fdl_options.phase_weight",
            "gan.weight",
            "gan.lr",
            "train.lr",
        ];
        let more = [
            "train.explode",
            "train.explode_loss",
            "train.clip",
            "train.weight_decay",
            "degradation.t_max",
        ];
        for key in keys.iter().chain(&more) {
            for value in ["nan", "-1.0"] {
                assert!(
                    problem(LEAST, &[&format!("{key}={value}")]).contains(key),
                    "{key} = {value}"
                );
            }
        }
        let weights = "loss.fdl_options.layer_weights";
        assert!(problem(LEAST, &[&format!("{weights}=[1.0, inf]")]).contains(weights));
        assert!(problem(LEAST, &["gan.lr=0"]).contains("gan.lr"));
        Config::parse(LEAST, &["train.explode=inf".into()]).unwrap();
    }
}
