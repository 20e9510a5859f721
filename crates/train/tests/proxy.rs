//! A known degradation is recovered: a Gaussian blur whose width grows with the flow time, in place of a diffusion model.

use burn::tensor::{Device, Tensor};
use vae2x_core::Array;
use vae2x_core::weights::{TensorFile, formula};
use vae2x_nn::array::{to_array, to_tensor};
use vae2x_nn::degradation::Proxy;
use vae2x_testkit::compare::assert_same;
use vae2x_train::degrade::Degradation;
use vae2x_train::fit::run::Work;
use vae2x_train::proxy::{Fit, FitConfig, Pair, save};

const CHANNELS: usize = 2;
const SIDE: usize = 24;

/// At most a tenth of what doing nothing leaves.
const ERROR: f64 = 0.1;
/// In every ring of the spectrum.
const DECIBELS: f64 = 1.0;

/// Noise of all frequencies, blurred by a width of 0.1 to 0.9 cells.
fn pairs(count: usize) -> Vec<Pair> {
    let blur = Degradation::Blur { cells: 4.5 };
    let pair = |i: usize| {
        let values = formula::unit(&format!("clean.{i}"), CHANNELS * SIDE * SIDE).collect();
        let clean = Array::new([CHANNELS, SIDE, SIDE], values).unwrap();
        let time = 0.02 + 0.18 * i as f64 / count as f64;
        let latent: Tensor<4> = to_tensor::<3>(&clean, "latent", &Device::flex()).unwrap().unsqueeze_dim(0);
        let degraded = to_array(blur.apply(latent, &[time]).squeeze_dim::<3>(0)).unwrap();
        Pair { clean, degraded, time }
    };
    (0..count).map(pair).collect()
}

#[test]
fn a_blur_that_grows_with_time_is_recovered() {
    let config = FitConfig {
        width: 24,
        blocks: 1,
        steps: 1500,
        batch: 4,
        crop: 16,
        lr: 4e-3,
        held_out: 0.125,
        ..FitConfig::default()
    };
    let device = Device::flex();
    let pairs = pairs(64);
    let mut fit = Fit::new(&pairs, &config, None, &device).unwrap();
    (0..config.steps).for_each(|_| assert!(fit.advance().unwrap().is_finite()));
    let measured = fit.measure().unwrap();
    println!("{measured:?}");
    assert!(measured.error <= ERROR, "{measured:?}");
    assert!(measured.proxy_db.iter().all(|db| db.abs() <= DECIBELS), "{measured:?}");
    assert!(measured.degraded_db.last().is_some_and(|&db| db < -2.0), "there was something to imitate: {measured:?}");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.safetensors");
    save(&path, &fit.proxy()).unwrap();
    let again = Proxy::from_file(TensorFile::open(&path).unwrap(), CHANNELS, &device).unwrap();
    let clean: Tensor<4> = to_tensor::<3>(&pairs[0].clean, "latent", &device).unwrap().unsqueeze_dim(0);
    let run = |proxy: &Proxy| to_array(proxy.forward(clean.clone(), &[0.1])).unwrap();
    assert_same("saved", &run(&again), &run(&fit.proxy()));
}

#[test]
fn held_out_pairs_that_do_not_fit_are_known_before_the_start() {
    let config = FitConfig { width: 4, blocks: 1, crop: 8, held_out: 0.25, ..FitConfig::default() };
    let refused = |odd: usize| {
        let mut pairs = pairs(4);
        let latent = Array::zeros([CHANNELS + 1, SIDE, SIDE]);
        pairs[odd] = Pair { clean: latent.clone(), degraded: latent, time: 0.1 };
        Fit::new(&pairs, &config, None, &Device::flex()).err().map(|e| e.to_string())
    };
    // The one that is held out, and the first to train on, whose channels the others are to have.
    let errors: Vec<String> = (0..4).filter_map(refused).collect();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors.iter().all(|e| e.contains("pair ") && e.contains("expected two of")), "{errors:?}");
}

#[test]
fn a_fit_follows_from_its_seed_and_goes_on_from_a_checkpoint_to_the_bit() {
    let config = FitConfig { width: 4, blocks: 1, steps: 6, batch: 2, crop: 8, ..FitConfig::default() };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let (pairs, device) = (pairs(4), Device::flex());
    let mut whole = Fit::new(&pairs, &config, None, &device).unwrap();
    let losses: Vec<f64> = (0..6).map(|_| whole.advance().unwrap()).collect();
    let mut first = Fit::new(&pairs, &config, None, &device).unwrap();
    let mut parts: Vec<f64> = (0..3).map(|_| first.advance().unwrap()).collect();
    first.store(&path).unwrap();
    let mut second = Fit::new(&pairs, &config, Some(&TensorFile::open(&path).unwrap()), &device).unwrap();
    assert_eq!(second.step(), 3);
    parts.extend((0..3).map(|_| second.advance().unwrap()));
    assert_eq!(losses, parts);
    assert_eq!(whole.measure().unwrap(), second.measure().unwrap());
    let other = FitConfig { seed: 1, ..config.clone() };
    assert_ne!(Fit::new(&pairs, &other, None, &device).unwrap().advance().unwrap(), losses[0]);
}

#[test]
fn pairs_that_do_not_fit_are_refused() {
    let error = |pairs: &Vec<Pair>, crop| {
        let config = FitConfig { width: 4, blocks: 1, steps: 1, crop, ..FitConfig::default() };
        Fit::new(pairs, &config, None, &Device::flex()).and_then(|mut fit| fit.advance()).unwrap_err().to_string()
    };
    assert!(error(&pairs(1), 8).contains("1 latents"));
    assert!(error(&pairs(3), 32).contains("sides of 32"));
    assert!(error(&pairs(3), 2).contains("crop"));
}
