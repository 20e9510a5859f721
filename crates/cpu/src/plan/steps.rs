//! The layer list of [`vae2x_core::arch`] as a list of fused steps over buffers of rows.
//!
//! A step reads one buffer, adds a residual if it has one, and writes its result as it is (`raw`), normed and activated
//! (`act`), or both: whatever the steps after it read. So norms and SiLU cost no pass of their own, and a residual
//! block is two steps. No weights are needed here: steps name convolutions and norms by their index in [`Tables`].
//!
//! For a single frame the whole network is one plan. For a clip it is cut where time is doubled or halved
//! ([`Stage::TimeUp`], [`Stage::TimeDown`]), because frames there leave in another number than they come.

use std::ops::Range;

use vae2x_core::arch::{Conv, Norm, Taps};

use crate::options::Storage;
use vae2x_kernels::{ELEMENTS2, ELEMENTS4, padded};

/// How a convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// 3x3 at stride 1 by F(4x4, 3x3).
    Winograd,
    /// 3x3 after nearest-neighbour enlargement, at the low resolution.
    Enlarge,
    /// 3x3 at stride 2, padded on the right and below, as one matrix product over nine pixels.
    Strided,
    /// One pixel.
    Point,
}

impl Method {
    /// Taps of a plain convolution.
    pub fn direct_taps(self) -> usize {
        match self {
            Self::Winograd | Self::Enlarge | Self::Strided => 9,
            Self::Point => 1,
        }
    }

    /// Matrix products per convolution.
    pub fn elements(self) -> usize {
        match self {
            Self::Winograd => ELEMENTS4,
            Self::Enlarge => ELEMENTS2,
            Self::Strided | Self::Point => 1,
        }
    }
}

/// What a convolution's weights are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Use {
    /// Single frames.
    #[default]
    Image,
    /// Single frames at the coarsest resolution, whose rows are all computed at once.
    Coarse,
    /// Clips, of which so many frames pass together: 1, 2 or 4.
    Clip(usize),
}

impl Use {
    /// Frames that pass together.
    pub fn together(self) -> usize {
        match self {
            Self::Image | Self::Coarse => 1,
            Self::Clip(frames) => frames,
        }
    }
}

/// Values of a set of weights from which on it is large: those of the coarse stages are.
const LARGE: usize = 2 << 20;

/// Some output channels of a convolution, and how they are computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConvSpec {
    pub conv: Conv,
    pub outputs: Range<usize>,
    pub method: Method,
}

impl ConvSpec {
    /// Frames it sees.
    pub fn frames(&self) -> usize {
        match self.conv.taps {
            Taps::Causal | Taps::Time => 3,
            Taps::Point | Taps::FramePoint | Taps::Frame => 1,
        }
    }

    /// Columns of each matrix product.
    pub fn k(&self) -> usize {
        match self.method {
            Method::Strided => 9 * padded(self.conv.inputs),
            Method::Winograd | Method::Enlarge | Method::Point => self.conv.inputs,
        }
    }

    /// Output channels with padding.
    pub fn padded_outputs(&self) -> usize {
        padded(self.outputs.len())
    }

    /// The temporal taps that are needed: an image meets the last alone.
    pub fn taps(&self, usage: Use) -> Range<usize> {
        let all = self.frames();
        match usage {
            Use::Image | Use::Coarse => all - 1..all,
            Use::Clip(_) => 0..all,
        }
    }

    /// Whether its weights are many, so that reading or expanding them takes long.
    pub fn is_large(&self) -> bool {
        self.method == Method::Winograd && self.packed_len() >= LARGE
    }

    /// Whether the taps are kept, to be expanded when the convolution's turn comes, instead of sets of weights: where
    /// those are large, and they are expanded but once for a frame, or clips need several, or it is asked for.
    pub fn keeps_taps(&self, usage: Use, storage: Storage) -> bool {
        self.is_large() && (usage != Use::Image || storage == Storage::Bf16)
    }

    /// Bytes of weights that stay.
    pub fn kept_bytes(&self, usage: Use, storage: Storage) -> usize {
        match (self.keeps_taps(usage, storage), storage) {
            (false, _) => self.taps(usage).len() * self.packed_len() * size_of::<f32>(),
            (true, Storage::F32) => self.taps_len(usage) * size_of::<f32>(),
            (true, Storage::Bf16) => self.taps_len(usage) * size_of::<u16>(),
        }
    }

    /// Bytes that the expanded sets take while the convolution runs.
    pub fn expanded_bytes(&self, usage: Use, storage: Storage) -> usize {
        let expanded = if self.keeps_taps(usage, storage) {
            self.taps(usage).len()
        } else {
            0
        };
        expanded * self.packed_len() * size_of::<f32>()
    }

    /// Values of the taps that `usage` needs.
    fn taps_len(&self, usage: Use) -> usize {
        self.method.direct_taps() * self.taps(usage).len() * self.k() * self.padded_outputs()
    }

    /// Values of one set of packed weights.
    pub fn packed_len(&self) -> usize {
        self.method.elements() * self.k() * self.padded_outputs()
    }
}

/// A norm and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NormSpec {
    pub norm: Norm,
    pub silu: bool,
}

/// What steps refer to by index.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    /// How large convolutions' weights are kept.
    pub storage: Storage,
    pub convs: Vec<ConvSpec>,
    pub norms: Vec<NormSpec>,
}

/// Index of a buffer within its plan.
pub(crate) type BufferId = usize;

/// Rows of pixels between steps.
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    /// Channels, without padding.
    pub channels: usize,
    /// The resolution is the plan's input's times two to this power.
    pub shift: i32,
    /// A causal convolution reads it: in a clip, the two frames before stay.
    pub history: bool,
}

/// What a step computes.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// A convolution.
    Conv(usize),
    /// Attention over all pixels of the frame: queries, keys, values, projection.
    Attention([usize; 4]),
    /// Nothing: the input, to be normed.
    Copy,
}

/// One fused step.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub op: Op,
    pub input: BufferId,
    /// Added to the result.
    pub residual: Option<BufferId>,
    /// Receives the result.
    pub raw: Option<BufferId>,
    /// Receives the result through a norm.
    pub act: Option<(BufferId, usize)>,
}

/// Steps in the order data flows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// What its convolutions' weights are for.
    pub usage: Use,
    pub steps: Vec<Step>,
    pub buffers: Vec<Buffer>,
    /// Always the first buffer.
    pub input: BufferId,
    /// Frames that leave, in order.
    pub outputs: Vec<BufferId>,
}

/// A part of a clip's way.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    /// Every frame passes: the very first alone, the others as many together as the plan's use says.
    Frames(Plan),
    /// The very first frame is left as it is, every other becomes two.
    TimeUp(Plan),
    /// The very first frame is left as it is, then every pair becomes one.
    TimeDown(Plan),
}

impl Tables {
    /// The index of a convolution, which is entered if it is new.
    pub fn conv(&mut self, conv: &Conv, method: Method, outputs: Range<usize>) -> usize {
        let spec = ConvSpec {
            conv: conv.clone(),
            outputs,
            method,
        };
        self.convs
            .iter()
            .position(|c| *c == spec)
            .unwrap_or_else(|| {
                self.convs.push(spec);
                self.convs.len() - 1
            })
    }

    /// The index of a norm, which is entered if it is new.
    pub fn norm(&mut self, norm: &Norm, silu: bool) -> usize {
        let spec = NormSpec {
            norm: norm.clone(),
            silu,
        };
        self.norms
            .iter()
            .position(|n| *n == spec)
            .unwrap_or_else(|| {
                self.norms.push(spec);
                self.norms.len() - 1
            })
    }
}
