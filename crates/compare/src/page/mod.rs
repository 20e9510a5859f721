//! The comparison page: one HTML file with images, numbers and everything that is needed to look at them, which asks the network
//! for nothing.
//!
//! Images that browsers show are embedded as they are; others become 8-bit PNGs. They come last in the file, as base64 in script
//! elements that the parser only copies, a few megabytes in each, so that the page is there at once however large it is; `store.js` decodes what is looked at.
//! Images of one row are taken to show the same field of view at whatever size. Tables are written here, all else by the scripts.

mod html;
mod input;
mod row;
mod tables;

use std::io::Write;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use vae2x_core::{Error, Result, temp};

pub use input::{Crop, Input};
pub use row::{Row, RowOptions, Shown, row};

/// Bytes of an image per script element: a browser takes each in at one go, and should not be busy with it for long. Divisible by 3,
/// so that each is base64 by itself.
const PIECE: usize = 3 << 20;

/// A comparison page.
#[derive(Clone, Debug)]
pub struct Page {
    /// Heading and window title.
    pub title: String,
    /// The names under which images are compared; every row has one image or none for each.
    pub names: Vec<String>,
    /// Index of the name that the others are measured against.
    pub reference: usize,
    /// The rows.
    pub rows: Vec<Row>,
}

impl Page {
    /// Writes the page to `path`, whole or not at all, and gives its size in bytes.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written or an image cannot be read again; [`Error::Format`] for an image that has changed since.
    pub fn write(&self, path: &Path) -> Result<u64> {
        temp::write(path, |out| {
            let at = |e| Error::io(path, e);
            out.write_all(html::head(self).into_string().as_bytes())
                .map_err(at)?;
            for (row, column, shown) in self.shown() {
                write!(out, "\n<div id=\"{}\" hidden>", data_id(row, column)).map_err(at)?;
                for piece in shown.bytes()?.chunks(PIECE) {
                    let base64 = STANDARD.encode(piece);
                    write!(out, "<script type=\"text/plain\">{base64}</script>").map_err(at)?;
                }
                out.write_all(b"</div>").map_err(at)?;
            }
            out.write_all(b"\n</body></html>\n").map_err(at)
        })?;
        Ok(std::fs::metadata(path)
            .map_err(|e| Error::io(path, e))?
            .len())
    }

    /// Row, column, image.
    fn shown(&self) -> impl Iterator<Item = (usize, usize, &Shown)> {
        self.rows.iter().enumerate().flat_map(|(row, r)| {
            r.pictures
                .iter()
                .enumerate()
                .filter_map(move |(column, p)| Some((row, column, p.as_ref()?)))
        })
    }

    /// The scripts' data about the images.
    fn report(&self) -> Value {
        let picture = |row: usize, column: usize, shown: &Shown| {
            let [height, width] = shown.size;
            let (name, data) = (&self.names[column], data_id(row, column));
            json!({ "name": name, "width": width, "height": height, "type": shown.media_type, "data": data })
        };
        let pictures = |row: usize, r: &Row| -> Vec<Value> {
            let columns = r.pictures.iter().enumerate();
            columns
                .map(|(c, p)| p.as_ref().map_or(Value::Null, |p| picture(row, c, p)))
                .collect()
        };
        let rows = self
            .rows
            .iter()
            .enumerate()
            .map(|(i, r)| json!({ "name": r.name, "pictures": pictures(i, r) }));
        json!({ "names": self.names, "reference": self.reference, "rows": rows.collect::<Vec<_>>() })
    }
}

/// The element that holds an image.
fn data_id(row: usize, column: usize) -> String {
    format!("picture-{row}-{column}")
}
