//! What the page's scripts know about its images and clips, as JSON.

use serde_json::{Value, json};

use super::{Page, Row, Shown, Timeline, data_id};
use vae2x_measure::numbers::{NUMBERS, Number};

impl Page {
    /// The scripts' data.
    pub(super) fn report(&self) -> Value {
        let rows = self.rows.iter().enumerate();
        let rows: Vec<Value> = rows.map(|(i, row)| self.row(i, row)).collect();
        json!({ "names": self.names, "reference": self.reference, "rows": rows })
    }

    fn row(&self, i: usize, row: &Row) -> Value {
        let columns = row.pictures.iter().enumerate();
        let pictures: Vec<Value> = columns
            .map(|(c, p)| p.as_ref().map_or(Value::Null, |p| self.picture(i, c, p)))
            .collect();
        let mut entry = json!({ "name": row.name, "pictures": pictures });
        if let Some(Timeline { numbers, rate }) = &row.timeline {
            entry["timeline"] = json!({ "numbers": numbers, "rate": rate, "charts": charts(row) });
        }
        entry
    }

    /// An image has its type; a clip has those of its frames, whose elements' ids are `data`, a hyphen and the place of the frame.
    fn picture(&self, row: usize, column: usize, shown: &Shown) -> Value {
        let [height, width] = shown.size;
        let types: Vec<&str> = shown.files.iter().map(|file| file.media_type).collect();
        let mut picture = json!({
            "name": self.names[column], "width": width, "height": height, "data": data_id(row, column),
        });
        match &shown.clip {
            None => picture["type"] = json!(types.first()),
            Some(_) => picture["types"] = json!(types),
        }
        picture
    }
}

/// Indices of the numbers that any frame of a row's clips has.
pub(super) fn charted(row: &Row) -> impl Iterator<Item = usize> {
    (0..NUMBERS.len()).filter(|n| {
        let clips = row
            .pictures
            .iter()
            .flatten()
            .filter_map(|p| p.clip.as_ref());
        clips
            .flat_map(|clip| &clip.by_frame)
            .any(|frame| frame[*n].is_some())
    })
}

/// The numbers of the clips frame by frame, in the order of [`charted`].
fn charts(row: &Row) -> Vec<Value> {
    let chart = |n: usize| {
        let columns = row.pictures.iter().enumerate();
        let clips = columns.filter_map(|(i, p)| Some((i, p.as_ref()?.clip.as_ref()?)));
        let lines = clips.filter_map(|(column, clip)| {
            let values: Vec<Option<f64>> = clip.by_frame.iter().map(|frame| frame[n]).collect();
            let has_any = values.iter().any(Option::is_some);
            let values: Vec<Value> = values.into_iter().map(|v| value(v, &NUMBERS[n])).collect();
            has_any.then(|| json!({ "column": column, "values": values }))
        });
        json!({ "digits": NUMBERS[n].digits, "lines": lines.collect::<Vec<_>>() })
    };
    charted(row).map(chart).collect()
}

/// With as many digits as are shown. JSON has no infinity.
fn value(value: Option<f64>, number: &Number) -> Value {
    match value {
        Some(v) if v.is_infinite() => json!("∞"),
        Some(v) => {
            let places = 10f64.powi(number.digits as i32);
            json!((v * places).round() / places)
        }
        None => Value::Null,
    }
}
