//! How far an image is from its reference. Images are `[3, H, W]` in [-1, 1]; metrics see them in [0, 1], clamped, as they
//! would be saved.

mod ciede2000;
mod ms_ssim;
mod psnr;
mod sharpness;
mod ssim;

pub use ciede2000::{ciede2000, ciede2000_p95};
pub use ms_ssim::{MS_SSIM_LEAST_SIDE, ms_ssim};
pub use psnr::psnr;
pub use sharpness::sharpness;
pub use ssim::ssim;

use vae2x_core::{Array, Error, Result};
use vae2x_media::pixels;

/// Height and width of two images of one size, and their values in [0, 1].
///
/// # Errors
/// [`Error::Shape`] unless both are images of one size.
fn unit_pair(picture: &Array, reference: &Array) -> Result<([usize; 2], [Vec<f64>; 2])> {
    let size = require_one_size(picture, reference)?;
    let unit = |a: &Array| {
        // NaN stays, so that no metric calls a broken image good.
        a.data()
            .iter()
            .map(|&v| ((f64::from(v) + 1.0) * 0.5).clamp(0.0, 1.0))
            .collect()
    };
    Ok((size, [unit(picture), unit(reference)]))
}

/// The size of both.
///
/// # Errors
/// [`Error::Shape`] unless both are images of one size.
fn require_one_size(picture: &Array, reference: &Array) -> Result<[usize; 2]> {
    let size = pixels::picture_size(picture)?;
    match pixels::picture_size(reference)? == size {
        true => Ok(size),
        false => Err(Error::Shape {
            what: "images to compare".into(),
            expected: "one size".into(),
            got: format!("{:?} and {:?}", picture.shape(), reference.shape()),
        }),
    }
}
