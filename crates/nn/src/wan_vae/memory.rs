//! What layers hold while they run, counted in values: an upper estimate from shapes alone.
//!
//! Counted are a layer's input, what it computes on the way, the copies in which convolutions repack their input and
//! output, what norms hold in `f32`, and the past. Kernels' scratch memory and the rounding of allocators are not; plans leave a
//! margin for them.

use vae2x_core::arch::{Attention, Conv, Layer, Residual};

/// Frames that a causal layer keeps.
const PAST: usize = 2;
/// A tensor and its repacked copy.
const REPACKED: usize = 2;
/// Scores, their exponentials and their quotients.
const SCORE_COPIES: usize = 3;
/// What a norm has in `f32`: its input, and the squares or the result.
const NORM_COPIES: usize = 2;

/// Values that layers hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// At the peak, without what is kept.
    pub working: usize,
    /// In the largest single tensor.
    pub largest: usize,
    /// Between latent frames.
    pub kept: usize,
}

impl Cost {
    /// The cost of one after the other.
    pub fn then(self, next: Self) -> Self {
        Self {
            working: self.working.max(next.working),
            largest: self.largest.max(next.largest),
            kept: self.kept + next.kept,
        }
    }

    /// The cost of either.
    pub fn or(self, other: Self) -> Self {
        Self {
            kept: self.kept.max(other.kept),
            ..self.then(other)
        }
    }
}

/// What a layer is run on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frames {
    /// Frames at once.
    pub count: usize,
    /// Rows times width.
    pub area: usize,
    /// Whether frames came before.
    pub clip: bool,
    /// Cells that attention takes at a time.
    pub queries: usize,
    /// Values of the precision in use that take as many bytes as an `f32`.
    pub wide: usize,
}

impl Frames {
    fn past(self) -> usize {
        if self.clip { PAST } else { 0 }
    }

    /// The frames that a layer makes of these.
    pub fn through(self, layer: &Layer) -> Self {
        let count = match layer {
            Layer::Upsample { time: Some(_), .. } if self.clip => 2 * self.count,
            Layer::Downsample { time: Some(_), .. } if self.clip => self.count / 2,
            _ => self.count,
        };
        Self { count, ..self }
    }
}

/// What `layers` hold on `frames`, and the frames that they make.
pub(super) fn run(layers: &[Layer], frames: Frames) -> (Cost, Frames) {
    layers
        .iter()
        .fold((Cost::default(), frames), |(sum, frames), layer| {
            (sum.then(cost(layer, frames)), frames.through(layer))
        })
}

fn cost(layer: &Layer, frames: Frames) -> Cost {
    match layer {
        Layer::Residual(spec) => residual(spec, frames),
        Layer::Conv(conv) => causal(conv, frames),
        Layer::Head { conv, .. } => normed(conv, frames),
        Layer::Upsample { conv, .. } => {
            let doubled = frames.through(layer).count;
            // Enlarged to four times the area.
            let enlarged = 4 * doubled * conv.inputs * frames.area;
            let output = 4 * doubled * conv.outputs * frames.area;
            let input = frames.count * conv.inputs * frames.area;
            // Each frame becomes two, from itself and its past.
            let time = if doubled > frames.count {
                (frames.past() + 4 * frames.count) * conv.inputs
            } else {
                0
            };
            Cost {
                working: input + (time * frames.area).max(REPACKED * (enlarged + output)),
                largest: enlarged.max(output),
                kept: if doubled > frames.count {
                    PAST * conv.inputs * frames.area
                } else {
                    0
                },
            }
        }
        Layer::Downsample { conv, .. } => {
            let input = frames.count * conv.inputs * frames.area;
            let output = frames.count * conv.outputs * frames.area / 4;
            Cost {
                working: REPACKED * input + 2 * REPACKED * output,
                largest: input,
                kept: if frames.clip {
                    conv.outputs * frames.area / 4
                } else {
                    0
                },
            }
        }
        Layer::Attention(spec) => attention(spec, frames),
    }
}

/// A causal convolution.
fn causal(conv: &Conv, frames: Frames) -> Cost {
    let input = conv.inputs * (frames.count + frames.past()) * frames.area;
    let output = conv.outputs * frames.count * frames.area;
    Cost {
        working: frames.count * conv.inputs * frames.area + REPACKED * (input + output),
        largest: input.max(output),
        kept: frames.past() * conv.inputs * frames.area,
    }
}

/// A norm, a SiLU and a causal convolution.
fn normed(conv: &Conv, frames: Frames) -> Cost {
    let input = conv.inputs * frames.count * frames.area;
    let wide = frames.wide * input;
    Cost {
        working: input + NORM_COPIES * wide,
        largest: wide,
        kept: 0,
    }
    .then(causal(conv, frames))
}

fn residual(spec: &Residual, frames: Frames) -> Cost {
    let shortcut = spec.conv1.inputs * frames.count * frames.area;
    let both = normed(&spec.conv1, frames).then(normed(&spec.conv2, frames));
    Cost {
        working: both.working + shortcut,
        ..both
    }
}

fn attention(spec: &Attention, frames: Frames) -> Cost {
    let values = spec.to_qkv.inputs * frames.area;
    let scores = frames.queries.min(frames.area) * frames.area;
    // Input, its norm, queries, keys, values and their transposed copies, output.
    Cost {
        working: (3 + 2 * 3) * values + SCORE_COPIES * scores,
        largest: (3 * values).max(scores),
        kept: 0,
    }
}

/// The pixels of a band: raw, in `f32`, and shuffled.
pub(super) fn leaving(channels: usize, frames: Frames) -> Cost {
    let raw = channels * frames.count * frames.area;
    let pixels = frames.wide * raw;
    Cost {
        working: raw + 2 * pixels,
        largest: pixels,
        kept: 0,
    }
}

/// The most cells at a time whose scores fit `working` values and whose tensor fits `largest`; at least one.
pub(super) fn queries(cells: usize, working: usize, largest: usize) -> usize {
    (working / (SCORE_COPIES * cells))
        .min(largest / cells)
        .clamp(1, cells)
}
