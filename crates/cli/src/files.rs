//! Paths of a command: where results go, and which files must not be overwritten.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::Context;
use vae2x_core::Error;
use vae2x_core::temp::TempFile;
use vae2x_core::weights::Layout;
use vae2x_media::names::distinct_names;

use crate::usage;

/// Whether an output path stands for a folder: it is one, has no extension, or ends in a slash.
pub fn is_folder(path: &Path) -> bool {
    let last = path.as_os_str().as_encoded_bytes().last();
    let ends_in_separator = last.is_some_and(|&b| std::path::is_separator(b.into()));
    path.is_dir() || path.extension().is_none() || ends_in_separator
}

/// A file for each input: the output itself for a single input, or `NAME.extension` in the output folder, which is created.
///
/// # Errors
/// An invalid command line for several inputs into one file; if the folder cannot be created.
pub fn targets<'a>(
    output: &Path,
    inputs: &[PathBuf],
    extension: impl Fn(&Path) -> &'a str,
) -> anyhow::Result<Vec<PathBuf>> {
    if is_folder(output) {
        return in_folder(output, inputs, extension);
    }
    match inputs.len() {
        0 | 1 => Ok(vec![output.to_path_buf()]),
        n => usage(format!(
            "{}: one file cannot hold the results of {n} inputs; give a folder",
            output.display()
        )),
    }
}

fn in_folder<'a>(
    folder: &Path,
    inputs: &[PathBuf],
    extension: impl Fn(&Path) -> &'a str,
) -> anyhow::Result<Vec<PathBuf>> {
    make_folder(folder)?;
    let names = distinct_names(inputs, &extension);
    let target = |(name, input): (String, &PathBuf)| {
        let extension = extension(input);
        folder.join(format!("{name}.{extension}"))
    };
    Ok(names.into_iter().zip(inputs).map(target).collect())
}

/// Creates a folder for outputs, and checks that files can be created in it.
///
/// # Errors
/// The system's error, with the path.
pub fn make_folder(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    match TempFile::create(&folder.join("probe")) {
        Err(Error::Io { source, .. }) => Err(Error::io(folder, source).into()),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(()),
    }
}

/// Refuses outputs that would replace an input or each other, and a file for timings that cannot be written.
///
/// # Errors
/// Naming the file.
pub fn check_files(
    inputs: &[PathBuf],
    vae: &str,
    outputs: &[PathBuf],
    timings: Option<&Path>,
) -> anyhow::Result<()> {
    let outputs = outputs.iter().map(PathBuf::as_path).chain(timings);
    let inputs = inputs.iter().map(PathBuf::as_path);
    check_distinct(inputs.chain([Path::new(vae)]), &outputs.collect::<Vec<_>>())?;
    timings.map_or(Ok(()), check_writable)
}

/// Refuses a name that does not fit a layout.
///
/// # Errors
/// An invalid command line.
pub fn check_weights_name(output: &Path, layout: Layout) -> anyhow::Result<()> {
    let extension = output.extension();
    let is_safetensors = extension.is_some_and(|e| e.eq_ignore_ascii_case("safetensors"));
    match is_safetensors || layout == Layout::Diffusers {
        true => Ok(()),
        false => usage(format!(
            "{}: expected a .safetensors file for the {layout} layout",
            output.display()
        )),
    }
}

/// Checks, before any work, that a file can be created at `path`.
///
/// # Errors
/// The system's error, with the path.
pub fn check_writable(path: &Path) -> anyhow::Result<()> {
    drop(TempFile::create(path)?);
    Ok(())
}

/// Checks, before any work, that a file may be replaced if it exists.
///
/// # Errors
/// As [`check_writable`].
pub fn check_replaceable(path: &Path) -> anyhow::Result<()> {
    match path.symlink_metadata() {
        Ok(_) => check_writable(path),
        Err(_) => Ok(()),
    }
}

/// Refuses a command line that would overwrite one of its inputs, or write two outputs to one file.
///
/// # Errors
/// An invalid command line, naming the file.
pub fn check_distinct<'a>(
    inputs: impl Iterator<Item = &'a Path>,
    outputs: &[&Path],
) -> anyhow::Result<()> {
    let inputs: HashSet<PathBuf> = inputs.filter_map(|path| path.canonicalize().ok()).collect();
    let mut written = HashSet::new();
    for path in outputs
        .iter()
        .filter_map(|path| resolved(path))
        .filter(|path| !path.is_dir())
    {
        // Nothing in a folder of weights is overwritten.
        let is_in_input = || path.parent().is_some_and(|at| inputs.contains(at)) && path.exists();
        if inputs.contains(&path) || is_in_input() {
            return usage(format!(
                "{}: the output would overwrite an input",
                path.display()
            ));
        }
        if written.contains(&path) {
            return usage(format!(
                "{}: two outputs would have this name",
                path.display()
            ));
        }
        written.insert(path);
    }
    Ok(())
}

/// A path without links and dots, also of a file that does not exist yet.
fn resolved(path: &Path) -> Option<PathBuf> {
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    path.canonicalize()
        .ok()
        .or_else(|| Some(folder.canonicalize().ok()?.join(path.file_name()?)))
}

/// Runs `work`; if it fails after making the folder `path`, removes the folder again unless something is in it.
///
/// # Errors
/// Those of `work`.
pub fn keep_or_remove<T>(
    path: &Path,
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let is_new = !path.exists();
    work().inspect_err(|_| {
        if is_new && path.is_dir() {
            // Fails, as it should, if finished images are in it.
            let _ = std::fs::remove_dir(path);
        }
    })
}
