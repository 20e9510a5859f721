//! Metadata through files: what programs write is read, and written as they read it.

use std::io::Write;
use std::path::Path;

use vae2x_core::Array;
use vae2x_media::picture::{
    Metadata, PictureFormat, PictureOptions, decode_image, encode_image, look_at_image, read_image,
};

const PROMPT: &str = r#"{"1": {"class_type": "KSampler", "inputs": {"text": "ночь 🌙"}}}"#;
const WORKFLOW: &str = r#"{"nodes": [{"id": 1, "title": "猫 🐈 é"}]}"#;
const PARAMETERS: &str = "a cat, 猫\nNegative prompt: blur\nSteps: 20, Sampler: Euler, Seed: 1";

fn grey() -> Array {
    Array::new([3, 8, 8], vec![0.1; 192]).unwrap()
}

fn pair(keyword: &str, text: &str) -> (String, String) {
    (keyword.to_owned(), text.to_owned())
}

fn encoded(format: PictureFormat, metadata: &Metadata) -> Vec<u8> {
    let options = PictureOptions {
        metadata: metadata.clone(),
        ..Default::default()
    };
    encode_image(&grey(), format, &options).unwrap()
}

fn read(file: &[u8]) -> Metadata {
    let picture = decode_image(Path::new("a"), file).unwrap();
    assert_eq!(picture.notes, Vec::<String>::new());
    picture.metadata
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

/// Texts, with JSON as values.
fn values(metadata: &Metadata) -> Vec<(String, serde_json::Value)> {
    let parsed = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| text.into());
    let mut all: Vec<_> = metadata
        .text
        .iter()
        .map(|(keyword, text)| (keyword.clone(), parsed(text)))
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// A block of EXIF with text entries in the image's directory, as Pillow writes it.
fn pillow_exif(entries: &[(u16, &str)], big: bool) -> Vec<u8> {
    let u16_of = |v: u16| {
        if big {
            v.to_be_bytes()
        } else {
            v.to_le_bytes()
        }
    };
    let u32_of = |v: usize| {
        let v = v as u32;
        if big {
            v.to_be_bytes()
        } else {
            v.to_le_bytes()
        }
    };
    let mut block = if big {
        b"MM\0*".to_vec()
    } else {
        b"II*\0".to_vec()
    };
    block.extend(u32_of(8));
    block.extend(u16_of(entries.len() as u16));
    let mut behind = 8 + 2 + 12 * entries.len() + 4;
    for (tag, text) in entries {
        block.extend(u16_of(*tag));
        block.extend(u16_of(2));
        block.extend(u32_of(text.len() + 1));
        block.extend(u32_of(behind));
        behind += text.len() + 1;
    }
    block.extend([0; 4]);
    for (_, text) in entries {
        block.extend(text.as_bytes());
        block.push(0);
    }
    block
}

fn webp_with(exif: Vec<u8>) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = image_webp::WebPEncoder::new(&mut file);
    encoder.set_exif_metadata(exif);
    encoder
        .encode(&[90; 192], 8, 8, image_webp::ColorType::Rgb8)
        .unwrap();
    file
}

/// A JPEG with segments behind its first one.
fn jpeg_with(segments: &[(u8, &[u8])]) -> Vec<u8> {
    let file = encoded(PictureFormat::Jpeg, &Metadata::default());
    let mut added = Vec::new();
    for (marker, data) in segments {
        added.extend([0xff, *marker]);
        added.extend((data.len() as u16 + 2).to_be_bytes());
        added.extend(*data);
    }
    [&file[..2], &added, &file[2..]].concat()
}

/// The named texts of the image's directory, as ComfyUI's page finds them in a WebP.
fn comfy_texts(webp: &[u8]) -> Vec<(String, String)> {
    let at = webp.windows(4).position(|w| w == b"EXIF").unwrap() + 8;
    let block = &webp[at..];
    assert!(block.starts_with(b"II*\0"));
    let u16_at = |at: usize| usize::from(u16::from_le_bytes([block[at], block[at + 1]]));
    let u32_at = |at: usize| u16_at(at) + (u16_at(at + 2) << 16);
    let first = u32_at(4);
    let entries = (0..u16_at(first)).map(|i| first + 2 + 12 * i);
    let texts = entries
        .filter(|&entry| u16_at(entry + 2) == 2)
        .map(|entry| {
            let start = u32_at(entry + 8);
            let text = &block[start..start + u32_at(entry + 4) - 1];
            assert!(text.is_ascii());
            let text = std::str::from_utf8(text).unwrap();
            let (keyword, text) = text.split_once(':').unwrap();
            pair(keyword, text)
        });
    texts.collect()
}

#[test]
fn texts_come_back_from_every_format_that_keeps_them() {
    let metadata = Metadata::from(vec![
        pair("prompt", PROMPT),
        pair("workflow", WORKFLOW),
        pair("parameters", PARAMETERS),
    ]);
    for format in [PictureFormat::Png, PictureFormat::Webp, PictureFormat::Jpeg] {
        let back = read(&encoded(format, &metadata));
        assert_eq!(values(&back), values(&metadata), "{format}");
        assert_eq!((back.exif, back.xmp), (None, None), "{format}");
        assert_eq!(metadata.note_on(format), None);
    }
    let note = metadata.note_on(PictureFormat::Exr).unwrap();
    assert!(
        note.contains("'prompt', 'workflow', 'parameters'"),
        "{note}"
    );
    let webp = encoded(PictureFormat::Webp, &metadata);
    let found = comfy_texts(&webp);
    assert_eq!(found.len(), 2);
    for (keyword, text) in found {
        let expected = if keyword == "prompt" {
            PROMPT
        } else {
            WORKFLOW
        };
        assert_eq!(json(&text), json(expected), "{keyword}");
    }
}

#[test]
fn workflows_of_webp_and_jpeg_are_read() {
    let [prompt, workflow] =
        [("prompt", PROMPT), ("workflow", WORKFLOW)].map(|(k, t)| (k, json(t)));
    let expected = [prompt, workflow].map(|(k, t)| (k.to_owned(), t));
    for (names, big) in [
        (["prompt", "workflow"], false),
        (["Prompt", "Workflow"], true),
    ] {
        let texts = [
            format!("{}:{PROMPT}", names[0]),
            format!("{}:{WORKFLOW}", names[1]),
        ];
        // ComfyUI's own, and the places that a popular node takes.
        for tags in [[0x0110, 0x010f], [0x010f, 0x010e]] {
            let exif = pillow_exif(&[(tags[0], &texts[0]), (tags[1], &texts[1])], big);
            let head = [b"Exif\0\0", &exif[..]].concat();
            for file in [
                webp_with(exif.clone()),
                webp_with(head.clone()),
                jpeg_with(&[(0xe1, &head)]),
            ] {
                let metadata = read(&file);
                assert_eq!(values(&metadata), expected);
                assert_eq!(metadata.exif, None);
            }
        }
    }
    // A chunk of odd length is filled up, and another follows it.
    let odd = pillow_exif(&[(0x0110, "prompt:{}")], false);
    let odd = if odd.len().is_multiple_of(2) {
        [&odd[..], b"\0"].concat()
    } else {
        odd
    };
    let mut file = webp_with(odd);
    file.extend(b"XMP \x03\0\0\0<a>\0");
    let metadata = read(&file);
    assert_eq!(metadata.text, [pair("prompt", "{}")]);
    assert_eq!(metadata.xmp.as_deref(), Some(&b"<a>"[..]));
}

#[test]
fn parameters_of_a_comment_are_a_text_and_other_comments_stay() {
    let comment = |value: &[u8]| {
        let mut block = b"MM\0*\0\0\0\x08\0\x01\x87\x69\0\x04\0\0\0\x01\0\0\0\x1a\0\0\0\0".to_vec();
        block.extend(b"\0\x01\x92\x86\0\x07");
        block.extend((value.len() as u32).to_be_bytes());
        block.extend(44u32.to_be_bytes());
        block.extend([0; 4]);
        block.extend(value);
        [b"Exif\0\0", &block[..]].concat()
    };
    let utf16: Vec<u8> = PARAMETERS
        .encode_utf16()
        .flat_map(u16::to_be_bytes)
        .collect();
    let unicode = [b"UNICODE\0", &utf16[..]].concat();
    let metadata = read(&jpeg_with(&[(0xe1, &comment(&unicode))]));
    assert_eq!(metadata.text, [pair("parameters", PARAMETERS)]);
    assert_eq!(metadata.exif, None);
    let plain = comment(b"ASCII\0\0\0my cat");
    let metadata = read(&jpeg_with(&[(0xe1, &plain)]));
    assert_eq!(metadata.text, []);
    let exif = metadata.exif.unwrap();
    assert!(exif.windows(6).any(|w| w == b"my cat"));
    // What some nodes of ComfyUI write.
    let both = format!(r#"{{"prompt": {PROMPT}, "workflow": {WORKFLOW}}}"#);
    let both = comment(&[b"\0\0\0\0\0\0\0\0", both.as_bytes()].concat());
    let metadata = read(&jpeg_with(&[(0xe1, &both)]));
    let found: Vec<_> = metadata
        .text
        .iter()
        .map(|(k, t)| (k.as_str(), json(t)))
        .collect();
    assert_eq!(
        found,
        [("prompt", json(PROMPT)), ("workflow", json(WORKFLOW))]
    );
}

#[test]
fn texts_of_png_are_read_wherever_and_however_they_are_stored() {
    let packed = |text: &str| {
        let mut encoder =
            flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let mut file = Vec::new();
    let mut writer = png::Encoder::new(&mut file, 1, 1).write_header().unwrap();
    let zipped = [&b"invokeai_metadata\0\0"[..], &packed("{\"a\": 1}")].concat();
    writer.write_chunk(png::chunk::zTXt, &zipped).unwrap();
    writer.write_image_data(&[0]).unwrap();
    let international = [&b"workflow\0\x01\0\0\0"[..], &packed(WORKFLOW)].concat();
    writer
        .write_chunk(png::chunk::iTXt, &international)
        .unwrap();
    let raw = format!("prompt\0{PROMPT}");
    writer
        .write_chunk(png::chunk::tEXt, raw.as_bytes())
        .unwrap();
    writer
        .write_chunk(png::chunk::tEXt, b"prompt\0second")
        .unwrap();
    let xmp = b"XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation=\"6\"/>";
    writer.write_chunk(png::chunk::iTXt, xmp).unwrap();
    let exif = pillow_exif(&[(0x0112, "turned"), (0x0131, "a program")], true);
    writer.write_chunk(png::chunk::eXIf, &exif).unwrap();
    writer.finish().unwrap();
    let metadata = read(&file);
    let expected = [
        pair("invokeai_metadata", "{\"a\": 1}"),
        pair("workflow", WORKFLOW),
        pair("prompt", PROMPT),
    ];
    assert_eq!(metadata.text, expected);
    assert_eq!(metadata.xmp.as_deref(), Some(&b"<x/>"[..]));
    let exif = metadata.exif.clone().unwrap();
    assert!(exif.windows(9).any(|w| w == b"a program"));
    assert!(!exif.windows(6).any(|w| w == b"turned"));
    // All of it goes through PNG, and what JPEG keeps through JPEG.
    let again = read(&encoded(PictureFormat::Png, &metadata));
    assert_eq!(values(&again), values(&metadata));
    assert_eq!((&again.exif, &again.xmp), (&metadata.exif, &metadata.xmp));
    let jpeg = read(&encoded(PictureFormat::Jpeg, &metadata));
    assert_eq!((&jpeg.exif, &jpeg.xmp), (&metadata.exif, &metadata.xmp));
    let note = metadata.note_on(PictureFormat::Jpeg).unwrap();
    assert_eq!(note, "metadata left out: 'invokeai_metadata'");
}

#[test]
fn damaged_and_huge_texts_are_left_out_and_named() {
    let mut file = encoded(PictureFormat::Png, &vec![pair("prompt", "{}")].into());
    let at = file.windows(6).position(|w| w == b"prompt").unwrap();
    file[at + 7] ^= 1;
    let metadata = read(&file);
    assert_eq!(metadata.text, []);
    let note = metadata.note_on(PictureFormat::Png).unwrap();
    assert!(note.contains("'prompt', which is damaged"), "{note}");
    // A text that unpacks to much, or many that do together.
    let half = "a".repeat((16 << 20) / 2 + 1);
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, 1, 1);
    for keyword in ["one", "two"] {
        encoder
            .add_ztxt_chunk(keyword.into(), half.clone())
            .unwrap();
    }
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[0]).unwrap();
    writer.finish().unwrap();
    let metadata = read(&file);
    assert_eq!(metadata.text.len(), 1);
    let note = metadata.note_on(PictureFormat::Png).unwrap();
    assert!(note.contains("'two', which is"), "{note}");
}

#[test]
fn what_does_not_fit_a_jpeg_is_left_out_and_named() {
    let long = format!("[\"{}\"]", "x".repeat(70_000));
    let metadata = Metadata::from(vec![
        pair("workflow", &long),
        pair("prompt", PROMPT),
        pair("Comment", "made by hand"),
    ]);
    let back = read(&encoded(PictureFormat::Jpeg, &metadata));
    let keywords: Vec<_> = back.text.iter().map(|(k, _)| k.as_str()).collect();
    assert_eq!(keywords, ["Comment", "prompt"]);
    let note = metadata.note_on(PictureFormat::Jpeg).unwrap();
    assert!(note.contains("'workflow', for which 65527 bytes"), "{note}");
    let note = metadata.note_on(PictureFormat::Webp).unwrap();
    assert_eq!(note, "metadata left out: 'Comment'");
    let back = read(&encoded(PictureFormat::Webp, &metadata));
    assert_eq!(back.text.len(), 2);
}

#[test]
fn what_is_not_carried_on_is_named() {
    let xmp = b"http://ns.adobe.com/xap/1.0/\0<a GCamera:MotionPhoto=\"1\"/>";
    let file = jpeg_with(&[
        (0xe1, b"Exif\0\0junk"),
        (0xe1, xmp),
        (0xed, b"Photoshop 3.0\08BIM"),
        (0xfe, b"a comment"),
    ]);
    let metadata = read(&file);
    assert_eq!(metadata.text, [pair("Comment", "a comment")]);
    let note = metadata.note_on(PictureFormat::Png).unwrap();
    for part in ["EXIF, which is damaged", "XMP", "IPTC"] {
        assert!(note.contains(part), "{note}");
    }
}

#[test]
fn damaged_exif_is_named() {
    // A text that claims 4 GB, alone and behind one of `abc`.
    let claim = b"\x10\x01\x02\0\xff\xff\xff\xff\x08\0\0\0";
    let whole = b"\x0f\x01\x02\0\x04\0\0\0abc\0";
    let block = |entries: &[u8]| {
        let count = entries.len() as u8 / 12;
        [b"II*\0\x08\0\0\0", &[count, 0][..], entries, &[0; 4]].concat()
    };
    let metadata = read(&webp_with(block(claim)));
    assert_eq!(metadata.left_out, ["EXIF, which is damaged"]);
    assert_eq!(metadata.exif, None);
    let metadata = read(&webp_with(block(&[&whole[..], claim].concat())));
    assert_eq!(metadata.left_out, ["EXIF in part, which is damaged"]);
    assert!(metadata.exif.is_some());
    let metadata = read(&webp_with(block(whole)));
    assert_eq!(metadata.left_out, Vec::<String>::new());
}

#[test]
fn a_reason_that_texts_share_is_given_once() {
    let mut file = Vec::new();
    let mut writer = png::Encoder::new(&mut file, 1, 1).write_header().unwrap();
    for data in [&b"\0text"[..], b"no zero"] {
        writer.write_chunk(png::chunk::tEXt, data).unwrap();
    }
    writer.write_image_data(&[0]).unwrap();
    writer.finish().unwrap();
    let left_out = read(&file).left_out;
    assert_eq!(left_out.len(), 1, "{left_out:?}");
    assert!(
        left_out[0].starts_with("'', 'no zero', which are damaged or"),
        "{left_out:?}"
    );
}

#[test]
fn comments_of_jpeg_may_be_latin_1() {
    for comment in [&b"caf\xe9 note"[..], "café note".as_bytes()] {
        let metadata = read(&jpeg_with(&[(0xfe, comment)]));
        assert_eq!(metadata.text, [pair("Comment", "café note")]);
    }
}

/// EXIF that says how to turn an image is valid behind the pixels of a PNG as well.
#[test]
fn exif_of_png_turns_the_image_before_and_behind_the_pixels() {
    // A quarter to the right, with a name of a camera.
    let exif = b"MM\0\x2a\0\0\0\x08\0\x02\x01\x0f\0\x02\0\0\0\x04abc\0\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    for is_behind in [false, true] {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, 2, 1);
        encoder.set_color(png::ColorType::Grayscale);
        let mut writer = encoder.write_header().unwrap();
        let put = |writer: &mut png::Writer<_>| {
            writer.write_chunk(png::chunk::eXIf, exif).unwrap();
        };
        if !is_behind {
            put(&mut writer);
        }
        writer.write_image_data(&[0, 255]).unwrap();
        if is_behind {
            put(&mut writer);
        }
        writer.finish().unwrap();
        std::fs::write(&path, &file).unwrap();
        assert_eq!(look_at_image(&path).unwrap(), [2, 1], "{is_behind}");
        let image = read_image(&path).unwrap();
        assert_eq!(image.pixels.shape(), [3, 2, 1]);
        assert_eq!(image.pixels.data()[..2], [-1.0, 1.0]);
        assert!(image.metadata.exif.is_some());
    }
}
