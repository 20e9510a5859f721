//! A latent that is read one latent frame at a time, for clips that are larger than memory.
//!
//! Its space follows from a sample of frames, spread over the clip; each frame is checked when it is read.

use std::path::Path;

use vae2x_core::latent::{Raw, Space, to_raw};
use vae2x_core::weights::TensorFile;
use vae2x_core::{Array, Result, VaeConfig};

use super::choose::{Choice, choose};
use super::file::{LatentFile, LatentOptions, marked, notes, origin, recognize, text};
use super::layout::{self, Layout, Ordered};
use super::settle;

/// Values that are read at once: 256 MiB as 32-bit floats.
const WHOLE: usize = 64 << 20;
/// Values of the sample.
const SAMPLE: usize = 16 << 20;

/// A latent in a file.
#[derive(Debug)]
pub struct LatentFrames {
    file: TensorFile,
    ordered: Ordered,
    sample: LatentFile,
}

impl LatentFrames {
    /// Opens a file whose latent is so large that it is read frame by frame; `None` for other files, which
    /// [`LatentFile::open`] reads at once. That does so with arrays, too, that must be unpacked as a whole.
    ///
    /// # Errors
    /// As [`LatentFile::open`].
    pub fn open(path: &Path, options: &LatentOptions) -> Result<Option<Self>> {
        Self::open_above(path, options, [WHOLE, SAMPLE])
    }

    fn open_above(
        path: &Path,
        options: &LatentOptions,
        [whole, sample]: [usize; 2],
    ) -> Result<Option<Self>> {
        let file = TensorFile::open(path)?;
        let Choice { key, left_out } = choose(&file, options.key.as_deref())?;
        let size: usize = file.tensors()[&key].shape.iter().product();
        if size <= whole || file.is_packed(&key) {
            return Ok(None);
        }
        let tensor = layout::Tensor {
            path: file.path(),
            key: &key,
        };
        let found = recognize(&file, &tensor, options)?;
        let settled = settle::settle(&tensor, found, || file.read_finite(&key))?;
        let Layout::Ordered(ordered) = settled.layout else {
            return Ok(None);
        };
        let sample = LatentFile {
            array: spread(&file, &key, &ordered, sample)?,
            packed: false,
            notes: notes(settled.note, &key, left_out),
            marked: marked(&file)?,
            text: text(&file),
            path: file.path().to_path_buf(),
            origin: origin(&file, &key),
            key,
        };
        Ok(Some(Self {
            file,
            ordered,
            sample,
        }))
    }

    /// What the file says of the latent, with a sample of its frames as values.
    pub fn sample(&self) -> &LatentFile {
        &self.sample
    }

    /// Latent frame `t` of item `item`, given the space of the file: `[1, z, 1, h, w]`.
    ///
    /// # Errors
    /// [`vae2x_core::Error::NotFinite`]; [`vae2x_core::Error::Tensor`] if there is no such frame;
    /// [`vae2x_core::Error::Shape`] if its channels are not the model's; [`vae2x_core::Error::Io`].
    pub fn frame(&self, item: usize, t: usize, space: Space, config: &VaeConfig) -> Result<Raw> {
        let frame = read(&self.file, &self.sample.key, &self.ordered, [item, t])?;
        to_raw(frame, space, config)
    }
}

/// `[1, C, 1, h, w]`
fn read(
    file: &TensorFile,
    key: &str,
    Ordered { axes, .. }: &Ordered,
    [item, t]: [usize; 2],
) -> Result<Array> {
    let mut frame = file.read_slice(key, &axes.frame(item, t))?;
    frame.require_finite(|| {
        let path = file.path().display();
        format!("{path}: latent frame {t} of tensor '{key}'")
    })?;
    origin(file, key).rescale(&mut frame);
    axes.of_frame().apply(frame)
}

/// Frames that are spread over the first item, of about `most` values: `[1, C, N, h, w]`.
fn spread(file: &TensorFile, key: &str, ordered: &Ordered, most: usize) -> Result<Array> {
    let [_, channels, frames, h, w] = ordered.extents;
    let count = (most / (channels * h * w)).clamp(1, frames);
    let each = (0..count).map(|i| {
        let frame = read(file, key, ordered, [0, i * frames / count])?;
        frame.reshape([channels, 1, h, w])
    });
    let sample = Array::concat1(&each.collect::<Result<Vec<_>>>()?)?;
    sample.reshape([1, channels, count, h, w])
}

#[cfg(test)]
mod tests {
    use super::*;
    use vae2x_core::weights::formula::unit;
    use vae2x_core::weights::write::write_arrays;

    #[test]
    fn frames_are_those_of_the_whole_in_any_order_of_axes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let config = VaeConfig::default();
        for (axes, shape) in [
            ("BCTHW", vec![2, 16, 5, 3, 4]),
            ("TCHW", vec![5, 16, 3, 4]),
            ("BTHWC", vec![2, 5, 3, 4, 16]),
        ] {
            let values = unit(axes, shape.iter().product()).collect();
            let array = Array::new(shape, values).unwrap();
            write_arrays(&path, &[("latents", &array)], &Default::default()).unwrap();
            let options = LatentOptions {
                axes: Some(axes.parse().unwrap()),
                ..LatentOptions::default()
            };
            assert!(LatentFrames::open(&path, &options).unwrap().is_none());
            let whole = LatentFile::open(&path, &options).unwrap();
            let items = whole.shape()[0];
            let whole = whole.into_raw_from(Space::Normalized, &config).unwrap();
            let opened = LatentFrames::open_above(&path, &options, [9, 16 * 12 * 2]);
            let opened = opened.unwrap().unwrap();
            assert_eq!(opened.sample().shape(), [1, 16, 2, 3, 4]);
            for (item, t) in (0..items).flat_map(|item| (0..5).map(move |t| (item, t))) {
                let frame = opened.frame(item, t, Space::Normalized, &config).unwrap();
                assert_eq!(frame.frame(0, 0), whole.frame(item, t), "{axes} {item} {t}");
            }
            assert!(opened.frame(0, 5, Space::Raw, &config).is_err());
        }
    }

    #[test]
    fn a_frame_that_is_not_finite_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let mut array = Array::zeros([1, 16, 5, 2, 2]);
        array.data_mut()[3 * 4] = f32::NAN;
        write_arrays(&path, &[("latents", &array)], &Default::default()).unwrap();
        let opened = LatentFrames::open_above(&path, &LatentOptions::default(), [9, 9]);
        let opened = opened.unwrap().unwrap();
        let frame = |t| opened.frame(0, t, Space::Raw, &VaeConfig::default());
        assert!(frame(2).is_ok());
        let said = frame(3).unwrap_err().to_string();
        assert!(said.contains("latent frame 3"), "{said}");
    }
}
