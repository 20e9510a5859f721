//! Writes safetensors files tensor by tensor: the header first, from names, types and shapes, then each tensor's bytes as
//! they come. Memory is that of one tensor; the file appears whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::dtype::DType;
use crate::array::{Array, element_count};
use crate::error::{Error, Result};
use crate::temp;

/// A tensor to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name in the file.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
}

impl Entry {
    /// Bytes of the tensor; `None` on overflow.
    fn size(&self) -> Option<usize> {
        element_count(&self.shape)?.checked_mul(self.dtype.size())
    }
}

/// Writes a safetensors file. `bytes` is called once per entry and gives its elements, little-endian, in row-major order;
/// tensors of wider types come first, so that all are aligned.
///
/// # Errors
/// What `bytes` returns; [`Error::Shape`] if it gives another number of bytes than the entry says, or names repeat;
/// [`Error::Io`]. An existing file is unchanged then.
pub fn write_safetensors(
    path: &Path,
    entries: &[Entry],
    metadata: &BTreeMap<String, String>,
    mut bytes: impl FnMut(&Entry) -> Result<Vec<u8>>,
) -> Result<()> {
    let mut order: Vec<&Entry> = entries.iter().collect();
    order.sort_by_key(|e| std::cmp::Reverse(e.dtype.size()));
    let header = header(&order, metadata)?;
    temp::write(path, |out| {
        let failed = |e| Error::io(path, e);
        out.write_all(&(header.len() as u64).to_le_bytes())
            .map_err(failed)?;
        out.write_all(&header).map_err(failed)?;
        for entry in order {
            let data = bytes(entry)?;
            if Some(data.len()) != entry.size() {
                return Err(wrong(entry, format!("{} bytes", data.len())));
            }
            out.write_all(&data).map_err(failed)?;
        }
        Ok(())
    })
}

/// Writes arrays as a safetensors file of 32-bit floats.
///
/// # Errors
/// As [`write_safetensors`].
pub fn write_arrays(
    path: &Path,
    arrays: &[(&str, &Array)],
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    let find = |name: &str| {
        arrays
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, array)| *array)
    };
    let entry = |(name, array): &(&str, &Array)| Entry {
        name: name.to_string(),
        dtype: DType::F32,
        shape: array.shape().to_vec(),
    };
    let entries: Vec<_> = arrays.iter().map(entry).collect();
    write_safetensors(path, &entries, metadata, |entry| {
        let array = find(&entry.name).ok_or_else(|| wrong(entry, "no array".into()))?;
        entry
            .dtype
            .narrow(array.data())
            .ok_or_else(|| wrong(entry, "no 32-bit floats".into()))
    })
}

/// The JSON header, padded with spaces so that the data begins at a multiple of 8 bytes.
fn header(order: &[&Entry], metadata: &BTreeMap<String, String>) -> Result<Vec<u8>> {
    let mut names = BTreeSet::from(["__metadata__"]);
    let mut map = Map::new();
    if !metadata.is_empty() {
        map.insert("__metadata__".into(), json!(metadata));
    }
    let mut start = 0usize;
    for entry in order {
        if !names.insert(&entry.name) {
            return Err(wrong(entry, "a name given twice".into()));
        }
        let end = entry
            .size()
            .and_then(|n| start.checked_add(n))
            .ok_or_else(|| wrong(entry, "too many bytes".into()))?;
        let value = json!({ "dtype": entry.dtype.name(), "shape": entry.shape, "data_offsets": [start, end] });
        map.insert(entry.name.clone(), value);
        start = end;
    }
    let mut text = Value::Object(map).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    Ok(text)
}

fn wrong(entry: &Entry, got: String) -> Error {
    Error::Shape {
        what: format!("tensor '{}' to be written", entry.name),
        expected: format!("{} of shape {:?}", entry.dtype, entry.shape),
        got,
    }
}
