//! Times training steps of a model by formula, which is that of `tools/reference/bench_train.py`, where PyTorch is timed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use vae2x_core::weights::formula::{FormulaWeights, unit};
use vae2x_core::{Array, VaeConfig};
use vae2x_nn::array::to_tensor;
use vae2x_nn::wan_vae::Encoder;
use vae2x_train::decoder::batch::Batch;
use vae2x_train::decoder::losses::{PictureLosses, VggChoices};
use vae2x_train::decoder::model::{Generator, Overlay, decode, encode};
use vae2x_train::decoder::{Inputs, build};
use vae2x_train::run::optim::{self, Adam, AdamOptions};
use vae2x_train::{Config, VggChoice};

use crate::device::{on_burn, peak_mb, reserved_mb, sync, timed};

/// All losses, LPIPS with heads too, so that both VGGs run.
const CONFIG: &str = r#"
model.base = "formula"
data = { photos = ["none"] }
gan = { weight = 0.05, warmup = 0, adaptive = false }
loss = { l1 = 1.0, lpips = 0.05, fdl = 1.0, vgg16 = "random:0", vgg19 = "random:0" }
"#;

/// Runs of each part.
const PART_RUNS: u64 = 3;

fn picture(side: usize, batch: usize) -> anyhow::Result<Array> {
    let values = unit("picture", batch * 3 * side * side)
        .map(|v| 0.8 * v)
        .collect();
    Ok(Array::new([batch, 3, side, side], values)?)
}

/// Seconds of each part of a step, the least of a few.
fn parts(
    config: &Config,
    inputs: &Inputs,
    target: &Tensor<4>,
    input: &Tensor<4>,
) -> anyhow::Result<BTreeMap<&'static str, f64>> {
    let (base, device) = (inputs.base.as_ref(), target.device());
    let encoder = Encoder::load(base, &device)?;
    let mut generator = Generator::load(
        &Overlay::new(base, config.scale(), config.model.start)?.for_images(),
        false,
        &device.clone().autodiff(),
    )?;
    let mut average = generator.valid();
    let losses = PictureLosses::load(&config.loss, &inputs.choices, config.train.seed, &device)?;
    let mut adam = Adam::new(AdamOptions {
        betas: config.train.betas,
        weight_decay: config.train.weight_decay,
    });
    let mut least = BTreeMap::new();
    for step in 0..PART_RUNS {
        let mut start = Instant::now();
        let mut lap = |part| -> anyhow::Result<()> {
            sync(&device)?;
            let seconds = std::mem::replace(&mut start, Instant::now())
                .elapsed()
                .as_secs_f64();
            let least = least.entry(part).or_insert(f64::INFINITY);
            *least = seconds.min(*least);
            Ok(())
        };
        let [latent, _] = encode(&encoder, input.clone());
        lap("encoder")?;
        let pictures = decode(&generator.decoder, latent, config.scale())?.pictures;
        lap("decoder, values")?;
        let mut rng = ChaCha8Rng::seed_from_u64(step);
        let pull = losses.pull(&pictures.clone().without_autodiff(), target, step, &mut rng)?;
        lap("losses, values and gradients")?;
        let gradients = (pictures * pull.gradient).sum().backward();
        lap("decoder, gradients")?;
        let gradients = GradientsParams::from_grads(gradients, &generator);
        generator = adam.step(config.train.lr, generator, gradients);
        average = optim::average(average, &generator, config.train.ema);
        lap("optimizer and average")?;
    }
    Ok(least)
}

#[derive(clap::Args)]
pub struct Args {
    /// Width of the finest stages.
    base_dim: usize,
    /// Side of the targets; inputs have half of it.
    crop: usize,
    /// Images per step.
    batch: usize,
    /// Steps; the first compiles and tunes kernels.
    steps: usize,
    /// Overrides of the configuration, such as train.precision=bf16.
    overrides: Vec<String>,
    /// The device.
    #[arg(long, default_value = "burn")]
    device: vae2x::Device,
    /// Do not time the parts of a step by themselves.
    #[arg(long)]
    whole: bool,
}

/// Prints the seconds of each step, images per second without the first step, memory, and the seconds of a step's parts by
/// themselves; what they lack of a step is the adversarial loss.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let (crop, batch) = (args.crop, args.batch);
    vae2x_nn::device::keep_freed_memory();
    let mut overrides = vec![
        format!("data.crop={crop}"),
        format!("train.batch={batch}"),
        format!("eval.size={crop}"),
    ];
    overrides.extend(args.overrides.iter().cloned());
    let config = Config::parse(CONFIG, &overrides)?;
    let parse = |name: &Option<String>| {
        let parse =
            |name: &String| VggChoice::parse(name, |path| Ok::<_, vae2x_train::Error>(path.into()));
        name.as_ref().map(parse).transpose()
    };
    let choices = VggChoices {
        vgg16: parse(&config.loss.vgg16)?,
        vgg19: parse(&config.loss.vgg19)?,
    };
    let base = Arc::new(FormulaWeights::new(VaeConfig::with_widths(
        args.base_dim,
        3,
    )));
    let device = on_burn(args.device)?;
    let inputs = Inputs { base, choices };
    let mut learner = build(&config, &inputs, None, &device)?;
    let (target, input) = (picture(crop, batch)?, picture(crop / 2, batch)?);
    let mut seconds = Vec::new();
    for step in 0..args.steps as u64 {
        let batches = vec![Batch {
            names: vec!["formula".into(); batch],
            target: to_tensor(&target, "target", &device)?,
            input: to_tensor(&input, "input", &device)?,
        }];
        let (values, whole) = timed(&device, || {
            let mut work = learner.begin(step, batches);
            learner.discriminator_step(&mut work)?;
            learner.generator_step(&mut work)?;
            learner.update_average(step);
            Ok(work.values)
        })?;
        eprintln!("step {step}: {whole:.2} s; {values:?}");
        seconds.push(whole);
    }
    let measured = &seconds[usize::from(seconds.len() > 1)..];
    let rate = (batch * measured.len()) as f64 / measured.iter().sum::<f64>();
    let (device_mb, process_mb) = (reserved_mb(&device), peak_mb());
    drop(learner);
    let parts = if args.whole {
        None
    } else {
        let target = to_tensor(&target, "target", &device)?;
        let input = to_tensor(&input, "input", &device)?;
        Some(parts(&config, &inputs, &target, &input)?)
    };
    let json = serde_json::json!({
        "what": "step",
        "device": args.device.to_string(),
        "dtype": config.train.precision.name(),
        "base_dim": args.base_dim,
        "crop": crop,
        "batch": batch,
        "seconds": seconds,
        "images_per_second": rate,
        "device_mb": device_mb,
        "process_mb": process_mb,
        "parts": parts,
    });
    println!("{json}");
    Ok(())
}
