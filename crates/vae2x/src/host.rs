//! What the machine that this runs on has left.

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// What can be allocated without swapping; no limit where the system does not tell.
pub fn available_bytes() -> u64 {
    let system = System::new_with_specifics(
        RefreshKind::nothing().with_memory(MemoryRefreshKind::everything()),
    );
    let Ok(system) = system else { return u64::MAX };
    let container = system
        .cgroup_limits()
        .map_or(u64::MAX, |limits| limits.free_memory);
    system.available_memory().min(container)
}
