//! Any file and any `config.json` are a model or an error, and every tensor of a model can be read.
//!
//! The input is the text of a config, a zero byte, and the file; without a zero byte it is the file alone. A mutated
//! config is also tried against a small complete model, which random bytes would never become.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use vae2x_core::weights::formula::FormulaWeights;
use vae2x_core::weights::keys::KeyMap;
use vae2x_core::weights::write::{Entry, write_safetensors};
use vae2x_core::weights::{DType, TensorFile, VaeWeights, Weights};
use vae2x_core::{Error, VaeConfig, arch};

fuzz_target!(|bytes: &[u8]| {
    let (config, file) = match bytes.iter().position(|&b| b == 0) {
        Some(end) => (std::str::from_utf8(&bytes[..end]).ok(), &bytes[end + 1..]),
        None => (None, bytes),
    };
    try_model(file.to_vec(), config);
    if config.is_some() {
        try_model(small_model().to_vec(), config);
    }
});

fn try_model(file: Vec<u8>, config: Option<&str>) {
    let Ok(file) = TensorFile::from_bytes("fuzz", file) else {
        return;
    };
    let Ok(weights) = VaeWeights::from_file(file, config) else {
        return;
    };
    for spec in arch::tensors(weights.config()) {
        match weights.tensor(&spec) {
            Ok(tensor) => assert_eq!(tensor.shape(), spec.shape),
            Err(error) => assert!(matches!(error, Error::NotFinite { .. }), "{error}"),
        }
    }
}

/// A complete model with diffusers' names.
fn small_model() -> &'static [u8] {
    static MODEL: OnceLock<Vec<u8>> = OnceLock::new();
    MODEL.get_or_init(|| {
        let weights = FormulaWeights::new(VaeConfig::with_widths(1, 3));
        let keys = KeyMap::new(weights.config());
        let entry = |s: arch::TensorSpec| Entry {
            name: keys.diffusers(&s.name).unwrap().to_string(),
            dtype: DType::BF16,
            shape: s.shape,
        };
        let entries: Vec<_> = arch::tensors(weights.config())
            .into_iter()
            .map(entry)
            .collect();
        let path =
            std::env::temp_dir().join(format!("vae2x-fuzz-{}.safetensors", std::process::id()));
        let zeros = |e: &Entry| Ok(vec![0; e.shape.iter().product::<usize>() * e.dtype.size()]);
        write_safetensors(&path, &entries, &Default::default(), zeros).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        bytes
    })
}
