//! Where VGG weights come from: a torchvision or timm file, a formula, a random seed.

use vae2x_core::weights::{TensorFile, formula as by_formula};
use vae2x_core::{Array, Error, Result};

use super::Depth;

/// Gives the tensor of a name (`features.0.weight`) and shape.
pub type VggSource<'a> = dyn Fn(&str, &[usize]) -> Result<Array> + 'a;

/// Keeps the variance of activations through ReLU (He et al., 2015).
const RELU_GAIN: f32 = std::f32::consts::SQRT_2;

/// Tensors of a file as torchvision or timm writes it; the classifier is not read.
///
/// # Errors
/// The source's: [`Error::Tensor`] if the file lacks a tensor or holds it in another shape, [`Error::NotFinite`].
pub fn from_file(file: &TensorFile) -> Box<VggSource<'_>> {
    Box::new(|name, shape| {
        let known = file.tensors().get(name);
        let info = known.ok_or_else(|| {
            tensor_error(
                file,
                name,
                shape,
                "no such tensor; is this the VGG asked for?",
            )
        })?;
        match info.shape == shape {
            true => file.read_finite(name),
            false => Err(tensor_error(
                file,
                name,
                shape,
                &format!("{:?}", info.shape),
            )),
        }
    })
}

fn tensor_error(file: &TensorFile, name: &str, shape: &[usize], got: &str) -> Error {
    Error::Tensor {
        path: file.path().to_path_buf(),
        tensor: name.into(),
        expected: format!("shape {shape:?}"),
        got: got.into(),
    }
}

/// The same weights in every language, for tests: see [`by_formula`].
pub fn formula(depth: Depth) -> Box<VggSource<'static>> {
    Box::new(move |name, shape| {
        Array::new(
            shape,
            by_formula::tensor(&format!("{}.{name}", depth.name()), shape, RELU_GAIN),
        )
    })
}

/// Random features of a seed. Untrained features still carry the local statistics of an image
/// (He, Wang, Hopcroft, "A powerful generative model using random weights for the deep image representation", 2016).
pub fn random(seed: u64) -> Box<VggSource<'static>> {
    Box::new(move |name, shape| {
        Array::new(
            shape,
            by_formula::tensor(&format!("random.{seed}.{name}"), shape, RELU_GAIN),
        )
    })
}
