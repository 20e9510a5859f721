//! `vae2x convert`: a weight file in another layout or precision, or as the start of a 2x decoder.

use std::path::Path;

use vae2x_core::weights::{ConvertOptions, Layout, Weights, convert as write};

use crate::args::ConvertArgs;
use crate::compute::open_weights;
use crate::files::{check_distinct, check_weights_name};
use crate::ui;

/// Runs the command.
///
/// # Errors
/// If the input is not a VAE, the conversion is impossible or the output cannot be written.
pub fn convert(args: &ConvertArgs) -> anyhow::Result<()> {
    let options = ConvertOptions {
        layout: args.layout,
        dtype: args.dtype,
        to_2x: args.to_2x,
    };
    check_weights_name(&args.output, options.layout)?;
    check_distinct([Path::new(&args.weights)].into_iter(), &[&args.output])?;
    let weights = open_weights(&args.weights)?;
    if options.layout == Layout::TwoD && weights.has_time() {
        ui::note("the 2-D layout keeps only the last temporal taps: it decodes images, not clips");
    }
    write(&weights, &options, &args.output)?;
    ui::print(format!(
        "{} ({} layout)",
        args.output.display(),
        options.layout
    ))
}
