//! Part of a tensor, read without the rest and in whatever order its elements lie.
//!
//! Elements are visited in the order of their addresses and taken from a window of the file that
//! moves with them, so memory is that of the result and one window. Where elements lie close
//! together, little else is read.

use super::dtype::DType;
use super::source::Source;
use crate::error::Result;

/// Elements in the window.
const WINDOW: usize = 1 << 14;
/// Runs of neighbours from this length on are read by themselves; shorter ones together with what
/// lies between them.
const LONG_RUN: usize = 1 << 10;

/// An axis of the part that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    /// Its length.
    pub extent: usize,
    /// Elements between neighbours along it.
    pub stride: usize,
}

/// The elements of `axes`, in row-major order of the axes, the first element being at byte `offset`
/// of the file; `None` if the type is not one that is widened. All elements must lie inside the
/// file.
pub(super) fn read(
    source: &Source,
    dtype: DType,
    offset: u64,
    axes: &[Axis],
) -> Result<Option<Vec<f32>>> {
    let count = axes.iter().map(|axis| axis.extent).product();
    let mut out = vec![0.0; count];
    if count == 0 {
        return Ok(Some(out));
    }
    let steps = steps(axes);
    let reach = 1 + steps
        .iter()
        .map(|step| (step.extent - 1) * step.stride)
        .sum::<usize>();
    let length = window_length(&steps);
    let (mut start, mut window) = (0, Vec::new());
    let mut place = Walk::new(&steps);
    for _ in 0..count {
        if !(start..start + window.len()).contains(&place.from) {
            start = place.from;
            let bytes = source.read_at(
                offset + (start * dtype.size()) as u64,
                length.min(reach - start) * dtype.size(),
            )?;
            let Some(values) = dtype.widen(&bytes) else {
                return Ok(None);
            };
            window = values;
        }
        out[place.to] = window[place.from - start];
        place.advance();
    }
    Ok(Some(out))
}

/// An axis with both its strides.
#[derive(Clone, Copy)]
struct Step {
    extent: usize,
    /// Elements between neighbours in the file.
    stride: usize,
    /// Elements between neighbours in the result.
    out: usize,
}

/// The axes by falling stride in the file.
fn steps(axes: &[Axis]) -> Vec<Step> {
    let mut steps = Vec::with_capacity(axes.len());
    let mut out = 1;
    for &Axis { extent, stride } in axes.iter().rev() {
        steps.push(Step {
            extent,
            stride,
            out,
        });
        out *= extent;
    }
    steps.sort_by_key(|step| std::cmp::Reverse(step.stride));
    steps
}

/// Elements to read at a time: a run of neighbours, or as many as the window holds.
fn window_length(steps: &[Step]) -> usize {
    let mut run = 1;
    for step in steps.iter().rev().filter(|step| step.extent > 1) {
        if step.stride != run {
            break;
        }
        run *= step.extent;
    }
    match run >= LONG_RUN {
        true => run.min(WINDOW),
        false => WINDOW,
    }
}

/// Goes through all elements by their addresses in the file.
struct Walk<'a> {
    steps: &'a [Step],
    index: Vec<usize>,
    /// Element of the file, counted from the first one of the part.
    from: usize,
    /// Element of the result.
    to: usize,
}

impl<'a> Walk<'a> {
    fn new(steps: &'a [Step]) -> Self {
        Self {
            steps,
            index: vec![0; steps.len()],
            from: 0,
            to: 0,
        }
    }

    fn advance(&mut self) {
        for (index, step) in self.index.iter_mut().zip(self.steps).rev() {
            *index += 1;
            self.from += step.stride;
            self.to += step.out;
            if *index < step.extent {
                return;
            }
            *index = 0;
            self.from -= step.extent * step.stride;
            self.to -= step.extent * step.out;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` floats, each being its own place, behind three bytes of something else.
    fn ramp(count: usize) -> Source {
        let floats = (0..count).flat_map(|i| (i as f32).to_le_bytes());
        let bytes: Vec<u8> = [7; 3].into_iter().chain(floats).collect();
        Source::from_bytes("ramp".into(), bytes.into())
    }

    fn axes<const N: usize>(axes: [(usize, usize); N]) -> [Axis; N] {
        axes.map(|(extent, stride)| Axis { extent, stride })
    }

    fn places(axes: &[Axis], first: usize) -> Vec<f32> {
        let mut places = vec![first];
        for axis in axes {
            let along = |start: &usize| {
                let start = *start;
                (0..axis.extent).map(move |i| start + i * axis.stride)
            };
            places = places.iter().flat_map(along).collect();
        }
        places.into_iter().map(|place| place as f32).collect()
    }

    #[test]
    fn every_order_of_elements_is_read() {
        let source = ramp(60_000);
        let cases: [&[Axis]; 6] = [
            &axes([(3, 20_000), (90, 100), (100, 1)]),
            &axes([(3, 1), (100, 300), (100, 3)]),
            &axes([(5, 3), (7, 1), (11, 21)]),
            &axes([(2, 29_999), (3, 0), (4, 7)]),
            &axes([(1, 0), (17, 3_000)]),
            &[],
        ];
        for case in cases {
            let got = read(&source, DType::F32, 3 + 4, case).unwrap().unwrap();
            assert_eq!(got, places(case, 1), "{case:?}");
        }
        let none = read(&source, DType::F32, 3, &axes([(3, 1), (0, 1)])).unwrap();
        assert_eq!(none, Some(vec![]));
    }

    #[test]
    fn a_part_beyond_the_file_is_refused() {
        let source = ramp(8);
        assert!(read(&source, DType::F32, 3, &axes([(9, 1)])).is_err());
        assert!(read(&source, DType::F32, 7, &axes([(2, 7)])).is_err());
    }
}
