//! Commands that only other builds have: they are recognised, and the error names the cargo feature that brings them.

use crate::usage;

/// Commands behind cargo features: the feature, and whether this build has it.
const OPTIONAL: &[(&str, &str, bool)] = &[
    ("train", "train", cfg!(feature = "train")),
    ("dataset", "train", cfg!(feature = "train")),
    ("export", "train", cfg!(feature = "train")),
    ("degrade", "train", cfg!(feature = "train")),
    ("sdedit", "train", cfg!(feature = "train")),
    ("spectrum", "train", cfg!(feature = "train")),
    ("embed-text", "text", cfg!(feature = "text")),
];

/// Checks that the command of a command line is in this build.
///
/// # Errors
/// An invalid command line, naming the feature.
pub fn check(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> anyhow::Result<()> {
    let named = arguments.into_iter().skip(1).find(|name| name != "help");
    let missing = OPTIONAL
        .iter()
        .find(|(name, _, is_here)| !is_here && named.as_ref().is_some_and(|n| n == *name));
    match missing {
        Some((name, feature, _)) => usage(format!(
            "`{name}` is not in this build; build with `--features {feature}`"
        )),
        None => Ok(()),
    }
}

/// The end of `--help`: the commands that this build lacks.
pub fn help() -> String {
    let missing = OPTIONAL.iter().filter(|(.., is_here)| !is_here);
    let lines: String = missing
        .map(|(name, feature, _)| format!("\n  {name:<11} --features {feature}"))
        .collect();
    match lines.is_empty() {
        true => lines,
        false => format!("Commands that are not in this build:{lines}"),
    }
}
