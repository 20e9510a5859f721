//! A line of numbers, as files and the screen get it.

use std::collections::BTreeMap;

/// Named numbers of one step.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Line {
    /// Steps done.
    pub step: u64,
    /// `train`, `eval`, `skip`.
    pub kind: String,
    /// A sentence about them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The numbers by name.
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
        let note = self.note.iter().map(|note| format!("  {note}"));
        let rest = values.chain(note).collect::<String>();
        format!("{} {}{rest}", self.kind, self.step)
    }
}
