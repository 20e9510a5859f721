//! What a convolution sees of one image, and unfolding it: for every output pixel, the patch of inputs under the kernel.

use std::ops::Range;

use burn::tensor::ops::ConvOptions;

/// Elements of a band's patches: half a megabyte, to stay in a core's second cache.
const BAND: usize = 1 << 17;
/// Output pixels of a band where patches are large, so that a matrix product has something to do with each weight.
const FEWEST_PIXELS: usize = 256;

/// Sizes of a convolution without groups and dilation.
#[derive(Clone, Debug)]
pub struct Window {
    /// Channels in.
    pub inputs: usize,
    /// Channels out.
    pub outputs: usize,
    /// Height and width.
    pub kernel: [usize; 2],
    /// The step of the kernel, down and across.
    pub stride: [usize; 2],
    /// Zeros above and to the left.
    pub padding: [usize; 2],
    /// Height and width of the input.
    pub size_in: [usize; 2],
    /// Height and width of the output.
    pub size_out: [usize; 2],
}

impl Window {
    /// `None` for what is not served: groups, dilation, shapes that do not fit or are empty.
    pub fn new(
        [_, c, h, w]: [usize; 4],
        [o, i, kh, kw]: [usize; 4],
        options: &ConvOptions<2>,
    ) -> Option<Self> {
        let size = |axis: usize, size: usize, kernel: usize| {
            let (before, after) = options.padding[axis];
            Some((size + before + after).checked_sub(kernel)? / options.stride[axis] + 1)
        };
        let size_out = [size(0, h, kh)?, size(1, w, kw)?];
        let is_plain =
            options.groups == 1 && options.dilation == [1, 1] && c == i && c * o * kh * kw > 0;
        is_plain.then_some(Self {
            inputs: i,
            outputs: o,
            kernel: [kh, kw],
            stride: options.stride,
            padding: options.padding_begin(),
            size_in: [h, w],
            size_out,
        })
    }

    /// The convolution that gives the gradient of this one's input, for stride 1 and less padding than kernel.
    pub fn backward(&self) -> Option<Self> {
        let padding = |axis: usize| (self.kernel[axis] - 1).checked_sub(self.padding[axis]);
        (self.stride == [1, 1]).then_some(Self {
            inputs: self.outputs,
            outputs: self.inputs,
            padding: [padding(0)?, padding(1)?],
            size_in: self.size_out,
            size_out: self.size_in,
            ..self.clone()
        })
    }

    /// Elements of a patch.
    pub fn patch(&self) -> usize {
        self.inputs * self.kernel[0] * self.kernel[1]
    }

    /// Elements of an input image.
    pub fn image_in(&self) -> usize {
        self.inputs * self.size_in[0] * self.size_in[1]
    }

    /// Pixels of an output image.
    pub fn pixels_out(&self) -> usize {
        self.size_out[0] * self.size_out[1]
    }

    /// The output's rows in bands.
    pub fn bands(&self) -> Vec<Range<usize>> {
        let [height, width] = self.size_out;
        let rows = ((BAND / self.patch()).max(FEWEST_PIXELS) / width).max(1);
        (0..height)
            .step_by(rows)
            .map(|start| start..height.min(start + rows))
            .collect()
    }

    /// Row of the input under a row of the kernel and an output row, unless that is padding.
    fn row_in(&self, row: usize, ky: usize) -> Option<usize> {
        (row * self.stride[0] + ky)
            .checked_sub(self.padding[0])
            .filter(|y| *y < self.size_in[0])
    }

    /// Patches of some output rows, one per column.
    ///
    /// # Shapes
    /// `[I, H, W]` -> `[I kh kw, P]`
    pub fn columns(&self, image: &[f32], rows: Range<usize>) -> Vec<f32> {
        let ([height, width], [_, width_out]) = (self.size_in, self.size_out);
        let mut columns = vec![0.0; self.patch() * rows.len() * width_out];
        let mut lines = columns.chunks_exact_mut(width_out);
        for plane in image.chunks_exact(height * width) {
            for ky in 0..self.kernel[0] {
                for kx in 0..self.kernel[1] {
                    for (row, line) in rows.clone().zip(&mut lines) {
                        let Some(y) = self.row_in(row, ky) else {
                            continue;
                        };
                        self.shifted(&plane[y * width..][..width], kx, line);
                    }
                }
            }
        }
        columns
    }

    /// What column `kx` of the kernel sees of a row of the input.
    fn shifted(&self, source: &[f32], kx: usize, line: &mut [f32]) {
        let (stride, padding) = (self.stride[1], self.padding[1]);
        let first = padding.saturating_sub(kx).div_ceil(stride);
        let Some(start) = (first * stride + kx)
            .checked_sub(padding)
            .filter(|x| *x < source.len())
        else {
            return;
        };
        let Some(line) = line.get_mut(first..) else {
            return;
        };
        match stride {
            1 => {
                let length = line.len().min(source.len() - start);
                line[..length].copy_from_slice(&source[start..start + length]);
            }
            _ => line
                .iter_mut()
                .zip(source[start..].iter().step_by(stride))
                .for_each(|(to, from)| *to = *from),
        }
    }

    /// Patches of some output rows, one per row of the result, channels last.
    ///
    /// # Shapes
    /// `[I, H, W]` -> `[P, kh kw I]`
    pub fn patches(&self, image: &[f32], rows: Range<usize>) -> Vec<f32> {
        let ([_, width], [_, width_out], [kh, kw]) = (self.size_in, self.size_out, self.kernel);
        let inputs = self.inputs;
        let seen = self.rows_in(&rows);
        let source = self.channels_last(image, seen.clone());
        let mut patches = vec![0.0; self.patch() * rows.len() * width_out];
        let mut pieces = patches.chunks_exact_mut(kw * inputs);
        for row in rows {
            for x in 0..width_out {
                for (ky, piece) in (0..kh).zip(&mut pieces) {
                    let Some(y) = self.row_in(row, ky) else {
                        continue;
                    };
                    let line = &source[(y - seen.start) * width * inputs..][..width * inputs];
                    // Kernel columns that fall on the image.
                    let left = (x * self.stride[1]) as isize - self.padding[1] as isize;
                    let from = (-left).clamp(0, kw as isize) as usize;
                    let to = (width as isize - left).clamp(from as isize, kw as isize) as usize;
                    let start = ((left + from as isize).max(0) as usize).min(width);
                    piece[from * inputs..to * inputs]
                        .copy_from_slice(&line[start * inputs..(start + to - from) * inputs]);
                }
            }
        }
        patches
    }

    /// Rows of the input that output rows see.
    fn rows_in(&self, rows: &Range<usize>) -> Range<usize> {
        let height = self.size_in[0];
        let start = (rows.start * self.stride[0])
            .saturating_sub(self.padding[0])
            .min(height);
        let last = rows.end.saturating_sub(1) * self.stride[0] + self.kernel[0];
        start..last.saturating_sub(self.padding[0]).clamp(start, height)
    }

    /// None for output rows that see only padding.
    ///
    /// # Shapes
    /// `[I, H, W]` -> `[rows, W, I]`
    fn channels_last(&self, image: &[f32], rows: Range<usize>) -> Vec<f32> {
        if rows.is_empty() {
            return Vec::new();
        }
        let [height, width] = self.size_in;
        let inputs = self.inputs;
        let mut pixels = vec![0.0; rows.len() * width * inputs];
        for (channel, plane) in image.chunks_exact(height * width).enumerate() {
            let values = &plane[rows.start * width..rows.end * width];
            let places = pixels[channel..].iter_mut().step_by(inputs);
            places
                .zip(values)
                .for_each(|(place, value)| *place = *value);
        }
        pixels
    }
}
