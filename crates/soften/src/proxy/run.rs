//! A run's folder, with `proxy.safetensors` in it at the end.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;

use super::measure::Measured;
use super::pairs::PairFiles;
use super::training::{ProxyTraining, ProxyTrainingConfig, save};
use vae2x_train::log::Screen;
use vae2x_train::run::{self, Lock, Record, Work};
use vae2x_train::{Error, Result};

/// The result of a run.
pub const PROXY_FILE: &str = "proxy.safetensors";

/// Reads a configuration.
///
/// # Errors
/// [`Error::Config`] naming the file and the key.
pub fn open_config(path: &Path) -> Result<ProxyTrainingConfig> {
    run::open_config(path, &[], ProxyTrainingConfig::validate)
}

/// Trains from the checkpoint, or from the start, to the last step or until stopped. At each checkpoint the
/// proxy is measured on some of the held-out pairs, at the last step on all of them, and then written; `None` if the run was stopped before.
///
/// # Errors
/// Pairs that cannot be used, [`Error::Diverged`], files that cannot be written. The checkpoint written last stays.
pub fn train(
    folder: &Path,
    config: &ProxyTrainingConfig,
    device: &Device,
    stop: &AtomicBool,
    screen: &mut dyn Screen,
) -> Result<Option<Measured>> {
    let _lock = Lock::take(folder)?;
    let missing = || Error::Config("pairs is missing: name the folder of pairs".into());
    let pairs = PairFiles::open(config.pairs.as_ref().ok_or_else(missing)?)?;
    let mut training = ProxyTraining::new(&pairs, config, folder, device)?;
    let [train, held_out] = training.counts();
    screen.note(&format!("{train} pairs to train on, {held_out} held out"));
    let mut record = Record::open(folder, training.step(), screen)?;
    if !run::train(
        &mut training,
        config.options().intervals(),
        &mut record,
        stop,
    )? {
        return Ok(None);
    }
    let measured = training.measure()?;
    record.add("eval", training.step(), measured.values())?;
    save(&folder.join(PROXY_FILE), &training.proxy())?;
    Ok(Some(measured))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_configuration_is_sound() {
        open_config(Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../configs/degradation.toml"
        )))
        .unwrap();
    }
}
