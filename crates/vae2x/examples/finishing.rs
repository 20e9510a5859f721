//! Measures the gain of `decode --scale 1` and `--match-color` over a folder of photos:
//! `cargo run --release -p vae2x --example finishing -- PHOTOS --base WEIGHTS --vae WEIGHTS [--side 1024]`.
//!
//! Each photo is resized to a longer side of `--side`, halved to what is encoded, and decoded by both models. Prints PSNR to
//! the halved photo for the base decoder and for the 2x decoder with each way to halve it; what a step edge and patterns become;
//! and how far colours are from the base decoder's, as they are, with the 2x decoder's colours shifted, and matched.
//! `--scale 1` is the row named so; the other rows are filters of `vae2x_media::resample`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use vae2x::{Array, Pixels, Vae};
use vae2x_measure::metrics::{ciede2000, psnr};
use vae2x_media::match_color::{Matching, match_color};
use vae2x_media::picture::read_image;
use vae2x_media::pixels;
use vae2x_media::reduce::{Light, reduce};
use vae2x_media::resample::{Filter, halve, resize};
use vae2x_media::sharpen::blur;

/// A way from a 2x image to 1x.
type Halve = fn(&Array) -> vae2x::Result<Array>;

const WAYS: [(&str, Halve); 5] = [
    ("--scale 1", |p| reduce(p, 2, Light::Encoded)),
    ("--scale 1 --linear-light", |p| reduce(p, 2, Light::Linear)),
    ("mean of four", halve),
    ("Catmull-Rom", |p| resize(p, half(p), Filter::CatmullRom)),
    ("Lanczos3", |p| resize(p, half(p), Filter::Lanczos3)),
];

fn half(picture: &Array) -> [usize; 2] {
    [picture.shape()[1] / 2, picture.shape()[2] / 2]
}

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        args.iter()
            .position(|a| a == name)
            .and_then(|i| args.get(i + 1))
            .cloned()
    };
    let folder = args.first().context("which folder of photos?")?;
    let side: usize = value("--side").map_or(Ok(1024), |s| s.parse())?;
    let open = |name: &str| -> anyhow::Result<Vae> {
        let weights = value(name).with_context(|| format!("{name} WEIGHTS is missing"))?;
        Ok(Vae::open(&weights)?.build()?)
    };
    let models = Models {
        base: open("--base")?,
        two_x: open("--vae")?,
    };
    let decoded = photos(Path::new(folder))?
        .iter()
        .map(|path| decode(path, side, &models))
        .collect::<Result<Vec<_>, _>>()?;
    print_scores(&decoded)?;
    print_edges()?;
    print_colours(&decoded)
}

struct Models {
    base: Vae,
    two_x: Vae,
}

fn photos(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|e| e.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    paths.retain(|p| {
        p.extension().is_some_and(|e| {
            ["jpg", "png", "webp"]
                .iter()
                .any(|k| e.eq_ignore_ascii_case(k))
        })
    });
    paths.sort();
    if paths.is_empty() {
        bail!("{}: no photos", folder.display());
    }
    Ok(paths)
}

/// The images made from a photo, `[3, H, W]` each.
struct Decoded {
    /// The encoded image.
    small: Array,
    base: Array,
    two_x: Array,
}

fn decode(path: &Path, side: usize, models: &Models) -> anyhow::Result<Decoded> {
    let small = halve(&prepared(&read_image(path)?.pixels, side)?)?;
    let [c, h, w] = small.dims("photo")?;
    let pixels = Pixels::new(small.clone().reshape([1, c, 1, h, w])?)?;
    let latent = models.base.encode(&pixels)?;
    let base = models.base.decode(&latent)?.frame(0, 0);
    let two_x = models.two_x.decode(&latent)?.frame(0, 0);
    Ok(Decoded { small, base, two_x })
}

fn print_scores(photos: &[Decoded]) -> anyhow::Result<()> {
    let mut sums = [(0.0, 0, f64::INFINITY); WAYS.len()];
    let mut base_sum = 0.0;
    for photo in photos {
        let base = psnr(&photo.base, &photo.small)?;
        base_sum += base;
        for ((_, way), (sum, wins, least)) in WAYS.iter().zip(&mut sums) {
            let gain = psnr(&way(&photo.two_x)?, &photo.small)? - base;
            *sum += gain;
            *wins += usize::from(gain > 0.0);
            *least = least.min(gain);
        }
    }
    let n = photos.len();
    println!("{n} photos; base decoder: {:.2} dB", base_sum / n as f64);
    println!(
        "| 2x decoder, halved by | PSNR, mean | over the base decoder | photos where it wins | least gain |\n|---|---|---|---|---|"
    );
    for ((name, _), (sum, wins, least)) in WAYS.iter().zip(sums) {
        let gain = sum / n as f64;
        println!(
            "| {name} | {:.2} dB | {gain:+.2} dB | {wins} of {n} | {least:+.2} dB |",
            base_sum / n as f64 + gain
        );
    }
    Ok(())
}

/// CIEDE2000 to the base decoder at 1x, of pixels and of means over latent cells, and the change of the high band at 2x.
fn print_colours(photos: &[Decoded]) -> anyhow::Result<()> {
    const SHIFT: [f32; 3] = [0.08, -0.05, 0.06];
    const WAYS: [(&str, Option<Matching>); 3] = [
        ("as it is", None),
        (
            "low",
            Some(Matching::Low {
                brightness: 16,
                colour: 4,
            }),
        ),
        ("stats", Some(Matching::Stats)),
    ];
    println!(
        "\n| 2x decoder | matched by | CIEDE2000, mean | worst photo | photos below 0.5 | of cells, mean | worst photo | high band, mean | worst |\n|---|---|---|---|---|---|---|---|---|"
    );
    for (name, shift) in [("as trained", [0.0; 3]), ("shifted", SHIFT)] {
        for (way, matching) in WAYS {
            let rows = photos
                .iter()
                .map(|photo| colours(photo, shift, matching))
                .collect::<anyhow::Result<Vec<_>>>()?;
            let below = rows.iter().filter(|r| r[0] < 0.5).count();
            let mean = |i: usize| rows.iter().map(|r| r[i]).sum::<f64>() / rows.len() as f64;
            let worst = |i: usize| rows.iter().map(|r| r[i].abs()).fold(0.0, f64::max);
            println!(
                "| {name} | {way} | {:.2} | {:.2} | {below} | {:.2} | {:.2} | {:+.2} % | {:.2} % |",
                mean(0),
                worst(0),
                mean(1),
                worst(1),
                mean(2),
                worst(2)
            );
        }
    }
    Ok(())
}

fn colours(
    photo: &Decoded,
    shift: [f32; 3],
    matching: Option<Matching>,
) -> anyhow::Result<[f64; 3]> {
    let mut two_x = photo.two_x.clone();
    let plane = two_x.data().len() / 3;
    two_x
        .data_mut()
        .iter_mut()
        .enumerate()
        .for_each(|(i, v)| *v += shift[i / plane]);
    let matched = matching.map_or_else(
        || Ok(two_x.clone()),
        |m| match_color(&two_x, &photo.base, m),
    )?;
    let one_x = reduce(&matched, 2, Light::Encoded)?;
    let cells = |p: &Array| resize(p, [p.shape()[1] / 8, p.shape()[2] / 8], Filter::Area);
    let high = 100.0 * (high_band(&matched)? / high_band(&two_x)? - 1.0);
    Ok([
        ciede2000(&one_x, &photo.base)?,
        ciede2000(&cells(&one_x)?, &cells(&photo.base)?)?,
        high,
    ])
}

/// The energy of what a Gaussian of two pixels takes away.
fn high_band(picture: &Array) -> anyhow::Result<f64> {
    let low = blur(picture, 2.0)?;
    Ok(picture
        .data()
        .iter()
        .zip(low.data())
        .map(|(p, l)| f64::from(p - l).powi(2))
        .sum())
}

/// The photo with a longer side of `side`, cut to whole latent cells of its half.
fn prepared(photo: &Array, side: usize) -> anyhow::Result<Array> {
    let [h, w] = pixels::picture_size(photo)?;
    let scale = side as f64 / h.max(w) as f64;
    let size = [h, w].map(|n| (n as f64 * scale).round() as usize / 16 * 16);
    let mut photo = resize(photo, size, Filter::Lanczos3)?;
    photo
        .data_mut()
        .iter_mut()
        .for_each(|v| *v = v.clamp(-1.0, 1.0));
    Ok(photo)
}

/// Overshoot, distance from 10 to 90 % and contrast left of stripes, in pixels of the result.
fn print_edges() -> anyhow::Result<()> {
    println!(
        "\n| halved by | overshoot | 10 to 90 % | MTF at 1/4 | at 3/8 | at 1/2 | alias of 3/4 |\n|---|---|---|---|---|---|---|"
    );
    for (name, way) in WAYS.iter().filter(|(name, _)| !name.contains("linear")) {
        let edge = edge(*way)?;
        let overshoot = edge.iter().map(|&(_, v)| v - 1.0).fold(0.0, f64::max);
        let dark = edge
            .iter()
            .rfind(|(_, v)| *v <= 0.1)
            .map_or(f64::NAN, |e| e.0);
        let bright = edge
            .iter()
            .find(|(_, v)| *v >= 0.9)
            .map_or(f64::NAN, |e| e.0);
        let left = [0.25, 0.375, 0.5, 0.75].map(|f| contrast(*way, f));
        let [a, b, c, d] = left;
        println!(
            "| {name} | {:.1} % | {:.2} | {:.2} | {:.2} | {:.2} | {:.3} |",
            100.0 * overshoot,
            bright - dark,
            a?,
            b?,
            c?,
            d?
        );
    }
    Ok(())
}

/// A step edge at every phase: (distance in pixels of the result, value in [0, 1]).
fn edge(way: Halve) -> anyhow::Result<Vec<(f64, f64)>> {
    let mut seen = Vec::new();
    for phase in 0..64 {
        let place = 32.0 + f64::from(phase) / 32.0;
        let row: Vec<f32> = (0..64)
            .map(|x| (f64::from(x + 1) - place).clamp(0.0, 1.0) as f32 - 0.5)
            .collect();
        let small = way(&Array::new([3, 8, 64], row.repeat(24))?)?;
        let values = small.data()[64..96].iter().enumerate();
        seen.extend(values.map(|(i, &v)| (i as f64 + 0.5 - place / 2.0, f64::from(v) + 0.5)));
    }
    seen.sort_by(|a, b| a.0.total_cmp(&b.0));
    Ok(seen)
}

/// The share that is left of a sine of `frequency` cycles per pixel of the result, at the phase that keeps most.
fn contrast(way: Halve, frequency: f64) -> anyhow::Result<f64> {
    let mut most: f64 = 0.0;
    for phase in 0..16 {
        let turn = |x: usize| {
            std::f64::consts::TAU * (frequency * x as f64 / 2.0 + f64::from(phase) / 16.0)
        };
        let row: Vec<f32> = (0..256).map(|x| 0.5 * turn(x).sin() as f32).collect();
        let small = way(&Array::new([3, 8, 256], row.repeat(24))?)?;
        most = small.data()[256 + 32..256 + 96]
            .iter()
            .fold(most, |m, &v| m.max(2.0 * f64::from(v.abs())));
    }
    Ok(most)
}
