//! Which model a file holds, for readers that expect none: by the names of its tensors alone.

use super::file::TensorFile;
use super::{foreign, identify};

/// What is known of a model by its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelKind {
    /// A VAE with this one's names.
    Vae,
    /// Another known model: a noun with its article.
    Known(&'static str),
    /// A file of weights.
    Unknown,
}

/// So many weights, and most of a file's tensors, make a model of any kind.
const MANY_WEIGHTS: usize = 20;

/// The model in a file, or nothing if its names are not a model's.
pub fn model_kind(file: &TensorFile) -> Option<ModelKind> {
    let names = || {
        let read = file.tensors().keys();
        read.chain(file.unread().keys()).map(String::as_str)
    };
    let weights = names().filter(|name| is_weight_name(name)).count();
    let known = foreign::recognise(names()).filter(|&model| model != foreign::LATENT);
    // VAEs with this one's names are told by their channels.
    let channels = |(prefix, last): (&str, &str)| {
        let info = file.tensors().get(&format!("{prefix}{last}"));
        info.and_then(|info| info.shape.first().copied())
    };
    let mut places = names().filter_map(identify::vae_place);
    let other = places.clone().find_map(channels);
    let other = other.and_then(foreign::by_channels);
    match other.or(known) {
        Some(model) if weights > 0 => Some(ModelKind::Known(foreign::noun(model))),
        _ if places.next().is_some() => Some(ModelKind::Vae),
        _ if weights >= MANY_WEIGHTS && 2 * weights > names().count() => Some(ModelKind::Unknown),
        _ => None,
    }
}

/// Whether a tensor is named as layers name theirs.
pub fn is_weight_name(name: &str) -> bool {
    const LAST: [&str; 4] = ["weight", "bias", "gamma", "running_mean"];
    let last = name.rsplit('.').next();
    last.is_some_and(|last| LAST.contains(&last)) || name.contains("lora_")
}
