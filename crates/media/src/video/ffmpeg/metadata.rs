//! ComfyUI's texts in FFMETADATA, the file of keys and values that FFmpeg reads and writes.

use crate::video::COMFY_KEYS as KEYS;

/// The file of these texts.
pub(super) fn of(texts: &[(String, String)]) -> String {
    let mut file = String::from(";FFMETADATA1\n");
    for (key, value) in texts {
        file += &escaped(key);
        file.push('=');
        file += &escaped(value);
        file.push('\n');
    }
    file
}

/// What the format gives a meaning has a backslash in front.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '=' | ';' | '#' | '\\' | '\n') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// `prompt` and `workflow` of a file, from the part that is about all of it.
pub(super) fn comfy_texts(file: &str) -> Vec<(String, String)> {
    let mut texts = Vec::new();
    let mut rest = file;
    while !rest.is_empty() && !rest.starts_with('[') {
        let (line, after) = logical_line(rest);
        rest = after;
        let (key, value) = halves(line);
        if KEYS.iter().any(|known| key.eq_ignore_ascii_case(known)) {
            texts.push((key.to_ascii_lowercase(), value));
        }
    }
    // Matroska turns them round.
    texts.sort();
    texts
}

/// The text up to a line break that is not escaped, and what follows it.
fn logical_line(text: &str) -> (&str, &str) {
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '\n' if !is_escaped => return (&text[..at], &text[at + 1..]),
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    (text, "")
}

/// Key and value, without backslashes.
fn halves(line: &str) -> (String, String) {
    let mut halves = [String::new(), String::new()];
    let (mut at, mut chars) = (0, line.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' => halves[at].extend(chars.next()),
            '=' if at == 0 => at = 1,
            c => halves[at].push(c),
        }
    }
    let [key, value] = halves;
    (key, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn other_keys_and_other_parts_are_left_out() {
        let file = ";FFMETADATA1\nencoder=Lavf\nPROMPT={\"a\": 1}\nworkflow=x\\\ny\\=\\;\\#\\\\\n[CHAPTER]\nprompt=no\n";
        let found = comfy_texts(file);
        let text = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            found,
            [text("prompt", "{\"a\": 1}"), text("workflow", "x\ny=;#\\")]
        );
    }

    proptest! {
        #[test]
        fn any_file_is_read(file in "[a-z=;#\\\\\\[\n\u{e4}]{0,60}") {
            for (key, _) in comfy_texts(&file) {
                prop_assert!(KEYS.contains(&&*key));
            }
        }

        #[test]
        fn texts_survive(prompt in "[ -~\n\u{e4}\u{1f600}]{0,40}", workflow in "[=;#\\\\\n{}\"a]{0,40}") {
            let texts = vec![("prompt".to_owned(), prompt), ("workflow".to_owned(), workflow)];
            prop_assert_eq!(comfy_texts(&of(&texts)), texts);
        }
    }
}
