//! Rows: images of one thing, each read, measured and let go.

use std::borrow::Cow;

use vae2x_core::{Array, Error, Result};
use vae2x_media::picture::image_bytes;
use vae2x_media::pixels::picture_size;
use vae2x_media::video::Rate;

use super::clip::{ClipFacts, Timeline};
use super::input::{self, Crop, Input, Source};
use vae2x_measure::numbers::{NUMBERS, Subject, at_size};
use vae2x_measure::speckle::scale_to;

/// Images or clips of one thing, one or none for each name of the page.
#[derive(Clone, Debug)]
pub struct Row {
    /// The name of the row.
    pub name: String,
    /// In the order of the page's names.
    pub pictures: Vec<Option<Shown>>,
    /// When the frames are shown, if these are clips.
    pub timeline: Option<Timeline>,
}

/// An image or a clip in the page.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Name of its file or folder, without those above it.
    pub file: String,
    /// Format and depth, in words.
    pub format: String,
    /// Bytes of the file, or of the frames' files.
    pub length: u64,
    /// `[H, W]`, of the part that is shown.
    pub size: [usize; 2],
    /// Sentences on what the page does not show as the file has it.
    pub notes: Vec<String>,
    /// One per entry of [`NUMBERS`], means over frames for clips; none where it does not apply.
    pub numbers: Vec<Option<f64>>,
    /// Whether the numbers are of the image at its reference's size, which is another than its own.
    pub is_resampled: bool,
    /// What a clip has beyond an image.
    pub clip: Option<ClipFacts>,
    /// The image, or the frames of the clip.
    pub(super) files: Vec<Embedded>,
}

/// An image file in the page.
#[derive(Clone, Debug)]
pub(super) struct Embedded {
    pub media_type: &'static str,
    /// Bytes of the file, if it is one.
    pub length: u64,
    pub source: Source,
}

impl Embedded {
    /// Its contents.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] if the file has another length than when it was measured.
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>> {
        match &self.source {
            Source::Png(bytes) => Ok(Cow::Borrowed(bytes)),
            Source::Spooled(spooled) => spooled.bytes().map(Cow::Owned),
            Source::File(path) => {
                let bytes = image_bytes(path)?;
                match bytes.len() as u64 == self.length {
                    true => Ok(Cow::Owned(bytes)),
                    false => Err(Error::format(
                        path,
                        "the file has changed while the page was made",
                    )),
                }
            }
        }
    }
}

/// How rows are read and measured.
#[derive(Clone, Copy, Debug, Default)]
pub struct RowOptions {
    /// Index of the name that the others are measured against.
    pub reference: usize,
    /// Show and measure this part.
    pub crop: Option<Crop>,
    /// Leave the numbers out, which take longer than all else for large images.
    pub skip_numbers: bool,
    /// Frames per second of clips; else their own.
    pub rate: Option<Rate>,
}

/// Reads and measures the images of a row; `tick` is called after each that there is. Two are in memory at a time.
///
/// # Errors
/// [`Error::Io`] or [`Error::Format`] naming an image that cannot be read; [`Error::Shape`] for a part that lies outside or
/// between the pixels of one.
pub fn row(
    name: &str,
    inputs: &[Option<Input>],
    options: &RowOptions,
    tick: &mut dyn FnMut(),
) -> Result<Row> {
    let sizes = inputs
        .iter()
        .map(|input| input.as_ref().map(input::size).transpose())
        .collect::<Result<Vec<_>>>()?;
    let crops = match options.crop {
        Some(crop) => own_crops(name, &sizes, crop)?,
        None => vec![None; inputs.len()],
    };
    let read = |i: usize| {
        inputs[i]
            .as_ref()
            .map(|input| input::load(input, crops[i]))
            .transpose()
    };
    let reference = match options.skip_numbers {
        true => None,
        false => read(options.reference)?.map(|r| r.pixels),
    };
    let base = smallest(&sizes, &crops);
    let mut pictures = Vec::with_capacity(inputs.len());
    for i in 0..inputs.len() {
        let measure = (!options.skip_numbers).then(|| Measure {
            base,
            reference: reference.as_ref().filter(|_| i != options.reference),
        });
        let picture = read(i)?
            .map(|loaded| shown(loaded, measure.as_ref()))
            .transpose()?;
        if picture.is_some() {
            tick();
        }
        pictures.push(picture);
    }
    Ok(Row {
        name: name.into(),
        pictures,
        timeline: None,
    })
}

/// What an image of a row is measured with.
pub(super) struct Measure<'a> {
    /// `[H, W]` at base resolution, for which the row's smallest image is taken.
    pub base: [usize; 2],
    /// The reference, unless the image is that.
    pub reference: Option<&'a Array>,
}

/// The numbers of an image.
pub(super) struct Measured {
    pub numbers: Vec<Option<f64>>,
    pub is_resampled: bool,
    /// A sentence on what was not measured.
    pub note: Option<String>,
}

impl Measured {
    pub fn nothing() -> Self {
        Self {
            numbers: vec![None; NUMBERS.len()],
            is_resampled: false,
            note: None,
        }
    }
}

impl Measure<'_> {
    pub fn of(&self, pixels: &Array) -> Result<Measured> {
        let size = picture_size(pixels)?;
        let target = self.reference.map_or(Ok(size), picture_size)?;
        let fitted = at_size(pixels, target);
        let note = fitted
            .is_err()
            .then(|| "not measured against the reference, as its sides have another ratio".into());
        let pair = fitted.as_deref().ok().zip(self.reference);
        let subject = Subject {
            picture: pixels,
            scale: scale_to(size, self.base),
            pair,
            lpips: None,
        };
        let numbers = NUMBERS
            .iter()
            .map(|number| number.measure(&subject))
            .collect::<Result<_>>()?;
        Ok(Measured {
            numbers,
            is_resampled: pair.is_some() && size != target,
            note,
        })
    }
}

/// The size of a row's smallest image, or of its part.
pub(super) fn smallest(sizes: &[Option<[usize; 2]>], crops: &[Option<Crop>]) -> [usize; 2] {
    let of = |(size, crop): (&Option<[usize; 2]>, &Option<Crop>)| match crop {
        Some(crop) => size.map(|_| [crop.height, crop.width]),
        None => *size,
    };
    let sizes = sizes.iter().zip(crops).filter_map(of);
    sizes.min().unwrap_or_default()
}

fn shown(loaded: input::Loaded, measure: Option<&Measure<'_>>) -> Result<Shown> {
    let size = picture_size(&loaded.pixels)?;
    let measured = measure.map_or_else(
        || Ok(Measured::nothing()),
        |measure| measure.of(&loaded.pixels),
    )?;
    let mut notes = loaded.notes;
    notes.extend(measured.note);
    Ok(Shown {
        file: loaded.file,
        format: loaded.format,
        length: loaded.length,
        size,
        notes,
        numbers: measured.numbers,
        is_resampled: measured.is_resampled,
        clip: None,
        files: vec![Embedded {
            media_type: loaded.media_type,
            length: loaded.length,
            source: loaded.source,
        }],
    })
}

/// The part in each image's own pixels.
pub(super) fn own_crops(
    row: &str,
    sizes: &[Option<[usize; 2]>],
    crop: Crop,
) -> Result<Vec<Option<Crop>>> {
    let refuse = |expected: String, got: String| Error::Shape {
        what: format!("row '{row}': the part {crop}"),
        expected,
        got,
    };
    let widest = sizes
        .iter()
        .flatten()
        .copied()
        .max_by_key(|[_, width]| *width)
        .unwrap_or_default();
    let [height, width] = widest;
    if !crop.is_inside(widest) {
        let widest = format!("the widest has {width}x{height} pixels");
        return Err(refuse("a part that is inside its images".into(), widest));
    }
    let own = |size: [usize; 2]| {
        let [h, w] = size;
        let between = || {
            refuse(
                "whole pixels of every image".into(),
                format!("a part of {width}x{height} that falls between the pixels of {w}x{h}"),
            )
        };
        crop.scaled(widest, size).ok_or_else(between)
    };
    sizes.iter().map(|size| size.map(own).transpose()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use vae2x_core::weights::formula::unit;

    fn made(height: usize, width: usize) -> Option<Input> {
        let pixels = Array::new(
            [3, height, width],
            unit("picture", 3 * height * width).collect(),
        )
        .unwrap();
        Some(Input::Pixels {
            file: "made.png".into(),
            pixels,
        })
    }

    fn measured(inputs: &[Option<Input>], options: RowOptions) -> Result<Row> {
        let mut ticks = 0;
        let row = row("r", inputs, &options, &mut || ticks += 1);
        assert!(row.is_err() || ticks == inputs.iter().flatten().count());
        row
    }

    fn psnr(row: &Row, picture: usize) -> Option<f64> {
        row.pictures[picture].as_ref().unwrap().numbers[0]
    }

    #[test]
    fn pictures_are_measured_at_the_size_of_their_reference() {
        let inputs = [
            made(32, 48),
            made(32, 48),
            made(16, 24),
            made(64, 96),
            made(16, 48),
            None,
        ];
        let row = measured(&inputs, RowOptions::default()).unwrap();
        assert_eq!(NUMBERS[0].name, "PSNR");
        assert_eq!(psnr(&row, 0), None, "nothing is measured against itself");
        assert_eq!(psnr(&row, 1), Some(f64::INFINITY));
        assert!(
            psnr(&row, 2).unwrap() < 20.0 && psnr(&row, 3).unwrap() < 20.0,
            "other noise"
        );
        assert_eq!(psnr(&row, 4), None, "another ratio of sides");
        assert_eq!(row.pictures[4].as_ref().unwrap().notes.len(), 1);
        let resampled: Vec<_> = row
            .pictures
            .iter()
            .flatten()
            .map(|p| p.is_resampled)
            .collect();
        assert_eq!(resampled, [false, false, true, true, false]);
        assert!(row.pictures[5].is_none());
        let other = measured(
            &inputs,
            RowOptions {
                reference: 5,
                ..Default::default()
            },
        )
        .unwrap();
        assert_eq!(psnr(&other, 1), None);
        let silent = measured(
            &inputs,
            RowOptions {
                skip_numbers: true,
                ..Default::default()
            },
        )
        .unwrap();
        assert!(
            silent
                .pictures
                .iter()
                .flatten()
                .all(|p| p.numbers.iter().all(Option::is_none))
        );
    }

    #[test]
    fn the_smallest_picture_of_a_row_is_at_base_resolution() {
        let speckle = |inputs: &[Option<Input>]| {
            let row = measured(inputs, RowOptions::default()).unwrap();
            row.pictures[0].as_ref().unwrap().numbers[NUMBERS.len() - 1]
        };
        assert_eq!(NUMBERS[NUMBERS.len() - 1].key, "lattice_energy_db");
        // Enough pixels at base resolution, too few at twice that.
        assert!(speckle(&[made(192, 192), None]).is_some());
        assert_eq!(speckle(&[made(192, 192), made(96, 96)]), None);
    }

    #[test]
    fn parts_follow_the_scale_of_each_picture() {
        let inputs = [made(32, 48), made(16, 24)];
        let cut = |width, height, left, top| {
            measured(
                &inputs,
                RowOptions {
                    crop: Some(Crop {
                        width,
                        height,
                        left,
                        top,
                    }),
                    ..Default::default()
                },
            )
        };
        let sizes: Vec<_> = cut(20, 12, 4, 6)
            .unwrap()
            .pictures
            .iter()
            .flatten()
            .map(|p| p.size)
            .collect();
        assert_eq!(sizes, [[12, 20], [6, 10]]);
        for (left, size) in [(5, "24x16"), (30, "48x32")] {
            let error = cut(20, 12, left, 6).err();
            assert!(
                matches!(
                    &error,
                    Some(Error::Shape { what, got, .. })
                        if what.contains("20x12") && got.contains(size)
                ),
                "{error:?}"
            );
        }
    }
}
