//! Any bytes are a tensor file or an error, and no tensor is larger than its file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vae2x_core::weights::TensorFile;

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = TensorFile::from_bytes("fuzz", bytes.to_vec()) else {
        return;
    };
    for (name, info) in file.tensors().iter().take(64) {
        if let Ok((dtype, shape, data)) = file.read_bytes(name) {
            assert_eq!((dtype, &shape), (info.dtype, &info.shape));
            assert_eq!(data.len(), shape.iter().product::<usize>() * dtype.size());
            assert!(data.len() <= bytes.len());
        }
        let _ = file.read(name);
    }
});
