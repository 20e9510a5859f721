//! The flow between a latent and noise, `x_t = (1 - t) x0 + t e`, and a model's way back along it.
//!
//! A model predicts the velocity `v = e - x0` at `x_t`; going down to 0 in one step gives `x0^ = x_t - t v`, in several steps Euler's
//! method on an even grid of times. This is SDEdit (Meng et al., "SDEdit: guided image synthesis and editing with stochastic differential
//! equations", 2022) with the flow of Lipman et al., "Flow matching for generative modeling", 2023.

use burn::tensor::{Tensor, TensorData};
use vae2x_core::Result;

use crate::wan_dit::{TIME_SCALE, WanDit};

/// Anything that predicts velocities.
pub trait Velocity {
    /// # Shapes
    /// normalized latents `[B, C, T, h, w]` at flow times in [0, 1], one for each -> `e - x0`, the same shape
    ///
    /// # Errors
    /// If the latents do not fit the model.
    fn velocity(&self, x: Tensor<5>, times: &[f64]) -> Result<Tensor<5>>;
}

/// A transformer under one caption.
#[derive(Debug)]
pub struct Captioned {
    /// The model.
    pub model: WanDit,
    /// `[1, tokens, text_dim]`
    pub text: Tensor<3>,
}

impl Velocity for Captioned {
    fn velocity(&self, x: Tensor<5>, times: &[f64]) -> Result<Tensor<5>> {
        let clock: Vec<f64> = times.iter().map(|t| TIME_SCALE * t).collect();
        self.model
            .forward(x, &clock, self.text.clone().repeat_dim(0, times.len()))
    }
}

/// `(1 - t) x0 + t e`
///
/// # Shapes
/// `[B, C, T, h, w]` twice, one time for each of the batch -> the same shape
pub fn noised(clean: Tensor<5>, noise: Tensor<5>, times: &[f64]) -> Tensor<5> {
    let values: Vec<f32> = times.iter().map(|&t| t as f32).collect();
    let t = Tensor::<5>::from_data(
        TensorData::new(values, [times.len(), 1, 1, 1, 1]),
        &clean.device(),
    );
    clean * (t.clone() * -1.0 + 1.0) + noise * t
}

/// Integrates a model's flow from time `time` down to 0, in `steps` steps.
///
/// # Shapes
/// `[B, C, T, h, w]` -> the same
///
/// # Errors
/// As [`Velocity::velocity`].
pub fn predict(
    model: &dyn Velocity,
    mut x: Tensor<5>,
    time: f64,
    steps: usize,
) -> Result<Tensor<5>> {
    let batch = x.dims()[0];
    let at = |step: usize| time * (1.0 - step as f64 / steps as f64);
    for step in 0..steps {
        let velocity = model.velocity(x.clone(), &vec![at(step); batch])?;
        x = x - velocity * (at(step) - at(step + 1));
    }
    Ok(x)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use vae2x_core::Array;
    use vae2x_core::weights::formula;
    use vae2x_testkit::compare::assert_close;

    use super::*;
    use vae2x_nn::array::{to_array, to_tensor};

    fn latents(name: &str) -> Tensor<5> {
        let values = formula::unit(name, 2 * 3 * 4 * 4).collect();
        to_tensor(
            &Array::new([2, 3, 1, 4, 4], values).unwrap(),
            name,
            &Device::flex(),
        )
        .unwrap()
    }

    /// Knows the noise.
    struct Oracle;

    impl Velocity for Oracle {
        fn velocity(&self, _: Tensor<5>, _: &[f64]) -> Result<Tensor<5>> {
            Ok(latents("noise") - latents("clean"))
        }
    }

    /// `v = x / t`, whose flow is a straight line to 0.
    struct Shrinking;

    impl Velocity for Shrinking {
        fn velocity(&self, x: Tensor<5>, times: &[f64]) -> Result<Tensor<5>> {
            Ok(x / times[0])
        }
    }

    #[test]
    fn who_knows_the_noise_gives_the_latent_back_in_any_number_of_steps() {
        for (time, steps) in [(0.2, 1), (0.9, 1), (0.5, 4)] {
            let x = noised(latents("clean"), latents("noise"), &[time; 2]);
            let got = to_array(predict(&Oracle, x, time, steps).unwrap()).unwrap();
            assert_close("clean", &got, &to_array(latents("clean")).unwrap(), 1e-6);
        }
    }

    #[test]
    fn the_grid_is_even_and_ends_at_0() {
        for steps in [1, 2, 5] {
            let rest = to_array(predict(&Shrinking, latents("x"), 0.3, steps).unwrap()).unwrap();
            assert!(rest.data().iter().all(|v| v.abs() < 1e-6), "{steps} steps");
        }
    }

    #[test]
    fn each_latent_has_its_own_time() {
        let x = noised(latents("clean"), latents("noise"), &[0.0, 1.0]);
        let item = |x: &Tensor<5>, b: usize| to_array(x.clone().narrow(0, b, 1)).unwrap();
        assert_eq!(item(&x, 0), item(&latents("clean"), 0));
        assert_eq!(item(&x, 1), item(&latents("noise"), 1));
    }
}
