//! Images as files: `[3, H, W]` sRGB in [-1, 1] to PNG, JPEG, WebP and EXR, and back.
//!
//! [`read_image`] finds the format from the first bytes, turns the image upright, converts its
//! colours to sRGB and notes what it changed or left out. [`write_image`] takes the format from the
//! extension and writes the file whole or not at all. The `image` crate decodes and encodes, except
//! PNG and WebP output, whose metadata needs the crates below it, and JPEG input, where `zune-jpeg`
//! is asked to refuse what is cut, and some kinds of TIFF, which the `tiff` crate decodes.
//! [`Metadata`] is what files carry besides pixels.

mod chunks;
mod colour;
mod foreign;
mod format;
mod frames;
mod icc;
mod jpeg;
mod limits;
mod metadata;
mod patched;
mod png;
mod read;
mod tiff;
mod write;

pub(crate) use format::keeps_no_overshoot;
pub use format::{BitDepth, IMAGE_EXTENSIONS, PictureFormat, is_picture_name};
pub use limits::MAX_PIXELS;
pub use metadata::{COMFY_TEXTS, Metadata, comfy_text};
pub(crate) use metadata::{Stored, add_png_text};
pub use read::{
    ImageHead, Opacity, Picture, decode_image, decode_image_with, image_bytes, image_head,
    image_metadata, look_at_image, read_image, read_image_with,
};
pub use write::{PictureOptions, encode_image, without_opacity, write_image};
