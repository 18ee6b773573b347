//! What a process does to itself: descriptors it inherited, memory it no longer needs.

use crate::{Result, result};

/// Closes every descriptor from `first` on. For the first lines of a program that has opened none itself yet:
/// whatever is there came by inheritance and belongs to nobody.
pub fn close_from(first: u32) -> Result<()> {
    // SAFETY: takes three numbers; that no live owner holds one of the descriptors is the caller's to see to, as said.
    result(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) }).map(drop)
}

/// Gives free pages of the heap back to the kernel.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: touches only memory that the allocator holds free.
    unsafe {
        libc::malloc_trim(0);
    }
}
