//! What ranks do together. [`Member`](super::meeting::Member) joins the devices of one process, `Mpi` processes, which may be on
//! several machines.
//!
//! All ranks call the same functions in the same order. Sums are made in the order of ranks, so no bit of a mean depends on which
//! rank comes first, or on how the values travel.

use std::fmt::Debug;
use std::sync::Arc;

use rayon::prelude::*;

use crate::Result;

/// Ranks that work together, seen from one of them.
pub trait Collective: Debug + Send + Sync {
    /// This rank, counted from 0.
    fn rank(&self) -> usize;

    /// Number of ranks.
    fn count(&self) -> usize;

    /// The mean over all ranks of each value. Waits for all of them.
    ///
    /// # Errors
    /// [`Error::Rank`](crate::Error::Rank) if a rank has ended, brings another number of values, or does something else.
    fn mean(&self, values: Vec<f32>) -> Result<Arc<Vec<f32>>>;

    /// What each rank brings, in their order. Waits for all of them.
    ///
    /// # Errors
    /// [`Error::Rank`](crate::Error::Rank) if a rank has ended, or does something else.
    fn gather(&self, bytes: Vec<u8>) -> Result<Vec<Vec<u8>>>;

    /// The largest of the values that ranks bring.
    ///
    /// # Errors
    /// As [`Self::gather`].
    fn largest(&self, value: u8) -> Result<u8> {
        let all = self.gather(vec![value])?;
        Ok(all.into_iter().flatten().max().unwrap_or(value))
    }

    /// What the first rank brings; the others may bring nothing.
    ///
    /// # Errors
    /// As [`Self::gather`].
    fn broadcast(&self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        let own = match self.rank() {
            0 => bytes,
            _ => Vec::new(),
        };
        Ok(self.gather(own)?.swap_remove(0))
    }
}

/// Turns the first rank's values into the mean over it and `others`, each as long; on all cores.
pub(super) fn mean_in_order(sum: &mut [f32], others: &[&[f32]]) {
    /// Values of a piece, few enough for a core's cache.
    const PIECE: usize = 1 << 14;
    let share = 1.0 / (others.len() + 1) as f32;
    let pieces = sum.par_chunks_mut(PIECE).enumerate();
    pieces.for_each(|(i, sum)| {
        for other in others {
            let values = &other[i * PIECE..];
            sum.iter_mut()
                .zip(values)
                .for_each(|(sum, value)| *sum += value);
        }
        sum.iter_mut().for_each(|value| *value *= share);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_summed_in_order() {
        // The sum depends on the order, and pieces do not show.
        let ranks: Vec<Vec<f32>> = [1.0, 1e8, -1e8]
            .into_iter()
            .map(|v| vec![v; (1 << 14) + 3])
            .collect();
        let mut sum = ranks[0].clone();
        mean_in_order(&mut sum, &[&ranks[1], &ranks[2]]);
        let want = ((1.0f32 + 1e8) - 1e8) * (1.0 / 3.0f32);
        assert!(sum.iter().all(|v| v.to_bits() == want.to_bits()));
        let mut sum = ranks[1].clone();
        mean_in_order(&mut sum, &[&ranks[2], &ranks[0]]);
        assert_eq!(sum[0], 1.0 / 3.0);
        assert_ne!(sum[0], want);
    }
}
