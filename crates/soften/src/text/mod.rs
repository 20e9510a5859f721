//! Captions as text: cleaned ([`clean`](mod@clean)) and cut into tokens.

mod clean;
mod tokenizer;

use std::path::Path;

use vae2x_core::Result;

use clean::clean;

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
    /// [`Error::Format`](vae2x_core::Error::Format) if the file is not a tokenizer, or gives no token.
    pub fn of(text: &str, tokenizer: &Path, most: usize) -> Result<Self> {
        tokenizer::cut(&clean(text), tokenizer, most)
    }
}
