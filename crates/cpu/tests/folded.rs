//! A 2x decoder folded into a base decoder: its output, before it is clamped, is the mean of each 2x2 block.

use std::path::Path;
use std::sync::Arc;

use vae2x_core::engine::Decoder;
use vae2x_core::weights::formula::unit;
use vae2x_core::weights::{ConvertOptions, Layout, OutputScale, VaeWeights, Weights, convert};
use vae2x_core::{Array, Extent};
use vae2x_cpu::{CpuEngine, CpuOptions};
use vae2x_testkit::compare::assert_close;
use vae2x_testkit::{demo_model, fixture};

/// Rounding in `f32`, of the mean weights and in the decoder.
const TOLERANCE: f64 = 1e-5;

/// All frames of a latent of three latent frames, or of one, for weights that take images only.
fn decode(weights: VaeWeights) -> Array {
    let clip = Extent {
        frames: if weights.has_time() { 3 } else { 1 },
        cells: [6, 5],
    };
    let z = weights.config().z_dim;
    let engine = Arc::new(CpuEngine::new(Arc::new(weights), CpuOptions::default()).unwrap());
    let mut decoder = Decoder::new(engine, clip).unwrap();
    let step = |t: usize| {
        let name = format!("latent {t}");
        let values = unit(&name, z * 6 * 5).map(|v| 2.0 * v);
        let latent = Array::new([z, 1, 6, 5], values.collect()).unwrap();
        decoder.step(&latent, &mut |_| ()).unwrap()
    };
    Array::concat1(&(0..clip.frames).map(step).collect::<Vec<_>>()).unwrap()
}

/// The mean of each `2x2` block of `[C, F, 2h, 2w]`.
fn box_mean(large: &Array) -> Array {
    let [c, f, h, w] = large.dims("frames").unwrap();
    let mut small = Array::zeros([c, f, h / 2, w / 2]);
    for (i, mean) in small.data_mut().iter_mut().enumerate() {
        let (row, x) = (i / (w / 2), i % (w / 2));
        let at = |i: usize, j: usize| f64::from(large.data()[(2 * row + i) * w + 2 * x + j]);
        *mean = ((at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1)) / 4.0) as f32;
    }
    small
}

#[test]
fn a_folded_decoder_gives_the_box_mean() {
    let folder = tempfile::tempdir().unwrap();
    let sources = [
        demo_model("demo_2x.safetensors"),
        fixture("vae_tiny_up2x/original.safetensors"),
    ];
    for source in &sources {
        let open = |path: &Path| VaeWeights::open(path).unwrap();
        for layout in [Layout::Original, Layout::Diffusers, Layout::TwoD] {
            let options = |scale| ConvertOptions {
                layout,
                dtype: Some(vae2x_core::weights::DType::F32),
                scale,
            };
            let name = |scale: &str| folder.path().join(format!("{scale}.safetensors"));
            convert(&open(source), &options(OutputScale::Keep), &name("2x")).unwrap();
            let large = decode(open(&name("2x")));
            convert(&open(source), &options(OutputScale::Mean1x), &name("1x")).unwrap();
            let small = decode(open(&name("1x")));
            let outside = large.data().iter().filter(|v| v.abs() > 1.0).count();
            println!("{outside} values outside of [-1, 1]");
            let what = format!("{} as {layout}", source.display());
            assert_close(&what, &small, &box_mean(&large), TOLERANCE);
        }
    }
}
