//! burn's terminal dashboard: plots of the numbers, progress, time left; `q` or Ctrl-C stops the run.
//!
//! The dashboard puts the terminal into raw mode, in which Ctrl-C is a key like others, and one that it does not know; so its
//! signal is turned on again. "Stop immediately" of its menu is a panic in whoever speaks to it next: that is caught, and stops the
//! run as the milder choice does, with a checkpoint.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn_train::Interrupter;
use burn_train::logger::TrainingProgressLogger;
use burn_train::metric::{
    MetricAttributes, MetricDefinition, MetricEntry, MetricId, NumericAttributes, NumericEntry,
    SerializedEntry,
};
use burn_train::renderer::tui::TuiMetricsRendererWrapper;
use burn_train::renderer::{MetricState, MetricsRenderer, MetricsRendererTraining};
use crossterm::terminal::is_raw_mode_enabled;

use super::{Line, Screen, say};

/// The dashboard's thread takes the terminal at its start.
const LONGEST_START: Duration = Duration::from_secs(5);

/// The dashboard while it is open.
pub struct Dashboard {
    /// Gone once it has been closed from inside.
    renderer: Option<TuiMetricsRendererWrapper>,
    interrupter: Interrupter,
    known: BTreeSet<String>,
    notes: Vec<String>,
}

impl Dashboard {
    /// Takes the terminal.
    pub fn open(steps: u64) -> Self {
        let interrupter = Interrupter::new();
        let mut renderer = TuiMetricsRendererWrapper::new(interrupter.clone(), None);
        let mut notes = Vec::new();
        if let Err(error) = keep_interrupts() {
            notes.push(format!("Ctrl-C does not stop the run, q does: {error}"));
        }
        renderer.start(1, 1, None, None);
        renderer.start_split("train", steps as usize);
        Self {
            renderer: Some(renderer),
            interrupter,
            known: BTreeSet::new(),
            notes,
        }
    }

    /// Gives the terminal back and tells what could not be told in between.
    pub fn close(mut self) {
        self.tell(|renderer| {
            renderer.end_split();
            renderer.end();
            let _ = renderer.on_train_end(None);
        });
        let renderer = self.renderer.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(renderer)));
        // After a panic of its own the dashboard leaves it hidden.
        let _ = crossterm::execute!(std::io::stdout(), crossterm::cursor::Show);
        self.notes.iter().for_each(say);
    }

    /// Speaks to the dashboard, if it is still there.
    fn tell(&mut self, what: impl FnOnce(&mut TuiMetricsRendererWrapper)) {
        let Some(mut renderer) = self.renderer.take() else {
            return;
        };
        let told = catch_unwind(AssertUnwindSafe(|| {
            what(&mut renderer);
            renderer
        }));
        match told {
            Ok(renderer) => self.renderer = Some(renderer),
            Err(_) => self.interrupter.stop(None),
        }
    }
}

impl Screen for Dashboard {
    fn line(&mut self, line: &Line) {
        for (name, value) in &line.values {
            let id = MetricId::new(Arc::new(name.clone()));
            if self.known.insert(name.clone()) {
                let higher_is_better = ["psnr", "ssim", "images_per_second"]
                    .iter()
                    .any(|n| name.ends_with(n));
                let definition = MetricDefinition {
                    metric_id: id.clone(),
                    name: Arc::new(name.clone()),
                    description: None,
                    attributes: MetricAttributes::Numeric(NumericAttributes {
                        unit: None,
                        higher_is_better,
                    }),
                };
                self.tell(|renderer| renderer.register_metric(definition));
            }
            let text = format!("{value:.5}");
            let entry = MetricEntry::new(id, SerializedEntry::new(text.clone(), text));
            let state = MetricState::Numeric(entry, Some(NumericEntry::Value(*value)));
            self.tell(|renderer| match line.kind.as_str() {
                "eval" => renderer.update_valid(state),
                _ => renderer.update_train(state),
            });
        }
    }

    fn step(&mut self, step: u64) {
        self.tell(|renderer| renderer.update_split(step as usize));
    }

    fn note(&mut self, text: &str) {
        self.notes.push(text.into());
    }

    fn wants_stop(&self) -> bool {
        self.interrupter.should_stop()
    }
}

/// Gives the terminal back if a dashboard has it: for a signal handler's thread, just before the process ends.
pub fn restore_terminal() {
    use crossterm::{cursor, event, execute, terminal};
    if is_raw_mode_enabled().unwrap_or(false) {
        // Nobody is left to hear of a failure.
        let _ = terminal::disable_raw_mode();
        let _ = execute!(
            std::io::stdout(),
            event::DisableMouseCapture,
            terminal::LeaveAlternateScreen,
            cursor::Show
        );
    }
}

/// Waits until the dashboard has the terminal, then has Ctrl-C send its signal again. Ctrl-Z and Ctrl-\ stay without theirs: the
/// one would leave a stopped process's terminal in raw mode, the other a dead one's.
fn keep_interrupts() -> std::io::Result<()> {
    let started = Instant::now();
    while !is_raw_mode_enabled()? {
        if started.elapsed() > LONGEST_START {
            return Err(std::io::Error::other("the dashboard does not start"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    #[cfg(unix)]
    {
        use rustix::termios::{
            LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr,
        };
        /// `_POSIX_VDISABLE` of all systems that burn's dashboard runs on but the BSDs', which is 255.
        const NO_KEY: u8 = if cfg!(any(target_os = "linux", target_os = "android")) {
            0
        } else {
            0xFF
        };
        let terminal = std::io::stdout();
        let mut modes = tcgetattr(&terminal)?;
        modes.local_modes |= LocalModes::ISIG;
        modes.special_codes[SpecialCodeIndex::VSUSP] = NO_KEY;
        modes.special_codes[SpecialCodeIndex::VQUIT] = NO_KEY;
        tcsetattr(&terminal, OptionalActions::Now, &modes)?;
    }
    Ok(())
}
