//! Parts of a list of work, for several machines.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A part of a list: the things number `index`, `index + of`, ...
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Shard {
    /// From 0 on.
    pub index: usize,
    /// How many there are.
    pub of: usize,
}

impl Shard {
    /// Everything.
    pub const WHOLE: Self = Self { index: 0, of: 1 };

    /// Shards that a list may have.
    const MOST: usize = 1 << 20;

    /// Whether there is such a part.
    pub fn is_possible(self) -> bool {
        self.index < self.of && self.of <= Self::MOST
    }

    /// The numbers of its things, of a list of `count`.
    pub fn of_list(self, count: usize) -> impl Iterator<Item = usize> {
        (self.index..count).step_by(self.of)
    }

    /// Its things.
    pub fn take<T>(self, list: Vec<T>) -> Vec<T> {
        let mine = list.into_iter().skip(self.index);
        mine.step_by(self.of).collect()
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(i, n)| {
            Some(Self {
                index: i.parse().ok()?,
                of: n.parse().ok()?,
            })
        });
        match parts {
            Some(shard) if shard.is_possible() => Ok(shard),
            _ => Err("expected I/N with I from 0 to N - 1, such as 0/8".into()),
        }
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_has_every_nth_thing() {
        let things = |index, of| {
            let shard = Shard { index, of };
            assert_eq!(
                shard.take((0..5).collect()),
                Vec::from_iter(shard.of_list(5))
            );
            Vec::from_iter(shard.of_list(5))
        };
        assert_eq!(things(0, 1), [0, 1, 2, 3, 4]);
        assert_eq!((things(1, 2), things(7, 8)), (vec![1, 3], vec![]));
        // As many as there can be, one at a time.
        let shard = Shard {
            index: 3,
            of: 1 << 20,
        };
        assert_eq!(shard.of_list(usize::MAX).nth(2), Some(3 + (2 << 20)));
    }

    #[test]
    fn what_is_no_shard_is_refused() {
        assert_eq!("3/8".parse(), Ok(Shard { index: 3, of: 8 }));
        for text in ["", "1", "8/8", "-1/2", "0/0", "0/99999999"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
