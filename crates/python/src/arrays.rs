//! Arrays between numpy and the library: interleaved pixels in [0, 1], 0..=255 or 0..=65535 there, planes in [-1, 1] here.

use numpy::{Element, IntoPyArray, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use vae2x::{Array, Error, Result};
use vae2x_media::pixels::{from_u8, from_u16, from_unit, to_u8, to_u16, to_unit};

/// Pixels from Python, `[..., H, W, C]`, in one of the types that images have.
#[derive(FromPyObject)]
pub enum PixelArray<'py> {
    /// 0..=255
    U8(PyReadonlyArrayDyn<'py, u8>),
    /// 0..=65535
    U16(PyReadonlyArrayDyn<'py, u16>),
    /// [0, 1]
    F32(PyReadonlyArrayDyn<'py, f32>),
}

impl PixelArray<'_> {
    /// Images as planes in [-1, 1], `[N, C, H, W]`, of an array `[N, H, W, C]`.
    ///
    /// # Errors
    /// `BadRequest` for another shape, or an array that is not contiguous.
    pub fn to_images(&self) -> Result<Array> {
        let clips = self.to_clips(1)?;
        let [n, c, _, h, w] = clips.dims("images")?;
        clips.reshape([n, c, h, w])
    }

    /// Clips of `frames` frames as planes in [-1, 1], `[N / frames, C, frames, H, W]`, of an array `[N, H, W, C]`.
    ///
    /// # Errors
    /// As [`Self::to_images`].
    pub fn to_clips(&self, frames: usize) -> Result<Array> {
        match self {
            Self::U8(array) => clips(array, frames, from_u8),
            Self::U16(array) => clips(array, frames, from_u16),
            Self::F32(array) => clips(array, frames, |v: f32| from_unit(v.clamp(0.0, 1.0))),
        }
    }
}

fn clips<T: Element + Copy>(
    array: &PyReadonlyArrayDyn<'_, T>,
    frames: usize,
    convert: impl Fn(T) -> f32,
) -> Result<Array> {
    let (&[n, h, w, c], Ok(values)) = (array.shape(), array.as_slice()) else {
        return Err(Error::BadRequest(format!(
            "images: expected a contiguous array [N, H, W, C], found shape {:?}",
            array.shape()
        )));
    };
    if values.is_empty() || frames == 0 || n % frames != 0 {
        return Err(Error::BadRequest(format!(
            "images: there is nothing in an array of shape {:?}",
            array.shape()
        )));
    }
    let mut data = Vec::with_capacity(values.len());
    for clip in values.chunks_exact(frames * h * w * c) {
        for channel in 0..c {
            for frame in clip.chunks_exact(h * w * c) {
                let plane = frame.iter().skip(channel).step_by(c);
                data.extend(plane.map(|&value| convert(value)));
            }
        }
    }
    Array::new([n / frames, c, frames, h, w], data)
}

/// A type of pixels that Python asks for.
#[derive(Clone, Copy, Debug)]
pub enum PixelType {
    /// 0..=255
    U8,
    /// 0..=65535
    U16,
    /// [0, 1]
    F32,
}

impl PixelType {
    /// The type of this numpy name.
    ///
    /// # Errors
    /// `BadRequest` for another name.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "uint8" => Ok(Self::U8),
            "uint16" => Ok(Self::U16),
            "float32" => Ok(Self::F32),
            _ => Err(Error::BadRequest(format!(
                "dtype={name}: pixels are float32, uint8 or uint16"
            ))),
        }
    }

    /// Bytes of a value.
    pub fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 => 2,
            Self::F32 => 4,
        }
    }

    /// An empty collection of frames, of which `count` will come.
    pub fn collect(self, count: usize) -> Collected {
        let values = match self {
            Self::U8 => Values::U8(Vec::new()),
            Self::U16 => Values::U16(Vec::new()),
            Self::F32 => Values::F32(Vec::new()),
        };
        Collected {
            count,
            frame: [0; 3],
            values,
        }
    }
}

enum Values {
    U8(Vec<u8>),
    U16(Vec<u16>),
    F32(Vec<f32>),
}

/// Frames of one size, interleaved one after another.
pub struct Collected {
    count: usize,
    /// Height, width and channels.
    frame: [usize; 3],
    values: Values,
}

impl Collected {
    /// Takes the next frame, `[C, H, W]`. Room for all is made with the first.
    ///
    /// # Errors
    /// `OutOfMemory` if there is not enough.
    pub fn push(&mut self, frame: &Array) -> Result<()> {
        let [c, h, w] = frame.dims("frame")?;
        self.frame = [h, w, c];
        let room = self.count;
        match &mut self.values {
            Values::U8(values) => interleave(values, room, frame, to_u8),
            Values::U16(values) => interleave(values, room, frame, to_u16),
            Values::F32(values) => interleave(values, room, frame, to_unit),
        }
    }

    /// A numpy array of all frames, whose shape is `axes` and then `[H, W, C]`. Nothing is copied.
    ///
    /// # Errors
    /// If numpy is not there.
    pub fn into_numpy<'py>(self, py: Python<'py>, axes: &[usize]) -> PyResult<Bound<'py, PyAny>> {
        let shape = [axes, &self.frame].concat();
        Ok(match self.values {
            Values::U8(values) => values.into_pyarray(py).reshape(shape)?.into_any(),
            Values::U16(values) => values.into_pyarray(py).reshape(shape)?.into_any(),
            Values::F32(values) => values.into_pyarray(py).reshape(shape)?.into_any(),
        })
    }
}

fn interleave<T: Copy + Default>(
    values: &mut Vec<T>,
    count: usize,
    frame: &Array,
    convert: impl Fn(f32) -> T,
) -> Result<()> {
    let (data, channels) = (frame.data(), frame.shape()[0]);
    let start = values.len();
    if start == 0 {
        let reserved = values.try_reserve_exact(count * data.len());
        reserved.map_err(|e| Error::OutOfMemory(format!("{count} frames: {e}")))?;
    }
    values.resize(start + data.len(), T::default());
    for (c, plane) in data.chunks_exact(data.len() / channels).enumerate() {
        let samples = values[start + c..].iter_mut().step_by(channels);
        samples
            .zip(plane)
            .for_each(|(sample, &value)| *sample = convert(value));
    }
    Ok(())
}

/// The values of a numpy array as the library's; one copy is made.
///
/// # Errors
/// `BadRequest` if it is not contiguous.
pub fn to_array(array: &PyReadonlyArrayDyn<'_, f32>) -> Result<Array> {
    let Ok(values) = array.as_slice() else {
        return Err(Error::BadRequest("latent: not contiguous".into()));
    };
    Array::new(array.shape().to_vec(), values.to_vec())
}

/// The library's values as a numpy array of the shape `axes`. Nothing is copied.
///
/// # Errors
/// If numpy is not there.
pub fn to_numpy<'py>(
    py: Python<'py>,
    array: Array,
    shape: Vec<usize>,
) -> PyResult<Bound<'py, PyAny>> {
    Ok(array
        .into_data()
        .into_pyarray(py)
        .reshape(shape)?
        .into_any())
}
