//! Everything between files and the model: pictures, latent files, where decoded frames go, previews and resampling.
//!
//! Between files and arrays one convention holds: a picture is `[3, H, W]`, planar sRGB in [-1, 1]; a clip is
//! `[B, 3, F, H, W]`; a latent is `[B, 16, T, h, w]`. [`pixels`] is the only place where that range becomes integers or
//! linear light, `vae2x_core::latent` the only place where raw latents become normalized ones.
//!
//! - [`picture`]: PNG, JPEG, WebP, EXR and BMP to arrays and back;
//! - [`output`]: one picture, one array file or a folder of frames, decided and checked before any work starts;
//! - [`latent`]: latents as ComfyUI, diffusers and numpy store them, and whether they are raw or normalized;
//! - [`preview`]: what a latent shows, without a decoder;
//! - [`resample`]: antialiased resizing; [`fit`]: cut or padded; [`reduce`]: decoded pictures at a half or a quarter of their size;
//! - [`sharpen`] and [`match_color`]: detail and colours of decoded pictures; [`opacity`]: colours under clear pixels;
//! - [`sheet`]: pictures side by side with captions; [`canvas`]: what letters and lines are drawn on.

mod array_format;
pub mod canvas;
mod convolve;
pub mod fit;
pub mod frames;
pub mod latent;
pub mod match_color;
pub mod opacity;
pub mod output;
pub mod picture;
pub mod pixels;
pub mod preview;
pub mod reduce;
pub mod resample;
pub mod sharpen;
pub mod sheet;
