//! A run's folder: `config.toml`, `log.jsonl`, one checkpoint that is replaced, and at the end `proxy.safetensors`.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use vae2x_core::temp;
use vae2x_core::weights::TensorFile;

use super::fit::{Fit, FitConfig, save};
use super::measure::Measured;
use super::pairs::PairFiles;
use crate::log::{JsonLog, Line, Screen};
use crate::run::CONFIG_FILE;
use crate::{Error, Result};

/// The run's state.
pub const CHECKPOINT_FILE: &str = "checkpoint.safetensors";
/// What the run is for.
pub const PROXY_FILE: &str = "proxy.safetensors";

/// Reads a configuration.
///
/// # Errors
/// [`Error::Config`] naming the file and the key.
pub fn open_config(path: &Path) -> Result<FitConfig> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    let named = |e: String| Error::Config(format!("{}: {}", path.display(), e.trim_end()));
    let config: FitConfig = toml::from_str(&text).map_err(|e| named(e.to_string()))?;
    config.validate().map_err(|e| named(e.to_string()))?;
    Ok(config)
}

/// Writes a new run's configuration.
///
/// # Errors
/// [`Error::Run`] if the folder holds a run already.
pub fn create(folder: &Path, config: &FitConfig) -> Result<()> {
    let path = folder.join(CONFIG_FILE);
    if path.exists() {
        let problem = "holds a run already; go on with --resume, or choose another folder".into();
        return Err(Error::Run { path: folder.to_path_buf(), problem });
    }
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    let text = toml::to_string(config).map_err(|e| Error::Config(e.to_string()))?;
    Ok(temp::write_bytes(&path, text.as_bytes())?)
}

/// Runs from the checkpoint, or from the start, to the last step or until stopped, and writes the checkpoint. At the last step the
/// proxy is measured and written; `None` if the run was stopped before.
///
/// # Errors
/// Pairs that cannot be used, [`Error::Diverged`], files that cannot be written. The checkpoint written last stays.
pub fn train(
    folder: &Path,
    config: &FitConfig,
    device: &Device,
    stop: &AtomicBool,
    screen: &mut dyn Screen,
) -> Result<Option<Measured>> {
    let missing = || Error::Config("pairs is missing: name the folder of pairs".into());
    let pairs = PairFiles::open(config.pairs.as_ref().ok_or_else(missing)?)?;
    let path = folder.join(CHECKPOINT_FILE);
    let checkpoint = path.exists().then(|| TensorFile::open(&path)).transpose()?;
    let mut fit = Fit::new(&pairs, config, checkpoint.as_ref(), device)?;
    let [train, held_out] = fit.counts();
    screen.note(&format!("{train} pairs to train on, {held_out} held out"));
    let mut log = JsonLog::open(&folder.join("log.jsonl"), fit.step())?;
    let mut tell = |screen: &mut dyn Screen, kind: &str, step, values| {
        let line = Line { step, kind: kind.into(), values };
        screen.line(&line);
        log.add(&line)
    };
    while fit.step() < config.steps {
        let loss = fit.advance()?;
        let step = fit.step();
        let stopped = stop.load(Ordering::Relaxed);
        let due = |every: u64| step == config.steps || step.is_multiple_of(every);
        if due(config.log_every) {
            tell(screen, "train", step, [("loss".to_string(), loss)].into())?;
        }
        if stopped || due(config.checkpoint_every) {
            fit.store(&path)?;
        }
        if stopped && step < config.steps {
            return Ok(None);
        }
    }
    let measured = fit.measure()?;
    let bands = measured.proxy_db.iter().enumerate().map(|(band, db)| (format!("proxy_db_{band}"), *db));
    let values = bands.chain([("error".to_string(), measured.error)]).filter(|(_, v)| v.is_finite()).collect();
    tell(screen, "eval", fit.step(), values)?;
    save(&folder.join(PROXY_FILE), &fit.proxy())?;
    Ok(Some(measured))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_configuration_is_sound() {
        open_config(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/degradation.toml"))).unwrap();
    }
}
