//! Numbers of a clip, from those of its frames.

use crate::numbers::{Better, Number, mean};

/// One number of a clip.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    /// The mean over frames; none if no frame has the number, infinite if it is for one.
    pub mean: Option<f64>,
    /// The worst frame; none where neither direction is better.
    pub worst: Option<Worst>,
}

/// The frame with the worst value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Worst {
    /// Its place among the frames, from 0; the first of several.
    pub at: usize,
    /// Its value.
    pub value: f64,
}

/// Sums up `number` over the frames of a clip. A value that is not a number is the worst.
pub fn summary(number: &Number, frames: impl IntoIterator<Item = Option<f64>>) -> Summary {
    let values: Vec<(usize, f64)> = frames
        .into_iter()
        .enumerate()
        .filter_map(|(at, value)| Some((at, value?)))
        .collect();
    let is_worse = |a: f64, b: f64| match number.better {
        Better::Higher => a < b || (a.is_nan() && !b.is_nan()),
        Better::Lower => a > b || (a.is_nan() && !b.is_nan()),
        Better::Neither => false,
    };
    let worst = values.iter().copied().reduce(|worst, frame| {
        if is_worse(frame.1, worst.1) {
            frame
        } else {
            worst
        }
    });
    Summary {
        mean: mean(values.iter().map(|(_, value)| *value)),
        worst: worst
            .filter(|_| number.better != Better::Neither)
            .map(|(at, value)| Worst { at, value }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::NUMBERS;

    fn of(key: &str, frames: &[Option<f64>]) -> Summary {
        let number = NUMBERS.iter().find(|number| number.key == key).unwrap();
        summary(number, frames.iter().copied())
    }

    fn worst(at: usize, value: f64) -> Option<Worst> {
        Some(Worst { at, value })
    }

    #[test]
    fn the_worst_frame_is_the_first_of_the_worst_in_the_direction_of_the_number() {
        let frames = [None, Some(30.0), Some(20.0), Some(20.0), Some(50.0)];
        let psnr = of("psnr", &frames);
        assert_eq!((psnr.mean, psnr.worst), (Some(30.0), worst(2, 20.0)));
        assert_eq!(of("lpips", &frames).worst, worst(4, 50.0));
        let sharpness = of("sharpness", &frames);
        assert_eq!((sharpness.mean, sharpness.worst), (Some(30.0), None));
        assert_eq!(of("psnr", &[None, None]), Summary::default());
        assert_eq!(of("psnr", &[]), Summary::default());
    }

    #[test]
    fn infinite_values_and_those_that_are_none_are_not_hidden() {
        let equal = of("psnr", &[Some(f64::INFINITY), Some(40.0)]);
        assert_eq!(
            (equal.mean, equal.worst),
            (Some(f64::INFINITY), worst(1, 40.0))
        );
        let broken = of("speckle_db", &[Some(1.0), Some(f64::NAN), Some(3.0)]);
        assert!(broken.mean.unwrap().is_nan());
        assert_eq!(broken.worst.unwrap().at, 1);
    }
}
