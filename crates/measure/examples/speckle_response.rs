//! The speckle score of photos, as they are and halved, and of the same with grids added: the numbers of `docs/metrics.md`.
//!
//! ```sh
//! cargo run --release -p vae2x-measure --example speckle_response -- photos/*.jpg
//! ```

use std::path::Path;

use vae2x_core::{Array, Result};
use vae2x_measure::speckle::speckle;
use vae2x_media::picture::read_image;
use vae2x_media::pixels::picture_size;
use vae2x_media::resample::{Filter, resize};

const PERIODS: [usize; 4] = [2, 4, 8, 16];
/// In 8-bit steps.
const AMPLITUDES: [f64; 5] = [0.5, 1.0, 2.0, 4.0, 8.0];
/// Photos above this many pixels get no grids, which would take long.
const LARGE: usize = 3_000_000;

/// A grid of height 1 by period, y and x.
type Grid = fn(usize, usize, usize) -> f64;

const GRIDS: [(&str, Grid); 3] = [
    ("a wave along one axis", |period, _, x| wave(period, x)),
    ("waves along both", |period, y, x| {
        (wave(period, y) + wave(period, x)) / 2.0
    }),
    ("dots of one pixel", |period, y, x| {
        f64::from(u8::from(y % period == 0 && x % period == 0))
    }),
];

fn wave(period: usize, n: usize) -> f64 {
    (std::f64::consts::TAU * n as f64 / period as f64).cos()
}

fn main() -> Result<()> {
    let (mut whole, mut halves) = (Vec::new(), Vec::new());
    let mut responses = vec![Vec::new(); GRIDS.len() * PERIODS.len() * AMPLITUDES.len()];
    let mut steady = 0;
    let mut series = 0;
    for path in std::env::args().skip(1) {
        let photo = read_image(Path::new(&path))?.pixels;
        let [h, w] = picture_size(&photo)?;
        let half = resize(&photo, [h / 2, w / 2], Filter::Area)?;
        let (score, halved) = (speckle(&photo, 1)?, speckle(&half, 1)?);
        let (db, noise, flat) = (score.speckle_db, score.noise_db, 100.0 * score.flat_share);
        println!(
            "{path}: {db:.2} dB at period {}, amplitude {:.2}, noise {noise:.2} dB, {flat:.0} % flat; halved {:.2} dB",
            score.period, score.amplitude, halved.speckle_db
        );
        whole.push(db);
        halves.push(halved.speckle_db);
        if h * w > LARGE {
            continue;
        }
        for (g, (_, grid)) in GRIDS.iter().enumerate() {
            for (p, &period) in PERIODS.iter().enumerate() {
                let mut last = f64::NEG_INFINITY;
                let mut rises = true;
                for (a, amplitude) in AMPLITUDES.iter().enumerate() {
                    let db = speckle(&plus(&photo, |y, x| amplitude * grid(period, y, x)), 1)?
                        .speckle_db;
                    responses[(g * PERIODS.len() + p) * AMPLITUDES.len() + a].push(db);
                    rises &= db > last;
                    last = db;
                }
                steady += usize::from(rises);
                series += 1;
            }
        }
    }
    println!(
        "\nphotos as they are: {}; halved: {}",
        spread(whole),
        spread(halves)
    );
    println!(
        "{steady} of {series} series of amplitudes {AMPLITUDES:?} rise throughout; scores, lowest, median, highest:"
    );
    for (i, scores) in responses.into_iter().enumerate() {
        let (g, p, a) = (
            i / AMPLITUDES.len() / PERIODS.len(),
            i / AMPLITUDES.len() % PERIODS.len(),
            i % AMPLITUDES.len(),
        );
        println!(
            "{}, period {}, {} steps: {}",
            GRIDS[g].0,
            PERIODS[p],
            AMPLITUDES[a],
            spread(scores)
        );
    }
    Ok(())
}

/// Adds `value(y, x)` 8-bit steps.
fn plus(picture: &Array, value: impl Fn(usize, usize) -> f64) -> Array {
    let mut sum = picture.clone();
    let [h, w] = [1, 2].map(|axis| picture.shape()[axis]);
    let at = |i: usize| (value(i / w % h, i % w) / 127.5) as f32;
    sum.data_mut()
        .iter_mut()
        .enumerate()
        .for_each(|(i, v)| *v += at(i));
    sum
}

fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => "none".into(),
        n => format!(
            "{:.2} {:.2} {:.2} dB ({n})",
            values[0],
            values[n / 2],
            values[n - 1]
        ),
    }
}
