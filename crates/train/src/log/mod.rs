//! What a run tells: a line of JSON per interval, TensorBoard's event files, and the terminal.

mod dashboard;
mod jsonl;
mod tensorboard;

pub use dashboard::{Dashboard, restore_terminal};
pub use jsonl::JsonLog;
pub use tensorboard::EventFile;

use std::collections::BTreeMap;
use std::io::Write;

/// Named numbers of one step.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Line {
    /// Steps done.
    pub step: u64,
    /// `train` or `eval`.
    pub kind: String,
    /// What was measured.
    #[serde(flatten)]
    pub values: BTreeMap<String, f64>,
}

impl Line {
    /// `step 120  loss 0.1234  l1 0.0123 ...`
    pub fn plain(&self) -> String {
        let number = |v: &f64| match v.abs() {
            a if a != 0.0 && !(1e-3..1e5).contains(&a) => format!("{v:.3e}"),
            _ => format!("{v:.4}"),
        };
        let values = self
            .values
            .iter()
            .map(|(name, value)| format!("  {name} {}", number(value)));
        format!("{} {}{}", self.kind, self.step, values.collect::<String>())
    }
}

/// Where a run's lines go on the screen.
pub trait Screen {
    /// A line of numbers.
    fn line(&mut self, line: &Line);
    /// Steps done.
    fn step(&mut self, step: u64);
    /// A sentence.
    fn note(&mut self, text: &str);
    /// Whether the user asked the screen to stop the run.
    fn wants_stop(&self) -> bool;
}

/// A line on standard error. A terminal or a reader that has gone away is no reason to stop.
pub fn say(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Lines on standard error.
#[derive(Debug, Default)]
pub struct PlainScreen;

impl Screen for PlainScreen {
    fn line(&mut self, line: &Line) {
        say(line.plain());
    }

    fn step(&mut self, _: u64) {}

    fn note(&mut self, text: &str) {
        say(text);
    }

    fn wants_stop(&self) -> bool {
        false
    }
}
