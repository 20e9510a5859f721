//! Inputs by the file or by the folder, and the files that stand for them in an output folder.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::Context;
use vae2x_compare::sides::{self, Side, pictures_at};

use super::{check_distinct, check_writable};
use crate::usage;

/// The inputs with each folder replaced by the pictures in it, in the order of their names; folders inside and hidden files are
/// left out.
///
/// # Errors
/// If one cannot be read, or a folder holds no picture.
pub fn expand(inputs: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    Ok(inputs
        .iter()
        .map(|path| pictures_at(path))
        .collect::<Result<Vec<_>, _>>()?
        .concat())
}

/// Sides by `NAME=IMAGE|DIR`.
///
/// # Errors
/// A wrong command line for an argument without name or path; a path without pictures.
pub fn parse_sides(arguments: &[String]) -> anyhow::Result<Vec<Side>> {
    sides::parse(arguments).or_else(|e| match e {
        vae2x_core::Error::Unsupported(message) => usage(message),
        e => Err(e.into()),
    })
}

/// Whether an output path stands for a folder: it is one, has no extension, or ends in a slash.
pub fn is_folder(path: &Path) -> bool {
    let ends_in_separator = path
        .as_os_str()
        .as_encoded_bytes()
        .last()
        .is_some_and(|&b| std::path::is_separator(b.into()));
    path.is_dir() || path.extension().is_none() || ends_in_separator
}

/// Refuses one file for several inputs.
///
/// # Errors
/// A wrong command line.
pub fn check_single(output: &Path, inputs: &[PathBuf]) -> anyhow::Result<()> {
    match inputs.len() {
        0 | 1 => Ok(()),
        n => usage(format!(
            "{}: one file cannot hold the results of {n} inputs; give a folder",
            output.display()
        )),
    }
}

/// `NAME.extension` in `folder`, which is created, for each input.
///
/// # Errors
/// A wrong command line if two inputs have one name; if the folder cannot be created.
pub fn in_folder<'a>(
    folder: &Path,
    inputs: &[PathBuf],
    extension: impl Fn(&Path) -> &'a str,
) -> anyhow::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let mut taken = HashSet::new();
    let target = |input: &PathBuf| {
        let stem = input.file_stem().unwrap_or_default().to_string_lossy();
        let path = folder.join(format!("{stem}.{}", extension(input)));
        if !taken.insert(path.clone()) {
            return usage(format!(
                "two inputs are named '{stem}'; give them folders of their own"
            ));
        }
        Ok(path)
    };
    inputs.iter().map(target).collect()
}

/// Refuses outputs that cannot be written or would replace an input or each other.
///
/// # Errors
/// Naming the file.
pub fn check_files(
    inputs: &[PathBuf],
    vae: &str,
    outputs: &[PathBuf],
    timings: Option<&Path>,
) -> anyhow::Result<()> {
    let outputs: Vec<&Path> = outputs
        .iter()
        .map(PathBuf::as_path)
        .chain(timings)
        .collect();
    check_distinct(
        inputs.iter().map(PathBuf::as_path).chain([Path::new(vae)]),
        &outputs,
    )?;
    outputs.into_iter().try_for_each(check_writable)
}
