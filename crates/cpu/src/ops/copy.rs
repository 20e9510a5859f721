//! The input of a plan, normed: the only norm that no step makes as it writes.

use std::ops::Range;

use vae2x_core::Result;

use super::{Cut, Target};
use crate::buffers::rows::Rows;
use crate::machine::Machine;

/// Pixels of a task.
const PIXELS: usize = 1024;

/// Norms rows of `input`.
pub(crate) fn run(
    machine: &Machine,
    input: &Rows,
    frame: usize,
    units: Range<usize>,
    target: Target<'_>,
) -> Result<()> {
    let columns = input.extent.width;
    let cut = Cut {
        units,
        columns,
        step: 1,
        tiles: PIXELS,
        threads: machine.threads,
    };
    let channels = target.channels;
    machine.run(cut.tasks(target), |mut task, _| {
        let (first, columns) = (task.units.start, task.columns.clone());
        for y in task.units.clone() {
            let source = &input.pixels(frame, y)[columns.start * channels..columns.end * channels];
            task.out()[y - first].copy_from_slice(source);
        }
        let rows = 0..task.units.len();
        task.activate(machine.isa, rows);
        Ok(())
    })
}
