//! Recognizes by names and shapes which layout a file has, where in it the model is, and which model it holds.
//!
//! Whatever stands before the names of a layout's last norms is the prefix of the model's tensors. Tensors without it are of
//! other models and never a reason to refuse a file; nor are those with it whose first part no tensor of this model has,
//! such as the counters and losses of a checkpoint.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::foreign::{self, QWEN_IMAGE_21, QWEN_IMAGE_21_CHANNELS, WAN22_5B};
use super::hub_config;
use super::layout::Layout;
use super::model::ModelTensors;
use crate::config::VaeConfig;
use crate::error::{Error, Result};

/// Places in a file that are tried: the likeliest few, so that a header full of prefixes takes no time.
const MAX_PLACES: usize = 8;
/// What the names of this model begin with, in either layout. Unknown tensors among them make another model.
const PARTS: [&str; 6] = [
    "encoder.",
    "decoder.",
    "conv1.",
    "conv2.",
    "quant_conv.",
    "post_quant_conv.",
];

/// Tensors whose shapes give the configuration: encoder width, decoder width, output and latent channels; and one more whose
/// name identifies the model.
struct Landmarks {
    encoder_norm: &'static str,
    encoder_in: &'static str,
    decoder_norm: &'static str,
    decoder_out: &'static str,
    post_quant: &'static str,
}

const ORIGINAL: Landmarks = Landmarks {
    encoder_norm: "encoder.head.0.gamma",
    encoder_in: "encoder.conv1.weight",
    decoder_norm: "decoder.head.0.gamma",
    decoder_out: "decoder.head.2.weight",
    post_quant: "conv2.weight",
};

const DIFFUSERS: Landmarks = Landmarks {
    encoder_norm: "encoder.norm_out.gamma",
    encoder_in: "encoder.conv_in.weight",
    decoder_norm: "decoder.norm_out.gamma",
    decoder_out: "decoder.conv_out.weight",
    post_quant: "post_quant_conv.weight",
};

impl Landmarks {
    fn of(layout: Layout) -> Self {
        match layout {
            Layout::Diffusers => DIFFUSERS,
            Layout::Original | Layout::TwoD => ORIGINAL,
        }
    }

    /// How many of them a file has under a prefix.
    fn found(&self, tensors: &ModelTensors, prefix: &str) -> usize {
        let all = [
            self.encoder_norm,
            self.encoder_in,
            self.decoder_norm,
            self.decoder_out,
            self.post_quant,
        ];
        let has = |name: &&&str| tensors.info(&format!("{prefix}{name}")).is_some();
        all.iter().filter(has).count()
    }
}

/// For the name of a norm by which this VAE is found: the prefix, and the name of the tensor whose first extent is its
/// latent channels.
pub(crate) fn vae_place(name: &str) -> Option<(&str, &'static str)> {
    [ORIGINAL, DIFFUSERS].into_iter().find_map(|landmarks| {
        let norms = [landmarks.encoder_norm, landmarks.decoder_norm];
        let prefix = norms.into_iter().find_map(|norm| name.strip_suffix(norm));
        let prefix = prefix.filter(|prefix| is_prefix(prefix))?;
        Some((prefix, landmarks.post_quant))
    })
}

/// Where in a file a model is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub layout: Layout,
    /// What stands before the model's own names.
    pub prefix: String,
    /// Prefixes of other copies that are as complete.
    pub copies: Vec<String>,
}

/// Finds the model: the place where most of it is, in a checkpoint with several copies the averaged one.
///
/// # Errors
/// [`Error::NotThisModel`] if the files hold another model, naming it where it is known.
pub(crate) fn place(tensors: &ModelTensors) -> Result<Place> {
    let mut refused = None;
    let places = places(tensors);
    let found = |place: &Place| Landmarks::of(place.layout).found(tensors, &place.prefix);
    for place in &places {
        match ours(tensors, place) {
            Ok(()) => {
                let others = places.iter().filter(|other| other.prefix != place.prefix);
                let copies = others.filter(|other| found(other) == found(place));
                return Ok(Place {
                    copies: copies.map(|other| other.prefix.clone()).collect(),
                    ..place.clone()
                });
            }
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    Err(refused.unwrap_or_else(|| unknown(tensors)))
}

/// The places where a model of a known layout may be, the likeliest first.
fn places(tensors: &ModelTensors) -> Vec<Place> {
    // One of the two norms is enough: what is missing is reported later.
    let norms = [
        (DIFFUSERS.decoder_norm, true),
        (DIFFUSERS.encoder_norm, true),
        (ORIGINAL.decoder_norm, false),
        (ORIGINAL.encoder_norm, false),
    ];
    let mut found = BTreeSet::new();
    for name in tensors.names() {
        for (norm, diffusers) in norms {
            if let Some(prefix) = name.strip_suffix(norm).filter(|p| is_prefix(p)) {
                found.insert((prefix, diffusers));
            }
        }
    }
    let mut ranked: Vec<_> = found
        .into_iter()
        .map(|(prefix, diffusers)| {
            let landmarks = if diffusers { DIFFUSERS } else { ORIGINAL };
            let count = landmarks.found(tensors, prefix);
            let rank = (
                Reverse(count),
                !is_averaged(prefix),
                prefix.len(),
                !diffusers,
            );
            (rank, prefix, diffusers)
        })
        .collect();
    ranked.sort();
    let place = |(_, prefix, diffusers): (_, &str, bool)| Place {
        layout: match diffusers {
            true => Layout::Diffusers,
            false => original(tensors, prefix),
        },
        prefix: prefix.into(),
        copies: Vec::new(),
    };
    ranked.into_iter().take(MAX_PLACES).map(place).collect()
}

/// Whether a name may go on with a model's own name here: at the beginning, or behind what is no letter.
fn is_prefix(before: &str) -> bool {
    !before.ends_with(|c: char| c.is_alphanumeric())
}

/// Whether a prefix is that of a model's exponential moving average, the better copy of a checkpoint.
fn is_averaged(prefix: &str) -> bool {
    let mut parts = prefix.split(|c: char| !c.is_alphanumeric());
    parts.any(|part| part.eq_ignore_ascii_case("ema"))
}

/// Which of the two layouts with the original names.
fn original(tensors: &ModelTensors, prefix: &str) -> Layout {
    let weight = tensors.info(&format!("{prefix}{}", ORIGINAL.decoder_out));
    match weight.is_some_and(|w| w.shape.len() == 4) {
        true => Layout::TwoD,
        false => Layout::Original,
    }
}

/// Refuses a known other model at a place.
fn ours(tensors: &ModelTensors, place: &Place) -> Result<()> {
    let names = tensors.names().filter(|n| is_own(n, &place.prefix));
    let Some(model) = foreign::recognise(names) else {
        return Ok(());
    };
    // Both have the residual stages by which Wan2.2-5B's is known.
    let channels = Landmarks::of(place.layout).post_quant;
    let channels = first_extent(tensors, &format!("{}{channels}", place.prefix))?;
    let model = match (model, channels) {
        (WAN22_5B, Some(QWEN_IMAGE_21_CHANNELS)) => QWEN_IMAGE_21,
        (model, _) => model,
    };
    Err(not_this_model(tensors, format!("this is {model}")))
}

/// What files without a VAE of a known layout hold.
fn unknown(tensors: &ModelTensors) -> Error {
    let names = tensors.names();
    let found = match (foreign::recognise(names.clone()), names.clone().next()) {
        (Some(model), _) => format!("this is {model}"),
        (None, Some(first)) => {
            let count = names.count();
            format!("no Wan2.1 VAE among its {count} tensors, of which the first is '{first}'")
        }
        (None, None) => "the file holds no tensors".into(),
    };
    not_this_model(tensors, found)
}

fn not_this_model(tensors: &ModelTensors, found: String) -> Error {
    Error::NotThisModel {
        path: tensors.path().to_path_buf(),
        found,
    }
}

/// Whether a tensor's name is one that a tensor of the model could have: unknown ones of these make it another model.
pub(crate) fn is_own(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix)
        .is_some_and(|own| PARTS.iter().any(|part| own.starts_with(part)))
}

/// The configuration: widths from the shapes of tensors at this place, the rest from `config.json` or from
/// safetensors metadata, else Wan2.1's.
///
/// # Errors
/// [`Error::Tensor`] if one of these tensors is a single number; [`Error::Format`] if the configuration is impossible;
/// [`Error::NotThisModel`] if it is that of another model.
pub(crate) fn config(tensors: &ModelTensors, place: &Place) -> Result<VaeConfig> {
    let Place { layout, prefix, .. } = place;
    let landmarks = Landmarks::of(*layout);
    let first = |name: &str| first_extent(tensors, &format!("{prefix}{name}"));
    let (encoder, decoder) = (first(landmarks.encoder_in)?, first(landmarks.decoder_norm)?);
    // What 16 output channels mean, colours at 2x and opacity or not, only the encoder shows.
    let input = tensors.info(&format!("{prefix}{}", landmarks.encoder_in));
    let image_channels = input.and_then(|info| info.shape.get(1).copied());
    let wan21 = VaeConfig::default();
    // Where one of these is missing the file will be refused; what stands in only serves to name all that is missing.
    let mut config = VaeConfig {
        encoder_base_dim: encoder.or(decoder).unwrap_or(wan21.encoder_base_dim),
        decoder_base_dim: decoder.or(encoder).unwrap_or(wan21.decoder_base_dim),
        image_channels: image_channels.unwrap_or(wan21.image_channels),
        out_channels: first(landmarks.decoder_out)?.unwrap_or(wan21.out_channels),
        z_dim: first(landmarks.post_quant)?.unwrap_or(wan21.z_dim),
        ..wan21
    };
    if let Some(model) = foreign::by_channels(config.z_dim) {
        return Err(not_this_model(tensors, format!("this is {model}")));
    }
    for file in tensors.tensor_files() {
        hub_config::apply_metadata(file, &mut config)?;
    }
    if let Some(json) = tensors
        .config_json()
        .filter(|_| *layout == Layout::Diffusers)
    {
        hub_config::apply(tensors.path(), json, &mut config)?;
    }
    let checked = config.check();
    checked.map_err(|problem| Error::format(tensors.path(), problem))?;
    Ok(config)
}

/// The first extent of a tensor; `None` if there is no such tensor.
fn first_extent(tensors: &ModelTensors, name: &str) -> Result<Option<usize>> {
    match tensors.info(name).map(|i| &i.shape[..]) {
        Some([]) => Err(Error::Tensor {
            path: tensors.path().to_path_buf(),
            tensor: name.into(),
            expected: "a shape of several axes".into(),
            got: "a single number".into(),
        }),
        shape => Ok(shape.map(|s| s[0])),
    }
}
