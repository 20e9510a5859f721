//! `vae2x metrics`: how far images are from their references, as a table or JSON.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};
use vae2x_compare::sides::{self, Row, Side};
use vae2x_core::Array;
use vae2x_measure::numbers::{Distance, NUMBERS, Number, Of, Subject, at_size, mean};
use vae2x_measure::speckle::scale_to;
use vae2x_media::picture::read_image;
use vae2x_media::pixels::picture_size;

use super::lpips::lpips;
use super::measuring::{self, row_or_rest};
use super::table::{finite_or_text, number, table};
use crate::args::MetricsArgs;
use crate::run::Failures;
use crate::ui::{self, Meter};
use crate::usage;

/// Runs the command.
///
/// # Errors
/// If the arguments name no images that can be compared, or these cannot be read or do not show the same.
pub fn metrics(args: &MetricsArgs) -> anyhow::Result<()> {
    let sides = sides::parse(&args.sides)?;
    sides.iter().flat_map(|side| &side.notes).for_each(ui::note);
    let Some(reference) = sides.iter().position(|side| side.name == args.reference) else {
        let names: Vec<_> = sides.iter().map(|side| side.name.as_str()).collect();
        return usage(format!(
            "--reference {}: unknown name; available: {}",
            args.reference,
            names.join(", ")
        ));
    };
    let rows = rows_with(&sides, reference)?;
    let network = args.lpips.as_deref().map(lpips).transpose()?;
    let job = Job {
        sides: &sides,
        reference,
        lpips: network.as_ref().map(|d| &**d as &Distance<'_>),
    };
    let mut progress = Meter::new(
        "measuring",
        rows.iter().map(|r| count(r) as f64).sum(),
        "images",
    );
    let mut failed = Failures::among(rows.iter().map(count).sum());
    let mut lines = Vec::new();
    for mut row in rows {
        let is_enough = |row: &Row| row.pictures[reference].is_some() && count(row) > 1;
        let measured = row_or_rest(&mut row, &mut failed, is_enough, |row| job.measure(row));
        lines.extend(measured.into_iter().flatten());
        progress.set(lines.len() as f64);
    }
    progress.finish();
    if lines.is_empty() {
        return failed.result();
    }
    let means: Vec<Mean> = (0..sides.len())
        .map(|side| Mean::of(side, &lines))
        .collect();
    match args.json {
        true => ui::print_json(&job.json(&lines, &means))?,
        false => ui::print_lines(job.text(&lines, &means))?,
    }
    failed.result()
}

/// Rows that have the reference and another image. Prints what is left out.
///
/// # Errors
/// If there are none.
fn rows_with(sides: &[Side], reference: usize) -> anyhow::Result<Vec<Row>> {
    let (rows, others): (Vec<Row>, Vec<Row>) = sides::pair(sides)
        .into_iter()
        .partition(|row| row.pictures[reference].is_some() && count(row) > 1);
    let name = &sides[reference].name;
    if rows.is_empty() {
        bail!("no image of '{name}' has the same name (without extension) in another");
    }
    for row in others {
        let why = if row.pictures[reference].is_none() {
            "not in"
        } else {
            "only in"
        };
        ui::note(format!("{}: skipped: {why} '{name}'", row.stem));
    }
    Ok(rows)
}

fn count(row: &Row) -> usize {
    row.pictures.iter().flatten().count()
}

struct Job<'a> {
    sides: &'a [Side],
    reference: usize,
    lpips: Option<&'a Distance<'a>>,
}

/// The measurements of an image.
struct Line {
    side: usize,
    stem: String,
    file: String,
    size: [usize; 2],
    scale: usize,
    /// The reference's size, if the image was brought to it.
    resampled_to: Option<[usize; 2]>,
    /// By [`NUMBERS`].
    values: Vec<Option<f64>>,
}

/// Means over images; none where no image has the number.
struct Mean {
    side: usize,
    pictures: usize,
    values: Vec<Option<f64>>,
}

impl Job<'_> {
    fn measure(&self, row: &Row) -> anyhow::Result<Vec<Line>> {
        let files = row.pictures.iter().flatten();
        measuring::check_memory(files.map(PathBuf::as_path), measuring::Working::Numbers)?;
        let mut pictures = Vec::new();
        for (side, path) in row.pictures.iter().enumerate() {
            if let Some(path) = path {
                pictures.push((side, path, read(path)?));
            }
        }
        let sizes = pictures
            .iter()
            .map(|(.., p)| picture_size(p))
            .collect::<Result<Vec<_>, _>>()?;
        let base = sizes.iter().copied().min().context("a row has pictures")?;
        let reference = pictures.iter().find(|(side, ..)| *side == self.reference);
        let (_, reference_path, reference) = reference.context("a row has its reference")?;
        let mut lines = Vec::with_capacity(pictures.len());
        for ((side, path, picture), size) in pictures.iter().zip(sizes) {
            let target = picture_size(reference)?;
            let against = || format!("{} against {}", path.display(), reference_path.display());
            let fitted = at_size(picture, target).with_context(against)?;
            let pair = (*side != self.reference).then_some((&*fitted, reference));
            let subject = Subject {
                picture,
                scale: scale_to(size, base),
                pair,
                lpips: self.lpips,
            };
            let values = NUMBERS
                .iter()
                .map(|number| number.measure(&subject))
                .collect::<Result<_, _>>();
            let resampled_to = (size != target).then_some(target);
            if let Some([h, w]) = resampled_to {
                ui::note(format!(
                    "{}: resampled from {}x{} to {w}x{h}",
                    path.display(),
                    size[1],
                    size[0]
                ));
            }
            lines.push(Line {
                side: *side,
                stem: row.stem.clone(),
                file: path.display().to_string(),
                size,
                scale: subject.scale,
                resampled_to,
                values: values.with_context(against)?,
            });
        }
        Ok(lines)
    }

    /// Columns that this job can fill.
    fn columns(&self) -> impl Iterator<Item = (usize, &'static Number)> {
        let has_network = self.lpips.is_some();
        NUMBERS
            .iter()
            .enumerate()
            .filter(move |(_, number)| has_network || !matches!(number.of, Of::Network))
    }

    fn text(&self, lines: &[Line], means: &[Mean]) -> Vec<String> {
        let heading = |number: &Number| {
            format!("{} {}", number.name, number.unit)
                .trim_end()
                .to_owned()
        };
        let headings = self.columns().map(|(_, number)| heading(number));
        let cells = |words: [&str; 2], values: &[Option<f64>]| {
            let numbers = self.columns().map(|(i, n)| number(values[i], n.digits));
            words
                .map(String::from)
                .into_iter()
                .chain(numbers)
                .collect::<Vec<_>>()
        };
        let mut rows = vec![
            ["picture", "name"]
                .map(String::from)
                .into_iter()
                .chain(headings)
                .collect::<Vec<_>>(),
        ];
        rows.extend(
            lines
                .iter()
                .map(|line| cells([&line.stem, &self.sides[line.side].name], &line.values)),
        );
        if lines.iter().any(|line| line.stem != lines[0].stem) {
            rows.extend(
                means
                    .iter()
                    .map(|mean| cells(["mean", &self.sides[mean.side].name], &mean.values)),
            );
        }
        table(&rows, 2)
    }

    fn json(&self, lines: &[Line], means: &[Mean]) -> Value {
        let values = |mut entry: Map<String, Value>, values: &[Option<f64>]| {
            entry.extend(
                self.columns()
                    .map(|(i, number)| (number.key.to_owned(), finite_or_text(values[i]))),
            );
            Value::Object(entry)
        };
        let line = |line: &Line| {
            let entry = json!({
                "picture": line.stem, "name": self.sides[line.side].name, "file": line.file,
                "size": line.size, "scale": line.scale, "resampled_to": line.resampled_to,
            });
            values(entry.as_object().cloned().unwrap_or_default(), &line.values)
        };
        let mean = |mean: &Mean| {
            let entry = json!({"name": self.sides[mean.side].name, "pictures": mean.pictures});
            values(entry.as_object().cloned().unwrap_or_default(), &mean.values)
        };
        json!({
            "reference": self.sides[self.reference].name,
            "pictures": lines.iter().map(line).collect::<Vec<_>>(),
            "means": means.iter().map(mean).collect::<Vec<_>>(),
        })
    }
}

impl Mean {
    fn of(side: usize, lines: &[Line]) -> Self {
        let own: Vec<&Line> = lines.iter().filter(|line| line.side == side).collect();
        let mean_of = |i: usize| mean(own.iter().filter_map(|line| line.values[i]));
        Self {
            side,
            pictures: own.len(),
            values: (0..NUMBERS.len()).map(mean_of).collect(),
        }
    }
}

fn read(path: &Path) -> anyhow::Result<Array> {
    let picture = read_image(path)?;
    picture.notes.iter().for_each(ui::note);
    Ok(picture.pixels)
}
