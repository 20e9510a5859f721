//! Times training steps of a model by formula: `step_time BASE_DIM CROP BATCH STEPS [KEY=VALUE ...]`, the rest being overrides of the configuration.
//!
//! Prints JSON: seconds of each step, images per second without the first step, peak memory, and the seconds of a step's parts by
//! themselves; what they lack of a step is the adversarial loss. The model is that of `tools/reference/bench_train.py`, which times
//! PyTorch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use vae2x_core::weights::formula::{FormulaWeights, unit};
use vae2x_core::{Array, VaeConfig};
use vae2x_nn::array::to_tensor;
use vae2x_nn::wan_vae::Encoder;
use vae2x_train::decoder::losses::{PictureLosses, VggChoices};
use vae2x_train::decoder::model::{Generator, Overlay, decode, encode};
use vae2x_train::decoder::batch::Batch;
use vae2x_train::decoder::{Inputs, build};
use vae2x_train::run::optim::{self, Adam, AdamOptions};
use vae2x_train::{Config, Result, VggChoice};

/// All losses, with the published sizes.
const CONFIG: &str = r#"
model.base = "formula"
data = { photos = ["none"] }
gan = { weight = 0.05 }
loss = { l1 = 1.0, lpips = 0.05, fdl = 1.0, vgg16 = "random:0", vgg19 = "random:0" }
"#;

/// Runs of each part.
const PART_RUNS: u64 = 3;

fn picture(side: usize, batch: usize) -> Result<Array> {
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
) -> Result<BTreeMap<&'static str, f64>> {
    let (base, device) = (inputs.base.as_ref(), target.device());
    let encoder = Encoder::load(base, &device)?;
    let mut generator = Generator::load(
        &Overlay::new(base, config.scale(), config.model.start)?,
        false,
        &device.clone().autodiff(),
    )?;
    let mut average = generator.valid();
    let losses = PictureLosses::load(&config.loss, &inputs.choices, &device)?;
    let mut adam = Adam::new(AdamOptions {
        betas: config.train.betas,
        weight_decay: config.train.weight_decay,
    });
    let mut least = BTreeMap::new();
    for step in 0..PART_RUNS {
        let mut start = Instant::now();
        let mut lap = |part| {
            let seconds = std::mem::replace(&mut start, Instant::now())
                .elapsed()
                .as_secs_f64();
            let least = least.entry(part).or_insert(f64::INFINITY);
            *least = seconds.min(*least);
        };
        let [latent, _] = encode(&encoder, input.clone());
        lap("encoder");
        let pictures = decode(&generator.decoder, latent, config.scale())?.pictures;
        lap("decoder, values");
        let mut rng = ChaCha8Rng::seed_from_u64(step);
        let pull = losses.pull(&pictures.clone().without_autodiff(), target, step, &mut rng)?;
        lap("losses, values and gradients");
        let gradients = (pictures * pull.gradient).sum().backward();
        lap("decoder, gradients");
        let gradients = GradientsParams::from_grads(gradients, &generator);
        generator = adam.step(config.train.lr, generator, gradients);
        average = optim::average(average, &generator, config.train.ema);
        lap("optimizer and average");
    }
    Ok(least)
}

/// In MiB; 0 where the system does not report it.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0)
        / 1024
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize| args.get(i).and_then(|a| a.parse().ok()).unwrap_or(1);
    let (base_dim, crop, batch, steps) = (number(0), number(1), number(2), number(3));
    let mut overrides = vec![
        format!("data.crop={crop}"),
        format!("train.batch={batch}"),
        format!("eval.size={crop}"),
    ];
    overrides.extend(args.into_iter().skip(4));
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
    let base = Arc::new(FormulaWeights::new(VaeConfig::with_widths(base_dim, 3)));
    let device = Device::flex();
    let inputs = Inputs { base, choices };
    let mut learner = build(&config, &inputs, None, &device)?;
    let (target, input) = (picture(crop, batch)?, picture(crop / 2, batch)?);
    let mut seconds = Vec::new();
    for step in 0..steps as u64 {
        let batches = vec![Batch {
            names: vec!["formula".into(); batch],
            target: to_tensor(&target, "target", &device)?,
            input: to_tensor(&input, "input", &device)?,
        }];
        let start = Instant::now();
        let mut work = learner.begin(step, batches);
        learner.discriminator_step(&mut work)?;
        let discriminator = start.elapsed().as_secs_f64();
        learner.generator_step(&mut work)?;
        learner.update_average(step);
        let whole = start.elapsed().as_secs_f64();
        eprintln!(
            "step {step}: {whole:.2} s, {discriminator:.2} of them until the discriminator's update; {:?}",
            work.values
        );
        seconds.push(whole);
    }
    let measured = &seconds[usize::from(seconds.len() > 1)..];
    let rate = (batch * measured.len()) as f64 / measured.iter().sum::<f64>();
    let peak_mib = peak_memory();
    drop(learner);
    let parts = parts(
        &config,
        &inputs,
        &to_tensor(&target, "target", &device)?,
        &to_tensor(&input, "input", &device)?,
    )?;
    let told = serde_json::json!({
        "seconds": seconds, "images_per_second": rate, "peak_mib": peak_mib, "parts": parts
    });
    println!("{told}");
    Ok(())
}
