//! Messages of the program: notes and warnings on standard error, with a progress bar on a terminal and plain lines in a log.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The pause between two lines about progress in a log.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Steps of the bar per unit, so that it also moves within a unit.
const STEPS: f64 = 1000.0;

/// Prints a line on standard error. A terminal or a reader that is gone is not a reason to stop.
pub fn say(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
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

/// Prints a note.
pub fn note(text: impl std::fmt::Display) {
    say(text);
}

/// Prints a warning.
pub fn warn(text: impl std::fmt::Display) {
    say(format_args!("warning: {text}"));
}

/// Writes results to standard output. A reader that is gone is not an error.
///
/// # Errors
/// If standard output cannot be written.
pub fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
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
        let label = label.into();
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
