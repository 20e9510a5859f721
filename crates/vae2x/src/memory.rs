//! Refusing what does not fit, before work starts.

use anyhow::bail;
use sysinfo::{MemoryRefreshKind, RefreshKind, System};
use vae2x_cpu::MemoryEstimate;

/// Share of the available memory that may be planned for; the rest is for estimates that are a little low.
const USABLE: f64 = 0.95;

/// Fails if `need` is above what the machine, or the container that this runs in, has left.
///
/// # Errors
/// Naming `what`, the estimate and what is available.
pub fn check(what: &str, need: MemoryEstimate) -> anyhow::Result<()> {
    let available = available_bytes();
    if need.total() as f64 <= USABLE * available as f64 {
        return Ok(());
    }
    bail!(
        "{what} needs about {}: {} for weights, {} for rows in flight, {} for the result; {} are available",
        megabytes(need.total() as u64),
        megabytes(need.weights as u64),
        megabytes(need.working as u64),
        megabytes(need.output as u64),
        megabytes(available)
    )
}

/// What can be allocated without swapping; no limit where the system does not tell.
fn available_bytes() -> u64 {
    let system = System::new_with_specifics(RefreshKind::nothing().with_memory(MemoryRefreshKind::everything()));
    let Ok(system) = system else { return u64::MAX };
    let container = system.cgroup_limits().map_or(u64::MAX, |limits| limits.free_memory);
    system.available_memory().min(container)
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes / 1_000_000)
}
