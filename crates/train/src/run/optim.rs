//! AdamW over a module's parameters in their order, with state that is read and written by name; clipping; averaging.
//!
//! The update is burn's. Its own module optimizer keys state by random ids, which do not survive a restart under a name; here
//! state is a list parallel to the list of parameters. Every tensor is flattened.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::{
    AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, GradientsParams, Optimizer,
};
use burn::tensor::{Device, Tensor};
use vae2x_core::Array;
use vae2x_nn::array::{to_array, to_tensor};

use crate::Result;

/// Added to the root of the averaged squares: torch's default.
const EPSILON: f32 = 1e-8;

/// How an optimizer averages and decays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamOptions {
    /// Decay of the averages of gradients and of their squares.
    pub betas: [f32; 2],
    /// Decoupled.
    pub weight_decay: f32,
}

/// AdamW and its state.
#[derive(Clone)]
pub struct Adam {
    update: AdamW,
    states: Vec<Option<AdamWState<1>>>,
}

impl Adam {
    /// Without state: as before the first step.
    pub fn new(options: AdamOptions) -> Self {
        let config = AdamWConfig::new()
            .with_beta_1(options.betas[0])
            .with_beta_2(options.betas[1])
            .with_epsilon(EPSILON)
            .with_weight_decay(options.weight_decay);
        Self {
            update: config.build(),
            states: Vec::new(),
        }
    }

    /// Changes every parameter that has a gradient.
    pub fn step<M: Module>(&mut self, lr: f64, module: M, gradients: GradientsParams) -> M {
        module.map(&mut Step {
            adam: self,
            lr,
            gradients,
            next: 0,
        })
    }

    /// The number of steps so far.
    pub fn steps(&self) -> u64 {
        let of_parameters = self.states.iter().flatten();
        of_parameters
            .map(|state| state.momentum.time as u64)
            .max()
            .unwrap_or(0)
    }

    /// State as named arrays: for parameter `names[i]`, `NAME.m`, `NAME.v` and the number of its steps, `NAME.t`.
    ///
    /// # Errors
    /// If the device fails.
    pub fn read(&self, names: &[String]) -> Result<Vec<(String, Array)>> {
        let mut arrays = Vec::new();
        for (name, state) in names.iter().zip(&self.states) {
            let Some(AdamWState { momentum }) = state else {
                continue;
            };
            arrays.push((format!("{name}.m"), to_array(momentum.moment_1.clone())?));
            arrays.push((format!("{name}.v"), to_array(momentum.moment_2.clone())?));
            arrays.push((
                format!("{name}.t"),
                Array::new([1], vec![momentum.time as f32])?,
            ));
        }
        Ok(arrays)
    }

    /// Takes state back; `find` gives an array by its name, `None` if there is none.
    ///
    /// # Errors
    /// What `find` returns; [`Error::Core`](crate::Error::Core) for steps that are no number of steps, or squares below 0.
    pub fn restore(
        &mut self,
        names: &[String],
        find: &dyn Fn(&str) -> Result<Option<Array>>,
        device: &Device,
    ) -> Result<()> {
        self.states.clear();
        for name in names {
            let part = |part: &str| find(&format!("{name}.{part}"));
            self.states
                .push(match (part("m")?, part("v")?, part("t")?) {
                    (Some(m), Some(v), Some(t)) => {
                        let time = steps(name, &t, &v)?;
                        let [m, v] = [to_tensor(&m, name, device)?, to_tensor(&v, name, device)?];
                        Some(AdamWState::new(AdaptiveMomentumState::new(time, m, v)))
                    }
                    _ => None,
                });
        }
        Ok(())
    }
}

/// The number of a parameter's steps, given its averages of squares.
fn steps(name: &str, t: &Array, v: &Array) -> Result<usize> {
    let wrong = |part: &str, expected: &str, got: String| {
        Err(vae2x_core::Error::Shape {
            what: format!("{name}.{part}"),
            expected: expected.into(),
            got,
        }
        .into())
    };
    if let Some(square) = v.data().iter().find(|v| **v < 0.0) {
        return wrong("v", "averages of squares", square.to_string());
    }
    match t.data() {
        [steps] if *steps >= 1.0 && *steps < i32::MAX as f32 => Ok(*steps as usize),
        values => wrong("t", "a number of steps", format!("{values:?}")),
    }
}

struct Step<'a> {
    adam: &'a mut Adam,
    lr: f64,
    gradients: GradientsParams,
    next: usize,
}

impl ModuleMapper for Step<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let place = self.next;
        self.next += 1;
        self.adam
            .states
            .resize_with(self.adam.states.len().max(self.next), || None);
        let Some(gradient) = self.gradients.remove::<D>(param.id) else {
            return param;
        };
        let state = self.adam.states[place].take();
        let (adam, lr) = (&mut *self.adam, self.lr);
        param.map(|tensor| {
            let shape = tensor.shape();
            let flat = tensor.without_autodiff().flatten::<1>(0, D - 1);
            let (flat, state) = adam
                .update
                .step(lr, flat, gradient.flatten::<1>(0, D - 1), state);
            adam.states[place] = state;
            Tensor::from_inner(flat.reshape(shape)).require_grad()
        })
    }
}

/// The 2-norm over all gradients of a module, in double precision over tensors.
pub fn norm<M: Module>(module: &M, gradients: &GradientsParams) -> f64 {
    struct Squares<'a>(&'a GradientsParams, Vec<Tensor<1>>);
    impl ModuleVisitor for Squares<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = self.0.get::<D>(param.id);
            self.1
                .extend(gradient.map(|gradient| gradient.square().sum()));
        }
    }
    let mut squares = Squares(gradients, Vec::new());
    module.visit(&mut squares);
    if squares.1.is_empty() {
        return 0.0;
    }
    // Read from the device at once.
    let sums = Tensor::cat(squares.1, 0).try_into_vec_as::<f32>();
    sums.map_or(f64::NAN, |sums| {
        sums.into_iter().map(f64::from).sum::<f64>().sqrt()
    })
}

/// Multiplies all gradients of a module.
pub fn scale<M: Module>(module: &M, gradients: GradientsParams, factor: f64) -> GradientsParams {
    struct Scale(GradientsParams, GradientsParams, f64);
    impl ModuleVisitor for Scale {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.remove::<D>(param.id) {
                self.1.register(param.id, gradient.mul_scalar(self.2));
            }
        }
    }
    let mut scale = Scale(gradients, GradientsParams::new(), factor);
    module.visit(&mut scale);
    scale.1
}

/// All gradients of a module, one after another.
///
/// # Errors
/// If the device fails.
pub fn flatten<M: Module>(module: &M, gradients: &GradientsParams) -> Result<Vec<f32>> {
    struct Read<'a>(&'a GradientsParams, Vec<vae2x_core::Result<Array>>);
    impl ModuleVisitor for Read<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.extend(self.0.get::<D>(param.id).map(to_array));
        }
    }
    let mut read = Read(gradients, Vec::new());
    module.visit(&mut read);
    let arrays = read.1.into_iter().collect::<vae2x_core::Result<Vec<_>>>()?;
    Ok(arrays.into_iter().flat_map(Array::into_data).collect())
}

/// Gives the gradients of a module the values that [`flatten`] had, or others in the same order.
pub fn unflatten<M: Module>(
    module: &M,
    gradients: GradientsParams,
    values: &[f32],
) -> GradientsParams {
    struct Write<'a>(GradientsParams, GradientsParams, &'a [f32]);
    impl ModuleVisitor for Write<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let Some(old) = self.0.remove::<D>(param.id) else {
                return;
            };
            let (values, rest) = self.2.split_at(old.shape().num_elements());
            self.2 = rest;
            self.1.register(
                param.id,
                Tensor::<1>::from_floats(values, &old.device()).reshape(old.dims()),
            );
        }
    }
    let mut write = Write(gradients, GradientsParams::new(), values);
    module.visit(&mut write);
    write.1
}

/// Moves an average towards a module of the same kind: `average = decay * average + (1 - decay) * present`.
pub fn average<M: Module>(average: M, present: &M, decay: f64) -> M {
    struct Read(Vec<Tensor<1>>);
    impl ModuleVisitor for Read {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0
                .push(param.val().without_autodiff().flatten::<1>(0, D - 1));
        }
    }
    struct Mix(std::vec::IntoIter<Tensor<1>>, f64);
    impl ModuleMapper for Mix {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let Some(present) = self.0.next() else {
                return param;
            };
            let decay = self.1;
            param.map(|mean| {
                let present = present.reshape(mean.shape());
                mean.mul_scalar(decay) + present.mul_scalar(1.0 - decay)
            })
        }
    }
    let mut read = Read(Vec::new());
    present.visit(&mut read);
    average.map(&mut Mix(read.0.into_iter(), decay))
}

/// The decay of an average that follows the first steps faster: `min(decay, (1 + step) / (10 + step))`.
pub fn early_decay(decay: f64, step: u64) -> f64 {
    decay.min((1.0 + step as f64) / (10.0 + step as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Module, Debug)]
    struct Two {
        a: Param<Tensor<2>>,
        b: Param<Tensor<1>>,
    }

    fn two() -> Two {
        let device = Device::flex().autodiff();
        Two {
            a: Param::from_tensor(Tensor::from_floats([[1.0, -2.0], [0.5, 3.0]], &device)),
            b: Param::from_tensor(Tensor::from_floats([4.0], &device)),
        }
    }

    fn gradients(module: &Two) -> GradientsParams {
        GradientsParams::from_grads(module.a.val().square().sum().backward(), module)
    }

    fn values(module: &Two) -> (Vec<f32>, Vec<f32>) {
        (
            module.a.val().try_into_vec_as().unwrap(),
            module.b.val().try_into_vec_as().unwrap(),
        )
    }

    const OPTIONS: AdamOptions = AdamOptions {
        betas: [0.9, 0.99],
        weight_decay: 0.1,
    };

    #[test]
    fn the_first_step_is_adamws_and_parameters_without_gradient_stay() {
        let module = two();
        let gradients = gradients(&module);
        let module = Adam::new(OPTIONS).step(0.01, module, gradients);
        let (a, b) = values(&module);
        for (got, before) in a.iter().zip([1.0f32, -2.0, 0.5, 3.0]) {
            // Decay, then a step of the learning rate against the gradient's sign.
            let want = before * (1.0 - 0.001) - 0.01 * before.signum();
            assert!((got - want).abs() < 1e-6, "{got} {want}");
        }
        assert_eq!(b, [4.0]);
    }

    #[test]
    fn restored_state_goes_on_to_the_bit() {
        let names = ["a".to_string(), "b".to_string()];
        let mut adam = Adam::new(OPTIONS);
        let mut module = two();
        for _ in 0..3 {
            let gradients = gradients(&module);
            module = adam.step(0.01, module, gradients);
        }
        let state = adam.read(&names).unwrap();
        assert_eq!(state.len(), 3, "no state where there was no gradient");
        let mut other = Adam::new(OPTIONS);
        let find = |name: &str| {
            Ok(state
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, a)| a.clone()))
        };
        other.restore(&names, &find, &Device::flex()).unwrap();
        let [x, y] = [adam, other].map(|mut adam| {
            let gradients = gradients(&module);
            values(&adam.step(0.01, module.clone(), gradients))
        });
        assert_eq!(x, y);
    }

    #[test]
    fn norms_scales_and_averages() {
        let module = two();
        let gradients = gradients(&module);
        // Twice the values' norm.
        assert!((norm(&module, &gradients) - 2.0 * 14.25f64.sqrt()).abs() < 1e-5);
        let halved = scale(&module, gradients, 0.5);
        assert!((norm(&module, &halved) - 14.25f64.sqrt()).abs() < 1e-5);
        let plain = module.clone().valid();
        let moved = Adam::new(OPTIONS).step(0.1, module, halved);
        let mean = average(plain.clone(), &moved, 0.75);
        for ((m, p), q) in values(&mean)
            .0
            .iter()
            .zip(values(&plain).0)
            .zip(values(&moved).0)
        {
            assert!((m - (0.75 * p + 0.25 * q)).abs() < 1e-6);
        }
        assert!(early_decay(0.999, 0) < 0.2 && early_decay(0.999, 1_000_000) == 0.999);
    }
}
