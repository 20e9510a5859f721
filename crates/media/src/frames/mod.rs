//! Frames on their way in and out: where they come from, and where they go.
//!
//! A [`FrameSource`] gives the frames of one input in order, a [`FrameSink`] takes them; neither
//! holds more than one, so a clip of any length passes through little memory. A new format is one
//! file in `source/` and one in `sink/`.
//!
//! | in | out | holds |
//! |---|---|---|
//! | [`ImageFile`] | [`ImageSink`] | one image |
//! | [`FolderOfFrames`] | [`FolderSink`] | a clip as numbered images |
//! | [`ArrayFile`] | [`ArraySink`] | one or several clips as one array, `[B, 3, F, H, W]` |
//!
//! [`list_inputs`] finds the files of a command line, [`open_source`] opens a path by its kind, [`Fitted`] crops or pads frames to whole latent cells,
//! and [`crate::output::Output`] decides which sink a path stands for.

mod contract;
mod fitted;
mod inputs;
mod natural;
mod open;
mod pattern;
mod sink;
mod source;

pub use crate::array_format::ArrayFormat;
pub use contract::{Frame, FrameSink, FrameSource, Spec};
pub use fitted::{Edges, Fit, Fitted};
pub use inputs::{Folders, Inputs, list_inputs};
pub use open::{SourceOptions, open_source};
pub use sink::{ArraySink, FolderSink, ImageSink, Series};
pub use source::{ArrayFile, FolderOfFrames, ImageFile};
