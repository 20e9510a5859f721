//! Captions as text: cleaned as Wan2.1 cleans them, and cut into tokens.
//!
//! Wan2.1 repairs text with ftfy, resolves HTML entities twice, and makes every run of white space one blank. Of ftfy's repairs the ones
//! that matter to a caption as people type it are done here: curly quotes become straight, control characters go. Full-width letters and
//! ligatures are left to the tokenizer, whose own normalization resolves them. Text that was decoded with the wrong character set is
//! not repaired.

use std::path::Path;

use anyhow::{anyhow, bail};
use tokenizers::{Tokenizer, TruncationParams};

/// A caption in tokens.
#[derive(Debug)]
pub struct Tokens {
    /// Numbers of the tokens, the end mark included.
    pub ids: Vec<u32>,
    /// Whether the caption was too long.
    pub cut: bool,
}

impl Tokens {
    /// Cleans `text` and cuts it into at most `most` tokens with a `tokenizer.json`.
    ///
    /// # Errors
    /// If the file is no tokenizer, or gives no token.
    pub fn of(text: &str, tokenizer: &Path, most: usize) -> anyhow::Result<Self> {
        let failed = |e: tokenizers::Error| anyhow!("{}: {e}", tokenizer.display());
        let mut model = Tokenizer::from_file(tokenizer).map_err(failed)?;
        model.with_padding(None).with_truncation(None).map_err(failed)?;
        let text = clean(text);
        let whole = model.encode(text.as_str(), true).map_err(failed)?.len();
        let limit = TruncationParams { max_length: most, ..TruncationParams::default() };
        model.with_truncation(Some(limit)).map_err(failed)?;
        let ids = model.encode(text, true).map_err(failed)?.get_ids().to_vec();
        if ids.is_empty() {
            bail!("{}: gives no tokens for this caption; expected at least an end mark", tokenizer.display());
        }
        Ok(Self { cut: whole > ids.len(), ids })
    }
}

/// As the module says.
fn clean(text: &str) -> String {
    let straight = |c: char| match c {
        '\u{02BC}' | '\u{2018}'..='\u{201B}' => '\'',
        '\u{201C}'..='\u{201F}' => '"',
        other => other,
    };
    let text: String = text.chars().map(straight).filter(|c| c.is_whitespace() || !c.is_control()).collect();
    let once = html_escape::decode_html_entities(&text);
    let twice = html_escape::decode_html_entities(&once);
    twice.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captions_are_cleaned() {
        assert_eq!(clean("  a\n\tb\u{3000}c "), "a b c");
        assert_eq!(clean("&amp;amp; &lt;b&gt; &#39;"), "& <b> '");
        assert_eq!(clean("\u{201C}it\u{2019}s\u{201D}\u{0007}"), "\"it's\"");
        assert_eq!(clean("静态，细节"), "静态，细节");
        assert_eq!(clean(" "), "");
    }
}
