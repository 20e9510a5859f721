//! The small models and photos inside the program, so that the demo needs no network and no file.

use vae2x_core::Result;
use vae2x_core::weights::{TensorFile, VaeWeights};

/// A photo with its name.
pub struct Photo {
    /// File name.
    pub name: &'static str,
    /// PNG.
    pub png: &'static [u8],
}

/// Photos that the demo models have not seen in training.
pub const PHOTOS: [Photo; 2] = [
    Photo {
        name: "coffee",
        png: include_bytes!("../assets/photos/coffee.png"),
    },
    Photo {
        name: "chelsea",
        png: include_bytes!("../assets/photos/chelsea.png"),
    },
];

/// Names that stand for the models below wherever weights are asked for.
pub const MODELS: [&str; 2] = ["demo:2x", "demo:base"];

const TWO_X: &[u8] = include_bytes!("../../vae2x/assets/models/demo_2x.safetensors");
const BASE: &[u8] = include_bytes!("../../vae2x/assets/models/demo_base.safetensors");

/// The model called `name`, if it is one of [`MODELS`].
pub fn model(name: &str) -> Option<Result<VaeWeights>> {
    let bytes = match name {
        "demo:2x" => TWO_X,
        "demo:base" => BASE,
        _ => return None,
    };
    Some(TensorFile::from_bytes(name, bytes).and_then(|file| VaeWeights::from_file(file, None)))
}
