//! Random numbers that follow from a seed: Gaussian noise on the host, and a device's own.

use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use vae2x_core::Array;

/// Independent values of mean 0 and deviation 1.
pub fn normal(shape: &[usize], rng: &mut ChaCha8Rng) -> Array {
    let mut values = Array::zeros(shape);
    values
        .data_mut()
        .iter_mut()
        .for_each(|v| *v = StandardNormal.sample(rng));
    values
}

/// Seeds a device's random numbers and draws from them. Devices of a kind share their numbers, so ranks draw one at a time.
pub fn seeded<T>(device: &Device, seed: u64, draw: impl FnOnce(&Device) -> T) -> T {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    device.seed(seed);
    draw(device)
}
