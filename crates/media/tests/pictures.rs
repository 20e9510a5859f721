//! Images through files: every format there and back, upright, and refused where they are broken.

use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};
use vae2x_core::{Array, Error};
use vae2x_media::picture::{
    BitDepth, Opacity, PictureFormat, PictureOptions, decode_image, encode_image, look_at_image,
    read_image, read_image_with, write_image,
};
use vae2x_testkit::compare::relative_l2;

/// Smooth gradients with all three colours different, on 8-bit steps.
fn gradient(height: usize, width: usize) -> Array {
    let steps = |c: usize, y: usize, x: usize| {
        [x * 255 / (width - 1), y * 255 / (height - 1), (x + y) % 256][c]
    };
    let plane = height * width;
    let value = |i: usize| steps(i / plane, i / width % height, i % width) as f32 / 127.5 - 1.0;
    Array::new([3, height, width], (0..3 * plane).map(value).collect()).unwrap()
}

fn sixteen() -> PictureOptions {
    PictureOptions {
        depth: BitDepth::Sixteen,
        ..Default::default()
    }
}

#[track_caller]
fn assert_near(got: &Array, want: &Array, largest: f32) {
    assert_eq!(got.shape(), want.shape());
    let worst = got
        .data()
        .iter()
        .zip(want.data())
        .map(|(g, w)| (g - w).abs())
        .fold(0.0, f32::max);
    assert!(
        worst <= largest,
        "largest difference {worst}, expected at most {largest}"
    );
}

#[test]
fn lossless_formats_come_back_within_half_a_step() {
    let folder = tempfile::tempdir().unwrap();
    let picture = Array::new(
        [3, 5, 7],
        (0..105).map(|i| (i as f32 * 0.37).sin()).collect(),
    )
    .unwrap();
    let cases = [
        ("a.png", PictureOptions::default(), 1.0 / 255.0),
        ("b.png", sixteen(), 1.0 / 65535.0),
        ("c.webp", PictureOptions::default(), 1.0 / 255.0),
        ("d.exr", PictureOptions::default(), 1e-6),
        ("e.exr", sixteen(), 1e-6),
    ];
    for (name, options, step) in cases {
        let path = folder.path().join(name);
        write_image(&path, &picture, &options).unwrap();
        let back = read_image(&path).unwrap();
        assert_near(&back.pixels, &picture, step + 1e-6);
        assert_eq!(back.notes, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn jpeg_is_close() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.JPG");
    let picture = gradient(64, 96);
    write_image(&path, &picture, &PictureOptions::default()).unwrap();
    assert!(relative_l2(read_image(&path).unwrap().pixels.data(), picture.data()) < 0.03);
}

#[test]
fn exr_holds_linear_light() {
    // Middle grey of sRGB, 0.5, is 0.2140 in linear light.
    let grey = Array::new([3, 2, 2], vec![0.0; 12]).unwrap();
    let file = encode_image(&grey, PictureFormat::Exr, &PictureOptions::default()).unwrap();
    let light = image::load_from_memory(&file).unwrap().into_rgb32f();
    assert!(
        light.iter().all(|v| (v - 0.214_041).abs() < 1e-5),
        "{light:?}"
    );
}

#[test]
fn png_text_is_found_again() {
    let text = [
        ("prompt".to_owned(), "{\"3\": \"cake\"}".to_owned()),
        ("workflow".to_owned(), "蛋糕 🍰".to_owned()),
    ];
    let options = PictureOptions {
        metadata: text.to_vec().into(),
        ..Default::default()
    };
    let file = encode_image(&gradient(4, 4), PictureFormat::Png, &options).unwrap();
    let reader = png::Decoder::new(std::io::Cursor::new(&file))
        .read_info()
        .unwrap();
    let info = reader.info();
    let latin: Vec<_> = info
        .uncompressed_latin1_text
        .iter()
        .map(|t| (t.keyword.clone(), t.text.clone()))
        .collect();
    assert_eq!(latin, text[..1]);
    let utf8: Vec<_> = info
        .utf8_text
        .iter()
        .map(|t| (t.keyword.clone(), t.get_text().unwrap()))
        .collect();
    assert_eq!(utf8, text[1..]);
    assert!(info.srgb.is_some());
    assert_eq!(
        decode_image(Path::new("a.png"), &file)
            .unwrap()
            .metadata
            .text,
        text
    );
}

#[test]
fn exif_orientation_is_applied() {
    // Black but for the left half; turned a quarter to the right it lies at the top.
    let pixels: Vec<u8> = (0..16 * 32 * 3)
        .map(|i| if i / 3 % 32 < 16 { 250 } else { 5 })
        .collect();
    let mut file = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut file, 95);
    // TIFF header, one entry: tag 0x112 (orientation), type short, count 1, value 6 (turn right).
    let exif = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".to_vec();
    encoder.set_exif_metadata(exif).unwrap();
    encoder
        .write_image(&pixels, 32, 16, ExtendedColorType::Rgb8)
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("turned.jpg"), &file).unwrap();
    assert_eq!(
        look_at_image(&folder.path().join("turned.jpg")).unwrap(),
        [32, 16]
    );
    let upright = decode_image(Path::new("turned.jpg"), &file).unwrap().pixels;
    assert_eq!(upright.shape(), [3, 32, 16]);
    assert!(upright.data()[0] > 0.9, "top left {}", upright.data()[0]);
    assert!(
        upright.data()[31 * 16] < -0.9,
        "bottom left {}",
        upright.data()[31 * 16]
    );
}

#[test]
fn grey_alpha_and_profiles_are_read_and_noted() {
    let read = |colour, depth, samples: &[u8], profile: Option<Vec<u8>>| {
        let mut file = Vec::new();
        let mut info = png::Info::with_size(2, 1);
        (info.color_type, info.bit_depth, info.icc_profile) =
            (colour, depth, profile.map(Into::into));
        let mut writer = png::Encoder::with_info(&mut file, info)
            .unwrap()
            .write_header()
            .unwrap();
        writer.write_image_data(samples).unwrap();
        writer.finish().unwrap();
        decode_image(Path::new("in.png"), &file).unwrap()
    };
    let grey = read(
        png::ColorType::Grayscale,
        png::BitDepth::Sixteen,
        &[0x80, 0, 0xFF, 0xFF],
        None,
    );
    assert_near(
        &grey.pixels,
        &Array::new([3, 1, 2], [32768.0 / 32767.5 - 1.0, 1.0].repeat(3)).unwrap(),
        1e-7,
    );
    assert!(grey.notes.is_empty());

    let clear = read(
        png::ColorType::Rgba,
        png::BitDepth::Eight,
        &[255, 0, 0, 0, 0, 255, 0, 255],
        None,
    );
    assert_near(
        &clear.pixels,
        &Array::new([3, 1, 2], vec![1.0, -1.0, -1.0, 1.0, -1.0, -1.0]).unwrap(),
        0.0,
    );
    assert!(
        clear.notes.len() == 1 && clear.notes[0].contains("in.png"),
        "{:?}",
        clear.notes
    );
    let opaque = read(png::ColorType::Rgba, png::BitDepth::Eight, &[255; 8], None);
    assert!(opaque.notes.is_empty());

    let profile = |p: moxcms::ColorProfile| Some(p.encode().unwrap());
    let wide = read(
        png::ColorType::Rgb,
        png::BitDepth::Eight,
        &[9; 6],
        profile(moxcms::ColorProfile::new_display_p3()),
    );
    assert!(
        wide.notes.len() == 1 && wide.notes[0].contains("in.png"),
        "{:?}",
        wide.notes
    );
    let usual = read(
        png::ColorType::Rgb,
        png::BitDepth::Eight,
        &[9; 6],
        profile(moxcms::ColorProfile::new_srgb()),
    );
    assert!(usual.notes.is_empty(), "{:?}", usual.notes);
}

#[test]
fn opacity_is_kept_where_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut picture = gradient(8, 12).into_data();
    // EXR knows no colour where nothing is seen.
    picture.extend((0..96).map(|i| (i + 1) as f32 / 48.0 - 1.0));
    let picture = Array::new([4, 8, 12], picture).unwrap();
    for (name, options, step) in [
        ("a.png", PictureOptions::default(), 1.0 / 255.0),
        ("b.png", sixteen(), 1.0 / 65535.0),
        ("c.webp", PictureOptions::default(), 1.0 / 255.0),
        ("d.exr", PictureOptions::default(), 1e-6),
    ] {
        let path = folder.path().join(name);
        write_image(&path, &picture, &options).unwrap();
        let back = read_image_with(&path, Opacity::Keep).unwrap();
        let all = [back.pixels.data(), back.opacity.unwrap().data()].concat();
        // WebP and PNG keep the colours of clear pixels too.
        assert_near(&Array::new([4, 8, 12], all).unwrap(), &picture, step + 1e-6);
        assert_eq!(back.notes, Vec::<String>::new(), "{name}");
        assert_eq!(
            back.depth == BitDepth::Sixteen,
            name != "a.png" && name != "c.webp",
            "{name}"
        );
        assert!(read_image(&path).unwrap().opacity.is_none());
        assert_eq!(look_at_image(&path).unwrap(), [8, 12]);
    }
    let jpeg = folder.path().join("e.jpg");
    let error = write_image(&jpeg, &picture, &PictureOptions::default()).unwrap_err();
    assert!(
        matches!(&error, vae2x_core::Error::BadRequest(problem) if problem.contains("JPEG")),
        "{error:?}"
    );
    write_image(
        &folder.path().join("f.png"),
        &gradient(8, 12),
        &PictureOptions::default(),
    )
    .unwrap();
    assert!(
        read_image_with(&folder.path().join("f.png"), Opacity::Keep)
            .unwrap()
            .opacity
            .is_none()
    );
}

#[test]
fn broken_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str, bytes: &[u8]| {
        let file = folder.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        let error = read_image(&file).unwrap_err();
        matches!(error, Error::Format { path, .. } if path == file)
    };
    // The name promises what the bytes do not hold.
    assert!(refused("text.png", b"hello, this is text"));
    assert!(refused("empty.png", b""));
    let whole = encode_image(
        &gradient(64, 64),
        PictureFormat::Png,
        &PictureOptions::default(),
    )
    .unwrap();
    for cut in [20, 60, whole.len() / 2, whole.len() - 30] {
        assert!(refused("cut.png", &whole[..cut]), "{cut}");
    }
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0x55;
    assert!(refused("flipped.png", &flipped));
    let missing = read_image(&folder.path().join("none.png"));
    assert!(matches!(missing, Err(Error::Io { path, .. }) if path.ends_with("none.png")));
}

#[test]
fn a_bomb_is_refused_before_it_is_decoded() {
    let mut file = Vec::new();
    let mut writer = png::Encoder::new(&mut file, 100_000, 100_000)
        .write_header()
        .unwrap();
    writer.write_chunk(png::chunk::IDAT, &[0x78, 0x9C]).unwrap();
    drop(writer);
    let Err(Error::Format { path, problem }) = decode_image(Path::new("bomb.png"), &file) else {
        panic!("expected a format error");
    };
    assert_eq!(path, Path::new("bomb.png"));
    assert!(problem.starts_with("100000x100000 pixels"), "{problem}");
}

/// A WebP of a single colour takes 38 bytes at any size.
#[test]
fn a_large_image_in_a_tiny_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.webp");
    let mut pixels = image::RgbImage::new(2200, 2200);
    pixels.fill(200);
    pixels.save(&path).unwrap();
    let file = std::fs::read(&path).unwrap();
    assert!(file.len() < 4096, "{}", file.len());
    for error in [
        decode_image(&path, &file).unwrap_err(),
        read_image(&path).unwrap_err(),
        look_at_image(&path).unwrap_err(),
    ] {
        assert!(error.to_string().contains("2200x2200 pixels"), "{error}");
    }
}

#[test]
fn a_jpeg_cut_in_its_pixels_is_refused_even_if_it_ends_properly() {
    let name = Path::new("a.jpg");
    let noise = |i: usize| ((i * 7919) % 251) as f32 / 125.0 - 1.0;
    let flat = |_| 0.25;
    for values in [noise, flat] {
        for [h, w] in [[64, 64], [57, 131], [8, 8]] {
            let image = Array::new([3, h, w], (0..3 * h * w).map(values).collect()).unwrap();
            let options = PictureOptions::default();
            let whole = encode_image(&image, PictureFormat::Jpeg, &options).unwrap();
            assert!(decode_image(name, &whole).is_ok(), "{h}x{w}");
            let scan = whole.windows(2).rposition(|w| w == [0xff, 0xda]).unwrap() + 14;
            for cut in [scan, (scan + whole.len()) / 2] {
                let cut = [&whole[..cut], &[0xff, 0xd9]].concat();
                match decode_image(name, &cut) {
                    Ok(_) => panic!("{h}x{w}: {} of {} bytes", cut.len(), whole.len()),
                    Err(e) => assert!(e.to_string().starts_with("a.jpg: the"), "{e}"),
                }
            }
        }
    }
}

/// A profile of zeros of 64 MiB is 64 kB in a PNG.
#[test]
fn a_profile_that_unpacks_to_much_is_left_out_with_a_note() {
    let mut info = png::Info::with_size(4, 4);
    info.icc_profile = Some(vec![0; 64 << 20].into());
    let mut file = Vec::new();
    let mut writer = png::Encoder::with_info(&mut file, info)
        .unwrap()
        .write_header()
        .unwrap();
    writer.write_image_data(&[0; 16]).unwrap();
    writer.finish().unwrap();
    let notes = decode_image(Path::new("a.png"), &file).unwrap().notes;
    assert_eq!(
        notes,
        ["a.png: its colour profile cannot be read; its colours are taken as sRGB"]
    );
}

/// A sparse file, and one whose kind is not that of its name.
#[test]
fn a_file_longer_than_its_pixels_can_take_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    write_image(&path, &gradient(8, 8), &PictureOptions::default()).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(1 << 30).unwrap();
    let refused = read_image(&path).unwrap_err().to_string();
    assert!(refused.contains("1073741824 bytes; at most"), "{refused}");
}

#[test]
fn what_cannot_be_written_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let plain = PictureOptions::default();
    let refused = |name: &str, image: &Array, options: &PictureOptions| {
        write_image(&folder.path().join(name), image, options).unwrap_err()
    };
    let image = gradient(4, 4);
    for (name, options) in [
        ("a.jpg", &sixteen()),
        ("a.webp", &sixteen()),
        ("a.tga", &plain),
    ] {
        let error = refused(name, &image, options);
        assert!(matches!(error, Error::BadRequest(_)), "{name}");
    }
    let error = refused("a.jpg", &Array::zeros([4, 2, 2]), &plain);
    assert!(matches!(error, Error::BadRequest(_)));
    for (name, shape) in [("a.webp", [3, 1, 20_000]), ("a.png", [5, 4, 4])] {
        let error = refused(name, &Array::zeros(shape), &plain);
        assert!(matches!(error, Error::Shape { .. }), "{name}");
    }
    let mut nan = image.clone();
    nan.data_mut()[17] = f32::NAN;
    let Error::NotFinite { what, count, total } = refused("a.png", &nan, &plain) else {
        panic!("expected values that are not finite");
    };
    assert_eq!((count, total), (1, 48));
    assert!(what.ends_with("first at [1, 0, 1]"), "{what}");
    let error = refused("no/where/a.png", &image, &plain);
    assert!(matches!(error, Error::Io { path, .. } if path.ends_with("a.png")));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A CMYK JPEG of 8x8 pixels of one colour, with or without Adobe's marker.
fn cmyk(stored: [i32; 4], has_marker: bool) -> Vec<u8> {
    let segment = |marker: u8, data: &[u8]| {
        let length = (data.len() as u16 + 2).to_be_bytes();
        [&[0xff, marker], &length[..], data].concat()
    };
    let components: Vec<u8> = (1..=4).flat_map(|id| [id, 0x11, 0]).collect();
    let frame = [&[8, 0, 8, 0, 8, 4], &components[..]].concat();
    // Lengths of a difference in 4 bits each; the end of a block in one.
    let mut lengths = vec![0, 0, 0, 0, 12];
    lengths.resize(17, 0);
    lengths.extend(0..12);
    let mut ends = vec![0x10, 1];
    ends.resize(18, 0);
    let mut bits = String::new();
    for value in stored {
        let mean = 8 * (value - 128);
        let length = 32 - mean.unsigned_abs().leading_zeros();
        bits += &format!("{length:04b}");
        let code = if mean < 0 {
            mean + (1 << length) - 1
        } else {
            mean
        };
        if length > 0 {
            bits += &format!("{code:0width$b}", width = length as usize);
        }
        bits.push('0');
    }
    bits += &"1".repeat(bits.len().next_multiple_of(8) - bits.len());
    let bytes = bits.as_bytes().chunks(8).flat_map(|byte| {
        let byte = u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap();
        if byte == 0xff {
            vec![byte, 0]
        } else {
            vec![byte]
        }
    });
    let scan = [4, 1, 0, 2, 0, 3, 0, 4, 0, 0, 63, 0];
    let marker = match has_marker {
        true => segment(0xee, b"Adobe\0\x64\0\0\0\0\0"),
        false => Vec::new(),
    };
    [
        vec![0xff, 0xd8],
        marker,
        segment(0xdb, &[&[0][..], &[1; 64]].concat()),
        segment(0xc0, &frame),
        segment(0xc4, &lengths),
        segment(0xc4, &ends),
        segment(0xda, &scan),
        bytes.collect(),
        vec![0xff, 0xd9],
    ]
    .concat()
}

/// Browsers take CMYK as inverted, as Adobe's programs write it, whether these say so or not.
#[test]
fn cmyk_is_inverted_with_and_without_adobes_marker() {
    for has_marker in [true, false] {
        let file = cmyk([255, 128, 0, 255], has_marker);
        let picture = decode_image(Path::new("a.jpg"), &file).unwrap();
        for (channel, expected) in [255.0f32, 128.0, 0.0].into_iter().enumerate() {
            let value = (picture.pixels.data()[64 * channel] + 1.0) * 127.5;
            assert!(
                (value - expected).abs() <= 2.0,
                "{has_marker}: {value}, {expected}"
            );
        }
    }
}

#[test]
fn gif_and_tiff_are_read_and_their_first_frame_noted() {
    let colours = image::Rgb([200, 100, 50]);
    let still = image::RgbImage::from_pixel(20, 10, colours);
    let mut file = std::io::Cursor::new(Vec::new());
    still.write_to(&mut file, image::ImageFormat::Tiff).unwrap();
    let picture = decode_image(Path::new("a.tif"), file.get_ref()).unwrap();
    assert_eq!(picture.pixels.shape(), [3, 10, 20]);
    assert_eq!(picture.notes, Vec::<String>::new());
    assert!((picture.pixels.data()[0] - (200.0 / 127.5 - 1.0)).abs() < 1e-6);
    for cut in [file.get_ref().len() / 2, 20] {
        assert!(decode_image(Path::new("a.tif"), &file.get_ref()[..cut]).is_err());
    }
    let mut file = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut file);
    for shade in [10, 250] {
        let frame = image::RgbaImage::from_pixel(20, 10, image::Rgba([shade, 5, 7, 255]));
        encoder.encode_frame(image::Frame::new(frame)).unwrap();
    }
    drop(encoder);
    let picture = decode_image(Path::new("a.gif"), &file).unwrap();
    assert_eq!(picture.notes, ["a.gif: the first of 2 frames is read"]);
    assert!(picture.pixels.data()[0] < -0.9);
    assert!(decode_image(Path::new("a.gif"), &file[..40]).is_err());
}
