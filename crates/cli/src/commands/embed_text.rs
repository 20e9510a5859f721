//! `vae2x embed-text`: a caption to what the diffusion model reads.

use vae2x_core::weights::ModelTensors;
use vae2x_core::weights::write::write_arrays;
use vae2x_nn::array::to_array;
use vae2x_soften::text::Tokens;
use vae2x_soften::umt5::{Umt5, Umt5Config, Umt5Weights, weights::FILES};
use vae2x_soften::wan_dit::caption::CONTEXT;
use vae2x_train::run::memory::{Need, Place};

use super::training::{check_memory, open_device, start_threads};
use crate::args::EmbedTextArgs;
use crate::files::{check_distinct, check_writable};
use crate::ui::{self, Meter};
use crate::usage;

/// Runs the command.
///
/// # Errors
/// If the encoder or the tokenizer cannot be used, or the output cannot be written.
pub fn run(args: &EmbedTextArgs) -> anyhow::Result<()> {
    start_threads(args.threads)?;
    let device = open_device(args.device)?;
    if args.output.extension().is_none_or(|e| e != "safetensors") {
        return usage(format!(
            "{}: expected a .safetensors file for the caption",
            args.output.display()
        ));
    }
    check_distinct(
        [args.umt5.as_path(), args.tokenizer.as_path()].into_iter(),
        &[&args.output],
    )?;
    check_writable(&args.output)?;
    let tokens = Tokens::of(&args.text, &args.tokenizer, usize::from(args.max_tokens))?;
    if tokens.cut {
        ui::warn(format!(
            "the caption is longer than {} tokens and is cut",
            args.max_tokens
        ));
    }
    let encoder = Umt5::new(
        Umt5Weights::find(ModelTensors::open(&args.umt5, FILES)?)?,
        device,
    );
    check_memory(&need(encoder.config(), tokens.ids.len()), args.device)?;
    let mut progress = Meter::new("embedding", encoder.config().layers as f64, "layers");
    let counts = vec![true; tokens.ids.len()];
    let hidden = encoder.encode(&[tokens.ids], &[counts], &mut |layer| {
        progress.set(layer as f64)
    })?;
    progress.finish();
    let context = to_array(hidden.squeeze_dim::<2>(0))?;
    write_arrays(&args.output, &[(CONTEXT, &context)], &Default::default())?;
    let [count, width] = context.dims("context")?;
    ui::print(format!(
        "{}: {count} tokens of {width} values",
        args.output.display()
    ))
}

/// What a layer takes: its weights, and the scores of all pairs of tokens before and after the softmax.
fn need(config: &Umt5Config, tokens: usize) -> Need {
    const VALUE: f64 = size_of::<f32>() as f64;
    let [dim, inner, hidden, heads] = [
        config.dim,
        config.heads * config.head_dim,
        config.ffn_dim,
        config.heads,
    ]
    .map(|n| n as f64);
    let weights = dim * (4.0 * inner + 3.0 * hidden);
    let scores = 2.0 * heads * (tokens as f64).powi(2);
    Need::default()
        .and(Place::Device, "a layer's weights", weights * VALUE)
        .and(
            Place::Device,
            format!("the attention of {tokens} tokens"),
            scores * VALUE,
        )
}
