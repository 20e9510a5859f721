//! Frames on their way in and out: arrays, whose channels are planes, to rows of pixels and back.

use vae2x_core::{Array, Result};

use crate::buffers::pages::Pages;
use crate::buffers::rows::Extent;

/// Frame `t` of `[C, T, H, W]` as rows of pixels with margins, as [`crate::buffers::rows::Rows`] holds them.
pub(crate) fn frame(array: &Array, t: usize, extent: Extent) -> Result<Pages> {
    let Extent {
        channels,
        width,
        height,
        ..
    } = extent;
    let mut values = Pages::zeros(extent.stride() * height)?;
    let (count, frames) = (array.shape()[0], array.shape()[1]);
    for c in 0..count {
        let plane = &array.data()[(c * frames + t) * height * width..][..height * width];
        for (row, target) in plane
            .chunks_exact(width)
            .zip(values.chunks_exact_mut(extent.stride()))
        {
            for (value, pixel) in row
                .iter()
                .zip(target[channels..].chunks_exact_mut(channels))
            {
                pixel[c] = *value;
            }
        }
    }
    Ok(values)
}

/// The frames that leave a session: `[C, F, r H, r W]`, filled row by row from pixels of `C r^2` channels (and
/// padding).
pub(crate) struct OutputFrames {
    array: Array,
    scale: usize,
    frame: usize,
}

impl OutputFrames {
    /// Zeros of `shape`.
    pub fn new(shape: [usize; 4], scale: usize) -> Result<Self> {
        Ok(Self {
            array: Array::try_zeros(shape)?,
            scale,
            frame: 0,
        })
    }

    /// Writes row `y` of the frame `ahead` of the present one: channel `r^2 c + r i + j` is plane `c` at `(r y + i, r x
    /// + j)`.
    pub fn row(&mut self, ahead: usize, y: usize, pixels: &[f32]) {
        let r = self.scale;
        let &[planes, frames, height, width] = self.array.shape() else {
            return;
        };
        let channels = pixels.len() / (width / r);
        for c in 0..planes {
            for i in 0..r {
                let start = ((c * frames + self.frame + ahead) * height + r * y + i) * width;
                let target = &mut self.array.data_mut()[start..start + width];
                let first = r * r * c + r * i;
                for (out, pixel) in target
                    .chunks_exact_mut(r)
                    .zip(pixels.chunks_exact(channels))
                {
                    out.copy_from_slice(&pixel[first..first + r]);
                }
            }
        }
    }

    /// Notes that so many more frames are finished.
    pub fn advance(&mut self, frames: usize) {
        self.frame += frames;
    }

    pub fn into_array(self) -> Array {
        self.array
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vae2x_core::engine::pixel_shuffle;

    #[test]
    fn rows_are_shuffled_as_core_defines_it() {
        let raw = Array::new([12, 2, 3, 5], (0..360).map(|i| i as f32).collect()).unwrap();
        let mut output = OutputFrames::new([3, 2, 6, 10], 2).unwrap();
        let extent = Extent::new(12, 5, 3);
        for t in 0..2 {
            let values = frame(&raw, t, extent).unwrap();
            for (y, row) in values.chunks_exact(extent.stride()).enumerate() {
                output.row(0, y, &row[16..][..5 * 16]);
            }
            output.advance(1);
        }
        assert_eq!(output.into_array(), pixel_shuffle(&raw, 2).unwrap());
    }
}
