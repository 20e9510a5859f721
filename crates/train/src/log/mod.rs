//! What a run reports: a line of JSON per interval, TensorBoard event files, and the caller's screen.

mod jsonl;
mod line;
mod screen;
mod tensorboard;

pub use jsonl::JsonLog;
pub use line::Line;
pub use screen::{NoScreen, Screen};
pub use tensorboard::EventFile;
