//! TensorBoard's event files: records of `length, checksum, data, checksum`, the data being a protocol buffer.
//!
//! Formats: <https://github.com/tensorflow/tensorflow/blob/v2.18.0/tensorflow/core/lib/io/record_writer.h> and
//! <https://github.com/tensorflow/tensorboard/blob/2.18.0/tensorboard/compat/proto/event.proto>. Scalars and images are written. A resumed run
//! begins a new file with a session start at the first step that is still to come, which makes TensorBoard drop what earlier files hold from
//! that step on.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::line::Line;
use crate::{Error, Result};

/// Added to rotated checksums, as the format has it.
const MASK: u32 = 0xA282_EAD8;

/// An open event file.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Begins a file in `folder` for the steps after `step`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn create(folder: &Path, step: u64) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        let time = now();
        let path = folder.join(format!(
            "events.out.tfevents.{:010}.vae2x.{}",
            time as u64,
            std::process::id()
        ));
        let mut file = Self {
            file: File::create(&path).map_err(|e| Error::io(&path, e))?,
            path,
        };
        // Field 3: the version of the format.
        file.event(time, 0, &bytes_field(3, b"brain.Event:2"))?;
        // Field 7: a session log, whose field 1 means that the session starts.
        const START: u64 = 1;
        // Nothing is kept of a run without steps, not even what was measured before them.
        let first = if step == 0 { 0 } else { step + 1 };
        file.event(time, first, &bytes_field(7, &varint_field(1, START)))?;
        Ok(file)
    }

    /// Adds an image under a name, as a PNG file's bytes.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add_image(&mut self, name: &str, step: u64, size: [usize; 2], png: &[u8]) -> Result<()> {
        /// Samples of a pixel: red, green, blue.
        const SAMPLES: u64 = 3;
        let [height, width] = size.map(|n| n as u64);
        // <https://github.com/tensorflow/tensorboard/blob/2.18.0/tensorboard/compat/proto/summary.proto>: Summary.Image is field 4 of a value.
        let image = [
            varint_field(1, height),
            varint_field(2, width),
            varint_field(3, SAMPLES),
            bytes_field(4, png),
        ];
        let value = [
            bytes_field(1, name.as_bytes()),
            bytes_field(4, &image.concat()),
        ];
        let summary = bytes_field(1, &value.concat());
        self.event(now(), step, &bytes_field(5, &summary))
    }

    /// Adds a line's numbers, called `kind/name`.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn add(&mut self, line: &Line) -> Result<()> {
        let value = |(name, value): (&String, &f64)| {
            let tag = bytes_field(1, format!("{}/{name}", line.kind).as_bytes());
            // Field 2, 32 bits.
            let number = [&[2 << 3 | 5][..], &(*value as f32).to_le_bytes()].concat();
            bytes_field(1, &[tag, number].concat())
        };
        let summary: Vec<u8> = line.values.iter().flat_map(value).collect();
        self.event(now(), line.step, &bytes_field(5, &summary))
    }

    fn event(&mut self, time: f64, step: u64, what: &[u8]) -> Result<()> {
        // Field 1, 64 bits; field 2, a varint.
        let event = [
            &[1 << 3 | 1][..],
            &time.to_le_bytes(),
            &varint_field(2, step),
            what,
        ]
        .concat();
        self.file
            .write_all(&record(&event))
            .map_err(|e| Error::io(&self.path, e))
    }
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |d| d.as_secs_f64())
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &checksum(&length), data, &checksum(data)].concat()
}

fn checksum(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data)
        .rotate_right(15)
        .wrapping_add(MASK)
        .to_le_bytes()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn varint_field(field: u8, value: u64) -> Vec<u8> {
    [vec![field << 3], varint(value)].concat()
}

fn bytes_field(field: u8, data: &[u8]) -> Vec<u8> {
    [
        vec![field << 3 | 2],
        varint(data.len() as u64),
        data.to_vec(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that tensorboard 2.20's own writer gives for the same event.
    #[test]
    fn records_are_tensorboards() {
        let event = [
            &[9][..],
            &1.5f64.to_le_bytes(),
            &varint_field(2, 300),
            &bytes_field(3, b"brain.Event:2"),
        ]
        .concat();
        let hex: String = record(&event).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, RECORD);
    }

    const RECORD: &str =
        "1b000000000000001a0d9e1309000000000000f83f10ac021a0d627261696e2e4576656e743a320a8dc5e4";

    #[test]
    fn a_file_holds_a_start_and_its_lines() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = EventFile::create(folder.path(), 7).unwrap();
        let values = [("l1".to_string(), 0.25), ("lr".to_string(), 1e-4)].into();
        file.add(&Line {
            step: 8,
            kind: "train".into(),
            note: None,
            values,
        })
        .unwrap();
        file.add_image("samples/photos", 8, [2, 300], b"PNG")
            .unwrap();
        let bytes = std::fs::read(&file.path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        // Steps up to 7 are kept: the session starts at step 8, which is the varint before field 7.
        let start = [&[2 << 3, 8][..], &bytes_field(7, &varint_field(1, 1))].concat();
        assert!(bytes.windows(start.len()).any(|part| part == start));
        assert!(
            text.contains("brain.Event:2")
                && text.contains("train/l1")
                && text.contains("train/lr")
        );
        // Height, width as a varint of two bytes, samples, the file.
        let image = [
            &[1 << 3, 2, 2 << 3, 0xAC, 2, 3 << 3, 3][..],
            &bytes_field(4, b"PNG"),
        ]
        .concat();
        let value = [bytes_field(1, b"samples/photos"), bytes_field(4, &image)].concat();
        assert!(bytes.windows(value.len()).any(|part| part == value));
    }
}
