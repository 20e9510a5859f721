//! Times training steps of a model by formula: `step_time BASE_DIM CROP BATCH STEPS [KEY=VALUE ...]`, the rest being overrides of the configuration.
//!
//! Prints JSON: seconds of each step, images per second without the first step, peak memory. The model is that of
//! `tools/reference/bench_train.py`, which times PyTorch.

use std::sync::Arc;
use std::time::Instant;

use burn::tensor::Device;
use vae2x_core::weights::formula::{FormulaWeights, unit};
use vae2x_core::{Array, VaeConfig};
use vae2x_nn::array::to_tensor;
use vae2x_train::losses::VggChoices;
use vae2x_train::run::{Inputs, build};
use vae2x_train::step::Batch;
use vae2x_train::{Config, Result, VggChoice};

/// All losses, with the published sizes.
const CONFIG: &str = r#"
model.base = "formula"
data = { photos = ["none"] }
gan = { weight = 0.05 }
loss = { l1 = 1.0, lpips = 0.05, fdl = 1.0, vgg16 = "random:0", vgg19 = "random:0" }
"#;

fn picture(side: usize, batch: usize) -> Result<Array> {
    let values = unit("picture", batch * 3 * side * side).map(|v| 0.8 * v).collect();
    Ok(Array::new([batch, 3, side, side], values)?)
}

/// In MiB; 0 where the system does not tell.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize| args.get(i).and_then(|a| a.parse().ok()).unwrap_or(1);
    let (base_dim, crop, batch, steps) = (number(0), number(1), number(2), number(3));
    let mut overrides = vec![format!("data.crop={crop}"), format!("train.batch={batch}"), format!("eval.size={crop}")];
    overrides.extend(args.into_iter().skip(4));
    let config = Config::parse(CONFIG, &overrides)?;
    let parse = |name: &Option<String>| {
        let parse = |name: &String| VggChoice::parse(name, |path| Ok::<_, vae2x_train::Error>(path.into()));
        name.as_ref().map(parse).transpose()
    };
    let choices = VggChoices { vgg16: parse(&config.loss.vgg16)?, vgg19: parse(&config.loss.vgg19)? };
    let base = Arc::new(FormulaWeights::new(VaeConfig::with_widths(base_dim, 3)));
    let device = Device::flex();
    let mut learner = build(&config, &Inputs { base, choices }, None, &device)?;
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
    println!("{}", serde_json::json!({ "seconds": seconds, "images_per_second": rate, "peak_mib": peak_memory() }));
    Ok(())
}
