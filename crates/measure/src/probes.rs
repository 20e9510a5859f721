//! Probe latents: what a decoder makes of surfaces without detail, where people see speckles first.
//!
//! Constants stay constant through convolutions, norms and attention, so flat colours alone show no grid, whatever the decoder. A little
//! noise on a constant, a slope and a softened flat do: noise is what a sampler leaves, and softness what a denoiser takes away. All
//! are the same in every run.
//!
//! Layout: 64 latent cells each way, of which the 48 in the middle are measured, as the padding of the edge reaches into the others.

use vae2x_core::weights::formula::unit;
use vae2x_core::{Array, Result, VaeConfig};
use vae2x_media::pixels::from_u8;

use crate::speckle::{Origin, Speckle, speckle_from};

/// Latent cells of the measured part's side.
const MEASURED: usize = 48;
/// Latent cells around it.
const MARGIN: usize = 8;
const SIDE: usize = MEASURED + 2 * MARGIN;
const GREY: [u8; 3] = [128, 128, 128];
const SKY: [u8; 3] = [128, 168, 208];
const SKIN: [u8; 3] = [208, 160, 128];
/// Deviations of the noise on constants, in standard deviations of the latent's channels.
const NOISE: [f32; 4] = [0.05, 0.1, 0.2, 0.3];
/// Deviation of the noise on a slope.
const ON_SLOPE: f32 = 0.1;
/// Deviation of a flat's grain before it is encoded, in 8-bit steps.
const GRAIN: f32 = 8.0;
/// Deviations of the blurs that soften it, in latent cells.
const SOFTNESS: [f64; 2] = [0.5, 1.0];

/// A latent, and what it is.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Such as `noise 0.1`.
    pub name: String,
    /// `[1, z, 1, 64, 64]`, normalized.
    pub latent: Array,
}

/// The scores of a decoded probe.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ProbeScore {
    /// As [`Probe::name`].
    pub probe: String,
    /// In the middle of the decoded image.
    #[serde(flatten)]
    pub speckle: Speckle,
}

/// Both scores over several images.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Scores {
    /// In dB.
    pub speckle_db: f64,
    /// In dB.
    pub lattice_energy_db: f64,
}

/// Makes all probes; `encode` gives the normalized latent of an image.
///
/// # Shapes
/// `encode`: `[3, H, W]` in [-1, 1] -> `[1, z, 1, h, w]`
///
/// # Errors
/// Those of `encode`.
pub fn probes(
    config: &VaeConfig,
    mut encode: impl FnMut(Array) -> Result<Array>,
) -> Result<Vec<Probe>> {
    let side = SIDE * config.spatial();
    let mut constant = |colour: [u8; 3]| encode(flat(colour, side, 0.0)?).map(centre);
    let (grey, sky, skin) = (constant(GREY)?, constant(SKY)?, constant(SKIN)?);
    let soft = encode(flat(GREY, side, GRAIN)?)?;
    let field = |value: &dyn Fn(usize, f32) -> f32, noise: f32| {
        let shape = [1, config.z_dim, 1, SIDE, SIDE];
        let at = |(i, normal): (usize, f32)| {
            let (channel, cell) = (i / (SIDE * SIDE), i % (SIDE * SIDE));
            let along = (cell / SIDE + cell % SIDE) as f32 / (2 * SIDE - 2) as f32;
            value(channel, along) + noise * normal
        };
        let normals = normals("probe", config.z_dim * SIDE * SIDE);
        Array::new(shape, normals.into_iter().enumerate().map(at).collect())
    };
    let slope = |channel: usize, along: f32| sky[channel] + along * (skin[channel] - sky[channel]);
    let mut all = Vec::new();
    for noise in NOISE {
        all.push((
            format!("noise {noise}"),
            field(&|channel, _| grey[channel], noise)?,
        ));
    }
    all.push(("slope".into(), field(&slope, 0.0)?));
    all.push((format!("slope, noise {ON_SLOPE}"), field(&slope, ON_SLOPE)?));
    for softness in SOFTNESS {
        all.push((format!("softened {softness}"), blurred(&soft, softness)?));
    }
    let probe = |(name, latent)| Probe { name, latent };
    Ok(all.into_iter().map(probe).collect())
}

/// Measures the middle of a decoded probe.
///
/// # Shapes
/// `decoded`: `[3, 64 c, 64 c]` for `c` pixels per latent cell
///
/// # Errors
/// [`vae2x_core::Error::Shape`] if it is of another size.
pub fn probe_score(config: &VaeConfig, probe: &Probe, decoded: &Array) -> Result<ProbeScore> {
    let middle = middle(decoded, config.pixels_per_cell()?)?;
    Ok(ProbeScore {
        probe: probe.name.clone(),
        speckle: speckle_from(&middle, config.scale()?, Origin::Decoder)?,
    })
}

impl Scores {
    /// Means; NaN of nothing.
    pub fn mean(scores: &[ProbeScore]) -> Self {
        let over = |of: fn(&Speckle) -> f64| {
            scores.iter().map(|s| of(&s.speckle)).sum::<f64>() / scores.len() as f64
        };
        Self {
            speckle_db: over(|s| s.speckle_db),
            lattice_energy_db: over(|s| s.lattice_energy_db),
        }
    }

    /// The highest of each; NaN of nothing, and if one is.
    pub fn highest(scores: &[ProbeScore]) -> Self {
        let over = |of: fn(&Speckle) -> f64| {
            let values = scores.iter().map(|s| of(&s.speckle));
            values.max_by(f64::total_cmp).unwrap_or(f64::NAN)
        };
        Self {
            speckle_db: over(|s| s.speckle_db),
            lattice_energy_db: over(|s| s.lattice_energy_db),
        }
    }
}

/// An image of one colour with grain of a deviation in 8-bit steps.
fn flat(colour: [u8; 3], side: usize, grain: f32) -> Result<Array> {
    let normals = normals("grain", side * side);
    let plane = |value: u8| {
        let grain = normals.iter().map(move |n| grain / 127.5 * n);
        grain.map(move |g| from_u8(value) + g)
    };
    Array::new(
        [3, side, side],
        colour.into_iter().flat_map(plane).collect(),
    )
}

/// Each channel's value in the middle of a latent.
fn centre(latent: Array) -> Vec<f32> {
    let planes = latent.data().chunks_exact(SIDE * SIDE);
    planes
        .map(|plane| plane[SIDE / 2 * SIDE + SIDE / 2])
        .collect()
}

/// Each channel under a Gaussian of this deviation; what lies outside is what lies at the opposite edge.
fn blurred(latent: &Array, deviation: f64) -> Result<Array> {
    let reach = (4.0 * deviation).ceil() as usize;
    let weight = |i: usize| (-0.5 * ((i as f64 - reach as f64) / deviation).powi(2)).exp();
    let total: f64 = (0..=2 * reach).map(weight).sum();
    let weights: Vec<f64> = (0..=2 * reach).map(|i| weight(i) / total).collect();
    let along = |plane: &[f32], place: &dyn Fn(usize, usize, usize) -> usize| -> Vec<f32> {
        let at = |i: usize| {
            let near = weights.iter().enumerate().map(|(k, w)| {
                let shifted = SIDE + k - reach;
                w * f64::from(plane[place(i / SIDE, i % SIDE, shifted)])
            });
            near.sum::<f64>() as f32
        };
        (0..SIDE * SIDE).map(at).collect()
    };
    let data = latent.data().chunks_exact(SIDE * SIDE).flat_map(|plane| {
        let rows = along(plane, &|y, x, shift| y * SIDE + (x + shift) % SIDE);
        along(&rows, &|y, x, shift| (y + shift) % SIDE * SIDE + x)
    });
    Array::new(latent.shape(), data.collect())
}

/// The decoded image without its margin; a latent cell is `cell` pixels of it.
fn middle(decoded: &Array, cell: usize) -> Result<Array> {
    let whole = SIDE * cell;
    if decoded.shape() != [3, whole, whole] {
        return Err(vae2x_core::Error::Shape {
            what: "decoded probe".into(),
            expected: format!("[3, {whole}, {whole}]"),
            got: format!("{:?}", decoded.shape()),
        });
    }
    let (start, side) = (MARGIN * cell, MEASURED * cell);
    let row =
        |c: usize, y: usize| &decoded.data()[(c * whole + start + y) * whole + start..][..side];
    let data = (0..3)
        .flat_map(|c| (0..side).flat_map(move |y| row(c, y)))
        .copied()
        .collect();
    Array::new([3, side, side], data)
}

/// Normal deviates that follow from a name (Box and Muller's).
fn normals(name: &str, count: usize) -> Vec<f32> {
    let part = |part: &str| unit(&format!("{name}.{part}"), count).collect::<Vec<f32>>();
    let normal = |(radius, angle): (f32, f32)| {
        let share = f64::midpoint(f64::from(radius), 1.0).clamp(1e-9, 1.0);
        ((-2.0 * share.ln()).sqrt() * (std::f64::consts::PI * f64::from(angle)).cos()) as f32
    };
    let pairs = part("radius").into_iter().zip(part("angle"));
    pairs.map(normal).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speckle::speckle;

    /// Eight pixels become the mean of each colour; further channels are empty.
    fn encode(image: Array) -> Result<Array> {
        let [_, side, _] = image.dims("image")?;
        let cells = side / 8;
        let mean = |c: usize, y: usize, x: usize| {
            let pixel = |i: usize| image.data()[(c * side + 8 * y + i / 8) * side + 8 * x + i % 8];
            (0..64).map(pixel).sum::<f32>() / 64.0
        };
        let at = |i: usize| match i / (cells * cells) {
            c @ 0..3 => mean(c, i / cells % cells, i % cells),
            _ => 0.0,
        };
        Array::new(
            [1, 16, 1, cells, cells],
            (0..16 * cells * cells).map(at).collect(),
        )
    }

    /// Cells as squares of one colour, with a dot of the cell's own sign at their corners.
    fn decode(latent: &Array, dots: f32) -> Array {
        let at = |i: usize| {
            let (c, y, x) = (i / (512 * 512), i / 512 % 512, i % 512);
            let cell = |c: usize| latent.data()[(c * SIDE + y / 8) * SIDE + x / 8];
            let is_corner = y % 8 == 0 && x % 8 == 0;
            // Smooth but for the dots, which take their sign from a channel that no colour reads.
            0.01 * cell(c)
                + if is_corner {
                    dots * cell(7).signum()
                } else {
                    0.0
                }
        };
        Array::new([3, 512, 512], (0..3 * 512 * 512).map(at).collect()).unwrap()
    }

    #[test]
    fn normals_are_normal_and_the_same_each_time() {
        let values = normals("x", 100_000);
        let n = values.len() as f64;
        let moment = |k: i32| values.iter().map(|v| f64::from(*v).powi(k)).sum::<f64>() / n;
        assert!(moment(1).abs() < 0.02, "{}", moment(1));
        assert!((moment(2) - 1.0).abs() < 0.02, "{}", moment(2));
        assert!((moment(4) - 3.0).abs() < 0.2, "{}", moment(4));
        assert!(values.iter().all(|v| v.is_finite()));
        assert_eq!(values, normals("x", 100_000));
    }

    #[test]
    fn probes_are_what_their_names_say() {
        let config = VaeConfig::default();
        let all = probes(&config, encode).unwrap();
        let names: Vec<&str> = all.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "noise 0.05",
                "noise 0.1",
                "noise 0.2",
                "noise 0.3",
                "slope",
                "slope, noise 0.1",
                "softened 0.5",
                "softened 1"
            ]
        );
        let deviation = |i: usize| {
            let data = all[i].latent.data();
            let plane = &data[7 * SIDE * SIDE..][..SIDE * SIDE];
            let mean = plane.iter().sum::<f32>() / plane.len() as f32;
            (plane.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / plane.len() as f32).sqrt()
        };
        for (i, noise) in [(0, 0.05), (1, 0.1), (2, 0.2), (3, 0.3), (5, 0.1)] {
            assert!((deviation(i) - noise).abs() < 0.05 * noise, "{i}");
        }
        // Red of the slope goes from the sky's to the skin's.
        let red = &all[4].latent.data()[..SIDE * SIDE];
        assert!((red[0] - from_u8(128)).abs() < 1e-3, "{}", red[0]);
        assert!((red[SIDE * SIDE - 1] - from_u8(208)).abs() < 1e-3);
        // Blurs keep the mean, and the wider one leaves less.
        let energy = |i: usize| {
            let plane = &all[i].latent.data()[..SIDE * SIDE];
            let mean = plane.iter().sum::<f32>() / plane.len() as f32;
            assert!((mean - from_u8(128)).abs() < 1e-3, "{mean}");
            plane.iter().map(|v| (v - mean).powi(2)).sum::<f32>()
        };
        assert!(energy(7) < 0.5 * energy(6) && energy(7) > 0.0);
    }

    #[test]
    fn dots_of_any_sign_are_found_in_the_middle_of_probes() {
        let config = VaeConfig::default();
        let all = probes(&config, encode).unwrap();
        let probe = &all[3];
        let score = |dots: f32| {
            probe_score(&config, probe, &decode(&probe.latent, dots))
                .unwrap()
                .speckle
        };
        let with = score(0.03);
        assert!(
            with.lattice_energy_db > 10.0 && with.lattice_period == 8 && with.speckle_db < 1.0,
            "{with:?}"
        );
        assert!(probe_score(&config, probe, &Array::zeros([3, 512, 504])).is_err());
    }

    #[test]
    fn sums_are_the_mean_and_the_highest() {
        let speckle = speckle(&Array::zeros([3, 128, 128]), 1).unwrap();
        let of = |speckle_db, lattice_energy_db| ProbeScore {
            probe: "x".into(),
            speckle: Speckle {
                speckle_db,
                lattice_energy_db,
                ..speckle.clone()
            },
        };
        let scores = [of(1.0, 8.0), of(3.0, 2.0)];
        let values = |s: Scores| [s.speckle_db, s.lattice_energy_db];
        assert_eq!(values(Scores::mean(&scores)), [2.0, 5.0]);
        assert_eq!(values(Scores::highest(&scores)), [3.0, 8.0]);
    }
}
