//! Writes a model whose weights follow the formula of `weights::formula`: any size, no download. For benchmarks and checks.
//!
//! ```text
//! cargo run --release -p vae2x-core --example formula_weights -- OUT.safetensors [--base-dim 96] [--out-channels 12]
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use vae2x_core::weights::formula::FormulaWeights;
use vae2x_core::weights::write::{Entry, write_safetensors};
use vae2x_core::weights::{DType, Weights};
use vae2x_core::{Error, Result, VaeConfig, arch};

const USAGE: &str = "usage: formula_weights OUT.safetensors [--base-dim 96] [--out-channels 12]";

fn main() -> ExitCode {
    let result = parse(std::env::args().skip(1)).and_then(|(out, config)| write(&out, config));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<(PathBuf, VaeConfig)> {
    let (mut out, mut base_dim, mut out_channels) = (None, 96, 12);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--base-dim" => base_dim = number(args.next())?,
            "--out-channels" => out_channels = number(args.next())?,
            _ if arg.starts_with('-') || out.is_some() => return Err(usage()),
            _ => out = Some(PathBuf::from(arg)),
        }
    }
    let config = VaeConfig::with_widths(base_dim, out_channels);
    config.validate()?;
    Ok((out.ok_or_else(usage)?, config))
}

fn number(text: Option<String>) -> Result<usize> {
    text.and_then(|t| t.parse().ok()).ok_or_else(usage)
}

fn usage() -> Error {
    Error::BadRequest(USAGE.into())
}

fn write(out: &std::path::Path, config: VaeConfig) -> Result<()> {
    let weights = FormulaWeights::new(config);
    let specs: BTreeMap<_, _> = arch::tensors(weights.config())
        .into_iter()
        .map(|s| (s.name.clone(), s))
        .collect();
    let entry = |s: &arch::TensorSpec| Entry {
        name: s.name.clone(),
        dtype: DType::F32,
        shape: s.shape.clone(),
    };
    let entries: Vec<_> = specs.values().map(entry).collect();
    write_safetensors(out, &entries, &BTreeMap::new(), |entry| {
        let values = weights.tensor(&specs[&entry.name])?;
        DType::F32
            .narrow(values.data())
            .ok_or_else(|| Error::BadRequest("no 32-bit floats".into()))
    })
}
