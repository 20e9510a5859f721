//! Files that are not read, by their first bytes: what they are and what to do with them.

use std::path::Path;

/// The formats that are read, in words.
pub(super) const READ: &str = "PNG, JPEG, WebP, GIF, TIFF, EXR and BMP";

/// A sentence on a file of a known format that is not read, which begins as `start` does.
pub(super) fn named(path: &Path, start: &[u8]) -> Option<String> {
    if let Some(name) = raw_tiff(start).or_else(|| image_name(path, start)) {
        return Some(format!(
            "{name} images are not read; convert it to PNG, JPEG or TIFF first"
        ));
    }
    let what = match start {
        [_, _, _, _, b'f', b't', b'y', b'p', ..] | [0x1a, 0x45, 0xdf, 0xa3, ..] => {
            "a video; save its frames as images, such as with ffmpeg"
        }
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'A',
            b'V',
            b'I',
            b' ',
            ..,
        ] => "a video; save its frames as images, such as with ffmpeg",
        [b'%', b'P', b'D', b'F', ..] => "a PDF document; save its pages as images",
        [b'P', b'K', 3, 4, ..] => "a zip archive; unpack it",
        _ if begins_as(start, b"<!doctype html") || begins_as(start, b"<html") => {
            "a web page; download the image itself"
        }
        _ if start.starts_with(b"version https://git-lfs") => {
            "a pointer of Git LFS; run git lfs pull for the image"
        }
        _ => return None,
    };
    Some(format!("not an image but {what}"))
}

fn image_name(path: &Path, start: &[u8]) -> Option<&'static str> {
    if let [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] = start {
        return media_brand(brand);
    }
    Some(match start {
        [0xff, 0x0a, ..] | [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] => "JPEG XL",
        [0, 0, 0, 12, b'j', b'P', b' ', b' ', ..] | [0xff, 0x4f, 0xff, 0x51, ..] => "JPEG 2000",
        [0xff, 0xd8, 0xff, 0xf7, ..] => "JPEG-LS",
        _ if start.starts_with(b"\x89PNG") && start.get(12..16) == Some(b"CgBI") => {
            "Apple's own PNG (CgBI)"
        }
        [b'I', b'I', 0xbc, ..] => "JPEG XR",
        [b'I', b'I', b'+', 0, ..] | [b'M', b'M', 0, b'+', ..] => "BigTIFF",
        [b'8', b'B', b'P', b'S', ..] => "Photoshop (PSD)",
        [b'g', b'i', b'm', b'p', b' ', b'x', b'c', b'f', ..] => "GIMP (XCF)",
        [0, 0, 1, 0, count, 0, ..] if *count > 0 => "ICO",
        [0, 0, 2, 0, count, 0, ..] if *count > 0 => "cursor (CUR)",
        [b'P', b'1'..=b'7', b' ' | b'\t' | b'\r' | b'\n' | b'#', ..] => "PNM (PBM, PGM, PPM, PAM)",
        [b'P', b'F' | b'f', b'\n', ..] => "PFM",
        [b'q', b'o', b'i', b'f', ..] => "QOI",
        [b'D', b'D', b'S', b' ', ..] => "DDS",
        [b'#', b'?', ..] => "Radiance (HDR)",
        [b'f', b'a', b'r', b'b', b'f', b'e', b'l', b'd', ..] => "farbfeld",
        [0xab, b'K', b'T', b'X', ..] => "KTX",
        [b'B', b'P', b'G', 0xfb, ..] => "BPG",
        [b'S', b'I', b'M', b'P', b'L', b'E', b' ', ..] => "FITS",
        [0xd7, 0xcd, 0xc6, 0x9a, ..] => "WMF",
        [0x0a, 0..=5, 1, 1 | 2 | 4 | 8, ..] => "PCX",
        _ if is_raw(start) => "camera raw",
        _ if is_svg(start) => "SVG",
        _ if is_tga(path, start) => "TGA",
        _ => return None,
    })
}

/// The name of an image in a container that videos use, too.
fn media_brand(brand: &[u8]) -> Option<&'static str> {
    // The main brand, a version, and the brands that it is compatible with.
    let brands = brand.chunks_exact(4).take(16);
    brands.into_iter().find_map(|brand| match brand {
        b"avif" | b"avis" => Some("AVIF"),
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1" => {
            Some("HEIC")
        }
        b"crx " => Some("camera raw"),
        _ => None,
    })
}

/// Raw files whose format is not TIFF, or TIFF with a mark of its own.
fn is_raw(start: &[u8]) -> bool {
    let starts = [
        &b"IIU\0"[..],
        b"IIRO",
        b"IIRS",
        b"MMOR",
        b"FUJIFILMCCD-RAW",
        b"FOVb",
        b"\0MRM",
    ];
    let is_canon = start.starts_with(b"II*\0") && start.get(8..10) == Some(b"CR");
    is_canon || starts.iter().any(|mark| start.starts_with(mark))
}

fn is_svg(start: &[u8]) -> bool {
    let names_it = || start.windows(4).any(|w| w.eq_ignore_ascii_case(b"<svg"));
    begins_as(start, b"<svg")
        || ((begins_as(start, b"<?xml") || begins_as(start, b"<!--")) && names_it())
        || begins_as(start, b"<!doctype svg")
}

/// TGA has no mark at its beginning: its name and a likely header must do.
fn is_tga(path: &Path, start: &[u8]) -> bool {
    let is_named = path.extension().is_some_and(|e| {
        let e = e.to_string_lossy().to_ascii_lowercase();
        matches!(e.as_str(), "tga" | "icb" | "vda" | "vst")
    });
    let is_likely = matches!(start, [_, 0 | 1, 1..=3 | 9..=11, ..])
        && matches!(start.get(16), Some(8 | 15 | 16 | 24 | 32));
    is_named && is_likely
}

/// Whether a text begins with `what`, in upper or lower case, behind a mark of its encoding and
/// spaces.
fn begins_as(start: &[u8], what: &[u8]) -> bool {
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    let text = text.trim_ascii_start();
    text.get(..what.len())
        .is_some_and(|begin| begin.eq_ignore_ascii_case(what))
}

/// The name of a camera's raw file that is a TIFF file, whose first image is a small preview.
fn raw_tiff(file: &[u8]) -> Option<&'static str> {
    let u16_of = match file.first_chunk()? {
        b"II*\0" => u16::from_le_bytes,
        b"MM\0*" => u16::from_be_bytes,
        _ => return None,
    };
    let u32_of = |bytes: [u8; 4]| match file[0] {
        b'I' => u32::from_le_bytes(bytes),
        _ => u32::from_be_bytes(bytes),
    };
    let at = u32_of(*file.get(4..)?.first_chunk()?) as usize;
    let (count, entries) = file.get(at..)?.split_first_chunk()?;
    let (entries, _) = entries.as_chunks::<12>();
    let mut entries = entries.iter().take(u16_of(*count).into());
    entries.find_map(|entry| {
        let value = u32_of([entry[8], entry[9], entry[10], entry[11]]);
        match u16_of([entry[0], entry[1]]) {
            // The kind of the image is that of a smaller version of another one.
            0x00fe if value == 1 => Some("camera raw"),
            // The version of DNG.
            0xc612 => Some("camera raw (DNG)"),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_its_name() {
        let heic = b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic";
        let avif = b"\0\0\0\x18ftypavif\0\0\0\0mif1miaf";
        let cases: [(&str, &[u8], &str); 15] = [
            ("a.heic", heic, "HEIC"),
            ("a.avif", avif, "AVIF"),
            ("a.jxl", b"\xff\x0a\0\0", "JPEG XL"),
            ("a.jxl", b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
            ("a.jp2", b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
            ("a.png", b"\x89PNG\r\n\x1a\n\0\0\0\x04CgBI\x50\0", "CgBI"),
            ("a.ico", b"\0\0\x01\0\x01\0", "ICO"),
            ("a.ppm", b"P6\n1 1\n255\n", "PNM"),
            ("a.svg", b"<?xml version='1.0'?>\n<svg/>", "SVG"),
            ("a.psd", b"8BPS\0\x01", "Photoshop"),
            ("a.cr2", b"II*\0\x10\0\0\0CR\x02\0", "camera raw"),
            (
                "a.tga",
                b"\0\0\x02\0\0\0\0\0\0\0\0\0\x08\0\x08\0\x18\0",
                "TGA",
            ),
            ("a.jpg", b"\n<!DOCTYPE html><svg/>", "web page"),
            (
                "a.png",
                b"version https://git-lfs.github.com/spec/v1",
                "Git LFS",
            ),
            ("a.mp4", b"\0\0\0\x18ftypmp42\0\0\0\0isom", "video"),
        ];
        for (path, start, name) in cases {
            let found = named(Path::new(path), start);
            assert!(
                found.as_ref().is_some_and(|f| f.contains(name)),
                "{path}: {found:?}"
            );
        }
        let dng = b"MM\0*\0\0\0\x08\0\x01\xc6\x12\0\x01\0\0\0\x04\x01\x04\0\0";
        assert!(named(Path::new("a.dng"), dng).unwrap().contains("DNG"));
        let preview = b"II*\0\x08\0\0\0\x01\0\xfe\0\x04\0\x01\0\0\0\x01\0\0\0";
        assert!(
            named(Path::new("a.nef"), preview)
                .unwrap()
                .contains("camera raw")
        );
        for start in [
            &b"hello"[..],
            b"",
            b"\x89PNG\r\n\x1a\n",
            b"II*\0\x08\0\0\0",
            b"BM",
        ] {
            assert_eq!(named(Path::new("a.tga"), start), None);
        }
    }
}
