//! How a diffusion model softens latents, and networks that imitate it.
//!
//! [`sdedit`] makes pairs of a clean latent and what a diffusion model makes of it after some noise; [`proxy`] learns them; [`flow`] trains a
//! small flow model for a VAE that has none. The models are [`wan_dit`] and, for captions, [`umt5`] and `text` (cargo feature `text`);
//! [`velocity`] is the flow between latent and noise; [`latents`] reads folders of latents.
//!
//! This crate never trains a decoder: `vae2x-train` uses a finished proxy through `vae2x-nn`, and never sees this crate.

// Some of what networks need is not used without them.
#![cfg_attr(not(feature = "networks"), allow(dead_code))]

#[cfg(feature = "networks")]
pub mod flow;
pub mod latents;
pub mod proxy;
pub mod sdedit;
#[cfg(feature = "text")]
pub mod text;
#[cfg(feature = "networks")]
pub mod umt5;
#[cfg(feature = "networks")]
pub mod velocity;
#[cfg(feature = "networks")]
pub mod wan_dit;
