//! Reports for eyes: the comparison page of images and the page of latent spectra, with their charts.
//!
//! [`sides`] decides which images are compared with which, [`page`] writes them into one HTML file, [`spectrum_page`] does the same for
//! spectra. Every number comes from `vae2x-measure`. This crate never runs a neural network, and its pages never go online.

pub mod chart;
pub mod page;
pub mod sides;
pub mod spectrum_page;
