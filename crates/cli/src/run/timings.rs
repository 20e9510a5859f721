//! `--timings`: how long each phase took and how much memory the process needed at most.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;
use vae2x::{Error, Result, Vae};
use vae2x_core::temp;

/// Seconds of each phase, and pixels.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// Reading and converting weights.
    pub load_s: f64,
    /// Computing, without waiting for files to be read or written.
    pub compute_s: f64,
    /// Finishing, converting and writing; computing goes on meanwhile.
    pub save_s: f64,
    /// Pixels of all results.
    pub pixels: u64,
}

/// The direction of a computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Latents to pixels.
    Decoding,
    /// Pixels to latents.
    Encoding,
}

/// The contents of `--timings FILE`, as JSON.
#[derive(Debug, Serialize)]
pub struct Timings {
    /// Reading and converting weights, in seconds.
    load_s: f64,
    /// Decoding, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    decode_s: Option<f64>,
    /// Encoding, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    encode_s: Option<f64>,
    /// Converting to the output's format and writing it, in seconds; computing goes on meanwhile.
    save_s: f64,
    /// The peak memory of the process in bytes; null where the system does not report it.
    peak_rss_bytes: Option<u64>,
    /// Bytes that a device with its own memory held for the process in the end; null where there is none.
    device_bytes: Option<u64>,
    /// The engine that computed.
    engine: String,
    /// Threads it could use.
    threads: usize,
    /// Pixels written or read, over all frames.
    pixels: u64,
}

impl Timings {
    /// The measurements of a clock, with the model's facts and the present memory.
    pub fn new(clock: Clock, vae: &Vae, direction: Direction) -> Self {
        Self {
            load_s: clock.load_s,
            decode_s: (direction == Direction::Decoding).then_some(clock.compute_s),
            encode_s: (direction == Direction::Encoding).then_some(clock.compute_s),
            save_s: clock.save_s,
            peak_rss_bytes: peak_rss_bytes(),
            device_bytes: vae.device_memory(),
            engine: vae.engine(),
            threads: vae.threads(),
            pixels: clock.pixels,
        }
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`] naming the file.
    pub fn write(&self, path: &Path) -> Result<()> {
        let json =
            serde_json::to_string_pretty(self).map_err(|e| Error::format(path, e.to_string()))?;
        temp::write(path, |file| {
            writeln!(file, "{json}").map_err(|e| Error::io(path, e))
        })
    }
}

/// Adds the time that `work` takes to `seconds`.
pub fn timed<T>(seconds: &mut f64, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *seconds += start.elapsed().as_secs_f64();
    result
}

/// From `/proc`: the value of `getrusage` on Linux includes the parent before it started this program.
#[cfg(target_os = "linux")]
fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|kilobytes| kilobytes * 1024)
}

#[cfg(all(unix, not(target_os = "linux")))]
fn peak_rss_bytes() -> Option<u64> {
    use nix::sys::resource::{UsageWho, getrusage};
    // Kilobytes everywhere but on macOS, which counts bytes.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    u64::try_from(usage.max_rss()).ok().map(|rss| rss * unit)
}

#[cfg(not(unix))]
fn peak_rss_bytes() -> Option<u64> {
    None
}
