//! What Python asks of finishing and of files of frames.

use std::path::{Path, PathBuf};

use pyo3::prelude::*;
use vae2x::{Colours, Detail, Error, Finish, Light, Result, Taking, Vae};
use vae2x_media::output::{OutputOptions, VideoOptions};
use vae2x_media::picture::{BitDepth, PictureFormat};
use vae2x_media::sharpen::SIGMAS;
use vae2x_media::video::Wishes;

use crate::arrays::PixelArray;
use crate::vae::PyVae;

/// Finishing of frames, as a dictionary.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct FinishArgs<'py> {
    scale: Option<usize>,
    linear_light: bool,
    sharpen: Option<f64>,
    blur: Option<f64>,
    match_color: Option<Reference<'py>>,
    match_color_by: String,
}

/// What colours are matched with.
#[derive(FromPyObject)]
pub enum Reference<'py> {
    /// A base decoder.
    Model(Bound<'py, PyVae>),
    /// An image, `[1, H, W, 3]`.
    Image(PixelArray<'py>),
}

impl FinishArgs<'_> {
    /// The finishing, and the base decoder that it needs.
    ///
    /// # Errors
    /// `BadRequest` for values that contradict each other.
    pub fn read(&self) -> Result<(Finish, Option<Vae>)> {
        let (colours, base) = match &self.match_color {
            None => (Colours::Own, None),
            Some(Reference::Model(model)) => (Colours::Base, Some(model.get().vae()?.clone())),
            Some(Reference::Image(image)) => (Colours::Image(image_of(image)?), None),
        };
        let finish = Finish {
            scale: self.scale,
            light: match self.linear_light {
                true => Light::Linear,
                false => Light::Encoded,
            },
            colours,
            taking: match self.match_color_by.as_str() {
                "low" => Taking::Low,
                "stats" => Taking::Stats,
                other => {
                    return Err(Error::BadRequest(format!(
                        "match_color_by={other}: expected low or stats"
                    )));
                }
            },
            detail: detail(self.sharpen, self.blur)?,
            ..Finish::default()
        };
        Ok((finish, base))
    }
}

/// The only image of an array, `[3, H, W]`.
fn image_of(pixels: &PixelArray<'_>) -> Result<vae2x::Array> {
    let planes = pixels.to_images()?;
    match planes.dims("match_color")? {
        [1, 3, h, w] => planes.reshape([3, h, w]),
        shape => Err(Error::BadRequest(format!(
            "match_color: expected one image [H, W, 3], found {} of {} channels",
            shape[0], shape[1]
        ))),
    }
}

/// A change of detail.
///
/// # Errors
/// `BadRequest` for both at once or a number out of range.
pub fn detail(sharpen: Option<f64>, blur: Option<f64>) -> Result<Detail> {
    let (detail, sigma) = match (sharpen, blur) {
        (None, None) => return Ok(Detail::Keep),
        (Some(sigma), None) => (Detail::Sharpen(sigma), sigma),
        (None, Some(sigma)) => (Detail::Blur(sigma), sigma),
        (Some(_), Some(_)) => {
            return Err(Error::BadRequest(
                "sharpen and blur exclude each other".into(),
            ));
        }
    };
    match SIGMAS.contains(&sigma) {
        true => Ok(detail),
        false => Err(Error::BadRequest(format!(
            "expected a number of pixels from {} to {}, found {sigma}",
            SIGMAS.start(),
            SIGMAS.end()
        ))),
    }
}

/// How files of frames are written, as a dictionary.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct FileArgs {
    fps: Option<String>,
    codec: Option<String>,
    pixel_format: Option<String>,
    crf: Option<u8>,
    audio: Option<PathBuf>,
    ffmpeg: Option<PathBuf>,
    bit_depth: u8,
    format: String,
}

impl FileArgs {
    /// The options of an output.
    ///
    /// # Errors
    /// `BadRequest` for names that do not exist.
    pub fn read(&self) -> Result<OutputOptions> {
        fn parsed<T: std::str::FromStr>(name: &str, text: &Option<String>) -> Result<Option<T>>
        where
            T::Err: std::fmt::Display,
        {
            let parse = |text: &String| {
                let value = text.parse::<T>();
                value.map_err(|e| Error::BadRequest(format!("{name}={text}: {e}")))
            };
            text.as_ref().map(parse).transpose()
        }
        let folder_format = PictureFormat::from_extension(&self.format);
        Ok(OutputOptions {
            depth: match self.bit_depth {
                8 => BitDepth::Eight,
                16 => BitDepth::Sixteen,
                n => {
                    return Err(Error::BadRequest(format!(
                        "bit_depth={n}: expected 8 or 16"
                    )));
                }
            },
            folder_format: folder_format.ok_or_else(|| {
                Error::BadRequest(format!(
                    "format={}: expected png, jpg, webp or exr",
                    self.format
                ))
            })?,
            video: VideoOptions {
                rate: parsed("fps", &self.fps)?,
                wishes: Wishes {
                    codec: parsed("codec", &self.codec)?,
                    format: parsed("pixel_format", &self.pixel_format)?,
                    crf: self.crf,
                },
                audio: self.audio.clone(),
                audio_from: 0,
                ffmpeg: self.ffmpeg.clone(),
            },
            ..OutputOptions::default()
        })
    }

    /// The file whose sound is added.
    pub fn audio(&self) -> Option<&Path> {
        self.audio.as_deref()
    }
}
