//! A bitonic sort of indices by key, for CubeCL devices.
//!
//! Rows are padded to a power of two. Values become unsigned keys of the same order, ties are broken by the index, so the
//! result is that of a stable sort and padding stays behind. Blocks of a row are sorted in shared memory; longer merges
//! compare across blocks in global memory until they fit a block again. Batcher, "Sorting networks and their applications",
//! 1968. Along the grid's first axis lie the blocks of a row, along the second the rows.

use cubecl::prelude::*;

/// A number that is ordered as `value` is, NaNs last.
#[cube]
fn ordered_key(value: f32) -> u32 {
    let bits = u32::reinterpret(value);
    let mut key = bits | 0x8000_0000u32;
    if bits >= 0x8000_0000u32 {
        key = !bits;
    }
    if (bits & 0x7fff_ffffu32) > 0x7f80_0000u32 {
        key = 0xffff_ffffu32;
    }
    key
}

/// Sorts each block by itself, upwards or downwards as the merges to come need it.
#[cube(launch)]
pub fn sort_blocks(
    values: &Tensor<f32>,
    keys: &mut Tensor<u32>,
    places: &mut Tensor<i32>,
    length: u32,
    padded: u32,
    #[comptime] block: usize,
    #[comptime] units: usize,
) {
    let start = CUBE_POS_X as usize * block;
    let row = CUBE_POS_Y as usize;
    let mut shared_keys = Shared::<[u32]>::new_slice(block);
    let mut shared_places = Shared::<[i32]>::new_slice(block);
    let mut i = UNIT_POS_X as usize;
    while i < block {
        let column = start + i;
        // Behind all values.
        let mut key = 0xffff_ffffu32;
        if column < length as usize {
            key = ordered_key(values[row * length as usize + column]);
        }
        shared_keys[i] = key;
        shared_places[i] = column as i32;
        i += units;
    }
    sync_cube();
    let mut run = 2usize;
    while run <= block {
        merge_in_block(
            &mut shared_keys,
            &mut shared_places,
            start,
            run,
            run / 2,
            block,
            units,
        );
        run *= 2usize;
    }
    let mut i = UNIT_POS_X as usize;
    while i < block {
        keys[row * padded as usize + start + i] = shared_keys[i];
        places[row * padded as usize + start + i] = shared_places[i];
        i += units;
    }
}

/// The steps of a merge of `run` values that stay within a block.
#[cube(launch)]
pub fn merge_blocks(
    keys: &mut Tensor<u32>,
    places: &mut Tensor<i32>,
    padded: u32,
    run: u32,
    #[comptime] block: usize,
    #[comptime] units: usize,
) {
    let start = CUBE_POS_X as usize * block;
    let offset = CUBE_POS_Y as usize * padded as usize + start;
    let mut shared_keys = Shared::<[u32]>::new_slice(block);
    let mut shared_places = Shared::<[i32]>::new_slice(block);
    let mut i = UNIT_POS_X as usize;
    while i < block {
        shared_keys[i] = keys[offset + i];
        shared_places[i] = places[offset + i];
        i += units;
    }
    sync_cube();
    merge_in_block(
        &mut shared_keys,
        &mut shared_places,
        start,
        run as usize,
        block / 2,
        block,
        units,
    );
    let mut i = UNIT_POS_X as usize;
    while i < block {
        keys[offset + i] = shared_keys[i];
        places[offset + i] = shared_places[i];
        i += units;
    }
}

/// Compares values that are `first`, then half of it, ... 1 apart; the block begins at column `start`.
#[cube]
fn merge_in_block(
    keys: &mut Shared<[u32]>,
    places: &mut Shared<[i32]>,
    start: usize,
    run: usize,
    first: usize,
    #[comptime] block: usize,
    #[comptime] units: usize,
) {
    let mut distance = first;
    while distance > 0 {
        let mut pair = UNIT_POS_X as usize;
        while pair < block / 2 {
            let low = 2 * distance * (pair / distance) + pair % distance;
            let high = low + distance;
            let (low_key, high_key) = (keys[low], keys[high]);
            let (low_place, high_place) = (places[low], places[high]);
            let upwards = (start + low) & run == 0;
            if same(
                out_of_order(low_key, high_key, low_place, high_place),
                upwards,
            ) {
                keys[low] = high_key;
                keys[high] = low_key;
                places[low] = high_place;
                places[high] = low_place;
            }
            pair += units;
        }
        sync_cube();
        distance /= 2;
    }
}

/// One step of a merge of `run` values, between values `distance` apart.
#[cube(launch)]
pub fn merge_far(
    keys: &mut Tensor<u32>,
    places: &mut Tensor<i32>,
    padded: u32,
    run: u32,
    distance: u32,
    #[comptime] units: usize,
) {
    let pair = CUBE_POS_X as usize * units + UNIT_POS_X as usize;
    let distance = distance as usize;
    let column = 2 * distance * (pair / distance) + pair % distance;
    let low = CUBE_POS_Y as usize * padded as usize + column;
    let high = low + distance;
    let (low_key, high_key) = (keys[low], keys[high]);
    let (low_place, high_place) = (places[low], places[high]);
    let upwards = column & run as usize == 0;
    if same(
        out_of_order(low_key, high_key, low_place, high_place),
        upwards,
    ) {
        keys[low] = high_key;
        keys[high] = low_key;
        places[low] = high_place;
        places[high] = low_place;
    }
}

#[cube]
fn out_of_order(low_key: u32, high_key: u32, low_place: i32, high_place: i32) -> bool {
    low_key > high_key || (low_key == high_key && low_place > high_place)
}

/// Whether both hold or neither does; cubecl-spirv 0.11.3 cannot compare truth values.
#[cube]
fn same(a: bool, b: bool) -> bool {
    (a && b) || !(a || b)
}
