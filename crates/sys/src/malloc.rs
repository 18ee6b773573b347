//! The C library's allocator, told to keep little.

/// Few arenas and a low threshold for giving memory back: a daemon is idle most of its life.
pub fn frugal() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt only changes tunables of the allocator and takes plain numbers.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 128 << 10);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 64 << 10);
    }
}

/// Gives free memory back to the kernel.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim works under the allocator's own locks and takes a plain number.
    unsafe {
        libc::malloc_trim(0);
    }
}
