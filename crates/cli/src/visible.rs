//! Text on its way to a terminal: what files, names and servers bring along must not move its cursor, change its colours or
//! title, reorder or hide letters, or end a line.

use std::borrow::Cow;

/// The text in one line, with `\n`, `\x1b`, `\u{202e}` and their like instead of the characters.
pub fn visible(text: &str) -> Cow<'_, str> {
    replaced(text, |out, c| match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if c.is_ascii() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
        c => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
    })
}

/// JSON as it was, but for characters that JSON may hold in strings as they are: `\u202e` stands there instead.
pub fn visible_json(json: &str) -> Cow<'_, str> {
    replaced(json, |out, c| match c {
        // Between values; in strings it is escaped already.
        '\n' => out.push('\n'),
        c => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    })
}

fn replaced(text: &str, replace: impl Fn(&mut String, char)) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_unsafe(c) {
            true => replace(&mut out, c),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Whether a terminal obeys a character, or shows nothing where it stands: controls, the direction of text, letters without
/// width, ends of lines and paragraphs, blank letters, tags. Variation selectors and marks on letters are text.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'
                | '\u{1160}'
                | '\u{17b4}'
                | '\u{17b5}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_or_hides_is_written_out() {
        let cases = [
            ("a\x1b[31mb\x1b]0;c\x07", r"a\x1b[31mb\x1b]0;c\x07"),
            ("a\nerror: b\r\tc\0", r"a\nerror: b\r\tc\x00"),
            ("\u{7f}\u{80}\u{9b}31m", r"\x7f\u{80}\u{9b}31m"),
            ("r\u{202e}gnp.exe", r"r\u{202e}gnp.exe"),
            (
                "a\u{200b}b\u{feff}c\u{2066}d",
                r"a\u{200b}b\u{feff}c\u{2066}d",
            ),
            ("a\u{2028}b\u{2029}c\u{85}d", r"a\u{2028}b\u{2029}c\u{85}d"),
            ("\u{e0041}\u{3164}", r"\u{e0041}\u{3164}"),
        ];
        for (text, shown) in cases {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn other_text_is_as_it_was() {
        for text in [
            "C:\\photos\\ä ö ü.png",
            "漢字 かな 한글 עברית العربية ไทย",
            "a\u{308} \u{2764}\u{fe0f} \u{fffd}",
            "",
        ] {
            assert!(matches!(visible(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn json_means_what_it_meant() {
        let value =
            serde_json::json!({ "a\u{202e}\x1b\n": ["\u{9b}\u{e0041}\u{7f}", "ä\u{2028}"] });
        let json = serde_json::to_string_pretty(&value).unwrap();
        let shown = visible_json(&json);
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&shown).unwrap(),
            value
        );
        assert!(!shown.contains(|c| is_unsafe(c) && c != '\n'), "{shown}");
        assert!(
            shown.contains(r"\u202e\u001b\n") && shown.contains(r"\udb40\udc41"),
            "{shown}"
        );
    }
}
