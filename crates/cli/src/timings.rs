//! `--timings`: how long each phase took and how much memory the process needed at most.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;
use vae2x_core::{Error, Result, temp};

/// What `--timings FILE` holds, as JSON.
#[derive(Debug, Default, Serialize)]
pub struct Timings {
    /// Opening and converting weights, in seconds.
    pub load_s: f64,
    /// Decoding, in seconds, without waiting for files to be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decode_s: Option<f64>,
    /// Encoding, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encode_s: Option<f64>,
    /// Converting to the output's format and writing it, in seconds; computing goes on meanwhile.
    pub save_s: f64,
    /// Most memory that the process held at once, in bytes; null where the system does not tell.
    pub peak_rss_bytes: Option<u64>,
    /// What a device with memory of its own held for the process in the end; null where there is none.
    pub device_bytes: Option<u64>,
    /// The engine that computed.
    pub engine: String,
    /// Threads it could use.
    pub threads: usize,
    /// Pixels written or read, over all frames.
    pub pixels: u64,
}

impl Timings {
    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`] naming the file.
    pub fn write(mut self, path: &Path) -> Result<()> {
        self.peak_rss_bytes = peak_rss_bytes();
        let json =
            serde_json::to_string_pretty(&self).map_err(|e| Error::format(path, e.to_string()))?;
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

/// From `/proc`: what `getrusage` tells on Linux includes the parent before it started this program.
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
