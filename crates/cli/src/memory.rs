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

/// What two models take that are loaded at once and compute in turn.
pub fn together(a: MemoryEstimate, b: MemoryEstimate) -> MemoryEstimate {
    MemoryEstimate {
        weights: a.weights + b.weights,
        working: a.working.max(b.working),
        output: a.output + b.output,
    }
}

/// Pictures that finishing holds besides the one it is given: one to look at and one to make.
const FINISHING: usize = 2;

/// An estimate with what is done to each picture of `bytes` after it is computed.
pub fn with_finishing(need: MemoryEstimate, bytes: usize) -> MemoryEstimate {
    MemoryEstimate {
        output: need.output + FINISHING * bytes,
        ..need
    }
}

/// An estimate that counts the `pixels` bytes of one of `jobs` inputs too, and of the inputs beside it, which are about as large, the
/// pixels of the next and the result of the last.
pub fn in_pipeline(need: MemoryEstimate, pixels: usize, jobs: usize) -> MemoryEstimate {
    let at_once = jobs.min(2);
    MemoryEstimate {
        working: need.working + at_once * pixels,
        output: at_once * need.output,
        ..need
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes / 1_000_000)
}
