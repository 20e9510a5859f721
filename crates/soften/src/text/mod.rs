//! Captions as text: cleaned ([`clean`](mod@clean)) and cut into tokens.

mod clean;

use std::path::Path;

use tokenizers::{Tokenizer, TruncationParams};
use vae2x_core::{Error, Result};

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
    /// [`Error::Format`] if the file is not a tokenizer, or gives no token.
    pub fn of(text: &str, tokenizer: &Path, most: usize) -> Result<Self> {
        let failed = |e: tokenizers::Error| Error::format(tokenizer, e.to_string());
        let mut model = Tokenizer::from_file(tokenizer).map_err(failed)?;
        model
            .with_padding(None)
            .with_truncation(None)
            .map_err(failed)?;
        let text = clean(text);
        let whole = model.encode(text.as_str(), true).map_err(failed)?.len();
        let limit = TruncationParams {
            max_length: most,
            ..TruncationParams::default()
        };
        model.with_truncation(Some(limit)).map_err(failed)?;
        let ids = model.encode(text, true).map_err(failed)?.get_ids().to_vec();
        if ids.is_empty() {
            return Err(Error::format(
                tokenizer,
                "this caption has no tokens; expected at least an end mark",
            ));
        }
        Ok(Self {
            cut: whole > ids.len(),
            ids,
        })
    }
}
