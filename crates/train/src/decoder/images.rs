//! What training on images needs of a model. A single frame meets only the last temporal tap of each causal convolution, and no
//! convolution over time: the others would get no gradient, yet be held by the optimizer, its averages and every checkpoint.

use vae2x_core::arch::TensorSpec;
use vae2x_core::weights::Weights;
use vae2x_core::{Array, Result, VaeConfig};

/// The last temporal taps of a model.
#[derive(Clone, Copy)]
pub struct ImageWeights<'a>(pub &'a dyn Weights);

impl Weights for ImageWeights<'_> {
    fn config(&self) -> &VaeConfig {
        self.0.config()
    }

    fn tensor(&self, spec: &TensorSpec) -> Result<Array> {
        last_tap(&self.0.tensor(spec)?, spec)
    }

    fn has_time(&self) -> bool {
        false
    }
}

/// The shape of the part that an image meets: `[O, I, 3, 3, 3]` becomes `[O, I, 1, 3, 3]`.
pub fn image_shape(spec: &TensorSpec) -> Vec<usize> {
    let mut shape = spec.shape.clone();
    if let [_, _, taps, _, _] = &mut shape[..] {
        *taps = 1;
    }
    shape
}

/// Specifications with [`image_shape`].
pub fn image_specs(mut specs: Vec<TensorSpec>) -> Vec<TensorSpec> {
    specs
        .iter_mut()
        .for_each(|spec| spec.shape = image_shape(spec));
    specs
}

/// # Errors
/// None for a tensor of the specification's shape.
fn last_tap(tensor: &Array, spec: &TensorSpec) -> Result<Array> {
    let [_, _, taps, height, width] = spec.shape[..] else {
        return Ok(tensor.clone());
    };
    let area = height * width;
    let kernels = tensor.data().chunks_exact(taps * area);
    let last = kernels.flat_map(|kernel| &kernel[(taps - 1) * area..]);
    Array::new(image_shape(spec), last.copied().collect())
}

/// Puts a trained last tap back among a model's others.
///
/// # Errors
/// If the tensors are not those of the specification.
pub fn with_last_tap(whole: Array, last: &Array, spec: &TensorSpec) -> Result<Array> {
    let [_, _, taps, height, width] = spec.shape[..] else {
        return last.clone().reshape(spec.shape.clone());
    };
    let area = height * width;
    let mut values = whole.into_data();
    let kernels = values.chunks_exact_mut(taps * area);
    for (kernel, last) in kernels.zip(last.data().chunks_exact(area)) {
        kernel[(taps - 1) * area..].copy_from_slice(last);
    }
    Array::new(spec.shape.clone(), values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vae2x_core::arch;
    use vae2x_core::weights::formula::FormulaWeights;

    #[test]
    fn what_is_taken_out_is_put_back() {
        let weights = FormulaWeights::new(VaeConfig::with_widths(4, 3));
        let images = ImageWeights(&weights);
        for spec in arch::tensors(weights.config()) {
            let (whole, last) = (
                weights.tensor(&spec).unwrap(),
                images.tensor(&spec).unwrap(),
            );
            assert_eq!(last.shape(), image_shape(&spec), "{}", spec.name);
            let back = with_last_tap(whole.clone(), &last, &spec).unwrap();
            assert_eq!(back, whole, "{}", spec.name);
            // Another tap changes a third of a causal kernel, and all of anything else.
            let zeros = Array::zeros(image_shape(&spec));
            let changed = with_last_tap(whole.clone(), &zeros, &spec).unwrap();
            let kept = changed.data().iter().filter(|v| **v != 0.0).count();
            assert!(
                kept <= whole.data().len() - last.data().len(),
                "{}",
                spec.name
            );
        }
    }
}
