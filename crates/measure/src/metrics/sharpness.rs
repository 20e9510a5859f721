//! How much fine detail an image holds, without a reference.

use vae2x_core::{Array, Result};
use vae2x_media::pixels;

/// Brightness of red, green, blue (ITU-R BT.601).
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];
/// From the width of [-1, 1] to that of 8 bits.
const TO_8_BIT: f32 = 127.5;

/// The variance of the Laplacian `4 p - up - down - left - right` of the brightness, in squared 8-bit units: some 10 for blurred
/// photos, some 100 to 1000 for sharp ones. 0 for images below 3x3; NaN if a value is.
///
/// Source: Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy: a comparative study", 2000.
///
/// # Shapes
/// `[3, H, W]` in [-1, 1]
///
/// # Errors
/// [`vae2x_core::Error::Shape`] unless it is an image.
pub fn sharpness(picture: &Array) -> Result<f64> {
    let [h, w] = pixels::picture_size(picture)?;
    if h < 3 || w < 3 {
        return Ok(0.0);
    }
    let plane = h * w;
    let data = picture.data();
    let luma: Vec<f32> = (0..plane)
        .map(|i| {
            (0..3)
                .map(|c| LUMA[c] * TO_8_BIT * data[c * plane + i].clamp(-1.0, 1.0))
                .sum()
        })
        .collect();
    let (mut sum, mut squares) = (0.0, 0.0);
    for y in 1..h - 1 {
        for i in y * w + 1..(y + 1) * w - 1 {
            let laplacian =
                f64::from(4.0 * luma[i] - luma[i - 1] - luma[i + 1] - luma[i - w] - luma[i + w]);
            sum += laplacian;
            squares += laplacian * laplacian;
        }
    }
    let count = ((h - 2) * (w - 2)) as f64;
    Ok(squares / count - (sum / count).powi(2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vae2x_core::weights::formula::unit;
    use vae2x_media::resample::{Filter, resize};

    #[test]
    fn blurring_lowers_it_and_brightness_does_not_matter() {
        let noise =
            Array::new([3, 32, 32], unit("noise", 3072).map(|v| 0.5 * v).collect()).unwrap();
        let small = resize(&noise, [8, 8], Filter::Area).unwrap();
        let blurred = resize(&small, [32, 32], Filter::CatmullRom).unwrap();
        assert!(sharpness(&blurred).unwrap() < 0.05 * sharpness(&noise).unwrap());
        let brighter =
            Array::new([3, 32, 32], noise.data().iter().map(|v| v + 0.25).collect()).unwrap();
        assert!((sharpness(&brighter).unwrap() / sharpness(&noise).unwrap() - 1.0).abs() < 1e-4);
        assert_eq!(sharpness(&Array::zeros([3, 2, 9])).unwrap(), 0.0);
    }
}
