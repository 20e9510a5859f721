//! The safetensors format: `u64` header length, JSON header, data. The `safetensors` crate checks the header (offsets in
//! order, without gaps or overlaps, sizes that match shapes); here are the limits, the file's length, and types that the
//! crate does not know: their tensors are listed and not read.

use std::collections::HashMap;

use safetensors::Dtype as FileDtype;
use safetensors::tensor::{Metadata, TensorInfo as FileTensor};
use serde::Deserialize;
use serde::de::IntoDeserializer;

use super::dtype::DType;
use super::source::Source;
use super::table::{Contents, MAX_TENSORS, Place, TensorInfo};
use crate::array::element_count;
use crate::error::Result;

/// Bytes of a header: what the tensors of a file take, with long names and long metadata. The format itself allows 100 MB.
const MAX_HEADER: u64 = 16 << 20;
/// Bytes of the header's length.
const PREFIX: usize = 8;

/// Whether a file begins like a safetensors file: a possible header length, then `{`.
pub(crate) fn looks_like(head: &[u8]) -> bool {
    matches!(head, [_, _, _, _, _, 0, 0, 0, b'{', ..])
}

/// The header as it is written.
#[derive(Deserialize)]
struct Header {
    #[serde(rename = "__metadata__")]
    metadata: Option<HashMap<String, String>>,
    #[serde(flatten)]
    tensors: HashMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

impl Entry {
    /// The type, if the crate knows it.
    fn known_type(&self) -> Option<FileDtype> {
        let name: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
            self.dtype.as_str().into_deserializer();
        FileDtype::deserialize(name).ok()
    }

    /// What the crate is to check: of a type that it does not know, the bytes.
    fn checked(&self) -> FileTensor {
        let (start, end) = self.data_offsets;
        let bytes = || (FileDtype::U8, vec![end.saturating_sub(start)]);
        let known = self.known_type().map(|dtype| (dtype, self.shape.clone()));
        let (dtype, shape) = known.unwrap_or_else(bytes);
        FileTensor {
            dtype,
            shape,
            data_offsets: self.data_offsets,
        }
    }

    /// Whether there are no more elements than bits.
    fn fits(&self) -> bool {
        let (start, end) = self.data_offsets;
        let bits = end.saturating_sub(start).saturating_mul(8);
        element_count(&self.shape).is_some_and(|count| count <= bits)
    }
}

/// Reads and checks the header.
pub(crate) fn read(source: &Source) -> Result<Contents> {
    let header = read_header(source)?;
    let invalid = |e: &dyn std::fmt::Display| {
        source.problem(format!("the safetensors header is invalid: {e}"))
    };
    let parsed: Header = serde_json::from_slice(&header[PREFIX..]).map_err(|e| invalid(&e))?;
    if parsed.tensors.len() > MAX_TENSORS {
        return Err(source.problem(format!(
            "{} tensors; expected at most {MAX_TENSORS}",
            parsed.tensors.len()
        )));
    }
    let mut tensors: Vec<_> = parsed.tensors.into_iter().collect();
    tensors.sort_by_key(|(_, entry)| entry.data_offsets);
    let checked = tensors
        .iter()
        .map(|(name, entry)| (name.clone(), entry.checked()));
    let layout = Metadata::new(None, checked.collect()).map_err(|e| invalid(&e))?;
    check_length(source, header.len(), layout.data_len())?;
    let mut contents = Contents::default();
    contents
        .metadata
        .extend(parsed.metadata.unwrap_or_default());
    for (name, entry) in tensors {
        if !entry.fits() {
            return Err(source.problem(format!(
                "tensor '{name}' of shape {:?} does not fit in its bytes",
                entry.shape
            )));
        }
        let (start, end) = entry.data_offsets;
        let place = Place {
            offset: (header.len() + start) as u64,
            span: end - start,
            strides: None,
            packed: None,
            sum: None,
        };
        let dtype = DType::from_name(&entry.dtype);
        let info = TensorInfo {
            dtype: dtype.unwrap_or_else(|| DType::other(&entry.dtype)),
            shape: entry.shape,
        };
        contents.insert(name, info, place);
    }
    Ok(contents)
}

fn check_length(source: &Source, header: usize, data: usize) -> Result<()> {
    let (expected, found) = (header as u128 + data as u128, source.len());
    if expected == u128::from(found) {
        return Ok(());
    }
    let why = if expected > u128::from(found) {
        "the file is truncated"
    } else {
        "bytes follow the last tensor"
    };
    Err(source.problem(format!(
        "{why}: the safetensors header describes {expected} bytes, found {found}"
    )))
}

/// The header with its length before it.
fn read_header(source: &Source) -> Result<Vec<u8>> {
    let prefix = source.read_at(0, PREFIX)?;
    let length = u64::from_le_bytes(prefix.try_into().unwrap_or([0xFF; PREFIX]));
    if length > MAX_HEADER {
        return Err(source.problem(format!(
            "a safetensors header of {length} bytes; expected at most {MAX_HEADER}"
        )));
    }
    let whole = PREFIX as u64 + length;
    if whole > source.len() {
        return Err(source.problem(format!(
            "truncated in the safetensors header: expected {whole} bytes or more, found {}",
            source.len()
        )));
    }
    source.head(whole as usize)
}
