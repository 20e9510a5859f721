//! Pixels in memory: an image, a clip, or a batch of them.

use std::path::{Path, PathBuf};

use vae2x_core::{Array, Error, Result, VaeConfig};
use vae2x_media::fit::{crop, pad};
use vae2x_media::frames::{SourceOptions, open_source};
use vae2x_media::output::{Input, Output, OutputOptions};

use crate::session::join_frames;

/// Pixels `[B, 3, F, H, W]` in [-1, 1], sRGB; `[B, 4, F, H, W]` with opacity, from -1, clear, to 1, opaque.
#[derive(Clone, Debug)]
pub struct Pixels {
    array: Array,
    text: Vec<(String, String)>,
}

impl Pixels {
    /// Takes `[B, 3, F, H, W]` or `[B, 4, F, H, W]` in [-1, 1].
    ///
    /// # Errors
    /// [`Error::Shape`] unless it has five axes, three or four channels, and extents of at least 1.
    pub fn new(array: Array) -> Result<Self> {
        match *array.shape() {
            [b, 3 | 4, f, h, w] if [b, f, h, w].iter().all(|&n| n > 0) => Ok(Self {
                array,
                text: Vec::new(),
            }),
            _ => Err(Error::Shape {
                what: "pixels".into(),
                expected: "[B, 3, F, H, W], or 4 channels with opacity".into(),
                got: format!("shape {:?}", array.shape()),
            }),
        }
    }

    /// Reads an image, an array file (`pixels` in safetensors or npy), or a folder of frames as one clip, whole, without
    /// opacity.
    ///
    /// # Errors
    /// If it cannot be read, or the frames of a folder differ in size.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let options = SourceOptions {
            clip: true,
            ..SourceOptions::default()
        };
        let mut source = open_source(path.as_ref(), &options)?;
        let (frames, text) = (source.spec().frames, source.spec().text.clone());
        let mut planes = Vec::new();
        while let Some(frame) = source.next()? {
            planes.push(frame.pixels);
        }
        let mut items = Vec::new();
        while !planes.is_empty() {
            let rest = planes.split_off(frames.min(planes.len()));
            items.push(join_frames(std::mem::replace(&mut planes, rest))?);
        }
        Ok(Self::new(Array::stack(&items)?)?.with_text(text))
    }

    /// The same pixels with texts that an image file keeps, such as ComfyUI's `prompt` and `workflow`.
    pub fn with_text(mut self, text: Vec<(String, String)>) -> Self {
        self.text = text;
        self
    }

    /// ComfyUI's `prompt` and `workflow`, where the file has them.
    pub fn text(&self) -> &[(String, String)] {
        &self.text
    }

    /// `[B, 3, F, H, W]`, or 4 channels with opacity.
    pub fn array(&self) -> &Array {
        &self.array
    }

    /// The values.
    pub fn into_array(self) -> Array {
        self.array
    }

    /// Frame `index` of item `item`, `[3, H, W]`, or `[4, H, W]` with opacity.
    ///
    /// # Panics
    /// If there is no such frame.
    pub fn frame(&self, item: usize, index: usize) -> Array {
        let frame = self.array.item(item).narrow1(index..index + 1);
        let ([h, w], channels) = (self.size(), self.array.shape()[1]);
        frame
            .reshape([channels, h, w])
            .unwrap_or_else(|_| unreachable!("one frame has a plane for each channel"))
    }

    /// The same pixels with `channels`: opaque where opacity is missing.
    ///
    /// # Errors
    /// [`Error::Shape`] for pixels with opacity where three channels are asked for.
    pub(crate) fn with_channels(&self, channels: usize) -> Result<Self> {
        let [b, found, f, h, w] = self.array.dims("pixels")?;
        match (found, channels) {
            _ if found == channels => Ok(self.clone()),
            (3, 4) => {
                let opaque = vec![1.0; f * h * w];
                let items = self.array.data().chunks_exact(3 * f * h * w);
                let data = items.flat_map(|item| [item, &opaque].concat()).collect();
                let array = Array::new([b, 4, f, h, w], data)?;
                Ok(Self::new(array)?.with_text(self.text.clone()))
            }
            _ => Err(Error::Shape {
                what: "pixels".into(),
                expected: format!("{channels} channels, as the model takes"),
                got: format!("{found}"),
            }),
        }
    }

    /// Height and width.
    pub fn size(&self) -> [usize; 2] {
        let shape = self.array.shape();
        [shape[3], shape[4]]
    }

    /// Pixels that a model can encode: sides are cropped to whole cells, or padded by repeating the edge, and trailing frames
    /// that do not fill a latent frame are dropped.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is no whole cell.
    pub fn fitted(self, config: &VaeConfig, pad_edges: bool) -> Result<Self> {
        let [b, c, frames, h, w] = self.array.dims("pixels")?;
        let cell = config.spatial();
        let size = match pad_edges {
            true => [h, w].map(|n| n.next_multiple_of(cell)),
            false => [h, w].map(|n| n / cell * cell),
        };
        let whole = config.whole_frames(frames);
        if size.contains(&0) {
            return Err(Error::Shape {
                what: "pixels".into(),
                expected: format!("at least one latent cell of {cell}x{cell}"),
                got: format!("{w}x{h}"),
            });
        }
        if (size, whole) == ([h, w], frames) {
            return Ok(self);
        }
        let planes = self.array.reshape([b * c, frames, h, w])?;
        let kept = planes.narrow1(0..whole).reshape([b * c * whole, h, w])?;
        let planes = if pad_edges {
            pad(&kept, size)?
        } else {
            crop(&kept, size)?
        };
        let array = planes.reshape([b, c, whole, size[0], size[1]])?;
        Ok(Self {
            array,
            text: self.text,
        })
    }

    /// Writes one image (`.png .jpg .webp .exr`), all frames as one array (`.npy .safetensors`), or a folder of frames.
    /// Returns the files written.
    ///
    /// # Errors
    /// [`Error::BadRequest`] if the path does not fit the number of frames; [`Error::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
        let [items, _, frames, _, _] = self.array.dims("pixels")?;
        let input = Input {
            path: PathBuf::from("frame"),
            name: "frame".into(),
            items,
            frames,
        };
        let output = Output::plan(path.as_ref(), &[input], OutputOptions::default())?;
        let mut sink = output.open(0, self.text.clone())?;
        for item in 0..items {
            for index in 0..frames {
                sink.push(&self.frame(item, index))?;
            }
        }
        sink.finish()
    }
}
