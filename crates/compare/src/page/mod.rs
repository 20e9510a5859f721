//! The comparison page: one HTML file with images, clips, numbers and everything that is needed to look at them, which asks the
//! network for nothing.
//!
//! A clip is its frames as images, so that every one is there without loss, at whatever frame the page is. Images that browsers show are embedded as they are; others become 8-bit PNGs. They come last in the file, as base64 in script
//! elements that the parser only copies, a few megabytes in each, so that the page is there at once however large it is; `store.js` decodes what is looked at.
//! Images of one row are taken to show the same field of view at whatever size. Tables are written here, all else by the scripts.

mod clip;
mod html;
mod input;
mod report;
mod row;
mod spool;
mod tables;

use std::io::Write;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use vae2x_core::{Error, Result, temp};

pub use clip::{ClipFacts, Timeline, clip_row};
pub use input::{Crop, Input};
use row::Embedded;
pub use row::{Row, RowOptions, Shown, row};
pub use spool::Spool;

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
            for (id, embedded) in self.embedded() {
                write!(out, "\n<div id=\"{id}\" hidden>").map_err(at)?;
                for piece in embedded.bytes()?.chunks(PIECE) {
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

    /// All images with the ids of their elements: row by row, and those of a clip frame by frame, as they are looked at.
    fn embedded(&self) -> impl Iterator<Item = (String, &Embedded)> {
        self.rows.iter().enumerate().flat_map(|(i, row)| {
            let frames = row.timeline.as_ref().map_or(1, |t| t.numbers.len());
            (0..frames).flat_map(move |frame| {
                let shown = row.pictures.iter().enumerate();
                shown.filter_map(move |(column, shown)| {
                    let shown = shown.as_ref()?;
                    let id = data_id(i, column);
                    let id = match shown.clip {
                        Some(_) => format!("{id}-{frame}"),
                        None => id,
                    };
                    Some((id, shown.files.get(frame)?))
                })
            })
        })
    }
}

/// The element that holds an image.
fn data_id(row: usize, column: usize) -> String {
    format!("picture-{row}-{column}")
}
