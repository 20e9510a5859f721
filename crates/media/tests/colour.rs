//! Colours that PNG chunks tell of, and the order in which they count.

use std::path::Path;

use vae2x_media::picture::{Picture, decode_image};

const SRGB_PLACES: [u32; 8] = [31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000];
const P3_PLACES: [u32; 8] = [31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000];

/// [0.4, 0.6, 0.3] of Display P3 in sRGB, by the primaries and the curve of both standards.
const GREEN: [f32; 3] = [0.333_80, 0.606_64, 0.254_70];

fn places(numbers: [u32; 8]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_be_bytes()).collect()
}

fn gamma(number: u32) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

/// A pixel of [0.4, 0.6, 0.3] in 16 bits behind these chunks.
fn read(chunks: &[(&[u8; 4], Vec<u8>)]) -> Picture {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, 1, 1);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Sixteen);
    let mut writer = encoder.write_header().unwrap();
    for (name, data) in chunks {
        writer
            .write_chunk(png::chunk::ChunkType(**name), data)
            .unwrap();
    }
    let samples = [0.4, 0.6, 0.3].map(|v: f64| ((v * 65535.0).round() as u16).to_be_bytes());
    writer.write_image_data(samples.as_flattened()).unwrap();
    writer.finish().unwrap();
    decode_image(Path::new("in.png"), &file).unwrap()
}

#[track_caller]
fn assert_colours(picture: &Picture, expected: [f32; 3]) {
    for (value, expected) in picture.pixels.data().iter().zip(expected) {
        let value = (value + 1.0) / 2.0;
        assert!(
            (value - expected).abs() < 1e-3,
            "{value}, expected {expected}"
        );
    }
}

#[track_caller]
fn assert_converted(chunks: &[(&[u8; 4], Vec<u8>)], expected: [f32; 3], named: &str) {
    let picture = read(chunks);
    assert_colours(&picture, expected);
    assert_eq!(picture.notes.len(), 1, "{:?}", picture.notes);
    let note = &picture.notes[0];
    assert!(note.contains("converted") && note.contains(named), "{note}");
}

#[track_caller]
fn assert_kept(chunks: &[(&[u8; 4], Vec<u8>)], note: Option<&str>) {
    let picture = read(chunks);
    assert_colours(&picture, [0.4, 0.6, 0.3]);
    match note {
        None => assert_eq!(picture.notes, Vec::<String>::new()),
        Some(note) => assert!(
            picture.notes.len() == 1 && picture.notes[0].contains(note),
            "{:?}",
            picture.notes
        ),
    }
}

#[test]
fn primaries_and_curves_are_converted() {
    assert_converted(&[(b"cICP", vec![12, 13, 0, 1])], GREEN, "cICP");
    let curve = (b"gAMA", gamma(45455));
    assert_converted(
        &[curve, (b"cHRM", places(P3_PLACES))],
        GREEN,
        "gAMA and cHRM",
    );
    assert_converted(&[(b"cHRM", places(P3_PLACES))], GREEN, "cHRM");
    // Linear light in the curve of sRGB.
    let curve = |v: f32| 1.055 * v.powf(1.0 / 2.4) - 0.055;
    let linear = [0.4, 0.6, 0.3].map(curve);
    assert_converted(&[(b"gAMA", gamma(100_000))], linear, "gAMA");
    assert_converted(&[(b"cICP", vec![1, 8, 0, 1])], linear, "cICP");
    // The gamma of early Macs.
    let mac = [0.4f32, 0.6, 0.3].map(|v| curve(v.powf(1.8)));
    assert_converted(&[(b"gAMA", gamma(55556))], mac, "gAMA");
}

#[test]
fn what_is_srgb_by_any_name_is_silent() {
    assert_kept(&[(b"cICP", vec![1, 13, 0, 1])], None);
    assert_kept(&[(b"gAMA", gamma(45455))], None);
    assert_kept(
        &[(b"gAMA", gamma(45455)), (b"cHRM", places(SRGB_PLACES))],
        None,
    );
    assert_kept(&[(b"sRGB", vec![0])], None);
}

#[test]
fn the_first_of_the_chunks_in_order_of_precedence_counts() {
    let linear = || (b"gAMA", gamma(100_000));
    // sRGB before gAMA and cHRM.
    assert_kept(&[linear(), (b"sRGB", vec![0])], None);
    // cICP before sRGB.
    let points = || (b"cICP", vec![12, 13, 0, 1]);
    assert_converted(&[(b"sRGB", vec![0]), points(), linear()], GREEN, "cICP");
    // A profile before sRGB, and cICP before a profile.
    let mut profile = flate2::write::ZlibEncoder::new(b"p\0\0".to_vec(), Default::default());
    let p3 = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    std::io::Write::write_all(&mut profile, &p3).unwrap();
    let profile = profile.finish().unwrap();
    assert_converted(&[(b"iCCP", profile.clone()), linear()], GREEN, "profile");
    assert_kept(&[(b"iCCP", profile), (b"cICP", vec![1, 13, 0, 1])], None);
}

#[test]
fn what_cannot_be_converted_is_said() {
    assert_kept(&[(b"cICP", vec![9, 16, 0, 1])], Some("HDR (PQ)"));
    assert_kept(&[(b"cICP", vec![9, 18, 0, 1])], Some("HDR (HLG)"));
    assert_kept(&[(b"cICP", vec![1, 13, 0, 0])], Some("narrow range"));
    assert_kept(&[(b"cICP", vec![1, 13, 1, 1])], Some("YCbCr"));
    assert_kept(&[(b"cICP", vec![1, 13, 0, 7])], Some("cICP"));
    assert_kept(&[(b"cICP", vec![1, 2, 0, 1])], Some("cICP"));
    assert_kept(&[(b"cICP", vec![2, 13, 0, 1])], Some("cICP"));
    assert_kept(&[(b"cICP", vec![1])], Some("damaged"));
    assert_kept(&[(b"gAMA", gamma(0))], Some("damaged"));
    assert_kept(&[(b"cHRM", places([0; 8]))], Some("damaged"));
    let line = [31270, 32900, 30000, 30000, 40000, 40000, 50000, 50000];
    assert_kept(&[(b"cHRM", places(line))], Some("damaged"));
}
