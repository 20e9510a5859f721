//! Normalized latents from the latent files of a folder.
//!
//! Whether unmarked files are raw or normalized is decided once for the whole folder, from the statistics of some of its files: a
//! single flat image can look like either, and a folder that is read as half and half would be useless. Statistics that clearly
//! contradict what is claimed are an error.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use vae2x_core::latent::{Normalized, Space, guess};
use vae2x_core::weights::TensorFile;
use vae2x_core::{Array, VaeConfig};
use vae2x_media::latent::{
    LatentFile, LatentFormat, LatentOptions, Origin, SpaceChoice, decide_space, look_at_latent,
};

use vae2x_train::{Error, Result};

/// Names that are taken for latents, in lower case.
const EXTENSIONS: [&str; 6] = ["latent", "safetensors", "npy", "npz", "pt", "pth"];
/// Files that are looked at to decide.
pub const LOOKED_AT: usize = 16;
/// From this probability on, statistics contradict a claim.
const SURE: f32 = 0.99;
/// Cells of all files looked at, below which statistics are not worth an error: those of an image of 256 pixels.
const ENOUGH_CELLS: usize = 32 * 32;

/// A folder of latent files, or one file.
#[derive(Clone, Debug)]
pub struct LatentFolder {
    root: PathBuf,
    files: Vec<PathBuf>,
    options: LatentOptions,
    config: VaeConfig,
    claim: Claim,
}

/// How the files' space is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// By the user.
    Asked(Space),
    /// By each file's marker or kind; this for files without.
    Found(Space),
}

impl LatentFolder {
    /// Lists the latent files at or below `root`, in the order of their paths, and decides their space. `config` has the means and
    /// deviations of the VAE that the latents are of.
    ///
    /// # Errors
    /// [`Error::Data`] if there are none, or if the statistics of most contradict the space that they are taken for; errors of the
    /// system, and of damaged files if all that are looked at are damaged.
    pub fn open(root: &Path, choice: SpaceChoice, config: &VaeConfig) -> Result<Self> {
        Self::open_as(root, choice, config, &LatentOptions::default())
    }

    /// As [`Self::open`], reading each file as `options` say.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_as(
        root: &Path,
        choice: SpaceChoice,
        config: &VaeConfig,
        options: &LatentOptions,
    ) -> Result<Self> {
        let files = if root.is_file() {
            vec![root.to_path_buf()]
        } else {
            list(root)?
        };
        if files.is_empty() {
            let kinds = "expected .latent, .safetensors, .npy, .npz or .pt files";
            return Err(Error::Data(format!(
                "{}: no latents found; {kinds}",
                root.display()
            )));
        }
        let (root, options, config) = (root.to_path_buf(), options.clone(), config.clone());
        let mut folder = Self {
            root,
            files,
            options,
            config,
            claim: asked(choice),
        };
        let looked = folder.look_at(spread(folder.len(), LOOKED_AT))?;
        if choice == SpaceChoice::Auto {
            folder.claim = Claim::Found(folder.vote(&looked)?);
        }
        folder.refuse_contradiction(&looked)?;
        Ok(folder)
    }

    /// Opens files to decide by. Damaged ones are left to whoever reads them, unless all are.
    fn look_at(&self, indices: impl Iterator<Item = usize>) -> Result<Vec<LatentFile>> {
        let (mut opened, mut damaged) = (Vec::new(), None);
        for index in indices {
            match self.open_file(&self.files[index]) {
                Ok(file) => opened.push(file),
                Err(error @ Error::Core(vae2x_core::Error::Io { .. })) => return Err(error),
                Err(error) => damaged = damaged.or(Some(error)),
            }
        }
        match damaged {
            Some(error) if opened.is_empty() => Err(error),
            _ => Ok(opened),
        }
    }

    /// Number of files.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there are none; never.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Paths below the root, with `/`, one for each file; the file's name if the root is a file.
    pub fn names(&self) -> Vec<String> {
        let below = |path: &PathBuf| match path.strip_prefix(&self.root) {
            Ok(rest) if !rest.as_os_str().is_empty() => rest.to_path_buf(),
            _ => path.file_name().map(PathBuf::from).unwrap_or_default(),
        };
        let parts = |path: PathBuf| {
            path.iter()
                .map(|p| p.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
                .join("/")
        };
        self.files.iter().map(|path| parts(below(path))).collect()
    }

    /// The space that files without a marker are taken for, and why, for the user.
    pub fn space(&self) -> String {
        match self.claim {
            Claim::Asked(space) => format!("{space}, as asked"),
            Claim::Found(space) => format!("{space}, where a file does not say"),
        }
    }

    /// Latent frames, rows and columns of the largest latent, by the files' heads; damaged files do not count.
    pub fn largest(&self) -> Option<[usize; 3]> {
        let look = |path| look_at_latent(&TensorFile::open(path)?, &self.options);
        let sizes = self.files.iter().filter_map(|path| look(path).ok());
        sizes
            .map(|[_, _, t, h, w]| [t, h, w])
            .max_by_key(|size| size.iter().product::<usize>())
    }

    /// The files, in order.
    pub fn paths(&self) -> &[PathBuf] {
        &self.files
    }

    /// The configuration of the VAE that the latents are of.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// The channels of the first file's latents.
    ///
    /// # Errors
    /// Reading errors.
    pub fn channels(&self) -> Result<usize> {
        Ok(self.read_whole(0)?.0.array().shape()[1])
    }

    /// Where results go: to `output` for a single file; else to each file's own place in the folder `output`, as its own kind of file or, if
    /// that is only read, as safetensors.
    ///
    /// # Errors
    /// [`BadRequest`](vae2x_core::Error::BadRequest) if two files would go to one place.
    pub fn targets(&self, output: &Path) -> vae2x_core::Result<Vec<PathBuf>> {
        if self.root.is_file() {
            return Ok(vec![output.to_path_buf()]);
        }
        let target = |name: String| {
            let path = output.join(name);
            LatentFormat::from_path(&path).map_or(path.with_extension("safetensors"), |_| path)
        };
        let targets: Vec<PathBuf> = self.names().into_iter().map(target).collect();
        let mut taken = HashSet::new();
        match targets.iter().find(|&target| !taken.insert(target)) {
            None => Ok(targets),
            Some(twice) => Err(vae2x_core::Error::BadRequest(format!(
                "{}: two inputs would be written there; put them into different folders",
                twice.display()
            ))),
        }
    }

    /// The latents of file `index`, each `[C, T, h, w]`, normalized.
    ///
    /// # Errors
    /// Reading errors.
    pub fn read(&self, index: usize) -> Result<Vec<Array>> {
        let (latents, _) = self.read_whole(index)?;
        let latents = latents.array();
        Ok((0..latents.shape()[0])
            .map(|item| latents.item(item))
            .collect())
    }

    /// The latents of file `index` together, with ComfyUI's `prompt` and `workflow` where they are there.
    ///
    /// # Errors
    /// Reading errors.
    pub fn read_whole(&self, index: usize) -> Result<(Normalized, Vec<(String, String)>)> {
        let file = self.open_file(&self.files[index])?;
        let (space, text) = (self.space_of(&file)?, file.text.clone());
        Ok((file.into_normalized_from(space, &self.config)?, text))
    }

    fn open_file(&self, path: &Path) -> Result<LatentFile> {
        let file = TensorFile::open(path)?;
        if file.tensors().keys().any(|name| name.ends_with(".clean")) {
            let problem = "holds pairs, not latents";
            return Err(Error::Data(format!("{}: {problem}", path.display())));
        }
        Ok(LatentFile::from_file(&file, &self.options)?)
    }

    fn space_of(&self, file: &LatentFile) -> Result<Space> {
        match self.claim {
            Claim::Asked(space) => Ok(space),
            Claim::Found(space) => Ok(match file.marked {
                Some(marked) => marked,
                // By their kind: statistics speak for the folder, not for one of its files.
                None if speaks(file) => Space::Raw,
                None => space,
            }),
        }
    }

    /// The likelier space of the files without a marker: the sum of their logarithmic odds.
    fn vote(&self, looked: &[LatentFile]) -> Result<Space> {
        let mut odds = 0.0;
        for file in looked.iter().filter(|file| !speaks(file)) {
            let decision = decide_space(file, &self.config, SpaceChoice::Auto)?;
            odds += log_odds(decision.confidence)
                * if decision.space == Space::Raw {
                    1.0
                } else {
                    -1.0
                };
        }
        Ok(if odds > 0.0 {
            Space::Raw
        } else {
            Space::Normalized
        })
    }

    /// Statistics must speak clearly against what is claimed.
    fn refuse_contradiction(&self, looked: &[LatentFile]) -> Result<()> {
        let mut evidence = Evidence::default();
        let mut against = None;
        for file in looked {
            let taken = self.space_of(file)?;
            if let Some(found) = evidence.add(file.stored(), taken, &self.config)? {
                against.get_or_insert((file, taken, found));
            }
        }
        let Some((file, taken, found)) = against.filter(|_| evidence.is_clear()) else {
            return Ok(());
        };
        Err(Error::Data(format!(
            "{}: taken as {taken}, but the statistics of {} of {} files are those of {found} latents, for example {}; \
             say --latent-space {found}, or name with --vae the VAE that they are of",
            self.root.display(),
            evidence.against,
            looked.len(),
            file.path.display()
        )))
    }
}

/// Statistics of latents against the spaces that they are taken for.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// The logarithm of the odds that all of them are of the other space.
    odds: f64,
    /// How many latents are likelier of the other space.
    pub(crate) against: usize,
    count: usize,
    cells: usize,
}

impl Evidence {
    /// Adds latents `[B, C, T, h, w]`; gives the likelier space if it is not the one that they are taken for.
    ///
    /// # Errors
    /// If the channels are not the model's.
    pub(crate) fn add(
        &mut self,
        latents: &Array,
        taken: Space,
        config: &VaeConfig,
    ) -> Result<Option<Space>> {
        let found = guess(latents, config)?;
        let is_against = found.space != taken;
        self.odds += log_odds(found.confidence) * if is_against { 1.0 } else { -1.0 };
        self.against += usize::from(is_against);
        self.count += 1;
        self.cells += latents.data().len() / config.z_dim.max(1);
        Ok(is_against.then_some(found.space))
    }

    /// Whether most of the latents, and together with certainty, are of the other space.
    pub(crate) fn is_clear(&self) -> bool {
        self.odds >= log_odds(SURE) && 2 * self.against > self.count && self.cells >= ENOUGH_CELLS
    }
}

/// At most `most` indices below `count`, evenly spread.
pub(crate) fn spread(count: usize, most: usize) -> impl Iterator<Item = usize> {
    let some = count.min(most);
    (0..some).map(move |i| i * count / some)
}

/// The logarithm of the odds that a probability stands for, finite for all.
fn log_odds(probability: f32) -> f64 {
    let p = f64::from(probability).min(1.0 - 1e-6);
    (p / (1.0 - p)).ln()
}

fn asked(choice: SpaceChoice) -> Claim {
    match choice {
        SpaceChoice::Raw => Claim::Asked(Space::Raw),
        SpaceChoice::Normalized => Claim::Asked(Space::Normalized),
        SpaceChoice::Auto => Claim::Found(Space::Normalized),
    }
}

/// Whether the space of a file is known from a marker or its kind.
fn speaks(file: &LatentFile) -> bool {
    file.marked.is_some() || matches!(file.origin, Origin::Comfy | Origin::ComfyLegacy)
}

/// Latent files below a folder, sorted; links to folders are not followed.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|e| Error::io(&folder, e))? {
            let entry = entry.map_err(|e| Error::io(&folder, e))?;
            let (path, kind) = (
                entry.path(),
                entry.file_type().map_err(|e| Error::io(&folder, e))?,
            );
            let extension = path
                .extension()
                .map(|e| e.to_string_lossy().to_ascii_lowercase());
            match extension {
                _ if kind.is_dir() => folders.push(path),
                Some(e) if EXTENSIONS.contains(&e.as_str()) => found.push(path),
                _ => (),
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vae2x_core::weights::formula;
    use vae2x_core::weights::write::write_arrays;
    use vae2x_media::latent::write_latent;

    /// A latent of ordinary contrast.
    fn normalized(name: &str) -> Array {
        Array::new(
            [1, 16, 1, 24, 24],
            formula::unit(name, 16 * 576).map(|v| 0.9 * v).collect(),
        )
        .unwrap()
    }

    fn raw(name: &str) -> Array {
        let latent = Normalized::new(normalized(name)).unwrap();
        latent
            .denormalize(&VaeConfig::default())
            .unwrap()
            .array()
            .clone()
    }

    fn open(folder: &Path, choice: SpaceChoice) -> Result<LatentFolder> {
        LatentFolder::open(folder, choice, &VaeConfig::default())
    }

    #[test]
    fn marked_and_unmarked_files_come_back_normalized_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("sub")).unwrap();
        write_latent(&at("sub/a.latent"), &raw("a"), Space::Raw, &[]).unwrap();
        write_latent(
            &at("b.safetensors"),
            &normalized("b"),
            Space::Normalized,
            &[],
        )
        .unwrap();
        write_arrays(
            &at("c.safetensors"),
            &[("x", &raw("c"))],
            &Default::default(),
        )
        .unwrap();
        std::fs::write(at("notes.txt"), "no latent").unwrap();
        let latents = open(folder.path(), SpaceChoice::Auto).unwrap();
        assert_eq!(
            latents.names(),
            ["b.safetensors", "c.safetensors", "sub/a.latent"]
        );
        for (i, name) in ["b", "c", "a"].into_iter().enumerate() {
            let got = latents.read(i).unwrap();
            let want = normalized(name).reshape([16, 1, 24, 24]).unwrap();
            vae2x_testkit::compare::assert_close(name, &got[0], &want, 1e-6);
        }
        let one = open(&at("sub/a.latent"), SpaceChoice::Auto).unwrap();
        assert_eq!(one.names(), ["a.latent"]);
    }

    #[test]
    fn statistics_that_contradict_a_claim_are_told() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            let path = folder.path().join(format!("{name}.safetensors"));
            write_arrays(&path, &[("x", &raw(name))], &Default::default()).unwrap();
        }
        assert!(open(folder.path(), SpaceChoice::Raw).is_ok());
        let error = open(folder.path(), SpaceChoice::Normalized).err();
        assert!(
            matches!(
                &error,
                Some(Error::Data(problem))
                    if problem.contains("3 of 3") && problem.contains("--latent-space raw")
            ),
            "{error:?}"
        );
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(
            open(empty.path(), SpaceChoice::Auto).err(),
            Some(Error::Data(problem)) if problem.contains(&empty.path().display().to_string())
        ));
    }
}
