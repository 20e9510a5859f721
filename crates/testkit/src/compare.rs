//! Comparisons that fail on NaN and say where the worst value is.

use vae2x_core::Array;

/// `|got - want|_2 / |want|_2` in double precision; NaN if either holds one.
pub fn relative_l2(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len(), "element counts differ");
    let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
        got.iter()
            .zip(want)
            .map(|(&g, &w)| f(f64::from(g), f64::from(w)))
            .sum()
    };
    let difference = sum(&|g, w| (g - w) * (g - w));
    let length = sum(&|_, w| w * w);
    (difference / length.max(f64::MIN_POSITIVE)).sqrt()
}

/// Prints the error, which `cargo test -- --show-output` shows.
///
/// # Panics
/// Unless shapes agree and the relative L2 error is at most `tolerance`.
#[track_caller]
pub fn assert_close(what: &str, got: &Array, want: &Array, tolerance: f64) {
    assert_eq!(got.shape(), want.shape(), "{what}: shapes differ");
    let error = relative_l2(got.data(), want.data());
    println!("{what}: relative L2 error {error:.2e} of {tolerance:e}");
    // Written so that NaN fails.
    if !(error <= tolerance) {
        let nans = got.data().iter().filter(|x| !x.is_finite()).count();
        let worst = got
            .data()
            .iter()
            .zip(want.data())
            .enumerate()
            .max_by(|a, b| (a.1.0 - a.1.1).abs().total_cmp(&(b.1.0 - b.1.1).abs()));
        panic!(
            "{what}: relative L2 error {error:e} above {tolerance:e}; {nans} not finite; worst {worst:?}"
        );
    }
}

/// # Panics
/// Unless both are equal to the last bit.
#[track_caller]
pub fn assert_same(what: &str, got: &Array, want: &Array) {
    assert_eq!(got.shape(), want.shape(), "{what}: shapes differ");
    let differ = |(g, w): (&f32, &f32)| g.to_bits() != w.to_bits();
    let count = got
        .data()
        .iter()
        .zip(want.data())
        .filter(|&p| differ(p))
        .count();
    let first = got.data().iter().zip(want.data()).position(differ);
    assert_eq!(
        count, 0,
        "{what}: {count} values differ, the first at {first:?}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "relative L2")]
    fn nan_fails() {
        let nan = Array::new([2], vec![1.0, f32::NAN]).unwrap();
        assert_close("nan", &nan, &nan, 1.0);
    }

    #[test]
    #[should_panic(expected = "1 values differ")]
    fn a_last_bit_is_seen() {
        let a = Array::new([1], vec![1.0]).unwrap();
        let b = Array::new([1], vec![1.0 + f32::EPSILON]).unwrap();
        assert_same("bits", &a, &b);
    }

    #[test]
    fn the_error_is_relative() {
        assert!((relative_l2(&[11.0], &[10.0]) - 0.1).abs() < 1e-12);
    }
}
