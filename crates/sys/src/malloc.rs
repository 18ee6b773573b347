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

/// Lets go of the memory behind bytes of the program's own file that are not needed again soon; they come back from the
/// file when they are read.
pub fn unneeded(bytes: &'static [u8]) {
    let page = rustix::param::page_size();
    let start = (bytes.as_ptr() as usize).next_multiple_of(page);
    let end = (bytes.as_ptr() as usize + bytes.len()) / page * page;
    if start < end {
        // SAFETY: whole pages inside an immutable static: a private mapping of the program's file that nothing has
        // written to, so dropping them loses nothing. MADV_DONTNEED leaves the range mapped.
        unsafe {
            libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED);
        }
    }
}

/// Lets go of the program's code in memory: what runs again comes back from the file, what only the start needed does
/// not.
pub fn unneeded_code() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let Ok(program) = std::fs::read_link("/proc/self/exe") else { return };
    let program = program.to_string_lossy();
    for line in maps.lines().filter(|l| l.ends_with(&*program)) {
        let mut fields = line.split_ascii_whitespace();
        let (Some(range), Some("r-xp")) = (fields.next(), fields.next()) else { continue };
        let hex = |text: &str| usize::from_str_radix(text, 16).ok();
        let Some((Some(start), Some(end))) = range.split_once('-').map(|(a, b)| (hex(a), hex(b))) else { continue };
        if start < end {
            // SAFETY: the kernel has just named this range as an executable private mapping of the program's own file.
            // Nothing writes there (relocations lie in data segments, which have no x), so dropping its pages loses
            // nothing; it stays mapped and is read again from the file.
            unsafe {
                libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn code_that_was_let_go_still_runs() {
        super::unneeded_code();
        assert_eq!(std::hint::black_box("1 2 3").split(' ').count(), 3);
    }

    #[test]
    fn what_is_let_go_comes_back() {
        static BYTES: [u8; 40_000] = [7; 40_000];
        super::unneeded(&BYTES);
        assert!(BYTES.iter().all(|b| *b == 7));
    }
}
