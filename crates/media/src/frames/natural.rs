//! The order in which people number files: `frame_2` before `frame_10`.

use std::cmp::Ordering;
use std::path::Path;

/// Compares file names, runs of digits by their value; names that differ in leading zeros only,
/// byte by byte.
pub(super) fn compare(a: &Path, b: &Path) -> Ordering {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_os_string();
    let (a, b) = (name(a), name(b));
    let parts = compare_text(&a.to_string_lossy(), &b.to_string_lossy());
    parts.then_with(|| a.cmp(&b))
}

fn compare_text(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() && !b.is_empty() {
        let (part_a, part_b);
        (part_a, a) = split_part(a);
        (part_b, b) = split_part(b);
        let order = match (is_number(part_a), is_number(part_b)) {
            (true, true) => compare_numbers(part_a, part_b),
            _ => part_a.cmp(part_b),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    a.len().cmp(&b.len())
}

/// The digits that the text begins with, or all that precedes the first digit.
fn split_part(text: &str) -> (&str, &str) {
    let wanted = is_number(text);
    let end = text.find(|c: char| c.is_ascii_digit() != wanted);
    text.split_at(end.unwrap_or(text.len()))
}

fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

/// Numbers of any length: apart from leading zeros, the longer one is the larger.
fn compare_numbers(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_by_value() {
        let ordered = [
            "a",
            "a1.png",
            "a02.png",
            "a2.png",
            "a10.png",
            "a10b3.png",
            "a10b21.png",
            "a99999999999999999999998",
            "a99999999999999999999999",
            "a100000000000000000000000",
            "b",
            "ü1",
            "ü2",
        ];
        for (i, a) in ordered.iter().enumerate() {
            for (j, b) in ordered.iter().enumerate() {
                let (a, b) = (Path::new(a), Path::new(b));
                assert_eq!(compare(a, b), i.cmp(&j), "{a:?} {b:?}");
            }
        }
    }
}
