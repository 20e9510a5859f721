//! Refusing what does not fit, before work starts.

use anyhow::bail;
use vae2x::available_bytes;
use vae2x_cpu::MemoryEstimate;

/// Share of the available memory that may be planned for; the rest is for estimates that are a little low.
const USABLE: f64 = 0.95;

/// Fails if `need` is above what the machine, or the container that this runs in, has left, or above `allowed` bytes.
///
/// # Errors
/// Naming `what`, the estimate and what is available.
pub fn check(what: &str, need: MemoryEstimate, allowed: Option<u64>) -> anyhow::Result<()> {
    let available = available_bytes().min(allowed.unwrap_or(u64::MAX));
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

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes / 1_000_000)
}
