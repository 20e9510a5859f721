//! Where the time of a decode goes, step by step.

use vae2x_core::engine::Engine;
use vae2x_core::{Array, Error, Result};

use crate::engine::CpuEngine;
use crate::plan::steps::{Op, Step};
use crate::run::runner::{Mode, RunOptions, Runner, State};

/// A fused step of a single frame's decode and the time it took.
#[derive(Clone, Debug, PartialEq)]
pub struct StepTime {
    /// What it computes: the method, channels in and out, pixels out.
    pub name: String,
    /// Seconds, norms and residual included.
    pub seconds: f64,
    /// Floating-point operations of a plain convolution at the output's size; zero for other steps.
    pub direct_flops: f64,
}

impl CpuEngine {
    /// Decodes a single latent frame `[z, 1, h, w]` and returns the time of each step. The result is dropped.
    ///
    /// # Errors
    /// If the weights cannot be read or the latent does not fit the model.
    #[doc(hidden)]
    pub fn profile_decode(&self, latent: &Array) -> Result<Vec<StepTime>> {
        let [z, t, h, w] = latent.dims("latent")?;
        let z_dim = self.config().z_dim;
        if [z, t] != [z_dim, 1] || h == 0 || w == 0 {
            return Err(Error::Shape {
                what: "latent".into(),
                expected: format!("[{z_dim}, 1, h, w]"),
                got: format!("{:?}", latent.shape()),
            });
        }
        let (model, machine) = (&*self.decoder, &self.machine);
        model.prepare_image(machine)?;
        let plan = &model.plans.image;
        let options = RunOptions {
            mode: Mode::Image,
            size: [h, w],
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
        let times = plan.steps.iter().zip(state.seconds());
        Ok(times
            .map(|(step, &seconds)| self.step_time(step, [h, w], seconds))
            .collect())
    }

    fn step_time(&self, step: &Step, size: [usize; 2], seconds: f64) -> StepTime {
        let plans = &self.decoder.plans;
        let extent = plans.image.extent(step.target(), size);
        let pixels = format!("{}x{}", extent.height, extent.width);
        match &step.op {
            Op::Conv(index) => {
                let spec = &plans.tables.convs[*index];
                let name = format!(
                    "{:?} {} -> {} at {pixels}",
                    spec.method, spec.conv.inputs, spec.conv.outputs
                );
                let macs = spec.method.direct_taps() * spec.conv.inputs * spec.conv.outputs;
                let direct_flops = 2.0 * (macs * extent.width * extent.height) as f64;
                StepTime {
                    name,
                    seconds,
                    direct_flops,
                }
            }
            Op::Attention(_) => StepTime {
                name: format!("Attention at {pixels}"),
                seconds,
                direct_flops: 0.0,
            },
            Op::Copy => StepTime {
                name: format!("Norm at {pixels}"),
                seconds,
                direct_flops: 0.0,
            },
        }
    }
}
