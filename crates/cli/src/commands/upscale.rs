//! `vae2x upscale`: images at a multiple of their size, by encoding them and decoding with a 2x or 4x decoder.

use vae2x::Upscale;
use vae2x_media::frames::Folders;
use vae2x_media::picture::{BitDepth, PictureFormat, look_at_image};

use crate::args::UpscaleArgs;
use crate::batch::{self, Pair};
use crate::compute::{Compute, vae_name};
use crate::files::{check_files, check_replaceable, is_folder, keep_or_remove, targets};
use crate::run::{Direction, prepare, run};
use crate::usage;
use crate::work::{EnlargedImage, Upscaling};

/// Runs the command.
///
/// # Errors
/// If an input or the weights cannot be used, or the output cannot be written.
pub fn upscale(args: &UpscaleArgs) -> anyhow::Result<()> {
    keep_or_remove(&args.output, || checked(args))
}

fn checked(args: &UpscaleArgs) -> anyhow::Result<()> {
    let name = vae_name(&args.vae)?;
    let compute = Compute::new(&args.run)?;
    let format = format(args)?;
    let (inputs, mut failed) = batch::list(&args.inputs, Folders::OfImages)?;
    let paths = targets(&args.output, &inputs, |_| format.extension())?;
    check_files(&inputs, &name, &paths, args.run.timings.as_deref())?;
    let look = |Pair { input, output }: Pair| {
        check_replaceable(&output)?;
        Ok(EnlargedImage {
            size: look_at_image(&input)?,
            input,
            path: output,
        })
    };
    let pairs = batch::pairs(inputs, paths, args.batch.skip_existing);
    let jobs = prepare(&mut failed, pairs, Pair::name, look);
    if jobs.is_empty() {
        return failed.result();
    }
    let vae = compute.open(&name)?;
    vae.require_enlarging()?;
    let how = Upscale {
        match_color: args.match_color,
        detail: (&args.detail).into(),
    };
    let work = Upscaling {
        vae,
        how,
        depth: args.bit_depth,
        keeps_metadata: !args.no_metadata,
        allowed: compute.memory,
    };
    run(&work, &jobs, failed)?.write_timings(&compute, &work.vae, Direction::Decoding)
}

/// The format of the results, which must hold the depth that is asked for.
fn format(args: &UpscaleArgs) -> anyhow::Result<PictureFormat> {
    let format = match PictureFormat::from_path(&args.output) {
        _ if is_folder(&args.output) => PictureFormat::Png,
        Some(format) => format,
        None => {
            return usage(format!(
                "{}: images are written as .png, .jpg, .jpeg, .webp or .exr, or into a folder",
                args.output.display()
            ));
        }
    };
    format.check_depth(args.bit_depth.unwrap_or(BitDepth::Eight))?;
    Ok(format)
}
