//! Memory for rows of pixels: between steps, and on the way from and to arrays.

pub(crate) mod frames;
pub(crate) mod pages;
pub(crate) mod rows;
