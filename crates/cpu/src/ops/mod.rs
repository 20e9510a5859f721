//! The steps' work, safe and in parallel: a step's output is cut into tasks of some rows and columns, each of which one
//! thread computes from beginning to end in scratch memory of its own.
//!
//! How the output is cut never changes what is computed: tiles keep their places in the image and sums their order.

pub(crate) mod attention;
pub(crate) mod conv;
pub(crate) mod copy;
pub(crate) mod together;

use std::ops::Range;

use crate::weights::pack::NormWeights;
use vae2x_kernels::Isa;
use vae2x_kernels::{self as kernels, Norm};

/// Where a step's results go.
pub(crate) struct Target<'a> {
    /// Rows of pixels for the result as it is, if it is wanted.
    pub raw: Option<Vec<&'a mut [f32]>>,
    /// Rows of pixels for the result through a norm, if it is wanted.
    pub act: Option<Vec<&'a mut [f32]>>,
    pub norm: Option<&'a NormWeights>,
    /// Channels of a pixel.
    pub channels: usize,
}

/// One task: some units of a step, some columns of each.
pub(crate) struct Task<'a> {
    /// Units of rows, as the schedule counts them.
    pub units: Range<usize>,
    /// Tiles or pixels.
    pub columns: Range<usize>,
    /// The pixels of those, row by row.
    pub raw: Option<Vec<&'a mut [f32]>>,
    pub act: Option<Vec<&'a mut [f32]>>,
    norm: Option<&'a NormWeights>,
}

/// How to cut a step: `units` rows of `columns` tiles, each `step` pixels high and wide in the output.
pub(crate) struct Cut {
    pub units: Range<usize>,
    pub columns: usize,
    pub step: usize,
    /// Tiles of a task, at most.
    pub tiles: usize,
    pub threads: usize,
}

impl Cut {
    /// Groups of units and parts of the columns: as few tasks as fit the limit, yet a multiple of the threads.
    fn counts(&self) -> (usize, usize) {
        let units = self.units.len();
        let rows = (self.tiles / self.columns).clamp(1, units.div_ceil(self.threads));
        let groups = units.div_ceil(rows);
        let least = self.columns.div_ceil(self.tiles);
        let even = (least..least + self.threads)
            .find(|parts| (groups * parts).is_multiple_of(self.threads));
        (groups, even.unwrap_or(least).min(self.columns))
    }

    /// Cuts the target's rows, which start with those of the first unit.
    pub fn tasks<'a>(&self, target: Target<'a>) -> Vec<Task<'a>> {
        let (groups, parts) = self.counts();
        let share = |of: usize, n: usize, i: usize| i * of / n..(i + 1) * of / n;
        let mut tasks: Vec<Task<'a>> = (0..groups * parts)
            .map(|i| {
                let units = share(self.units.len(), groups, i / parts);
                Task {
                    units: self.units.start + units.start..self.units.start + units.end,
                    columns: share(self.columns, parts, i % parts),
                    raw: target.raw.as_ref().map(|_| Vec::new()),
                    act: target.act.as_ref().map(|_| Vec::new()),
                    norm: target.norm,
                }
            })
            .collect();
        self.deal(target.raw, target.channels, &mut tasks, |task| {
            &mut task.raw
        });
        self.deal(target.act, target.channels, &mut tasks, |task| {
            &mut task.act
        });
        tasks
    }

    /// Deals the rows out to the tasks of their units, column by column.
    fn deal<'a>(
        &self,
        rows: Option<Vec<&'a mut [f32]>>,
        channels: usize,
        tasks: &mut [Task<'a>],
        field: impl for<'t> Fn(&'t mut Task<'a>) -> &'t mut Option<Vec<&'a mut [f32]>>,
    ) {
        for (y, mut row) in rows.into_iter().flatten().enumerate() {
            let unit = self.units.start + y / self.step;
            for task in tasks.iter_mut().filter(|t| t.units.contains(&unit)) {
                let length = (task.columns.len() * self.step * channels).min(row.len());
                let (own, rest) = row.split_at_mut(length);
                row = rest;
                field(task).get_or_insert_default().push(own);
            }
        }
    }
}

impl<'a> Task<'a> {
    /// The rows that the result is first written to.
    pub fn out(&mut self) -> &mut [&'a mut [f32]] {
        match (&mut self.raw, &mut self.act) {
            (Some(rows), _) | (None, Some(rows)) => rows,
            (None, None) => &mut [],
        }
    }

    /// Norms the finished rows `rows`, counted from the task's first.
    pub fn activate(&mut self, isa: Isa, rows: Range<usize>) {
        let (Some(norm), Some(act)) = (self.norm, &mut self.act) else {
            return;
        };
        for y in rows.start..rows.end.min(act.len()) {
            let source = self.raw.as_ref().map(|raw| &*raw[y]);
            kernels::norm(
                isa,
                Norm {
                    source,
                    target: act[y],
                    gamma: &norm.gamma,
                    silu: norm.silu,
                },
            );
        }
    }
}
