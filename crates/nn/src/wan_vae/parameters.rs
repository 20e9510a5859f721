//! A module's parameters under their canonical names, which training reads, averages and stores.
//!
//! burn visits parameters in the order of a module's fields, [`vae2x_core::arch`] lists tensors in the file's order. These lists are
//! in the order of the fields; every use checks that element counts agree. Trailing axes of length 1 are folded away in
//! the modules and are put back here.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use vae2x_core::arch::{self, Layer, TensorSpec};
use vae2x_core::{Array, Error, Result, VaeConfig};

use crate::array::to_array;

/// The tensors of [`super::Decoder`]'s parameters, in its order.
pub fn decoder_specs(config: &VaeConfig, has_time: bool) -> Vec<TensorSpec> {
    arch::decoder(config)
        .iter()
        .flat_map(|layer| in_module_order(layer, has_time))
        .collect()
}

/// The tensors of [`super::Encoder`]'s parameters, in its order.
pub fn encoder_specs(config: &VaeConfig, has_time: bool) -> Vec<TensorSpec> {
    let layers = arch::encoder(config);
    layers
        .iter()
        .flat_map(|layer| in_module_order(layer, has_time))
        .collect()
}

fn in_module_order(layer: &Layer, has_time: bool) -> Vec<TensorSpec> {
    let both = |conv: &arch::Conv| vec![conv.weight(), conv.bias()];
    match layer {
        Layer::Conv(conv) => both(conv),
        Layer::Residual(r) => {
            let shortcut = r.shortcut.as_ref().map(both).unwrap_or_default();
            [
                vec![r.norm1.gamma()],
                both(&r.conv1),
                vec![r.norm2.gamma()],
                both(&r.conv2),
                shortcut,
            ]
            .concat()
        }
        Layer::Attention(a) => [vec![a.norm.gamma()], both(&a.to_qkv), both(&a.proj)].concat(),
        Layer::Upsample { time, conv } => [time_tensors(time, has_time), both(conv)].concat(),
        Layer::Downsample { conv, time } => [both(conv), time_tensors(time, has_time)].concat(),
        Layer::Head { norm, conv } => [vec![norm.gamma()], both(conv)].concat(),
    }
}

fn time_tensors(time: &Option<arch::Conv>, has_time: bool) -> Vec<TensorSpec> {
    time.iter()
        .filter(|_| has_time)
        .flat_map(|conv| [conv.weight(), conv.bias()])
        .collect()
}

/// Copies every parameter of `module` from its device, in the canonical shape.
///
/// # Errors
/// [`Error::Shape`] if `specs` are not those of the module; [`Error::OutOfMemory`] or [`Error::Device`] if the device fails.
pub fn read<M: Module>(module: &M, specs: &[TensorSpec]) -> Result<Vec<(String, Array)>> {
    let mut reader = Reader {
        specs,
        next: 0,
        tensors: Vec::new(),
        error: None,
    };
    module.visit(&mut reader);
    match reader.error {
        Some(error) => Err(error),
        None if reader.next != specs.len() => Err(disagree(specs.len(), reader.next)),
        None => Ok(reader.tensors),
    }
}

fn disagree(expected: usize, got: usize) -> Error {
    Error::Shape {
        what: "parameters of a module".into(),
        expected: format!("{expected} tensors"),
        got: format!("{got}"),
    }
}

struct Reader<'a> {
    specs: &'a [TensorSpec],
    next: usize,
    tensors: Vec<(String, Array)>,
    error: Option<Error>,
}

impl ModuleVisitor for Reader<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let spec = self.specs.get(self.next);
        self.next += 1;
        let read = spec
            .ok_or_else(|| disagree(self.specs.len(), self.next))
            .and_then(|spec| {
                let array = to_array(param.val().without_autodiff())?;
                Ok((spec.name.clone(), array.reshape(spec.shape.clone())?))
            });
        match read {
            Ok(tensor) => self.tensors.push(tensor),
            Err(error) => self.error = self.error.take().or(Some(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use vae2x_core::weights::Weights;
    use vae2x_core::weights::formula::FormulaWeights;

    use super::*;
    use crate::wan_vae::{Decoder, Encoder};

    #[test]
    fn what_is_read_is_what_was_loaded_under_its_name() {
        let weights = FormulaWeights::new(VaeConfig::with_widths(4, 12));
        let decoder = Decoder::load(&weights, &Device::flex()).unwrap();
        let encoder = Encoder::load(&weights, &Device::flex()).unwrap();
        let decoder = read(&decoder, &decoder_specs(weights.config(), true)).unwrap();
        let encoder = read(&encoder, &encoder_specs(weights.config(), true)).unwrap();
        let specs = arch::tensors(weights.config());
        assert_eq!(decoder.len() + encoder.len(), specs.len());
        for (name, array) in decoder.iter().chain(&encoder) {
            let spec = specs.iter().find(|s| s.name == *name).unwrap();
            assert_eq!(*array, weights.tensor(spec).unwrap(), "{name}");
        }
    }

    #[test]
    fn another_models_list_is_refused() {
        let weights = FormulaWeights::new(VaeConfig::with_widths(4, 12));
        let decoder = Decoder::load(&weights, &Device::flex()).unwrap();
        assert!(
            read(
                &decoder,
                &decoder_specs(&VaeConfig::with_widths(8, 12), true)
            )
            .is_err()
        );
        assert!(read(&decoder, &decoder_specs(weights.config(), false)).is_err());
    }
}
