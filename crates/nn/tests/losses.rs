//! Losses against float64 goldens: values, and gradients with respect to the image.

use burn::tensor::{Device, FloatDType, Tensor};
use vae2x_core::weights::TensorFile;
use vae2x_core::weights::formula;
use vae2x_core::{Array, Result};
use vae2x_nn::array::{to_array, to_tensor};
use vae2x_nn::discriminator::{Discriminator, Spectral, formula_tensor};
use vae2x_nn::loss::fdl::{self, Axes, FdlConfig, Norm, Projections, unit_kernels};
use vae2x_nn::loss::gan::GanKind;
use vae2x_nn::loss::l1::charbonnier;
use vae2x_nn::loss::lpips::{Lpips, feature_l1};
use vae2x_nn::vgg::{self, Depth, Vgg};
use vae2x_testkit::compare::{assert_close, relative_l2};
use vae2x_testkit::{open, tolerance};

const CASES: &str = "losses/cases.safetensors";
/// The stage whose goldens hold a bin at the cut of the angle: torch's own value there moves by 7e-3 between two computations in float64.
const CUT_STAGE: usize = 2;

fn device() -> Device {
    Device::flex().autodiff()
}

fn case(name: &str) -> Array {
    open(CASES).read(name).unwrap()
}

/// `x`, which gets a gradient, and `y`, which is a constant.
fn pictures() -> (Tensor<4>, Tensor<4>) {
    pictures_in(FloatDType::F32)
}

fn pictures_in(dtype: FloatDType) -> (Tensor<4>, Tensor<4>) {
    let read = |name: &str| {
        to_tensor::<4>(&case(name), name, &device())
            .unwrap()
            .cast(dtype)
    };
    (read("x").require_grad(), read("y"))
}

#[track_caller]
fn check_value<const D: usize>(name: &str, value: &Tensor<D>) {
    check_value_within(name, value, tolerance::LOSS_VALUE);
}

#[track_caller]
fn check_value_within<const D: usize>(name: &str, value: &Tensor<D>, tolerance: f64) {
    let want = case(name);
    let got = to_array(value.clone().inner())
        .unwrap()
        .reshape(want.shape())
        .unwrap();
    assert_close(name, &got, &want, tolerance);
}

#[track_caller]
fn check_gradient(name: &str, loss: &Tensor<1>, x: &Tensor<4>, tolerance: f64) {
    let gradients = loss.clone().sum().backward();
    let got = to_array(x.grad(&gradients).expect("x has a gradient")).unwrap();
    assert_close(name, &got, &case(name), tolerance);
}

#[test]
fn lpips_is_the_published_metric() {
    let lpips = Lpips::load(&vgg::formula(Depth::Vgg16), &device()).unwrap();
    let (x, y) = pictures();
    let distance = lpips.distance(x.clone(), y);
    check_value("lpips_vgg16.value", &distance);
    check_gradient(
        "lpips_vgg16.grad_x",
        &distance,
        &x,
        tolerance::LOSS_GRADIENT,
    );
}

#[test]
fn lpips_in_tiles_is_lpips_of_the_whole() {
    let lpips = Lpips::load(&vgg::formula(Depth::Vgg16), &Device::flex()).unwrap();
    // Two tiles each way, the second without a cell of its own or small, and sides that no pool divides.
    let size = [1, 3, 517, 573];
    let picture = |name: &str| {
        Array::new(size, formula::unit(name, size.iter().product()).collect()).unwrap()
    };
    let (x, y) = (picture("x"), picture("y"));
    let tensor = |a: &Array| to_tensor::<4>(a, "picture", &Device::flex()).unwrap();
    let whole = f64::from(lpips.distance(tensor(&x), tensor(&y)).into_scalar::<f32>());
    let tiled = lpips.distance_in_tiles(&x.item(0), &y.item(0)).unwrap();
    assert!(
        (tiled / whole - 1.0).abs() <= tolerance::LOSS_VALUE,
        "{tiled} {whole}"
    );
    assert!(
        lpips
            .distance_in_tiles(&Array::zeros([3, 15, 40]), &Array::zeros([3, 15, 40]))
            .is_err()
    );
}

fn vgg19_features(dtype: FloatDType) -> (Tensor<4>, Vec<Tensor<4>>, Vec<Tensor<4>>) {
    let vgg = Vgg::load(Depth::Vgg19, 5, &vgg::formula(Depth::Vgg19), &device()).unwrap();
    let (x, y) = pictures_in(dtype);
    let features = (vgg.features(x.clone()), vgg.features(y));
    (x, features.0, features.1)
}

/// The goldens' kernels, by formula and the name of the case.
fn projections<const D: usize>(
    name: &str,
    features: &[Tensor<D>],
    config: &FdlConfig,
) -> Projections {
    let stages = features.iter().enumerate().map(|(i, feature)| {
        let shape = config.kernels(feature.dims()[1]);
        let values = formula::unit(&format!("{name}.proj.{i}"), shape.iter().product()).collect();
        let kernels =
            to_tensor::<5>(&Array::new(shape, values).unwrap(), "kernels", &device()).unwrap();
        Some(unit_kernels(kernels.cast(feature.dtype())))
    });
    Projections {
        stages: stages.collect(),
    }
}

fn fdl_config(phase_weight: f64) -> FdlConfig {
    FdlConfig {
        patch: 3,
        projections: 8,
        phase_weight,
        ..FdlConfig::default()
    }
}

#[test]
fn fdl_values_of_every_stage() {
    let (x, features, target) = vgg19_features(FloatDType::F32);
    let config = fdl_config(0.01);
    let projections = projections("fdl", &features, &config);
    for i in 0..2 {
        let kernels = to_array(projections.stages[i].clone().unwrap().inner()).unwrap();
        assert!(
            relative_l2(kernels.data(), case(&format!("fdl.proj.{i}")).data()) <= 1e-6,
            "kernels {i}"
        );
    }
    for (i, kernels) in projections.stages.iter().enumerate() {
        let image = |t: &Tensor<4>| t.clone().unsqueeze_dim::<5>(2);
        let terms = fdl::stage(
            &config,
            kernels.as_ref().unwrap(),
            &image(&features[i]),
            &image(&target[i]),
        );
        check_value(&format!("fdl.layer{i}.amplitude"), &terms.magnitude);
        let tolerance = if i == CUT_STAGE {
            tolerance::PHASE_VALUE
        } else {
            tolerance::LOSS_VALUE
        };
        check_value_within(
            &format!("fdl.layer{i}.phase"),
            &terms.angle.unwrap(),
            tolerance,
        );
    }
    let loss = fdl::fdl(&config, &projections, &features, &target).unwrap();
    check_value("fdl.value", &loss);
    check_gradient("fdl.grad_x", &loss, &x, tolerance::PHASE_GRADIENT);
}

#[test]
fn fdl_of_magnitudes_alone() {
    let config = fdl_config(0.0);
    for (dtype, tolerance) in [
        (FloatDType::F64, tolerance::LOSS_GRADIENT),
        (FloatDType::F32, tolerance::SORTED_GRADIENT),
    ] {
        let (x, features, target) = vgg19_features(dtype);
        let loss = fdl::fdl(
            &config,
            &projections("fdl", &features, &config),
            &features,
            &target,
        )
        .unwrap();
        check_value("fdl_amplitude.value", &loss);
        check_gradient("fdl_amplitude.grad_x", &loss, &x, tolerance);
    }
}

#[test]
fn vgg19_feature_l1() {
    let (_, features, target) = vgg19_features(FloatDType::F32);
    check_value("vgg19_feature_l1.value", &feature_l1(&features, &target));
}

/// The goldens' network: weights by formula, `u` from the file, `v` unused before the first iteration.
fn discriminator() -> (Discriminator, Spectral) {
    let tensor = |name: &str, shape: &[usize]| -> Result<Array> {
        match name {
            _ if name.ends_with(".u") => open(CASES).read(&format!("disc.{name}")),
            _ if name.ends_with(".v") => Ok(Array::zeros(shape)),
            _ => formula_tensor(&format!("disc.{name}"), shape),
        }
    };
    Discriminator::load(16, &tensor, &device()).unwrap()
}

#[test]
fn patch_gan_with_spectral_norm() {
    let (network, mut spectral) = discriminator();
    network.iterate(&mut spectral);
    let (x, y) = pictures();
    let logits = network.forward(x.clone(), &spectral);
    check_value("disc.logits_x", &logits);
    let loss = GanKind::LeastSquares.generator(logits);
    check_value("gan.generator_loss", &loss);
    check_gradient("gan.generator_grad_x", &loss, &x, tolerance::LOSS_GRADIENT);
    // The golden is in evaluation mode: no further iteration.
    let real = network.forward(y, &spectral);
    let decoded = network.forward(x.detach(), &spectral);
    check_value(
        "gan.discriminator_loss_eval",
        &GanKind::LeastSquares.discriminator(real, decoded),
    );
}

#[test]
fn spectral_state_moves_with_iterations_and_only_with_them() {
    let (network, mut spectral) = discriminator();
    let (x, _) = pictures();
    network.iterate(&mut spectral);
    let logits =
        |spectral: &Spectral| to_array(network.forward(x.clone(), spectral).inner()).unwrap();
    let once = logits(&spectral);
    assert_eq!(once, logits(&spectral), "a forward changes nothing");
    network.iterate(&mut spectral);
    let twice = logits(&spectral);
    assert!(
        relative_l2(twice.data(), once.data()) > 1e-4,
        "an iteration changes the norm"
    );
    for _ in 0..200 {
        network.iterate(&mut spectral);
    }
    // Then every weight's largest singular value is 1: another iteration finds the same.
    let many = logits(&spectral);
    network.iterate(&mut spectral);
    assert_close("converged", &logits(&spectral), &many, 1e-4);
}

#[test]
fn a_detached_picture_gets_no_gradient_and_the_weights_do() {
    let (network, mut spectral) = discriminator();
    network.iterate(&mut spectral);
    let (x, y) = pictures();
    let real = network.forward(y, &spectral);
    let decoded = network.forward(Tensor::from_inner(x.clone().inner()), &spectral);
    let gradients = GanKind::LeastSquares
        .discriminator(real, decoded)
        .backward();
    assert!(x.grad(&gradients).is_none());
    assert!(
        network
            .convs
            .iter()
            .all(|c| c.weight.val().grad(&gradients).is_some())
    );
}

/// Of `tools/reference/losses.py`, whose constants are here too.
struct More(TensorFile);

impl More {
    fn open() -> Self {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/fixtures/losses.safetensors"
        );
        Self(TensorFile::open(path.as_ref()).unwrap())
    }

    /// Numbers by formula, which get a gradient.
    fn input<const D: usize>(
        name: &str,
        shape: [usize; D],
        scale: f64,
        dtype: FloatDType,
    ) -> Tensor<D> {
        let values = formula::unit(&format!("losses.{name}"), shape.iter().product()).collect();
        let tensor = to_tensor::<D>(&Array::new(shape, values).unwrap(), name, &device()).unwrap();
        // Scaled first, as the goldens' are, in double precision.
        tensor
            .cast(FloatDType::F64)
            .mul_scalar(scale)
            .cast(dtype)
            .detach()
            .require_grad()
    }

    #[track_caller]
    fn check<const D: usize>(
        &self,
        name: &str,
        loss: &Tensor<1>,
        inputs: &[(&str, &Tensor<D>)],
        tolerance: f64,
    ) {
        let read = |part: &str| self.0.read(&format!("{name}.{part}")).unwrap();
        assert_close(
            name,
            &to_array(loss.clone().inner()).unwrap(),
            &read("value"),
            tolerance::LOSS_VALUE,
        );
        let gradients = loss.backward();
        for (input, tensor) in inputs {
            let got = to_array(tensor.grad(&gradients).expect("a gradient")).unwrap();
            assert_close(
                &format!("{name}, {input}"),
                &got,
                &read(&format!("grad_{input}")),
                tolerance,
            );
        }
    }
}

const SIDE: usize = 24;
const FRAMES: usize = 6;

const PRECISIONS: [FloatDType; 2] = [FloatDType::F64, FloatDType::F32];

fn first_stages() -> Vgg {
    Vgg::load(Depth::Vgg19, 3, &vgg::formula(Depth::Vgg19), &device()).unwrap()
}

#[test]
fn feature_l1_with_its_gradient() {
    let (goldens, vgg, shape) = (More::open(), first_stages(), [1, 3, SIDE, SIDE]);
    for dtype in PRECISIONS {
        let x = More::input("x", shape, 0.8, dtype);
        let y = More::input("y", shape, 0.8, dtype).detach();
        let loss = feature_l1(&vgg.features(x.clone()), &vgg.features(y));
        goldens.check("feature_l1", &loss, &[("x", &x)], tolerance::LOSS_GRADIENT);
    }
}

/// The cases of both forms: name, weight of angles, factor of the transform.
fn fdl_cases(name: &str) -> Vec<(String, f64, Norm)> {
    vec![
        (name.into(), 0.0, Norm::Backward),
        (format!("{name}_ortho"), 0.0, Norm::Ortho),
        // So much that the angles make most of the gradient.
        (format!("{name}_phase"), 100.0, Norm::Backward),
    ]
}

/// With angles only the first stage: in later ones bins that are real by chance lie at the cut of the angle.
fn small_fdl(axes: Axes, phase_weight: f64, norm: Norm) -> FdlConfig {
    let stages = if phase_weight == 0.0 { 3 } else { 1 };
    FdlConfig {
        axes,
        projections: 6,
        phase_weight,
        norm,
        stage_weights: vec![1.0; stages],
        ..FdlConfig::default()
    }
}

/// Rounding to `f32` turns angles at their cut.
fn is_compared(phase_weight: f64, dtype: FloatDType) -> bool {
    phase_weight == 0.0 || dtype == FloatDType::F64
}

#[test]
fn fdl_of_images_with_its_gradient() {
    let (goldens, vgg, shape) = (More::open(), first_stages(), [1, 3, SIDE, SIDE]);
    for (name, phase_weight, norm) in fdl_cases("fdl2") {
        for dtype in PRECISIONS {
            if !is_compared(phase_weight, dtype) {
                continue;
            }
            let config = small_fdl(Axes::Plane, phase_weight, norm);
            let x = More::input("x", shape, 0.8, dtype);
            let y = More::input("y", shape, 0.4, dtype).detach();
            let (features, target) = (vgg.features(x.clone()), vgg.features(y));
            let projections = projections("fdl2", &features, &config);
            let loss = fdl::fdl(&config, &projections, &features, &target).unwrap();
            goldens.check(&name, &loss, &[("x", &x)], tolerance::LOSS_GRADIENT);
        }
    }
}

/// Features of each frame.
fn clip_features(vgg: &Vgg, clip: &Tensor<5>) -> Vec<Tensor<5>> {
    let [b, c, frames, h, w] = clip.dims();
    let images = clip.clone().swap_dims(1, 2).reshape([b * frames, c, h, w]);
    let stages = vgg.features(images).into_iter().map(|stage| {
        let [_, c, h, w] = stage.dims();
        stage.reshape([b, frames, c, h, w]).swap_dims(1, 2)
    });
    stages.collect()
}

#[test]
fn fdl_of_clips_with_its_gradient() {
    let (goldens, vgg, shape) = (More::open(), first_stages(), [1, 3, FRAMES, SIDE, SIDE]);
    for (name, phase_weight, norm) in fdl_cases("fdl3") {
        for dtype in PRECISIONS {
            if !is_compared(phase_weight, dtype) {
                continue;
            }
            let config = small_fdl(Axes::Volume, phase_weight, norm);
            let x = More::input("clip_x", shape, 0.8, dtype);
            let y = More::input("clip_y", shape, 0.4, dtype).detach();
            let (features, target) = (clip_features(&vgg, &x), clip_features(&vgg, &y));
            let projections = projections("fdl3", &features, &config);
            let loss = fdl::fdl(&config, &projections, &features, &target).unwrap();
            goldens.check(&name, &loss, &[("x", &x)], tolerance::LOSS_GRADIENT);
        }
    }
}

#[test]
fn charbonnier_and_hinge_with_their_gradients() {
    let (goldens, picture, logits) = (More::open(), [1, 3, 24, 24], [2, 1, 6, 6]);
    let f32 = FloatDType::F32;
    let (x, y) = (
        More::input("x", picture, 0.8, f32),
        More::input("y", picture, 0.8, f32),
    );
    goldens.check(
        "charbonnier",
        &charbonnier(x.clone(), y.detach(), 0.1),
        &[("x", &x)],
        tolerance::LOSS_GRADIENT,
    );
    let (real, decoded) = (
        More::input("real", logits, 2.0, f32),
        More::input("decoded", logits, 2.0, f32),
    );
    let loss = GanKind::Hinge.discriminator(real.clone(), decoded.clone());
    goldens.check(
        "hinge_discriminator",
        &loss,
        &[("real", &real), ("decoded", &decoded)],
        tolerance::LOSS_GRADIENT,
    );
    let loss = GanKind::Hinge.generator(decoded.clone());
    goldens.check(
        "hinge_generator",
        &loss,
        &[("decoded", &decoded)],
        tolerance::LOSS_GRADIENT,
    );
}
