//! Finds the latent among the tensors of a file: by its shape, then by its name.

use vae2x_core::weights::{ModelKind, TensorFile, TensorInfo, is_weight_name, model_kind};
use vae2x_core::{Error, Result};

use super::layout;
use super::names::{COMFY_TENSOR, INPUT_LATENTS, LATENTS, is_cache_name, last_part};

/// A latent's name, and what else is in its file.
pub(super) struct Choice {
    pub key: String,
    /// Other tensors that a person might have meant, as [`shown`] shows them.
    pub left_out: Vec<String>,
}

/// The tensor that is asked for, or the one that is clearly the latent.
pub(super) fn choose(file: &TensorFile, asked: Option<&str>) -> Result<Choice> {
    if let Some(key) = asked {
        return match (file.tensors().contains_key(key), file.unread().get(key)) {
            (true, _) => Ok(Choice {
                key: key.to_owned(),
                left_out: vec![],
            }),
            (false, Some(found)) => Err(file.tensor_error(key, "a type that is read", found)),
            (false, None) => Err(Error::format(
                file.path(),
                format!("no tensor is named '{key}'; found {}", list_all(file)),
            )),
        };
    }
    if let Some(model) = model_kind(file) {
        return Err(not_a_latent(file, model));
    }
    let is_alone = file.tensors().len() == 1;
    let candidates: Vec<_> = file
        .tensors()
        .iter()
        .filter(|(key, info)| !is_weight_name(key) && could_be(key, info, is_alone))
        .collect();
    if candidates.is_empty() && holds_weights_alone(file) {
        return Err(not_a_latent(file, ModelKind::Unknown));
    }
    let best = candidates.iter().map(|(key, _)| rank(key)).min();
    let mut best = candidates.iter().filter(|(key, _)| Some(rank(key)) == best);
    match (best.next(), best.next()) {
        (Some((key, _)), None) => Ok(Choice {
            key: key.to_string(),
            left_out: left_out(file, key),
        }),
        (None, _) => wrong_one(file),
        (Some(_), Some(_)) => Err(Error::format(
            file.path(),
            format!(
                "several tensors could be the latent; choose one with --key: {}",
                list(candidates.into_iter())
            ),
        )),
    }
}

/// Whether a file has weights, and no tensor that is named as a latent.
fn holds_weights_alone(file: &TensorFile) -> bool {
    let mut names = file.tensors().keys();
    names.clone().any(|name| is_weight_name(name)) && !names.any(|name| rank(name) < NO_NAME)
}

/// Refuses a file of weights.
fn not_a_latent(file: &TensorFile, model: ModelKind) -> Error {
    let problem = match model {
        ModelKind::Vae => "this is a VAE, not a latent; VAEs go to --vae".into(),
        ModelKind::Known(noun) => format!("this is a model ({noun}), not a latent"),
        ModelKind::Unknown => format!(
            "this is a model, not a latent, as the names of its tensors show: {}; --key reads one of them all the same",
            list_all(file)
        ),
    };
    Error::format(file.path(), problem)
}

/// Whether a tensor has the type and the shape of a latent.
fn could_be(key: &str, info: &TensorInfo, is_alone: bool) -> bool {
    // Among several, those of three axes are latents only by name.
    let axes = match is_alone || key.to_ascii_lowercase().contains("latent") || rank(key) < NO_NAME
    {
        true => 3..=5,
        false => 4..=5,
    };
    is_float(info) && axes.contains(&info.shape.len()) && layout::is_plausible(&info.shape)
}

fn is_float(info: &TensorInfo) -> bool {
    info.dtype.is_float() || info.dtype.is_fp8()
}

/// The rank of a tensor without a usual name.
const NO_NAME: usize = usize::MAX;

/// How certain a name is, 0 being the most certain.
fn rank(key: &str) -> usize {
    /// Names in files of ComfyUI, DiffSynth (whose `latents` beside it are noise), diffusers and torch users.
    const USUAL: [&str; 5] = [COMFY_TENSOR, INPUT_LATENTS, LATENTS, "latent", "samples"];
    let name = last_part(key);
    let usual = USUAL.iter().position(|&usual| usual == name);
    usual.unwrap_or(match is_cache_name(name) {
        true => USUAL.len(),
        false => NO_NAME,
    })
}

/// For a file without a plausible tensor: the one whose shape explains best what is wrong.
fn wrong_one(file: &TensorFile) -> Result<Choice> {
    let has_axes = |info: &TensorInfo| is_float(info) && (3..=5).contains(&info.shape.len());
    let mut shaped: Vec<_> = file
        .tensors()
        .iter()
        .filter(|(_, info)| has_axes(info))
        .collect();
    shaped.sort_by_key(|(key, _)| rank(key));
    match shaped[..] {
        [(key, _)] => Ok(Choice {
            key: key.clone(),
            left_out: vec![],
        }),
        [(key, _), ..] if rank(key) < NO_NAME => Ok(Choice {
            key: key.clone(),
            left_out: vec![],
        }),
        _ => Err(Error::format(
            file.path(),
            format!("no tensor could be a latent; found {}", list_all(file)),
        )),
    }
}

/// Floating-point tensors beside the latent, but for markers and single numbers.
fn left_out(file: &TensorFile, key: &str) -> Vec<String> {
    let others = file.tensors().iter().filter(|(other, info)| {
        *other != key && is_float(info) && info.shape.len() >= 2 && !info.shape.contains(&0)
    });
    others.map(shown).collect()
}

fn shown((key, info): (&String, &TensorInfo)) -> String {
    format!("{} {} {:?}", quoted(key), info.dtype, info.shape)
}

/// A name in a list; a tensor that is alone in its file may have none.
fn quoted(key: &str) -> String {
    match key {
        "" => "a tensor".into(),
        key => format!("'{key}'"),
    }
}

/// Names, types and shapes of the first tensors.
fn list<'a>(tensors: impl ExactSizeIterator<Item = (&'a String, &'a TensorInfo)>) -> String {
    join(tensors.len(), tensors.map(shown))
}

/// As [`list`], with the tensors that are not read.
fn list_all(file: &TensorFile) -> String {
    let unread = file.unread().iter();
    let unread = unread.map(|(key, dtype)| format!("{} of type {dtype}", quoted(key)));
    let count = file.tensors().len() + file.unread().len();
    join(count, file.tensors().iter().map(shown).chain(unread))
}

/// The first of `count` texts.
pub(super) fn join(count: usize, texts: impl Iterator<Item = String>) -> String {
    const NAMED: usize = 8;
    let named: Vec<_> = texts.take(NAMED).collect();
    match count {
        0 => "none".into(),
        n if n > NAMED => format!("{} and {} more", named.join(", "), n - NAMED),
        _ => named.join(", "),
    }
}
