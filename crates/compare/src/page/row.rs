//! Rows: pictures of one thing, each read, measured and let go.

use std::borrow::Cow;

use vae2x_core::{Array, Error, Result};
use vae2x_media::pixels::picture_size;

use super::input::{self, Crop, Input, Source};
use crate::numbers::{self, NUMBERS, Subject};

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
    /// Whether it was brought to the reference's size for the numbers.
    pub is_resized: bool,
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
    let reference = match inputs.get(options.reference) {
        Some(_) if !options.skip_numbers => read(options.reference)?.map(|loaded| loaded.pixels),
        _ => None,
    };
    let mut narrowest = usize::MAX;
    for input in inputs.iter().flatten() {
        narrowest = narrowest.min(input::size(input)?[1]);
    }
    let mut pictures = Vec::with_capacity(inputs.len());
    for i in 0..inputs.len() {
        let against = reference.as_ref().filter(|_| i != options.reference);
        let scale = match &inputs[i] {
            Some(input) => input::size(input)?[1] / narrowest,
            None => 1,
        };
        let numbers = |loaded: &input::Loaded| match options.skip_numbers {
            true => Ok((vec![None; NUMBERS.len()], false)),
            false => measured(&loaded.pixels, scale, against),
        };
        pictures.push(read(i)?.map(|loaded| numbers(&loaded).and_then(|numbers| shown(loaded, numbers))).transpose()?);
        tick();
    }
    Ok(Row { name: name.into(), pictures })
}

fn shown(loaded: input::Loaded, (numbers, is_resized): (Vec<Option<f64>>, bool)) -> Result<Shown> {
    Ok(Shown {
        file: loaded.file,
        format: loaded.format,
        length: loaded.length,
        size: picture_size(&loaded.pixels)?,
        notes: loaded.notes,
        numbers,
        is_resized,
        media_type: loaded.media_type,
        source: loaded.source,
    })
}

/// One number per entry of [`NUMBERS`], and whether the picture was resized for them. The narrowest picture of a row is taken to
/// be at base resolution, others at `scale` times that.
fn measured(picture: &Array, scale: usize, reference: Option<&Array>) -> Result<(Vec<Option<f64>>, bool)> {
    let mut sized = None;
    if let Some(reference) = reference {
        // Pictures of other proportions show something else: they have no numbers against the reference.
        sized = numbers::at_size(picture, picture_size(reference)?).ok().map(|sized| (sized, reference));
    }
    let pair = sized.as_ref().map(|(picture, reference)| (picture.as_ref(), *reference));
    let subject = Subject { picture, scale, pair, lpips: None };
    let numbers = NUMBERS.iter().map(|number| number.measure(&subject)).collect::<Result<_>>()?;
    Ok((numbers, matches!(sized, Some((Cow::Owned(_), _)))))
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

    fn taken(inputs: &[Option<Input>], options: RowOptions) -> Result<Row> {
        let mut ticks = 0;
        let row = row("r", inputs, &options, &mut || ticks += 1);
        assert!(row.is_err() || ticks == inputs.len());
        row
    }

    fn psnr(row: &Row, picture: usize) -> Option<f64> {
        row.pictures[picture].as_ref().unwrap().numbers[0]
    }

    #[test]
    fn pictures_are_brought_to_the_size_of_the_reference() {
        let inputs = [made(32, 48), made(32, 48), made(16, 24), made(64, 96), made(16, 48), None];
        let row = taken(&inputs, RowOptions::default()).unwrap();
        let numbers: Vec<_> = (0..5).map(|i| psnr(&row, i)).collect();
        assert_eq!(NUMBERS[0].name, "PSNR");
        assert_eq!(numbers[0], None, "nothing is measured against itself");
        assert_eq!(numbers[1], Some(f64::INFINITY));
        assert!(numbers[2].unwrap() < 20.0, "small noise is unlike large noise");
        assert!(numbers[3].unwrap() < 20.0);
        assert_eq!(numbers[4], None, "other proportions");
        let resized: Vec<_> = row.pictures.iter().flatten().map(|p| p.is_resized).collect();
        assert_eq!(resized, [false, false, true, true, false]);
        assert!(row.pictures[5].is_none());
        let other = taken(&inputs, RowOptions { reference: 5, ..Default::default() }).unwrap();
        assert_eq!(psnr(&other, 1), None);
        let silent = taken(&inputs, RowOptions { skip_numbers: true, ..Default::default() }).unwrap();
        assert!(silent.pictures.iter().flatten().all(|p| p.numbers.iter().all(Option::is_none)));
    }

    #[test]
    fn parts_follow_the_scale_of_each_picture() {
        let inputs = [made(32, 48), made(16, 24)];
        let cut = |width, height, left, top| {
            taken(&inputs, RowOptions { crop: Some(Crop { width, height, left, top }), ..Default::default() })
        };
        let sizes: Vec<_> = cut(20, 12, 4, 6).unwrap().pictures.iter().flatten().map(|p| p.size).collect();
        assert_eq!(sizes, [[12, 20], [6, 10]]);
        assert!(cut(20, 12, 5, 6).unwrap_err().to_string().contains("falls between"));
        assert!(cut(20, 12, 30, 6).unwrap_err().to_string().contains("48x32"));
    }
}
