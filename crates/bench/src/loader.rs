//! Samples per second that training gets from photos: decoding, judging, cutting, resizing, in as many threads as it is told.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use vae2x_core::Array;
use vae2x_core::weights::formula::unit;
use vae2x_media::picture::write_image;
use vae2x_media::resample::{Filter, resize};
use vae2x_train::data::dataset::DatasetOptions;
use vae2x_train::data::{CropOptions, Dataset, Limits, Loader, Share, list, photo};

/// Options.
#[derive(clap::Args)]
pub struct Args {
    /// Photos to read; without them, JPEGs are made
    #[arg(long, value_name = "DIR")]
    photos: Option<PathBuf>,
    /// Pixels of the JPEGs that are made, in millions
    #[arg(long, value_name = "N", default_value_t = 12.0)]
    megapixels: f64,
    /// Threads that read photos
    #[arg(long, value_name = "N", default_value_t = 2)]
    workers: usize,
    /// Crops that are cut from a photo each time it is decoded
    #[arg(long, value_name = "N", default_value_t = 4)]
    crops_per_photo: usize,
    /// Crops that are mixed
    #[arg(long, value_name = "N", default_value_t = 32)]
    shuffle: usize,
    /// Side of a crop
    #[arg(long, value_name = "PIXELS", default_value_t = 512)]
    crop: usize,
    /// Samples to time, after the first block
    #[arg(long, value_name = "N", default_value_t = 64)]
    samples: usize,
}

/// JPEGs that are made.
const MADE: usize = 4;

/// Runs the measurement.
///
/// # Errors
/// If photos cannot be made or read.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let made = tempfile::tempdir()?;
    let folder = match &args.photos {
        Some(folder) => folder.clone(),
        None => {
            make(made.path(), args.megapixels)?;
            made.path().to_path_buf()
        }
    };
    let sources = list(&[folder.display().to_string()])?.photos;
    let seconds = |work: &dyn Fn() -> anyhow::Result<()>| -> anyhow::Result<f64> {
        let start = Instant::now();
        work()?;
        Ok(start.elapsed().as_secs_f64())
    };
    // What a visit begins with, and what judging a whole photo adds.
    let source = sources
        .first()
        .ok_or_else(|| anyhow::anyhow!("no photos"))?;
    let decode = seconds(&|| Ok(photo::read(source).map(drop)?))?;
    let measure = seconds(&|| Ok(photo::measure(source).map(drop)?))?;

    let options = DatasetOptions {
        limits: Limits {
            min_side: args.crop,
            min_sharpness: 0.1,
            min_jpeg_quality: 0,
        },
        crop: CropOptions {
            side: args.crop,
            factor: 2,
            scale: [0.5, 1.0],
            flip: true,
        },
        seed: 0,
        cache: 0,
        crops_per_photo: args.crops_per_photo,
        shuffle: args.shuffle,
    };
    let dataset = Arc::new(Dataset::new(sources, options));
    let block = dataset.order().block() as usize;
    let mut loader = Loader::start(&dataset, 0, Share::ALL, args.workers, 1)?;
    // Whole blocks are timed, after the one in which the threads start.
    for _ in 0..block {
        loader.take()?;
    }
    let samples = args.samples.next_multiple_of(block);
    let start = Instant::now();
    for _ in 0..samples {
        loader.take()?;
    }
    let elapsed = start.elapsed().as_secs_f64();
    println!(
        "{}",
        json!({
            "bench": "loader",
            "workers": args.workers,
            "crops_per_photo": args.crops_per_photo,
            "shuffle": block,
            "crop": args.crop,
            "seconds_to_decode": decode,
            "seconds_to_decode_and_measure": measure,
            "samples": samples,
            "samples_per_second": samples as f64 / elapsed,
        })
    );
    Ok(())
}

/// JPEGs with detail at every scale, as photos have it: octaves of noise, each half as strong as the one that is twice as coarse.
fn make(folder: &Path, megapixels: f64) -> anyhow::Result<()> {
    let width = ((megapixels * 1e6 * 4.0 / 3.0).sqrt()).round() as usize;
    let size = [width * 3 / 4, width];
    for i in 0..MADE {
        let mut picture = Array::zeros([3, 8, 8]);
        for octave in 0.. {
            let side = [size[0].min(12 << octave), size[1].min(16 << octave)];
            picture = resize(&picture, side, Filter::CatmullRom)?;
            let name = format!("{i}.{octave}");
            let noise = unit(&name, 3 * side[0] * side[1]);
            let strength = 0.5f32.powi(octave + 1);
            let values = picture.data_mut().iter_mut().zip(noise);
            values.for_each(|(value, noise)| *value += strength * noise);
            if side == size {
                break;
            }
        }
        write_image(
            &folder.join(format!("{i}.jpg")),
            &picture,
            &Default::default(),
        )?;
    }
    Ok(())
}
