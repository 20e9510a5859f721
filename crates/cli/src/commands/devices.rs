//! `vae2x devices`: what this program can compute on, here.

use std::fmt::Write;

use vae2x::{Device, EngineOptions, available_bytes};
use vae2x_cpu::Isa;
use vae2x_nn::device::{Api, Kind, Listed};

use crate::ui;

/// Runs the command.
///
/// # Errors
/// If standard output cannot be written.
pub fn run() -> anyhow::Result<()> {
    let mut text = String::new();
    let threads = EngineOptions {
        device: Device::Cpu,
        ..EngineOptions::default()
    }
    .thread_count()?;
    let isa = Isa::from_env()?.unwrap_or_else(Isa::detect);
    writeln!(
        text,
        "{}",
        row(
            "cpu",
            &format!("the processor, {threads} threads, {isa}"),
            Some(available_bytes())
        )
    )?;
    writeln!(
        text,
        "{}",
        row(
            "burn",
            "the processor through burn: the slow reference",
            Some(available_bytes())
        )
    )?;
    let (built, missing): (Vec<_>, Vec<_>) = Api::ALL.into_iter().partition(|api| api.is_built());
    for api in built {
        match api.devices() {
            Ok(devices) if devices.is_empty() => {
                writeln!(text, "{}", row(api.name(), "no device, or no driver", None))?
            }
            Ok(devices) => devices
                .iter()
                .try_for_each(|device| writeln!(text, "{}", described(device)))?,
            Err(e) => writeln!(text, "{}", row(api.name(), &e.to_string(), None))?,
        }
    }
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|api| api.name()).collect();
        writeln!(
            text,
            "not in this program: {} (cargo features of these names add them)",
            names.join(", ")
        )?;
    }
    ui::print(&text)
}

fn described(listed: &Listed) -> String {
    match listed.facts() {
        Ok(facts) => {
            let name = facts.name.unwrap_or_else(|| "PyTorch's library".into());
            let aside = match (listed.check(), listed.kind) {
                (Err(e), _) => format!(", cannot be used: {e}"),
                (Ok(()), Kind::Processor) => ", never picked by itself".into(),
                (Ok(()), _) => String::new(),
            };
            let memory = facts
                .memory
                .or((listed.kind == Kind::Processor).then(available_bytes));
            row(
                &listed.name(),
                &format!("{name}, {}{aside}", listed.kind),
                memory,
            )
        }
        Err(e) => row(&listed.name(), &e.to_string(), None),
    }
}

/// Name, memory and description in columns.
fn row(name: &str, what: &str, memory: Option<u64>) -> String {
    let memory = memory.map_or_else(String::new, |bytes| format!("{:.1} GB", bytes as f64 / 1e9));
    format!("{name:<12} {memory:>9}  {what}")
}
