//! Rows: images of one thing, each read, measured and let go.

use std::borrow::Cow;

use vae2x_core::{Array, Error, Result};
use vae2x_media::picture::image_bytes;
use vae2x_media::pixels::picture_size;

use super::input::{self, Crop, Input, Source};
use vae2x_measure::numbers::{NUMBERS, Subject, at_size};
use vae2x_measure::speckle::scale_to;

/// Images of one thing, one or none for each name of the page.
#[derive(Clone, Debug)]
pub struct Row {
    /// The name of the row.
    pub name: String,
    /// In the order of the page's names.
    pub pictures: Vec<Option<Shown>>,
}

/// An image in the page.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Name of its file, without folders.
    pub file: String,
    /// Format and depth, in words.
    pub format: String,
    /// Bytes of the file.
    pub length: u64,
    /// `[H, W]`, of the part that is shown.
    pub size: [usize; 2],
    /// Sentences on what the page does not show as the file has it.
    pub notes: Vec<String>,
    /// One per entry of [`NUMBERS`]; none where it does not apply.
    pub numbers: Vec<Option<f64>>,
    /// Whether the numbers are of the image at its reference's size, which is another than its own.
    pub is_resampled: bool,
    pub(super) media_type: &'static str,
    source: Source,
}

impl Shown {
    /// The embedded image.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] if the file has another length than when it was measured.
    pub(super) fn bytes(&self) -> Result<Cow<'_, [u8]>> {
        match &self.source {
            Source::Png(bytes) => Ok(Cow::Borrowed(bytes)),
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
    let crops = match options.crop {
        Some(crop) => own_crops(name, inputs, crop)?,
        None => vec![None; inputs.len()],
    };
    let read = |i: usize| {
        inputs[i]
            .as_ref()
            .map(|input| input::load(input, crops[i]))
            .transpose()
    };
    let measure = match options.skip_numbers {
        true => None,
        false => Some(Measure {
            base: smallest(inputs, &crops)?,
            reference: read(options.reference)?.map(|r| r.pixels),
        }),
    };
    let mut pictures = Vec::with_capacity(inputs.len());
    for i in 0..inputs.len() {
        let picture = read(i)?
            .map(|loaded| shown(loaded, measure.as_ref(), i == options.reference))
            .transpose()?;
        if picture.is_some() {
            tick();
        }
        pictures.push(picture);
    }
    Ok(Row {
        name: name.into(),
        pictures,
    })
}

/// The reference of a row.
struct Measure {
    /// `[H, W]` at base resolution, for which the row's smallest image is taken.
    base: [usize; 2],
    reference: Option<Array>,
}

fn smallest(inputs: &[Option<Input>], crops: &[Option<Crop>]) -> Result<[usize; 2]> {
    let of = |(input, crop): (&Option<Input>, &Option<Crop>)| match (input, crop) {
        (None, _) => None,
        (_, Some(crop)) => Some(Ok([crop.height, crop.width])),
        (Some(input), None) => Some(input::size(input)),
    };
    let sizes = inputs
        .iter()
        .zip(crops)
        .filter_map(of)
        .collect::<Result<Vec<_>>>()?;
    Ok(sizes.into_iter().min().unwrap_or_default())
}

fn shown(loaded: input::Loaded, measure: Option<&Measure>, is_reference: bool) -> Result<Shown> {
    let size = picture_size(&loaded.pixels)?;
    let mut notes = loaded.notes;
    let (mut numbers, mut is_resampled) = (vec![None; NUMBERS.len()], false);
    if let Some(measure) = measure {
        let reference = measure.reference.as_ref().filter(|_| !is_reference);
        let target = reference.map_or(Ok(size), picture_size)?;
        let fitted = at_size(&loaded.pixels, target);
        if fitted.is_err() {
            notes
                .push("not measured against the reference, as its sides have another ratio".into());
        }
        let pair = fitted.as_deref().ok().zip(reference);
        let scale = scale_to(size, measure.base);
        let subject = Subject {
            picture: &loaded.pixels,
            scale,
            pair,
            lpips: None,
        };
        numbers = NUMBERS
            .iter()
            .map(|number| number.measure(&subject))
            .collect::<Result<_>>()?;
        is_resampled = pair.is_some() && size != target;
    }
    Ok(Shown {
        file: loaded.file,
        format: loaded.format,
        length: loaded.length,
        size,
        notes,
        numbers,
        is_resampled,
        media_type: loaded.media_type,
        source: loaded.source,
    })
}

/// The part in each image's own pixels.
fn own_crops(row: &str, inputs: &[Option<Input>], crop: Crop) -> Result<Vec<Option<Crop>>> {
    let refuse = |expected: String, got: String| Error::Shape {
        what: format!("row '{row}': the part {crop}"),
        expected,
        got,
    };
    let sizes = inputs
        .iter()
        .map(|i| i.as_ref().map(input::size).transpose())
        .collect::<Result<Vec<_>>>()?;
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
    sizes
        .into_iter()
        .map(|size| size.map(own).transpose())
        .collect()
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
        assert_eq!(NUMBERS[NUMBERS.len() - 1].key, "speckle_db");
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
