//! Raw or normalized: as the file says, or else as its kind and its statistics suggest.
//!
//! A marker written by [`super::write_latent`] is certain. Other files have none; for them the odds
//! given by the kind of file are combined with those of [`vae2x_core::latent::guess`]. ComfyUI's
//! `.latent` files are raw unless their statistics say clearly that they are not, as nodes that keep
//! normalized latents, such as WanVideoWrapper's, can be connected to SaveLatent too. A doubtful
//! decision is still made, and comes with a warning that says how to overrule it.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use vae2x_core::latent::{Raw, Space, guess};
use vae2x_core::{Error, Result, VaeConfig};

use super::file::{LatentFile, Origin};
use super::names::{INPUT_LATENTS, LATENTS, is_cache_name, last_part};

/// The space that the caller asks for.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SpaceChoice {
    /// Decided from the file.
    #[default]
    Auto,
    /// Raw, whatever the file says.
    Raw,
    /// Normalized, whatever the file says.
    Normalized,
}

impl SpaceChoice {
    /// The names that [`FromStr`] accepts.
    pub const NAMES: [&str; 3] = ["auto", "raw", "normalized"];
}

impl std::fmt::Display for SpaceChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Raw => "raw",
            Self::Normalized => "normalized",
        })
    }
}

impl FromStr for SpaceChoice {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "auto" => Ok(Self::Auto),
            "raw" => Ok(Self::Raw),
            "normalized" => Ok(Self::Normalized),
            _ => Err(Error::BadRequest(format!(
                "unknown latent space '{name}'; expected {}",
                Self::NAMES.join(", ")
            ))),
        }
    }
}

impl LatentFile {
    /// The latent as the VAE takes it, and how its space was decided.
    ///
    /// # Errors
    /// [`Error::Shape`] if its channels are not the model's.
    pub fn into_raw(self, config: &VaeConfig, choice: SpaceChoice) -> Result<(Raw, Decision)> {
        let decision = decide_space(&self, config, choice)?;
        Ok((self.into_raw_from(decision.space, config)?, decision))
    }
}

/// A decided space.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The space.
    pub space: Space,
    /// The reason, as a sentence's end: "raw, because WHY".
    pub why: String,
    /// Probability of `space`, in [0.5, 1]; 1 where it was asked for or the file says so.
    pub confidence: f32,
    /// Whether the user should be warned.
    pub doubtful: bool,
}

impl Decision {
    fn certain(space: Space, why: &str) -> Self {
        Self {
            space,
            why: why.into(),
            confidence: 1.0,
            doubtful: false,
        }
    }

    /// A warning for the user, if the decision is doubtful.
    pub fn warning(&self) -> Option<String> {
        let (space, other) = match self.space {
            Space::Raw => (Space::Raw, Space::Normalized),
            Space::Normalized => (Space::Normalized, Space::Raw),
        };
        self.doubtful.then(|| {
            format!(
                "the latent is taken as {space}, but {}; if the image looks wrong, try --latent-space {other}",
                self.why
            )
        })
    }
}

/// A decision below this probability is doubtful.
const SURE: f32 = 0.9;
/// Why an unmarked `.latent` file is raw.
const RAW_IN_COMFY: &str = "ComfyUI's .latent files are raw";

/// Decides the space of a latent.
///
/// # Errors
/// [`Error::Shape`] if its channels are not the model's.
pub fn decide_space(
    file: &LatentFile,
    config: &VaeConfig,
    requested: SpaceChoice,
) -> Result<Decision> {
    match (requested, file.marked) {
        (SpaceChoice::Raw, _) => return Ok(Decision::certain(Space::Raw, "it was asked for")),
        (SpaceChoice::Normalized, _) => {
            return Ok(Decision::certain(Space::Normalized, "it was asked for"));
        }
        (SpaceChoice::Auto, Some(space)) => {
            return Ok(Decision::certain(space, "the file says so"));
        }
        (SpaceChoice::Auto, None) => {}
    }
    let is_comfy = matches!(file.origin, Origin::Comfy | Origin::ComfyLegacy);
    let statistics = |of: &VaeConfig| (of.latents_mean.clone(), of.latents_std.clone());
    if is_comfy && statistics(config) != statistics(&VaeConfig::default()) {
        // What ComfyUI saves comes from models with the usual statistics, not from this one.
        return Ok(Decision::certain(Space::Raw, RAW_IN_COMFY));
    }
    let (prior, kind) = prior(file);
    if file.stored().data().iter().all(|&value| value == 0.0) {
        return Ok(of_zeros(prior));
    }
    let found = guess(file.stored(), config)?;
    let evidence = f64::from(found.confidence.min(0.999_999));
    let odds = (evidence / (1.0 - evidence)).ln()
        * if found.space == Space::Raw { 1.0 } else { -1.0 }
        + prior;
    let raw = 1.0 / (1.0 + (-odds).exp());
    let (space, confidence) = match raw >= 0.5 {
        true => (Space::Raw, raw as f32),
        false => (Space::Normalized, (1.0 - raw) as f32),
    };
    let sure = (confidence * 100.0).floor();
    let is_contradicted = prior != 0.0 && (prior > 0.0) != (space == Space::Raw);
    Ok(match (is_comfy, space, confidence >= SURE) {
        (true, Space::Raw, true) => Decision {
            confidence,
            ..Decision::certain(space, RAW_IN_COMFY)
        },
        (true, Space::Normalized, _) => Decision {
            space,
            why: format!(
                "it is a .latent file, which ComfyUI keeps raw: its statistics are those of a normalized one ({sure} % sure)"
            ),
            confidence,
            doubtful: true,
        },
        (_, _, is_sure) => Decision {
            space,
            why: match is_sure {
                true if is_contradicted => {
                    format!("{kind}, but its statistics are those of a {space} one ({sure} % sure)")
                }
                true => format!("{kind} and its statistics say so ({sure} % sure)"),
                false => format!("{kind} and its statistics leave doubt ({sure} % sure)"),
            },
            confidence,
            doubtful: !is_sure,
        },
    })
}

/// The space of a latent whose values are all zero, of which its kind alone tells.
fn of_zeros(prior: f64) -> Decision {
    Decision {
        space: match prior > 0.0 {
            true => Space::Raw,
            false => Space::Normalized,
        },
        why: "all of its values are zero".into(),
        confidence: (1.0 / (1.0 + (-prior.abs()).exp())) as f32,
        doubtful: true,
    }
}

/// The logarithm of the odds for raw that the kind of file gives, and the kind in words.
fn prior(file: &LatentFile) -> (f64, &'static str) {
    // Only diffusers packs latents, and its pipelines only return normalized ones: 98 %.
    if file.packed {
        return (-4.0, "diffusers packs only normalized latents");
    }
    if matches!(file.origin, Origin::Comfy | Origin::ComfyLegacy) {
        // 95 %.
        return (3.0, "ComfyUI's .latent files are mostly raw");
    }
    match last_part(&file.key) {
        // The name in diffusers' pipelines, whose `output_type="latent"` is normalized: 82 %. So are
        // the caches of training scripts, which are what the model is trained on.
        LATENTS | INPUT_LATENTS => (-1.5, "files with 'latents' are mostly normalized"),
        name if is_cache_name(name) => (-1.5, "cached latents are mostly normalized"),
        _ => (0.0, "the file has no marker"),
    }
}
