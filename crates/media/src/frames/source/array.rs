//! Pixels in a tensor file: `[3, H, W]`, `[B, 3, H, W]` or `[B, 3, F, H, W]` in [-1, 1], or the same
//! with 4 channels, the last being opacity. They are read frame by frame.

use std::path::{Path, PathBuf};

use vae2x_core::weights::TensorFile;
use vae2x_core::{Array, Error, Result};

use crate::frames::contract::{Frame, FrameSource, Spec};
use crate::opacity::split;
use crate::picture::BitDepth;

/// How far beyond [-1, 1] values may lie: rounding in 16-bit floats and in the arithmetic of
/// others.
const SLACK: f32 = 1e-3;

/// An array of frames in a safetensors, npy or torch file.
#[derive(Debug)]
pub struct ArrayFile {
    path: PathBuf,
    name: String,
    shape: Vec<usize>,
    spec: Spec,
    keep_opacity: bool,
    /// Open from the first frame to the last only, so that any number of inputs can wait.
    file: Option<TensorFile>,
    next: usize,
}

impl ArrayFile {
    /// Whether a path is named as a file that may hold an array.
    pub fn is_name(path: &Path) -> bool {
        let known = ["safetensors", "npy", "pt", "pth"];
        path.extension()
            .is_some_and(|e| known.iter().any(|k| e.eq_ignore_ascii_case(k)))
    }

    /// Finds the tensor `pixels`, or the only one, from the head of the file. Opacity is kept if it is
    /// asked for, else left out with a note.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] if the file is not a tensor file or the tensor not one of
    /// frames.
    pub fn open(path: &Path, keep_opacity: bool) -> Result<Self> {
        let file = TensorFile::open(path)?;
        let (name, spec) = find(&file)?;
        Ok(Self {
            path: path.to_path_buf(),
            shape: file.tensors()[&name].shape.clone(),
            name,
            spec,
            keep_opacity,
            file: None,
            next: 0,
        })
    }

    /// The open file, which must be as it was when its head was read.
    fn file(&mut self) -> Result<&TensorFile> {
        let file = match self.file.take() {
            Some(file) => file,
            None => TensorFile::open(&self.path)?,
        };
        let shape = file.tensors().get(&self.name).map(|info| &info.shape);
        if shape != Some(&self.shape) {
            return Err(Error::format(&self.path, "the file has changed meanwhile"));
        }
        Ok(self.file.insert(file))
    }

    /// `[3, H, W]` or `[4, H, W]`
    fn read(&mut self, item: usize, index: usize) -> Result<Array> {
        let at: Vec<Option<usize>> = match self.shape.len() {
            3 => vec![None; 3],
            4 => vec![Some(item), None, None, None],
            _ => vec![Some(item), None, Some(index), None, None],
        };
        let name = self.name.clone();
        let pixels = self.file()?.read_slice(&name, &at)?;
        let is_outside = |v: &&f32| !(v.abs() <= 1.0 + SLACK);
        let outside = pixels.data().iter().filter(is_outside).count();
        let which = match self.spec.all_frames() {
            1 => String::new(),
            _ => format!(" of frame {}", item * self.spec.frames + index),
        };
        match outside {
            0 => Ok(pixels),
            n => Err(Error::format(
                &self.path,
                format!("{n} values{which} are not in [-1, 1]"),
            )),
        }
    }
}

impl FrameSource for ArrayFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn next(&mut self) -> Result<Option<Frame>> {
        if self.next == self.spec.all_frames() {
            self.file = None;
            return Ok(None);
        }
        let (item, index) = (self.next / self.spec.frames, self.next % self.spec.frames);
        let (pixels, mut opacity) = split(self.read(item, index)?)?;
        let mut notes = Vec::new();
        if opacity.is_some() && !self.keep_opacity {
            opacity = None;
            if self.next == 0 {
                notes.push(format!(
                    "{}: its opacity is ignored; colours are taken as they are stored",
                    self.path.display()
                ));
            }
        }
        self.next += 1;
        if self.next == self.spec.all_frames() {
            self.file = None;
        }
        Ok(Some(Frame {
            item,
            index,
            pixels,
            opacity,
            notes,
        }))
    }
}

/// The tensor's name, and what it holds.
fn find(file: &TensorFile) -> Result<(String, Spec)> {
    let fail = |problem: String| Error::format(file.path(), problem);
    let names: Vec<_> = file.tensors().keys().collect();
    let name = match names[..] {
        [only] => only.clone(),
        _ if file.tensors().contains_key("pixels") => "pixels".into(),
        _ => {
            return Err(fail(format!(
                "expected a tensor named 'pixels' or a single tensor, found {names:?}"
            )));
        }
    };
    let shape = &file.tensors()[&name].shape;
    let (items, frames, size) = match shape[..] {
        [3 | 4, h, w] => (1, 1, [h, w]),
        [b, 3 | 4, h, w] => (b, 1, [h, w]),
        [b, 3 | 4, f, h, w] => (b, f, [h, w]),
        _ => {
            return Err(fail(format!(
                "expected pixels [B, 3, F, H, W], or 4 channels with opacity, found shape {shape:?}"
            )));
        }
    };
    if shape.contains(&0) {
        return Err(fail(format!("shape {shape:?} holds no pixels")));
    }
    Ok((
        name,
        Spec {
            items,
            frames,
            size,
            depth: BitDepth::Sixteen,
            text: Vec::new(),
            rate: None,
            has_audio: false,
        },
    ))
}
