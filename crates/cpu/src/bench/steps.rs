//! Where the time of a decode goes, step by step, and what each step has to do on any machine.

use vae2x_core::engine::{Decode, Engine};
use vae2x_core::{Array, Error, Extent, Result};

use crate::engine::CpuEngine;
use crate::ops::{conv, together};
use crate::plan::steps::{ConvSpec, Method, Op, Plan, Step};
use crate::run::runner::{Mode, RunOptions, Runner, State};
use crate::run::session::Decoding;
use vae2x_kernels::PAST;

/// A fused step of a decode, the time it took, and what it had to do.
#[derive(Clone, Debug, PartialEq)]
pub struct StepTime {
    /// What it computes: the method, channels in and out, frames and pixels out.
    pub name: String,
    /// Seconds, norms and residual included.
    pub seconds: f64,
    /// Floating-point operations of a plain convolution at the output's size; zero for other steps.
    pub direct_flops: f64,
    /// Floating-point operations of the matrix products that stand for it.
    pub product_flops: f64,
    /// Bytes of rows that are read and written, each once.
    pub row_bytes: f64,
    /// Bytes of weights that are read: all of them for each task.
    pub weight_bytes: f64,
}

impl CpuEngine {
    /// Decodes a latent `[z, T, h, w]` and returns the time of each step, of a clip in its last latent frame. The result is
    /// dropped.
    ///
    /// # Errors
    /// If the weights cannot be read or the latent does not fit the model.
    #[doc(hidden)]
    pub fn profile_decode(&self, latent: &Array) -> Result<Vec<StepTime>> {
        let [z, frames, h, w] = latent.dims("latent")?;
        let z_dim = self.config().z_dim;
        if z != z_dim || [frames, h, w].contains(&0) {
            return Err(Error::Shape {
                what: "latent".into(),
                expected: format!("[{z_dim}, T, h, w]"),
                got: format!("{:?}", latent.shape()),
            });
        }
        let extent = Extent {
            frames,
            cells: [h, w],
        };
        match extent.is_clip() {
            true => self.profile_clip(latent, extent),
            false => self.profile_image(latent, extent),
        }
    }

    fn profile_image(&self, latent: &Array, extent: Extent) -> Result<Vec<StepTime>> {
        let (model, machine) = (&*self.decoder, &self.machine);
        model.prepare_image(machine)?;
        let plan = &model.plans.image;
        let options = RunOptions {
            mode: Mode::Image,
            size: extent.cells,
            threads: machine.threads,
        };
        let mut state = State::new(plan, &model.plans.tables, options)?;
        let input = crate::buffers::frames::frame(latent, 0, state.input())?;
        let mut runner = Runner {
            model,
            machine,
            plan,
            state: &mut state,
        };
        runner.run(vec![input], &mut |_, _, _| (), &mut |_| ())?;
        Ok(self.step_times(plan, extent.cells, 1, state.seconds()))
    }

    fn profile_clip(&self, latent: &Array, extent: Extent) -> Result<Vec<StepTime>> {
        let mut session = Decoding::new(self.config(), &self.machine, &self.decoder, extent)?;
        let mut before = Vec::new();
        for t in 0..extent.frames {
            before = session.seconds();
            session.step(&latent.narrow1(t..t + 1), &mut |_| ())?;
        }
        let (mut times, mut size, mut frames) = (Vec::new(), extent.cells, 1);
        let stages = self.decoder.plans.clip.iter().map(|stage| stage.plan());
        for ((plan, after), before) in stages.zip(session.seconds()).zip(before) {
            let seconds: Vec<f64> = after.iter().zip(before).map(|(a, b)| a - b).collect();
            times.extend(self.step_times(plan, size, frames, &seconds));
            frames *= plan.outputs.len();
            let output = plan.extent(plan.outputs[0], size);
            size = [output.height, output.width];
        }
        Ok(times)
    }

    /// Steps of a plan that ran over so many frames whose height and width is `size`.
    fn step_times(
        &self,
        plan: &Plan,
        size: [usize; 2],
        frames: usize,
        seconds: &[f64],
    ) -> Vec<StepTime> {
        let times = plan.steps.iter().zip(seconds);
        times
            .map(|(step, &seconds)| self.step_time(plan, step, size, frames, seconds))
            .collect()
    }

    fn step_time(
        &self,
        plan: &Plan,
        step: &Step,
        size: [usize; 2],
        frames: usize,
        seconds: f64,
    ) -> StepTime {
        let bytes = |id: usize| {
            let extent = plan.extent(id, size);
            (frames * extent.width * extent.height * extent.channels * size_of::<f32>()) as f64
        };
        let touched = [step.input].into_iter().chain(step.residual);
        let row_bytes = touched.chain(step.targets()).map(bytes).sum();
        let output = plan.extent(step.target(), size);
        let pixels = format!("{frames}x{}x{}", output.height, output.width);
        let none = StepTime {
            name: String::new(),
            seconds,
            direct_flops: 0.0,
            product_flops: 0.0,
            row_bytes,
            weight_bytes: 0.0,
        };
        match &step.op {
            Op::Conv(index) => {
                let spec = &self.decoder.plans.tables.convs[*index];
                let work = Work::of(spec, plan, [output.height, output.width], frames);
                let name = format!(
                    "{:?} {} -> {} at {pixels}",
                    spec.method, spec.conv.inputs, spec.conv.outputs
                );
                StepTime {
                    name,
                    direct_flops: work.direct,
                    product_flops: work.products,
                    weight_bytes: work.weight_bytes,
                    ..none
                }
            }
            Op::Attention(_) => {
                let name = format!("Attention at {pixels}");
                StepTime { name, ..none }
            }
            Op::Copy => {
                let name = format!("Norm at {pixels}");
                StepTime { name, ..none }
            }
        }
    }
}

/// What a convolution has to do.
struct Work {
    direct: f64,
    products: f64,
    weight_bytes: f64,
}

impl Work {
    fn of(spec: &ConvSpec, plan: &Plan, [height, width]: [usize; 2], frames: usize) -> Self {
        let taps = spec.taps(plan.usage).len();
        let step = conv::output_step(spec.method);
        let tiles = height.div_ceil(step) * width.div_ceil(step);
        let is_together = taps > 1 && frames > 1 && spec.method == Method::Winograd;
        // Products of each element, and the runs through all tiles that make them.
        let (products, runs, per_task) = match is_together {
            true => (frames + PAST, 1, together::TILES),
            false => (taps * frames, frames, conv::tiles_per_task(spec.method)),
        };
        let (k, outputs) = (spec.k(), spec.padded_outputs());
        let product = tiles * spec.method.elements() * k * outputs;
        let macs = spec.method.direct_taps() * spec.conv.inputs * spec.outputs.len();
        Self {
            direct: 2.0 * (macs * taps * height * width * frames) as f64,
            products: 2.0 * (products * product) as f64,
            weight_bytes: (runs * tiles.div_ceil(per_task) * taps * spec.packed_len()) as f64
                * size_of::<f32>() as f64,
        }
    }
}
