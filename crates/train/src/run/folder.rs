//! A run's folder and the configuration in it.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use vae2x_core::{files, temp};

use crate::{Error, Result};

/// The file of a run folder that holds its configuration.
pub const CONFIG_FILE: &str = "config.toml";

/// Bytes of the longest configuration.
const LARGEST: usize = 1 << 20;

/// Checks that a new run may begin in a folder.
///
/// # Errors
/// [`Error::Run`] if the folder already holds a run.
pub fn check_new(folder: &Path) -> Result<()> {
    if folder.join(CONFIG_FILE).exists() {
        return Err(Error::run(
            folder,
            "already holds a run; continue it with --resume, or choose another folder",
        ));
    }
    Ok(())
}

/// Starts a run's folder with its configuration.
///
/// # Errors
/// [`Error::Run`] if the folder already holds a run; writing errors.
pub fn create(folder: &Path, config: &impl Serialize) -> Result<()> {
    check_new(folder)?;
    write_config(folder, config)
}

/// Writes a run's configuration, making the folder if need be. One that is there is replaced.
///
/// # Errors
/// Writing errors; [`Error::Config`] for values that TOML cannot hold.
pub fn write_config(folder: &Path, config: &impl Serialize) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    let text = to_toml(config)?;
    Ok(temp::write_bytes(
        &folder.join(CONFIG_FILE),
        text.as_bytes(),
    )?)
}

/// A configuration as the text that [`parse_config`] reads.
///
/// # Errors
/// [`Error::Config`] for values that TOML cannot hold, such as integers above 2^63.
pub fn to_toml(config: &impl Serialize) -> Result<String> {
    toml::to_string(config).map_err(|e| Error::Config(e.to_string()))
}

/// Reads a configuration file, applies `key=value` overrides, and has it checked by `validate`.
///
/// # Errors
/// [`Error::Config`] naming the file, the key and what was expected.
pub fn open_config<C: DeserializeOwned>(
    path: &Path,
    overrides: &[String],
    validate: impl Fn(&C) -> Result<()>,
) -> Result<C> {
    let text = files::read_text(path, LARGEST as u64)?;
    parse_config(&text, overrides, validate).map_err(|e| match e {
        Error::Config(problem) => Error::Config(format!("{}: {problem}", path.display())),
        other => other,
    })
}

/// As [`open_config`], from text.
///
/// # Errors
/// As [`open_config`].
pub fn parse_config<C: DeserializeOwned>(
    text: &str,
    overrides: &[String],
    validate: impl Fn(&C) -> Result<()>,
) -> Result<C> {
    check(
        text.len() <= LARGEST,
        &format!("{} bytes; expected at most {LARGEST}", text.len()),
    )?;
    let config: C = if overrides.is_empty() {
        toml::from_str(text).map_err(|e| toml_error(text, &e, true))?
    } else {
        let parsed = text.parse::<toml::Table>();
        let mut table = parsed.map_err(|e| toml_error(text, &e, true))?;
        for change in overrides {
            set(&mut table, change)?;
        }
        // Read again as text, so that errors have the line of the key; its number is not the file's.
        let text = to_toml(&table)?;
        toml::from_str(&text).map_err(|e| toml_error(&text, &e, false))?
    };
    validate(&config)?;
    Ok(config)
}

/// What is wrong with `text`, in one line: the place, the line as it stands there, the problem.
fn toml_error(text: &str, error: &toml::de::Error, has_place: bool) -> Error {
    /// Longer lines are cut.
    const SHOWN: usize = 80;
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let before = &text.as_bytes()[..start];
    let line_start = before
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |at| at + 1);
    let number = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
    let column = start - line_start + 1;
    let line: String = text[line_start..]
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(SHOWN)
        .collect();
    let place = match has_place {
        true => format!("line {number}, column {column}: "),
        false => String::new(),
    };
    let problem = error.message().trim_end();
    Error::Config(format!("{place}`{}`: {problem}", line.trim()))
}

/// Sets `a.b=value`; the value is TOML, or text that needs no quotes.
fn set(table: &mut toml::Table, change: &str) -> Result<()> {
    let bad = || {
        Error::Config(format!(
            "--set {change}: expected key=value, such as train.lr=1e-4"
        ))
    };
    let (key, value) = change.split_once('=').ok_or_else(bad)?;
    let mut path: Vec<&str> = key.trim().split('.').collect();
    let last = path.pop().filter(|k| !k.is_empty()).ok_or_else(bad)?;
    let mut place = table;
    for part in path {
        let entry = place
            .entry(part)
            .or_insert_with(|| toml::Table::new().into());
        place = entry
            .as_table_mut()
            .ok_or_else(|| Error::Config(format!("--set {change}: {part} is not a table")))?;
    }
    let value = format!("v = {value}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut t| t.remove("v"));
    let text = || toml::Value::String(change[key.len() + 1..].to_string());
    place.insert(last.into(), value.unwrap_or_else(text));
    Ok(())
}

/// Checks sizes and counts against the most that they may be: key, value, most.
///
/// # Errors
/// [`Error::Config`] with the first that is too large.
pub fn at_most(limits: &[(&str, usize, usize)]) -> Result<()> {
    match limits.iter().find(|(_, value, most)| value > most) {
        Some((key, value, most)) => Err(Error::Config(format!(
            "{key} is {value}; expected at most {most}"
        ))),
        None => Ok(()),
    }
}

/// An [`Error::Config`] with `problem`, unless a condition holds.
///
/// # Errors
/// [`Error::Config`].
pub fn check(holds: bool, problem: &str) -> Result<()> {
    if holds {
        Ok(())
    } else {
        Err(Error::Config(problem.into()))
    }
}
