//! `vae2x devices`: the available compute devices.

use vae2x::{Api, Device, Error, Vae, available_bytes, check_device, is_built};

use crate::args::DevicesArgs;
use crate::ui;

/// Runs the command.
///
/// # Errors
/// If standard output cannot be written, or a device that was checked cannot be used.
pub fn devices(args: &DevicesArgs) -> anyhow::Result<()> {
    match args.check {
        true => check(),
        false => list(),
    }
}

/// Decodes on every device, and prints how near it comes to the CPU.
fn check() -> anyhow::Result<()> {
    let mut wrong = Vec::new();
    for name in names() {
        let device: Device = name.parse().map_err(anyhow::Error::msg)?;
        let found = match check_device(device) {
            Ok(check) if check.is_right() => {
                let decibels = match check.decibels.is_finite() {
                    true => format!("{:.0} dB", check.decibels),
                    false => "every bit".into(),
                };
                format!("right, {decibels}, {:.1} s", check.seconds)
            }
            Ok(check) => {
                wrong.push(name.clone());
                format!("WRONG, {:.0} dB", check.decibels)
            }
            // Known beforehand, such as of a software driver.
            Err(Error::NoDevice(why)) => format!("cannot be used: {why}"),
            Err(error) => {
                wrong.push(name.clone());
                format!("cannot be used: {error}")
            }
        };
        ui::print(format!("{name:<12} {found}"))?;
    }
    anyhow::ensure!(
        wrong.is_empty(),
        "{} of these devices cannot be used: {}; a newer driver may help",
        wrong.len(),
        wrong.join(", ")
    );
    Ok(())
}

/// The devices of this machine that this build reaches.
fn names() -> Vec<String> {
    #[cfg(feature = "burn")]
    let burn = {
        let gpus = vae2x::devices().into_iter().map(|gpu| gpu.name);
        // An interface without a device is listed by its bare name.
        std::iter::once("burn".to_owned()).chain(gpus.filter(|name| name.contains(':')))
    };
    #[cfg(not(feature = "burn"))]
    let burn = std::iter::empty();
    std::iter::once("cpu".to_owned()).chain(burn).collect()
}

fn list() -> anyhow::Result<()> {
    let cpu = Vae::open("demo:base")?.device(Device::Cpu).build()?;
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
