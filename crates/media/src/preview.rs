//! A latent as an image without a decoder: its channels to 3 colours by a matrix, then enlarged to
//! the base resolution.
//!
//! Soft and slightly off in colour, but instant: enough to see what a file holds, and whether its
//! space was guessed right. The matrix fits first frames; later frames of a clip, whose latents
//! have more contrast, come out too contrasty.

use vae2x_core::latent::Normalized;
use vae2x_core::{Array, Error, Result};

use crate::latent::space_of;
use crate::pixels;
use crate::resample::{Filter, resize};

/// How latents of one space are shown.
struct Projection {
    /// Red, green and blue of each normalized latent channel.
    factors: &'static [[f32; 3]],
    /// Added to each colour; the sum is in [-1, 1] for most latents.
    bias: [f32; 3],
}

/// As ComfyUI's previews of Wan2.1: `Wan21` in
/// <https://github.com/Comfy-Org/ComfyUI/blob/75399d78ddcc01f46f9b94521b29f1fe8a90ed53/comfy/latent_formats.py>.
const WAN21: Projection = Projection {
    factors: &[
        [-0.1299, -0.1692, 0.2932],
        [0.0671, 0.0406, 0.0442],
        [0.3568, 0.2548, 0.1747],
        [0.0372, 0.2344, 0.1420],
        [0.0313, 0.0189, -0.0328],
        [0.0296, -0.0956, -0.0665],
        [-0.3477, -0.4059, -0.2925],
        [0.0166, 0.1902, 0.1975],
        [-0.0412, 0.0267, -0.1364],
        [-0.1293, 0.0740, 0.1636],
        [0.0680, 0.3019, 0.1128],
        [0.0032, 0.0581, 0.0639],
        [-0.1251, 0.0927, 0.1699],
        [0.0060, -0.0633, 0.0005],
        [0.3477, 0.2275, 0.2950],
        [0.1984, 0.0913, 0.1861],
    ],
    bias: [-0.1835, -0.0868, -0.3360],
};

/// The projections that there are; a latent's is the one with as many factors as it has channels.
const PROJECTIONS: [Projection; 1] = [WAN21];

/// One image for each latent frame of each batch item, batch items outermost.
///
/// # Shapes
/// `[B, 16, T, h, w]` -> `B * T` times `[3, 8h, 8w]`, in [-1, 1]
///
/// # Errors
/// [`Error::Shape`] unless the latent has 16 channels.
pub fn preview(latent: &Normalized) -> Result<Vec<Array>> {
    let [batch, _, frames, _, _] = latent.array().dims("latent")?;
    (0..batch * frames)
        .map(|i| preview_frame(latent, i / frames, i % frames))
        .collect()
}

/// The image of latent frame `frame` of batch item `item`.
///
/// # Shapes
/// `[B, 16, T, h, w]` -> `[3, 8h, 8w]`, in [-1, 1]
///
/// # Errors
/// [`Error::Shape`] unless the latent has 16 channels and holds that frame.
pub fn preview_frame(latent: &Normalized, item: usize, frame: usize) -> Result<Array> {
    let [batch, channels, frames, _, _] = latent.array().dims("latent")?;
    let projection = PROJECTIONS
        .iter()
        .find(|projection| projection.factors.len() == channels)
        .zip(space_of(channels))
        .filter(|_| item < batch && frame < frames);
    let Some((projection, space)) = projection else {
        return Err(Error::Shape {
            what: format!("preview of item {item}, latent frame {frame}"),
            expected: format!("a latent of {} channels that holds it", WAN21.factors.len()),
            got: format!("shape {:?}", latent.array().shape()),
        });
    };
    let small = colours(projection, latent, item, frame)?;
    let size = [1, 2].map(|axis| small.shape()[axis] * space.cell);
    let mut image = resize(&small, size, Filter::CatmullRom)?;
    image
        .data_mut()
        .iter_mut()
        .for_each(|v| *v = pixels::clamp(*v));
    Ok(image)
}

/// The matrix on each latent cell: `[3, h, w]`, not clamped.
fn colours(
    projection: &Projection,
    latent: &Normalized,
    item: usize,
    frame: usize,
) -> Result<Array> {
    let [_, channels, frames, height, width] = latent.array().dims("latent")?;
    let plane = height * width;
    let mut small = Array::zeros([3, height, width]);
    for (colour, out) in small.data_mut().chunks_exact_mut(plane).enumerate() {
        out.fill(projection.bias[colour]);
        for (channel, factors) in projection.factors.iter().enumerate() {
            let start = ((item * channels + channel) * frames + frame) * plane;
            let cells = &latent.array().data()[start..start + plane];
            out.iter_mut()
                .zip(cells)
                .for_each(|(sum, cell)| *sum += factors[colour] * cell);
        }
    }
    Ok(small)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_latent_shows_the_bias() {
        let frames = preview(&Normalized::new(Array::zeros([2, 16, 3, 2, 4])).unwrap()).unwrap();
        assert_eq!(frames.len(), 6);
        assert_eq!(frames[5].shape(), [3, 16, 32]);
        for (colour, plane) in frames[5].data().chunks_exact(16 * 32).enumerate() {
            assert!(plane.iter().all(|v| (v - WAN21.bias[colour]).abs() < 1e-6));
        }
    }

    #[test]
    fn each_frame_shows_its_own_cells() {
        let mut array = Array::zeros([2, 16, 2, 1, 1]);
        // Channel 2 of item 1, frame 1.
        array.data_mut()[(16 + 2) * 2 + 1] = 1.0;
        let latent = Normalized::new(array).unwrap();
        let red = |item, frame| preview_frame(&latent, item, frame).unwrap().data()[0];
        assert!((red(1, 1) - (WAN21.bias[0] + WAN21.factors[2][0])).abs() < 1e-6);
        assert!((red(1, 0) - WAN21.bias[0]).abs() < 1e-6);
        assert!((red(0, 1) - WAN21.bias[0]).abs() < 1e-6);
    }

    #[test]
    fn foreign_latents_are_refused() {
        let foreign = Normalized::new(Array::zeros([1, 48, 1, 2, 2])).unwrap();
        assert!(preview(&foreign).is_err());
        assert!(
            preview_frame(
                &Normalized::new(Array::zeros([1, 16, 1, 2, 2])).unwrap(),
                0,
                1
            )
            .is_err()
        );
    }
}
