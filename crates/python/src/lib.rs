//! The part of the Python package `vae2x` that is written in Rust: models, latents and frames over the library, and the program.
//!
//! Python's side, in `python/vae2x`, has the documented classes; it turns what users pass into contiguous numpy arrays and calls
//! what is here. Whatever takes time runs on a thread of its own, without Python's lock ([`watch`]).

mod arrays;
mod errors;
mod finishing;
mod frames;
mod latent;
mod vae;
mod watch;

use std::ffi::OsString;
use std::path::PathBuf;

use pyo3::prelude::*;
use vae2x_media::video::Ffmpeg;

/// The program `vae2x` with these arguments; returns its exit code.
#[pyfunction]
fn main(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| vae2x_cli::main(arguments))
}

/// The FFmpeg program that writes videos, if one is found.
#[pyfunction]
fn find_ffmpeg() -> Option<PathBuf> {
    let found = Ffmpeg::find(None).ok()?;
    Some(found.path().to_path_buf())
}

/// The module `vae2x._vae2x`.
#[pymodule]
fn _vae2x(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(main, module)?)?;
    module.add_function(wrap_pyfunction!(find_ffmpeg, module)?)?;
    module.add_class::<vae::PyVae>()?;
    module.add_class::<latent::PyLatent>()?;
    module.add_class::<frames::FrameIterator>()
}
