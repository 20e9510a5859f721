//! From layers to plans: a cursor goes along the layers and asks the step before it for what the next one reads.

use std::ops::Range;

use vae2x_core::arch::{Attention, Conv, Layer, Norm, Residual, Taps};

use crate::plan::steps::{Buffer, BufferId, Method, Op, Plan, Stage, Step, Tables, Use};

/// Where the next step finds its data: the last step's result, or the plan's input.
#[derive(Clone, Copy)]
struct Cursor {
    step: Option<usize>,
    channels: usize,
    shift: i32,
}

/// Collects the steps of one plan.
struct Builder<'t> {
    tables: &'t mut Tables,
    plan: Plan,
    at: Cursor,
}

/// The plan of a single frame: causal convolutions see zeros in the past, and time is left alone.
pub(crate) fn image(layers: &[Layer], tables: &mut Tables) -> Plan {
    let mut builder = Builder::new(tables, layer_inputs(&layers[0]), Use::Image);
    for layer in layers {
        builder.layer(layer);
    }
    builder.finish()
}

/// The plan of a clip.
pub(crate) fn clip(layers: &[Layer], tables: &mut Tables) -> Vec<Stage> {
    let mut stages = Vec::new();
    // Frames that a latent frame other than the first means here; they pass together.
    let mut frames = frames_per_latent_frame(layers);
    let mut builder = Builder::new(tables, layer_inputs(&layers[0]), Use::Clip(frames));
    for layer in layers {
        match layer {
            Layer::Upsample {
                time: Some(time), ..
            } => {
                stages.push(Stage::Frames(builder.finish()));
                frames *= 2;
                stages.push(Stage::TimeUp(time_plan(
                    tables,
                    time,
                    &[0..time.inputs, time.inputs..2 * time.inputs],
                )));
                builder = Builder::new(tables, time.inputs, Use::Clip(frames));
                builder.layer(layer);
            }
            Layer::Downsample {
                time: Some(time), ..
            } => {
                builder.layer(layer);
                stages.push(Stage::Frames(builder.finish()));
                frames /= 2;
                let outputs = 0..time.outputs;
                stages.push(Stage::TimeDown(time_plan(
                    tables,
                    time,
                    std::slice::from_ref(&outputs),
                )));
                builder = Builder::new(tables, time.outputs, Use::Clip(frames));
            }
            _ => builder.layer(layer),
        }
    }
    stages.push(Stage::Frames(builder.finish()));
    stages
}

/// How many frames go into the first layer for each latent frame but the first: as many as the layers make one of.
pub(crate) fn frames_per_latent_frame(layers: &[Layer]) -> usize {
    let halves_time = |layer: &&Layer| matches!(layer, Layer::Downsample { time: Some(_), .. });
    1 << layers.iter().filter(halves_time).count()
}

/// A convolution over time; each range of its outputs is a frame.
fn time_plan(tables: &mut Tables, time: &Conv, frames: &[Range<usize>]) -> Plan {
    let mut builder = Builder::new(tables, time.inputs, Use::Clip(1));
    let start = builder.at;
    let mut outputs = Vec::new();
    for range in frames {
        builder.at = start;
        builder.conv_range(time, Method::Point, range.clone(), 0, None);
        outputs.push(builder.raw());
    }
    builder.plan.outputs = outputs;
    builder.plan
}

fn layer_inputs(layer: &Layer) -> usize {
    match layer {
        Layer::Conv(conv) | Layer::Upsample { conv, .. } | Layer::Downsample { conv, .. } => {
            conv.inputs
        }
        Layer::Residual(r) => r.conv1.inputs,
        Layer::Attention(a) => a.to_qkv.inputs,
        Layer::Head { conv, .. } => conv.inputs,
    }
}

impl<'t> Builder<'t> {
    fn new(tables: &'t mut Tables, channels: usize, usage: Use) -> Self {
        let plan = Plan {
            usage,
            buffers: vec![Buffer {
                channels,
                shift: 0,
                history: false,
            }],
            ..Plan::default()
        };
        Self {
            tables,
            plan,
            at: Cursor {
                step: None,
                channels,
                shift: 0,
            },
        }
    }

    fn finish(mut self) -> Plan {
        self.plan.outputs = vec![self.raw()];
        self.plan
    }

    fn layer(&mut self, layer: &Layer) {
        match layer {
            Layer::Conv(conv) => self.conv(conv, None),
            Layer::Residual(residual) => self.residual(residual),
            Layer::Attention(attention) => self.attention(attention),
            Layer::Upsample { conv, .. } => {
                self.conv_range(conv, Method::Enlarge, 0..conv.outputs, 1, None)
            }
            Layer::Downsample { conv, .. } => {
                self.conv_range(conv, Method::Strided, 0..conv.outputs, -1, None)
            }
            Layer::Head { norm, conv } => {
                let input = self.act(norm, true);
                self.conv_from(input, conv, None);
            }
        }
    }

    fn residual(&mut self, r: &Residual) {
        let input = self.act(&r.norm1, true);
        let mut residual = self.raw();
        if let Some(shortcut) = &r.shortcut {
            let before = self.at;
            self.conv_range(shortcut, Method::Point, 0..shortcut.outputs, 0, None);
            residual = self.raw();
            self.at = before;
        }
        self.conv_from(input, &r.conv1, None);
        let input = self.act(&r.norm2, true);
        self.conv_from(input, &r.conv2, Some(residual));
    }

    fn attention(&mut self, a: &Attention) {
        let residual = self.raw();
        let input = self.act(&a.norm, false);
        let c = a.to_qkv.inputs;
        let mut part = |conv: &Conv, outputs| self.tables.conv(conv, Method::Point, outputs);
        let convs = [
            part(&a.to_qkv, 0..c),
            part(&a.to_qkv, c..2 * c),
            part(&a.to_qkv, 2 * c..3 * c),
            part(&a.proj, 0..c),
        ];
        self.push(Op::Attention(convs), input, Some(residual), c, 0);
        self.raw();
    }

    /// A convolution of the present result.
    fn conv(&mut self, conv: &Conv, residual: Option<BufferId>) {
        let input = self.raw();
        self.conv_from(input, conv, residual);
    }

    /// A convolution at stride 1 of the buffer `input`.
    fn conv_from(&mut self, input: BufferId, conv: &Conv, residual: Option<BufferId>) {
        let method = match conv.taps {
            Taps::Causal | Taps::Frame => Method::Winograd,
            Taps::Point | Taps::FramePoint | Taps::Time => Method::Point,
        };
        self.plan.buffers[input].history |= matches!(conv.taps, Taps::Causal | Taps::Time);
        let index = self.tables.conv(conv, method, 0..conv.outputs);
        self.push(Op::Conv(index), input, residual, conv.outputs, 0);
    }

    fn conv_range(
        &mut self,
        conv: &Conv,
        method: Method,
        range: Range<usize>,
        shift: i32,
        residual: Option<BufferId>,
    ) {
        let input = self.raw();
        self.plan.buffers[input].history |= matches!(conv.taps, Taps::Causal | Taps::Time);
        let channels = range.len();
        let index = self.tables.conv(conv, method, range);
        self.push(Op::Conv(index), input, residual, channels, shift);
    }

    fn push(
        &mut self,
        op: Op,
        input: BufferId,
        residual: Option<BufferId>,
        channels: usize,
        shift: i32,
    ) {
        let shift = self.at.shift + shift;
        self.plan.steps.push(Step {
            op,
            input,
            residual,
            raw: None,
            act: None,
        });
        self.at = Cursor {
            step: Some(self.plan.steps.len() - 1),
            channels,
            shift,
        };
    }

    fn buffer(&mut self) -> BufferId {
        self.plan.buffers.push(Buffer {
            channels: self.at.channels,
            shift: self.at.shift,
            history: false,
        });
        self.plan.buffers.len() - 1
    }

    /// The buffer of the present result as it is.
    fn raw(&mut self) -> BufferId {
        let Some(step) = self.at.step else {
            return self.plan.input;
        };
        if let Some(raw) = self.plan.steps[step].raw {
            return raw;
        }
        let buffer = self.buffer();
        self.plan.steps[step].raw = Some(buffer);
        buffer
    }

    /// The buffer of the present result through a norm.
    fn act(&mut self, norm: &Norm, silu: bool) -> BufferId {
        let index = self.tables.norm(norm, silu);
        let step = match self.at.step {
            // Attention writes a whole frame, which is better held once and normed as rows are needed.
            Some(step) if !matches!(self.plan.steps[step].op, Op::Attention(_)) => step,
            _ => {
                let (input, at) = (self.raw(), self.at);
                self.push(Op::Copy, input, None, at.channels, 0);
                let step = self.plan.steps.len() - 1;
                let buffer = self.buffer();
                self.plan.steps[step].act = Some((buffer, index));
                // The present result stays what it was.
                self.at = at;
                return buffer;
            }
        };
        let buffer = self.buffer();
        self.plan.steps[step].act = Some((buffer, index));
        buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vae2x_core::{VaeConfig, arch};

    #[test]
    fn a_residual_block_is_two_steps_and_attention_one() {
        let mut tables = Tables::default();
        let plan = image(&arch::decoder(&VaeConfig::default()), &mut tables);
        // conv2, conv1; middle: 2 blocks, attention and the norm after it; 12 blocks of which one has a shortcut; 3
        // enlargements; head.
        assert_eq!(plan.steps.len(), 2 + 4 + 2 + 24 + 1 + 3 + 1);
        assert!(
            plan.steps
                .iter()
                .all(|s| s.raw.is_some() || s.act.is_some())
        );
    }

    #[test]
    fn a_clip_is_cut_where_time_changes() {
        let mut tables = Tables::default();
        let cut = |layers: &[Layer], tables: &mut Tables| -> String {
            clip(layers, tables)
                .iter()
                .map(|s| match s {
                    Stage::Frames(plan) => char::from(b'0' + plan.usage.together() as u8),
                    Stage::TimeUp(_) => 'u',
                    Stage::TimeDown(_) => 'd',
                })
                .collect()
        };
        let config = VaeConfig::default();
        assert_eq!(cut(&arch::decoder(&config), &mut tables), "1u2u4");
        assert_eq!(cut(&arch::encoder(&config), &mut tables), "4d2d1");
    }
}
