//! Frames and latent frames: the first latent frame stands for one frame, each later one for four.

use crate::config::TEMPORAL_FACTOR;

/// Frames that `latent_frames` decode to: `1 + 4 (T - 1)`, and none for none.
pub fn frames(latent_frames: usize) -> usize {
    match latent_frames {
        0 => 0,
        t => 1 + TEMPORAL_FACTOR * (t - 1),
    }
}

/// Latent frames that `frames` encode to; up to three trailing frames that do not fill a latent frame are left over.
pub fn latent_frames(frames: usize) -> usize {
    match frames {
        0 => 0,
        f => 1 + (f - 1) / TEMPORAL_FACTOR,
    }
}

/// How many of `frames` the encoder uses: the largest `1 + 4 k` that is not above.
pub fn whole_frames(frames_given: usize) -> usize {
    frames(latent_frames(frames_given))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_agree_with_the_definition() {
        assert_eq!([0, 1, 2, 3, 21].map(frames), [0, 1, 5, 9, 81]);
        assert_eq!(
            [0, 1, 4, 5, 8, 9, 81].map(latent_frames),
            [0, 1, 1, 2, 2, 3, 21]
        );
        assert_eq!([0, 1, 4, 5, 8].map(whole_frames), [0, 1, 1, 5, 5]);
    }
}
