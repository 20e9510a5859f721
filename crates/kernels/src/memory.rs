//! Memory that the process keeps for its next tensors.

/// Has the C library keep freed memory and serve large blocks from it. Otherwise every large tensor is a fresh mapping, whose pages the
/// kernel fills with zeros first: a fifth of a training step's time. Where the C library is not glibc, nothing changes.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        /// Blocks below this many bytes are not mapped by themselves.
        const MAPPED: i32 = 1 << 30;
        // SAFETY: both calls set a number of the allocator, under its lock.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED);
            libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        }
    }
}
