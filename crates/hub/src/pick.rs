//! Which files of a repository are the VAE: pure decisions over a list of names.

use crate::error::{HubError, Result};
use crate::id::HubId;
use crate::source::has_weight_extension;

/// Files that hold weights which this program reads.
const EXTENSIONS: [&str; 3] = ["safetensors", "pth", "pt"];
/// How diffusers names the weights of a model, up to variant and shard.
const DIFFUSERS_STEM: &str = "diffusion_pytorch_model";

/// The files of one model, as paths in the repository.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pick {
    pub(crate) weights: String,
    pub(crate) config: Option<String>,
    /// The id named this file itself.
    pub(crate) explicit_file: bool,
}

/// Says whether the `config.json` at this path is that of an autoencoder.
pub(crate) type IsAutoencoder<'a> = dyn FnMut(&str) -> Result<bool> + 'a;

/// The file `inner`, or the model in the folder `inner`.
///
/// # Errors
/// [`HubError::NoMatch`], [`HubError::Ambiguous`].
pub(crate) fn inside(id: &HubId, names: &[String], inner: &str) -> Result<Pick> {
    if names.iter().any(|n| n == inner) {
        let (folder, file) = split(inner);
        let config = config_in(names, folder).filter(|_| file.starts_with(DIFFUSERS_STEM));
        return Ok(Pick {
            weights: inner.to_owned(),
            config,
            explicit_file: true,
        });
    }
    in_folder(id, names, inner)?.ok_or_else(|| no_match(id, names))
}

/// The one VAE of a whole repository: see [`crate::fetch`] for the order.
///
/// # Errors
/// [`HubError::NoMatch`], [`HubError::Ambiguous`], and what `is_autoencoder` returns.
pub(crate) fn anywhere(
    id: &HubId,
    names: &[String],
    is_autoencoder: &mut IsAutoencoder<'_>,
) -> Result<Pick> {
    let mut folders = diffusers_folders(names);
    let at_root = format!("{DIFFUSERS_STEM}.safetensors");
    // Shards at the root are a diffusion model; no VAE needs any.
    if !names.contains(&at_root) {
        folders.retain(|f| !f.is_empty());
    }
    let root_is_vae = folders.first() == Some(&"") && is_autoencoder("config.json")?;
    if root_is_vae && let Some(pick) = in_folder(id, names, "")? {
        return Ok(pick);
    }
    if let Some(pick) = in_folder(id, names, "vae")? {
        return Ok(pick);
    }
    let mut models = Vec::new();
    for folder in folders.into_iter().filter(|f| !f.is_empty()) {
        if is_autoencoder(&join(folder, "config.json"))? {
            models.push(folder.to_owned());
        }
    }
    match models.as_slice() {
        [] => only_file(id, names),
        [one] => in_folder(id, names, one)?.ok_or_else(|| no_match(id, names)),
        _ => Err(HubError::Ambiguous {
            id: Box::new(id.clone()),
            candidates: models,
        }),
    }
}

/// The model directly in `folder`, if there is any.
fn in_folder(id: &HubId, names: &[String], folder: &str) -> Result<Option<Pick>> {
    let here: Vec<&String> = names
        .iter()
        .filter(|n| split(n).0 == folder && is_weights(n))
        .collect();
    let plain = join(folder, &format!("{DIFFUSERS_STEM}.safetensors"));
    let diffusers: Vec<&String> = here.iter().copied().filter(|n| is_diffusers(n)).collect();
    let fitting = match (here.iter().find(|n| ***n == plain), diffusers.is_empty()) {
        (Some(plain), _) => vec![*plain],
        (None, false) => diffusers,
        (None, true) => here,
    };
    let pick = |w: &String| Pick {
        weights: w.clone(),
        config: config_in(names, folder),
        explicit_file: false,
    };
    match fitting.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(pick(one))),
        many => Err(ambiguous(id, many)),
    }
}

/// The only weights file of a repository without diffusers models; those with "vae" in their path go first.
fn only_file(id: &HubId, names: &[String]) -> Result<Pick> {
    // A diffusers model that got here is of another class.
    let other_model = |n: &str| is_diffusers(n) && config_in(names, split(n).0).is_some();
    let all: Vec<&String> = names
        .iter()
        .filter(|n| is_weights(n) && !other_model(n))
        .collect();
    let vaes: Vec<&String> = all
        .iter()
        .copied()
        .filter(|n| n.to_ascii_lowercase().contains("vae"))
        .collect();
    match if vaes.is_empty() { all } else { vaes }.as_slice() {
        [] => Err(no_match(id, names)),
        [one] => Ok(Pick {
            weights: (*one).clone(),
            config: None,
            explicit_file: false,
        }),
        many => Err(ambiguous(id, many)),
    }
}

fn ambiguous(id: &HubId, candidates: &[&String]) -> HubError {
    HubError::Ambiguous {
        id: Box::new(id.clone()),
        candidates: candidates.iter().map(|n| (*n).clone()).collect(),
    }
}

fn no_match(id: &HubId, names: &[String]) -> HubError {
    HubError::NoMatch {
        id: Box::new(id.clone()),
        found: names.iter().filter(|n| is_weights(n)).cloned().collect(),
    }
}

/// Folders with a `config.json` and weights named as diffusers names them, the root (empty) first.
fn diffusers_folders(names: &[String]) -> Vec<&str> {
    let mut folders: Vec<&str> = names
        .iter()
        .filter(|n| is_diffusers(n))
        .map(|n| split(n).0)
        .collect();
    folders.retain(|f| config_in(names, f).is_some());
    folders.sort_unstable();
    folders.dedup();
    folders
}

fn is_weights(name: &str) -> bool {
    has_weight_extension(name, &EXTENSIONS)
}

fn is_diffusers(name: &str) -> bool {
    split(name).1.starts_with(DIFFUSERS_STEM) && has_weight_extension(name, &EXTENSIONS[..1])
}

fn config_in(names: &[String], folder: &str) -> Option<String> {
    let config = join(folder, "config.json");
    names.contains(&config).then_some(config)
}

fn join(folder: &str, file: &str) -> String {
    if folder.is_empty() {
        file.to_owned()
    } else {
        format!("{folder}/{file}")
    }
}

/// Folder and file name.
fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('/').unwrap_or(("", name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> HubId {
        HubId {
            repo: "owner/name".into(),
            revision: None,
            inner: None,
        }
    }

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|n| (*n).to_owned()).collect()
    }

    /// Picks from `list`, where every folder but `others` holds an autoencoder.
    fn pick(list: &[&str], others: &[&str]) -> Result<(String, Option<String>)> {
        let pick = anywhere(&id(), &names(list), &mut |config| {
            Ok(!others.contains(&config))
        })?;
        Ok((pick.weights, pick.config))
    }

    fn model(folder: &str) -> (String, Option<String>) {
        (
            format!("{folder}diffusion_pytorch_model.safetensors"),
            Some(format!("{folder}config.json")),
        )
    }

    const UPSCALE2X: [&str; 4] = [
        "README.md",
        "Wan2.1_VAE_upscale2x_imageonly_real_v1.safetensors",
        "diffusers/Wan2.1_VAE_upscale2x_imageonly_real_v1/config.json",
        "diffusers/Wan2.1_VAE_upscale2x_imageonly_real_v1/diffusion_pytorch_model.safetensors",
    ];

    #[test]
    fn the_root_comes_before_vae_before_a_folder_below_before_a_file() {
        let root = ["config.json", "diffusion_pytorch_model.safetensors"];
        let vae = ["vae/config.json", "vae/diffusion_pytorch_model.safetensors"];
        let all: Vec<&str> = root.iter().chain(&vae).chain(&UPSCALE2X).copied().collect();
        assert_eq!(pick(&all, &[]).unwrap(), model(""));
        assert_eq!(pick(&all[2..], &[]).unwrap(), model("vae/"));
        assert_eq!(
            pick(&all[4..], &[]).unwrap(),
            model("diffusers/Wan2.1_VAE_upscale2x_imageonly_real_v1/")
        );
        assert_eq!(
            pick(&UPSCALE2X[..2], &[]).unwrap(),
            (UPSCALE2X[1].to_owned(), None)
        );
    }

    #[test]
    fn a_pipeline_gives_its_vae() {
        let list = [
            "model_index.json",
            "transformer/config.json",
            "transformer/diffusion_pytorch_model.safetensors",
        ];
        let vae = ["vae/config.json", "vae/diffusion_pytorch_model.safetensors"];
        let all: Vec<&str> = list.iter().chain(&vae).copied().collect();
        assert_eq!(
            pick(&all, &["transformer/config.json"]).unwrap(),
            model("vae/")
        );
    }

    #[test]
    fn a_diffusion_model_at_the_root_is_no_vae() {
        let whole = [
            "config.json",
            "diffusion_pytorch_model.safetensors",
            "Wan2.1_VAE.pth",
            "models_t5.pth",
        ];
        assert_eq!(
            pick(&whole, &["config.json"]).unwrap(),
            ("Wan2.1_VAE.pth".to_owned(), None)
        );
        let sharded = [
            "config.json",
            "diffusion_pytorch_model-00001-of-00006.safetensors",
            "Wan2.1_VAE.pth",
        ];
        assert_eq!(
            pick(&sharded, &["config.json"]).unwrap(),
            ("Wan2.1_VAE.pth".to_owned(), None)
        );
        assert!(matches!(
            pick(&whole[..2], &["config.json"]),
            Err(HubError::NoMatch { .. })
        ));
    }

    #[test]
    fn weights_without_config_are_a_file() {
        assert_eq!(
            pick(&["diffusion_pytorch_model.safetensors"], &[])
                .unwrap()
                .1,
            None
        );
        assert_eq!(
            pick(&["vae/qwen.safetensors", "unet/a.safetensors"], &[])
                .unwrap()
                .0,
            "vae/qwen.safetensors"
        );
        let repacked = [
            "split_files/vae/wan.safetensors",
            "split_files/clip.safetensors",
        ];
        assert_eq!(pick(&repacked, &[]).unwrap().0, repacked[0]);
    }

    #[test]
    fn several_models_are_ambiguous() {
        let two = [
            "a/config.json",
            "a/diffusion_pytorch_model.safetensors",
            "b/config.json",
            "b/diffusion_pytorch_model.safetensors",
        ];
        let error = pick(&two, &[]).unwrap_err();
        assert!(
            matches!(
                &error,
                HubError::Ambiguous { id: of, candidates }
                    if **of == id() && *candidates == ["a", "b"]
            ),
            "{error:?}"
        );
        assert_eq!(pick(&two, &["b/config.json"]).unwrap(), model("a/"));
        let files = ["a.safetensors", "b.pth"];
        let error = pick(&files, &[]).unwrap_err();
        assert!(
            matches!(&error, HubError::Ambiguous { candidates, .. } if *candidates == files),
            "{error:?}"
        );
    }

    #[test]
    fn an_inner_path_is_a_file_or_a_folder() {
        let list = names(&UPSCALE2X);
        let inside = |inner: &str| {
            inside(
                &HubId {
                    inner: Some(inner.to_owned()),
                    ..id()
                },
                &list,
                inner,
            )
        };
        let file = inside(UPSCALE2X[1]).unwrap();
        assert_eq!(
            (file.weights.as_str(), file.config, file.explicit_file),
            (UPSCALE2X[1], None, true)
        );
        let file = inside(UPSCALE2X[3]).unwrap();
        assert_eq!(
            (file.config.as_deref(), file.explicit_file),
            (Some(UPSCALE2X[2]), true)
        );
        let folder = inside("diffusers/Wan2.1_VAE_upscale2x_imageonly_real_v1").unwrap();
        assert_eq!(
            (folder.weights.as_str(), folder.explicit_file),
            (UPSCALE2X[3], false)
        );
        let error = inside("gone").unwrap_err();
        assert!(
            matches!(
                &error,
                HubError::NoMatch { id, found }
                    if id.inner.as_deref() == Some("gone")
                        && found.iter().any(|file| file == UPSCALE2X[1])
            ),
            "{error:?}"
        );
    }

    #[test]
    fn the_plain_weights_come_before_a_variant() {
        let list = names(&[
            "m/config.json",
            "m/diffusion_pytorch_model.fp16.safetensors",
            "m/diffusion_pytorch_model.safetensors",
        ]);
        assert_eq!(inside(&id(), &list, "m").unwrap().weights, list[2]);
        assert_eq!(inside(&id(), &list[..2], "m").unwrap().weights, list[1]);
    }
}
