//! What commands that measure images and clips share: memory is checked before any image is read, clips are opened before any is
//! measured, and an image that cannot be read is left out.

use std::path::Path;

use vae2x::check_bytes;
use vae2x_compare::clips::{ClipOptions, Clips};
use vae2x_compare::sides::Row;
use vae2x_core::Result;
use vae2x_media::picture::{look_at_image, read_image};

use crate::run::Failures;

/// Bytes of a pixel that is held: three `f32`.
const HELD: u64 = 12;

/// Bytes of a pixel of the largest image while it is measured.
#[derive(Clone, Copy, Debug)]
pub enum Working {
    /// All numbers: two planes of `f64` for each colour, their means and products, and the image brought to another's size.
    Numbers = 80,
    /// The speckle score: the image as it is decoded, and its differences.
    Speckle = 20,
}

/// Refuses images that do not fit together, by their sizes alone.
///
/// # Errors
/// As [`look_at_image`] and [`check_bytes`].
pub fn check_memory<'a>(paths: impl IntoIterator<Item = &'a Path>, working: Working) -> Result<()> {
    let paths = paths.into_iter();
    let sizes = paths.map(|path| Ok((path, look_at_image(path)?)));
    check_sizes(&sizes.collect::<Result<Vec<_>>>()?, working)
}

/// Refuses images, or frames of clips, of these sizes if they do not fit together.
///
/// # Errors
/// As [`check_bytes`].
pub fn check_sizes(images: &[(&Path, [usize; 2])], working: Working) -> Result<()> {
    let (mut all, mut largest) = (0, (0, String::new()));
    for (path, [h, w]) in images {
        let pixels = (h * w) as u64;
        all += pixels;
        if pixels > largest.0 {
            largest = (pixels, format!("{}, {w}x{h} pixels", path.display()));
        }
    }
    let (most, name) = largest;
    let bytes = all * HELD + most * working as u64;
    check_bytes(&format!("measuring {name},"), bytes, None)
}

/// A row, ready to be read.
pub enum Opened {
    /// Of images.
    Images(Row),
    /// Of clips.
    Clips(Clips),
}

impl Opened {
    /// Images, or frames of all clips.
    pub fn images(&self) -> usize {
        match self {
            Self::Images(row) => row.pictures.iter().flatten().count(),
            Self::Clips(clips) => clips.clips().iter().flatten().count() * clips.numbers().len(),
        }
    }
}

/// Opens the rows of clips. Those that cannot be compared are noted.
pub fn open_rows(rows: Vec<Row>, options: &ClipOptions, failed: &mut Failures) -> Vec<Opened> {
    let open = |row: Row| match row.is_clip() {
        false => Some(Opened::Images(row)),
        true => failed.note(&row.stem, open_clips(&row, options)),
    };
    rows.into_iter().filter_map(open).collect()
}

fn open_clips(row: &Row, options: &ClipOptions) -> anyhow::Result<Opened> {
    let clips = Clips::open(row, options)?;
    let opened = clips.clips().iter().flatten();
    let sizes: Vec<_> = opened.map(|clip| (clip.path(), clip.spec().size)).collect();
    check_sizes(&sizes, Working::Numbers)?;
    Ok(Opened::Clips(clips))
}

/// What `measure` makes of a row. If it fails, images that cannot be read are noted and taken out of the row, which is measured once
/// more if it `is_enough` without them.
pub fn row_or_rest<T>(
    row: &mut Row,
    failed: &mut Failures,
    is_enough: impl Fn(&Row) -> bool,
    mut measure: impl FnMut(&Row) -> anyhow::Result<T>,
) -> Option<T> {
    let error = match measure(row) {
        Ok(measured) => return Some(measured),
        Err(error) => error,
    };
    let mut found = false;
    for slot in &mut row.pictures {
        let Some(path) = slot else { continue };
        let read = read_image(path).map_err(Into::into);
        if failed.note(&path.display().to_string(), read).is_none() {
            (*slot, found) = (None, true);
        }
    }
    match found {
        true if is_enough(row) => failed.note(&row.stem, measure(row)),
        true => None,
        false => failed.note(&row.stem, Err(error)),
    }
}
