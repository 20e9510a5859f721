//! Everything between files and the model: images, clips, latent files, previews, resampling and
//! finishing.
//!
//! Between files and arrays one convention holds: an image is `[3, H, W]`, planar sRGB in [-1, 1];
//! a clip is `[B, 3, F, H, W]`; a latent is `[B, 16, T, h, w]`. In this crate only [`pixels`] turns
//! that range into integers, [0, 1] or linear light, and back. Raw latents become normalized ones,
//! and back, in `vae2x_core::latent`.
//!
//! - [`frames`]: images, folders of frames and array files, read and written one frame at a time;
//! - [`output`]: which of them an output path stands for, decided and checked before any work
//!   starts; [`names`]: names of outputs after their inputs; [`shard`]: the inputs of one machine of
//!   several;
//! - [`video`]: video files, `.y4m` here and others through FFmpeg;
//! - [`picture`]: PNG, JPEG, WebP, GIF, TIFF, EXR and BMP to arrays and back, with their metadata;
//! - [`latent`]: latents as ComfyUI, diffusers and numpy store them, and whether they are raw or
//!   normalized;
//! - [`preview`]: a latent as an image, without a decoder;
//! - [`resample`]: antialiased resizing; [`fit`]: cropping and padding; [`reduce`]: decoded images
//!   at half or quarter size;
//! - [`sharpen`] and [`match_color`]: detail and colours of decoded images; [`opacity`]: colours
//!   under clear pixels;
//! - [`sheet`]: images side by side with captions; [`canvas`]: drawing letters and lines.

mod array_format;
pub mod canvas;
mod convolve;
pub mod fit;
pub mod frames;
pub mod latent;
pub mod match_color;
pub mod names;
pub mod opacity;
pub mod output;
pub mod picture;
pub mod pixels;
pub mod preview;
pub mod reduce;
pub mod resample;
pub mod shard;
pub mod sharpen;
pub mod sheet;
pub mod video;
