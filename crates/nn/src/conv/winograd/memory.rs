//! Memory that is used again, as fresh pages would cost as much as some of the transforms: elements of images from a pool, and what a
//! task needs by thread.

use std::cell::RefCell;
use std::sync::Mutex;

static POOL: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());
/// Vectors that the pool holds at most.
const POOLED: usize = 2;

/// `length` values of any kind.
pub fn take(length: usize) -> Vec<f32> {
    let pooled = POOL.lock().ok().and_then(|mut pool| pool.pop());
    let mut values = pooled.unwrap_or_default();
    values.resize(length, 0.0);
    values
}

pub fn give_back(values: Vec<f32>) {
    if let Ok(mut pool) = POOL.lock()
        && pool.len() < POOLED
    {
        pool.push(values);
    }
}

/// A thread's memory for one task: rows of pixels, expanded weights, products.
#[derive(Default)]
pub struct Scratch {
    pub pixels: Vec<f32>,
    pub weights: Vec<f32>,
    pub products: Vec<f32>,
}

thread_local! {
    pub static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The first `length` values of a vector that grows when it must.
pub fn at_least(values: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if values.len() < length {
        values.resize(length, 0.0);
    }
    &mut values[..length]
}
