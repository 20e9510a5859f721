//! Files that hold one array of 32-bit floats: npy and safetensors, and what precedes the elements
//! in each.

use serde_json::json;
use vae2x_core::{Error, Result, array};

/// A format that holds whole arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrayFormat {
    /// `numpy.save`: one array.
    Npy,
    /// One tensor, named `pixels` for clips.
    Safetensors,
}

impl ArrayFormat {
    /// The format that an extension in lower case names.
    pub fn from_extension(extension: &str) -> Option<Self> {
        match extension {
            "npy" => Some(Self::Npy),
            "safetensors" => Some(Self::Safetensors),
            _ => None,
        }
    }

    /// The header before the little-endian `f32` elements of a file with one array; `name` is the
    /// tensor's.
    pub(crate) fn header(self, name: &str, shape: &[usize]) -> Result<Vec<u8>> {
        let bytes = array::element_count(shape).and_then(|n| n.checked_mul(size_of::<f32>()));
        let bytes = bytes.ok_or_else(|| Error::Shape {
            what: "array to be written".into(),
            expected: "a size that fits in memory addresses".into(),
            got: format!("shape {shape:?}"),
        })?;
        Ok(match self {
            Self::Npy => npy_header(shape),
            Self::Safetensors => safetensors_header(name, shape, bytes),
        })
    }
}

/// Version 1.0: magic, `u16` length, a Python dictionary padded so that data starts at a multiple
/// of 64 (<https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>).
fn npy_header(shape: &[usize]) -> Vec<u8> {
    const PREFIX: usize = 10;
    let extents: String = shape.iter().map(|n| format!("{n}, ")).collect();
    let mut text = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}",
        extents.trim_end()
    );
    let padded = (PREFIX + text.len() + 1).next_multiple_of(64) - PREFIX;
    text.extend(std::iter::repeat_n(' ', padded - text.len() - 1));
    text.push('\n');
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes();
    [b"\x93NUMPY\x01\x00".as_slice(), &length, text.as_bytes()].concat()
}

fn safetensors_header(name: &str, shape: &[usize], bytes: usize) -> Vec<u8> {
    let mut text =
        json!({ name: { "dtype": "F32", "shape": shape, "data_offsets": [0, bytes] } }).to_string();
    text.extend(std::iter::repeat_n(
        ' ',
        text.len().next_multiple_of(8) - text.len(),
    ));
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}
