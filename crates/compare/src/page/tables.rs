//! The tables beside the pictures: numbers and files of each row, means over all rows.

use maud::{Markup, html};

use super::{Page, Row, Shown};
use crate::numbers::{Better, NUMBERS, Number, Of};

/// A table of numbers and one of files for every row; the scripts show one row's at a time.
pub(super) fn rows(page: &Page) -> Markup {
    html! {
        @for (i, row) in page.rows.iter().enumerate() {
            section.facts data-row=(i) hidden[i > 0] {
                @if has_numbers(row) { (numbers(page, row)) }
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
    let columns: Vec<Means> = (0..page.names.len()).map(|column| Means::of(page, column)).collect();
    let is_whole = |c: &&Means| !c.is_reduced && c.rows == page.rows.len();
    let own: Vec<&[Option<f64>]> = columns.iter().filter(is_whole).map(|c| c.numbers.as_slice()).collect();
    let best = best(&own);
    let has_means = page.rows.len() > 1 && columns.iter().any(|c| c.numbers.iter().any(Option::is_some));
    html! {
        @if has_means {
            section.means {
                h2 { "Means of " (page.rows.len()) " rows" }
                div.scrolls {
                    table { (heading()) tbody {
                        @for (name, means) in page.names.iter().zip(&columns) {
                            tr {
                                th scope="row" { (name) @if means.rows < page.rows.len() { " (" (means.rows) ")" } }
                                (means.cells(&best))
                            }
                        }
                    } }
                }
            }
        }
    }
}

/// Means of the numbers of one name.
struct Means {
    numbers: Vec<Option<f64>>,
    /// How many rows have all numbers that any of them has.
    rows: usize,
    /// Whether a reference was reduced for any.
    is_reduced: bool,
}

impl Means {
    fn of(page: &Page, column: usize) -> Self {
        let pictures: Vec<&Shown> = page.rows.iter().filter_map(|row| row.pictures[column].as_ref()).collect();
        let has = |n: usize| pictures.iter().filter(move |p| p.numbers[n].is_some());
        let numbers = (0..NUMBERS.len()).map(|n| mean(pictures.iter().filter_map(|p| p.numbers[n]))).collect();
        let rows = (0..NUMBERS.len()).map(|n| has(n).count()).filter(|&count| count > 0).min().unwrap_or(0);
        Self { numbers, rows, is_reduced: pictures.iter().any(|p| p.reduced_to.is_some()) }
    }

    fn cells(&self, best: &[Option<f64>]) -> Markup {
        let (best, mark) = if self.is_reduced { (&[][..], "¹") } else { (best, "") };
        cells(&self.numbers, best, mark)
    }
}

/// None of nothing; infinite if one is.
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn present(row: &Row) -> impl Iterator<Item = (usize, &Shown)> {
    row.pictures.iter().enumerate().filter_map(|(i, p)| Some((i, p.as_ref()?)))
}

fn has_numbers(row: &Row) -> bool {
    present(row).any(|(_, shown)| shown.numbers.iter().any(Option::is_some))
}

fn numbers(page: &Page, row: &Row) -> Markup {
    // Numbers against a reduced reference are of another kind; none of them is called the best.
    let own: Vec<&[Option<f64>]> =
        present(row).filter(|(_, s)| s.reduced_to.is_none()).map(|(_, s)| s.numbers.as_slice()).collect();
    let best = best(&own);
    let reference = &page.names[page.reference];
    html! {
        h2 { "Numbers" }
        div.scrolls {
            table { (heading()) tbody {
                @for (column, shown) in present(row) {
                    tr data-of=(column) {
                        th scope="row" { (choose(column, &page.names[column])) }
                        @match shown.reduced_to {
                            Some(_) => (cells(&shown.numbers, &[], "¹")),
                            None => (cells(&shown.numbers, &best, "")),
                        }
                    }
                }
            } }
        }
        p.hint {
            @if row.pictures[page.reference].is_some() { "Against " b { (reference) } "." } @else { "This row has no " b { (reference) } " to measure against." }
            @if present(row).any(|(_, s)| s.reduced_to.is_some()) { " ¹ Against " (reference) " reduced to the picture's size." }
        }
    }
}

fn heading() -> Markup {
    html! {
        thead { tr {
            th scope="col" { "Picture" }
            @for number in NUMBERS {
                th scope="col" title=(number.about) {
                    (number.name)
                    @if !number.unit.is_empty() { ", " (number.unit) }
                    @match number.better { Better::Higher => " ↑", Better::Lower => " ↓", Better::Neither => "" }
                }
            }
        } }
    }
}

fn cells(numbers: &[Option<f64>], best: &[Option<f64>], mark: &str) -> Markup {
    html! {
        @for (i, (value, number)) in numbers.iter().zip(NUMBERS).enumerate() {
            td.best[value.is_some() && best.get(i) == Some(value)] {
                @match value { Some(value) => (shown(*value, number)), None => "–" }
                @if value.is_some() && matches!(number.of, Of::Pair(_)) { (mark) }
            }
        }
    }
}

fn shown(value: f64, number: &Number) -> String {
    if value.is_infinite() { "∞".into() } else { format!("{value:.*}", number.digits) }
}

/// The best of each column, where several have it and one direction is better.
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
                div.hint-line { (width) " × " (height) " · " (bytes(shown.length)) " · " (shown.format) }
                @for note in &shown.notes { p.note { (note) } }
            }
        }
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
        let rows = [vec![Some(30.0), Some(0.5), Some(9.0)], vec![Some(31.0), None, Some(1.0)]];
        assert_eq!(best(&rows.each_ref().map(Vec::as_slice)), [Some(31.0), None, None]);
        assert_eq!(shown(f64::INFINITY, &NUMBERS[0]), "∞");
        assert_eq!(shown(31.456, &NUMBERS[0]), "31.46");
        assert_eq!([bytes(950), bytes(123_456), bytes(12_345_678)], ["950 B", "123 kB", "12.3 MB"]);
    }
}
