//! Rows: pictures of one thing, each read, measured and let go.

use std::borrow::Cow;

use vae2x_core::{Array, Error, Result};
use vae2x_media::pixels::picture_size;
use vae2x_media::resample::{Filter, resize};

use super::input::{self, Crop, Input, Source};
use crate::numbers::{NUMBERS, Of};

/// Pictures of one thing, one or none for each name of the page.
#[derive(Clone, Debug)]
pub struct Row {
    /// What they show.
    pub name: String,
    /// In the order of the page's names.
    pub pictures: Vec<Option<Shown>>,
}

/// A picture in the page.
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
    /// The size `[H, W]` to which the reference was reduced for the numbers.
    pub reduced_to: Option<[usize; 2]>,
    pub(super) media_type: &'static str,
    source: Source,
}

impl Shown {
    /// What is embedded.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] if the file has another length than when it was measured.
    pub(super) fn bytes(&self) -> Result<Cow<'_, [u8]>> {
        match &self.source {
            Source::Png(bytes) => Ok(Cow::Borrowed(bytes)),
            Source::File(path) => {
                let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
                match bytes.len() as u64 == self.length {
                    true => Ok(Cow::Owned(bytes)),
                    false => Err(Error::format(path, "the file has changed while the page was made")),
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
    /// Leave the numbers out, which take longer than all else for large pictures.
    pub skip_numbers: bool,
}

/// Reads and measures the pictures of a row; `tick` is called after each. Two are in memory at a time.
///
/// # Errors
/// [`Error::Io`] or [`Error::Format`] naming a picture that cannot be read; [`Error::Unsupported`] for a part that lies outside or
/// between the pixels of one.
pub fn row(name: &str, inputs: &[Option<Input>], options: &RowOptions, tick: &mut dyn FnMut()) -> Result<Row> {
    let crops = match options.crop {
        Some(crop) => own_crops(name, inputs, crop)?,
        None => vec![None; inputs.len()],
    };
    let read = |i: usize| inputs[i].as_ref().map(|input| input::load(input, crops[i])).transpose();
    let reference = if options.skip_numbers {
        None
    } else {
        inputs.get(options.reference).map_or(Ok(None), |_| read(options.reference))?
    };
    let reference = reference.map(|loaded| loaded.pixels);
    let mut pictures = Vec::with_capacity(inputs.len());
    for i in 0..inputs.len() {
        let against = reference.as_ref().filter(|_| i != options.reference);
        pictures.push(read(i)?.map(|loaded| shown(loaded, against, options.skip_numbers)).transpose()?);
        tick();
    }
    Ok(Row { name: name.into(), pictures })
}

fn shown(loaded: input::Loaded, reference: Option<&Array>, skip_numbers: bool) -> Result<Shown> {
    let size = picture_size(&loaded.pixels)?;
    let at_size = reference.map(|reference| at_size(reference, size)).transpose()?.flatten();
    let is_reduced = matches!(at_size, Some(Cow::Owned(_)));
    let measure = |number: &crate::numbers::Number| {
        if skip_numbers || size.into_iter().min() < Some(number.least_side) {
            return Ok(None);
        }
        match (&number.of, &at_size) {
            (Of::Picture(of), _) => of(&loaded.pixels).map(Some),
            (Of::Pair(of), Some(reference)) => of(&loaded.pixels, reference).map(Some),
            (Of::Pair(_), None) => Ok(None),
        }
    };
    let numbers = NUMBERS.iter().map(measure).collect::<Result<_>>()?;
    Ok(Shown {
        file: loaded.file,
        format: loaded.format,
        length: loaded.length,
        size,
        notes: loaded.notes,
        numbers,
        reduced_to: is_reduced.then_some(size),
        media_type: loaded.media_type,
        source: loaded.source,
    })
}

/// The reference at a picture's size: itself, or the means of whole blocks of its pixels; none if it is no multiple of that size.
fn at_size(reference: &Array, size: [usize; 2]) -> Result<Option<Cow<'_, Array>>> {
    let own = picture_size(reference)?;
    if own == size {
        return Ok(Some(Cow::Borrowed(reference)));
    }
    let is_multiple = own[0] % size[0] == 0 && own[1] % size[1] == 0 && own[0] / size[0] == own[1] / size[1];
    Ok(if is_multiple { Some(Cow::Owned(resize(reference, size, Filter::Area)?)) } else { None })
}

/// The part in each picture's own pixels.
fn own_crops(row: &str, inputs: &[Option<Input>], crop: Crop) -> Result<Vec<Option<Crop>>> {
    let sizes = inputs.iter().map(|i| i.as_ref().map(input::size).transpose()).collect::<Result<Vec<_>>>()?;
    let Some([height, width]) = sizes.iter().flatten().copied().max_by_key(|[_, w]| *w) else {
        return Ok(sizes.iter().map(|_| None).collect());
    };
    let wanted = format!("the part {}x{}+{}+{}", crop.width, crop.height, crop.left, crop.top);
    let end = |start: usize, length: usize| start.checked_add(length);
    if end(crop.left, crop.width).is_none_or(|x| x > width) || end(crop.top, crop.height).is_none_or(|y| y > height) {
        return Err(Error::Unsupported(format!(
            "row '{row}': {wanted} is not inside its pictures, the widest of which has {width}x{height} pixels"
        )));
    }
    let scaled = |value: usize, to: usize, from: usize| {
        (value as u128 * to as u128 % from as u128 == 0).then(|| (value as u128 * to as u128 / from as u128) as usize)
    };
    let own = |[h, w]: [usize; 2]| {
        let part = || {
            Some(Crop {
                width: scaled(crop.width, w, width)?,
                height: scaled(crop.height, h, height)?,
                left: scaled(crop.left, w, width)?,
                top: scaled(crop.top, h, height)?,
            })
        };
        part().ok_or_else(|| Error::Unsupported(format!("row '{row}': {wanted} of {width}x{height} pixels falls between the pixels of a picture of {w}x{h}; choose multiples")))
    };
    sizes.into_iter().map(|size| size.map(own).transpose()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use vae2x_core::weights::formula::unit;

    fn made(height: usize, width: usize) -> Option<Input> {
        let pixels = Array::new([3, height, width], unit("picture", 3 * height * width).collect()).unwrap();
        Some(Input::Pixels { file: "made.png".into(), pixels })
    }

    fn measured(inputs: &[Option<Input>], options: RowOptions) -> Result<Row> {
        let mut ticks = 0;
        let row = row("r", inputs, &options, &mut || ticks += 1);
        assert!(row.is_err() || ticks == inputs.len());
        row
    }

    fn psnr(row: &Row, picture: usize) -> Option<f64> {
        row.pictures[picture].as_ref().unwrap().numbers[0]
    }

    #[test]
    fn the_reference_is_reduced_to_smaller_pictures_and_never_enlarged() {
        let inputs = [made(32, 48), made(32, 48), made(16, 24), made(64, 96), made(16, 48), None];
        let row = measured(&inputs, RowOptions::default()).unwrap();
        let numbers: Vec<_> = (0..5).map(|i| psnr(&row, i)).collect();
        assert_eq!(NUMBERS[0].name, "PSNR");
        assert_eq!(numbers[0], None, "nothing is measured against itself");
        assert_eq!(numbers[1], Some(f64::INFINITY));
        assert!(numbers[2].unwrap() < 20.0, "noise is unlike its means");
        assert_eq!(numbers[3..], [None, None]);
        let reduced: Vec<_> = row.pictures.iter().flatten().map(|p| p.reduced_to).collect();
        assert_eq!(reduced, [None, None, Some([16, 24]), None, None]);
        assert!(row.pictures[5].is_none());
        let other = measured(&inputs, RowOptions { reference: 5, ..Default::default() }).unwrap();
        assert_eq!(psnr(&other, 1), None);
        let silent = measured(&inputs, RowOptions { skip_numbers: true, ..Default::default() }).unwrap();
        assert!(silent.pictures.iter().flatten().all(|p| p.numbers.iter().all(Option::is_none)));
    }

    #[test]
    fn parts_follow_the_scale_of_each_picture() {
        let inputs = [made(32, 48), made(16, 24)];
        let cut = |width, height, left, top| {
            measured(&inputs, RowOptions { crop: Some(Crop { width, height, left, top }), ..Default::default() })
        };
        let sizes: Vec<_> = cut(20, 12, 4, 6).unwrap().pictures.iter().flatten().map(|p| p.size).collect();
        assert_eq!(sizes, [[12, 20], [6, 10]]);
        assert!(cut(20, 12, 5, 6).unwrap_err().to_string().contains("falls between"));
        assert!(cut(20, 12, 30, 6).unwrap_err().to_string().contains("48x32"));
    }
}
