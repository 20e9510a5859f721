//! What more threads would bring, from the times of the tasks: for machines that are not at hand.

use std::time::Instant;

use vae2x_core::engine::Engine;
use vae2x_core::{Array, Extent, Result};

use crate::buffers::frames::OutputFrames;
use crate::engine::CpuEngine;
use crate::machine::Machine;
use crate::run::session::Stream;

/// A decode whose tasks ran one after the other, cut for a number of threads, and what these threads would have taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Simulation {
    /// Threads it was cut for.
    pub threads: usize,
    /// Seconds of all tasks.
    pub tasks: f64,
    /// Seconds between the tasks, which no thread shares.
    pub between: f64,
    /// Seconds of the threads: each step's tasks go to whichever thread is free, and the next step waits for the last.
    pub seconds: f64,
    /// Seconds if every step's tasks were shared evenly.
    pub even: f64,
}

impl CpuEngine {
    /// Decodes a latent `[z, T, h, w]` on one thread, cut into the tasks of `threads`, `runs` times, and adds up what these
    /// threads would take if every task took its least time. Caches and memory that threads compete for are left out.
    ///
    /// # Errors
    /// If the weights cannot be read or the latent does not fit the model.
    #[doc(hidden)]
    pub fn simulate_threads(
        &self,
        latent: &Array,
        threads: usize,
        runs: usize,
    ) -> Result<Simulation> {
        let (mut least, mut between) = (Vec::new(), f64::INFINITY);
        for _ in 0..runs.max(1) {
            let (times, wall) = self.record_tasks(latent, threads)?;
            between = between.min(wall - times.iter().flatten().sum::<f64>());
            if least.is_empty() {
                least = times;
                continue;
            }
            for (least, time) in least.iter_mut().flatten().zip(times.iter().flatten()) {
                *least = f64::min(*least, *time);
            }
        }
        let tasks: f64 = least.iter().flatten().sum();
        let seconds: f64 = least.iter().map(|tasks| makespan(tasks, threads)).sum();
        Ok(Simulation {
            threads,
            tasks,
            between,
            seconds: seconds + between,
            even: tasks / threads as f64 + between,
        })
    }

    /// Seconds of the tasks of each step's part, and of the whole decode.
    fn record_tasks(&self, latent: &Array, threads: usize) -> Result<(Vec<Vec<f64>>, f64)> {
        let [_, frames, h, w] = latent.dims("latent")?;
        let extent = Extent {
            frames,
            cells: [h, w],
        };
        let config = self.config();
        let (machine, record) = Machine::recording(self.machine.isa, threads)?;
        let model = self.decoder.clone();
        let mut stream = Stream::new(model, machine, extent.is_clip(), extent.cells)?;
        // Packing is not the decode's.
        record.take();
        let start = Instant::now();
        for t in 0..frames {
            let side = config.scale()? * config.spatial();
            let [h, w] = extent.cells.map(|n| side * n);
            let shape = [config.image_channels, config.frames_of(t), h, w];
            let mut output = OutputFrames::new(shape, config.scale()?)?;
            stream.step(&latent.narrow1(t..t + 1), &mut output, &mut |_| ())?;
        }
        Ok((record.take(), start.elapsed().as_secs_f64()))
    }
}

/// When the last of the tasks ends that are taken in order by whichever of the threads is free.
fn makespan(tasks: &[f64], threads: usize) -> f64 {
    let mut busy = vec![0.0; threads];
    for task in tasks {
        let first = (0..threads).min_by(|&a, &b| f64::total_cmp(&busy[a], &busy[b]));
        busy[first.unwrap_or(0)] += task;
    }
    busy.into_iter().fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_task_sets_the_end() {
        assert_eq!(makespan(&[3.0, 1.0, 1.0, 1.0], 2), 3.0);
        assert_eq!(makespan(&[1.0, 1.0, 1.0, 3.0], 2), 4.0);
        assert_eq!(makespan(&[1.0, 2.0], 8), 2.0);
        assert_eq!(makespan(&[], 2), 0.0);
    }
}
