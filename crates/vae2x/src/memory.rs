//! Available memory, and whether a piece of work fits into it.

use sysinfo::{MemoryRefreshKind, RefreshKind, System};
use vae2x_core::{Error, Estimate, Result};

/// Share of the available memory that may be planned for; the rest covers estimates that are a little low.
const USABLE: f64 = 0.95;

/// Bytes that can be allocated without swapping, in the machine, the container and the address space that `ulimit -v` sets;
/// no limit where the system does not report it.
pub fn available_bytes() -> u64 {
    let process = address_space_left().unwrap_or(u64::MAX);
    let what = RefreshKind::nothing().with_memory(MemoryRefreshKind::everything());
    let Ok(system) = System::new_with_specifics(what) else {
        return process;
    };
    let container = system
        .cgroup_limits()
        .map_or(u64::MAX, |limits| limits.free_memory);
    system.available_memory().min(container).min(process)
}

/// Bytes of address space that this process may still take, if it has a limit.
#[cfg(target_os = "linux")]
fn address_space_left() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    left(&limits, &status)
}

/// Systems other than Linux do not enforce the limit, or not in a way that can be asked for.
#[cfg(not(target_os = "linux"))]
fn address_space_left() -> Option<u64> {
    None
}

/// Half of the soft limit in `/proc/self/limits`, less what `/proc/self/status` says is taken: stacks and what allocators
/// reserve for each thread take address space too.
#[cfg(any(target_os = "linux", test))]
fn left(limits: &str, status: &str) -> Option<u64> {
    let line = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let taken = line(status, "VmSize:")? * 1024;
    Some(line(limits, "Max address space")?.saturating_sub(taken) / 2)
}

/// Fails if `bytes` do not fit into the memory that the machine or the container has available, or into `allowed` bytes.
///
/// # Errors
/// [`Error::Memory`] with `what`, the estimate and what is available.
pub fn check_bytes(what: &str, bytes: u64, allowed: Option<u64>) -> Result<()> {
    let available = available_bytes().min(allowed.unwrap_or(u64::MAX));
    if bytes as f64 <= USABLE * available as f64 {
        return Ok(());
    }
    let (need, available) = (megabytes(bytes), megabytes(available));
    Err(Error::Memory(format!(
        "{what} needs about {need}; {available} are available"
    )))
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes / 1_000_000)
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

    #[test]
    fn the_limit_of_the_address_space_counts() {
        let status = "Name:\tvae2x\nVmPeak:\t  9000 kB\nVmSize:\t  1000 kB\n";
        let limits = |soft: &str| {
            format!(
                "Limit                     Soft Limit           Hard Limit           Units     \n\
                 Max address space         {soft}            unlimited            bytes     \n"
            )
        };
        assert_eq!(left(&limits("2048000"), status), Some(512_000));
        assert_eq!(left(&limits("1000"), status), Some(0));
        assert_eq!(left(&limits("unlimited"), status), None);
    }

    #[test]
    fn bytes_are_refused_by_what_is_allowed() {
        assert!(check_bytes("measuring", 1_000_000, Some(2_000_000)).is_ok());
        let refused = check_bytes("measuring", 3_000_000, Some(2_000_000)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "measuring needs about 3 MB; 2 MB are available"
        );
    }
}
