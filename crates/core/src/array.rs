//! A dense `f32` array in row-major order: what readers, engines and writers hand to each other.

use crate::error::{Error, Result};

/// A dense row-major array. The product of `shape` always equals `data.len()`.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    shape: Vec<usize>,
    data: Vec<f32>,
}

impl Array {
    /// Wraps `data` as an array of `shape`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the element count differs from the product of `shape`.
    pub fn new(shape: impl Into<Vec<usize>>, data: Vec<f32>) -> Result<Self> {
        let shape = shape.into();
        match element_count(&shape) {
            Some(n) if n == data.len() => Ok(Self { shape, data }),
            _ => Err(Error::Shape {
                what: "array".into(),
                expected: format!("{} elements", data.len()),
                got: format!("shape {shape:?}"),
            }),
        }
    }

    /// An array of zeros.
    pub fn zeros(shape: impl Into<Vec<usize>>) -> Self {
        let shape = shape.into();
        let data = vec![0.0; shape.iter().product()];
        Self { shape, data }
    }

    /// An array of zeros, if there is memory for it.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn try_zeros(shape: impl Into<Vec<usize>>) -> Result<Self> {
        let shape = shape.into();
        let refused = || Error::OutOfMemory(format!("values of shape {shape:?}"));
        let count = element_count(&shape).ok_or_else(refused)?;
        // Asked for first and given back untouched, as only `vec!` takes zeros as the system has them.
        Vec::<f32>::new()
            .try_reserve_exact(count)
            .map_err(|_| refused())?;
        Ok(Self::zeros(shape))
    }

    /// Extents, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Elements in row-major order.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// Elements in row-major order, writable.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// Gives up the elements.
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }

    /// The extents as a fixed-size array.
    ///
    /// # Errors
    /// [`Error::Shape`] naming `what` if the number of dimensions is not `N`.
    pub fn dims<const N: usize>(&self, what: &str) -> Result<[usize; N]> {
        self.shape.as_slice().try_into().map_err(|_| Error::Shape {
            what: what.into(),
            expected: format!("{N} dimensions"),
            got: format!("shape {:?}", self.shape),
        })
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// [`Error::Shape`] if the element counts differ.
    pub fn reshape(self, shape: impl Into<Vec<usize>>) -> Result<Self> {
        Self::new(shape, self.data)
    }

    /// Item `i` along the first axis, with that axis removed.
    ///
    /// # Panics
    /// If the array has no axis or `i` is out of range.
    pub fn item(&self, i: usize) -> Self {
        let shape = self.shape[1..].to_vec();
        let n = shape.iter().product::<usize>();
        Self {
            shape,
            data: self.data[i * n..(i + 1) * n].to_vec(),
        }
    }

    /// Indices `range` along axis 1, as in `[C, T, H, W]` -> `[C, range.len(), H, W]`.
    ///
    /// # Panics
    /// If the array has fewer than two axes or the range is out of bounds.
    pub fn narrow1(&self, range: std::ops::Range<usize>) -> Self {
        let inner: usize = self.shape[2..].iter().product();
        let mut shape = self.shape.clone();
        shape[1] = range.len();
        let data = self
            .data
            .chunks_exact((self.shape[1] * inner).max(1))
            .flat_map(|row| &row[range.start * inner..range.end * inner])
            .copied()
            .collect();
        Self { shape, data }
    }

    /// Refuses values that are NaN or infinite. `what` names the array.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with the place of the first.
    pub fn require_finite(&self, what: impl FnOnce() -> String) -> Result<()> {
        let broken = |value: &f32| !value.is_finite();
        let Some(first) = self.data.iter().position(broken) else {
            return Ok(());
        };
        Err(Error::NotFinite {
            what: format!("{}, first at {:?}", what(), self.index_of(first)),
            count: self.data.iter().filter(|&value| broken(value)).count(),
            total: self.data.len(),
        })
    }

    /// The index along each axis of element `flat`.
    fn index_of(&self, mut flat: usize) -> Vec<usize> {
        let mut index: Vec<_> = self
            .shape
            .iter()
            .rev()
            .map(|&extent| {
                let i = flat % extent;
                flat /= extent;
                i
            })
            .collect();
        index.reverse();
        index
    }

    /// Joins arrays along axis 1; all other extents must agree.
    ///
    /// # Errors
    /// [`Error::Shape`] if `parts` is empty or extents disagree.
    pub fn concat1(parts: &[Self]) -> Result<Self> {
        let mismatch = |got: String| Error::Shape {
            what: "arrays to join".into(),
            expected: "equal extents but for axis 1".into(),
            got,
        };
        let first = parts.first().ok_or_else(|| mismatch("none".into()))?;
        if first.shape.len() < 2 {
            return Err(mismatch(format!("shape {:?}", first.shape)));
        }
        let mut shape = first.shape.clone();
        shape[1] = 0;
        for part in parts {
            let same = part.shape.len() == shape.len()
                && part.shape[0] == shape[0]
                && part.shape[2..] == shape[2..];
            if !same {
                return Err(mismatch(format!("{:?} and {:?}", first.shape, part.shape)));
            }
            shape[1] += part.shape[1];
        }
        let inner: usize = shape[2..].iter().product();
        let mut data = Vec::with_capacity(shape.iter().product());
        for outer in 0..shape[0] {
            for part in parts {
                let n = part.shape[1] * inner;
                data.extend_from_slice(&part.data[outer * n..(outer + 1) * n]);
            }
        }
        Self::new(shape, data)
    }

    /// Joins arrays of equal shape along a new first axis.
    ///
    /// # Errors
    /// [`Error::Shape`] if `parts` is empty or shapes differ.
    pub fn stack(parts: &[Self]) -> Result<Self> {
        let shape = parts.first().map(|p| p.shape.clone()).unwrap_or_default();
        if parts.is_empty() || parts.iter().any(|p| p.shape != shape) {
            return Err(Error::Shape {
                what: "arrays to stack".into(),
                expected: "one or more of equal shape".into(),
                got: format!("{:?}", parts.iter().map(|p| &p.shape).collect::<Vec<_>>()),
            });
        }
        let data = parts.iter().flat_map(|p| p.data.iter().copied()).collect();
        let shape = [vec![parts.len()], shape].concat();
        Self::new(shape, data)
    }
}

/// The product of `shape`, or `None` on overflow.
pub fn element_count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(shape: &[usize]) -> Array {
        Array::new(
            shape,
            (0..shape.iter().product()).map(|i| i as f32).collect(),
        )
        .unwrap()
    }

    #[test]
    fn a_shape_that_lies_is_refused() {
        assert!(Array::new([2, 3], vec![0.0; 5]).is_err());
        assert!(Array::new([usize::MAX, 2], vec![0.0; 5]).is_err());
    }

    #[test]
    fn narrow_and_concat_are_inverse() {
        let whole = ramp(&[3, 5, 2, 2]);
        let parts = [
            whole.narrow1(0..1),
            whole.narrow1(1..4),
            whole.narrow1(4..5),
        ];
        assert_eq!(Array::concat1(&parts).unwrap(), whole);
    }

    #[test]
    fn stack_and_item_are_inverse() {
        let parts = [ramp(&[2, 3]), Array::zeros([2, 3])];
        let stacked = Array::stack(&parts).unwrap();
        assert_eq!(stacked.shape(), [2, 2, 3]);
        assert_eq!(stacked.item(0), parts[0]);
        assert_eq!(stacked.item(1), parts[1]);
    }

    #[test]
    fn arrays_that_do_not_fit_are_refused() {
        assert!(Array::concat1(&[ramp(&[2, 1, 3]), ramp(&[2, 1, 4])]).is_err());
        assert!(Array::stack(&[ramp(&[2]), ramp(&[3])]).is_err());
    }
}
