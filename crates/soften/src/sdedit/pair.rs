//! One pair.

use crate::velocity::{Velocity, noised, predict};
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};
use vae2x_core::Array;
use vae2x_nn::array::{to_array, to_tensor};

use super::options::SdeditOptions;
use vae2x_train::run::noise::normal;
use vae2x_train::{Error, Result};

/// The random numbers of the pair called `name`.
fn random(seed: u64, name: &str) -> ChaCha8Rng {
    let digest = Sha256::new()
        .chain_update(seed.to_le_bytes())
        .chain_update(name)
        .finalize();
    ChaCha8Rng::from_seed(digest.into())
}

/// The tensors of the pair called `name`: `NAME.clean`, `NAME.degraded`, `[C, h, w]` or for clips `[C, T, h, w]`, and `NAME.t` `[1]`.
///
/// # Shapes
/// normalized `[C, T, h, w]`
///
/// # Errors
/// If the latent does not fit the model; [`Error::Data`] if the model gives something that is not finite.
pub fn pair(
    name: &str,
    clean: Array,
    model: &dyn Velocity,
    options: &SdeditOptions,
    device: &Device,
) -> Result<[(String, Array); 3]> {
    let mut rng = random(options.seed, name);
    // As the file will hold it.
    let time = options.time.draw(&mut rng) as f32;
    let noise = normal(clean.shape(), &mut rng);
    let tensor = |array: &Array| -> Result<Tensor<5>> {
        Ok(to_tensor::<4>(array, name, device)?.unsqueeze_dim(0))
    };
    let t = f64::from(time);
    let x = noised(tensor(&clean)?, tensor(&noise)?, &[t]);
    let degraded = to_array(predict(model, x, t, options.steps)?.squeeze_dim::<4>(0))?;
    if let Some(broken) = degraded.data().iter().find(|v| !v.is_finite()) {
        return Err(Error::Data(format!(
            "{name}: the model gave {broken}: its weights or the latent are damaged"
        )));
    }
    let shape = match *clean.shape() {
        [c, 1, h, w] => vec![c, h, w],
        ref clip => clip.to_vec(),
    };
    Ok([
        (format!("{name}.clean"), clean.reshape(shape.clone())?),
        (format!("{name}.degraded"), degraded.reshape(shape)?),
        (format!("{name}.t"), Array::new([1], vec![time])?),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdedit::options::{LATEST, Time};

    /// 999 times of a draw, in order.
    fn times(time: Time) -> Vec<f64> {
        let mut times: Vec<f64> = (0..999)
            .map(|i| time.draw(&mut random(7, &i.to_string())))
            .collect();
        times.sort_by(f64::total_cmp);
        times
    }

    #[test]
    fn times_have_their_median_and_stay_below_1() {
        let (median, sigma) = (0.2, 1.0);
        for (time, latest) in [
            (Time::LogNormal { median, sigma }, 0.9),
            (Time::LogitNormal { median, sigma }, 0.7),
        ] {
            let times = times(time);
            assert!((0.18..0.22).contains(&times[499]), "{}", times[499]);
            assert!(times[998] <= LATEST && times[998] > latest && times[0] > 0.0);
        }
        let widest = times(Time::LogitNormal {
            median,
            sigma: 1e300,
        });
        assert_eq!([widest[0], widest[998]], [0.0, LATEST]);
    }

    #[test]
    fn logit_normal_times_cover_the_small_ones() {
        let (median, sigma) = (0.2, 1.0);
        let below = |time: Time, limit: f64| {
            times(time).iter().filter(|&&t| t < limit).count() as f64 / 999.0
        };
        let logit = Time::LogitNormal { median, sigma };
        // The normal distribution's share below ln(limit / (1 - limit)) - ln(0.2 / 0.8).
        for (limit, share) in [(0.12, 0.272), (0.05, 0.0596)] {
            let found = below(logit, limit);
            // Three standard deviations of a count of 999.
            assert!((found - share).abs() < 0.043, "{limit}: {found}");
        }
        let log = Time::LogNormal { median, sigma: 0.5 };
        assert!(below(log, 0.05) < 0.01);
    }
}
