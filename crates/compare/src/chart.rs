//! Charts of a few lines over one axis, as SVG for pages and as pixels for images.
//!
//! A chart becomes a list of marks in a plane of fixed size; both kinds of output draw the same marks.

use maud::{Markup, html};
use vae2x_core::{Array, Result};
use vae2x_media::canvas::{Canvas, Pen};

/// Height and width of a chart.
pub const SIZE: [f64; 2] = [420.0, 760.0];
/// Around the plot: top, right, bottom, left.
const MARGIN: [f64; 4] = [44.0, 150.0, 56.0, 84.0];
/// Marks on an axis, about.
const TICKS: f64 = 6.0;
const GREY: [u8; 3] = [0xD8, 0xD8, 0xD8];
const BLACK: [u8; 3] = [0x20, 0x20, 0x20];
/// Colours that people with any kind of sight tell apart (Okabe, Ito, "Color universal design", 2008).
const COLOURS: [[u8; 3]; 7] = [
    [0x20, 0x20, 0x20],
    [0x00, 0x72, 0xB2],
    [0xD5, 0x5E, 0x00],
    [0x00, 0x9E, 0x73],
    [0xCC, 0x79, 0xA7],
    [0xE6, 0x9F, 0x00],
    [0x56, 0xB4, 0xE9],
];

/// A line: one value at each place along the axis; there is a gap where one is not finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Heights.
    pub values: Vec<f64>,
}

/// Lines with axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// Title.
    pub title: String,
    /// Title of the horizontal axis.
    pub x_label: String,
    /// Title of the vertical axis.
    pub y_label: String,
    /// The axis from its left end to its right.
    pub x_range: [f64; 2],
    /// Places of the values.
    pub x: Vec<f64>,
    /// Drawn in their order.
    pub series: Vec<Series>,
}

/// A mark; points are (y, x).
enum Mark {
    Line {
        points: Vec<[f64; 2]>,
        colour: [u8; 3],
        width: usize,
    },
    Text {
        at: [f64; 2],
        text: String,
        anchor: Anchor,
    },
}

/// Which point of a text its place is, on the base line.
#[derive(Clone, Copy)]
enum Anchor {
    Start,
    Middle,
    End,
}

/// Round numbers at even distances inside a range.
fn ticks([low, high]: [f64; 2]) -> Vec<f64> {
    let rough = (high - low) / TICKS;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|m| m * power)
        .find(|s| *s >= rough)
        .unwrap_or(rough);
    let first = (low / step).ceil() as i64;
    (first..)
        .map(|i| i as f64 * step)
        .take_while(|v| *v <= high + step * 1e-9)
        .collect()
}

impl Chart {
    /// Lowest and highest height, with some room.
    fn y_range(&self) -> [f64; 2] {
        let values = self
            .series
            .iter()
            .flat_map(|s| &s.values)
            .copied()
            .filter(|v| v.is_finite());
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| {
            (l.min(v), h.max(v))
        });
        if low > high {
            return [0.0, 1.0];
        }
        let room = 0.05 * (high - low).max(1.0);
        [low - room, high + room]
    }

    fn marks(&self) -> Vec<Mark> {
        let [top, right, bottom, left] = MARGIN;
        let [height, width] = SIZE;
        let (y_range, x_range) = (self.y_range(), self.x_range);
        let y_at = |v: f64| {
            height - bottom - (v - y_range[0]) / (y_range[1] - y_range[0]) * (height - bottom - top)
        };
        let x_at =
            |v: f64| left + (v - x_range[0]) / (x_range[1] - x_range[0]) * (width - right - left);
        let rule = |from, to| Mark::Line {
            points: vec![from, to],
            colour: GREY,
            width: 1,
        };
        let text = |at, text: String, anchor| Mark::Text { at, text, anchor };
        let mut marks = Vec::new();
        for tick in ticks(y_range) {
            let y = y_at(tick);
            marks.push(rule([y, left], [y, width - right]));
            marks.push(text([y + 4.0, left - 8.0], short(tick), Anchor::End));
        }
        for tick in ticks(x_range) {
            let x = x_at(tick);
            marks.push(rule([top, x], [height - bottom, x]));
            marks.push(text(
                [height - bottom + 18.0, x],
                short(tick),
                Anchor::Middle,
            ));
        }
        for (i, series) in self.series.iter().enumerate() {
            let colour = COLOURS[i % COLOURS.len()];
            let places: Vec<_> = self
                .x
                .iter()
                .zip(&series.values)
                .map(|(&x, &y)| [y_at(y), x_at(x)])
                .collect();
            let whole = places
                .split(|[y, _]| !y.is_finite())
                .filter(|run| !run.is_empty());
            marks.extend(whole.map(|run| Mark::Line {
                points: run.to_vec(),
                colour,
                width: 2,
            }));
            let (y, x) = (top + 12.0 + 22.0 * i as f64, width - right + 12.0);
            marks.push(Mark::Line {
                points: vec![[y, x], [y, x + 22.0]],
                colour,
                width: 3,
            });
            marks.push(text(
                [y + 4.0, x + 30.0],
                series.name.clone(),
                Anchor::Start,
            ));
        }
        marks.push(text([24.0, left], self.title.clone(), Anchor::Start));
        marks.push(text(
            [height - 14.0, (left + width - right) / 2.0],
            self.x_label.clone(),
            Anchor::Middle,
        ));
        marks.push(text(
            [top - 8.0, left - 8.0],
            self.y_label.clone(),
            Anchor::End,
        ));
        marks
    }

    /// For a page.
    pub fn svg(&self) -> Markup {
        let [height, width] = SIZE;
        html! {
            svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {width} {height}")) role="img" aria-label=(self.title) {
                @for mark in self.marks() {
                    @match mark {
                        Mark::Line { points, colour, width } => {
                            polyline fill="none" stroke=(hex(colour)) stroke-width=(width) stroke-linejoin="round"
                                points=(points.iter().map(|[y, x]| format!("{x:.1},{y:.1} ")).collect::<String>().trim_end()) {}
                        }
                        Mark::Text { at: [y, x], text, anchor } => {
                            text x=(format!("{x:.1}")) y=(format!("{y:.1}")) text-anchor=(name(anchor)) fill=(hex(BLACK)) { (text) }
                        }
                    }
                }
            }
        }
    }

    /// As pixels `[3, H, W]` in [-1, 1], `scale` of them per unit.
    ///
    /// # Errors
    /// None.
    pub fn picture(&self, scale: usize) -> Result<Array> {
        let at = |[y, x]: [f64; 2]| [y * scale as f64, x * scale as f64];
        let pen = |colour: [u8; 3], width: usize| Pen {
            colour: colour.map(vae2x_media::pixels::from_u8),
            width: width * scale,
        };
        let mut canvas = Canvas::new(SIZE.map(|n| n as usize * scale), 1.0);
        for mark in self.marks() {
            match mark {
                Mark::Line {
                    points,
                    colour,
                    width,
                } => {
                    points
                        .windows(2)
                        .for_each(|ends| canvas.line(at(ends[0]), at(ends[1]), pen(colour, width)));
                }
                Mark::Text {
                    at: place,
                    text,
                    anchor,
                } => {
                    let pen = pen(BLACK, 1);
                    let (length, [y, x]) =
                        ((text.chars().count() * pen.letter()) as f64, at(place));
                    let share = match anchor {
                        Anchor::Start => 0.0,
                        Anchor::Middle => 0.5,
                        Anchor::End => 1.0,
                    };
                    canvas.write(
                        &text,
                        [
                            (y - pen.letter() as f64).round(),
                            (x - share * length).round(),
                        ],
                        pen,
                    );
                }
            }
        }
        canvas.into_array()
    }
}

fn name(anchor: Anchor) -> &'static str {
    match anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    }
}

fn hex([r, g, b]: [u8; 3]) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// At most two digits after the point, without trailing zeros.
fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" {
        "0".into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(values: &[f64]) -> Chart {
        let series = |name: &str, scale: f64| Series {
            name: name.into(),
            values: values.iter().map(|v| v * scale).collect(),
        };
        Chart {
            title: "A & B".into(),
            x_label: "place".into(),
            y_label: "dB".into(),
            x_range: [0.0, 0.5],
            x: (0..values.len())
                .map(|i| 0.5 * i as f64 / values.len() as f64)
                .collect(),
            series: vec![series("one", 1.0), series("<two>", 0.5)],
        }
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(
            ticks([0.0, 0.5]),
            [0.0, 0.1, 0.2, 0.30000000000000004, 0.4, 0.5]
        );
        assert_eq!(ticks([-31.0, 12.0]), [-30.0, -20.0, -10.0, 0.0, 10.0]);
    }

    #[test]
    fn gaps_break_lines_and_names_are_escaped() {
        let svg = chart(&[1.0, 2.0, f64::NAN, 4.0, 3.0]).svg().into_string();
        let lines = svg.matches(r#"stroke-width="2""#).count();
        assert_eq!(lines, 4, "two parts for each of two series");
        assert!(
            svg.contains("A &amp; B") && svg.contains("&lt;two&gt;") && !svg.contains("NaN"),
            "{svg}"
        );
    }

    #[test]
    fn pixels_show_the_colours_of_the_lines() {
        let picture = chart(&[1.0, 2.0, 4.0]).picture(1).unwrap();
        let [_, h, w] = picture.dims("chart").unwrap();
        assert_eq!([h as f64, w as f64], SIZE);
        let blue = COLOURS[1].map(vae2x_media::pixels::from_u8);
        let plane = h * w;
        let is_near =
            |i: &usize| (0..3).all(|c| (picture.data()[c * plane + i] - blue[c]).abs() < 0.4);
        let count = (0..plane).filter(is_near).count();
        assert!(count > 100, "{count}");
        assert!(chart(&[f64::NAN]).picture(1).is_ok());
    }
}
