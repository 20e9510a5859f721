//! A run's folder, with the model and its caption in it at the end.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use crate::wan_dit::caption::CONTEXT;
use crate::wan_dit::tensors::specs;
use burn::tensor::Device;
use vae2x_core::temp;
use vae2x_core::weights::write::write_arrays;
use vae2x_nn::wan_vae::parameters;

use super::training::{FlowTraining, FlowTrainingConfig, caption};
use crate::latents::LatentFolder;
use vae2x_train::log::Screen;
use vae2x_train::run::checkpoint::write;
use vae2x_train::run::{self, Lock, Record, Work};
use vae2x_train::{Error, Result};

/// The model in the original layout, with its `config.json`.
pub const MODEL_FOLDER: &str = "model";
/// The caption under which it was trained.
pub const CONTEXT_FILE: &str = "context.safetensors";

/// Reads a configuration.
///
/// # Errors
/// [`Error::Config`] naming the file and the key.
pub fn open_config(path: &Path) -> Result<FlowTrainingConfig> {
    run::open_config(path, &[], FlowTrainingConfig::validate)
}

/// Trains from the checkpoint, or from the start, to the last step or until stopped. At the last step the
/// model is measured (time and error of the velocity there) and written; `None` if the run was stopped before.
///
/// # Errors
/// Latents that cannot be used, [`Error::Diverged`], files that cannot be written. The checkpoint written last stays.
pub fn train(
    folder: &Path,
    config: &FlowTrainingConfig,
    latents: &LatentFolder,
    device: &Device,
    stop: &AtomicBool,
    screen: &mut dyn Screen,
) -> Result<Option<Vec<(f64, f64)>>> {
    let _lock = Lock::take(folder)?;
    let mut training = FlowTraining::new(latents, config, folder, device)?;
    let [train, held_out] = training.counts();
    screen.note(&format!(
        "{train} latent files to train on, {held_out} held out"
    ));
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
    record.add(
        "eval",
        training.step(),
        measured
            .iter()
            .map(|(time, error)| (format!("velocity_error_{time}"), *error)),
    )?;
    save(folder, &training)?;
    Ok(Some(measured))
}

fn save(folder: &Path, training: &FlowTraining<'_>) -> Result<()> {
    let model = training.model();
    let target = folder.join(MODEL_FOLDER);
    std::fs::create_dir_all(&target).map_err(|e| Error::io(&target, e))?;
    let arrays = parameters::read(&model, &specs(model.config()))?;
    write(
        &target.join("diffusion_pytorch_model.safetensors"),
        &arrays,
        Default::default(),
    )?;
    temp::write_bytes(
        &target.join("config.json"),
        model.config().to_json().as_bytes(),
    )?;
    Ok(write_arrays(
        &folder.join(CONTEXT_FILE),
        &[(CONTEXT, &caption())],
        &Default::default(),
    )?)
}
