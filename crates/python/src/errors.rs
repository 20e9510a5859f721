//! Errors of the library as Python's exceptions, which `vae2x/_errors.py` defines.

use std::path::Path;

use pyo3::prelude::*;
use vae2x::Error;

/// The class in `vae2x/_errors.py` for an error.
fn class(error: &Error) -> &'static str {
    match error {
        Error::Format { path, .. } | Error::Tensor { path, .. } if is_array(path) => "BadRequest",
        Error::NotFinite { what, .. } if what.starts_with("array") => "BadRequest",
        Error::Io { .. } => "FileError",
        Error::Format { .. }
        | Error::Tensor { .. }
        | Error::TensorSet { .. }
        | Error::Config(_)
        | Error::NotFinite { .. } => "BadFile",
        Error::NotThisModel { .. } => "NotThisModel",
        Error::Shape { .. } | Error::ImagesOnly { .. } | Error::BadRequest(_) => "BadRequest",
        Error::Fetch(_) => "FetchError",
        Error::Missing { .. } | Error::NoProgram { .. } => "MissingFeature",
        Error::Memory(_) | Error::OutOfMemory(_) => "OutOfMemory",
        Error::NoDevice(_) | Error::Device(_) => "DeviceError",
        Error::Cancelled => "Cancelled",
        _ => "Error",
    }
}

/// Whether a path is not one, but the name by which the library calls an array in memory.
fn is_array(path: &Path) -> bool {
    path == Path::new("array")
}

/// The exception for an error.
pub fn raised(py: Python<'_>, error: &Error) -> PyErr {
    match exception(py, error) {
        Ok(exception) => PyErr::from_value(exception),
        Err(failure) => failure,
    }
}

fn exception<'py>(py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyAny>> {
    let class = py.import("vae2x._errors")?.getattr(class(error))?;
    match error {
        Error::Io { path, source } if source.raw_os_error().is_some() => {
            let text = source.to_string();
            // Python puts the number in front by itself.
            let text = text.split(" (os error").next().unwrap_or_default();
            class.call1((source.raw_os_error(), text, path.as_os_str()))
        }
        _ => {
            let text = error.to_string();
            // Arrays have no path and no name.
            let text = text.replace("array: the tensor: ", "latent: ");
            let text = text.replace("array, first at", "latent, first at");
            class.call1((in_python(&text),))
        }
    }
}

/// What the program's options are called in Python, for messages that name them.
const NAMES: [(&str, &str); 14] = [
    ("--latent-space ", "space="),
    ("--match-color-by ", "match_color_by="),
    ("--match-color", "match_color"),
    ("--pixel-format", "pixel_format"),
    ("--bit-depth", "bit_depth"),
    ("--features ", "--features "),
    ("--ffmpeg", "ffmpeg"),
    ("--audio", "audio"),
    ("--codec", "codec"),
    ("--scale ", "scale="),
    ("--axes ", "axes="),
    ("--size ", "size="),
    ("--clip", "clip=True"),
    ("--fps", "fps"),
];

/// A message with the names that options have in Python.
pub fn in_python(text: &str) -> String {
    let renamed = |text: String, (option, name): &(&str, &str)| text.replace(option, name);
    NAMES.iter().fold(text.to_owned(), renamed)
}

/// For results whose error is the library's.
pub trait OrRaise<T> {
    /// The value, or the exception for the error.
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> OrRaise<T> for vae2x::Result<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| raised(py, &error))
    }
}
