//! `[3, H, W]` in [-1, 1], or `[4, H, W]` with its opacity (-1 clear, 1 opaque), to image files.
//!
//! An image is encoded in memory and then written whole. PNG, WebP and JPEG carry metadata, from
//! which ComfyUI restores its workflow; PNGs are marked as sRGB; EXR holds linear light. Compression is set for
//! speed: clips have hundreds of frames.

use std::io::Cursor;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::openexr::OpenExrEncoder;
use image::{ExtendedColorType, ImageEncoder};
use vae2x_core::{Array, Error, Result, temp};

use super::format::{BitDepth, PictureFormat};
use super::metadata::{self, Metadata, Stored};
use crate::pixels::{self, Overshoot};

/// JPEG quality: differences from the array are not visible at viewing distance.
const JPEG_QUALITY: u8 = 95;

/// How an image is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PictureOptions {
    /// Bits per channel.
    pub depth: BitDepth,
    /// What becomes of values beyond [-1, 1]; only EXR can keep them.
    pub overshoot: Overshoot,
    /// What the file carries besides pixels; [`Metadata::note_on`] tells what a format leaves out.
    pub metadata: Metadata,
}

/// Writes an image in the format of `path`'s extension, whole or not at all.
///
/// # Shapes
/// `[3, H, W]`, or `[4, H, W]` with opacity; values outside [-1, 1] are clamped unless the options
/// keep them.
///
/// # Errors
/// [`Error::BadRequest`] for an unknown extension, or a depth or opacity that the format lacks;
/// [`Error::Shape`] if the array is not an image or too large for the format; [`Error::NotFinite`];
/// [`Error::Io`].
pub fn write_image(path: &Path, picture: &Array, options: &PictureOptions) -> Result<()> {
    let format = PictureFormat::from_path(path).ok_or_else(|| {
        Error::BadRequest(format!(
            "{}: images are written as .png, .jpg, .jpeg, .webp or .exr",
            path.display()
        ))
    })?;
    temp::write_bytes(path, &encode_image(picture, format, options)?)
}

/// The colours of an image with opacity.
///
/// # Shapes
/// `[4, H, W]` -> `[3, H, W]`
///
/// # Errors
/// [`Error::Shape`] for other shapes.
pub fn without_opacity(image: &Array) -> Result<Array> {
    match image.dims("image with opacity")? {
        [4, h, w] => Array::new([3, h, w], image.data()[..3 * h * w].to_vec()),
        shape => Err(Error::Shape {
            what: "image with opacity".into(),
            expected: "[4, height, width]".into(),
            got: format!("shape {shape:?}"),
        }),
    }
}

/// An image as the bytes of a file.
///
/// # Errors
/// As [`write_image`], except [`Error::Io`].
pub fn encode_image(
    picture: &Array,
    format: PictureFormat,
    options: &PictureOptions,
) -> Result<Vec<u8>> {
    format.check_depth(options.depth)?;
    format.check_overshoot(options.overshoot)?;
    pixels::require_finite("image", picture)?;
    let [height, width] = size_of_image(picture, format)?;
    let fail = |e: String| Error::Shape {
        what: format!("an image of {width}x{height} pixels"),
        expected: format!("one that {format} stores"),
        got: e,
    };
    let size = u32::try_from(width)
        .ok()
        .zip(u32::try_from(height).ok())
        .ok_or_else(|| fail("too large".into()))?;
    let mut file = Cursor::new(Vec::new());
    let stored = Stored::new(format, &options.metadata);
    match format {
        PictureFormat::Png => {
            encode_png(&mut file, picture, size, options.depth, &stored)?.map_err(|e| e.to_string())
        }
        PictureFormat::Jpeg => {
            let encoder = JpegEncoder::new_with_quality(&mut file, JPEG_QUALITY);
            let samples = pixels::interleave(picture, pixels::to_u8)?;
            let written = encoder.write_image(&samples, size.0, size.1, ExtendedColorType::Rgb8);
            written.map_err(|e| e.to_string())
        }
        PictureFormat::Webp => {
            encode_webp(&mut file, picture, size, &stored)?.map_err(|e| e.to_string())
        }
        PictureFormat::Exr => {
            encode_exr(&mut file, picture, size, options.overshoot)?.map_err(|e| e.to_string())
        }
    }
    .map_err(fail)?;
    let file = file.into_inner();
    Ok(match format {
        PictureFormat::Jpeg => metadata::add_to_jpeg(file, &stored),
        _ => file,
    })
}

/// Height and width.
fn size_of_image(picture: &Array, format: PictureFormat) -> Result<[usize; 2]> {
    match *picture.shape() {
        [4, ..] if !format.keeps_opacity() => Err(Error::BadRequest(
            "JPEG does not store transparency; write PNG, WebP or EXR".into(),
        )),
        [4, height, width] if height > 0 && width > 0 => Ok([height, width]),
        _ => pixels::picture_size(picture),
    }
}

fn encode_webp(
    file: &mut Cursor<Vec<u8>>,
    picture: &Array,
    size: (u32, u32),
    stored: &Stored,
) -> Result<Result<(), image_webp::EncodingError>> {
    let samples = pixels::interleave(picture, pixels::to_u8)?;
    let colour = match picture.shape()[0] {
        4 => image_webp::ColorType::Rgba8,
        _ => image_webp::ColorType::Rgb8,
    };
    let mut encoder = image_webp::WebPEncoder::new(file);
    if let Some(exif) = &stored.exif {
        encoder.set_exif_metadata(exif.clone());
    }
    if let Some(xmp) = &stored.xmp {
        encoder.set_xmp_metadata(xmp.clone());
    }
    Ok(encoder.encode(&samples, size.0, size.1, colour))
}

/// Colours are linear light multiplied by opacity, as readers of the format expect.
fn encode_exr(
    file: &mut Cursor<Vec<u8>>,
    picture: &Array,
    size: (u32, u32),
    overshoot: Overshoot,
) -> Result<image::ImageResult<()>> {
    let mut values = picture.clone();
    let colours = 3 * size.0 as usize * size.1 as usize;
    let (colours, opacity) = values.data_mut().split_at_mut(colours);
    colours
        .iter_mut()
        .for_each(|v| *v = pixels::to_light(overshoot.apply(*v)));
    opacity.iter_mut().for_each(|v| *v = pixels::to_unit(*v));
    for plane in colours
        .chunks_exact_mut(opacity.len().max(1))
        .take(if opacity.is_empty() { 0 } else { 3 })
    {
        plane
            .iter_mut()
            .zip(&*opacity)
            .for_each(|(colour, share)| *colour *= share);
    }
    let kind = if opacity.is_empty() {
        ExtendedColorType::Rgb32F
    } else {
        ExtendedColorType::Rgba32F
    };
    let samples = pixels::interleave(&values, f32::to_ne_bytes)?;
    Ok(OpenExrEncoder::new(file).write_image(samples.as_flattened(), size.0, size.1, kind))
}

fn encode_png(
    file: &mut Cursor<Vec<u8>>,
    picture: &Array,
    size: (u32, u32),
    depth: BitDepth,
    stored: &Stored,
) -> Result<Result<(), png::EncodingError>> {
    let (depth, samples) = match depth {
        BitDepth::Eight => (
            png::BitDepth::Eight,
            pixels::interleave(picture, pixels::to_u8)?,
        ),
        BitDepth::Sixteen => {
            let samples = pixels::interleave(picture, |v| pixels::to_u16(v).to_be_bytes())?;
            (png::BitDepth::Sixteen, samples.into_flattened())
        }
    };
    let write = || {
        let mut encoder = png::Encoder::new(file, size.0, size.1);
        encoder.set_color(if picture.shape()[0] == 4 {
            png::ColorType::Rgba
        } else {
            png::ColorType::Rgb
        });
        encoder.set_depth(depth);
        encoder.set_compression(png::Compression::Fast);
        encoder.set_source_srgb(png::SrgbRenderingIntent::Perceptual);
        for (keyword, text) in &stored.text {
            metadata::add_png_text(&mut encoder, keyword, text)?;
        }
        let mut writer = encoder.write_header()?;
        if let Some(exif) = &stored.exif {
            writer.write_chunk(png::chunk::eXIf, exif)?;
        }
        if let Some(xmp) = &stored.xmp {
            writer.write_chunk(png::chunk::iTXt, &metadata::png_xmp(xmp))?;
        }
        writer.write_image_data(&samples)?;
        writer.finish()
    };
    Ok(write())
}
