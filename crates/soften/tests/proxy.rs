//! A known degradation is recovered: a Gaussian blur whose width grows with the flow time, in place of a diffusion model, by the same way
//! that a model's takes: pairs of a job, read from its files.

use std::cell::RefCell;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use burn::tensor::{Device, Tensor};
use vae2x_core::Array;
use vae2x_core::weights::{TensorFile, formula};
use vae2x_media::shard::Shard;
use vae2x_nn::array::{to_array, to_tensor};
use vae2x_nn::degradation::Proxy;
use vae2x_soften::proxy::{Pair, PairFiles, Pairs, ProxyTraining, ProxyTrainingConfig, save};
use vae2x_soften::sdedit::{Hashed, Job, Maker, Plan, SdeditOptions, Source, Time};
use vae2x_soften::velocity::Velocity;
use vae2x_testkit::compare::assert_same;
use vae2x_train::Error;
use vae2x_train::decoder::degradation::Degradation;
use vae2x_train::log::NoScreen;
use vae2x_train::run::{Record, Work};

const CHANNELS: usize = 2;
const SIDE: usize = 24;

/// At most a tenth of what doing nothing leaves.
const ERROR: f64 = 0.1;
/// In every ring of the spectrum.
const DECIBELS: f64 = 1.0;

/// Noise of all frequencies, and a model that knows which latent it was given last: `v = (x_t - blur(x0, t)) / t` leads to the blurred one in
/// one step. The blur is 4.5 cells wide per unit of time.
#[derive(Default)]
struct Blurring {
    clean: RefCell<Option<Array>>,
}

impl Source for Blurring {
    fn latents(&self, index: usize) -> vae2x_train::Result<Vec<Array>> {
        let values = formula::unit(&format!("clean.{index}"), CHANNELS * SIDE * SIDE).collect();
        let clean = Array::new([CHANNELS, 1, SIDE, SIDE], values)?;
        self.clean.replace(Some(clean.clone()));
        Ok(vec![clean])
    }
}

impl Velocity for Blurring {
    fn velocity(&self, x: Tensor<5>, times: &[f64]) -> vae2x_core::Result<Tensor<5>> {
        let clean = self
            .clean
            .borrow()
            .clone()
            .expect("latents are read before they are softened");
        let clean: Tensor<4> = to_tensor::<4>(&clean, "latent", &x.device())?.swap_dims(0, 1);
        let blurred = Degradation::Blur { cells: 4.5 }
            .apply(clean, times, || unreachable!("a blur needs no noise"));
        Ok((x - blurred.unsqueeze_dim(2)) / times[0])
    }
}

/// The pairs of a job in `folder`, of times around 0.11.
fn files(folder: &Path, count: usize) -> PairFiles {
    let time = Time::LogNormal {
        median: 0.11,
        sigma: 0.3,
    };
    let plan = Plan {
        model: Hashed::default(),
        context: Hashed::default(),
        vae: None,
        options: SdeditOptions {
            time,
            steps: 1,
            per_latent: 1,
            seed: 0,
            per_file: 16,
        },
        input: Default::default(),
        sources: (0..count).map(|i| i.to_string()).collect(),
    };
    let blurring = Blurring::default();
    let maker = Maker {
        source: &blurring,
        model: &blurring,
        device: &Device::flex(),
    };
    let mut job = Job::open(folder, plan, Shard::WHOLE, false).unwrap();
    assert!(
        job.run(maker, &AtomicBool::new(false), &mut |skipped| assert_eq!(
            skipped,
            None
        ))
        .unwrap()
    );
    PairFiles::open(folder).unwrap()
}

/// The same in memory.
fn pairs(count: usize) -> Vec<Pair> {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path(), count);
    (0..files.len()).map(|i| files.pair(i).unwrap()).collect()
}

/// The losses of some steps.
fn steps(work: &mut impl Work, count: usize) -> vae2x_train::Result<Vec<f64>> {
    let folder = tempfile::tempdir().unwrap();
    let mut screen = NoScreen;
    let mut record = Record::open(folder.path(), 0, &mut screen)?;
    let mut step = || {
        work.advance(&mut record)?;
        Ok(work.report()[0].1)
    };
    (0..count).map(|_| step()).collect()
}

#[test]
fn a_blur_that_grows_with_time_is_recovered() {
    let empty = tempfile::tempdir().unwrap();
    let config = ProxyTrainingConfig {
        width: 24,
        blocks: 1,
        steps: 1500,
        batch: 4,
        crop: 16,
        lr: 4e-3,
        held_out: 0.125,
        ..ProxyTrainingConfig::default()
    };
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let pairs = files(folder.path(), 64);
    assert_eq!(pairs.len(), 64);
    let mut fit = ProxyTraining::new(&pairs, &config, empty.path(), &device).unwrap();
    let losses = steps(&mut fit, 1500).unwrap();
    assert!(losses.iter().all(|loss| loss.is_finite()));
    let measured = fit.measure().unwrap();
    println!("{measured:?}");
    assert!(measured.error <= ERROR, "{measured:?}");
    assert!(
        measured.proxy_db.iter().all(|db| db.abs() <= DECIBELS),
        "{measured:?}"
    );
    assert!(
        measured.degraded_db.last().is_some_and(|&db| db < -2.0),
        "there was something to imitate: {measured:?}"
    );

    let path = folder.path().join("proxy.safetensors");
    save(&path, &fit.proxy()).unwrap();
    let again = Proxy::from_file(TensorFile::open(&path).unwrap(), CHANNELS, &device).unwrap();
    let clean: Tensor<4> = to_tensor::<3>(&pairs.pair(0).unwrap().clean, "latent", &device)
        .unwrap()
        .unsqueeze_dim(0);
    let run = |proxy: &Proxy| to_array(proxy.forward(clean.clone(), &[0.1])).unwrap();
    assert_same("saved", &run(&again), &run(&fit.proxy()));
}

#[test]
fn held_out_pairs_that_do_not_fit_are_known_before_the_start() {
    let empty = tempfile::tempdir().unwrap();
    let config = ProxyTrainingConfig {
        width: 4,
        blocks: 1,
        crop: 8,
        held_out: 0.25,
        ..ProxyTrainingConfig::default()
    };
    let refused = |odd: usize| {
        let mut pairs = pairs(4);
        let latent = Array::zeros([CHANNELS + 1, SIDE, SIDE]);
        pairs[odd] = Pair {
            clean: latent.clone(),
            degraded: latent,
            time: 0.1,
        };
        ProxyTraining::new(&pairs, &config, empty.path(), &Device::flex()).err()
    };
    // The one that is held out, and the first to train on, whose channels the others are to have.
    let errors: Vec<Error> = (0..4).filter_map(refused).collect();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(
        errors
            .iter()
            .all(|e| matches!(e, Error::Data(problem) if problem.starts_with("pair "))),
        "{errors:?}"
    );
}

#[test]
fn a_fit_follows_from_its_seed_and_goes_on_from_a_checkpoint_to_the_bit() {
    let config = ProxyTrainingConfig {
        width: 4,
        blocks: 1,
        steps: 6,
        batch: 2,
        crop: 8,
        ..ProxyTrainingConfig::default()
    };
    let (empty, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (pairs, device) = (pairs(4), Device::flex());
    let mut whole = ProxyTraining::new(&pairs, &config, empty.path(), &device).unwrap();
    let losses = steps(&mut whole, 6).unwrap();
    let mut first = ProxyTraining::new(&pairs, &config, folder.path(), &device).unwrap();
    let mut parts = steps(&mut first, 3).unwrap();
    first.store().unwrap();
    let mut second = ProxyTraining::new(&pairs, &config, folder.path(), &device).unwrap();
    assert_eq!(second.step(), 3);
    parts.extend(steps(&mut second, 3).unwrap());
    assert_eq!(losses, parts);
    assert_eq!(whole.measure().unwrap(), second.measure().unwrap());
    let other = ProxyTrainingConfig {
        seed: 1,
        ..config.clone()
    };
    let mut other = ProxyTraining::new(&pairs, &other, empty.path(), &device).unwrap();
    assert_ne!(steps(&mut other, 1).unwrap()[0], losses[0]);
}

#[test]
fn pairs_that_do_not_fit_are_refused() {
    let empty = tempfile::tempdir().unwrap();
    let error = |pairs: &Vec<Pair>, crop| {
        let config = ProxyTrainingConfig {
            width: 4,
            blocks: 1,
            steps: 1,
            crop,
            ..ProxyTrainingConfig::default()
        };
        ProxyTraining::new(pairs, &config, empty.path(), &Device::flex())
            .and_then(|mut fit| steps(&mut fit, 1))
            .unwrap_err()
    };
    let one = error(&pairs(1), 8);
    assert!(
        matches!(&one, Error::Data(problem) if problem.starts_with("1 ")),
        "{one:?}"
    );
    let small = error(&pairs(3), 32);
    assert!(
        matches!(&small, Error::Data(problem) if problem.contains("32")),
        "{small:?}"
    );
    let crop = error(&pairs(3), 2);
    assert!(
        matches!(&crop, Error::Config(problem) if problem.contains("crop")),
        "{crop:?}"
    );
}
