//! Numbers for people and for programs; tables in plain text: the first columns to the left, numbers to the right.

use std::borrow::Cow;

use serde_json::{Value, json};

use crate::visible::visible;

/// Lines of `rows`, of which the first is the heading; `texts` columns hold words.
pub(super) fn table(rows: &[Vec<String>], texts: usize) -> Vec<String> {
    let rows: Vec<Vec<Cow<'_, str>>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| visible(cell)).collect())
        .collect();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..).map_while(width).collect();
    let cell = |(column, text): (usize, &Cow<str>)| {
        let width = widths[column];
        if column < texts {
            format!("{text:<width$}")
        } else {
            format!("{text:>width$}")
        }
    };
    let line = |row: &Vec<Cow<str>>| {
        row.iter()
            .enumerate()
            .map(cell)
            .collect::<Vec<_>>()
            .join("  ")
            .trim_end()
            .to_owned()
    };
    rows.iter().map(line).collect()
}

/// A number, or a dash.
pub(super) fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.digits$}"))
}

/// JSON has no infinity, which is the PSNR of equal images.
pub(super) fn finite_or_text(value: Option<f64>) -> Value {
    match value {
        Some(value) if value.is_infinite() => json!(value.to_string()),
        value => json!(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let rows = [["file", "dB"], ["a.png", "12.50"], ["émeu", "-"]]
            .map(|row| row.map(String::from).to_vec());
        assert_eq!(
            table(&rows, 1),
            ["file      dB", "a.png  12.50", "émeu       -"]
        );
        assert_eq!(
            (number(None, 2), number(Some(f64::INFINITY), 2)),
            ("-".into(), "inf".into())
        );
        assert!(table(&[], 1).is_empty());
        let rows = ["a\u{202e}", "b"].map(|name| vec![name.into(), "1".into()]);
        assert_eq!(table(&rows, 1), ["a\\u{202e}  1", "b          1"]);
    }
}
