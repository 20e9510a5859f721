//! Tokenizers and captions of `embed-text`.

use serde_json::{Value, json};

use super::PEAK;
use crate::case::{Case, Either, Error, Expect, case};

fn tokenizer(change: Value) -> Vec<u8> {
    let mut all = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null, "pre_tokenizer": null,
        "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"hello": 1, "<unk>": 0}, "unk_token": "<unk>"},
    });
    all.as_object_mut()
        .expect("an object")
        .extend(change.as_object().expect("an object").clone());
    all.to_string().into()
}

fn embed(name: &str, expect: Expect, caption: &str, bytes: Vec<u8>) -> Case {
    let umt5 = vae2x_testkit::fixture("umt5_tiny")
        .canonicalize()
        .expect("a path");
    let umt5 = umt5.to_str().expect("UTF-8");
    let args = [
        "embed-text",
        caption,
        "--umt5",
        umt5,
        "--tokenizer",
        "t.json",
        "-o",
        "e.safetensors",
        "--threads",
        "1",
    ];
    case(format!("tokens {name}"), expect, &args)
        .bytes("t.json", bytes)
        .peak(PEAK)
}

pub fn cases() -> Vec<Case> {
    let words = |vocab: Value| json!({"model": {"type": "WordLevel", "vocab": vocab, "unk_token": "hello"}});
    let model = |model: Value| json!({"model": model});
    let split = |regex: &str| json!({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false}});
    let charsmap =
        |map: &str| json!({"normalizer": {"type": "Precompiled", "precompiled_charsmap": map}});
    let template = json!({"post_processor": {
        "type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x", "type_id": 0}}], "pair": [], "special_tokens": {},
    }});
    let truncation = json!({"truncation": {"direction": "Right", "max_length": 0, "strategy": "LongestFirst", "stride": 5}});
    let infinite = br#"{"version":"1.0","added_tokens":[],"model":{"type":"Unigram","vocab":[["a",1e999]],"unk_id":0}}"#;
    let (as_and_b, many) = ("a".repeat(40) + "b", "a".repeat(60) + "b");
    let mut cases = vec![
        embed("good", Either, "hello", tokenizer(json!({}))),
        embed("empty", Error, "hello", vec![]),
        embed("no JSON", Error, "hello", b"{".into()),
        embed("nested", Error, "hello", "[".repeat(100_000).into()),
        embed(
            "id 2^32-1",
            Error,
            "hello",
            tokenizer(words(json!({"hello": u32::MAX}))),
        ),
        embed(
            "id outside of the table",
            Error,
            "hello",
            tokenizer(words(json!({"hello": 100_000}))),
        ),
        embed(
            "catastrophic expression",
            Either,
            &as_and_b,
            tokenizer(split("(a+)+$")),
        ),
        embed(
            "expression that refers back",
            Either,
            &many,
            tokenizer(split("(?:(a|aa)+)+(?=c)\\1")),
        ),
        embed("bad expression", Error, "hello", tokenizer(split("("))),
        embed(
            "short map of characters",
            Either,
            "hello",
            tokenizer(charsmap("AAAA")),
        ),
        embed(
            "huge map of characters",
            Either,
            "hello",
            tokenizer(charsmap("/////////////w==")),
        ),
        embed(
            "unigram of nothing",
            Either,
            "hello",
            tokenizer(model(json!({"type": "Unigram", "vocab": [], "unk_id": 0}))),
        ),
        embed(
            "unknown piece outside",
            Either,
            "hello",
            tokenizer(model(
                json!({"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 999}),
            )),
        ),
        embed("infinite score", Either, "hello", infinite.to_vec()),
        embed(
            "bad merge",
            Either,
            "hello",
            tokenizer(model(
                json!({"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}),
            )),
        ),
        embed("cut to nothing", Either, "hello", tokenizer(truncation)),
        embed(
            "template of a missing token",
            Either,
            "hello",
            tokenizer(template),
        ),
    ];
    let texts = [
        "".into(),
        " ".into(),
        "\x01".into(),
        "\x1b[31m".into(),
        "&#x1F4A9;".repeat(1000),
        "e\u{301}".repeat(5000),
        "\u{d7ff}".into(),
        "&lt;".repeat(5000),
    ];
    cases.extend(
        texts
            .iter()
            .enumerate()
            .map(|(i, text)| embed(&format!("caption {i}"), Either, text, tokenizer(json!({})))),
    );
    cases
}
