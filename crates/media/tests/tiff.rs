//! TIFF files of less common kinds: read, or refused in a sentence.

use std::path::Path;

use vae2x_media::picture::{BitDepth, Opacity, Picture, decode_image, read_image_with};

const WIDTH: u32 = 3;

/// Numbers and values in 16 bits.
type Tags<'a> = &'a [(u16, &'a [u16])];

/// A file of one row of three pixels with these tags beside size and place.
fn tiff(is_little: bool, tags: Tags<'_>, pixels: &[u8]) -> Vec<u8> {
    let short = |v: u16| match is_little {
        true => v.to_le_bytes(),
        false => v.to_be_bytes(),
    };
    let long = |v: u32| match is_little {
        true => v.to_le_bytes(),
        false => v.to_be_bytes(),
    };
    const HEAD: usize = 8;
    let count = tags.len() + 5;
    let mut behind_at = HEAD + 2 + 12 * count + 4;
    let pixels_at = 4096u32;
    let fixed = [
        (256, WIDTH),
        (257, 1),
        (273, pixels_at),
        (278, 1),
        (279, pixels.len() as u32),
    ];
    let mut entries: Vec<(u16, Vec<u8>)> = Vec::new();
    let mut behind = Vec::new();
    for (tag, value) in fixed {
        let entry = [&short(tag)[..], &short(4), &long(1), &long(value)].concat();
        entries.push((tag, entry));
    }
    for (tag, values) in tags {
        let mut bytes: Vec<u8> = values.iter().flat_map(|&v| short(v)).collect();
        if bytes.len() > 4 {
            let at = long(behind_at as u32);
            behind_at += bytes.len();
            behind.extend(std::mem::replace(&mut bytes, at.to_vec()));
        }
        bytes.resize(4, 0);
        let head = [&short(*tag)[..], &short(3), &long(values.len() as u32)].concat();
        entries.push((*tag, [head, bytes].concat()));
    }
    entries.sort_by_key(|(tag, _)| *tag);
    let mut file = if is_little { *b"II*\0" } else { *b"MM\0*" }.to_vec();
    file.extend(long(HEAD as u32));
    file.extend(short(count as u16));
    entries.iter().for_each(|(_, entry)| file.extend(entry));
    file.extend(long(0));
    file.extend(behind);
    assert!(file.len() <= pixels_at as usize);
    file.resize(pixels_at as usize, 0);
    file.extend(pixels);
    file
}

fn read(is_little: bool, tags: Tags<'_>, pixels: &[u8]) -> Picture {
    decode_image(Path::new("a.tif"), &tiff(is_little, tags, pixels)).unwrap()
}

/// `expected` in 8-bit steps, colour by colour.
#[track_caller]
fn assert_colours(image: &Picture, expected: [f32; 9]) {
    assert_eq!(image.pixels.shape(), [3, 1, 3]);
    for (value, expected) in image.pixels.data().iter().zip(expected) {
        let value = (value + 1.0) * 127.5;
        assert!((value - expected).abs() < 0.02, "{value}, {expected}");
    }
}

#[test]
fn colours_are_divided_by_the_opacity_that_they_are_multiplied_with() {
    let multiplied = [100, 50, 0, 128, 7, 8, 9, 0, 1, 2, 3, 255];
    let tags = |extra: &'static [u16]| -> Vec<(u16, &[u16])> {
        vec![(258, &[8, 8, 8, 8]), (262, &[2]), (277, &[4]), (338, extra)]
    };
    let image = read(true, &tags(&[1]), &multiplied);
    assert_colours(&image, [199.0, 7.0, 1.0, 100.0, 8.0, 2.0, 0.0, 9.0, 3.0]);
    assert!(image.notes[0].contains("without it"), "{:?}", image.notes);
    let image = read(false, &tags(&[2]), &multiplied);
    assert_colours(&image, [100.0, 7.0, 1.0, 50.0, 8.0, 2.0, 0.0, 9.0, 3.0]);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tif");
    // In 16 bits, with a colour brighter than its opacity.
    let sixteen = [20000u16, 30000, 500, 25000, 0, 0, 0, 0, 1, 2, 3, 65535];
    let pixels: Vec<u8> = sixteen.iter().flat_map(|v| v.to_be_bytes()).collect();
    let tags: [(u16, &[u16]); 4] = [
        (258, &[16, 16, 16, 16]),
        (262, &[2]),
        (277, &[4]),
        (338, &[1]),
    ];
    std::fs::write(&path, tiff(false, &tags, &pixels)).unwrap();
    let image = read_image_with(&path, Opacity::Keep).unwrap();
    let step = 1.0 / 257.0;
    assert_colours(
        &image,
        [
            204.0,
            0.0,
            step,
            255.0,
            0.0,
            2.0 * step,
            5.1,
            0.0,
            3.0 * step,
        ],
    );
    let opacity = image.opacity.unwrap();
    let expected = [25000.0 / 32767.5 - 1.0, -1.0, 1.0];
    for (value, expected) in opacity.data().iter().zip(expected) {
        assert!((value - expected).abs() < 1e-4, "{value}, {expected}");
    }
    assert_eq!(image.notes, Vec::<String>::new());
}

#[test]
fn integers_of_32_bits_are_scaled() {
    let scale = |v: u32| v * 0x0101_0101;
    let values = [0, 10, 20, 30, 40, 50, 200, 254, 255].map(scale);
    for is_little in [true, false] {
        let bytes = |v: &u32| match is_little {
            true => v.to_le_bytes(),
            false => v.to_be_bytes(),
        };
        let pixels: Vec<u8> = values.iter().flat_map(bytes).collect();
        // Whether the file says that they are integers or not.
        for has_format in [true, false] {
            let mut tags: Vec<(u16, &[u16])> = vec![(258, &[32; 3]), (262, &[2]), (277, &[3])];
            if has_format {
                tags.push((339, &[1; 3]));
            }
            let image = read(is_little, &tags, &pixels);
            assert_colours(
                &image,
                [0.0, 30.0, 200.0, 10.0, 40.0, 254.0, 20.0, 50.0, 255.0],
            );
            assert_eq!(image.depth, BitDepth::Sixteen);
        }
    }
}

#[test]
fn palettes_are_read() {
    let reds: [u16; 16] = std::array::from_fn(|i| i as u16 * 17 * 257);
    let greens = reds.map(|v| 65535 - v);
    let map = [&reds[..], &greens, &[257; 16]].concat();
    let expected = [17.0, 34.0, 255.0, 238.0, 221.0, 0.0, 1.0, 1.0, 1.0];
    for is_little in [true, false] {
        let tags: [(u16, &[u16]); 3] = [(258, &[4]), (262, &[3]), (320, &map)];
        let image = read(is_little, &tags, &[0x12, 0xf0]);
        assert_colours(&image, expected);
        assert_eq!(image.notes, Vec::<String>::new());
    }
    // 256 colours, in 8 bits, where 16 belong.
    let map: Vec<u16> = (0..768).map(|i| i % 256).collect();
    let tags: [(u16, &[u16]); 3] = [(258, &[8]), (262, &[3]), (320, &map)];
    let image = read(true, &tags, &[3, 200, 7]);
    assert_colours(&image, [3.0, 200.0, 7.0].repeat(3).try_into().unwrap());
    let tags: [(u16, &[u16]); 3] = [(258, &[8]), (262, &[3]), (320, &map[..99])];
    let file = tiff(true, &tags, &[3, 200, 7]);
    let error = decode_image(Path::new("a.tif"), &file).unwrap_err();
    assert!(error.to_string().contains("a palette of 99"), "{error}");
}

#[test]
fn grey_of_any_kind_is_read() {
    let tags: [(u16, &[u16]); 2] = [(258, &[4]), (262, &[1])];
    let image = read(true, &tags, &[0x0a, 0xf0]);
    assert_colours(&image, [0.0, 170.0, 255.0].repeat(3).try_into().unwrap());
    let tags: [(u16, &[u16]); 4] = [(258, &[8, 8]), (262, &[1]), (277, &[2]), (338, &[1])];
    let image = read(true, &tags, &[50, 100, 7, 255, 0, 9]);
    assert_colours(&image, [128.0, 7.0, 0.0].repeat(3).try_into().unwrap());
    // Light of 0, 0.214041 (half of sRGB) and 1.
    let light: Vec<u8> = [0.0f32, 0.214_041, 1.0]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    let tags: [(u16, &[u16]); 3] = [(258, &[32]), (262, &[1]), (339, &[3])];
    let image = read(true, &tags, &light);
    assert_colours(&image, [0.0, 127.5, 255.0].repeat(3).try_into().unwrap());
    // Half floats: 0, 0.5 and 1 in light.
    let light: Vec<u8> = [0u16, 0x3800, 0x3c00]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    let tags: [(u16, &[u16]); 3] = [(258, &[16]), (262, &[1]), (339, &[3])];
    let image = read(true, &tags, &light);
    assert_colours(&image, [0.0, 187.516, 255.0].repeat(3).try_into().unwrap());
}

#[test]
fn other_kinds_are_refused_in_a_sentence() {
    let cases: [(Tags<'_>, &str); 8] = [
        (&[(258, &[16]), (262, &[3])], "of palette colours"),
        (&[(258, &[8]), (262, &[99])], "of unknown colours"),
        (
            &[(258, &[8; 3]), (262, &[8]), (277, &[3])],
            "of Lab colours",
        ),
        (
            &[(258, &[8; 3]), (259, &[7]), (262, &[6]), (277, &[3])],
            "of YCbCr colours",
        ),
        (
            &[(258, &[8; 3]), (259, &[50000]), (262, &[2]), (277, &[3])],
            "with zstd compression",
        ),
        (
            &[(258, &[8; 3]), (262, &[2]), (277, &[3]), (339, &[2; 3])],
            "of signed 8-bit numbers",
        ),
        (
            &[(258, &[64; 3]), (262, &[2]), (277, &[3]), (339, &[3; 3])],
            "of 64-bit floats in 3 channels",
        ),
        (
            &[(258, &[8; 3]), (262, &[1]), (277, &[3])],
            "of grey among 3 channels",
        ),
    ];
    for (tags, kind) in cases {
        let file = tiff(true, tags, &[0; 96]);
        let error = decode_image(Path::new("a.tif"), &file).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("a.tif: a TIFF {kind}, which is not read; save it as PNG or as an RGB TIFF")
        );
    }
}
