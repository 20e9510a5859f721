//! All output of the program: results on standard output; notes, warnings and errors on standard error, with a progress bar
//! on a terminal and plain lines in a log. What comes from files, names and servers is made visible here, and each message
//! and each line of a result stays one line.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::visible::{visible, visible_json};

/// The pause between two lines about progress in a log.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Steps of the bar per unit, so that it also moves within a unit.
const STEPS: f64 = 1000.0;

/// Prints a line on standard error. A terminal or a reader that is gone is not a reason to stop.
pub fn say(text: impl std::fmt::Display) {
    let line = format!("{}\n", visible(&text.to_string()));
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Has panics printed as messages, line by line.
pub fn say_panics() {
    std::panic::set_hook(Box::new(|info| {
        let thread = std::thread::current();
        let panic = format!("thread '{}' {info}", thread.name().unwrap_or("unnamed"));
        panic.lines().for_each(say);
        let backtrace = Backtrace::capture();
        match backtrace.status() {
            BacktraceStatus::Captured => backtrace.to_string().lines().for_each(say),
            _ => note("note: with RUST_BACKTRACE=1 a backtrace is printed"),
        }
    }));
}

/// Prints an error with its causes.
pub fn error(error: &anyhow::Error) {
    say(format_args!("error: {}", causes(error)));
}

/// The error and its causes in one line; a cause that the text before it already names is left out.
fn causes(error: &anyhow::Error) -> String {
    let mut causes = error.chain().map(ToString::to_string);
    let first = causes.next().unwrap_or_default();
    causes.fold(first, |text, cause| match text.contains(&cause) {
        true => text,
        false => format!("{text}: {cause}"),
    })
}

/// Whether notes, warnings and results are left to another process.
static SILENT: AtomicBool = AtomicBool::new(false);

/// Leaves notes, warnings and results to the first of the processes that work together. Errors are printed as ever.
#[cfg(feature = "mpi")]
pub fn silence() {
    SILENT.store(true, Ordering::Relaxed);
}

fn is_silent() -> bool {
    SILENT.load(Ordering::Relaxed)
}

/// Prints a note.
pub fn note(text: impl std::fmt::Display) {
    if !is_silent() {
        say(text);
    }
}

/// Prints a warning.
pub fn warn(text: impl std::fmt::Display) {
    note(format_args!("warning: {text}"));
}

/// Prints a line of a result on standard output. A reader that is gone is not an error.
///
/// # Errors
/// If standard output cannot be written.
pub fn print(line: impl std::fmt::Display) -> anyhow::Result<()> {
    print_lines([line])
}

/// Prints the lines of a result on standard output, as [`print`].
///
/// # Errors
/// If standard output cannot be written.
pub fn print_lines(lines: impl IntoIterator<Item = impl std::fmt::Display>) -> anyhow::Result<()> {
    let mut text = String::new();
    for line in lines {
        text += &visible(&line.to_string());
        text.push('\n');
    }
    write_out(&text)
}

/// Prints a result as JSON on standard output, as [`print`].
///
/// # Errors
/// If standard output cannot be written.
pub fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let json = serde_json::to_string_pretty(value)?;
    write_out(&format!("{}\n", visible_json(&json)))
}

fn write_out(text: &str) -> anyhow::Result<()> {
    if is_silent() {
        return Ok(());
    }
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if is_gone(&e) => Ok(()),
        other => Ok(other?),
    }
}

/// Whether an error means that standard output has no reader any more: a closed pipe, or a terminal that is gone.
fn is_gone(error: &std::io::Error) -> bool {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        use std::os::unix::fs::FileTypeExt;
        /// The same on all systems.
        const EIO: i32 = 5;
        let copy = || std::io::stdout().as_fd().try_clone_to_owned();
        let metadata = || std::fs::File::from(copy()?).metadata();
        if error.raw_os_error() == Some(EIO) {
            return metadata().is_ok_and(|found| found.file_type().is_char_device());
        }
    }
    error.kind() == std::io::ErrorKind::BrokenPipe
}

/// Prints progress through a known number of units: a bar on a terminal, lines in a log.
pub struct Meter {
    label: String,
    unit: &'static str,
    total: f64,
    started: Instant,
    said: Instant,
    bar: Option<ProgressBar>,
}

impl Meter {
    /// Starts at 0 of `total` `unit`s.
    pub fn new(label: impl Into<String>, total: f64, unit: &'static str) -> Self {
        let label = visible(&label.into()).into_owned();
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(
                Some((total * STEPS) as u64),
                ProgressDrawTarget::stderr(),
            );
            let style = ProgressStyle::with_template(
                "{prefix} [{bar:32}] {percent:>3} %  {msg}  {eta} left",
            );
            bar.set_style(
                style
                    .unwrap_or_else(|_| ProgressStyle::default_bar())
                    .progress_chars("=> "),
            );
            bar.set_prefix(label.clone());
            bar
        });
        let now = Instant::now();
        Self {
            label,
            unit,
            total,
            started: now,
            said: now,
            bar,
        }
    }

    /// Shows that `done` units of the total are done.
    pub fn set(&mut self, done: f64) {
        let elapsed = self.started.elapsed().as_secs_f64();
        let rate = done / elapsed.max(1e-3);
        let status = format!(
            "{} of {} {}, {}",
            human(done),
            human(self.total),
            self.unit,
            self.pace(rate)
        );
        match &self.bar {
            Some(bar) => {
                bar.set_message(status);
                bar.set_position((done * STEPS) as u64);
            }
            None if self.said.elapsed() >= LINE_EVERY && done > 0.0 => {
                self.said = Instant::now();
                note(format!(
                    "{}: {status}, {:.0} s left",
                    self.label,
                    (self.total - done) / rate
                ));
            }
            None => (),
        }
    }

    /// Removes the bar.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }

    fn pace(&self, rate: f64) -> String {
        match self.unit {
            "bytes" => format!("{}/s", human(rate)),
            unit => format!("{rate:.2} {unit}/s"),
        }
    }
}

/// A count with a metric suffix above ten thousand.
pub fn human(value: f64) -> String {
    match value {
        v if v >= 1e10 => format!("{:.1} G", v / 1e9),
        v if v >= 1e7 => format!("{:.1} M", v / 1e6),
        v if v >= 1e4 => format!("{:.1} k", v / 1e3),
        v if v.fract() == 0.0 => format!("{v:.0}"),
        v => format!("{v:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn counts_are_readable() {
        let cases = [
            (0.0, "0"),
            (3.25, "3.2"),
            (999.0, "999"),
            (126_892_531.0, "126.9 M"),
            (2e10, "20.0 G"),
        ];
        for (value, text) in cases {
            assert_eq!(human(value), text);
        }
    }
}
