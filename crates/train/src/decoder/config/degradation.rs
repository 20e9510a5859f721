//! `[degradation]`: what is done to latents on their way to the decoder.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Kinds of degradation.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DegradationKind {
    /// Nothing.
    #[default]
    None,
    /// A trained network that imitates a diffusion model.
    Proxy,
    /// A Gaussian whose width grows with the flow time: a stand-in for the proxy.
    Blur,
    /// White noise whose deviation grows with the flow time. The 2x decoder's author reports that this does not work: a decoder
    /// learns to take noise away, and what it should learn is to sharpen. It is here so that this can be seen.
    Noise,
}

/// `[degradation]`
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DegradationConfig {
    /// Kind of degradation.
    pub kind: DegradationKind,
    /// Flow times are drawn evenly from 0 to this.
    pub t_max: f64,
    /// The share of samples that are not degraded.
    pub clean: f64,
    /// For `blur`: standard deviation in latent cells per unit of flow time. 2 takes about what an optimal linear denoiser takes of
    /// real latents (`tools/reference/degradation_strength.py`).
    pub blur: f64,
    /// For `noise`: standard deviation per unit of flow time, in units of normalized latents, whose own is about 1. At 1, the noise
    /// that a flow adds; 0.4 has at time 0.12 the power of what a `blur` of 2 takes.
    pub noise: f64,
    /// For `proxy`: its weights, as `vae2x train degradation` writes them.
    pub proxy: Option<String>,
}

impl Default for DegradationConfig {
    fn default() -> Self {
        Self {
            kind: DegradationKind::None,
            t_max: 0.12,
            clean: 0.1,
            blur: 2.0,
            noise: 0.4,
            proxy: None,
        }
    }
}

/// The end of errors about a proxy that is missing.
pub(crate) const HOW_TO_GET_A_PROXY: &str = "make one with `vae2x sdedit` and `vae2x train degradation` (docs/degradation.md), or set \
                              degradation.kind = \"blur\", a stand-in";

impl DegradationConfig {
    /// The proxy's file, if the kind needs one.
    ///
    /// # Errors
    /// [`Error::Config`] if it is not named.
    pub fn proxy_file(&self) -> Result<Option<&Path>> {
        match (self.kind, &self.proxy) {
            (DegradationKind::Proxy, None) => Err(Error::Config(format!(
                "degradation.kind = \"proxy\" needs degradation.proxy = \"FILE\"; {HOW_TO_GET_A_PROXY}"
            ))),
            (DegradationKind::Proxy, Some(path)) => Ok(Some(Path::new(path))),
            _ => Ok(None),
        }
    }
}
