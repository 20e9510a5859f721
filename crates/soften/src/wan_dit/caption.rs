//! Captions as files hold them, brought to the form that a model was trained with.

use vae2x_core::weights::TensorFile;
use vae2x_core::{Array, Result};

use super::config::DitConfig;

/// The tensor's name in a file.
pub const CONTEXT: &str = "context";

/// Reads the caption of a file, `context` `[tokens, width]` or `[1, tokens, width]`, and pads it with zeros as the model wants it.
///
/// # Shapes
/// -> `[1, text_len, text_dim]`
///
/// # Errors
/// [`vae2x_core::Error::Tensor`] if there is no such tensor, or it is of another width or too long; [`vae2x_core::Error::NotFinite`]; reading errors.
pub fn read(file: &TensorFile, config: &DitConfig) -> Result<Array> {
    let DitConfig {
        text_dim, text_len, ..
    } = *config;
    let wrong = |got: String| {
        let expected = format!(
            "a caption of 1 to {text_len} tokens of {text_dim} values, as this transformer takes"
        );
        file.tensor_error(CONTEXT, &expected, &got)
    };
    let Some(info) = file.tensors().get(CONTEXT) else {
        return Err(wrong("no such tensor".into()));
    };
    let tokens = match info.shape[..] {
        [tokens, width] | [1, tokens, width]
            if width == text_dim && (1..=text_len).contains(&tokens) =>
        {
            tokens
        }
        ref shape => return Err(wrong(format!("shape {shape:?}"))),
    };
    let mut values = file.read_finite(CONTEXT)?.into_data();
    debug_assert_eq!(values.len(), tokens * text_dim);
    values.resize(text_len * text_dim, 0.0);
    Array::new([1, text_len, text_dim], values)
}
