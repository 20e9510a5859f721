//! Metadata from the bytes of an image file, whatever its format.

use super::exif::Exif;
use super::store::XMP_KEYWORD;
use super::{COMFY_TEXTS, COMMENT, Metadata, PARAMETERS, list, png_text, xmp};
use crate::picture::chunks;
use crate::picture::limits::MAX_METADATA;

/// The metadata of a file; empty for files that are not images.
pub(crate) fn read(file: &[u8]) -> Metadata {
    let mut found = Found {
        left: MAX_METADATA as usize,
        ..Found::default()
    };
    chunks::png(file).for_each(|chunk| found.png(&chunk));
    chunks::webp(file).for_each(|(name, data)| found.webp(name, data));
    chunks::jpeg(file).for_each(|(marker, data)| found.jpeg(marker, data));
    if file.starts_with(b"II*\0") || file.starts_with(b"MM\0*") {
        found.exif = Some(file);
    }
    found.metadata()
}

/// The parts of a file that hold metadata.
#[derive(Default)]
struct Found<'a> {
    metadata: Metadata,
    exif: Option<&'a [u8]>,
    xmp: Option<Vec<u8>>,
    /// Bytes that texts may still take.
    left: usize,
    keywords: std::collections::HashSet<String>,
    /// Texts that could not be read.
    failed: usize,
    /// The first of their names.
    failed_names: Vec<String>,
}

impl<'a> Found<'a> {
    fn png(&mut self, chunk: &chunks::PngChunk<'a>) {
        match &chunk.name {
            b"tEXt" | b"zTXt" | b"iTXt" => self.text(chunk),
            b"eXIf" if chunk.is_whole() => self.exif = self.exif.or(Some(chunk.data)),
            b"caBX" => self.leave_out(CREDENTIALS),
            _ => (),
        }
    }

    /// Adds a text of a PNG file unless its keyword is taken.
    fn text(&mut self, chunk: &chunks::PngChunk<'_>) {
        let head = &chunk.data[..chunk.data.len().min(LONGEST_KEYWORD)];
        let keyword = head.split(|&byte| byte == 0).next();
        let keyword = String::from_utf8_lossy(keyword.unwrap_or_default());
        let shown: String = keyword.chars().take(LONGEST_SHOWN).collect();
        if self.keywords.contains(keyword.as_ref()) {
            return;
        }
        self.keywords.insert(keyword.into_owned());
        let whole = chunk.is_whole();
        let most = if self.failed < MOST_FAILED {
            self.left
        } else {
            0
        };
        let decoded = png_text::decode(chunk.name, chunk.data, most).filter(|_| whole);
        match decoded {
            None => {
                self.failed += 1;
                if self.failed_names.len() < MOST_NAMED {
                    self.failed_names.push(format!("'{shown}'"));
                }
            }
            Some((keyword, text)) if keyword == XMP_KEYWORD => self.xmp(text.into_bytes()),
            // Blocks of JPEG in hexadecimal digits.
            Some((keyword, _)) if keyword.starts_with("Raw profile type") => {
                self.leave_out(&format!("'{shown}'"));
            }
            Some((_, text)) if text.is_empty() => (),
            Some((keyword, text)) => {
                self.left -= text.len();
                self.metadata.text.push((keyword, text));
            }
        }
    }

    fn webp(&mut self, name: [u8; 4], data: &'a [u8]) {
        match &name {
            b"EXIF" => self.exif = self.exif.or(Some(data)),
            b"XMP " => self.xmp(data.to_vec()),
            b"C2PA" => self.leave_out(CREDENTIALS),
            _ => (),
        }
    }

    fn jpeg(&mut self, marker: u8, data: &'a [u8]) {
        const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
        match marker {
            0xe1 if data.starts_with(b"Exif\0\0") => self.exif = self.exif.or(Some(data)),
            0xe1 if data.starts_with(XMP) => self.xmp(data[XMP.len()..].to_vec()),
            0xeb => self.leave_out(CREDENTIALS),
            0xed if data.starts_with(b"Photoshop 3.0\0") => self.leave_out("IPTC"),
            0xfe => {
                let text = png_text::latin1(data).replace('\0', "");
                self.metadata.add(COMMENT, text);
            }
            _ => (),
        }
    }

    fn xmp(&mut self, packet: Vec<u8>) {
        if self.xmp.is_none() && packet.len() <= MAX_METADATA as usize {
            self.xmp = Some(packet);
        }
    }

    fn leave_out(&mut self, what: &str) {
        let left_out = &mut self.metadata.left_out;
        if left_out.len() < MOST_NAMED && left_out.iter().all(|other| other != what) {
            left_out.push(what.to_owned());
        }
    }

    fn metadata(mut self) -> Metadata {
        if !self.failed_names.is_empty() {
            let is = if self.failed == 1 { "is" } else { "are" };
            let names = list(&self.failed_names);
            self.leave_out(&format!(
                "{names}, which {is} damaged or beyond {MAX_METADATA} bytes of texts"
            ));
        }
        if let Some(block) = self.exif {
            match Exif::parse(block) {
                Some(exif) => self.take_exif(exif),
                None => self.leave_out("EXIF, which is damaged"),
            }
        }
        if let Some(packet) = self.xmp.take() {
            self.metadata.xmp = xmp::of_image(packet);
            if self.metadata.xmp.is_none() {
                self.leave_out("XMP, which describes other parts of the file");
            }
        }
        self.metadata
    }

    /// Texts of makers of images become texts; the rest stays.
    fn take_exif(&mut self, mut exif: Exif) {
        for name in COMFY_TEXTS {
            if let Some(text) = exif.take_named(name) {
                self.metadata.add(name, text);
            }
        }
        if let Some(text) = exif.user_comment().filter(|text| is_parameters(text)) {
            exif.set_user_comment(None);
            self.take_comment(text);
        }
        if exif.had_maker_note {
            self.leave_out("the camera's own notes (MakerNote)");
        }
        if let Some(packet) = exif.xmp.take() {
            self.xmp(packet);
        }
        self.metadata.exif = exif.to_bytes();
        if exif.is_damaged {
            let part = if exif.is_empty() { "" } else { " in part" };
            self.leave_out(&format!("EXIF{part}, which is damaged"));
        }
    }

    /// A comment in which a program keeps the parameters of an image. Some nodes of ComfyUI keep an
    /// object there with `prompt` and `workflow` in it.
    fn take_comment(&mut self, text: String) {
        let parsed: Option<serde_json::Map<String, serde_json::Value>> =
            serde_json::from_str(&text).ok();
        let mut is_comfy = false;
        for name in COMFY_TEXTS {
            let graph = parsed.as_ref().and_then(|object| object.get(name));
            if let Some(graph) = graph.filter(|graph| graph.is_object()) {
                self.metadata.add(name, graph.to_string());
                is_comfy = true;
            }
        }
        if !is_comfy {
            self.metadata.add(PARAMETERS, text);
        }
    }
}

/// Content credentials are signed, and no longer true of another image.
const CREDENTIALS: &str = "content credentials";

/// Parts that are named of those left out: a file may have any number.
const MOST_NAMED: usize = 20;
/// Bytes of a keyword, and one more.
const LONGEST_KEYWORD: usize = 80;
/// Texts that may fail before others are given up: each may take long to unpack.
const MOST_FAILED: usize = 4;
/// Characters of a keyword that are shown.
const LONGEST_SHOWN: usize = 40;

/// Whether a comment holds what an image was made with: A1111's lines, or the JSON of others.
fn is_parameters(comment: &str) -> bool {
    comment.contains("Steps: ")
        || comment.trim_start().starts_with('{') && comment.trim_end().ends_with('}')
}
