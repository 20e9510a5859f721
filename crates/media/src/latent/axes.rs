//! The order of a tensor's axes, as the user gives it or as its shape shows it.

use std::str::FromStr;

use vae2x_core::{Array, Error, Result};

/// Names of the axes of `[B, C, T, h, w]`, in its order.
const NAMES: [char; 5] = ['B', 'C', 'T', 'H', 'W'];
/// The axes that every latent has.
const NEEDED: [usize; 3] = [1, 3, 4];
/// The axes of items, of channels, and of latent frames.
const ITEMS: usize = 0;
const CHANNELS: usize = 1;
const TIME: usize = 2;

/// The order of a latent's axes: `C`, `H` and `W`, with or without `B` and `T`, such as `CTHW`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axes {
    /// For each axis of the tensor its place in `[B, C, T, h, w]`.
    places: Vec<usize>,
}

impl Axes {
    /// How many axes the tensor has.
    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// The extents `[B, C, T, h, w]` of a tensor of this shape, or nothing if it has another number of axes.
    pub(super) fn extents(&self, shape: &[usize]) -> Option<[usize; 5]> {
        let mut extents = [1; 5];
        for (&place, &extent) in self.places.iter().zip(shape) {
            extents[place] = extent;
        }
        (shape.len() == self.count()).then_some(extents)
    }

    /// The axis of the tensor that holds channels.
    pub(super) fn channels(&self) -> usize {
        let found = self.places.iter().position(|&place| place == CHANNELS);
        found.unwrap_or_default()
    }

    /// Where latent frame `t` of item `item` lies: an index for the axes of items and time, none for the others.
    pub(super) fn frame(&self, item: usize, t: usize) -> Vec<Option<usize>> {
        let at = |&place: &usize| match place {
            ITEMS => Some(item),
            TIME => Some(t),
            _ => None,
        };
        self.places.iter().map(at).collect()
    }

    /// The order of what [`Self::frame`] leaves.
    pub(super) fn of_frame(&self) -> Self {
        let is_left = |place: &usize| ![ITEMS, TIME].contains(place);
        Self {
            places: self.places.iter().copied().filter(is_left).collect(),
        }
    }

    /// Brings a tensor into `[B, C, T, h, w]`.
    pub(super) fn apply(&self, array: Array) -> Result<Array> {
        let shape = array.shape().to_vec();
        let extents = self.extents(&shape).ok_or_else(|| Error::Shape {
            what: "latent".into(),
            expected: format!("the axes {self}"),
            got: format!("shape {shape:?}"),
        })?;
        if self.places.is_sorted() {
            return array.reshape(extents);
        }
        let mut strides = [0; 5];
        let mut stride = 1;
        for (&place, &extent) in self.places.iter().zip(&shape).rev() {
            strides[place] = stride;
            stride *= extent;
        }
        let element = |flat: usize| {
            let mut rest = flat;
            let along = extents.iter().zip(&strides).rev().map(|(extent, stride)| {
                let index = rest % extent;
                rest /= extent;
                index * stride
            });
            array.data()[along.sum::<usize>()]
        };
        Array::new(extents, (0..array.data().len()).map(element).collect())
    }
}

impl std::fmt::Display for Axes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.places
            .iter()
            .try_for_each(|&place| write!(f, "{}", NAMES[place]))
    }
}

impl FromStr for Axes {
    type Err = Error;

    /// Letters in any case.
    fn from_str(text: &str) -> Result<Self> {
        let refused = || {
            Error::BadRequest(format!(
                "unknown order of axes '{text}'; expected C, H and W, with B or T where the tensor has them, such as CTHW or BCHW"
            ))
        };
        let letters = text.chars().map(|letter| letter.to_ascii_uppercase());
        let places = letters.map(|letter| NAMES.iter().position(|&name| name == letter));
        let places: Vec<usize> = places.collect::<Option<_>>().ok_or_else(refused)?;
        let is_once = |place: &usize| places.iter().filter(|&p| p == place).count() == 1;
        let has_needed = NEEDED.iter().all(|needed| places.contains(needed));
        match has_needed && places.iter().all(is_once) {
            true => Ok(Self { places }),
            false => Err(refused()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes(text: &str) -> Axes {
        text.parse().unwrap()
    }

    #[test]
    fn orders_are_read_and_shown() {
        for text in ["CHW", "BCHW", "CTHW", "TCHW", "BCTHW", "BTCHW", "BHWC"] {
            assert_eq!(axes(text).to_string(), text);
            assert_eq!(axes(&text.to_lowercase()), axes(text));
        }
        for text in ["", "CH", "BCH", "CCHW", "CHWX", "BCTHWB", "CHW "] {
            let Err(Error::BadRequest(said)) = text.parse::<Axes>() else {
                panic!("'{text}' was read");
            };
            assert!(said.contains("CTHW"), "{said}");
        }
        assert_eq!([axes("CTHW").channels(), axes("BHWC").channels()], [0, 3]);
    }

    #[test]
    fn every_order_comes_to_the_same_latent() {
        let extents = [2, 3, 4, 5, 6];
        let value = |at: [usize; 5]| at.iter().fold(0, |n, &i| 10 * n + i) as f32;
        let latent = |flat: usize| {
            let mut rest = flat;
            let mut at = [0; 5];
            for axis in (0..5).rev() {
                at[axis] = rest % extents[axis];
                rest /= extents[axis];
            }
            value(at)
        };
        let want = Array::new(extents, (0..720).map(latent).collect()).unwrap();
        for text in ["BCTHW", "BTCHW", "BTHWC", "WHTCB"] {
            let order = axes(text);
            let shape: Vec<usize> = order.places.iter().map(|&place| extents[place]).collect();
            let element = |flat: usize| {
                let mut rest = flat;
                let mut at = [0; 5];
                for axis in (0..5).rev() {
                    at[order.places[axis]] = rest % shape[axis];
                    rest /= shape[axis];
                }
                value(at)
            };
            let tensor = Array::new(shape.clone(), (0..720).map(element).collect()).unwrap();
            assert_eq!(order.apply(tensor).unwrap(), want, "{text}");
        }
        let refused = axes("CHW").apply(Array::zeros([1, 2, 3, 4]));
        assert!(refused.unwrap_err().to_string().contains("the axes CHW"));
    }
}
