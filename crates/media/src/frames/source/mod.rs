//! Where frames come from: one kind per file.

mod array;
mod folder;
mod image;
mod movie;
mod y4m;

pub use array::ArrayFile;
pub use folder::FolderOfFrames;
pub use image::ImageFile;
pub use movie::MovieFile;
pub use y4m::Y4mFile;
