//! Latent files as inputs: their headers are checked before any work, each is read when its turn comes, whole or, if it is large,
//! frame by frame, and passed on one latent frame at a time.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::Context;
use vae2x::{Extent, Space, SpaceChoice, Vae, VaeConfig};
use vae2x_core::latent::Raw;
use vae2x_core::weights::TensorFile;
use vae2x_core::{Array, arch};
use vae2x_media::latent::{
    Decision, LatentFile, LatentFrames, LatentOptions, decide_space, look_at_latent,
};
use vae2x_media::names::distinct_names;
use vae2x_media::output::Input;
use vae2x_media::shard::Shard;

use crate::args::LatentArgs;
use crate::batch::of_shard;
use crate::run::{Failures, Source, prepare};
use crate::{ui, usage};

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

/// The part of a clip that is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cut {
    /// The first frame, from 0.
    pub start: usize,
    /// Frames; to the end if not given.
    pub frames: Option<usize>,
    /// Latent frames that are decoded before the part; all that it depends on if not given.
    pub run_in: Option<usize>,
}

/// A latent file whose header has been read.
#[derive(Debug)]
pub struct LatentInput {
    /// The file.
    pub path: PathBuf,
    /// Batch items.
    pub items: usize,
    /// The extent of what is decoded of each item.
    pub extent: Extent,
    /// The latent frame of each item that is read first.
    first: usize,
    /// The frames of each item that are kept, of those that its latent frames give.
    pub kept: Range<usize>,
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
            first: 0,
            kept: 0..VaeConfig::default().frames(frames),
            facts: OnceLock::new(),
        })
    }

    /// The same input for the model of `config`: if that has opacity, each latent frame is an image of its own.
    pub fn for_model(mut self, config: &VaeConfig) -> Self {
        if config.has_opacity() {
            self.items *= self.extent.frames;
            self.extent.frames = 1;
            self.kept = 0..1;
        }
        self
    }

    /// The part of each item that `cut` names, with the latent frames before it that it needs.
    ///
    /// # Errors
    /// An invalid command line if the clip has no such frame.
    pub fn cut(mut self, cut: Cut, config: &VaeConfig) -> anyhow::Result<Self> {
        let all = config.frames(self.extent.frames);
        if cut.start >= all {
            return usage(format!(
                "--start {}: {} has frames 0 to {}",
                cut.start,
                self.path.display(),
                all - 1
            ));
        }
        let end = cut
            .frames
            .map_or(all, |n| all.min(cut.start.saturating_add(n)));
        let latent_frame = |frame: usize| frame.div_ceil(config.temporal());
        let (from, to) = (latent_frame(cut.start), latent_frame(end - 1));
        let run_in = cut.run_in.unwrap_or(arch::decoder_past(config) + 1);
        self.first = from.saturating_sub(run_in);
        self.extent.frames = to + 1 - self.first;
        // The first latent frame gives one frame, wherever decoding begins: the others' numbers shift by whole steps.
        let before = config.temporal() * self.first;
        self.kept = cut.start - before..end - before;
        Ok(self)
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
        let decision = decide_space(&file, config, reading.space)?;
        self.settle(&file, reading, &decision);
        let raw = file.into_raw_from(decision.space, config)?;
        Ok(match config.has_opacity() {
            true => raw.frames_as_items(),
            false => raw,
        })
    }

    /// Prints what was decided about the file, and keeps what it holds besides values.
    fn settle(&self, file: &LatentFile, reading: &Reading, decision: &Decision) {
        note_reading(file);
        note_space(&self.path, reading.space, decision);
        let facts = Facts {
            space: decision.space,
            is_packed: file.packed,
            text: file.text.clone(),
        };
        // A file is read once in a run.
        let _ = self.facts.set(facts);
    }

    /// The latent frames of the file: of a large one each when it is asked for, of others all with the first.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn frames(
        &self,
        reading: &Reading,
        config: &VaeConfig,
    ) -> anyhow::Result<Source<LatentFrame>> {
        let (first, frames) = (self.first, self.extent.frames);
        let each = (0..self.items).flat_map(move |item| (0..frames).map(move |t| (item, t)));
        // The layers of a model with opacity are no clip.
        let large = match config.has_opacity() {
            true => None,
            false => LatentFrames::open(&self.path, &reading.options)?,
        };
        if let Some(large) = large {
            let decision = decide_space(large.sample(), config, reading.space)?;
            self.settle(large.sample(), reading, &decision);
            let (space, config) = (decision.space, config.clone());
            return Ok(Box::new(each.map(move |(item, t)| {
                let raw = large.frame(item, first + t, space, &config)?;
                Ok(LatentFrame {
                    values: raw.frame(0, 0),
                })
            })));
        }
        let raw = self.read(reading, config)?;
        Ok(Box::new(each.map(move |(item, t)| {
            Ok(LatentFrame {
                values: raw.frame(item, first + t),
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

/// Latent files of a shard whose headers can be read, with the name that each has in a folder of outputs.
pub fn look_at_all(
    files: &[PathBuf],
    reading: &Reading,
    shard: Shard,
    failed: &mut Failures,
) -> Vec<(String, LatentInput)> {
    let names = distinct_names(files, |_| "");
    let look = |(name, path): (String, &PathBuf)| Ok((name, LatentInput::look(path, reading)?));
    let shown = |(_, path): &(String, &PathBuf)| path.display().to_string();
    let mine = of_shard(names.into_iter().zip(files).collect(), shard, failed);
    prepare(failed, mine, shown, look)
}

/// The inputs as the plan of outputs needs them; `frames` are the images that each item gives.
pub fn planned(
    inputs: &[(String, LatentInput)],
    frames: impl Fn(&LatentInput) -> usize,
) -> Vec<Input> {
    let input = |(name, input): &(String, LatentInput)| Input {
        path: input.path.clone(),
        name: name.clone(),
        items: input.items,
        frames: frames(input),
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
