//! Public weight files by their SHA-256, as Hugging Face lists it for each file.

use std::io::Read;
use std::path::Path;

use ring::digest::{Context, SHA256};
use vae2x_core::weights::VaeWeights;
use vae2x_core::{Error, Result, files};

/// A file: its size in bytes, by which most others are told apart unread, its hash, and its name.
struct Known {
    size: u64,
    sha256: &'static str,
    name: &'static str,
}

const KNOWN: [Known; 8] = [
    Known {
        size: 507_609_880,
        sha256: "38071ab59bd94681c686fa51d75a1968f64e470262043be31f7a094e442fd981",
        name: "Wan2.1_VAE.pth (Wan-AI/Wan2.1-T2V-14B)",
    },
    Known {
        size: 507_591_212,
        sha256: "3c6eaf3c0e2b7db5d607b3f51fdd590aad844055102d369cdc64d6a6a9c8b631",
        name: "Wan2.1_VAE.safetensors (lightx2v/Autoencoders)",
    },
    Known {
        size: 507_591_892,
        sha256: "d6e524b3fffede1787a74e81b30976dce5400c4439ba64222168e607ed19e793",
        name: "vae/diffusion_pytorch_model.safetensors (Wan-AI/Wan2.1-T2V-1.3B-Diffusers)",
    },
    Known {
        size: 253_815_318,
        sha256: "2fc39d31359a4b0a64f55876d8ff7fa8d780956ae2cb13463b0223e15148976b",
        name: "wan_2.1_vae.safetensors (Comfy-Org/Wan_2.1_ComfyUI_repackaged)",
    },
    Known {
        size: 253_806_246,
        sha256: "a70580f0213e67967ee9c95f05bb400e8fb08307e017a924bf3441223e023d1f",
        name: "qwen_image_vae.safetensors (Comfy-Org/Qwen-Image_ComfyUI, circlestone-labs/Anima)",
    },
    Known {
        size: 253_806_966,
        sha256: "0c8bc8b758c649abef9ea407b95408389a3b2f610d0d10fcb054fe171d0a8344",
        name: "vae/diffusion_pytorch_model.safetensors (Qwen/Qwen-Image)",
    },
    Known {
        size: 507_684_560,
        sha256: "2413554bbec24215185662d009893cf4666b8e777efece2d895e03e1a6b63e06",
        name: "Wan2.1_VAE_upscale2x_imageonly_real_v1.safetensors (spacepxl/Wan2.1-VAE-upscale2x)",
    },
    Known {
        size: 32_160_476,
        sha256: "1821a86dacb322e33da0995e920818f11bac1655d38177586f3ebc35bc7a4ba8",
        name: "lightvaew2_1.safetensors (lightx2v/Autoencoders)",
    },
];

/// The public file that weights are, if it is a known one.
///
/// # Errors
/// If the file cannot be read.
pub fn name(weights: &VaeWeights) -> Result<Option<&'static str>> {
    let mut files = weights.files();
    match (files.next(), files.next()) {
        (Some(one), None) => name_of(one, &KNOWN),
        _ => Ok(None),
    }
}

fn name_of(path: &Path, known: &[Known]) -> Result<Option<&'static str>> {
    // A bundled model is no file.
    let Ok(size) = path.metadata().map(|found| found.len()) else {
        return Ok(None);
    };
    if known.iter().all(|file| file.size != size) {
        return Ok(None);
    }
    let hash = sha256(path)?;
    let found = known.iter().find(|file| file.sha256 == hash);
    Ok(found.map(|file| file.name))
}

fn sha256(path: &Path) -> Result<String> {
    const PIECE: usize = 1 << 16;
    let mut file = files::open(path)?;
    let (mut context, mut piece) = (Context::new(&SHA256), vec![0; PIECE]);
    loop {
        match file.read(&mut piece).map_err(|e| Error::io(path, e))? {
            0 => break,
            count => context.update(&piece[..count]),
        }
    }
    let hash = context.finish();
    Ok(hash.as_ref().iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_size_and_hash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "abc").unwrap();
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let known = |size, sha256| {
            let file = Known {
                size,
                sha256,
                name: "abc",
            };
            name_of(&path, &[file]).unwrap()
        };
        assert_eq!(known(3, abc), Some("abc"));
        assert_eq!(known(4, abc), None);
        assert_eq!(known(3, KNOWN[0].sha256), None);
        assert_eq!(name_of(&folder.path().join("b"), &KNOWN).unwrap(), None);
    }

    #[test]
    fn hashes_are_whole_and_of_one_file_each() {
        for (i, file) in KNOWN.iter().enumerate() {
            let is_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
            assert!(file.sha256.len() == 64 && file.sha256.bytes().all(is_hex));
            assert!(KNOWN[..i].iter().all(|other| other.sha256 != file.sha256));
        }
    }
}
