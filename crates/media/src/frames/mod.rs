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
//! | | [`AnimationSink`] | a clip as an animated image |
//! | [`Y4mFile`] | [`Y4mSink`] | a clip as plain frames of video |
//! | [`MovieFile`] | [`MovieSink`] | a clip as a video, through FFmpeg; `.mp4` also without it, by the feature `mp4` |
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
pub use open::{SourceOptions, is_video_name, open_source};
pub(crate) use sink::Program;
pub use sink::{AnimationSink, ArraySink, FolderSink, ImageSink, MovieSink, Series, Y4mSink};
pub use source::{ArrayFile, FolderOfFrames, ImageFile, MovieFile, Y4mFile};
