//! A run that was stopped and resumed is, to the bit, the run that was not; what stops a run leaves it whole.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use vae2x_core::Array;
use vae2x_core::arch;
use vae2x_core::weights::{DType, Layout, TensorFile, VaeWeights, Weights};
use vae2x_media::picture::write_image;
use vae2x_testkit::compare::assert_same;
use vae2x_testkit::shared;
use vae2x_train::checkpoint::Checkpoint;
use vae2x_train::export::{ExportOptions, export};
use vae2x_train::log::PlainScreen;
use vae2x_train::losses::VggChoices;
use vae2x_train::run::{Inputs, newest};
use vae2x_train::{Config, RunOptions, VggChoice, train};

fn config(photos: &Path, steps: u64) -> Config {
    let text = format!(
        r#"
model.base = "fixtures/vae_tiny_base"
degradation.kind = "blur"
data = {{ photos = ["{0}"], held_out = ["{0}/held.png"], crop = 48, min_sharpness = 0.0, workers = 2, prefetch = 2 }}
train = {{ steps = {steps}, batch = 2, accumulate = 2, seed = 5 }}
gan = {{ weight = 0.05, start = 1, width = 4, adaptive = true }}
loss = {{ l1 = 1.0, fdl = 0.1, vgg19 = "random:3", vgg_crop = 16, fdl_options = {{ patch = 3, projections = 2, layer_weights = [1.0] }} }}
eval = {{ short_side = 0, size = 48 }}
log = {{ every = 1, eval_every = 3, checkpoint_every = 2, keep = 2 }}
"#,
        photos.display()
    );
    Config::parse(&text, &[]).unwrap()
}

fn photos() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (i, name) in ["a", "b", "held"].iter().enumerate() {
        let value = |p: usize| ((p % 64) as f32 * (0.3 + 0.1 * i as f32)).sin() * ((p / 64) as f32 * 0.17).cos();
        let photo = Array::new([3, 64, 64], (0..3 * 64 * 64).map(value).collect()).unwrap();
        write_image(&folder.path().join(format!("{name}.png")), &photo, &Default::default()).unwrap();
    }
    folder
}

fn run(config: &Config, folder: &Path) -> vae2x_train::Result<()> {
    let base = VaeWeights::open(&shared("fixtures/vae_tiny_base/original.safetensors")).unwrap();
    let choices = VggChoices { vgg16: None, vgg19: Some(VggChoice::Random(3)) };
    let inputs = Inputs { base: Arc::new(base), choices };
    let options =
        RunOptions { folder, device: Device::flex(), stop: &AtomicBool::new(false), screen: &mut PlainScreen };
    train(config, &inputs, options).map(|_| ())
}

/// Lines of the log without what depends on the clock.
fn log(folder: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(folder.join("log.jsonl")).unwrap();
    let parse = |line: &str| {
        let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
        value.as_object_mut().unwrap().remove("images_per_second");
        value
    };
    text.lines().map(parse).collect()
}

fn same_tensors(a: &TensorFile, b: &TensorFile) {
    assert!(a.tensors().keys().eq(b.tensors().keys()));
    a.tensors().keys().for_each(|name| assert_same(name, &a.read(name).unwrap(), &b.read(name).unwrap()));
}

// One test: burn's random numbers on the processor are one sequence per process.
#[test]
fn resumed_runs_are_whole_runs_to_the_bit_and_exports_hold_them() {
    let (photos, runs) = (photos(), tempfile::tempdir().unwrap());
    let at = |name: &str| runs.path().join(name);
    let whole = config(photos.path(), 5);
    run(&whole, &at("whole")).unwrap();
    // Ends at step 3 as if it had been the last, which writes a checkpoint, and goes on from there.
    run(
        &Config { train: vae2x_train::config::TrainConfig { steps: 3, ..whole.train.clone() }, ..whole.clone() },
        &at("cut"),
    )
    .unwrap();
    run(&whole, &at("cut")).unwrap();
    let [a, b] = ["whole", "cut"].map(|name| newest(&at(name)).unwrap().unwrap());
    assert_eq!((a.progress.step, &a.progress), (5, &b.progress));
    same_tensors(&a.file, &b.file);
    assert_eq!(log(&at("whole")), log(&at("cut")));
    assert!(log(&at("whole")).iter().any(|line| line["kind"] == "eval" && line["psnr"].is_number()));
    assert!(at("whole").join("samples/step-00000003.png").exists());

    damaged_checkpoints_are_passed_over(&at("cut"));
    exports(&a, &at("export"));
}

fn damaged_checkpoints_are_passed_over(folder: &Path) {
    let last = folder.join("checkpoints/step-00000005.safetensors");
    let bytes = std::fs::read(&last).unwrap();
    std::fs::write(&last, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(newest(folder).unwrap().unwrap().progress.step, 4);
}

fn exports(checkpoint: &Checkpoint, folder: &Path) {
    let base = VaeWeights::open(&shared("fixtures/vae_tiny_base/original.safetensors")).unwrap();
    std::fs::create_dir(folder).unwrap();
    for (layout, name) in [(Layout::Original, "a.safetensors"), (Layout::Diffusers, "vae")] {
        for average in [false, true] {
            let out = folder.join(format!("{average}-{name}"));
            export(checkpoint, Some(&base), &ExportOptions { layout, dtype: DType::F32, average }, &out).unwrap();
            let written = VaeWeights::open(&out).unwrap();
            assert_eq!(written.config().out_channels, 12);
            let prefix = if average { "average" } else { "generator" };
            for spec in arch::tensors(written.config()) {
                let got = written.tensor(&spec).unwrap();
                if spec.name.starts_with("encoder.") || spec.name.starts_with("conv1.") {
                    assert_eq!(
                        written.tensor_bytes(&spec).unwrap(),
                        base.tensor_bytes(&spec).unwrap(),
                        "{}",
                        spec.name
                    );
                } else {
                    let trained = checkpoint.file.read(&format!("{prefix}.{}", spec.name)).unwrap();
                    assert_same(&spec.name, &got, &trained);
                }
            }
        }
    }
}
