//! The safetensors format: `u64` header length, JSON header, data. The `safetensors` crate parses and checks the header
//! (offsets in order, without gaps or overlaps, sizes that match shapes); here are the limits and the file's length.

use safetensors::Dtype as FileDtype;
use safetensors::tensor::Metadata;

use super::dtype::DType;
use super::source::Source;
use super::table::{Contents, MAX_TENSORS, Place, TensorInfo};
use crate::error::Result;

/// Bytes of a header: what the tensors of a file take, with long names and long metadata. The format itself allows 100 MB.
const MAX_HEADER: u64 = 16 << 20;
/// Bytes of the header's length.
const PREFIX: usize = 8;

/// Whether a file begins like a safetensors file: a possible header length, then `{`.
pub(crate) fn looks_like(head: &[u8]) -> bool {
    matches!(head, [_, _, _, _, _, 0, 0, 0, b'{', ..])
}

/// Reads and checks the header.
pub(crate) fn read(source: &Source) -> Result<Contents> {
    let header = read_header(source)?;
    let parsed: Metadata = serde_json::from_slice(&header[PREFIX..])
        .map_err(|e| source.problem(format!("the safetensors header is invalid: {e}")))?;
    let tensors = parsed.tensors();
    if tensors.len() > MAX_TENSORS {
        return Err(source.problem(format!(
            "{} tensors; expected at most {MAX_TENSORS}",
            tensors.len()
        )));
    }
    let expected = header.len() as u128 + parsed.data_len() as u128;
    if expected != u128::from(source.len()) {
        let found = source.len();
        let why = if expected > u128::from(found) {
            "the file is truncated"
        } else {
            "bytes follow the last tensor"
        };
        return Err(source.problem(format!(
            "{why}: the safetensors header describes {expected} bytes, found {found}"
        )));
    }
    let mut contents = Contents::default();
    contents
        .metadata
        .extend(parsed.metadata().clone().unwrap_or_default());
    for (name, tensor) in tensors {
        let dtype = dtype(tensor.dtype).ok_or_else(|| {
            source.problem(format!(
                "tensor '{name}' has the unknown type {:?}",
                tensor.dtype
            ))
        })?;
        let (start, end) = tensor.data_offsets;
        let place = Place {
            offset: (header.len() + start) as u64,
            span: end - start,
            strides: None,
            packed: None,
        };
        contents.insert(
            name,
            TensorInfo {
                dtype,
                shape: tensor.shape.clone(),
            },
            place,
        );
    }
    Ok(contents)
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

fn dtype(file: FileDtype) -> Option<DType> {
    Some(match file {
        FileDtype::F64 => DType::F64,
        FileDtype::F32 => DType::F32,
        FileDtype::F16 => DType::F16,
        FileDtype::BF16 => DType::BF16,
        FileDtype::F8_E4M3 => DType::F8E4M3,
        FileDtype::F8_E5M2 => DType::F8E5M2,
        FileDtype::I64 => DType::I64,
        FileDtype::I32 => DType::I32,
        FileDtype::I16 => DType::I16,
        FileDtype::I8 => DType::I8,
        FileDtype::U64 => DType::U64,
        FileDtype::U32 => DType::U32,
        FileDtype::U16 => DType::U16,
        FileDtype::U8 => DType::U8,
        FileDtype::BOOL => DType::Bool,
        _ => return None,
    })
}
