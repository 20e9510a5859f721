//! burn's terminal dashboard: plots of the numbers, progress, time left; `q` stops the run.

use std::collections::BTreeSet;
use std::sync::Arc;

use burn_train::Interrupter;
use burn_train::logger::TrainingProgressLogger;
use burn_train::metric::{
    MetricAttributes, MetricDefinition, MetricEntry, MetricId, NumericAttributes, NumericEntry, SerializedEntry,
};
use burn_train::renderer::tui::TuiMetricsRendererWrapper;
use burn_train::renderer::{MetricState, MetricsRenderer, MetricsRendererTraining};

use super::{Line, Screen};

/// The dashboard while it is open.
pub struct Dashboard {
    renderer: TuiMetricsRendererWrapper,
    interrupter: Interrupter,
    known: BTreeSet<String>,
    notes: Vec<String>,
}

impl Dashboard {
    /// Takes the terminal.
    pub fn open(steps: u64) -> Self {
        let interrupter = Interrupter::new();
        let mut renderer = TuiMetricsRendererWrapper::new(interrupter.clone(), None);
        renderer.start(1, 1, None, None);
        renderer.start_split("train", steps as usize);
        Self { renderer, interrupter, known: BTreeSet::new(), notes: Vec::new() }
    }

    /// Gives the terminal back and tells what could not be told in between.
    pub fn close(mut self) {
        self.renderer.end_split();
        self.renderer.end();
        let _ = self.renderer.on_train_end(None);
        drop(self.renderer);
        self.notes.iter().for_each(|note| eprintln!("{note}"));
    }
}

impl Screen for Dashboard {
    fn line(&mut self, line: &Line) {
        for (name, value) in &line.values {
            let id = MetricId::new(Arc::new(name.clone()));
            if self.known.insert(name.clone()) {
                let higher_is_better = ["psnr", "ssim", "images_per_second"].iter().any(|n| name.ends_with(n));
                self.renderer.register_metric(MetricDefinition {
                    metric_id: id.clone(),
                    name: Arc::new(name.clone()),
                    description: None,
                    attributes: MetricAttributes::Numeric(NumericAttributes { unit: None, higher_is_better }),
                });
            }
            let text = format!("{value:.5}");
            let entry = MetricEntry::new(id, SerializedEntry::new(text.clone(), text));
            let state = MetricState::Numeric(entry, Some(NumericEntry::Value(*value)));
            match line.kind.as_str() {
                "eval" => self.renderer.update_valid(state),
                _ => self.renderer.update_train(state),
            }
        }
    }

    fn step(&mut self, step: u64) {
        self.renderer.update_split(step as usize);
    }

    fn note(&mut self, text: &str) {
        self.notes.push(text.into());
    }

    fn wants_stop(&self) -> bool {
        self.interrupter.should_stop()
    }
}
