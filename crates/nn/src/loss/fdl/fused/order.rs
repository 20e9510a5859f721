//! Sorting of responses: a radix sort of keys whose order as integers is that of the values.

/// Bits of a digit: its counts fit a core's first cache.
const BITS: u32 = 11;
const DIGITS: usize = 1 << BITS;
/// Below this the counts cost more than comparisons.
const FEW: usize = 1 << 10;

/// The integer in the place of a value in the order of all values, NaNs at the ends.
pub(super) fn key(value: f32) -> u32 {
    let bits = value.to_bits();
    match bits >> 31 {
        0 => bits | 1 << 31,
        _ => !bits,
    }
}

/// The value of a key.
pub(super) fn value(key: u32) -> f32 {
    f32::from_bits(match key >> 31 {
        0 => !key,
        _ => key & !(1 << 31),
    })
}

/// What is sorted by its key.
pub(super) trait Item: Copy + Default + Ord {
    fn key(self) -> u32;
}

impl Item for u32 {
    fn key(self) -> u32 {
        self
    }
}

/// A key and a place.
impl Item for u64 {
    fn key(self) -> u32 {
        (self >> 32) as u32
    }
}

/// Sorts by key; `scratch` is of the same length. Items of one key keep their order.
pub(super) fn sort<T: Item>(items: &mut [T], scratch: &mut [T]) {
    if items.len() < FEW {
        items.sort_unstable();
        return;
    }
    let digit = |item: T, pass: u32| (item.key() >> (pass * BITS)) as usize % DIGITS;
    let mut counts = [[0u32; DIGITS]; 3];
    for item in items.iter() {
        for (pass, counts) in (0..).zip(&mut counts) {
            counts[digit(*item, pass)] += 1;
        }
    }
    let (mut from, mut to) = (&mut *items, &mut *scratch);
    for (pass, counts) in (0..).zip(&mut counts) {
        let mut next = 0;
        for count in counts.iter_mut() {
            next += std::mem::replace(count, next);
        }
        for item in from.iter() {
            let place = &mut counts[digit(*item, pass)];
            to[*place as usize] = *item;
            *place += 1;
        }
        std::mem::swap(&mut from, &mut to);
    }
    // After three passes they are in the scratch.
    to.copy_from_slice(from);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_are_in_the_order_of_values(a in -1e30f32..1e30, b in -1e30f32..1e30) {
            prop_assert_eq!(key(a).cmp(&key(b)), a.total_cmp(&b));
            prop_assert_eq!(value(key(a)).to_bits(), a.to_bits());
        }

        #[test]
        fn sorted_is_sorted(length in 0..5000usize, seed in any::<u64>(), few in any::<bool>()) {
            let mut state = seed;
            let mut draw = || {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 32) as u32 >> if few { 24 } else { 0 }
            };
            let keys: Vec<u32> = (0..length).map(|_| draw()).collect();
            let mut pairs: Vec<u64> = (0..).zip(&keys).map(|(i, k)| u64::from(*k) << 32 | i).collect();
            let (mut sorted, mut want, mut pairs_want) = (keys.clone(), keys, pairs.clone());
            sort(&mut sorted, &mut vec![0; length]);
            sort(&mut pairs, &mut vec![0; length]);
            want.sort_unstable();
            pairs_want.sort_unstable();
            prop_assert_eq!(sorted, want);
            prop_assert_eq!(pairs, pairs_want);
        }
    }
}
