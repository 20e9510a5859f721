//! Latent files as inputs: their headers are checked before any work, each is read whole when its turn comes, and passed on
//! one latent frame at a time.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::Context;
use vae2x::{Extent, Space, SpaceChoice, Vae, VaeConfig};
use vae2x_core::Array;
use vae2x_core::latent::Raw;
use vae2x_core::weights::TensorFile;
use vae2x_media::latent::{Decision, LatentFile, LatentOptions, look_at_latent};
use vae2x_media::names::distinct_names;
use vae2x_media::output::Input;

use crate::args::LatentArgs;
use crate::run::{Failures, Source, prepare};
use crate::ui;

/// How latent files are read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The tensor, its axes, and the size of packed latents.
    pub options: LatentOptions,
    /// The space that is asked for.
    pub space: SpaceChoice,
}

impl From<&LatentArgs> for Reading {
    fn from(args: &LatentArgs) -> Self {
        Self {
            options: LatentOptions {
                key: args.key.clone(),
                packed_size: args.size,
                axes: args.axes.clone(),
            },
            space: args.latent_space,
        }
    }
}

/// A latent file whose header has been read.
#[derive(Debug)]
pub struct LatentInput {
    /// The file.
    pub path: PathBuf,
    /// Batch items.
    pub items: usize,
    /// The extent of each item.
    pub extent: Extent,
    /// Known once the whole file has been read.
    pub facts: OnceLock<Facts>,
}

/// The contents of a latent file besides its values.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The space that was found or asked for.
    pub space: Space,
    /// Whether it was packed as diffusers packs Qwen-Image's latents.
    pub is_packed: bool,
    /// ComfyUI's `prompt` and `workflow`.
    pub text: Vec<(String, String)>,
}

/// One latent frame of a file.
pub struct LatentFrame {
    /// `[z, 1, h, w]`, raw.
    pub values: Array,
}

impl LatentInput {
    /// Reads a file's header.
    ///
    /// # Errors
    /// If it cannot be read or holds no latent.
    pub fn look(path: &Path, reading: &Reading) -> anyhow::Result<Self> {
        let [items, _, frames, h, w] = look_at_latent(&TensorFile::open(path)?, &reading.options)?;
        Ok(Self {
            path: path.to_path_buf(),
            items,
            extent: Extent {
                frames,
                cells: [h, w],
            },
            facts: OnceLock::new(),
        })
    }

    /// The same input for the model of `config`: if that has opacity, each latent frame is an image of its own.
    pub fn for_model(mut self, config: &VaeConfig) -> Self {
        if config.has_opacity() {
            self.items *= self.extent.frames;
            self.extent.frames = 1;
        }
        self
    }

    /// Latent frames of all items.
    pub fn latent_frames(&self) -> usize {
        self.items * self.extent.frames
    }

    /// Reads the file, settles its space, and prints which it is unless the user chose it.
    ///
    /// # Errors
    /// If it cannot be read, or does not fit the model.
    pub fn read(&self, reading: &Reading, config: &VaeConfig) -> anyhow::Result<Raw> {
        let file = LatentFile::open(&self.path, &reading.options)?;
        note_reading(&file);
        let (is_packed, text) = (file.packed, file.text.clone());
        let (raw, decision) = file.into_raw(config, reading.space)?;
        let raw = match config.has_opacity() {
            true => raw.frames_as_items(),
            false => raw,
        };
        note_space(&self.path, reading.space, &decision);
        let facts = Facts {
            space: decision.space,
            is_packed,
            text,
        };
        // A file is read once in a run.
        let _ = self.facts.set(facts);
        Ok(raw)
    }

    /// The latent frames of the file, read when the first one is asked for.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn frames(
        &self,
        reading: &Reading,
        config: &VaeConfig,
    ) -> anyhow::Result<Source<LatentFrame>> {
        let raw = self.read(reading, config)?;
        let frames = self.extent.frames;
        let each = (0..self.items).flat_map(move |item| (0..frames).map(move |t| (item, t)));
        Ok(Box::new(each.map(move |(item, t)| {
            Ok(LatentFrame {
                values: raw.frame(item, t),
            })
        })))
    }

    /// Refuses a clip for weights that take single frames only.
    ///
    /// # Errors
    /// [`vae2x::Error::ImagesOnly`] with the weights' name.
    pub fn require_time(&self, vae: &Vae) -> anyhow::Result<()> {
        let frames = self.extent.frames;
        match frames > 1 && !vae.has_time() {
            true => Err(vae2x::Error::ImagesOnly { frames }).context(vae.name().to_owned()),
            false => Ok(()),
        }
    }

    /// The work on this input in words: "decoding 5 latent frames of 64x64 cells".
    pub fn described(&self, verb: &str) -> String {
        let Extent { frames, cells } = self.extent;
        format!(
            "{verb} {frames} latent frames of {}x{} cells",
            cells[1], cells[0]
        )
    }

    /// ComfyUI's texts, once the file was read, if they are kept.
    pub fn text(&self, is_kept: bool) -> Vec<(String, String)> {
        match self.facts.get() {
            Some(facts) if is_kept => facts.text.clone(),
            _ => Vec::new(),
        }
    }

    /// The contents of the file besides its values, once it was read.
    pub fn facts(&self) -> Option<&Facts> {
        self.facts.get()
    }
}

/// Latent files whose headers can be read, with the name that each has in a folder of outputs.
pub fn look_at_all(
    files: &[PathBuf],
    reading: &Reading,
    failed: &mut Failures,
) -> Vec<(String, LatentInput)> {
    let names = distinct_names(files, |_| "");
    let look = |(name, path): (String, &PathBuf)| Ok((name, LatentInput::look(path, reading)?));
    let shown = |(_, path): &(String, &PathBuf)| path.display().to_string();
    prepare(failed, names.into_iter().zip(files), shown, look)
}

/// The inputs as the plan of outputs needs them; `frames` are the images that each item gives.
pub fn planned(inputs: &[(String, LatentInput)], frames: impl Fn(Extent) -> usize) -> Vec<Input> {
    let input = |(name, input): &(String, LatentInput)| Input {
        path: input.path.clone(),
        name: name.clone(),
        items: input.items,
        frames: frames(input.extent),
    };
    inputs.iter().map(input).collect()
}

/// Prints what was decided about a file's tensors.
pub fn note_reading(file: &LatentFile) {
    let shown = file.path.display();
    file.notes
        .iter()
        .for_each(|note| ui::note(format!("{shown}: {note}")));
}

/// Prints how the space was decided, unless the user chose it.
pub fn note_space(path: &Path, choice: SpaceChoice, decision: &Decision) {
    let shown = path.display();
    match (choice, decision.warning()) {
        (SpaceChoice::Auto, Some(warning)) => ui::warn(format!("{shown}: {warning}")),
        (SpaceChoice::Auto, None) => ui::note(format!(
            "{shown}: taken as {}: {}",
            decision.space, decision.why
        )),
        _ => (),
    }
}
