//! What more threads would bring, from the times of the tasks: for machines that are not at hand.

use std::time::Instant;

use vae2x_core::engine::{Decode, Engine};
use vae2x_core::{Array, Extent, Result};

use crate::engine::CpuEngine;
use crate::machine::Machine;
use crate::run::session::Decoding;

/// What threads would take for a decode whose tasks, cut for them, ran one after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Simulation {
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
        let (machine, record) = Machine::recording(self.machine.isa, threads)?;
        let mut session = Decoding::new(self.config(), &machine, &self.decoder, extent)?;
        // Packing is not the decode's.
        record.take();
        let start = Instant::now();
        for t in 0..frames {
            session.step(&latent.narrow1(t..t + 1), &mut |_| ())?;
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
