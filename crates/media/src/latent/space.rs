//! Raw or normalized: what the file says, else what its kind and its statistics suggest.
//!
//! A marker written by [`super::write_latent`] is certain. ComfyUI's `.latent` files are raw: the format knows nothing else.
//! Others carry no marker; there, the odds that the kind of file gives are multiplied with those of
//! [`vae2x_core::latent::guess`]. A doubtful decision is still made, and comes with a warning that says how to overrule it.

use serde::{Deserialize, Serialize};
use vae2x_core::latent::{Space, guess};
use vae2x_core::{Result, VaeConfig};

use super::file::{LatentFile, Origin};
use super::names::LATENTS;

/// The space that the caller asks for.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SpaceChoice {
    /// Whatever the file holds.
    #[default]
    Auto,
    /// Raw, whatever the file says.
    Raw,
    /// Normalized, whatever the file says.
    Normalized,
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

    /// What to tell the user if the decision is doubtful.
    pub fn warning(&self) -> Option<String> {
        let (space, other) = match self.space {
            Space::Raw => (Space::Raw, Space::Normalized),
            Space::Normalized => (Space::Normalized, Space::Raw),
        };
        self.doubtful.then(|| {
            format!(
                "the latent is taken as {space}, but {}; if the picture looks wrong, try --latent-space {other}",
                self.why
            )
        })
    }
}

/// Below this probability a decision is doubtful.
const SURE: f32 = 0.9;
/// From this probability on, statistics are worth a warning against a file's kind.
const CONTRADICTION: f32 = 0.99;

/// Decides the space of a latent.
///
/// # Errors
/// [`vae2x_core::Error::Shape`] if its channels are not the model's.
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
    let found = guess(&file.array, config)?;
    if matches!(file.origin, Origin::Comfy | Origin::ComfyLegacy) {
        return Ok(comfy(
            found.space == Space::Normalized && found.confidence >= CONTRADICTION,
        ));
    }
    let (prior, kind) = prior(file);
    let evidence = f64::from(found.confidence.min(0.999_999));
    let odds = (evidence / (1.0 - evidence)).ln()
        * if found.space == Space::Raw { 1.0 } else { -1.0 }
        + prior;
    let raw = 1.0 / (1.0 + (-odds).exp());
    let (space, confidence) = match raw >= 0.5 {
        true => (Space::Raw, raw as f32),
        false => (Space::Normalized, (1.0 - raw) as f32),
    };
    let doubtful = confidence < SURE;
    let why = match doubtful {
        true => format!(
            "{kind} and its statistics leave doubt ({:.0} % sure)",
            confidence * 100.0
        ),
        false => format!(
            "{kind} and its statistics say so ({:.0} % sure)",
            (confidence * 100.0).floor()
        ),
    };
    Ok(Decision {
        space,
        why,
        confidence,
        doubtful,
    })
}

fn comfy(contradicted: bool) -> Decision {
    match contradicted {
        // Nodes that keep normalized latents, such as WanVideoWrapper's, can be joined to SaveLatent all the same.
        true => Decision {
            space: Space::Raw,
            why: "its statistics are those of a normalized one".into(),
            confidence: 0.5,
            doubtful: true,
        },
        false => Decision::certain(Space::Raw, "ComfyUI's .latent files are raw"),
    }
}

/// The logarithm of the odds for raw that the kind of file gives, and the kind in words.
fn prior(file: &LatentFile) -> (f64, &'static str) {
    // Only diffusers packs latents, and its pipelines give them out normalized alone: 98 %.
    if file.packed {
        return (-4.0, "diffusers packs only normalized latents");
    }
    match file.key.as_str() {
        // The name in diffusers' pipelines, whose `output_type="latent"` is normalized: 82 %.
        LATENTS => (-1.5, "files with 'latents' are mostly normalized"),
        _ => (0.0, "the file has no marker"),
    }
}
