//! The order of samples: several crops of each photo, mixed with those of other photos.
//!
//! A *visit* is one decoding of a photo, from which a fixed number of crops is cut. Samples come in blocks; a block has all crops of
//! some visits that follow each other, in an order drawn for the block. So sample `i` follows from the seed and `i` alone, a run
//! can go on anywhere, and no more than the visits of a block or two are ever held.

use std::ops::Range;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Sets the orders of blocks apart from the other random numbers of a seed.
const ORDERS: u64 = 0xA24B_AED4_963E_E407;

/// Which crop of which visit is which sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    seed: u64,
    crops: u64,
    block: u64,
}

impl Order {
    /// `crops` of each visit, and blocks of at least `shuffle` samples.
    pub fn new(seed: u64, crops: usize, shuffle: usize) -> Self {
        let crops = crops.max(1) as u64;
        Self {
            seed,
            crops,
            block: (shuffle as u64).next_multiple_of(crops).max(crops),
        }
    }

    /// Crops of a visit.
    pub fn crops(&self) -> usize {
        self.crops as usize
    }

    /// Samples of a block.
    pub fn block(&self) -> u64 {
        self.block
    }

    /// How far ahead of the next sample blocks are begun: a block, or what so many threads are told if that is more.
    pub fn ahead(&self, workers: usize, prefetch: usize) -> u64 {
        (workers.saturating_mul(prefetch) as u64).max(self.block)
    }

    /// The samples of the block that has visit `visit`.
    pub fn block_of(&self, visit: u64) -> Range<u64> {
        let first = visit * self.crops / self.block * self.block;
        first..first + self.block
    }

    /// The first visit of the block that has sample `index`.
    pub fn first_visit(&self, index: u64) -> u64 {
        index / self.block * (self.block / self.crops)
    }

    /// The samples that the crops of a visit are, in the order of the crops.
    pub fn samples(&self, visit: u64) -> Vec<u64> {
        let samples = self.block_of(visit);
        let first = visit * self.crops - samples.start;
        let order = self.permutation(samples.start / self.block);
        let of_visit = &order[first as usize..][..self.crops as usize];
        of_visit.iter().map(|at| samples.start + at).collect()
    }

    /// For each crop of a block, its place among the block's samples.
    fn permutation(&self, block: u64) -> Vec<u64> {
        let mut order: Vec<u64> = (0..self.block).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed ^ ORDERS);
        rng.set_stream(block);
        order.shuffle(&mut rng);
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_a_crop_of_one_visit() {
        for (crops, shuffle) in [(1, 0), (1, 5), (3, 1), (4, 10), (4, 12)] {
            let order = Order::new(7, crops, shuffle);
            let blocks = 3;
            let visits = blocks * order.block() / crops as u64;
            let mut samples: Vec<u64> = (0..visits).flat_map(|v| order.samples(v)).collect();
            samples.sort_unstable();
            assert!(samples.into_iter().eq(0..blocks * order.block()));
            for visit in 0..visits {
                for index in order.samples(visit) {
                    assert!(order.block_of(visit).contains(&index));
                    let first = order.first_visit(index);
                    assert!(first <= visit && order.block_of(first) == order.block_of(visit));
                }
            }
        }
    }

    #[test]
    fn one_crop_without_a_buffer_is_the_order_of_the_photos() {
        let order = Order::new(7, 1, 1);
        assert!((0..9).all(|visit| order.samples(visit) == [visit]));
    }

    #[test]
    fn blocks_are_mixed_and_each_in_its_own_way() {
        let order = Order::new(7, 4, 64);
        let [a, b] = [0, 16].map(|visit| order.samples(visit));
        let apart = |samples: &[u64]| samples.windows(2).any(|w| w[0].abs_diff(w[1]) > 4);
        assert!(apart(&a) && apart(&b), "{a:?} {b:?}");
        assert!(!a.iter().map(|i| i + 64).eq(b.iter().copied()));
        assert_ne!(a, Order::new(8, 4, 64).samples(0));
    }
}
