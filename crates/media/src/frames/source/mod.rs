//! Where frames come from: one kind per file.

mod array;
mod folder;
mod image;

pub use array::ArrayFile;
pub use folder::FolderOfFrames;
pub use image::ImageFile;
