//! Any bytes are a latent or an error: its layout, the space of its values, and its texts.
//!
//! The last byte chooses how the file is read: with or without the size of a packed latent, and an order of axes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vae2x_core::VaeConfig;
use vae2x_core::weights::TensorFile;
use vae2x_media::latent::{LatentFile, LatentOptions, SpaceChoice, decide_space, look_at_latent};

const ORDERS: [&str; 5] = ["CTHW", "BCHW", "TCHW", "BTCHW", "WHTCB"];

fuzz_target!(|bytes: &[u8]| {
    let how = bytes.last().copied().unwrap_or_default();
    let Ok(file) = TensorFile::from_bytes("fuzz", bytes.to_vec()) else {
        return;
    };
    let side = |bits: u8| 16 * usize::from(1 + bits % 16);
    let options = LatentOptions {
        packed_size: (how & 1 == 1).then(|| [side(how >> 1), side(how >> 4)]),
        axes: (how & 3 == 2).then(|| ORDERS[usize::from(how >> 2) % ORDERS.len()].parse().unwrap()),
        ..LatentOptions::default()
    };
    let seen = look_at_latent(&file, &options);
    let Ok(latent) = LatentFile::from_file(&file, &options) else {
        return;
    };
    assert_eq!(seen.unwrap(), latent.shape());
    assert!(latent.stored().data().iter().all(|v| v.is_finite()));
    let config = VaeConfig::default();
    let _ = decide_space(&latent, &config, SpaceChoice::Auto);
    let _ = latent.into_raw(&config, SpaceChoice::Auto);
});
