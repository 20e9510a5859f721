//! The npy format, versions 1 to 3: a Python dictionary literal in ASCII, then one array.
//! <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>
//!
//! Little-endian floats, integers and booleans, in C or Fortran order.

use super::dtype::DType;
use super::source::Source;
use super::table::{Contents, Place, TensorInfo, row_major, strided_place};
use crate::array::element_count;
use crate::error::Result;

/// First bytes of every npy file.
pub(crate) const MAGIC: &[u8] = b"\x93NUMPY";
/// NumPy writes 128 bytes; this leaves room for any number of axes.
const MAX_HEADER: usize = 65_536;
/// Bytes at the beginning of a file that hold its header.
pub(crate) const MAX_HEAD: usize = MAGIC.len() + 6 + MAX_HEADER;
/// As many as NumPy allows.
const MAX_AXES: usize = 64;

/// The values of the dictionary.
struct Header {
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
}

/// Why a header is not one of an array that is read.
pub(crate) enum Trouble {
    /// Elements of this type are not read.
    Type(String),
    /// What is wrong, as a sentence.
    Broken(String),
}

/// Reads and checks the header of a file.
pub(crate) fn read(source: &Source) -> Result<Contents> {
    let (info, place) = parse(&source.head(MAX_HEAD)?, source.len()).map_err(|trouble| {
        source.problem(match trouble {
            Trouble::Type(descr) => unknown_type(&descr),
            Trouble::Broken(problem) => problem,
        })
    })?;
    let mut contents = Contents::default();
    contents.insert(String::new(), info, place);
    Ok(contents)
}

/// Says that elements of a type are not read.
pub(crate) fn unknown_type(descr: &str) -> String {
    if descr.starts_with('>') {
        return format!(
            "npy elements of the big-endian type '{descr}', which is not read; save the array as little-endian, such as array.astype('<f4')"
        );
    }
    format!(
        "npy elements of type '{descr}'; expected little-endian floats ('<f4', '<f2', '<f8'), integers or booleans"
    )
}

/// What and where the array is in a file of `len` bytes that begins with `head`, which holds the whole header.
pub(crate) fn parse(head: &[u8], len: u64) -> Result<(TensorInfo, Place), Trouble> {
    let (text, start) = header_text(head).map_err(Trouble::Broken)?;
    let Header {
        descr,
        fortran_order,
        shape,
    } = dictionary(text)
        .ok_or_else(|| Trouble::Broken(format!("the npy header is invalid: {text:?}")))?;
    let Some(dtype) = dtype(&descr) else {
        return Err(Trouble::Type(descr));
    };
    let expected = element_count(&shape).and_then(|n| n.checked_mul(dtype.size()));
    let found = len.saturating_sub(start);
    if expected.map(|n| n as u64) != Some(found) {
        let expected = expected.map_or("more than 2^64".into(), |n| n.to_string());
        return Err(Trouble::Broken(format!(
            "an npy array of shape {shape:?} takes {expected} bytes, found {found}"
        )));
    }
    let info = TensorInfo { dtype, shape };
    let strides = if fortran_order {
        column_major(&info.shape)
    } else {
        row_major(&info.shape)
    };
    let place = strides
        .and_then(|s| strided_place(&info, &s, start, (found / dtype.size() as u64) as usize))
        .ok_or_else(|| Trouble::Broken(format!("impossible npy shape {:?}", info.shape)))?;
    Ok((info, place))
}

/// The dictionary and the position of the array behind it.
fn header_text(head: &[u8]) -> Result<(&str, u64), String> {
    let cut = || "truncated in the npy header".to_owned();
    let rest = head.strip_prefix(MAGIC).ok_or("not an npy file")?;
    let (length, start) = match *rest {
        [1, _, a, b, ..] => (u16::from_le_bytes([a, b]) as usize, MAGIC.len() + 4),
        [2 | 3, _, a, b, c, d, ..] => (u32::from_le_bytes([a, b, c, d]) as usize, MAGIC.len() + 6),
        [1..=3, ..] | [] => return Err(cut()),
        [version, ..] => return Err(format!("npy version {version}; expected 1 to 3")),
    };
    if length > MAX_HEADER {
        return Err(format!(
            "an npy header of {length} bytes; expected at most {MAX_HEADER}"
        ));
    }
    let text = head.get(start..start + length).ok_or_else(cut)?;
    let text = std::str::from_utf8(text).map_err(|_| "the npy header is not text")?;
    Ok((text, (start + length) as u64))
}

/// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`, keys in any order.
fn dictionary(text: &str) -> Option<Header> {
    let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
    let (mut descr, mut order, mut shape) = (None, None, None);
    while !rest.is_empty() {
        let (key, after) = quoted(rest)?;
        let value = after.trim_start().strip_prefix(':')?.trim_start();
        rest = match key {
            "descr" => {
                let (name, after) = quoted(value)?;
                descr = Some(name.to_string());
                after
            }
            "fortran_order" => {
                let word = if value.starts_with("True") {
                    "True"
                } else {
                    "False"
                };
                order = Some(word == "True");
                value.strip_prefix(word)?
            }
            "shape" => {
                let (inside, after) = value.strip_prefix('(')?.split_once(')')?;
                shape = Some(extents(inside)?);
                after
            }
            _ => return None,
        };
        rest = rest.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    Some(Header {
        descr: descr?,
        fortran_order: order?,
        shape: shape?,
    })
}

/// A quoted word and what follows it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text[1..].split_once(quote)
}

/// `3, 4` or `3,` or nothing.
fn extents(inside: &str) -> Option<Vec<usize>> {
    let inside = inside.trim();
    let inside = inside.strip_suffix(',').unwrap_or(inside);
    if inside.is_empty() {
        return Some(vec![]);
    }
    let shape: Vec<usize> = inside
        .split(',')
        .map(|n| n.trim().parse().ok())
        .collect::<Option<_>>()?;
    (shape.len() <= MAX_AXES).then_some(shape)
}

fn dtype(descr: &str) -> Option<DType> {
    Some(match descr {
        "<f8" => DType::F64,
        "<f4" => DType::F32,
        "<f2" => DType::F16,
        "<i8" => DType::I64,
        "<i4" => DType::I32,
        "<i2" => DType::I16,
        "|i1" => DType::I8,
        "<u8" => DType::U64,
        "<u4" => DType::U32,
        "<u2" => DType::U16,
        "|u1" => DType::U8,
        "|b1" => DType::Bool,
        _ => return None,
    })
}

/// Elements between neighbours along each axis where the first axis is the densest; `None` on overflow.
fn column_major(shape: &[usize]) -> Option<Vec<usize>> {
    let mut reversed = row_major(&shape.iter().rev().copied().collect::<Vec<_>>())?;
    reversed.reverse();
    Some(reversed)
}
