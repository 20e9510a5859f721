//! The tokenizer of a `tokenizer.json`, held at arm's length: `tokenizers` trusts its files, and panics where one contradicts itself.
//!
//! What would make it allocate without bound is refused here beforehand; its panics become errors, and are not printed.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::Path;
use std::sync::Once;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokenizers::{Tokenizer, TruncationParams};
use vae2x_core::{Error, Result, files};

use super::Tokens;

/// Bytes of the largest file; UMT5's has 17 million.
const LARGEST: u64 = 64 << 20;
/// The key of a table of replaced characters, as SentencePiece packs it.
const TABLE: &str = "precompiled_charsmap";

/// Cuts a text into at most `most` tokens.
///
/// # Errors
/// [`Error::Format`] if the file is not a tokenizer, or gives no token.
pub(super) fn cut(text: &str, path: &Path, most: usize) -> Result<Tokens> {
    let bytes = files::read(path, LARGEST)?;
    let json = serde_json::from_slice(&bytes).map_err(|e| Error::format(path, e.to_string()))?;
    check_tables(&json).map_err(|what| Error::format(path, what))?;
    drop(json);
    quietly(|| encode(text, &bytes, most))
        .and_then(|tokens| tokens.map_err(|e| e.to_string()))
        .map_err(|what| Error::format(path, format!("not a tokenizer that can be used: {what}")))
}

fn encode(text: &str, bytes: &[u8], most: usize) -> tokenizers::Result<Tokens> {
    let mut model = Tokenizer::from_bytes(bytes)?;
    model.with_padding(None).with_truncation(None)?;
    let whole = model.encode(text, true)?.len();
    let limit = TruncationParams {
        max_length: most,
        ..TruncationParams::default()
    };
    model.with_truncation(Some(limit))?;
    let ids = model.encode(text, true)?.get_ids().to_vec();
    if ids.is_empty() {
        return Err("this caption has no tokens; expected at least an end mark".into());
    }
    Ok(Tokens {
        cut: whole > ids.len(),
        ids,
    })
}

/// Refuses tables that claim to be longer than they are: they are allocated by what they claim.
fn check_tables(json: &Value) -> Result<(), String> {
    match json {
        Value::Array(values) => values.iter().try_for_each(check_tables),
        Value::Object(values) => values.iter().try_for_each(|(key, value)| match value {
            Value::String(table) if key == TABLE => check_table(table),
            value => check_tables(value),
        }),
        _ => Ok(()),
    }
}

/// A table is its trie's length in bytes, the trie, and texts.
fn check_table(table: &str) -> Result<(), String> {
    let bytes = STANDARD
        .decode(table)
        .map_err(|e| format!("{TABLE}: {e}"))?;
    let fits = bytes.split_first_chunk().is_some_and(|(length, rest)| {
        usize::try_from(u32::from_le_bytes(*length)).is_ok_and(|length| length <= rest.len())
    });
    match fits {
        true => Ok(()),
        false => Err(format!(
            "{TABLE}: {} bytes, which is less than it says",
            bytes.len()
        )),
    }
}

thread_local! {
    /// Whether a panic of this thread is expected, and becomes an error.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`; a panic in it is an error, and its message is not printed.
fn quietly<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |info| {
            if !QUIET.get() {
                usual(info);
            }
        }));
    });
    QUIET.set(true);
    // What `work` leaves half done is dropped with it.
    let result = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(false);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied());
        format!("it contradicts itself ({})", text.unwrap_or("unknown"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A tokenizer of whole words, with changes.
    fn tokenizer(changes: Value) -> Value {
        let mut json = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
            "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
            "model": {"type": "WordLevel", "vocab": {"hello": 1, "<unk>": 0}, "unk_token": "<unk>"},
        });
        for (key, value) in changes.as_object().unwrap() {
            json[key] = value.clone();
        }
        json
    }

    fn ids(json: &Value) -> Result<Vec<u32>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, json.to_string()).unwrap();
        cut("hello", &path, 9).map(|tokens| tokens.ids)
    }

    #[test]
    fn what_contradicts_itself_is_an_error() {
        assert_eq!(ids(&tokenizer(json!({}))).unwrap(), [1]);
        let special = json!({"SpecialToken": {"id": "x", "type_id": 0}});
        let second = json!({"Sequence": {"id": "B", "type_id": 0}});
        let template = |piece: &Value| {
            json!({"post_processor": {
                "type": "TemplateProcessing", "single": [piece], "pair": [], "special_tokens": {},
            }})
        };
        let table = |table: &str| json!({"normalizer": {"type": "Precompiled", TABLE: table}});
        let long = table("/////////////w==");
        for (changes, said) in [
            (template(&special), "contradicts itself"),
            (template(&second), "contradicts itself"),
            (table("AAAA"), "less than it says"),
            (
                json!({"normalizer": {"type": "Sequence", "normalizers": [long["normalizer"]]}}),
                "less than it says",
            ),
            (long, "less than it says"),
            (table("AAAAAA=="), "contradicts itself"),
            (table("*"), TABLE),
            (json!({"model": {"type": "x"}}), "not a tokenizer"),
        ] {
            let error = ids(&tokenizer(changes.clone())).unwrap_err().to_string();
            assert!(
                error.contains("tokenizer.json") && error.contains(said),
                "{changes}: {error}"
            );
        }
    }
}
