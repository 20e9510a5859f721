//! The small models in the library, so that a demonstration needs no network and no file.

use vae2x_core::Result;
use vae2x_core::weights::{TensorFile, VaeWeights};

/// Names of the bundled models, accepted wherever weights are named.
pub const DEMO_MODELS: [&str; 2] = ["demo:2x", "demo:base"];

const TWO_X: &[u8] = include_bytes!("../assets/models/demo_2x.safetensors");
const BASE: &[u8] = include_bytes!("../assets/models/demo_base.safetensors");

/// The bundled model called `name`, if there is one.
pub(crate) fn demo_model(name: &str) -> Option<Result<VaeWeights>> {
    let bytes = match name {
        "demo:2x" => TWO_X,
        "demo:base" => BASE,
        _ => return None,
    };
    Some(TensorFile::from_bytes(name, bytes).and_then(|file| VaeWeights::from_file(file, None)))
}
