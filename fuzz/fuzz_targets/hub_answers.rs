//! Any bytes are what a hub or a user may send, or an error: a list of files, headers, addresses, ids.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| vae2x_hub::testing::read_anything(bytes));
