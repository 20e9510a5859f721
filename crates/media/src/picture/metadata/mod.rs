//! What image files carry besides pixels: texts, EXIF and XMP, as programs that make images write
//! them and read them back.
//!
//! | where | ComfyUI | A1111 and others |
//! |---|---|---|
//! | PNG | texts `prompt`, `workflow` | texts `parameters`, `invokeai_metadata`, `Comment`, ... |
//! | WebP, JPEG | EXIF's `Model` is `prompt:` and JSON, `Make` is `workflow:` and JSON | EXIF's `UserComment` |
//! | JPEG | | a comment segment, which is the text `Comment` |
//!
//! In memory all of these are texts; EXIF and XMP hold the rest. What is true of the stored pixels
//! alone (orientation, size, thumbnail) is left out, as images are written upright, and often at
//! another size.

mod exif;
mod png_text;
mod read;
mod store;
mod user_comment;
mod xmp;

pub(crate) use png_text::add as add_png_text;
pub(super) use read::read;
pub(crate) use store::Stored;
pub(super) use store::{add_to_jpeg, png_xmp};

/// The texts that ComfyUI puts into images and latents.
pub const COMFY_TEXTS: [&str; 2] = ["prompt", "workflow"];

/// The texts that latents keep, [`COMFY_TEXTS`], and a sentence on the others.
pub fn comfy_text(text: Vec<(String, String)>) -> (Vec<(String, String)>, Option<String>) {
    let (kept, others): (Vec<_>, Vec<_>) = text
        .into_iter()
        .partition(|(keyword, _)| COMFY_TEXTS.contains(&keyword.as_str()));
    let names: Vec<_> = others
        .iter()
        .map(|(keyword, _)| format!("'{keyword}'"))
        .collect();
    let note = (!names.is_empty()).then(|| {
        let names = list(&names);
        format!("metadata that a latent does not keep: {names}")
    });
    (kept, note)
}

/// The first of some names, and how many more there are.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The text in which A1111 and others keep the parameters of an image.
const PARAMETERS: &str = "parameters";
/// The text that a JPEG keeps in a segment of its own.
const COMMENT: &str = "Comment";

/// Texts, EXIF and XMP of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Keywords, each once, and texts, such as ComfyUI's `prompt` and `workflow` or A1111's
    /// `parameters`.
    pub text: Vec<(String, String)>,
    /// EXIF, from its byte order on, of an image that is upright.
    pub exif: Option<Vec<u8>>,
    /// An XMP packet.
    pub xmp: Option<Vec<u8>>,
    /// What the file has and this leaves out, such as "IPTC".
    pub left_out: Vec<String>,
}

impl Metadata {
    /// Adds a text, unless its keyword is taken.
    fn add(&mut self, keyword: &str, text: String) {
        if !text.is_empty() && self.text.iter().all(|(taken, _)| taken != keyword) {
            self.text.push((keyword.to_owned(), text));
        }
    }
}

impl From<Vec<(String, String)>> for Metadata {
    fn from(text: Vec<(String, String)>) -> Self {
        Self {
            text,
            ..Self::default()
        }
    }
}
