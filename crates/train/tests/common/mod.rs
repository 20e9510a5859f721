//! A small run on synthetic photos.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use vae2x_core::Array;
use vae2x_core::weights::VaeWeights;
use vae2x_media::picture::write_image;
use vae2x_testkit::fixture;
use vae2x_train::decoder::Inputs;
use vae2x_train::decoder::checkpoint::{Checkpoint, Checkpoints};
use vae2x_train::decoder::collective::Collective;
use vae2x_train::decoder::losses::VggChoices;
use vae2x_train::log::Screen;
use vae2x_train::{Config, RunOptions, VggChoice, train};

pub fn config(photos: &Path, steps: u64) -> Config {
    let text = format!(
        r#"
model.base = "vae_tiny_base"
degradation.kind = "blur"
data = {{ photos = ["{0}"], held_out = ["{0}/held.png"], crop = 48, min_sharpness = 0.0, workers = 2, prefetch = 2, crops_per_photo = 2, shuffle = 6 }}
train = {{ steps = {steps}, batch = 2, accumulate = 2, seed = 5 }}
gan = {{ weight = 0.4, warmup = 1, ramp = 2, width = 4 }}
loss = {{ l1 = 1.0, fdl = 0.1, vgg19 = "random:3", vgg_crop = 16, fdl_options = {{ patch = 3, projections = 2, layer_weights = [1.0] }} }}
eval = {{ short_side = 0, size = 48 }}
log = {{ every = 1, eval_every = 3, checkpoint_every = 2, keep = 2 }}
"#,
        photos.display()
    );
    Config::parse(&text, &[]).unwrap()
}

pub fn photos() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (i, name) in ["a", "b", "held"].iter().enumerate() {
        let value = |p: usize| {
            ((p % 64) as f32 * (0.3 + 0.1 * i as f32)).sin() * ((p / 64) as f32 * 0.17).cos()
        };
        let photo = Array::new([3, 64, 64], (0..3 * 64 * 64).map(value).collect()).unwrap();
        write_image(
            &folder.path().join(format!("{name}.png")),
            &photo,
            &Default::default(),
        )
        .unwrap();
    }
    folder
}

/// Keeps the notes, and has the run stopped after a step, as Ctrl-C does.
struct Witness<'a> {
    stop_at: Option<u64>,
    stop: &'a AtomicBool,
    notes: Vec<String>,
}

impl Screen for Witness<'_> {
    fn step(&mut self, step: u64) {
        self.stop
            .store(self.stop_at == Some(step), Ordering::Relaxed);
    }

    fn note(&mut self, text: &str) {
        self.notes.push(text.into());
    }
}

/// Runs to the end, or until a step is done; gives the notes.
pub fn run_until(
    config: &Config,
    folder: &Path,
    devices: &[Device],
    stop_at: Option<u64>,
) -> vae2x_train::Result<Vec<String>> {
    run_among(config, folder, devices, None, stop_at)
}

/// As [`run_until`], as one of several processes.
pub fn run_among(
    config: &Config,
    folder: &Path,
    devices: &[Device],
    processes: Option<Arc<dyn Collective>>,
    stop_at: Option<u64>,
) -> vae2x_train::Result<Vec<String>> {
    let base = VaeWeights::open(&fixture("vae_tiny_base/original.safetensors")).unwrap();
    let choices = VggChoices {
        vgg16: None,
        vgg19: Some(VggChoice::Random(3)),
    };
    let inputs = Inputs {
        base: Arc::new(base),
        choices,
    };
    let stop = AtomicBool::new(false);
    let is_alone = processes.is_none();
    let mut witness = Witness {
        stop_at,
        stop: &stop,
        notes: Vec::new(),
    };
    let progress = train(
        config,
        &inputs,
        RunOptions {
            folder,
            devices,
            processes,
            stop: &stop,
            screen: &mut witness,
        },
    )?;
    // Another process may have been asked to stop.
    if is_alone || stop_at.is_some() {
        assert_eq!(progress.step, stop_at.unwrap_or(config.train.steps));
    }
    Ok(witness.notes)
}

pub fn run(config: &Config, folder: &Path, devices: &[Device]) -> vae2x_train::Result<()> {
    run_until(config, folder, devices, None).map(|_| ())
}

pub fn newest(folder: &Path) -> Checkpoint {
    Checkpoints::of(folder)
        .newest()
        .unwrap()
        .checkpoint
        .unwrap()
}
