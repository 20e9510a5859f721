//! A tensor file of any format, opened for reading one tensor at a time.
//!
//! The format is recognized by the first bytes, never by the name. Opening reads the header alone and checks every size and
//! offset in it against the file, so that reading a tensor later allocates at most what the file holds. Each format's
//! reader fills one table of what each tensor is and where; reading is the same for all.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::dtype::DType;
use super::slice::{self, Axis};
use super::source::Source;
use super::table::{Contents, Place, TensorInfo, row_major};
use super::{archive, npy, npz, safetensors, torch};
use crate::array::Array;
use crate::error::{Error, Result, tensor_named};

/// Values that are widened at a time: only the result is held whole.
const PIECE: usize = 1 << 14;
/// What tensors hold that are read.
const READ: &str = "floats of 8 to 64 bits or integers";

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// <https://github.com/huggingface/safetensors>
    Safetensors,
    /// What `torch.save` writes: a zip of a pickle and raw storages.
    Torch,
    /// What `numpy.save` writes: one array.
    Npy,
    /// What `numpy.savez` writes: a zip of npy files.
    Npz,
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::Torch => "torch",
            Self::Npy => "npy",
            Self::Npz => "npz",
        })
    }
}

/// An open tensor file.
///
/// Tensors of a torch file are named by their keys in the pickled dictionary, nested dictionaries being joined with dots;
/// where the outermost dictionary wraps another (`state_dict`, `model`, `params_ema` and the like), names start inside. A
/// single tensor, as in an npy file or a bare one in a torch file, is named `""`; the arrays of an npz file have their names.
#[derive(Debug)]
pub struct TensorFile {
    source: Source,
    format: Format,
    contents: Contents,
    /// Positions of the parts whose checksums are found right.
    checked: Mutex<BTreeSet<u64>>,
}

/// A source that is there, or one that was made.
enum Held<'a> {
    File(&'a Source),
    Memory(Source),
}

impl std::ops::Deref for Held<'_> {
    type Target = Source;

    fn deref(&self) -> &Source {
        match self {
            Self::File(source) => source,
            Self::Memory(source) => source,
        }
    }
}

impl TensorFile {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::Format`] if it is not a tensor file or its header is inconsistent.
    pub fn open(path: &Path) -> Result<Self> {
        Self::from_source(Source::open(path)?)
    }

    /// Reads a file held in memory; `name` stands for its path in errors.
    ///
    /// # Errors
    /// [`Error::Format`] as for [`Self::open`].
    pub fn from_bytes(
        name: impl Into<PathBuf>,
        bytes: impl Into<Cow<'static, [u8]>>,
    ) -> Result<Self> {
        Self::from_source(Source::from_bytes(name.into(), bytes.into()))
    }

    fn from_source(source: Source) -> Result<Self> {
        let (format, contents) = read_contents(&source)?;
        Ok(Self {
            source,
            format,
            contents,
            checked: Mutex::default(),
        })
    }

    /// The file, or the name given to bytes.
    pub fn path(&self) -> &Path {
        self.source.path()
    }

    /// The format found.
    pub fn format(&self) -> Format {
        self.format
    }

    /// All tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.contents.tensors
    }

    /// Tensors whose elements are of types that are not read, such as texts: names and types.
    pub fn unread(&self) -> &BTreeMap<String, String> {
        &self.contents.unread
    }

    /// The `__metadata__` of a safetensors file; empty for other formats.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.contents.metadata
    }

    /// Whether a tensor is unpacked each time that any of it is read, as deflated arrays are.
    pub fn is_packed(&self, name: &str) -> bool {
        let place = self.contents.places.get(name);
        place.is_some_and(|place| place.packed.is_some())
    }

    /// Reads a tensor as `f32`. 64-bit floats and integers beyond 2^24 are rounded to nearest.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the file has no such tensor or its type is not readable; [`Error::Io`].
    pub fn read(&self, name: &str) -> Result<Array> {
        let shape = self.find(name)?.0.shape.clone();
        let mut data = vec![0.0; shape.iter().product()];
        self.read_into(name, &mut data)?;
        Array::new(shape, data)
    }

    /// As [`Self::read`], for a tensor whose values are all finite.
    ///
    /// # Errors
    /// As [`Self::read`]; [`Error::NotFinite`].
    pub fn read_finite(&self, name: &str) -> Result<Array> {
        let array = self.read(name)?;
        array.require_finite(|| format!("{}: {}", self.path().display(), tensor_named(name)))?;
        Ok(array)
    }

    /// As [`Self::read`], into `out`, which has exactly the tensor's size. Allocates little.
    ///
    /// # Errors
    /// As [`Self::read`], or [`Error::Tensor`] if the size is another.
    pub fn read_into(&self, name: &str, out: &mut [f32]) -> Result<()> {
        let (TensorInfo { dtype, shape }, place) = self.find(name)?;
        if shape.iter().product::<usize>() != out.len() {
            return Err(self.tensor_error(
                name,
                &format!("{} values", out.len()),
                &format!("shape {shape:?}"),
            ));
        }
        let unreadable = || self.unreadable(name, *dtype);
        let source = self.unpacked(place)?;
        if place.strides.is_some() {
            out.copy_from_slice(
                &dtype
                    .widen(&self.read_bytes(name)?.2)
                    .ok_or_else(unreadable)?,
            );
            return Ok(());
        }
        for (i, piece) in out.chunks_mut(PIECE).enumerate() {
            let start = (i * PIECE * dtype.size()) as u64;
            let bytes = source.read_at(place.offset + start, piece.len() * dtype.size())?;
            piece.copy_from_slice(&dtype.widen(&bytes).ok_or_else(unreadable)?);
        }
        Ok(())
    }

    /// Reads some rows (indices of the first axis) of a tensor as `f32`, without the others.
    ///
    /// # Errors
    /// As [`Self::read`]; [`Error::Tensor`] if there is no such row, or the tensor has one axis only or is not in row-major order.
    pub fn read_rows(&self, name: &str, rows: &[usize]) -> Result<Array> {
        let (TensorInfo { shape, .. }, place) = self.find(name)?;
        let wrong = |expected: &str, got: String| self.tensor_error(name, expected, &got);
        let [count, ref row @ ..] = shape[..] else {
            return Err(wrong("rows", format!("shape {shape:?}")));
        };
        if row.is_empty() || place.strides.is_some() {
            return Err(wrong(
                "several axes in row-major order",
                format!("shape {shape:?}"),
            ));
        }
        if let Some(outside) = rows.iter().find(|&&r| r >= count) {
            return Err(wrong(
                &format!("rows below {count}"),
                format!("row {outside}"),
            ));
        }
        let data = self.read_pieces(name, row.iter().product(), rows.iter().copied())?;
        Array::new([&[rows.len()], row].concat(), data)
    }

    /// Reads one index of the second axis of a tensor as `f32`, without the others: a frame of a clip.
    ///
    /// # Shapes
    /// `[C, T, ...]` -> `[C, ...]`
    ///
    /// # Errors
    /// As [`Self::read`]; [`Error::Tensor`] if there is no such index, or the tensor is not in row-major order.
    pub fn read_frame(&self, name: &str, frame: usize) -> Result<Array> {
        let (TensorInfo { shape, .. }, place) = self.find(name)?;
        let [channels, frames, ref rest @ ..] = shape[..] else {
            return Err(self.tensor_error(name, "two axes or more", &format!("shape {shape:?}")));
        };
        if frame >= frames || place.strides.is_some() {
            let expected = format!("more than {frame} frames in row-major order");
            return Err(self.tensor_error(name, &expected, &format!("shape {shape:?}")));
        }
        let places = (0..channels).map(|channel| channel * frames + frame);
        let data = self.read_pieces(name, rest.iter().product(), places)?;
        Array::new([&[channels], rest].concat(), data)
    }

    /// Reads a tensor as `f32` at fixed indices of some axes, without the rest, in whatever order its elements lie: frame
    /// `t` of item `b` of `[B, C, T, H, W]` is at `[Some(b), None, Some(t), None, None]`.
    ///
    /// # Shapes
    /// The extents of the axes without an index
    ///
    /// # Errors
    /// As [`Self::read`]; [`Error::Tensor`] if the tensor has other axes or no such index.
    pub fn read_slice(&self, name: &str, at: &[Option<usize>]) -> Result<Array> {
        let (TensorInfo { dtype, shape }, place) = self.find(name)?;
        let outside = || {
            self.tensor_error(
                name,
                &format!("a tensor with elements at {at:?}"),
                &format!("shape {shape:?}"),
            )
        };
        let fits = |(index, extent): (&Option<usize>, &usize)| index.is_none_or(|i| i < *extent);
        if at.len() != shape.len() || !at.iter().zip(shape).all(fits) {
            return Err(outside());
        }
        let kept = shape.iter().zip(at).filter(|(_, index)| index.is_none());
        let kept: Vec<usize> = kept.map(|(&extent, _)| extent).collect();
        if kept.contains(&0) {
            return Ok(Array::zeros(kept));
        }
        let strides = place.strides.clone().or_else(|| row_major(shape));
        let strides = strides.ok_or_else(outside)?;
        let (mut first, mut axes) = (0, Vec::new());
        for ((&extent, &stride), index) in shape.iter().zip(&strides).zip(at) {
            match index {
                Some(index) => first += index * stride,
                None => axes.push(Axis { extent, stride }),
            }
        }
        let offset = place.offset + (first * dtype.size()) as u64;
        let data = slice::read(&*self.unpacked(place)?, *dtype, offset, &axes)?;
        let data = data.ok_or_else(|| self.unreadable(name, *dtype))?;
        Array::new(kept, data)
    }

    fn unreadable(&self, name: &str, dtype: DType) -> Error {
        self.tensor_error(name, READ, dtype.name())
    }

    /// Some of the pieces of `length` elements that a tensor without strides is cut into.
    fn read_pieces(
        &self,
        name: &str,
        length: usize,
        pieces: impl ExactSizeIterator<Item = usize>,
    ) -> Result<Vec<f32>> {
        let (TensorInfo { dtype, .. }, place) = self.find(name)?;
        let size = length * dtype.size();
        let mut data = Vec::with_capacity(pieces.len() * length);
        let source = self.unpacked(place)?;
        for piece in pieces {
            let bytes = source.read_at(place.offset + (piece * size) as u64, size)?;
            let values = dtype.widen(&bytes);
            data.extend(values.ok_or_else(|| self.unreadable(name, *dtype))?);
        }
        Ok(data)
    }

    /// Reads a tensor's elements as they are: type, shape and little-endian bytes in row-major order.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the file has no such tensor; [`Error::Io`].
    pub fn read_bytes(&self, name: &str) -> Result<(DType, Vec<usize>, Vec<u8>)> {
        let (TensorInfo { dtype, shape }, place) = self.find(name)?;
        let span = self.unpacked(place)?.read_at(place.offset, place.span)?;
        let bytes = match &place.strides {
            None => span,
            Some(strides) => gather(&span, dtype.size(), shape, strides),
        };
        Ok((*dtype, shape.clone(), bytes))
    }

    /// What a place lies in: the file, or a part of it that is unpacked into memory.
    fn unpacked(&self, place: &Place) -> Result<Held<'_>> {
        if let Some(sum) = &place.sum {
            let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
            if !checked.contains(&sum.offset) {
                npz::check(&self.source, sum)?;
                checked.insert(sum.offset);
            }
        }
        Ok(match &place.packed {
            None => Held::File(&self.source),
            Some(packed) => Held::Memory(Source::from_bytes(
                self.path().to_path_buf(),
                npz::unpack(&self.source, packed)?.into(),
            )),
        })
    }

    /// What and where a tensor is, if its type is read.
    fn find(&self, name: &str) -> Result<(&TensorInfo, &Place)> {
        let found = self
            .contents
            .tensors
            .get(name)
            .zip(self.contents.places.get(name));
        let missing = || match self.contents.unread.get(name) {
            Some(found) => self.tensor_error(name, READ, found),
            None => self.tensor_error(name, "a tensor of this name", "none"),
        };
        let (info, place) = found.ok_or_else(missing)?;
        match info.dtype.is_readable() {
            true => Ok((info, place)),
            false => Err(self.unreadable(name, info.dtype)),
        }
    }

    /// An [`Error::Tensor`] here.
    pub fn tensor_error(&self, name: &str, expected: &str, got: &str) -> Error {
        Error::Tensor {
            path: self.path().to_path_buf(),
            tensor: name.into(),
            expected: expected.into(),
            got: got.into(),
        }
    }
}

/// Recognizes the format by the first bytes and reads the header; names common files of other kinds.
fn read_contents(source: &Source) -> Result<(Format, Contents)> {
    let head = source.head(64)?;
    let starts = |magic: &[u8]| head.starts_with(magic);
    if starts(b"PK\x03\x04") {
        let members = archive::members(source)?;
        return match npz::is_npz(&members) {
            true => Ok((Format::Npz, npz::read(source, &members)?)),
            false => Ok((Format::Torch, torch::read(source, &members)?)),
        };
    }
    if starts(npy::MAGIC) {
        return Ok((Format::Npy, npy::read(source)?));
    }
    if safetensors::looks_like(&head) {
        return Ok((Format::Safetensors, safetensors::read(source)?));
    }
    Err(source.problem(match &head[..] {
        [] => "the file is empty",
        _ if starts(b"version https://git-lfs") => "a Git LFS pointer, not the file itself; fetch it with git lfs pull",
        _ if starts(b"GGUF") => "a GGUF file, which is not supported; use safetensors, torch (.pth), npy or npz",
        [0x80, 1..=5, ..] => {
            "a torch file of the old format or a bare pickle; load it in torch and save it again (torch.save of torch 1.6 or later)"
        }
        _ if starts(b"<") => "a web page or XML, not a tensor file; the download may have failed",
        _ => "neither safetensors, torch (.pth), npy nor npz",
    }))
}

/// Copies elements of `size` bytes that lie `strides` apart into row-major order. The last element must lie in `span`.
fn gather(span: &[u8], size: usize, shape: &[usize], strides: &[usize]) -> Vec<u8> {
    let count = shape.iter().product::<usize>();
    let mut out = Vec::with_capacity(count * size);
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    for _ in 0..count {
        out.extend_from_slice(&span[at * size..(at + 1) * size]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= shape[axis] * strides[axis];
            index[axis] = 0;
        }
    }
    out
}
