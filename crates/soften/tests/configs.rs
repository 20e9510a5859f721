//! The configurations that ship with the program.

use std::path::Path;

use vae2x_soften::{flow, proxy};
use vae2x_train::Config;

#[test]
fn the_shipped_configurations_are_sound_and_open_with_their_command() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs"));
    let files = [
        "loss.vgg16=a.safetensors",
        "loss.vgg19=b.safetensors",
        "degradation.proxy=c.safetensors",
    ]
    .map(String::from);
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let command = match name {
            "degradation.toml" => {
                proxy::open_config(&path).unwrap();
                format!("# vae2x train degradation --pairs pairs --config configs/{name}")
            }
            "flow.toml" => {
                flow::open_config(&path).unwrap();
                format!("# vae2x train flow --latents latents --config configs/{name}")
            }
            _ => {
                Config::open(&path, &files).unwrap();
                format!("# vae2x train decoder --config configs/{name}")
            }
        };
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(&command), "{}", path.display());
        count += 1;
    }
    assert!(count >= 3);
}
