//! `vae2x devices`: the available compute devices.

use vae2x::{Api, Vae, available_bytes, is_built};

use crate::ui;

/// Runs the command.
///
/// # Errors
/// If standard output cannot be written.
pub fn devices() -> anyhow::Result<()> {
    let cpu = Vae::open("demo:base")?.device(vae2x::Device::Cpu).build()?;
    let what = format!(
        "the CPU, {} threads, {}",
        cpu.threads(),
        cpu.engine().trim_start_matches("cpu-")
    );
    let mut rows = vec![row("cpu", &what, Some(available_bytes()))];
    rows.extend(through_burn());
    let missing = Api::ALL.into_iter().filter(|&api| !is_built(api));
    let missing: Vec<_> = missing.map(Api::name).collect();
    if !missing.is_empty() {
        rows.push(format!(
            "not in this build: {} (cargo features of these names add them)",
            missing.join(", ")
        ));
    }
    ui::print_lines(rows)
}

#[cfg(feature = "burn")]
fn through_burn() -> Vec<String> {
    let slow = "the CPU through burn: the slow reference";
    let gpus = vae2x::devices().into_iter();
    let gpus = gpus.map(|gpu| row(&gpu.name, &gpu.description, gpu.memory));
    [row("burn", slow, Some(available_bytes()))]
        .into_iter()
        .chain(gpus)
        .collect()
}

#[cfg(not(feature = "burn"))]
fn through_burn() -> Vec<String> {
    Vec::new()
}

/// Name, memory and description in columns.
fn row(name: &str, what: &str, memory: Option<u64>) -> String {
    let memory = memory.map_or_else(String::new, |bytes| format!("{:.1} GB", bytes as f64 / 1e9));
    format!("{name:<12} {memory:>9}  {what}")
}
