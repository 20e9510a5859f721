//! Where frames go: one kind per file.

mod animation;
mod array;
mod count;
mod folder;
mod image;
mod movie;
mod y4m;

pub use animation::AnimationSink;
pub use array::ArraySink;
pub use folder::{FolderSink, Series};
pub use image::ImageSink;
pub use movie::MovieSink;
pub(crate) use movie::Program;
pub use y4m::Y4mSink;
