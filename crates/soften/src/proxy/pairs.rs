//! Pairs of a clean latent and what became of it.
//!
//! On disk: a folder of safetensors files, each with tensors `NAME.clean` and `NAME.degraded` of one shape, `[16, h, w]` or `[16, T, h, w]`,
//! normalized, and the flow time `NAME.t` `[1]`. Any number of pairs per file, any number of files: each is opened when it is read.
//! Names that differ only after a last `#` are pairs of one latent, as `sdedit` makes them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vae2x_core::latent::Space;
use vae2x_core::weights::TensorFile;
use vae2x_core::{Array, VaeConfig};

use crate::latents::{Evidence, LOOKED_AT, spread};
use vae2x_train::{Error, Result};

/// Root mean squares that normalized latents, whose channels have a deviation of 1 over many images, stay within: images of little contrast
/// have half of that, Wan2.1's raw latents more than twice.
const POWERS: [f64; 2] = [0.2, 1.6];
/// Ends of the names of a pair's clean tensors.
const CLEAN: &str = ".clean";
/// Values below which statistics are not worth an error: those of an image of 256 pixels.
const ENOUGH: usize = 16 * 32 * 32;

/// Clean and degraded, normalized.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// `[C, h, w]`
    pub clean: Array,
    /// `[C, h, w]`
    pub degraded: Array,
    /// Flow time in [0, 1].
    pub time: f64,
}

/// Anything that has pairs.
pub trait Pairs {
    /// How many.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One of them, the same each time.
    ///
    /// # Errors
    /// If it cannot be read.
    fn pair(&self, index: usize) -> Result<Pair>;

    /// The number, from 0 on, of the latent that a pair is of: its pairs, and the frames of a clip, are alike.
    fn latent(&self, index: usize) -> usize {
        index
    }
}

impl Pairs for Vec<Pair> {
    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn pair(&self, index: usize) -> Result<Pair> {
        Ok(self[index].clone())
    }
}

/// A frame of a clip, or an image.
#[derive(Debug)]
struct Item {
    file: usize,
    /// Shared by the frames of a clip, of which a small file may have many.
    name: Arc<str>,
    frame: usize,
    latent: usize,
}

/// The pairs of a folder; latents are read when they are asked for.
#[derive(Debug)]
pub struct PairFiles {
    paths: Vec<PathBuf>,
    items: Vec<Item>,
}

impl PairFiles {
    /// Opens all `.safetensors` files of a folder, in the order of their names.
    ///
    /// # Errors
    /// [`Error::Data`] if there are no pairs; [`Error::Core`] for files that cannot be read, or a clean latent whose degraded one or
    /// time is missing or of another shape.
    pub fn open(folder: &Path) -> Result<Self> {
        let paths = Self::files_in(folder)?;
        let mut items = Vec::new();
        let mut latents = HashMap::new();
        for (file, path) in paths.iter().enumerate() {
            let tensors = TensorFile::open(path)?;
            for name in names(&tensors) {
                // Draws of a latent may lie in several files; other names may come again in each.
                let key = name
                    .rsplit_once('#')
                    .map_or((name.to_string(), file), |(of, _)| (of.into(), usize::MAX));
                let next = latents.len();
                let latent = *latents.entry(key).or_insert(next);
                let frames = frames(&tensors, name)?;
                let name: Arc<str> = name.into();
                items.extend((0..frames).map(|frame| Item {
                    file,
                    name: name.clone(),
                    frame,
                    latent,
                }));
            }
        }
        match items.is_empty() {
            false => Ok(Self { paths, items }),
            true => Err(Error::Data(format!(
                "{}: no pairs (tensors NAME.clean, NAME.degraded, NAME.t)",
                folder.display()
            ))),
        }
    }

    /// The files of a folder that may have pairs, in the order of their names.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))?;
        let mut paths = entries
            .map(|e| Ok(e?.path()))
            .collect::<std::io::Result<Vec<_>>>()
            .map_err(|e| Error::io(folder, e))?;
        paths.retain(|path| path.extension().is_some_and(|e| e == "safetensors"));
        paths.sort();
        Ok(paths)
    }

    /// Whether a folder has pairs in it, by the first of its files.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn are_in(folder: &Path) -> Result<bool> {
        Ok(match Self::files_in(folder)?.first() {
            Some(path) => names(&TensorFile::open(path)?).next().is_some(),
            None => false,
        })
    }

    /// Checks that pairs can be written into a folder without mixing with others.
    ///
    /// # Errors
    /// [`Error::Run`] if it holds pairs or other tensors already.
    pub fn check_new(folder: &Path) -> Result<()> {
        if folder.is_dir() && !Self::files_in(folder)?.is_empty() {
            let problem = "already holds pairs or other tensors; choose another folder";
            return Err(Error::run(folder, problem));
        }
        Ok(())
    }

    /// The channels of the first pair.
    ///
    /// # Errors
    /// Reading errors.
    pub fn channels(&self) -> Result<usize> {
        Ok(self.pair(0)?.clean.shape()[0])
    }

    /// The files, in the order of their names.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Refuses clean latents that are plainly not normalized: by their power, or because they look like raw ones of Wan2.1. Some are looked at.
    ///
    /// # Errors
    /// [`Error::Data`]; reading errors.
    pub fn refuse_raw(&self) -> Result<()> {
        let wan = VaeConfig::default();
        let mut evidence = Evidence::default();
        let (mut squares, mut count) = (0.0, 0);
        for index in spread(self.len(), LOOKED_AT) {
            let clean = self.pair(index)?.clean;
            squares += clean
                .data()
                .iter()
                .map(|&v| f64::from(v).powi(2))
                .sum::<f64>();
            count += clean.data().len();
            if clean.shape()[0] == wan.z_dim {
                let [c, h, w] = clean.dims("latent")?;
                evidence.add(&clean.reshape([1, c, 1, h, w])?, Space::Normalized, &wan)?;
            }
        }
        let power = (squares / count as f64).sqrt();
        let what = match () {
            () if evidence.is_clear() => "are those of raw latents".to_string(),
            () if count >= ENOUGH && !(POWERS[0]..=POWERS[1]).contains(&power) => {
                format!("(root mean square {power:.2}) are not those of normalized ones, about 1")
            }
            () => return Ok(()),
        };
        let folder = self.paths[0].parent().unwrap_or(Path::new(".")).display();
        Err(Error::Data(format!(
            "{folder}: the statistics of the clean latents {what}; pairs are to be normalized"
        )))
    }
}

/// The names of a file's pairs.
pub(crate) fn names(file: &TensorFile) -> impl Iterator<Item = &str> {
    file.tensors()
        .keys()
        .filter_map(|key| key.strip_suffix(CLEAN))
}

/// How many frames a pair has, after a look at its shapes.
pub(crate) fn frames(file: &TensorFile, name: &str) -> Result<usize> {
    let shape = |part: &str| {
        file.tensors()
            .get(&format!("{name}.{part}"))
            .map(|info| info.shape.as_slice())
    };
    let wrong = |part: &str, expected: String| {
        Error::Core(vae2x_core::Error::Tensor {
            path: file.path().to_path_buf(),
            tensor: format!("{name}.{part}"),
            expected,
            got: shape(part).map_or("no such tensor".into(), |s| format!("{s:?}")),
        })
    };
    let clean = shape("clean").unwrap_or_default();
    if shape("degraded") != Some(clean) {
        return Err(wrong("degraded", format!("shape {clean:?}")));
    }
    if shape("t") != Some(&[1]) {
        return Err(wrong("t", "shape [1]".into()));
    }
    match *clean {
        [c, h, w] if c * h * w > 0 => Ok(1),
        [c, t, h, w] if c * t * h * w > 0 => Ok(t),
        _ => Err(wrong("clean", "a latent [C, h, w] or [C, T, h, w]".into())),
    }
}

/// The flow time of a pair.
pub(crate) fn time(file: &TensorFile, name: &str) -> Result<f32> {
    let name = format!("{name}.t");
    match file.read(&name)?.data() {
        [time] if (0.0..=1.0).contains(time) => Ok(*time),
        values => Err(Error::Data(format!(
            "{}: {name} is {values:?}; expected a time from 0 to 1",
            file.path().display()
        ))),
    }
}

/// The tensor `NAME.PART` of a pair, or a frame of it, all of its values finite.
pub(crate) fn latent(
    file: &TensorFile,
    name: &str,
    part: &str,
    frame: Option<usize>,
) -> Result<Array> {
    let name = format!("{name}.{part}");
    let Some(frame) = frame else {
        return Ok(file.read_finite(&name)?);
    };
    let latent = file.read_frame(&name, frame)?;
    latent
        .require_finite(|| format!("{}: tensor '{name}', frame {frame}", file.path().display()))?;
    Ok(latent)
}

impl Pairs for PairFiles {
    fn len(&self) -> usize {
        self.items.len()
    }

    fn pair(&self, index: usize) -> Result<Pair> {
        let Item {
            file, name, frame, ..
        } = &self.items[index];
        let file = TensorFile::open(&self.paths[*file])?;
        // The file may have changed since it was listed.
        frames(&file, name)?;
        let is_clip = file.tensors()[&format!("{name}.clean")].shape.len() == 4;
        let part = |part: &str| latent(&file, name, part, is_clip.then_some(*frame));
        Ok(Pair {
            clean: part("clean")?,
            degraded: part("degraded")?,
            time: f64::from(time(&file, name)?),
        })
    }

    fn latent(&self, index: usize) -> usize {
        self.items[index].latent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vae2x_core::latent::Normalized;
    use vae2x_core::weights::formula;
    use vae2x_core::weights::write::write_arrays;

    fn ramp(shape: &[usize], scale: f32) -> Array {
        Array::new(
            shape,
            (0..shape.iter().product())
                .map(|i| i as f32 * scale)
                .collect(),
        )
        .unwrap()
    }

    #[test]
    fn images_and_the_frames_of_clips_are_pairs() {
        let folder = tempfile::tempdir().unwrap();
        let t = Array::new([1], vec![0.25]).unwrap();
        let (image, clip) = (ramp(&[2, 3, 4], 1.0), ramp(&[2, 5, 3, 4], 0.5));
        let arrays = [("b.clean", &clip), ("b.degraded", &clip), ("b.t", &t)];
        write_arrays(
            &folder.path().join("1.safetensors"),
            &arrays,
            &Default::default(),
        )
        .unwrap();
        let arrays = [
            ("a.clean", &image),
            ("a.degraded", &ramp(&[2, 3, 4], 2.0)),
            ("a.t", &t),
        ];
        write_arrays(
            &folder.path().join("0.safetensors"),
            &arrays,
            &Default::default(),
        )
        .unwrap();
        let pairs = PairFiles::open(folder.path()).unwrap();
        assert_eq!(pairs.len(), 6);
        let first = pairs.pair(0).unwrap();
        assert_eq!(
            (first.clean, first.degraded.data()[5], first.time),
            (image, 10.0, 0.25)
        );
        let fourth = pairs.pair(3).unwrap().clean;
        assert_eq!(
            (fourth.shape(), fourth.data()[0], fourth.data()[12]),
            (&[2, 3, 4][..], 12.0, 42.0)
        );
    }

    #[test]
    fn draws_and_frames_of_a_latent_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let t = Array::new([1], vec![0.25]).unwrap();
        let (image, clip) = (ramp(&[2, 3, 4], 1.0), ramp(&[2, 2, 3, 4], 0.5));
        let files = [
            ("0", "a#0", &image),
            ("1", "a#1", &image),
            ("2", "b", &clip),
            ("3", "b", &image),
        ];
        for (file, name, latent) in files {
            let names = ["clean", "degraded", "t"].map(|part| format!("{name}.{part}"));
            let arrays = [
                (&names[0][..], latent),
                (&names[1], latent),
                (&names[2], &t),
            ];
            let path = folder.path().join(file).with_extension("safetensors");
            write_arrays(&path, &arrays, &Default::default()).unwrap();
        }
        let pairs = PairFiles::open(folder.path()).unwrap();
        let latents: Vec<usize> = (0..pairs.len()).map(|i| pairs.latent(i)).collect();
        assert_eq!(latents, [0, 0, 1, 1, 2]);
    }

    /// What is wrong with the data.
    #[track_caller]
    fn problem(error: Error) -> String {
        match error {
            Error::Data(problem) => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn latents_that_are_plainly_not_normalized_are_refused() {
        let t = Array::new([1], vec![0.25]).unwrap();
        let said = |channels: usize, of: &dyn Fn(Array) -> Array| {
            let folder = tempfile::tempdir().unwrap();
            for i in 0..4 {
                let values = formula::unit(&format!("clean.{i}"), channels * 4096).collect();
                let latent = of(Array::new([1, channels, 1, 64, 64], values).unwrap());
                let latent = latent.reshape([channels, 64, 64]).unwrap();
                let arrays = [("a.clean", &latent), ("a.degraded", &latent), ("a.t", &t)];
                write_arrays(
                    &folder.path().join(format!("{i}.safetensors")),
                    &arrays,
                    &Default::default(),
                )
                .unwrap();
            }
            PairFiles::open(folder.path())
                .unwrap()
                .refuse_raw()
                .map_or_else(problem, |()| String::new())
        };
        let raw = |x: Array| {
            Normalized::new(x)
                .unwrap()
                .denormalize(&VaeConfig::default())
                .unwrap()
                .array()
                .clone()
        };
        let times = |factor: f32| {
            move |x: Array| {
                Array::new(x.shape(), x.data().iter().map(|v| v * factor).collect()).unwrap()
            }
        };
        assert_eq!(said(16, &|x| x), "");
        assert!(said(16, &raw).contains("raw latents"), "{}", said(16, &raw));
        // Another VAE's, of which only the power is known.
        assert_eq!(said(4, &|x| x), "");
        assert!(
            said(4, &times(4.0)).contains(" 2."),
            "{}",
            said(4, &times(4.0))
        );
        assert!(
            said(4, &times(0.2)).contains(" 0.1"),
            "{}",
            said(4, &times(0.2))
        );
    }

    #[test]
    fn halves_of_pairs_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = |arrays: &[(&str, &Array)]| {
            write_arrays(
                &folder.path().join("0.safetensors"),
                arrays,
                &Default::default(),
            )
            .unwrap();
            PairFiles::open(folder.path())
                .map(|p| p.pair(0))
                .unwrap_or_else(Err)
                .unwrap_err()
        };
        let wrong_tensor = |arrays: &[(&str, &Array)]| match error(arrays) {
            Error::Core(vae2x_core::Error::Tensor { tensor, .. }) => tensor,
            other => panic!("{other:?}"),
        };
        let (x, t) = (ramp(&[2, 3, 4], 1.0), Array::new([1], vec![1.5]).unwrap());
        let none = problem(error(&[("x", &x)]));
        assert!(
            none.contains(&folder.path().display().to_string()),
            "{none}"
        );
        assert_eq!(wrong_tensor(&[("a.clean", &x)]), "a.degraded");
        assert_eq!(wrong_tensor(&[("a.clean", &x), ("a.degraded", &x)]), "a.t");
        let late = problem(error(&[("a.clean", &x), ("a.degraded", &x), ("a.t", &t)]));
        assert!(late.contains("a.t") && late.contains("1.5"), "{late}");
    }
}
