//! Available memory, and whether a piece of work fits into it.

use sysinfo::{MemoryRefreshKind, RefreshKind, System};
use vae2x_core::{Error, Estimate, Result};

/// Share of the available memory that may be planned for; the rest covers estimates that are a little low.
const USABLE: f64 = 0.95;

/// Bytes that can be allocated without swapping; no limit where the system does not report it.
pub fn available_bytes() -> u64 {
    let what = RefreshKind::nothing().with_memory(MemoryRefreshKind::everything());
    let Ok(system) = System::new_with_specifics(what) else {
        return u64::MAX;
    };
    let container = system
        .cgroup_limits()
        .map_or(u64::MAX, |limits| limits.free_memory);
    system.available_memory().min(container)
}

/// Fails if `need` does not fit into the memory that the machine or the container has available, or into `allowed` bytes.
///
/// # Errors
/// [`Error::Memory`] with `what`, the estimate and what is available.
pub fn check_memory(what: &str, need: Estimate, allowed: Option<u64>) -> Result<()> {
    let available = available_bytes().min(allowed.unwrap_or(u64::MAX));
    if need.total() as f64 <= USABLE * available as f64 {
        return Ok(());
    }
    let megabytes = |bytes: u64| format!("{} MB", bytes / 1_000_000);
    Err(Error::Memory(format!(
        "{what} needs about {}: {} for weights, {} for rows in flight, {} for the result; {} are available",
        megabytes(need.total() as u64),
        megabytes(need.weights as u64),
        megabytes(need.working as u64),
        megabytes(need.output as u64),
        megabytes(available)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_is_refused_with_its_parts() {
        let need = Estimate {
            weights: 3_000_000,
            working: 2_000_000,
            output: 1_000_000,
        };
        assert!(check_memory("decoding", need, None).is_ok());
        let error = check_memory("decoding", need, Some(6_000_000)).unwrap_err();
        assert!(matches!(error, Error::Memory(_)));
        let text = error.to_string();
        for part in ["decoding", "6 MB", "3 MB", "2 MB", "1 MB"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
