//! `vae2x convert`: a weight file in another layout or precision, or as the start of a 2x decoder.

use std::path::Path;

use vae2x_core::weights::{ConvertOptions, DType, Layout, Weights, convert};

use super::check_distinct;
use crate::args::{ConvertArgs, DTypeArg, LayoutArg};
use crate::{ui, usage, weights};

/// Runs the command.
///
/// # Errors
/// If the input is no VAE, the conversion is impossible or the output cannot be written.
pub fn run(args: &ConvertArgs) -> anyhow::Result<()> {
    let options = ConvertOptions {
        layout: match args.layout {
            LayoutArg::Original => Layout::Original,
            LayoutArg::Diffusers => Layout::Diffusers,
            LayoutArg::TwoD => Layout::TwoD,
        },
        dtype: args.dtype.map(|dtype| match dtype {
            DTypeArg::F32 => DType::F32,
            DTypeArg::Bf16 => DType::BF16,
            DTypeArg::F16 => DType::F16,
        }),
        to_2x: args.to_2x,
    };
    let is_safetensors = args.output.extension().is_some_and(|e| e.eq_ignore_ascii_case("safetensors"));
    if !is_safetensors && options.layout != Layout::Diffusers {
        return usage(format!(
            "{}: the {} layout is written to a .safetensors file",
            args.output.display(),
            options.layout
        ));
    }
    check_distinct([Path::new(&args.weights)].into_iter(), &[&args.output])?;
    let weights = weights::open(&args.weights)?;
    if options.layout == Layout::TwoD && weights.has_time() {
        ui::note("the 2-D layout keeps the last temporal taps only: what it holds decodes images, not clips");
    }
    convert(&weights, &options, &args.output)?;
    ui::print(&format!("{} ({} layout)\n", args.output.display(), options.layout))
}
