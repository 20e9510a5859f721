//! Where frames go: one kind per file.

mod array;
mod count;
mod folder;
mod image;

pub use array::ArraySink;
pub use folder::{FolderSink, Series};
pub use image::ImageSink;
