//! Small pages whose pixels are known.

use std::path::PathBuf;

use vae2x_compare::page::{Input, Page, Row, RowOptions, row};
use vae2x_core::Array;
use vae2x_media::pixels::from_u8;

use crate::chromium::Tab;

pub const RED: [u8; 3] = [220, 40, 40];
pub const GREEN: [u8; 3] = [40, 180, 60];
pub const BLUE: [u8; 3] = [50, 80, 230];

/// An image of `pixel(x, y)`.
pub fn picture(width: usize, height: usize, pixel: impl Fn(usize, usize) -> [u8; 3]) -> Array {
    let value = |i: usize| from_u8(pixel(i % width, i / width % height)[i / (width * height)]);
    Array::new(
        [3, height, width],
        (0..3 * width * height).map(value).collect(),
    )
    .unwrap()
}

pub fn flat(width: usize, height: usize, colour: [u8; 3]) -> Array {
    picture(width, height, |_, _| colour)
}

/// A page on disk, for as long as this lives.
pub struct Made {
    _folder: tempfile::TempDir,
    pub path: PathBuf,
}

/// Writes a page of rows, each with a name and its images.
pub fn page(names: &[&str], rows: Vec<(&str, Vec<Option<Array>>)>) -> Made {
    let read = |(name, pictures): (&str, Vec<Option<Array>>)| {
        let input = |(pixels, side): (Option<Array>, &&str)| {
            pixels.map(|pixels| Input::Pixels {
                file: format!("{side}.png"),
                pixels,
            })
        };
        let inputs: Vec<_> = pictures.into_iter().zip(names).map(input).collect();
        row(name, &inputs, &RowOptions::default(), &mut || ()).unwrap()
    };
    write(names, rows.into_iter().map(read).collect())
}

/// Writes a page of rows that have been read.
pub fn write(names: &[&str], rows: Vec<Row>) -> Made {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page & more.html");
    let names = names.iter().map(|name| name.to_string()).collect();
    Page {
        title: "Test".into(),
        names,
        reference: 0,
        rows,
    }
    .write(&path)
    .unwrap();
    Made {
        path,
        _folder: folder,
    }
}

/// Two rows: red, green and a blue of half the size; then one without green.
pub fn colours() -> Made {
    let row = |middle| vec![Some(flat(64, 48, RED)), middle, Some(flat(32, 24, BLUE))];
    page(
        &["red", "green", "small blue"],
        vec![
            ("first", row(Some(flat(64, 48, GREEN)))),
            ("second", row(None)),
        ],
    )
}

/// What lies on the canvas at a point of the page.
#[track_caller]
pub fn pixel(tab: &mut Tab, (x, y): (f64, f64)) -> [u8; 3] {
    let script = format!(
        "(() => {{ const c = document.getElementById('canvas'), b = c.getBoundingClientRect(), r = devicePixelRatio;
          return [...c.getContext('2d').getImageData(({x} - b.x) * r, ({y} - b.y) * r, 1, 1).data]; }})()"
    );
    let value = tab.eval(&script);
    std::array::from_fn(|i| value[i].as_u64().unwrap() as u8)
}

/// What lies in the middle of the canvas.
#[track_caller]
pub fn middle_pixel(tab: &mut Tab) -> [u8; 3] {
    let at = tab.middle("#canvas");
    pixel(tab, at)
}

/// The zoom that the page shows, in percent.
pub fn zoom(tab: &mut Tab) -> f64 {
    let text = tab.eval("document.getElementById('zoom').textContent");
    text.as_str()
        .unwrap()
        .trim_end_matches(" %")
        .parse()
        .unwrap()
}

/// Whether a button is pressed.
pub fn is_pressed(tab: &mut Tab, selector: &str) -> bool {
    tab.eval(&format!(
        "document.querySelector({selector:?}).getAttribute('aria-pressed')"
    )) == "true"
}
