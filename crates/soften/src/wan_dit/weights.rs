//! Finds the transformer in the tensors of a file or folder: layout, prefix, sizes.

use vae2x_core::weights::{FileNames, ModelTensors, ModelWeights};
use vae2x_core::{Array, Error, Result};

use super::config::{self, DitConfig, DitOptions, Telling};
use super::foreign;
use super::tensors::{diffusers_name, specs};

/// Prefixes under which the tensors occur: none, ComfyUI's, and two of bundles.
const PREFIXES: [&str; 4] = [
    "",
    "model.diffusion_model.",
    "diffusion_model.",
    "transformer.",
];

const ORIGINAL: Telling = Telling {
    patch: "patch_embedding.weight",
    text: "text_embedding.0.weight",
    time: "time_embedding.0.weight",
    head: "head.head.weight",
    ffn: "blocks.0.ffn.0.weight",
};

const DIFFUSERS: Telling = Telling {
    patch: "patch_embedding.weight",
    text: "condition_embedder.text_embedder.linear_1.weight",
    time: "condition_embedder.time_embedder.linear_1.weight",
    head: "proj_out.weight",
    ffn: "blocks.0.ffn.net.0.proj.weight",
};

/// How a folder names the files of a transformer.
pub const FILES: FileNames = FileNames {
    stem: "diffusion_pytorch_model",
    subfolder: "transformer",
};

/// A transformer's weights and sizes.
#[derive(Debug)]
pub struct DitWeights {
    config: DitConfig,
    weights: ModelWeights,
}

impl DitWeights {
    /// Finds the model in what was opened, in the original layout or diffusers'.
    ///
    /// # Errors
    /// [`Error::NotThisModel`] for other models, naming which; [`Error::TensorSet`] for missing or unknown tensors;
    /// [`Error::Tensor`], [`Error::Config`].
    pub fn find(tensors: ModelTensors, options: DitOptions) -> Result<Self> {
        let has = |prefix: &str, name: &str| tensors.info(&format!("{prefix}{name}")).is_some();
        let layouts = [(&ORIGINAL, false), (&DIFFUSERS, true)];
        let found = PREFIXES.into_iter().find_map(|prefix| {
            let (telling, is_diffusers) = layouts
                .into_iter()
                .find(|(t, _)| has(prefix, t.text) && has(prefix, t.patch))?;
            Some((prefix, telling, is_diffusers))
        });
        if let Some(other) = foreign::by_names(&tensors) {
            return Err(not_this(&tensors, format!("this is {other}")));
        }
        let Some((prefix, telling, is_diffusers)) = found else {
            return Err(unknown(&tensors));
        };
        let config = config::read(&tensors, prefix, telling, options)?;
        if let Some(other) = foreign::by_channels(&config) {
            return Err(not_this(&tensors, format!("this is {other}")));
        }
        let wanted = specs(&config).into_iter().map(|spec| {
            let name = if is_diffusers {
                diffusers_name(&spec.name)
            } else {
                spec.name.clone()
            };
            (spec, format!("{prefix}{name}"))
        });
        let is_foreign = |name: &str| !prefix.is_empty() && !name.starts_with(prefix);
        Ok(Self {
            weights: tensors.assign(wanted, is_foreign)?,
            config,
        })
    }

    /// The model's sizes.
    pub fn config(&self) -> &DitConfig {
        &self.config
    }

    /// Where the tensors are, and what became of them.
    pub fn weights(&self) -> &ModelWeights {
        &self.weights
    }

    /// A tensor by its canonical name: what [`super::WanDit::load`] asks for.
    ///
    /// # Errors
    /// As [`ModelWeights::tensor`].
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Array> {
        self.weights.tensor(name, shape)
    }
}

fn unknown(tensors: &ModelTensors) -> Error {
    let what = match tensors.names().next() {
        Some(first) => format!(
            "no Wan2.1 transformer among its {} tensors, of which the first is '{first}'",
            tensors.names().count()
        ),
        None => "the file holds no tensors".into(),
    };
    not_this(tensors, what)
}

fn not_this(tensors: &ModelTensors, found: String) -> Error {
    Error::NotThisModel {
        path: tensors.path().to_path_buf(),
        found,
    }
}
