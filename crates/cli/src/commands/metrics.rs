//! `vae2x metrics`: how far images and clips are from their references, as a table or JSON.
//!
//! Clips are read in step, one frame of each at a time; of a clip there are the means over its frames and the worst frames.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};
use vae2x_compare::clips::{ClipOptions, Clips};
use vae2x_compare::page::Input;
use vae2x_compare::sides::{self, Row, Side};
use vae2x_core::Array;
use vae2x_measure::clip::{Worst, summary};
use vae2x_measure::numbers::{Distance, NUMBERS, Number, Of, Subject, at_size, mean};
use vae2x_measure::speckle::scale_to;
use vae2x_media::picture::read_image;
use vae2x_media::pixels::picture_size;

use super::lpips::lpips;
use super::measuring::{self, Opened, open_rows, row_or_rest};
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
    let sides = sides::parse(&args.sides, args.clips.folders())?;
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
    let mut failed = Failures::among(rows.iter().map(count).sum());
    let rows = open_rows(rows, &ClipOptions::from(&args.clips), &mut failed);
    let images: usize = rows.iter().map(Opened::images).sum();
    let mut progress = Meter::new("measuring", images as f64, "images");
    let (mut lines, mut done) = (Vec::new(), 0);
    for row in rows {
        let before = done;
        done += row.images();
        let measured = match row {
            Opened::Images(mut row) => {
                let is_enough = |row: &Row| row.pictures[reference].is_some() && count(row) > 1;
                row_or_rest(&mut row, &mut failed, is_enough, |row| job.measure(row))
            }
            Opened::Clips(clips) => {
                let name = clips.name().to_owned();
                let mut tick = |images| progress.set((before + images) as f64);
                failed.note(&name, job.measure_clips(clips, &mut tick))
            }
        };
        lines.extend(measured.into_iter().flatten());
        progress.set(done as f64);
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
        bail!("no image or clip of '{name}' has the same name (without extension) in another");
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

/// The measurements of an image or a clip.
struct Line {
    side: usize,
    stem: String,
    file: String,
    size: [usize; 2],
    scale: usize,
    /// The reference's size, if the image was brought to it.
    resampled_to: Option<[usize; 2]>,
    /// By [`NUMBERS`]; of clips, means over frames.
    values: Vec<Option<f64>>,
    clip: Option<OfClip>,
}

/// The frames of a clip.
#[derive(Default)]
struct OfClip {
    /// Their numbers in the file, from 0.
    numbers: Vec<usize>,
    /// For each frame, by [`NUMBERS`].
    by_frame: Vec<Vec<Option<f64>>>,
    /// By [`NUMBERS`].
    worst: Vec<Option<Worst>>,
}

/// Means over images; none where no image has the number.
struct Mean {
    side: usize,
    pictures: usize,
    values: Vec<Option<f64>>,
}

/// An image of a row, or a frame of one of its clips.
struct Picture {
    side: usize,
    /// The file, or the clip.
    path: PathBuf,
    pixels: Array,
}

impl Job<'_> {
    fn measure(&self, row: &Row) -> anyhow::Result<Vec<Line>> {
        let files = row.pictures.iter().flatten();
        measuring::check_memory(files.map(PathBuf::as_path), measuring::Working::Numbers)?;
        let mut pictures = Vec::new();
        for (side, path) in row.pictures.iter().enumerate() {
            if let Some(path) = path {
                pictures.push(Picture {
                    side,
                    path: path.clone(),
                    pixels: read(path)?,
                });
            }
        }
        let lines = self.lines(&row.stem, &pictures)?;
        lines.iter().for_each(Line::note_resampling);
        Ok(lines)
    }

    /// Measures clips frame by frame; `tick` is called with the number of frames that are done.
    fn measure_clips(
        &self,
        mut clips: Clips,
        tick: &mut dyn FnMut(usize),
    ) -> anyhow::Result<Vec<Line>> {
        let mut lines: Vec<Line> = Vec::new();
        let mut done = 0;
        while let Some(step) = clips.step()? {
            step.notes.iter().for_each(ui::note);
            let mut pictures = Vec::new();
            for (side, (frame, clip)) in step.frames.into_iter().zip(clips.clips()).enumerate() {
                let (Some(frame), Some(clip)) = (frame, clip) else {
                    continue;
                };
                let path = clip.path().to_path_buf();
                let pixels = match frame {
                    Input::File(file) => read(&file)?,
                    Input::Pixels { pixels, .. } => pixels,
                };
                pictures.push(Picture { side, path, pixels });
            }
            let frame = self
                .lines(clips.name(), &pictures)
                .with_context(|| format!("frame {}", step.number))?;
            done += frame.len();
            if lines.is_empty() {
                frame.iter().for_each(Line::note_resampling);
                lines.extend(frame.iter().map(Line::of_clip));
            }
            for (line, frame) in lines.iter_mut().zip(frame) {
                let clip = line.clip.get_or_insert_default();
                clip.numbers.push(step.number);
                clip.by_frame.push(frame.values);
            }
            tick(done);
        }
        lines.iter_mut().for_each(Line::sum_up);
        Ok(lines)
    }

    /// Measures images of one row, of which one is of the reference's side.
    fn lines(&self, stem: &str, pictures: &[Picture]) -> anyhow::Result<Vec<Line>> {
        let sizes = pictures
            .iter()
            .map(|p| picture_size(&p.pixels))
            .collect::<Result<Vec<_>, _>>()?;
        let base = sizes.iter().copied().min().context("a row has pictures")?;
        let reference = pictures.iter().find(|p| p.side == self.reference);
        let reference = reference.context("a row has its reference")?;
        let target = picture_size(&reference.pixels)?;
        let mut lines = Vec::with_capacity(pictures.len());
        for (Picture { side, path, pixels }, size) in pictures.iter().zip(sizes) {
            let against = || format!("{} against {}", path.display(), reference.path.display());
            let fitted = at_size(pixels, target).with_context(against)?;
            let pair = (*side != self.reference).then_some((&*fitted, &reference.pixels));
            let subject = Subject {
                picture: pixels,
                scale: scale_to(size, base),
                pair,
                lpips: self.lpips,
            };
            let values = NUMBERS
                .iter()
                .map(|number| number.measure(&subject))
                .collect::<Result<_, _>>();
            lines.push(Line {
                side: *side,
                stem: stem.to_owned(),
                file: path.display().to_string(),
                size,
                scale: subject.scale,
                resampled_to: (size != target).then_some(target),
                values: values.with_context(against)?,
                clip: None,
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
        for line in lines {
            rows.push(cells(
                [&line.stem, &self.sides[line.side].name],
                &line.values,
            ));
            if let Some(clip) = line.clip.as_ref().filter(|clip| clip.numbers.len() > 1) {
                rows.push(self.worst_cells(clip));
            }
        }
        if lines.iter().any(|line| line.stem != lines[0].stem) {
            rows.extend(
                means
                    .iter()
                    .map(|mean| cells(["mean", &self.sides[mean.side].name], &mean.values)),
            );
        }
        table(&rows, 2)
    }

    /// The worst values of a clip, and the frames that have them.
    fn worst_cells(&self, clip: &OfClip) -> Vec<String> {
        let worst = |(i, number_of): (usize, &Number)| {
            clip.worst[i].map_or_else(String::new, |Worst { at, value }| {
                let value = number(Some(value), number_of.digits);
                format!("{value} (frame {})", clip.numbers[at])
            })
        };
        ["".into(), "  worst".into()]
            .into_iter()
            .chain(self.columns().map(worst))
            .collect()
    }

    /// What JSON has of a clip in addition.
    fn clip_json(&self, clip: &OfClip) -> [(String, Value); 3] {
        let worst = self.columns().filter_map(|(i, number)| {
            let Worst { at, value } = clip.worst[i]?;
            let entry = json!({"frame": clip.numbers[at], "value": finite_or_text(Some(value))});
            Some((number.key.to_owned(), entry))
        });
        let by_frame = self.columns().map(|(i, number)| {
            let values = clip.by_frame.iter().map(|frame| finite_or_text(frame[i]));
            (number.key.to_owned(), values.collect::<Value>())
        });
        [
            ("frames".into(), json!(clip.numbers)),
            ("worst".into(), Value::Object(worst.collect())),
            ("by_frame".into(), Value::Object(by_frame.collect())),
        ]
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
            let mut entry = entry.as_object().cloned().unwrap_or_default();
            if let Some(clip) = &line.clip {
                entry.extend(self.clip_json(clip));
            }
            values(entry, &line.values)
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

impl Line {
    fn note_resampling(&self) {
        if let Some([h, w]) = self.resampled_to {
            let [own_h, own_w] = self.size;
            ui::note(format!(
                "{}: resampled from {own_w}x{own_h} to {w}x{h}",
                self.file
            ));
        }
    }

    /// The line of a clip, of one of its frames, without numbers.
    fn of_clip(&self) -> Self {
        Self {
            stem: self.stem.clone(),
            file: self.file.clone(),
            values: Vec::new(),
            clip: Some(OfClip::default()),
            ..*self
        }
    }

    /// Means and worst frames, from the frames' values.
    fn sum_up(&mut self) {
        let Some(clip) = &mut self.clip else { return };
        for (i, number) in NUMBERS.iter().enumerate() {
            let summary = summary(number, clip.by_frame.iter().map(|frame| frame[i]));
            self.values.push(summary.mean);
            clip.worst.push(summary.worst);
        }
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
