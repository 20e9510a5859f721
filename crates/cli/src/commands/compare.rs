//! `vae2x compare`: images and clips, or folders of them, in one HTML page.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::Context;
use vae2x_compare::clips::{ClipOptions, Clips};
use vae2x_compare::page::{self, Input, Page, RowOptions, Spool, clip_row, row};
use vae2x_compare::sides::{self, Row, Side};
use vae2x_media::frames::Folders;

use super::measuring::{self, Opened, open_rows, row_or_rest};
use crate::args::CompareArgs;
use crate::files::{check_distinct, check_writable};
use crate::run::Failures;
use crate::ui::{self, Meter};
use crate::usage;

/// Runs the command.
///
/// # Errors
/// If the arguments name nothing that can be compared, if some of it cannot be read, or if the page cannot be written.
pub fn compare(args: &CompareArgs) -> anyhow::Result<()> {
    let sides = match milestones(&args.sides)? {
        Some(sides) => sides::parse(&sides, Folders::OfImages)?,
        None => named_sides(&args.sides, args.clips.folders())?,
    };
    sides.iter().flat_map(|side| &side.notes).for_each(ui::note);
    let reference = reference(&sides, args.reference.as_deref())?;
    let rows = rows_in_common(&sides)?;
    check_distinct(files(&rows), &[&args.output])?;
    check_writable(&args.output)?;
    let names: Vec<String> = sides.into_iter().map(|side| side.name).collect();
    let options = RowOptions {
        reference,
        crop: args.crop,
        skip_numbers: args.no_numbers,
        rate: args.fps,
    };
    let mut failed = Failures::among(files(&rows).count());
    let rows = open_rows(rows, &ClipOptions::from(&args.clips), &mut failed);
    let rows = read_rows(rows, args, &options, &mut failed)?;
    if rows.is_empty() {
        return failed.result();
    }
    for (row, shown) in rows
        .iter()
        .flat_map(|row| row.pictures.iter().flatten().map(move |shown| (row, shown)))
    {
        shown
            .notes
            .iter()
            .for_each(|note| ui::note(format!("{}: {}: {note}", row.name, shown.file)));
    }
    let page = Page {
        title: names.join(" · "),
        names,
        reference,
        rows,
    };
    let length = page.write(&args.output)?;
    ui::print(format!(
        "{}: {} row{}, {}, {}B",
        args.output.display(),
        page.rows.len(),
        if page.rows.len() == 1 { "" } else { "s" },
        counts(&page.rows),
        ui::human(length as f64)
    ))?;
    failed.result()
}

/// Reads and measures rows. Those that fail are noted.
///
/// # Errors
/// If the folder of the page cannot be written.
fn read_rows(
    rows: Vec<Opened>,
    args: &CompareArgs,
    options: &RowOptions,
    failed: &mut Failures,
) -> anyhow::Result<Vec<page::Row>> {
    let images: usize = rows.iter().map(Opened::images).sum();
    let mut progress = Meter::new("reading", images as f64, "images");
    let mut done = 0;
    let mut tick = |images: usize| {
        done += images;
        progress.set(done as f64);
    };
    let spool = Spool::beside(&args.output, args.page_limit)?;
    let read_images = |paths: &Row, tick: &mut dyn FnMut(usize)| -> anyhow::Result<_> {
        let files = paths.pictures.iter().flatten();
        measuring::check_memory(files.map(PathBuf::as_path), measuring::Working::Numbers)?;
        let inputs: Vec<_> = paths
            .pictures
            .iter()
            .map(|path| path.clone().map(Input::File))
            .collect();
        Ok(row(&paths.stem, &inputs, options, &mut || tick(1))?)
    };
    let read_clips = |clips: Clips, tick: &mut dyn FnMut(usize)| -> anyhow::Result<_> {
        let sides = clips.clips().iter().flatten().count();
        Ok(clip_row(clips, options, &spool, &mut || tick(sides))?)
    };
    let is_enough = |row: &Row| row.pictures.iter().flatten().count() > 1;
    let rows = rows
        .into_iter()
        .filter_map(|row| match row {
            Opened::Images(mut row) => row_or_rest(&mut row, failed, is_enough, |row| {
                read_images(row, &mut tick)
            }),
            Opened::Clips(clips) => {
                let name = clips.name().to_owned();
                failed.note(&name, read_clips(clips, &mut tick))
            }
        })
        .collect();
    progress.finish();
    Ok(rows)
}

/// How many images and clips there are, in words.
fn counts(rows: &[page::Row]) -> String {
    let all = || rows.iter().flat_map(|row| &row.pictures).flatten();
    let clips = all().filter(|shown| shown.clip.is_some()).count();
    let images = all().count() - clips;
    match (images, clips) {
        (images, 0) => format!("{images} images"),
        (0, clips) => format!("{clips} clips"),
        (images, clips) => format!("{images} images, {clips} clips"),
    }
}

/// The milestones of a training run whose folder is the only argument, as `NAME=DIR`: what they are compared with, then each step.
///
/// # Errors
/// If the run has none, or its folder cannot be read.
fn milestones(arguments: &[String]) -> anyhow::Result<Option<Vec<String>>> {
    /// In a run's folder.
    const IMAGES: &str = "milestones/images";
    /// Before a step's number.
    const STEP: &str = "step-";
    let [run] = arguments else { return Ok(None) };
    let run = Path::new(run);
    if !run.join("config.toml").is_file() {
        return Ok(None);
    }
    let folder = run.join(IMAGES);
    let entries = std::fs::read_dir(&folder).with_context(|| {
        format!(
            "{}: the run has no images of milestones; it writes them with log.milestone_every above 0 and data.held_out or \
             eval.latents",
            folder.display()
        )
    })?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| folder.display().to_string())?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            names.extend(entry.file_name().into_string());
        }
    }
    // target, then base or start, then steps by number.
    names.sort_by_key(|name| match name.strip_prefix(STEP) {
        Some(number) => (2, number.to_string()),
        None => (usize::from(name != "target"), name.clone()),
    });
    let side = |name: String| {
        let shown = match name.strip_prefix(STEP).map(str::parse::<u64>) {
            Some(Ok(step)) => format!("step {step}"),
            _ => name.clone(),
        };
        format!("{shown}={}", folder.join(name).display())
    };
    let sides: Vec<String> = names.into_iter().map(side).collect();
    anyhow::ensure!(
        sides.len() > 1,
        "{}: expected two milestones or more",
        folder.display()
    );
    Ok(Some(sides))
}

/// Sides by `NAME=FILE|DIR`, or by path alone, whose stem is the name then.
///
/// # Errors
/// An invalid command line for a name that is given twice or a single side; a path without images.
fn named_sides(arguments: &[String], folders: Folders) -> anyhow::Result<Vec<Side>> {
    let named: Vec<String> = arguments
        .iter()
        .map(|argument| with_name(argument))
        .collect();
    let mut names = HashSet::new();
    for argument in &named {
        let name = argument.split('=').next().unwrap_or_default().trim();
        if !names.insert(name) {
            return usage(format!(
                "{argument}: the name '{name}' is given twice; use NAME=PATH to choose another"
            ));
        }
    }
    if named.len() < 2 {
        return usage("give at least two images, clips or folders to compare");
    }
    Ok(sides::parse(&named, folders)?)
}

/// The argument with a name before its path.
fn with_name(argument: &str) -> String {
    let path = Path::new(argument);
    match path.file_stem() {
        // What exists as it stands is a path, with or without an =.
        Some(stem) if !argument.contains('=') || path.exists() => {
            let name = if path.is_dir() {
                path.file_name().unwrap_or(stem)
            } else {
                stem
            };
            format!("{}={argument}", name.to_string_lossy().replace('=', "-"))
        }
        _ => argument.into(),
    }
}

/// The index of the side that the others are measured against.
fn reference(sides: &[Side], name: Option<&str>) -> anyhow::Result<usize> {
    let Some(name) = name else { return Ok(0) };
    match sides.iter().position(|side| side.name == name) {
        Some(index) => Ok(index),
        None => {
            let names: Vec<_> = sides.iter().map(|side| side.name.as_str()).collect();
            usage(format!(
                "--reference {name}: unknown name; available: {}",
                names.join(", ")
            ))
        }
    }
}

/// Rows of at least two images. Prints what is left out and where images are missing.
///
/// # Errors
/// If there are none.
fn rows_in_common(sides: &[Side]) -> anyhow::Result<Vec<Row>> {
    let all = sides::pair(sides);
    let names = |row: &Row, has: bool| -> String {
        let picked = sides
            .iter()
            .zip(&row.pictures)
            .filter(|(_, picture)| picture.is_some() == has);
        picked
            .map(|(side, _)| side.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let (rows, alone): (Vec<Row>, Vec<Row>) = all
        .into_iter()
        .partition(|r| r.pictures.iter().flatten().count() > 1);
    if rows.is_empty() {
        let sides: Vec<_> = sides.iter().map(|side| side.name.as_str()).collect();
        anyhow::bail!(
            "no image or clip of {} has the same name (without extension) in another",
            sides.join(", ")
        );
    }
    alone.iter().for_each(|r| {
        ui::note(format!(
            "{}: skipped: only {} has it",
            r.stem,
            names(r, true)
        ))
    });
    for row in rows.iter().filter(|row| row.pictures.contains(&None)) {
        ui::note(format!("{}: missing in {}", row.stem, names(row, false)));
    }
    Ok(rows)
}

fn files(rows: &[Row]) -> impl Iterator<Item = &Path> {
    rows.iter()
        .flat_map(|row| row.pictures.iter().flatten().map(|path| path.as_path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stems_unless_given() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(at("a=b.png"), []).unwrap();
        std::fs::create_dir(at("run.2")).unwrap();
        assert_eq!(with_name("x/photo.png"), "photo=x/photo.png");
        assert_eq!(with_name("2x=x/photo.png"), "2x=x/photo.png");
        assert_eq!(with_name(&at("a=b.png")), format!("a-b={}", at("a=b.png")));
        assert_eq!(with_name(&at("run.2")), format!("run.2={}", at("run.2")));
        assert_eq!(with_name(".."), "..");
    }
}
