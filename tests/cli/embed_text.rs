//! `embed-text`, with the tiny encoder and a tokenizer of a few pieces.

use std::path::Path;

use burn::tensor::Device;
use serde_json::json;
use vae2x_core::weights::ModelTensors;
use vae2x_nn::array::to_array;
use vae2x_soften::umt5::{Umt5, Umt5Weights, weights::FILES};

use crate::support::{fixture, read, run, text};

/// A unigram model as UMT5's, with the end mark that its own file adds.
pub fn tokenizer(folder: &Path) -> String {
    let pieces = ["<pad>", "</s>", "<unk>", "▁a", "▁red", "▁cat", "s", "▁"];
    let vocab: Vec<_> = pieces
        .iter()
        .enumerate()
        .map(|(i, piece)| json!([piece, -(i as f64)]))
        .collect();
    let mark = json!({"id": 1, "content": "</s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true});
    let sequence = json!({"Sequence": {"id": "A", "type_id": 0}});
    let end = json!({"SpecialToken": {"id": "</s>", "type_id": 0}});
    let model = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [mark],
        "normalizer": null,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [sequence, end],
            "pair": [sequence, end, {"Sequence": {"id": "B", "type_id": 0}}, end],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}},
        },
        "decoder": null,
        "model": {"type": "Unigram", "unk_id": 2, "vocab": vocab, "byte_fallback": false},
    });
    let path = folder.join("tokenizer.json");
    std::fs::write(&path, model.to_string()).unwrap();
    text(&path)
}

#[test]
fn a_caption_is_cleaned_cut_into_tokens_and_embedded() {
    let folder = tempfile::tempdir().unwrap();
    let (weights, tokenizer) = (
        fixture("umt5_tiny/model.safetensors"),
        tokenizer(folder.path()),
    );
    let embed = |caption: &str, more: &[&str]| {
        let out = folder.path().join("context.safetensors");
        let args = [
            "embed-text",
            caption,
            "--umt5",
            &weights,
            "--tokenizer",
            &tokenizer,
            "-o",
            &text(&out),
        ];
        let said = run(&[&args[..], more].concat());
        (said, out)
    };
    let (said, out) = embed(" a  red\tcat&#115; ", &[]);
    let said = said.ok();
    let context = read(&out, "context");
    let [tokens, width] = context.dims("context").unwrap();
    assert!(
        said.contains(&format!("{tokens} tokens of {width} values")),
        "{said}"
    );

    let encoder =
        Umt5Weights::find(ModelTensors::open(Path::new(&weights), FILES).unwrap()).unwrap();
    let encoder = Umt5::new(encoder, Device::flex());
    let ids = vec![3, 4, 5, 6, 1];
    let want = encoder
        .encode(std::slice::from_ref(&ids), &[vec![true; 5]], &mut |_| ())
        .unwrap();
    vae2x_testkit::compare::assert_close(
        "a red cats",
        &context,
        &to_array(want.squeeze_dim::<2>(0)).unwrap(),
        1e-6,
    );

    let (said, out) = embed("a red cat", &["--max-tokens", "2", "--device", "cpu"]);
    assert!(said.ok_stderr().contains("is cut"));
    assert_eq!(read(&out, "context").shape(), [2, width]);
    let (said, out) = embed("", &[]);
    said.ok();
    assert_eq!(
        read(&out, "context").shape(),
        [1, width],
        "the end mark alone"
    );
}

#[test]
fn what_is_no_encoder_or_tokenizer_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let (weights, tokenizer) = (
        fixture("umt5_tiny/model.safetensors"),
        tokenizer(folder.path()),
    );
    let out = text(&folder.path().join("context.safetensors"));
    let fails = |umt5: &str, tokenizer: &str, out: &str, code| {
        run(&[
            "embed-text",
            "a",
            "--umt5",
            umt5,
            "--tokenizer",
            tokenizer,
            "-o",
            out,
        ])
        .fails(code)
    };
    let other = fixture("dit_tiny/original.safetensors");
    assert!(fails(&other, &tokenizer, &out, 1).contains(&other));
    let bad = text(&folder.path().join("bad.json"));
    std::fs::write(&bad, "{}").unwrap();
    assert!(fails(&weights, &bad, &out, 1).contains("bad.json"));
    assert!(fails(&weights, "nowhere.json", &out, 1).contains("nowhere.json"));
    assert!(fails(&weights, &tokenizer, "context.pt", 2).contains(".safetensors"));
    assert!(!Path::new(&out).exists());
}
