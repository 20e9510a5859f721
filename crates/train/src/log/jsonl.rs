//! `log.jsonl`: one line of JSON per interval, without gap or repeat whatever happened to the process.
//!
//! A resumed run cuts the file back to its checkpoint: later lines, and the torn last line of a killed process, are written again.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use vae2x_core::files;

use super::line::Line;
use crate::{Error, Result};

/// An open log.
#[derive(Debug)]
pub struct JsonLog {
    path: PathBuf,
    file: File,
}

impl JsonLog {
    /// Opens a log that holds no line beyond `step`, and none at all at 0.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn open(path: &Path, step: u64) -> Result<Self> {
        let fail = |e| Error::io(path, e);
        let kept = match path.metadata() {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Kept::default(),
            _ => Kept::find(path, step)?,
        };
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(fail)?;
        if file.metadata().map_err(fail)?.len() > kept.bytes {
            file.set_len(kept.bytes).map_err(fail)?;
        }
        if kept.is_torn {
            file.write_all(b"\n").map_err(fail)?;
        }
        Ok(Self {
            path: path.to_path_buf(),
            file,
        })
    }

    /// Adds a line.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add(&mut self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_string(line).map_err(|e| Error::io(&self.path, e.into()))?;
        text.push('\n');
        self.file
            .write_all(text.as_bytes())
            .map_err(|e| Error::io(&self.path, e))
    }

    /// Has the lines on disk, whatever happens to the machine: before a checkpoint that comes after them.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|e| Error::io(&self.path, e))
    }
}

/// The beginning of a log that stays.
#[derive(Default)]
struct Kept {
    bytes: u64,
    /// Whether its last line has no end.
    is_torn: bool,
}

impl Kept {
    /// The lines up to `step`, without gap. In bytes: what a power cut leaves at the end need not be text.
    fn find(path: &Path, step: u64) -> Result<Self> {
        /// Of a line; no interval has so many numbers.
        const LONGEST: u64 = 1 << 20;
        let mut reader = BufReader::new(files::open(path)?);
        let (mut kept, mut line) = (Self::default(), Vec::new());
        loop {
            line.clear();
            (&mut reader)
                .take(LONGEST)
                .read_until(b'\n', &mut line)
                .map_err(|e| Error::io(path, e))?;
            match serde_json::from_slice::<Line>(&line) {
                // At step 0 the run begins anew, and nothing of it is kept.
                Ok(known) if known.step <= step && step > 0 => {
                    kept.bytes += line.len() as u64;
                    kept.is_torn = !line.ends_with(b"\n");
                }
                _ => return Ok(kept),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_log_is_cut_back_to_its_checkpoint_and_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        let line = |step| Line {
            step,
            kind: "train".into(),
            note: None,
            values: BTreeMap::from([("l1".into(), 0.1 * step as f64)]),
        };
        let mut log = JsonLog::open(&path, 0).unwrap();
        (1..=5).for_each(|step| log.add(&line(step)).unwrap());
        drop(log);
        let whole = std::fs::read_to_string(&path).unwrap();
        // A line without its end is whole.
        std::fs::write(&path, whole.trim_end()).unwrap();
        drop(JsonLog::open(&path, 5).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
        // Killed while writing, or without power: half a line, and what was never text.
        for torn in [
            &b"{\"step\":6,\"ki"[..],
            b"{\"step\":6,\xFF\xFE",
            b"\0\0\0\0",
        ] {
            std::fs::write(&path, [whole.as_bytes(), torn].concat()).unwrap();
            let mut log = JsonLog::open(&path, 3).unwrap();
            (4..=5).for_each(|step| log.add(&line(step)).unwrap());
            log.sync().unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
        }
        // A run that has no checkpoint yet measures its step 0 again.
        let again = tempfile::tempdir().unwrap();
        let path = again.path().join("log.jsonl");
        std::fs::write(&path, "{\"step\":0,\"kind\":\"eval\",\"psnr\":20.0}\n").unwrap();
        drop(JsonLog::open(&path, 0).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
        let read: Vec<Line> = whole
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        assert_eq!(read[4], line(5));
    }
}
