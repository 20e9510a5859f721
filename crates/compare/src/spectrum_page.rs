//! Mean spectra of sets of latents side by side: as a self-contained page, as an image, and as numbers.
//!
//! Powers are averaged over a set's latents before they are compared, so that the ratio of two sets is that of their whole power.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use vae2x_core::{Array, Result};

use crate::chart::{Chart, Series};
use vae2x_measure::spectrum::{decibels, radial_power};

/// Cycles per cell at the end of the last ring.
const FINEST: f64 = 0.5;
/// Pixels of the image per unit of a chart.
const SCALE: usize = 2;

/// Nothing is loaded and no script runs.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'";
const STYLE: &str =
    "body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#202020}
svg{width:100%;height:auto;font:12px system-ui,sans-serif}table{border-collapse:collapse;margin:1rem 0}
th,td{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #d8d8d8;font-variant-numeric:tabular-nums}";

/// The mean spectrum of a set, filled latent by latent.
#[derive(Clone, Debug, PartialEq)]
pub struct Mean {
    /// The set's name.
    pub name: String,
    latents: usize,
    /// Sum and number of the latents that have a frequency in the ring.
    rings: Vec<(f64, usize)>,
}

impl Mean {
    /// An empty mean.
    pub fn new(name: impl Into<String>, bands: usize) -> Self {
        Self {
            name: name.into(),
            latents: 0,
            rings: vec![(0.0, 0); bands],
        }
    }

    /// Adds every frame of a normalized latent.
    ///
    /// # Shapes
    /// `[C, h, w]` or `[C, T, h, w]`
    ///
    /// # Errors
    /// As [`radial_power`].
    pub fn add(&mut self, latent: &Array) -> Result<()> {
        let frames = match *latent.shape() {
            [c, t, h, w] => (0..t)
                .map(|i| latent.narrow1(i..i + 1).reshape([c, h, w]))
                .collect::<Result<Vec<_>>>()?,
            _ => vec![latent.clone()],
        };
        for frame in &frames {
            let powers = radial_power(frame, self.rings.len())?;
            for ((sum, count), power) in self.rings.iter_mut().zip(powers) {
                if !power.is_nan() {
                    *sum += power;
                    *count += 1;
                }
            }
            self.latents += 1;
        }
        Ok(())
    }

    /// Mean power per ring; `NaN` where no latent has a frequency.
    pub fn power(&self) -> Vec<f64> {
        self.rings
            .iter()
            .map(|(sum, count)| sum / *count as f64)
            .collect()
    }

    /// Latents and frames that were added.
    pub fn latents(&self) -> usize {
        self.latents
    }
}

/// Sets to compare; the first is what the others are compared with.
pub struct Report<'a> {
    sets: &'a [Mean],
}

impl<'a> Report<'a> {
    /// A report on sets with equally many rings.
    pub fn new(sets: &'a [Mean]) -> Self {
        Self { sets }
    }

    fn bands(&self) -> usize {
        self.sets.first().map_or(0, |set| set.rings.len())
    }

    /// Each set's power over the first's, in decibels per ring.
    pub fn ratios(&self) -> Vec<Vec<f64>> {
        let Some(first) = self.sets.first().map(Mean::power) else {
            return Vec::new();
        };
        self.sets
            .iter()
            .map(|set| decibels(&set.power(), &first))
            .collect()
    }

    fn charts(&self) -> [Chart; 2] {
        let bands = self.bands();
        let first = self.sets.first().map_or("", |set| &set.name);
        let chart = |title: String, values: Vec<Vec<f64>>| Chart {
            title,
            x_label: "cycles per latent cell".into(),
            y_label: "dB".into(),
            x_range: [0.0, FINEST],
            x: (0..bands)
                .map(|i| FINEST * (i as f64 + 0.5) / bands as f64)
                .collect(),
            series: self
                .sets
                .iter()
                .zip(values)
                .map(|(set, values)| Series {
                    name: set.name.clone(),
                    values,
                })
                .collect(),
        };
        let power = self
            .sets
            .iter()
            .map(|set| decibels(&set.power(), &vec![1.0; bands]))
            .collect();
        [
            chart("Power by fineness".into(), power),
            chart(format!("Power over that of {first}"), self.ratios()),
        ]
    }

    /// Both charts, one below the other, `[3, H, W]` in [-1, 1].
    ///
    /// # Errors
    /// None.
    pub fn picture(&self) -> Result<Array> {
        let [power, ratio] = self.charts();
        let [top, bottom] = [power.picture(SCALE)?, ratio.picture(SCALE)?];
        let [_, h, w] = top.dims("chart")?;
        Array::concat1(&[top, bottom])?.reshape([3, 2 * h, w])
    }

    /// The page.
    pub fn html(&self) -> String {
        let names = self
            .sets
            .iter()
            .map(|set| set.name.as_str())
            .collect::<Vec<_>>()
            .join(", ");
        let page: Markup = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(POLICY);
                    meta name="viewport" content="width=device-width";
                    title { "Spectra: " (names) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    h1 { "Spectra of latents" }
                    p {
                        "Mean power of normalized latents in rings of equal width, from the coarsest frequency to the finest, half a cycle "
                        "per cell. Sets: "
                        @for (i, set) in self.sets.iter().enumerate() {
                            @if i > 0 { ", " }
                            b { (set.name) } " (" (set.latents) ")"
                        }
                        "."
                    }
                    @for chart in self.charts() { (chart.svg()) }
                    (self.table())
                }
            }
        };
        page.into_string()
    }

    fn table(&self) -> Markup {
        let (bands, ratios) = (self.bands(), self.ratios());
        let width = FINEST / bands as f64;
        let number = |v: f64| {
            if v.is_finite() {
                format!("{v:.2}")
            } else {
                "–".into()
            }
        };
        html! {
            table {
                thead {
                    tr {
                        th { "cycles per cell" }
                        @for set in self.sets { th { (set.name) ", dB" } }
                        @for set in self.sets.iter().skip(1) { th { (set.name) " over " (self.sets[0].name) ", dB" } }
                    }
                }
                tbody {
                    @for band in 0..bands {
                        tr {
                            td { (format!("{:.3}–{:.3}", band as f64 * width, (band + 1) as f64 * width)) }
                            @for set in self.sets { td { (number(10.0 * set.power()[band].log10())) } }
                            @for ratio in ratios.iter().skip(1) { td { (number(ratio[band])) } }
                        }
                    }
                }
            }
        }
    }

    /// Each later set's ratios, a line of text each.
    pub fn lines(&self) -> Vec<String> {
        let first = self.sets.first().map_or("", |set| &set.name);
        let line = |(set, ratio): (&Mean, Vec<f64>)| {
            let values = ratio
                .iter()
                .map(|v| format!("{v:.2}"))
                .collect::<Vec<_>>()
                .join(" ");
            format!(
                "{} over {first}, dB from coarse to fine: {values}",
                set.name
            )
        };
        self.sets
            .iter()
            .zip(self.ratios())
            .skip(1)
            .map(line)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::SIZE;
    use vae2x_core::weights::formula;

    fn sets() -> Vec<Mean> {
        let noise = |scale: f32| {
            let values = formula::unit("noise", 2 * 3 * 16 * 16)
                .map(|v| scale * v)
                .collect();
            Array::new([2, 3, 16, 16], values).unwrap()
        };
        [("clean", 1.0), ("half", 0.5)]
            .map(|(name, scale)| {
                let mut mean = Mean::new(name, 4);
                mean.add(&noise(scale)).unwrap();
                mean
            })
            .to_vec()
    }

    #[test]
    fn half_the_amplitude_is_6_decibels_less_everywhere() {
        let sets = sets();
        assert_eq!(sets[0].latents(), 3, "frames of a clip");
        for ratio in &Report::new(&sets).ratios()[1] {
            assert!((ratio + 6.0206).abs() < 1e-3, "{ratio}");
        }
        assert!(
            Report::new(&sets).lines()[0]
                .starts_with("half over clean, dB from coarse to fine: -6.02")
        );
    }

    #[test]
    fn the_page_needs_nothing_and_holds_the_numbers() {
        let sets = sets();
        let page = Report::new(&sets).html();
        assert_eq!(page.matches("<svg").count(), 2);
        assert!(
            page.contains("-6.02") && page.contains("0.375–0.500"),
            "{page}"
        );
        assert!(
            !page.contains("http://")
                || page.matches("http://").count() == page.matches("http://www.w3.org").count()
        );
        assert!(!page.contains("src=") && !page.contains("href="));
        assert!(page.contains("default-src 'none'"));
    }

    #[test]
    fn the_picture_has_its_size() {
        let picture = Report::new(&sets()).picture().unwrap();
        assert_eq!(
            picture.shape()[1..],
            [2 * SIZE[0] as usize * SCALE, SIZE[1] as usize * SCALE]
        );
    }
}
