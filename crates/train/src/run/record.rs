//! What a run reports: each line of numbers goes to the screen, to `log.jsonl`, and to TensorBoard where that is asked for.

use std::collections::BTreeMap;
use std::path::Path;

use crate::Result;
use crate::log::{EventFile, JsonLog, Line, Screen};

/// A run's open logs.
pub struct Record<'a> {
    json: Option<JsonLog>,
    events: Option<EventFile>,
    screen: &'a mut dyn Screen,
}

impl<'a> Record<'a> {
    /// Opens the log of a folder, cut back to the lines up to `step`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn open(folder: &Path, step: u64, screen: &'a mut dyn Screen) -> Result<Self> {
        Ok(Self {
            json: Some(JsonLog::open(&folder.join("log.jsonl"), step)?),
            events: None,
            screen,
        })
    }

    /// Writes no file.
    pub fn unwritten(screen: &'a mut dyn Screen) -> Self {
        Self {
            json: None,
            events: None,
            screen,
        }
    }

    /// Also writes an event file for TensorBoard, for the steps after `step`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn with_tensorboard(self, folder: &Path, step: u64) -> Result<Self> {
        Ok(Self {
            events: Some(EventFile::create(&folder.join("tensorboard"), step)?),
            ..self
        })
    }

    /// Adds a line. Numbers that are not finite are left out: JSON cannot hold them.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add(
        &mut self,
        kind: &str,
        step: u64,
        values: impl IntoIterator<Item = (String, f64)>,
    ) -> Result<()> {
        self.add_line(kind, step, values, None)
    }

    /// As [`Self::add`], with a sentence about the numbers.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add_noted(
        &mut self,
        kind: &str,
        step: u64,
        values: impl IntoIterator<Item = (String, f64)>,
        note: String,
    ) -> Result<()> {
        self.add_line(kind, step, values, Some(note))
    }

    fn add_line(
        &mut self,
        kind: &str,
        step: u64,
        values: impl IntoIterator<Item = (String, f64)>,
        note: Option<String>,
    ) -> Result<()> {
        let values: BTreeMap<_, _> = values.into_iter().filter(|(_, v)| v.is_finite()).collect();
        let line = Line {
            step,
            kind: kind.into(),
            note,
            values,
        };
        self.screen.line(&line);
        self.json.as_mut().map_or(Ok(()), |file| file.add(&line))?;
        self.events.as_mut().map_or(Ok(()), |file| file.add(&line))
    }

    /// Adds an image for TensorBoard, as a PNG file's bytes.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn image(&mut self, name: &str, step: u64, size: [usize; 2], png: &[u8]) -> Result<()> {
        let add = |file: &mut EventFile| file.add_image(name, step, size, png);
        self.events.as_mut().map_or(Ok(()), add)
    }

    /// Shows a message on the screen.
    pub fn note(&mut self, text: &str) {
        self.screen.note(text);
    }

    /// Shows how far the run is.
    pub fn step(&mut self, step: u64) {
        self.screen.step(step);
    }

    /// As [`JsonLog::sync`].
    ///
    /// # Errors
    /// If the disk fails.
    pub fn sync(&self) -> Result<()> {
        self.json.as_ref().map_or(Ok(()), JsonLog::sync)
    }
}
