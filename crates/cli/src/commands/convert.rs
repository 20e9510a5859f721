//! `vae2x convert`: a weight file in another layout, precision or output scale, or with another encoder.

use std::path::Path;

use vae2x_core::weights::{ConvertOptions, Layout, OutputScale, Weights, convert_with_encoder};

use super::info::warn_of_oddities;
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
        scale: match (args.to_1x, args.to_2x) {
            (true, _) => OutputScale::Mean1x,
            (false, true) => OutputScale::Repeated2x,
            (false, false) => OutputScale::Keep,
        },
    };
    check_weights_name(&args.output, options.layout)?;
    let inputs = [&args.weights].into_iter().chain(&args.encoder_from);
    check_distinct(inputs.map(Path::new), &[&args.output])?;
    let weights = open_weights(&args.weights)?;
    warn_of_oddities(&weights)?;
    let encoder = args.encoder_from.as_deref().map(open_weights).transpose()?;
    if options.layout == Layout::TwoD && weights.has_time() {
        ui::note("the 2-D layout keeps only the last temporal taps: it decodes images, not clips");
    }
    convert_with_encoder(&weights, encoder.as_ref(), &options, &args.output)?;
    ui::print(format!(
        "{} ({} layout)",
        args.output.display(),
        options.layout
    ))
}
