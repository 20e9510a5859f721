//! Writes a model whose weights follow the formula of `weights::formula`, for programs that read files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use vae2x_core::weights::formula::FormulaWeights;
use vae2x_core::weights::write::{Entry, write_safetensors};
use vae2x_core::weights::{DType, Weights};
use vae2x_core::{Error, Result, VaeConfig, arch};

#[derive(clap::Args)]
pub struct Args {
    /// The file to write, in the original layout.
    out: PathBuf,
    /// Width of the finest stages.
    #[arg(long, default_value_t = 96)]
    base_dim: usize,
    /// 3 for a base decoder, 12 for a 2x decoder.
    #[arg(long, default_value_t = 12)]
    out_channels: usize,
}

/// Writes the file.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let config = VaeConfig::with_widths(args.base_dim, args.out_channels);
    config.validate()?;
    Ok(write(&args.out, config)?)
}

fn write(out: &Path, config: VaeConfig) -> Result<()> {
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
