//! The description of a folder of pairs: `manifest.json`.
//!
//! It is written when a job starts, with what the job is ([`Plan`]), and again when it is done, with every file's hash and pairs.
//! The second follows from the first and the files alone, so that equal jobs leave equal folders.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::{ErrorKind, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use vae2x_core::weights::TensorFile;
use vae2x_core::{Error as CoreError, files, temp};
use vae2x_media::shard::Shard;

use super::options::SdeditOptions;
use crate::proxy::pairs::{frames, names, time};
use vae2x_train::{Error, Result};

/// Its name.
pub const MANIFEST_FILE: &str = "manifest.json";
/// Bytes of the largest one that is read: two million pairs.
const LARGEST: u64 = 1 << 29;
/// Raised when the format changes.
const FORMAT: u32 = 1;
/// The metadata key of the items that a file lacks.
const SKIPPED: &str = "vae2x.skipped";
/// Read at a time to be hashed.
const PIECE: usize = 1 << 20;

/// A file or folder by its content.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Hashed {
    /// The file name, for people; it is never compared.
    pub name: String,
    /// Hash of all its bytes, in hexadecimal digits.
    pub sha256: String,
}

/// Files as one: their bytes one after the other. `tell` is called with the number of bytes read since the last call.
///
/// # Errors
/// If one cannot be read.
pub fn hash_files<'a>(
    name: &Path,
    files: impl IntoIterator<Item = &'a Path>,
    tell: &mut dyn FnMut(usize),
) -> Result<Hashed> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; PIECE];
    for path in files {
        let mut file = files::open(path)?;
        loop {
            let n = file.read(&mut buffer).map_err(|e| Error::io(path, e))?;
            if n == 0 {
                break;
            }
            hash.update(&buffer[..n]);
            tell(n);
        }
    }
    let name = name
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    Ok(Hashed {
        name,
        sha256: hash
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
    })
}

/// The plan of a job.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Plan {
    /// The flow model.
    pub model: Hashed,
    /// Its caption.
    pub context: Hashed,
    /// The VAE that encodes photos or has the statistics of latents, if it is in files.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub vae: Option<Hashed>,
    /// How pairs are made.
    pub options: SdeditOptions,
    /// Further facts about model, VAE and latents: sizes, kind, space, statistics.
    pub input: BTreeMap<String, String>,
    /// Names of the latents or photos, in order.
    pub sources: Vec<String>,
}

impl Plan {
    /// Pairs of sources: latents in a batch count as one.
    pub fn items(&self) -> usize {
        self.sources.len() * self.options.per_latent
    }

    /// Files of the whole job.
    pub fn files(&self) -> usize {
        self.items().div_ceil(self.options.per_file)
    }

    /// The items of a file.
    pub fn items_of(&self, file: usize) -> std::ops::Range<usize> {
        let per_file = self.options.per_file;
        file * per_file..((file + 1) * per_file).min(self.items())
    }

    /// The item that a pair is of, by its name: `SOURCE#DRAW`, or for latents in a batch `SOURCE:INDEX#DRAW`.
    fn item_of(items: &HashMap<(&str, usize), usize>, pair: &str) -> Option<usize> {
        let (of, draw) = pair.rsplit_once('#')?;
        let draw = draw.parse().ok()?;
        let of_batch = || {
            let (source, index) = of.rsplit_once(':')?;
            index.parse::<usize>().ok()?;
            items.get(&(source, draw))
        };
        items.get(&(of, draw)).or_else(of_batch).copied()
    }

    /// Checks that a finished file, `file` by its number, has pairs of all its items that it does not list as skipped, and of no others.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check_file(&self, file: usize, entry: &FileEntry) -> Result<(), String> {
        let per_latent = self.options.per_latent;
        let source = |item: usize| self.sources[item / per_latent].as_str();
        let items: HashMap<_, _> = self
            .items_of(file)
            .map(|item| ((source(item), item % per_latent), item))
            .collect();
        let mut found = HashSet::new();
        for pair in &entry.pairs {
            let item = Self::item_of(&items, &pair.name);
            found.insert(
                item.ok_or_else(|| format!("the pair '{}' is not of this file", pair.name))?,
            );
        }
        let skipped: HashSet<&str> = entry.skipped.iter().map(|s| s.name.as_str()).collect();
        let lacks = |&item: &usize| !found.contains(&item) && !skipped.contains(source(item));
        match self.items_of(file).find(lacks) {
            Some(item) => Err(format!(
                "the pair '{}#{}' is missing",
                source(item),
                item % per_latent
            )),
            None => Ok(()),
        }
    }

    /// The first difference to another plan, as a word; names of hashed files do not count.
    pub fn difference(&self, other: &Self) -> Option<&'static str> {
        self.other_settings(other)
            .or_else(|| self.other_files(other))
    }

    /// The part of [`Self::difference`] that needs no hashes.
    pub(super) fn other_settings(&self, other: &Self) -> Option<&'static str> {
        if self.options.time != other.options.time {
            Some("draw of flow times")
        } else if self.options != other.options {
            Some("options")
        } else if self.input != other.input {
            Some("input")
        } else {
            (self.sources != other.sources).then_some("list of latents")
        }
    }

    /// The rest of it.
    pub(super) fn other_files(&self, other: &Self) -> Option<&'static str> {
        let files = |plan: &Self| {
            [Some(&plan.model), Some(&plan.context), plan.vae.as_ref()]
                .map(|f| f.map(|f| f.sha256.clone()))
        };
        let differs = files(self)
            .into_iter()
            .zip(files(other))
            .map(|(a, b)| a != b);
        differs
            .zip(["model", "context", "VAE"])
            .find_map(|(differs, what)| differs.then_some(what))
    }
}

/// The name of a file of pairs.
pub fn file_name(file: usize) -> String {
    format!("pairs-{file:05}.safetensors")
}

/// A pair, as the manifest lists it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PairEntry {
    /// `NAME` of its tensors.
    pub name: String,
    /// Flow time.
    pub t: f32,
    /// `[C, h, w]` or `[C, T, h, w]`
    pub shape: Vec<usize>,
}

/// A latent or photo of which there are no pairs.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Skipped {
    /// As the plan has it.
    pub name: String,
    /// The problem.
    pub why: String,
}

impl Skipped {
    /// For the metadata of a file that lacks the pairs of these.
    pub(super) fn to_metadata(skipped: &BTreeSet<Self>) -> Result<BTreeMap<String, String>> {
        if skipped.is_empty() {
            return Ok(BTreeMap::new());
        }
        let text = serde_json::to_string(skipped).map_err(|e| Error::Data(e.to_string()))?;
        Ok([(SKIPPED.to_string(), text)].into())
    }

    /// The items that a file lacks.
    pub(super) fn from_file(file: &TensorFile) -> Result<BTreeSet<Self>> {
        let text = file.metadata().get(SKIPPED).map_or("[]", String::as_str);
        serde_json::from_str(text)
            .map_err(|e| Error::Data(format!("{}: '{SKIPPED}': {e}", file.path().display())))
    }
}

/// A finished file.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct FileEntry {
    /// In the manifest's folder.
    #[serde(flatten)]
    pub file: Hashed,
    /// Sorted by name.
    pub pairs: Vec<PairEntry>,
    /// Sources that it has no pairs of.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub skipped: BTreeSet<Skipped>,
}

impl FileEntry {
    /// Reads a finished file of pairs.
    pub(super) fn read(folder: &Path, name: &str) -> Result<Self> {
        let path = folder.join(name);
        let tensors = TensorFile::open(&path)?;
        let entry = |name: &str| -> Result<PairEntry> {
            frames(&tensors, name)?;
            Ok(PairEntry {
                name: name.into(),
                t: time(&tensors, name)?,
                shape: tensors.tensors()[&format!("{name}.clean")].shape.clone(),
            })
        };
        let pairs = names(&tensors).map(entry).collect::<Result<_>>()?;
        let skipped = Skipped::from_file(&tensors)?;
        Ok(Self {
            file: hash_files(Path::new(name), [path.as_path()], &mut |_| ())?,
            pairs,
            skipped,
        })
    }
}

/// The whole.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Manifest {
    format: u32,
    /// The plan.
    pub plan: Plan,
    /// Which part of it this folder is; `None` for all of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub shard: Option<Shard>,
    /// Finished files; none while the job is under way.
    pub files: Vec<FileEntry>,
}

impl Manifest {
    /// The manifest of a job that starts.
    pub fn new(plan: Plan, shard: Shard) -> Self {
        Self {
            format: FORMAT,
            plan,
            shard: Some(shard).filter(|shard| *shard != Shard::WHOLE),
            files: Vec::new(),
        }
    }

    /// Which part of the job the folder is.
    pub fn shard(&self) -> Shard {
        self.shard.unwrap_or(Shard::WHOLE)
    }

    /// Number of pairs in all files.
    pub fn pairs(&self) -> usize {
        self.files.iter().map(|file| file.pairs.len()).sum()
    }

    /// Sources without pairs, over all files.
    pub fn skipped(&self) -> BTreeSet<&Skipped> {
        self.files.iter().flat_map(|file| &file.skipped).collect()
    }

    /// Refuses a finished job without a single pair. A shard may have none.
    pub(super) fn check_used(&self) -> Result<()> {
        match self.skipped().first() {
            Some(Skipped { name, why }) if self.shard.is_none() && self.pairs() == 0 => {
                let count = self.plan.sources.len();
                Err(Error::Data(format!(
                    "none of the {count} latents or photos can be used: {name}: {why}"
                )))
            }
            _ => Ok(()),
        }
    }

    /// Reads a folder's; `None` if it has none.
    ///
    /// # Errors
    /// [`Error::Data`] for one that is damaged or of another format.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(MANIFEST_FILE);
        let text = match files::read(&path, LARGEST) {
            Ok(text) => text,
            Err(CoreError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(e) => return Err(e.into()),
        };
        let bad = |what: String| Error::Data(format!("{}: {what}", path.display()));
        let manifest: Self = serde_json::from_slice(&text)
            .map_err(|e| bad(format!("not a manifest of pairs: {e}")))?;
        if manifest.format != FORMAT {
            return Err(bad(format!(
                "format {}; expected {FORMAT}",
                manifest.format
            )));
        }
        let options = manifest.plan.options.validate();
        options.map_err(|e| bad(e.to_string()))?;
        let shard = manifest.shard();
        if !shard.is_possible() {
            return Err(bad(format!("shard {shard}; expected I/N with I below N")));
        }
        Ok(Some(manifest))
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(MANIFEST_FILE);
        let text = serde_json::to_string_pretty(self).map_err(|e| Error::io(&path, e.into()))?;
        Ok(temp::write_bytes(&path, format!("{text}\n").as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdedit::Time;
    use proptest::prelude::*;

    fn plan(per_latent: usize, per_file: usize) -> Plan {
        Plan {
            model: Hashed::default(),
            context: Hashed::default(),
            vae: None,
            options: SdeditOptions {
                time: Time::Fixed(0.1),
                steps: 1,
                per_latent,
                seed: 0,
                per_file,
            },
            input: BTreeMap::new(),
            // As names of files may be.
            sources: ["a", "b:1", "c#2"].map(String::from).to_vec(),
        }
    }

    fn entry(pairs: &[&str], skipped: &[&str]) -> FileEntry {
        let pair = |name: &&str| PairEntry {
            name: name.to_string(),
            t: 0.1,
            shape: vec![16, 8, 8],
        };
        let skip = |name: &&str| Skipped {
            name: name.to_string(),
            why: "damaged".into(),
        };
        FileEntry {
            file: Hashed::default(),
            pairs: pairs.iter().map(pair).collect(),
            skipped: skipped.iter().map(skip).collect(),
        }
    }

    #[test]
    fn files_have_the_pairs_of_their_items() {
        let plan = plan(2, 3);
        let check =
            |file, pairs: &[&str], skipped: &[&str]| plan.check_file(file, &entry(pairs, skipped));
        check(0, &["a#0", "a#1", "b:1#0"], &[]).unwrap();
        // Latents in a batch, of which the second source has one more.
        check(0, &["a:0#0", "a:1#0", "a#1", "b:1:7#0"], &[]).unwrap();
        check(1, &["b:1#1"], &["c#2"]).unwrap();
        check(1, &["b:1#1", "c#2#0", "c#2#1"], &[]).unwrap();
        for (pairs, named) in [
            (&["a#0", "a#1"][..], "'b:1#0' is missing"),
            (
                &["a#0", "a#1", "b:1#0", "b:1#1"],
                "'b:1#1' is not of this file",
            ),
            (&["a#0", "a#1", "b:1#0", "a"], "'a' is not"),
            (&["a#0", "a#1", "b:x#0"], "'b:x#0' is not"),
            (&["a#0", "a#1", "b#0"], "'b#0' is not"),
            (&["a#00x", "a#1", "b:1#0"], "'a#00x' is not"),
        ] {
            let problem = check(0, pairs, &[]).unwrap_err();
            assert!(problem.contains(named), "{pairs:?}: {problem}");
        }
    }

    /// Reads `text` as the manifest of a folder, and asks it for what is asked of one.
    fn use_manifest(text: &[u8]) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(MANIFEST_FILE), text).unwrap();
        let Ok(Some(manifest)) = Manifest::read(folder.path()) else {
            return;
        };
        let files = manifest.plan.files();
        for file in manifest
            .shard()
            .of_list(files)
            .take(2)
            .chain(files.checked_sub(1))
        {
            manifest.files.iter().for_each(|entry| {
                let _ = manifest.plan.check_file(file, entry);
            });
        }
        let _ = (manifest.pairs(), manifest.skipped(), manifest.check_used());
    }

    fn text() -> String {
        let mut manifest = Manifest::new(plan(2, 3), Shard { index: 1, of: 2 });
        manifest.files = vec![entry(&["b:1#1"], &["c#2"])];
        serde_json::to_string(&manifest).unwrap()
    }

    #[test]
    fn numbers_are_held_back() {
        for most in [u64::MAX, 1 << 63, 1 << 40, 65_535, 0] {
            for key in ["per_latent", "per_file", "steps", "index", "of", "format"] {
                let text = text();
                let (before, after) = text.split_once(&format!("\"{key}\":")).unwrap();
                let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
                use_manifest(format!("{before}\"{key}\":{most}{rest}").as_bytes());
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// Damaged manifests are errors, or manifests.
        #[test]
        fn damaged_manifests_do_not_panic(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
            let mut bytes = text().into_bytes();
            for (at, value) in edits {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            use_manifest(&bytes);
        }
    }
}
