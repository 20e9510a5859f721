//! A small flow model learns, and goes on from its checkpoint to the bit.

use std::path::Path;

use burn::tensor::Device;
use vae2x_core::latent::Space;
use vae2x_core::weights::ModelTensors;
use vae2x_core::{Array, VaeConfig};
use vae2x_media::latent::{SpaceChoice, write_latent};
use vae2x_nn::array::{to_array, to_tensor};
use vae2x_soften::flow::{FlowTraining, FlowTrainingConfig, MODEL_FOLDER, open_config, train};
use vae2x_soften::latents::LatentFolder;
use vae2x_soften::wan_dit::{DitOptions, DitWeights, WanDit, weights::FILES};
use vae2x_testkit::compare::assert_same;
use vae2x_train::Error;
use vae2x_train::log::NoScreen;
use vae2x_train::run::{Record, Work, create};

/// Latents of one wave each, whose noise is easy to tell from them.
fn latents(folder: &Path) -> LatentFolder {
    for i in 0..8 {
        let value = |p: usize| {
            (0.7 * (p % 8) as f32 + 0.5 * (p / 8 % 8) as f32 + i as f32 + (p / 64) as f32).sin()
        };
        let latent = Array::new([1, 16, 1, 8, 8], (0..1024).map(value).collect()).unwrap();
        write_latent(
            &folder.join(format!("{i}.safetensors")),
            &latent,
            Space::Normalized,
            &[],
        )
        .unwrap();
    }
    LatentFolder::open(folder, SpaceChoice::Auto, &VaeConfig::default()).unwrap()
}

fn config() -> FlowTrainingConfig {
    FlowTrainingConfig {
        layers: 1,
        dim: 48,
        heads: 2,
        ffn_dim: 64,
        batch: 4,
        crop: 8,
        ema: 0.9,
        lr: 3e-3,
        ..FlowTrainingConfig::default()
    }
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
fn held_out_latents_that_do_not_fit_are_known_before_the_start() {
    let empty = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let latents = latents(folder.path());
    let config = FlowTrainingConfig {
        crop: 10,
        ..config()
    };
    let refused = FlowTraining::new(&latents, &config, empty.path(), &Device::flex());
    assert!(matches!(
        refused.err(),
        Some(Error::Data(problem)) if problem.contains("10")
    ));
}

#[test]
fn the_error_of_the_velocity_falls() {
    let empty = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let latents = latents(folder.path());
    let config = FlowTrainingConfig {
        steps: 150,
        ..config()
    };
    let mut fit = FlowTraining::new(&latents, &config, empty.path(), &Device::flex()).unwrap();
    let before = fit.measure().unwrap();
    let losses = steps(&mut fit, 150).unwrap();
    assert!(losses.iter().all(|loss| loss.is_finite()));
    let after = fit.measure().unwrap();
    println!("{before:?} {after:?}");
    // At time 0.8 nearly all is noise, which the model sees: the latent's own power is what is left to guess.
    for ((time, before), (_, after)) in before
        .iter()
        .zip(&after)
        .filter(|((time, _), _)| *time >= 0.2)
    {
        assert!(after < &(0.7 * before), "time {time}: {before} to {after}");
    }
}

#[test]
fn a_run_goes_on_from_its_checkpoint_to_the_bit_and_its_model_loads() {
    let folder = tempfile::tempdir().unwrap();
    let latents = latents(folder.path());
    let config = FlowTrainingConfig {
        steps: 6,
        ..config()
    };
    let device = Device::flex();
    let empty = tempfile::tempdir().unwrap();
    let mut whole = FlowTraining::new(&latents, &config, empty.path(), &device).unwrap();
    let losses = steps(&mut whole, 6).unwrap();
    let mut first = FlowTraining::new(&latents, &config, empty.path(), &device).unwrap();
    let mut parts = steps(&mut first, 3).unwrap();
    first.store().unwrap();
    let mut second = FlowTraining::new(&latents, &config, empty.path(), &device).unwrap();
    parts.extend(steps(&mut second, 3).unwrap());
    assert_eq!(losses, parts);
    assert_eq!(whole.measure().unwrap(), second.measure().unwrap());

    let run = folder.path().join("run");
    create(&run, &config).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    train(&run, &config, &latents, &device, &stop, &mut NoScreen)
        .unwrap()
        .unwrap();
    let tensors = ModelTensors::open(&run.join(MODEL_FOLDER), FILES).unwrap();
    let weights = DitWeights::find(tensors, DitOptions::default()).unwrap();
    assert_eq!(*weights.config(), config.model(16));
    let model = WanDit::load(
        weights.config(),
        &|name, shape| weights.tensor(name, shape),
        &device,
    )
    .unwrap();
    let x = to_tensor(
        &latents.read(0).unwrap()[0]
            .clone()
            .reshape([1, 16, 1, 8, 8])
            .unwrap(),
        "x",
        &device,
    )
    .unwrap();
    let text = to_tensor(&Array::zeros([1, 1, 16]), "text", &device).unwrap();
    let of = |model: &WanDit| {
        to_array(model.forward(x.clone(), &[200.0], text.clone()).unwrap()).unwrap()
    };
    assert_same("read again", &of(&model), &of(&whole.model()));
}

#[test]
fn latents_that_do_not_fit_are_refused() {
    let empty = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let latents = latents(folder.path());
    let error = |config: FlowTrainingConfig| {
        FlowTraining::new(&latents, &config, empty.path(), &Device::flex())
            .and_then(|mut fit| steps(&mut fit, 1))
            .unwrap_err()
    };
    let large = error(FlowTrainingConfig {
        crop: 10,
        ..config()
    });
    assert!(
        matches!(&large, Error::Data(problem) if problem.contains("10")),
        "{large:?}"
    );
    let odd = error(FlowTrainingConfig {
        crop: 7,
        ..config()
    });
    assert!(
        matches!(&odd, Error::Config(problem) if problem.starts_with("crop")),
        "{odd:?}"
    );
    let heads = error(FlowTrainingConfig {
        heads: 5,
        ..config()
    });
    assert!(
        matches!(
            &heads,
            Error::Core(vae2x_core::Error::Config(problem)) if problem.starts_with("5 heads")
        ),
        "{heads:?}"
    );
    let ema = error(FlowTrainingConfig {
        ema: 1.0,
        ..config()
    });
    assert!(
        matches!(&ema, Error::Config(problem) if problem.starts_with("ema")),
        "{ema:?}"
    );
}

#[test]
fn the_space_of_latents_is_one_of_three() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flow.toml");
    let open = |space: &str| {
        std::fs::write(&path, format!("latent_space = \"{space}\"\n")).unwrap();
        open_config(&path).map(|config| config.latent_space)
    };
    assert_eq!(open("raw").unwrap(), SpaceChoice::Raw);
    assert_eq!(
        FlowTrainingConfig::default().latent_space,
        SpaceChoice::Auto
    );
    let error = open("rwa").unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Config(problem)
                if problem.contains("flow.toml")
                    && ["`auto`", "`raw`", "`normalized`"].iter().all(|space| problem.contains(space))
        ),
        "{error:?}"
    );
}
