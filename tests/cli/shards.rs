//! A batch on several machines: shards give the files of one run over all inputs.

use std::path::Path;

use vae2x_core::Array;
use vae2x_core::weights::formula::unit;
use vae2x_media::picture::{PictureOptions, write_image};

use crate::support::{entries, run, text, write_safetensors};

/// Latents in two folders, with names that repeat, and one that is none.
fn latents(folder: &Path) -> [String; 2] {
    ["a", "b"].map(|name| {
        let inputs = folder.join(name);
        std::fs::create_dir(&inputs).unwrap();
        for i in 0..3 {
            let values = unit(&format!("{name}{i}"), 16 * 12).collect();
            let latent = Array::new([1, 16, 1, 3, 4], values).unwrap();
            write_safetensors(&inputs.join(format!("{i}.safetensors")), "latents", &latent);
        }
        std::fs::write(inputs.join("9.safetensors"), "no").unwrap();
        text(&inputs)
    })
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |name: String| {
        let bytes = std::fs::read(folder.join(&name)).unwrap();
        (name, bytes)
    };
    entries(folder).into_iter().map(read).collect()
}

/// Runs a command over all inputs at once, and in three shards into one folder.
fn check(folder: &Path, command: &[&str], inputs: &[String], failing: [usize; 3]) {
    let [whole, parts] = ["whole", "parts"].map(|name| folder.join(command[0]).join(name));
    let start = |out: &Path, more: &[&str]| {
        let inputs = inputs.iter().map(String::as_str);
        let args: Vec<&str> = command.iter().copied().chain(inputs).collect();
        run(&[&args[..], &["-o", &text(out)], more].concat())
    };
    match failing {
        [0, 0, 0] => drop(start(&whole, &[]).ok()),
        _ => drop(start(&whole, &[]).fails(1)),
    }
    for (i, failing) in failing.into_iter().enumerate() {
        let part = start(&parts, &["--shard", &format!("{i}/3")]);
        match failing {
            0 => drop(part.ok()),
            n => {
                let said = part.fails(1);
                assert!(said.contains(&format!("{n} of ")), "{said}");
            }
        }
    }
    assert!(!entries(&whole).is_empty());
    assert!(files(&whole) == files(&parts), "{command:?}");
}

#[test]
fn shards_give_the_files_of_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = latents(folder.path());
    let decode = ["decode", "--vae", "demo:base", "--latent-space", "raw"];
    // Of a/0, a/1, a/2, a/9, b/0, b/1, b/2, b/9 the damaged ones are the fourth and the eighth.
    check(folder.path(), &decode, &inputs, [1, 1, 0]);
    check(folder.path(), &["preview"], &inputs, [1, 1, 0]);
    let images = folder.path().join("images");
    std::fs::create_dir(&images).unwrap();
    for i in 0..5 {
        let image = Array::new([3, 16, 24], unit(&format!("{i}"), 1152).collect()).unwrap();
        let path = images.join(format!("{i}.png"));
        write_image(&path, &image, &PictureOptions::default()).unwrap();
    }
    let images = [text(&images)];
    for command in ["encode", "upscale"] {
        let vae = if command == "encode" {
            "demo:base"
        } else {
            "demo:2x"
        };
        check(folder.path(), &[command, "--vae", vae], &images, [0; 3]);
    }
}

#[test]
fn shards_of_one_file_or_of_nothing_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = latents(folder.path());
    let decode = |more: &[&str]| {
        let fixed = ["decode", &inputs[0], "--vae", "demo:base", "-o"];
        run(&[&fixed[..], more].concat())
    };
    let out = folder.path().join("x");
    let said = decode(&[&text(&out), "--shard", "7/8", "--latent-space", "raw"]).ok_stderr();
    assert!(
        said.contains("shard 7/8 has none of the 4 inputs"),
        "{said}"
    );
    assert!(!out.exists());
    let one = text(&folder.path().join("x.png"));
    decode(&[&one, "--shard", "1/4"]).fails(2);
    decode(&[&text(&out), "--shard", "4/4"]).fails(2);
}
