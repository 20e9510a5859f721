//! Latents of Python: the library's, and which of the axes of a batch and of time their arrays have.

use std::path::PathBuf;

use numpy::{PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use vae2x::{Error, Latent, LatentOptions, Result, Space, SpaceChoice};

use crate::arrays::{to_array, to_numpy};
use crate::errors::OrRaise;

/// Axes in front of those of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axes {
    /// Whether there is one of items.
    pub batch: bool,
    /// Whether there is one of frames.
    pub frames: bool,
}

impl Axes {
    /// The extents of those axes that are there.
    pub fn of(self, items: usize, frames: usize) -> Vec<usize> {
        let batch = self.batch.then_some(items);
        batch
            .into_iter()
            .chain(self.frames.then_some(frames))
            .collect()
    }

    /// Of a file or another value without a shape of its own: axes of one are left out.
    fn needed(shape: &[usize]) -> Self {
        Self {
            batch: shape[0] > 1,
            frames: shape[2] > 1,
        }
    }

    /// Of an array of the shape `given` that was taken as `[B, z, T, h, w]`.
    fn given(given: &[usize], taken: &[usize]) -> Self {
        match given.len() {
            5 => Self {
                batch: true,
                frames: true,
            },
            4 => {
                let is_clip = taken[0] == 1 && given[0] == taken[1] && given[1] == taken[2];
                Self {
                    batch: !is_clip,
                    frames: is_clip,
                }
            }
            // Tokens that diffusers packed, or one image.
            3 => Self {
                batch: given[1..] != taken[3..],
                frames: false,
            },
            _ => Self::needed(taken),
        }
    }
}

/// A latent of which the space is settled when a model takes it.
#[pyclass(frozen, name = "Latent", module = "vae2x._vae2x")]
pub struct PyLatent {
    pub latent: Latent,
    pub axes: Axes,
    /// The name of its file without the extension.
    pub stem: Option<String>,
}

/// How a latent is read, from Python.
fn options(
    space: Option<&str>,
    key: Option<String>,
    size: Option<[usize; 2]>,
    axes: Option<&str>,
) -> Result<LatentOptions> {
    Ok(LatentOptions {
        space: space.map_or(Ok(SpaceChoice::Auto), str::parse)?,
        key,
        packed_size: size,
        axes: axes.map(str::parse).transpose()?,
    })
}

/// The space of this name.
fn space_named(name: &str) -> Result<Space> {
    match name {
        "raw" => Ok(Space::Raw),
        "normalized" => Ok(Space::Normalized),
        _ => Err(Error::BadRequest(format!(
            "unknown latent space '{name}'; expected raw or normalized"
        ))),
    }
}

#[pymethods]
impl PyLatent {
    #[staticmethod]
    fn open(
        py: Python<'_>,
        path: PathBuf,
        space: Option<&str>,
        key: Option<String>,
        size: Option<[usize; 2]>,
        axes: Option<&str>,
    ) -> PyResult<Self> {
        let options = options(space, key, size, axes).or_raise(py)?;
        let latent = py.detach(|| Latent::open_with(&path, &options));
        let latent = latent.or_raise(py)?;
        let stem = path.file_stem();
        Ok(Self {
            axes: Axes::needed(latent.shape()),
            stem: stem.map(|stem| stem.to_string_lossy().into_owned()),
            latent,
        })
    }

    #[staticmethod]
    fn from_array(
        py: Python<'_>,
        array: PyReadonlyArrayDyn<'_, f32>,
        space: Option<&str>,
        size: Option<[usize; 2]>,
        axes: Option<&str>,
    ) -> PyResult<Self> {
        /// Five axes are in the order of torch's models where that is possible.
        const USUAL: &str = "BCTHW";
        let given = array.shape().to_vec();
        let usual = (given.len() == 5 && given[1] == 16).then_some(USUAL);
        let options = options(space, None, size, axes.or(usual)).or_raise(py)?;
        let latent = to_array(&array).and_then(|array| Latent::from_array(array, &options));
        let latent = latent.or_raise(py)?;
        Ok(Self {
            axes: match axes {
                Some(_) => Axes::needed(latent.shape()),
                None => Axes::given(&given, latent.shape()),
            },
            latent,
            stem: None,
        })
    }

    #[getter]
    fn shape(&self) -> Vec<usize> {
        self.array_shape(self.latent.shape())
    }

    /// `[B, z, T, h, w]`
    #[getter]
    fn full_shape(&self) -> Vec<usize> {
        self.latent.shape().to_vec()
    }

    #[getter]
    fn text(&self) -> Vec<(String, String)> {
        self.latent.text().to_vec()
    }

    fn with_text(&self, text: Vec<(String, String)>) -> Self {
        Self {
            latent: self.latent.clone().with_text(text),
            axes: self.axes,
            stem: self.stem.clone(),
        }
    }

    fn values<'py>(&self, py: Python<'py>, space: &str) -> PyResult<Bound<'py, PyAny>> {
        let values = space_named(space).and_then(|space| self.latent.values(space));
        let values = values.or_raise(py)?;
        let shape = self.array_shape(values.shape());
        to_numpy(py, values, shape)
    }

    fn save(&self, py: Python<'_>, path: PathBuf, space: Option<&str>) -> PyResult<String> {
        let space = space.map(space_named).transpose().or_raise(py)?;
        let saved = py.detach(|| self.latent.save_in(path, space));
        Ok(saved.or_raise(py)?.1.to_string())
    }
}

impl PyLatent {
    /// The result of a model.
    pub fn new(latent: Latent, axes: Axes) -> Self {
        Self {
            latent,
            axes,
            stem: None,
        }
    }

    fn array_shape(&self, full: &[usize]) -> Vec<usize> {
        let mut shape = Vec::new();
        shape.extend(self.axes.batch.then_some(full[0]));
        shape.push(full[1]);
        shape.extend(self.axes.frames.then_some(full[2]));
        shape.extend(&full[3..]);
        shape
    }
}
