//! Gaussian noise from a seeded stream.

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
