//! XMP packets, which are carried on as they are, but for what would no longer be true.

/// Properties about how pixels were stored.
const ABOUT_PIXELS: [&str; 6] = [
    "tiff:Orientation",
    "tiff:ImageWidth",
    "tiff:ImageLength",
    "exif:PixelXDimension",
    "exif:PixelYDimension",
    "exif:ColorSpace",
];

/// Properties of files with more images or a clip behind the first image, and of thumbnails.
const ABOUT_OTHERS: [&str; 8] = [
    "MotionPhoto",
    "MicroVideo",
    "hdrgm:",
    "HDRGainMap",
    "Container:Directory",
    "GDepth:",
    "xmpGImg:",
    "HasExtendedXMP",
];

/// The packet of an image alone; `None` if it is no text or describes what else the file holds.
pub(super) fn of_image(packet: Vec<u8>) -> Option<Vec<u8>> {
    let mut text = String::from_utf8(packet).ok()?;
    if ABOUT_OTHERS.iter().any(|property| text.contains(property)) {
        return None;
    }
    for property in ABOUT_PIXELS {
        while let Some(range) = find(&text, property) {
            text.replace_range(range, "");
        }
    }
    Some(text.into_bytes())
}

/// Where a property stands as an attribute, with the space before it, or as an element.
fn find(text: &str, property: &str) -> Option<std::ops::Range<usize>> {
    text.match_indices(property).find_map(|(at, _)| {
        let before = text[..at].chars().next_back()?;
        let after = &text[at + property.len()..];
        if before == '<' {
            let end = format!("</{property}>");
            let length = after.find(&end)? + end.len();
            return Some(at - 1..at + property.len() + length);
        }
        let value = after.trim_start().strip_prefix('=')?.trim_start();
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let length = 1 + value[1..].find(quote)? + 1;
        let end = text.len() - value.len() + length;
        before
            .is_whitespace()
            .then_some(at - before.len_utf8()..end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(packet: &str) -> Option<String> {
        of_image(packet.into()).map(|packet| String::from_utf8(packet).unwrap())
    }

    #[test]
    fn orientation_and_size_are_taken_out() {
        let packet = "<a tiff:Orientation=\"6\" dc:x='1' exif:PixelXDimension = '20'/>\
                      <tiff:ImageWidth>5</tiff:ImageWidth><b/>tiff:Orientation";
        let expected = "<a dc:x='1'/><b/>tiff:Orientation";
        assert_eq!(cleaned(packet).unwrap(), expected);
    }

    #[test]
    fn packets_about_other_images_are_left_out() {
        assert_eq!(cleaned("<a GCamera:MotionPhoto=\"1\"/>"), None);
        assert_eq!(cleaned("<a hdrgm:Version=\"1.0\"/>"), None);
        assert_eq!(of_image(vec![0xff]), None);
    }
}
