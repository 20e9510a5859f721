//! Frames as video stores them: a brightness and two colour differences of lower resolution, in integers.
//!
//! Y'CbCr follows ITU-R BT.601, BT.709 and BT.2020 (non-constant luminance). Values are gamma-encoded; as every player does, those of
//! a video are taken as sRGB's. Planes lie one after another: Y, Cb, Cr; samples above 8 bits take two little-endian bytes.
//!
//! Colour differences are halved with a filter that fits their place: `[1 2 1] / 4` where they lie on a pixel, the mean where they
//! lie between two. They are enlarged linearly. What is rounded to 8 bits is dithered first, with noise whose average is 0, so that
//! skies do not band.

use vae2x_core::{Array, Error, Result};

use crate::pixels::{from_unit, picture_size, to_unit};

/// Where a halved axis has its samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// On every second pixel.
    On,
    /// Between two pixels.
    Between,
}

/// How far the colour differences are reduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chroma {
    /// There are none.
    Grey,
    /// 4:2:0, halved along both axes: places along the width and the height.
    Quarter(Site, Site),
    /// 4:2:2, halved along the width, where they lie on pixels.
    Half,
    /// 4:4:4, as many as pixels.
    Full,
}

impl Chroma {
    /// 4:2:0 as MPEG-2, H.264 and later have it: on pixels along the width, between them along the height.
    pub const MPEG2: Self = Self::Quarter(Site::On, Site::Between);
    /// 4:2:0 as JPEG and MPEG-1 have it: between pixels along both axes.
    pub const JPEG: Self = Self::Quarter(Site::Between, Site::Between);

    /// Height and width of a plane of colour differences.
    pub fn size(self, [height, width]: [usize; 2]) -> [usize; 2] {
        match self {
            Self::Grey => [0, 0],
            Self::Quarter(..) => [height.div_ceil(2), width.div_ceil(2)],
            Self::Half => [height, width.div_ceil(2)],
            Self::Full => [height, width],
        }
    }

    /// Places of the samples along height and width, of the axes that are halved.
    fn sites(self) -> [Option<Site>; 2] {
        match self {
            Self::Quarter(x, y) => [Some(y), Some(x)],
            Self::Half => [None, Some(Site::On)],
            Self::Full | Self::Grey => [None, None],
        }
    }
}

/// The weights of red and blue in the brightness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matrix {
    /// ITU-R BT.601: standard definition.
    Bt601,
    /// ITU-R BT.709: high definition.
    Bt709,
    /// ITU-R BT.2020, non-constant luminance.
    Bt2020,
}

impl Matrix {
    /// What players take for a video that does not say: BT.601 up to the size of PAL, else BT.709.
    pub fn usual([height, width]: [usize; 2]) -> Self {
        match height > 576 || width > 1024 {
            true => Self::Bt709,
            false => Self::Bt601,
        }
    }

    fn weights(self) -> (f32, f32) {
        match self {
            Self::Bt601 => (0.299, 0.114),
            Self::Bt709 => (0.2126, 0.0722),
            Self::Bt2020 => (0.2627, 0.0593),
        }
    }
}

/// The integers that black and white have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Range {
    /// 16 to 235 of 255, colour differences 16 to 240.
    #[default]
    Limited,
    /// 0 to 255.
    Full,
}

/// How a frame is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Yuv {
    /// Resolution of the colour differences.
    pub chroma: Chroma,
    /// Bits of a sample, 8 to 16.
    pub bits: u32,
    /// What the brightness is made of.
    pub matrix: Matrix,
    /// What black and white are.
    pub range: Range,
}

/// Scale and offset of a plane's integers: `sample = value * scale + offset`.
#[derive(Clone, Copy)]
struct Steps {
    scale: f32,
    offset: f32,
}

impl Yuv {
    /// Bytes of a sample.
    fn sample_bytes(self) -> usize {
        if self.bits > 8 { 2 } else { 1 }
    }

    /// Bytes of a frame; `None` if they are more than can be counted.
    pub fn frame_bytes(self, size: [usize; 2]) -> Option<usize> {
        let area = |[h, w]: [usize; 2]| h.checked_mul(w);
        let samples = area(size)?.checked_add(area(self.chroma.size(size))?.checked_mul(2)?)?;
        samples.checked_mul(self.sample_bytes())
    }

    /// Steps of brightness and of colour differences.
    fn steps(self) -> [Steps; 2] {
        let step = |scale: f32, offset: f32| Steps { scale, offset };
        let unit = (1u32 << (self.bits - 8)) as f32;
        match self.range {
            Range::Limited => [
                step(219.0 * unit, 16.0 * unit),
                step(224.0 * unit, 128.0 * unit),
            ],
            Range::Full => {
                let most = ((1u32 << self.bits) - 1) as f32;
                [step(most, 0.0), step(most, 128.0 * unit)]
            }
        }
    }

    /// Appends the bytes of a frame to `out`.
    ///
    /// # Shapes
    /// `[3, H, W]` in [-1, 1], clamped -> [`Self::frame_bytes`]
    ///
    /// # Errors
    /// [`Error::Shape`] unless it is an image.
    pub fn write(self, frame: &Array, out: &mut Vec<u8>) -> Result<()> {
        let size = picture_size(frame)?;
        let planes = self.differences(frame.data(), size[0] * size[1]);
        let [luma, chroma] = self.steps();
        let [y, cb, cr] = planes;
        self.quantize(&y, size[1], luma, out);
        if self.chroma == Chroma::Grey {
            return Ok(());
        }
        for plane in [cb, cr] {
            let small = self.reduce(plane, size);
            self.quantize(&small, self.chroma.size(size)[1], chroma, out);
        }
        Ok(())
    }

    /// A frame from its bytes.
    ///
    /// # Shapes
    /// [`Self::frame_bytes`] -> `[3, H, W]` in [-1, 1]
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of bytes.
    pub fn read(self, bytes: &[u8], size: [usize; 2]) -> Result<Array> {
        if self.frame_bytes(size) != Some(bytes.len()) {
            return Err(Error::Shape {
                what: "video frame".into(),
                expected: format!("{:?} bytes", self.frame_bytes(size)),
                got: format!("{} bytes", bytes.len()),
            });
        }
        let area = size[0] * size[1];
        let [luma, chroma] = self.steps();
        let small = self.chroma.size(size);
        let (y, rest) = bytes.split_at(area * self.sample_bytes());
        let y = self.widen(y, luma);
        if self.chroma == Chroma::Grey {
            let grey: Vec<f32> = y.into_iter().map(from_unit_clamped).collect();
            return Array::new([3, size[0], size[1]], [&grey[..]; 3].concat());
        }
        let (cb, cr) = rest.split_at(small[0] * small[1] * self.sample_bytes());
        let [cb, cr] = [cb, cr].map(|plane| self.enlarge(self.widen(plane, chroma), size));
        let (kr, kb) = self.matrix.weights();
        let mut rgb = vec![0.0; 3 * area];
        let (red, others) = rgb.split_at_mut(area);
        let (green, blue) = others.split_at_mut(area);
        for i in 0..area {
            let r = y[i] + 2.0 * (1.0 - kr) * cr[i];
            let b = y[i] + 2.0 * (1.0 - kb) * cb[i];
            red[i] = from_unit_clamped(r);
            green[i] = from_unit_clamped((y[i] - kr * r - kb * b) / (1.0 - kr - kb));
            blue[i] = from_unit_clamped(b);
        }
        Array::new([3, size[0], size[1]], rgb)
    }

    /// Brightness of [0, 1] and colour differences of [-0.5, 0.5].
    fn differences(self, rgb: &[f32], area: usize) -> [Vec<f32>; 3] {
        let (kr, kb) = self.matrix.weights();
        let mut planes = [(); 3].map(|()| Vec::with_capacity(area));
        for i in 0..area {
            let [r, g, b] = [rgb[i], rgb[area + i], rgb[2 * area + i]].map(to_unit);
            let y = kr * r + (1.0 - kr - kb) * g + kb * b;
            planes[0].push(y);
            planes[1].push((b - y) / (2.0 * (1.0 - kb)));
            planes[2].push((r - y) / (2.0 * (1.0 - kr)));
        }
        planes
    }

    fn quantize(self, plane: &[f32], width: usize, steps: Steps, out: &mut Vec<u8>) {
        let most = ((1u32 << self.bits) - 1) as f32;
        for (y, row) in plane.chunks_exact(width).enumerate() {
            for (x, value) in row.iter().enumerate() {
                let noise = if self.bits == 8 { noise(x, y) } else { 0.0 };
                let sample = (value * steps.scale + steps.offset + noise).round();
                let sample = sample.clamp(0.0, most) as u16;
                match self.sample_bytes() {
                    1 => out.push(sample as u8),
                    _ => out.extend(sample.to_le_bytes()),
                }
            }
        }
    }

    fn widen(self, bytes: &[u8], steps: Steps) -> Vec<f32> {
        let value = |sample: f32| (sample - steps.offset) / steps.scale;
        match self.sample_bytes() {
            1 => bytes.iter().map(|&b| value(f32::from(b))).collect(),
            _ => bytes
                .chunks_exact(2)
                .map(|b| value(f32::from(u16::from_le_bytes([b[0], b[1]]))))
                .collect(),
        }
    }

    /// A plane at the resolution of colour differences.
    fn reduce(self, plane: Vec<f32>, [height, width]: [usize; 2]) -> Vec<f32> {
        let [down, across] = self.chroma.sites();
        let narrow = match across {
            Some(site) => rows(&plane, width, |row, out| halve(row, site, out)),
            None => plane,
        };
        let width = self.chroma.size([height, width])[1];
        match down {
            Some(site) => columns(&narrow, width, |column, out| halve(column, site, out)),
            None => narrow,
        }
    }

    /// A plane of colour differences at the resolution of pixels.
    fn enlarge(self, plane: Vec<f32>, [height, width]: [usize; 2]) -> Vec<f32> {
        let [down, across] = self.chroma.sites();
        let small = self.chroma.size([height, width])[1];
        let tall = match down {
            Some(site) => columns(&plane, small, |column, out| {
                double(column, site, height, out)
            }),
            None => plane,
        };
        match across {
            Some(site) => rows(&tall, small, |row, out| double(row, site, width, out)),
            None => tall,
        }
    }
}

/// Values that a video may have beyond black and white are clamped.
fn from_unit_clamped(value: f32) -> f32 {
    from_unit(value.clamp(0.0, 1.0))
}

/// Noise of -0.5 to 0.5 steps: interleaved gradient noise, which has no low frequencies that would show as spots (J. Jimenez, "Next
/// generation post processing in Call of Duty", SIGGRAPH 2014). It is the same in each frame, which compresses well.
fn noise(x: usize, y: usize) -> f32 {
    let phase = 0.067_110_56 * x as f32 + 0.005_837_15 * y as f32;
    (52.982_918 * phase.fract()).fract() - 0.5
}

/// Applies `filter` to each row.
fn rows(plane: &[f32], width: usize, filter: impl Fn(&[f32], &mut Vec<f32>)) -> Vec<f32> {
    let mut out = Vec::with_capacity(plane.len());
    for row in plane.chunks_exact(width) {
        filter(row, &mut out);
    }
    out
}

/// Applies `filter` to each column.
fn columns(plane: &[f32], width: usize, filter: impl Fn(&[f32], &mut Vec<f32>)) -> Vec<f32> {
    let height = plane.len() / width;
    let mut filtered = Vec::new();
    let mut column = Vec::with_capacity(height);
    for x in 0..width {
        column.clear();
        column.extend((0..height).map(|y| plane[y * width + x]));
        filter(&column, &mut filtered);
    }
    let height = filtered.len() / width;
    let at = |i: usize| filtered[i % width * height + i / width];
    (0..filtered.len()).map(at).collect()
}

/// Half as many samples, rounded up.
fn halve(line: &[f32], site: Site, out: &mut Vec<f32>) {
    let last = line.len() - 1;
    for i in (0..line.len()).step_by(2) {
        let next = line[(i + 1).min(last)];
        out.push(match site {
            Site::On => (line[i.saturating_sub(1)] + 2.0 * line[i] + next) / 4.0,
            Site::Between => (line[i] + next) / 2.0,
        });
    }
}

/// `length` samples, linearly between those of `line`.
fn double(line: &[f32], site: Site, length: usize, out: &mut Vec<f32>) {
    let last = line.len() - 1;
    for i in 0..length {
        let (near, odd) = (line[i / 2], i % 2 == 1);
        let after = line[(i / 2 + 1).min(last)];
        let before = line[(i / 2).saturating_sub(1)];
        out.push(match (site, odd) {
            (Site::On, false) => near,
            (Site::On, true) => (near + after) / 2.0,
            (Site::Between, false) => (3.0 * near + before) / 4.0,
            (Site::Between, true) => (3.0 * near + after) / 4.0,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn yuv(chroma: Chroma, bits: u32, matrix: Matrix, range: Range) -> Yuv {
        Yuv {
            chroma,
            bits,
            matrix,
            range,
        }
    }

    fn flat(rgb: [f32; 3], [h, w]: [usize; 2]) -> Array {
        let data = rgb.iter().flat_map(|&v| vec![v; h * w]).collect();
        Array::new([3, h, w], data).unwrap()
    }

    /// The 75 % colour bars' integers are printed in every table of BT.709.
    #[test]
    fn known_colours_have_their_known_integers() {
        let at = |rgb, range| {
            let mut bytes = Vec::new();
            let yuv = yuv(Chroma::Full, 10, Matrix::Bt709, range);
            yuv.write(&flat(rgb, [1, 1]), &mut bytes).unwrap();
            let sample = |i: usize| u16::from_le_bytes([bytes[i], bytes[i + 1]]);
            [sample(0), sample(2), sample(4)]
        };
        assert_eq!(at([1.0; 3], Range::Limited), [940, 512, 512]);
        assert_eq!(at([-1.0; 3], Range::Limited), [64, 512, 512]);
        assert_eq!(at([1.0, -1.0, -1.0], Range::Limited), [250, 409, 960]);
        assert_eq!(at([-1.0, 1.0, -1.0], Range::Limited), [691, 167, 105]);
        assert_eq!(at([-1.0, -1.0, 1.0], Range::Limited), [127, 960, 471]);
        assert_eq!(at([1.0; 3], Range::Full), [1023, 512, 512]);
    }

    #[test]
    fn dither_keeps_the_mean_and_never_moves_a_whole_step() {
        let (size, value) = ([64, 64], 0.3);
        let yuv = yuv(Chroma::Grey, 8, Matrix::Bt709, Range::Limited);
        let mut bytes = Vec::new();
        yuv.write(&flat([value; 3], size), &mut bytes).unwrap();
        let exact = to_unit(value) * 219.0 + 16.0;
        assert!(bytes.iter().all(|&b| (f32::from(b) - exact).abs() <= 1.0));
        let mean = bytes.iter().map(|&b| f32::from(b)).sum::<f32>() / bytes.len() as f32;
        assert!((mean - exact).abs() < 0.02, "{mean} {exact}");
        assert!((0..64).all(|i| (-0.5..=0.5).contains(&noise(i, 3 * i))));
    }

    #[test]
    fn frames_of_another_length_are_refused() {
        let yuv = yuv(Chroma::MPEG2, 8, Matrix::Bt709, Range::Limited);
        assert_eq!(yuv.frame_bytes([3, 5]), Some(15 + 2 * 6));
        assert!(yuv.read(&[0; 26], [3, 5]).is_err());
        assert_eq!(yuv.frame_bytes([usize::MAX, 2]), None);
    }

    fn chromas() -> impl Strategy<Value = Chroma> {
        prop::sample::select(vec![
            Chroma::MPEG2,
            Chroma::JPEG,
            Chroma::Half,
            Chroma::Full,
        ])
    }

    proptest! {
        /// A ramp is linear, so that halving and doubling its colours changes its edges alone.
        #[test]
        fn ramps_survive(
            chroma in chromas(),
            bits in prop::sample::select(vec![8u32, 10, 12, 16]),
            matrix in prop::sample::select(vec![Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020]),
            range in prop::sample::select(vec![Range::Limited, Range::Full]),
            h in 8usize..14, w in 8usize..14, slope in -0.05f32..0.05,
        ) {
            let yuv = yuv(chroma, bits, matrix, range);
            let value = |c: usize, y: usize, x: usize| {
                (c as f32 - 1.0) * 0.2 + slope * (x as f32 - y as f32 * 0.5) * (1.0 - c as f32 * 0.3)
            };
            let cells = (0..3 * h * w).map(|i| value(i / (h * w), i / w % h, i % w));
            let frame = Array::new([3, h, w], cells.collect()).unwrap();
            let mut bytes = Vec::new();
            yuv.write(&frame, &mut bytes).unwrap();
            prop_assert_eq!(Some(bytes.len()), yuv.frame_bytes([h, w]));
            let back = yuv.read(&bytes, [h, w]).unwrap();
            // Rounding of three samples, of which the colours weigh up to 1.9, and dither at 8 bits.
            let step = 2.0 / (219.0 * (1u32 << (bits - 8)) as f32);
            let tolerance = step * if bits == 8 { 4.0 } else { 2.0 };
            for c in 0..3 {
                for y in 2..h - 3 {
                    for x in 2..w - 3 {
                        let i = (c * h + y) * w + x;
                        let (a, b) = (frame.data()[i], back.data()[i]);
                        prop_assert!((a - b).abs() <= tolerance, "{a} {b} at {c} {y} {x}");
                    }
                }
            }
        }
    }
}
