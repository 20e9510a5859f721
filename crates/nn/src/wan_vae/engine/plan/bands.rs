//! Numbers of bands.

use crate::wan_vae::rows::Rows;

/// Twice as many bands, unless they are single rows.
pub(super) fn halved(bands: &[Rows]) -> Option<Vec<Rows>> {
    let tallest = bands.iter().map(|band| band.len()).max()?;
    (tallest > 1).then(|| Rows::bands(bands[0].height, tallest.div_ceil(2)))
}

/// The next greater number of bands, unless they are single rows.
pub(super) fn more_bands(bands: &[Rows]) -> Option<Vec<Rows>> {
    let tallest = bands.iter().map(|band| band.len()).max()?;
    (tallest > 1).then(|| Rows::bands(bands[0].height, tallest - 1))
}

/// The fewest bands that fit.
pub(super) fn fewest_bands(height: usize, fits: impl Fn(&[Rows]) -> bool) -> Option<Vec<Rows>> {
    std::iter::successors(Some(vec![Rows::whole(height)]), |bands| more_bands(bands))
        .find(|bands| fits(bands))
}
