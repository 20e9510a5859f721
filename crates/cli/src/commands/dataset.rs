//! `vae2x dataset scan`: what is in a collection of photos, and what to leave out of training.

use std::collections::BTreeMap;
use std::sync::Mutex;

use vae2x_core::temp;
use vae2x_train::data::manifest::Entry;
use vae2x_train::data::scan::scan;
use vae2x_train::data::{Limits, list};

use crate::args::ScanArgs;
use crate::files::check_writable;
use crate::ui::{self, Meter};

/// Runs the command.
///
/// # Errors
/// If no photos are found or the manifest cannot be written.
pub fn run(args: &ScanArgs) -> anyhow::Result<()> {
    check_writable(&args.output)?;
    let listing = list(&args.places)?;
    let limits = Limits {
        min_side: args.min_side,
        min_sharpness: args.min_sharpness,
        min_jpeg_quality: args.min_jpeg_quality,
    };
    let progress = Mutex::new(Meter::new("photos", listing.photos.len() as f64, "photos"));
    let entries = scan(&listing, &limits, &|done| {
        // A poisoned lock is not a reason to stop.
        if let Ok(mut progress) = progress.lock() {
            progress.set(done as f64);
        }
    });
    if let Ok(progress) = progress.into_inner() {
        progress.finish();
    }
    let lines = entries
        .iter()
        .map(serde_json::to_string)
        .collect::<Result<Vec<_>, _>>()?;
    temp::write_bytes(&args.output, format!("{}\n", lines.join("\n")).as_bytes())?;
    ui::print(summary(args, &entries))
}

fn summary(args: &ScanArgs, entries: &[Entry]) -> String {
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in entries.iter().filter_map(|e| e.drop.first()) {
        let kind = if reason.starts_with("near-duplicate") {
            "near-duplicate"
        } else {
            reason.split(':').next().unwrap_or("")
        };
        *reasons.entry(kind).or_default() += 1;
    }
    let kept = entries.iter().filter(|e| e.drop.is_empty()).count();
    let licensed = entries.iter().filter(|e| e.licence.is_some()).count();
    let dropped: String = reasons
        .iter()
        .map(|(kind, count)| format!(", {count} {kind}"))
        .collect();
    format!(
        "{}: {} photos, {kept} to keep{dropped}; a licence is known for {licensed}",
        args.output.display(),
        entries.len()
    )
}
