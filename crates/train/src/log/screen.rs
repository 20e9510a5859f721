//! What a run shows to its user.

use super::line::Line;

/// What the user sees of a run. All of it may be ignored: the same numbers are in the run's folder.
pub trait Screen {
    /// A line of numbers.
    fn line(&mut self, line: &Line) {
        let _ = line;
    }

    /// Steps done.
    fn step(&mut self, step: u64) {
        let _ = step;
    }

    /// A message.
    fn note(&mut self, text: &str) {
        let _ = text;
    }
}

/// Shows nothing.
#[derive(Debug, Default)]
pub struct NoScreen;

impl Screen for NoScreen {}
