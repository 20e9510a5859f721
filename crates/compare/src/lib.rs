//! Reports for eyes: the comparison page of images and clips and the page of latent spectra, with their charts.
//!
//! [`sides`] decides what is compared with what, [`clips`] reads clips in step, [`page`] writes all into one HTML file,
//! [`spectrum_page`] does the same for spectra. Every number comes from `vae2x-measure`. This crate never runs a neural network, and its
//! pages never go online.

pub mod chart;
pub mod clips;
pub mod page;
pub mod sides;
pub mod spectrum_page;
