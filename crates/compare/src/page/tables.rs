//! The tables next to the images: numbers and files of each row, means over all rows.

use maud::{Markup, html};

use super::report::charted;
use super::{ClipFacts, Page, Row, Shown, Timeline};
use vae2x_measure::clip::Worst;
use vae2x_measure::numbers::{Better, NUMBERS, Number, Of, mean};

/// A table of numbers and one of files for every row; the scripts show one row's at a time.
pub(super) fn rows(page: &Page) -> Markup {
    let columns = Columns::of(page);
    html! {
        @for (i, row) in page.rows.iter().enumerate() {
            section.facts data-row=(i) hidden[i > 0] {
                @if !columns.0.is_empty() { (numbers(page, row, &columns)) }
                @if row.timeline.as_ref().is_some_and(|t| t.numbers.len() > 1) { (frames(row)) }
                h2 { "Files" }
                table.files {
                    tbody {
                        @for (column, shown) in present(row) { (file(&page.names[column], column, shown)) }
                    }
                }
            }
        }
    }
}

/// Each name's means over the rows that have its numbers.
pub(super) fn means(page: &Page) -> Markup {
    let columns = Columns::of(page);
    let means: Vec<Means> = (0..page.names.len())
        .map(|name| Means::of(page, name))
        .collect();
    // Means over other rows are of another kind.
    let whole: Vec<&[Option<f64>]> = means
        .iter()
        .filter(|m| m.rows == page.rows.len())
        .map(|m| m.numbers.as_slice())
        .collect();
    let best = best(&whole);
    html! {
        @if page.rows.len() > 1 && !columns.0.is_empty() {
            section.means {
                h2 { "Means of " (page.rows.len()) " rows" }
                div.scrolls {
                    table { (columns.heading()) tbody {
                        @for (name, means) in page.names.iter().zip(&means) {
                            tr {
                                th scope="row" { (name) @if means.rows < page.rows.len() { " (" (means.rows) ")" } }
                                (columns.cells(&means.numbers, &best, means.is_resampled))
                            }
                        }
                    } }
                }
                @if means.iter().any(|m| m.is_resampled) { p.hint { "¹ Enlarged or reduced to the reference's size (Lanczos)." } }
            }
        }
    }
}

/// Means of the numbers of one name.
struct Means {
    numbers: Vec<Option<f64>>,
    /// How many rows have all numbers that any of them has.
    rows: usize,
    /// Whether an image was brought to its reference's size for any.
    is_resampled: bool,
}

impl Means {
    fn of(page: &Page, name: usize) -> Self {
        let pictures: Vec<&Shown> = page
            .rows
            .iter()
            .filter_map(|row| row.pictures[name].as_ref())
            .collect();
        let has = |n: usize| pictures.iter().filter(move |p| p.numbers[n].is_some());
        let numbers = (0..NUMBERS.len())
            .map(|n| mean(pictures.iter().filter_map(|p| p.numbers[n])))
            .collect();
        let rows = (0..NUMBERS.len())
            .map(|n| has(n).count())
            .filter(|&count| count > 0)
            .min()
            .unwrap_or(0);
        Self {
            numbers,
            rows,
            is_resampled: pictures.iter().any(|p| p.is_resampled),
        }
    }
}

fn present(row: &Row) -> impl Iterator<Item = (usize, &Shown)> {
    row.pictures
        .iter()
        .enumerate()
        .filter_map(|(i, p)| Some((i, p.as_ref()?)))
}

fn numbers(page: &Page, row: &Row, columns: &Columns) -> Markup {
    let best = best(
        &present(row)
            .map(|(_, shown)| shown.numbers.as_slice())
            .collect::<Vec<_>>(),
    );
    let reference = &page.names[page.reference];
    html! {
        h2 { "Numbers" }
        div.scrolls {
            table { (columns.heading()) tbody {
                @for (column, shown) in present(row) {
                    tr data-of=(column) {
                        th scope="row" { (choose(column, &page.names[column])) }
                        (columns.cells(&shown.numbers, &best, shown.is_resampled))
                    }
                    @if let (Some(clip), Some(timeline)) = (&shown.clip, &row.timeline) {
                        @if clip.worst.iter().any(Option::is_some) { (columns.worst(column, clip, timeline)) }
                    }
                }
            } }
        }
        p.hint {
            @if row.timeline.is_some() { "Means over frames; below, the worst frame. " }
            @if row.pictures[page.reference].is_some() { "Against " b { (reference) } "." }
            @else { "This row has no " b { (reference) } " to measure against." }
            @if present(row).any(|(_, s)| s.is_resampled) { " ¹ Enlarged or reduced to its size (Lanczos)." }
        }
    }
}

/// Indices of the numbers that any image of the page has.
struct Columns(Vec<usize>);

impl Columns {
    fn of(page: &Page) -> Self {
        let has = |n: &usize| {
            page.rows
                .iter()
                .flat_map(present)
                .any(|(_, shown)| shown.numbers[*n].is_some())
        };
        Self((0..NUMBERS.len()).filter(has).collect())
    }

    fn heading(&self) -> Markup {
        html! {
            thead { tr {
                th scope="col" { "Picture" }
                @for number in self.0.iter().map(|&n| &NUMBERS[n]) {
                    th scope="col" title=(number.about) {
                        (number.name)
                        @if !number.unit.is_empty() { ", " (number.unit) }
                        @match number.better { Better::Higher => " ↑", Better::Lower => " ↓", Better::Neither => "" }
                    }
                }
            } }
        }
    }

    /// The worst frames, each of which can be gone to.
    fn worst(&self, column: usize, clip: &ClipFacts, timeline: &Timeline) -> Markup {
        html! {
            tr.worst data-of=(column) {
                th scope="row" { "worst" }
                @for &n in &self.0 {
                    td {
                        @if let Some(Worst { at, value }) = clip.worst[n] {
                            (shown(value, &NUMBERS[n]))
                            small { button type="button" data-frame=(at) data-image=(column) { "frame " (timeline.numbers[at]) } }
                        }
                    }
                }
            }
        }
    }

    fn cells(&self, numbers: &[Option<f64>], best: &[Option<f64>], is_resampled: bool) -> Markup {
        html! {
            @for &n in &self.0 {
                td.best[numbers[n].is_some() && best[n] == numbers[n]] {
                    @match numbers[n] {
                        Some(value) => {
                            (shown(value, &NUMBERS[n]))
                            // Only these are of the image as it is.
                            @if is_resampled && !matches!(NUMBERS[n].of, Of::Scaled(_)) { "¹" }
                        }
                        None => "–",
                    }
                }
            }
        }
    }
}

/// The place of the chart of the row's numbers by frame.
fn frames(row: &Row) -> Markup {
    let charted: Vec<usize> = charted(row).collect();
    html! {
        @if !charted.is_empty() {
            figure.frames {
                div.heading {
                    select aria-label="Number by frame" {
                        @for (i, &n) in charted.iter().enumerate() {
                            option value=(i) {
                                (NUMBERS[n].name) @if !NUMBERS[n].unit.is_empty() { ", " (NUMBERS[n].unit) } " by frame"
                            }
                        }
                    }
                    div.legend {}
                }
                div.graph { div.ends { span.high {} span.low {} } div.plot {} }
            }
        }
    }
}

fn shown(value: f64, number: &Number) -> String {
    if value.is_infinite() {
        "∞".into()
    } else {
        format!("{value:.*}", number.digits)
    }
}

/// The best of each number, where several have it and one direction is better.
fn best(rows: &[&[Option<f64>]]) -> Vec<Option<f64>> {
    let of = |(i, number): (usize, &Number)| {
        let values: Vec<f64> = rows.iter().filter_map(|numbers| numbers[i]).collect();
        match number.better {
            _ if values.len() < 2 => None,
            Better::Higher => values.into_iter().reduce(f64::max),
            Better::Lower => values.into_iter().reduce(f64::min),
            Better::Neither => None,
        }
    };
    NUMBERS.iter().enumerate().map(of).collect()
}

fn choose(column: usize, name: &str) -> Markup {
    html! { button type="button" data-image=(column) { (name) } }
}

fn file(name: &str, column: usize, shown: &Shown) -> Markup {
    let [height, width] = shown.size;
    html! {
        tr data-of=(column) {
            th scope="row" { (choose(column, name)) }
            td {
                div { (shown.file) }
                div.hint-line {
                    (width) " × " (height)
                    @if let Some(clip) = &shown.clip { " · " (of_clip(clip)) }
                    " · " (bytes(shown.length)) " · " (shown.format)
                }
                @for note in &shown.notes { p.note { (note) } }
            }
        }
    }
}

/// Frames, and their rate if the file has one.
fn of_clip(clip: &ClipFacts) -> String {
    let frames = match clip.frames {
        1 => "1 frame".into(),
        n => format!("{n} frames"),
    };
    match clip.rate {
        Some(rate) => {
            let rate = (rate * 1000.0).round() / 1000.0;
            format!("{frames} at {rate} per second")
        }
        None => frames,
    }
}

fn bytes(length: u64) -> String {
    match length {
        0..10_000 => format!("{length} B"),
        10_000..10_000_000 => format!("{} kB", length / 1000),
        _ => format!("{:.1} MB", length as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_needs_a_rival_and_a_direction() {
        let row = |psnr, sharpness| -> Vec<Option<f64>> {
            let value = |number: &Number| match number.key {
                "psnr" => psnr,
                "sharpness" => sharpness,
                _ => None,
            };
            NUMBERS.iter().map(value).collect()
        };
        let rows = [row(Some(30.0), Some(9.0)), row(Some(31.0), Some(1.0))];
        assert_eq!(
            best(&rows.each_ref().map(Vec::as_slice)),
            row(Some(31.0), None)
        );
        assert_eq!(best(&[rows[0].as_slice()]), row(None, None));
        assert_eq!(shown(f64::INFINITY, &NUMBERS[0]), "∞");
        assert_eq!(shown(31.456, &NUMBERS[0]), "31.46");
        assert_eq!(
            [bytes(950), bytes(123_456), bytes(12_345_678)],
            ["950 B", "123 kB", "12.3 MB"]
        );
    }
}
