//! LPIPS for `metrics`: the one metric that needs a neural network, and so the feature `train`.

use vae2x::{Array, Result};

/// LPIPS of two images `[3, H, W]`.
pub type Lpips = Box<dyn Fn(&Array, &Array) -> Result<f64>>;

/// LPIPS with VGG16 from a file, a hub id or `random:SEED`.
///
/// # Errors
/// If the weights cannot be read.
#[cfg(feature = "train")]
pub fn lpips(name: &str) -> anyhow::Result<Lpips> {
    use anyhow::Context;
    use vae2x_train::VggChoice;
    use vae2x_train::decoder::losses::load_lpips;

    let choice = VggChoice::parse(name, |name| anyhow::Ok(crate::compute::fetch(name)?))
        .context("--lpips")?;
    if let VggChoice::Random(seed) = choice {
        crate::ui::note(format!(
            "--lpips: random, untrained features (seed {seed}): not the published metric"
        ));
    }
    let network = load_lpips(&choice, &burn::tensor::Device::flex()).context("--lpips")?;
    Ok(Box::new(move |x, y| network.distance_in_tiles(x, y)))
}

/// This build has no network.
///
/// # Errors
/// An invalid command line, naming the feature.
#[cfg(not(feature = "train"))]
pub fn lpips(_: &str) -> anyhow::Result<Lpips> {
    Err(vae2x::Error::Missing {
        what: "`--lpips`".into(),
        feature: "train",
    }
    .into())
}
