//! The table of contents of a tensor file, which each format's reader fills.

use std::collections::BTreeMap;

use super::dtype::DType;
use crate::array::element_count;

/// Tensors of a file. Models have thousands; a short header must not buy much memory and time.
pub(crate) const MAX_TENSORS: usize = 1 << 16;

/// How often an expanded tensor (with strides of 0) may repeat what its storage holds: more than the items of a batch that
/// shares one latent. A short file must not buy much memory.
pub(crate) const MAX_COPIES: usize = 64;
/// Values of an expanded tensor; larger ones must be stored whole.
pub(crate) const MAX_EXPANDED: usize = 1 << 24;

/// Type and shape of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Element type in the file.
    pub dtype: DType,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
}

/// Where a tensor's elements are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Position of the first element in the file, or in what [`Self::packed`] unpacks to, in bytes.
    pub offset: u64,
    /// Bytes from the first element to the end of the last.
    pub span: usize,
    /// Elements between neighbours along each axis; `None` where elements lie in row-major order without gaps.
    pub strides: Option<Vec<usize>>,
    /// The part of the file to be unpacked first.
    pub packed: Option<Packed>,
    /// The part of the file whose checksum is known.
    pub sum: Option<Checksum>,
}

/// Bytes and their checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checksum {
    /// Their position in the file.
    pub offset: u64,
    /// How many they are.
    pub size: u64,
    /// Their CRC-32.
    pub crc: u32,
}

/// Deflated bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packed {
    /// Their position in the file.
    pub offset: u64,
    /// How many they are.
    pub packed: usize,
    /// How many they unpack to.
    pub size: usize,
    /// The checksum of what they unpack to.
    pub crc: u32,
}

/// All tensors of a file, as its header lists them.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub tensors: BTreeMap<String, TensorInfo>,
    pub places: BTreeMap<String, Place>,
    /// Tensors whose elements are of types that are not read: names and types.
    pub unread: BTreeMap<String, String>,
    pub metadata: BTreeMap<String, String>,
}

impl Contents {
    pub fn insert(&mut self, name: String, info: TensorInfo, place: Place) {
        self.tensors.insert(name.clone(), info);
        self.places.insert(name, place);
    }
}

/// The place of a tensor whose elements lie `strides` apart (in elements), given the elements its storage holds from
/// `offset` on; `None` if the tensor does not fit in there, or is expanded too far.
pub(crate) fn strided_place(
    info: &TensorInfo,
    strides: &[usize],
    offset: u64,
    available: usize,
) -> Option<Place> {
    let count = element_count(&info.shape)?;
    if strides.len() != info.shape.len() || is_expanded_too_far(&info.shape, available) {
        return None;
    }
    let last = info
        .shape
        .iter()
        .zip(strides)
        .try_fold(0usize, |last, (&extent, &stride)| {
            last.checked_add(extent.saturating_sub(1).checked_mul(stride)?)
        })?;
    let reach = if count == 0 { 0 } else { last.checked_add(1)? };
    let span = reach.checked_mul(info.dtype.size())?;
    let strides = (!is_row_major(&info.shape, strides)).then(|| strides.to_vec());
    (reach <= available).then_some(Place {
        offset,
        span,
        strides,
        packed: None,
        sum: None,
    })
}

/// Whether a tensor has so many more elements than its storage that reading it would allocate far more than the file holds.
pub(crate) fn is_expanded_too_far(shape: &[usize], available: usize) -> bool {
    element_count(shape).is_none_or(|count| {
        count > available && (count > MAX_EXPANDED || count > available.saturating_mul(MAX_COPIES))
    })
}

/// Elements between neighbours along each axis of a row-major tensor without gaps; `None` on overflow.
pub(crate) fn row_major(shape: &[usize]) -> Option<Vec<usize>> {
    let mut strides = vec![1usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].checked_mul(shape[axis].max(1))?;
    }
    Some(strides)
}

/// Whether elements lie in row-major order without gaps; the stride of an axis of length 1 is ignored.
fn is_row_major(shape: &[usize], strides: &[usize]) -> bool {
    shape.contains(&0)
        || row_major(shape).is_some_and(|dense| {
            shape
                .iter()
                .zip(strides)
                .zip(&dense)
                .all(|((&n, s), d)| n == 1 || s == d)
        })
}
