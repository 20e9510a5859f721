//! Names of outputs after their inputs: stems, numbered where several are equal.
//!
//! The names follow from the list of inputs alone, so that a second run over the same list gives
//! the same ones, whatever failed or exists by then.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// A name for each input, such that no two with one extension are equal even if case is ignored:
/// the stem, or `STEM-2`, `STEM-3` and so on for later inputs of the same stem. A number that makes
/// the name of another input is left out.
pub fn distinct_names<'a>(inputs: &[PathBuf], extension: impl Fn(&Path) -> &'a str) -> Vec<String> {
    let stems: Vec<String> = inputs.iter().map(|path| stem(path)).collect();
    let key = |name: &str, path: &Path| format!("{name}.{}", extension(path)).to_lowercase();
    let keys = stems.iter().zip(inputs).map(|(stem, path)| key(stem, path));
    let (stem_keys, mut taken) = (keys.collect::<HashSet<_>>(), HashSet::new());
    let mut next: HashMap<String, usize> = HashMap::new();
    let name = |(stem, path): (String, &PathBuf)| {
        let first = key(&stem, path);
        if taken.insert(first.clone()) {
            return stem;
        }
        let number = next.entry(first).or_insert(2);
        loop {
            let name = format!("{stem}-{number}");
            *number += 1;
            let key = key(&name, path);
            if !stem_keys.contains(&key) && taken.insert(key) {
                return name;
            }
        }
    };
    stems.into_iter().zip(inputs).map(name).collect()
}

/// A file's name without its extension, a folder's whole name, also of `..`.
fn stem(path: &Path) -> String {
    let resolved = match path.file_name() {
        Some(_) => path.to_path_buf(),
        None => path.canonicalize().unwrap_or_default(),
    };
    let name = match resolved.is_dir() {
        true => resolved.file_name(),
        false => resolved.file_stem(),
    };
    name.map_or("frame".into(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(inputs: &[&str]) -> Vec<String> {
        let inputs: Vec<PathBuf> = inputs.iter().map(PathBuf::from).collect();
        distinct_names(&inputs, |_| "png")
    }

    #[test]
    fn equal_stems_are_numbered_around_the_names_of_others() {
        assert_eq!(names(&["a.jpg", "a.png", "b/a.png"]), ["a", "a-2", "a-3"]);
        assert_eq!(
            names(&["a.jpg", "A.png", "Ä.png", "ä.png"]),
            ["a", "A-2", "Ä", "ä-2"]
        );
        let around = names(&["a.jpg", "a.png", "a-2.jpg", "a.bmp", "a-2.png"]);
        assert_eq!(around, ["a", "a-3", "a-2", "a-4", "a-2-2"]);
        assert_eq!(names(&["x/.png", ".."]).len(), 2);
    }

    #[test]
    fn extensions_keep_names_apart() {
        let inputs = ["a.latent", "a.npy", "b/a.npy"].map(PathBuf::from);
        let own = |path: &Path| match path.extension().is_some_and(|e| e == "npy") {
            true => "npy",
            false => "latent",
        };
        assert_eq!(distinct_names(&inputs, own), ["a", "a", "a-2"]);
    }

    #[test]
    fn folders_have_their_whole_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("run.1")).unwrap();
        std::fs::create_dir(at("run.2")).unwrap();
        let inputs = [at("run.1"), at("run.2"), at("run.1/..")];
        let names = distinct_names(&inputs, |_| "latent");
        let own = folder.path().file_name().unwrap().to_string_lossy();
        assert_eq!(names, ["run.1", "run.2", &*own]);
    }
}
