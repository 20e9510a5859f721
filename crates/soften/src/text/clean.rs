//! Captions cleaned as Wan2.1 cleans them before it cuts them into tokens: by ftfy's `fix_text`, then HTML entities twice as browsers resolve
//! them, then every run of white space to one blank.
//!
//! ftfy repairs line by line until nothing changes: entities that end in ';', C1 codes as Windows-1252 has them, Latin ligatures, letters of
//! another width, curly quotes, control characters, NFC. Two of its repairs are left out: text that was decoded with the wrong character
//! set stays as it is, and so do a terminal's escapes but for their first character.
//!
//! Sources: Wan2.1, `wan/modules/tokenizers.py`; ftfy 6.3. `tools/reference/captions.py` prints the cases of the test.

use unicode_normalization::UnicodeNormalization;

/// As the module says.
pub fn clean(text: &str) -> String {
    let mut fixed = String::new();
    let mut entities = true;
    for line in text.split_inclusive('\n') {
        // This is HTML: from here on entities are left to the browser's rules.
        entities &= !line.contains('<');
        fixed.push_str(&fix(line, entities));
    }
    let once = htmlize::unescape(&fixed);
    let twice = htmlize::unescape(once.as_ref());
    twice.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn fix(line: &str, entities: bool) -> String {
    let mut text = line.to_string();
    loop {
        let resolved = if entities {
            resolve(&text)
        } else {
            text.clone()
        };
        let mut plain = String::with_capacity(resolved.len());
        resolved.chars().for_each(|c| push_plain(&mut plain, c));
        let fixed: String = plain.nfc().collect();
        if fixed == text {
            return fixed;
        }
        text = fixed;
    }
}

/// Adds what a character is meant to be, if anything.
fn push_plain(text: &mut String, c: char) {
    match c {
        // Browsers have the same table for numbers of characters.
        '\u{80}'..='\u{9F}' => text.push_str(&htmlize::unescape(format!("&#{};", u32::from(c)))),
        '\u{FB05}' => text.push_str("\u{17F}t"),
        '\u{132}'
        | '\u{133}'
        | '\u{149}'
        | '\u{1C4}'..='\u{1CC}'
        | '\u{1F1}'..='\u{1F3}'
        | '\u{FB00}'..='\u{FB06}' => {
            text.extend(std::iter::once(c).nfkc());
        }
        // Forms of another width.
        '\u{FF01}'..='\u{FFEF}' => text.extend(std::iter::once(c).nfkc()),
        '\u{2BC}' | '\u{2018}'..='\u{201B}' => text.push('\''),
        '\u{201C}'..='\u{201F}' => text.push('"'),
        '\0'..='\u{8}' | '\u{B}' | '\u{E}'..='\u{1F}' | '\u{7F}' => (),
        '\u{206A}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFC}' => (),
        other => text.push(other),
    }
}

/// Entities that are beyond doubt.
fn resolve(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let (length, resolved) = entity(rest).unwrap_or((1, "&".into()));
        out.push_str(&resolved);
        rest = &rest[length..];
    }
    out + rest
}

/// The entity that a text starts with, if it ends in ';' and resolves as a whole: its length and what it stands for. Names in capitals that
/// are none stand for the capitals of what they stand for in small letters.
fn entity(text: &str) -> Option<(usize, String)> {
    let name = &text[1..text.find(';')?];
    let letters = name.strip_prefix('#').unwrap_or(name);
    if !(1..=24).contains(&letters.len()) || !letters.chars().all(|c| c.is_ascii_alphanumeric()) {
        return None;
    }
    let length = name.len() + 2;
    let whole = |entity: &str| {
        let resolved = htmlize::unescape(entity).into_owned();
        (entity == "&semi;" || !resolved.contains(';')).then_some(resolved)
    };
    let entity = &text[..length];
    let resolved = whole(entity).or_else(|| {
        let in_capitals = entity == entity.to_uppercase() && htmlize::unescape(entity) == entity;
        whole(&entity.to_lowercase())
            .filter(|_| in_capitals)
            .map(|resolved| resolved.to_uppercase())
    });
    Some((length, resolved?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captions_are_cleaned_as_wan_cleans_them() {
        let cases = [
            (
                "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走",
                "色调艳丽,过曝,静态,细节模糊不清,字幕,风格,作品,画作,画面,静止,整体发灰,最差质量,低质量,JPEG压缩残留,丑陋的,残缺的,多余的手指,画得不好的手部,画得不好的脸部,畸形的,毁容的,形态畸形的肢体,手指融合,静止不动的画面,杂乱的背景,三条腿,背景人很多,倒着走",
            ),
            ("  a\n\tb\u{3000}c ", "a b c"),
            ("&amp;amp;amp; &lt;b&gt; &#39;", "& <b> '"),
            (
                "\u{201C}it\u{2019}s\u{201D}\u{7} &ldquo;it&rsquo;s&rdquo;",
                "\"it's\" \"it's\"",
            ),
            ("<b> &amp;lsquo;tag&rsquo;", "<b> \u{2018}tag\u{2019}"),
            (
                "first &lsquo;\nthen < and &lsquo;",
                "first ' then < and \u{2018}",
            ),
            (
                "cafe\u{301} &eacute; &EACUTE; &nTILDE;",
                "café é É &nTILDE;",
            ),
            (
                "&#145;old&#146; &#x80; \u{93}text\u{94}",
                "'old' € \"text\"",
            ),
            (
                "fish &amp chips &copy 2024, this&not that &notit; &bogus;",
                "fish & chips © 2024, this¬ that ¬it; &bogus;",
            ),
            ("ＬＯＵＤ！？ Ｕﾀｰﾝ ﬁne ﬅ ŉ", "LOUD!? Uターン fine ſt 'n"),
            (
                "one\u{2028}two\r\nthree\u{FEFF}\u{A0}four",
                "one two three four",
            ),
            ("&semi; &#59; &amp;semi; &copy&semi;", "; ; ; ©"),
            (
                "a cat&#xFFFFFF;, 5 < 6 & 7 > 3; R&D",
                "a cat�, 5 < 6 & 7 > 3; R&D",
            ),
            (
                "￼tag\u{206A} &NotEqualTilde; &ThinSpace;x",
                "tag ≂\u{338} x",
            ),
            ("❄️ 雪 ½ ™ 10³ … —", "❄️ 雪 ½ ™ 10³ … —"),
            ("", ""),
        ];
        for (caption, want) in cases {
            assert_eq!(clean(caption), want, "{caption}");
        }
    }
}
