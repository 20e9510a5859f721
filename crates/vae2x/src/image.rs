//! A single image, with its opacity, its bit depth and its metadata.

use std::path::Path;

use vae2x_core::{Array, Error, Result};
use vae2x_media::frames::{FrameSink, ImageSink};
use vae2x_media::opacity::{join, split};
use vae2x_media::picture::{
    BitDepth, Metadata, Opacity, Picture, PictureFormat, PictureOptions, read_image_with,
};

/// An image: colours, opacity, bit depth and metadata, such as ComfyUI's texts, EXIF and XMP.
#[derive(Clone, Debug)]
pub struct Image {
    inner: Picture,
}

impl Image {
    /// Takes `[3, H, W]` in [-1, 1], sRGB.
    ///
    /// # Errors
    /// [`Error::Shape`] unless it has three axes and three channels.
    pub fn new(pixels: Array) -> Result<Self> {
        match *pixels.shape() {
            [3, h, w] if h > 0 && w > 0 => Ok(Self {
                inner: Picture {
                    pixels,
                    opacity: None,
                    depth: BitDepth::Eight,
                    metadata: Metadata::default(),
                    notes: Vec::new(),
                },
            }),
            _ => Err(Error::Shape {
                what: "image".into(),
                expected: "[3, H, W]".into(),
                got: format!("shape {:?}", pixels.shape()),
            }),
        }
    }

    /// Takes `[3, H, W]`, or `[4, H, W]` with opacity from -1, clear, to 1, opaque.
    ///
    /// # Errors
    /// [`Error::Shape`] for another shape.
    pub fn from_frame(frame: Array) -> Result<Self> {
        let (pixels, opacity) = split(frame)?;
        let mut image = Self::new(pixels)?;
        image.inner.opacity = opacity;
        Ok(image)
    }

    /// The image as `[3, H, W]`, or `[4, H, W]` where it has opacity.
    ///
    /// # Errors
    /// None for images that were made by this library.
    pub fn to_frame(&self) -> Result<Array> {
        match &self.inner.opacity {
            Some(opacity) => join(&self.inner.pixels, Some(opacity)),
            None => Ok(self.inner.pixels.clone()),
        }
    }

    /// Reads PNG, JPEG, WebP, GIF, TIFF, EXR or BMP, upright and in sRGB, with its opacity.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] if it is not an image, damaged, or too large.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        read_image_with(path.as_ref(), Opacity::Keep).map(Self::from)
    }

    /// `[3, H, W]`, sRGB in [-1, 1].
    pub fn pixels(&self) -> &Array {
        &self.inner.pixels
    }

    /// `[1, H, W]` from -1, clear, to 1, opaque, where any pixel is not opaque.
    pub fn opacity(&self) -> Option<&Array> {
        self.inner.opacity.as_ref()
    }

    /// Notes on what was changed or left out on reading, each naming the file.
    pub fn notes(&self) -> &[String] {
        &self.inner.notes
    }

    /// Writes PNG (at the depth of the file that was read), JPEG, WebP or EXR. Returns notes on what the format cannot keep.
    ///
    /// # Errors
    /// [`Error::BadRequest`] for another extension; [`Error::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<Vec<String>> {
        self.save_with(path, None)
    }

    /// As [`Self::save`], at this depth if one is given.
    ///
    /// # Errors
    /// As [`Self::save`].
    pub fn save_with(
        &self,
        path: impl AsRef<Path>,
        depth: Option<BitDepth>,
    ) -> Result<Vec<String>> {
        let path = path.as_ref();
        let own = match PictureFormat::from_path(path) {
            Some(PictureFormat::Png) => self.inner.depth,
            _ => BitDepth::Eight,
        };
        let options = PictureOptions {
            depth: depth.unwrap_or(own),
            metadata: self.inner.metadata.clone(),
            ..PictureOptions::default()
        };
        let mut sink = ImageSink::new(path.to_path_buf(), options);
        match &self.inner.opacity {
            Some(_) => sink.push(&self.to_frame()?)?,
            None => sink.push(&self.inner.pixels)?,
        }
        Ok(sink.notes())
    }

    /// The same image without metadata.
    pub fn without_metadata(mut self) -> Self {
        self.inner.metadata = Metadata::default();
        self
    }

    /// Other colours and opacity with the same depth and metadata.
    pub(crate) fn with_pixels(&self, pixels: Array, opacity: Option<Array>) -> Self {
        Self {
            inner: Picture {
                pixels,
                opacity,
                depth: self.inner.depth,
                metadata: self.inner.metadata.clone(),
                notes: Vec::new(),
            },
        }
    }
}

impl From<Picture> for Image {
    fn from(inner: Picture) -> Self {
        Self { inner }
    }
}
