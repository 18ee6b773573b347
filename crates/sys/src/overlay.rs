//! overlayfs, on every kernel that has it, whatever the number of its layers.
//!
//! From Linux 6.7 on each lower directory is an option of its own (`lowerdir+`). Before, they are one string, of which
//! fsconfig(2) takes 255 bytes; a longer one only mount(2) takes, a page of options in all, and it has to put the file system
//! somewhere. From 6.5 on a kernel refuses the option that it does not know; older ones take any and refuse the whole.

use crate::mount::{Failure, MountAttr, Opt, attr, filesystem, mount_setattr};
use crate::{Errno, Result, clone, namespace};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, OpenTreeFlags, open_tree};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// The longest string that fsconfig(2) takes, its end included.
const FSCONFIG_MAX: usize = 256;

/// This kernel takes the lower directories as one string.
static ONE_STRING: AtomicBool = AtomicBool::new(false);

/// Makes an overlay of `options`, a mount that is attached nowhere, with [`crate::mount::attr`] `attributes`. Relative paths
/// start at the calling thread's directory; `lowerdir` is as mount(8) takes it, with backslashes before colons of names.
///
/// # Errors
/// What the kernel refuses.
pub fn mount(source: &str, options: &[Opt], attributes: u64) -> std::result::Result<OwnedFd, Failure> {
    if !ONE_STRING.load(Ordering::Relaxed)
        && let Some(one_by_one) = one_by_one(options)
    {
        match filesystem("overlay", source, &one_by_one, attributes) {
            // Either that was it or something else is wrong, which the other way will say too.
            Err((Errno::INVAL, _)) => {}
            other => return other,
        }
        let made = by_string(source, options, attributes)?;
        ONE_STRING.store(true, Ordering::Relaxed);
        return Ok(made);
    }
    by_string(source, options, attributes)
}

/// The same options with a `lowerdir+` for each lower directory.
fn one_by_one(options: &[Opt]) -> Option<Vec<Opt>> {
    let mut all = Vec::new();
    for (key, value) in options {
        match value {
            Some(lower) if key == "lowerdir" => {
                all.extend(split(lower)?.into_iter().map(|directory| ("lowerdir+".into(), Some(directory))));
            }
            value => all.push((key.clone(), value.clone())),
        }
    }
    Some(all)
}

fn by_string(source: &str, options: &[Opt], attributes: u64) -> std::result::Result<OwnedFd, Failure> {
    let long = |(_, value): &Opt| value.as_ref().is_some_and(|value| value.len() >= FSCONFIG_MAX);
    match options.iter().any(long) {
        true => by_mount(source, options, attributes).map_err(|e| (e, "mount".into())),
        false => filesystem("overlay", source, options, attributes),
    }
}

/// By mount(2), in a mount namespace that is gone afterwards: nobody else sees where it is.
fn by_mount(source: &str, options: &[Opt], attributes: u64) -> Result<OwnedFd> {
    let one = |(key, value): &Opt| match value {
        Some(value) => format!("{key}={value}"),
        None => key.clone(),
    };
    let data = options.iter().map(one).collect::<Vec<_>>().join(",");
    let data = CString::new(data).map_err(|_| Errno::INVAL)?;
    let make = || {
        namespace::unshare(clone::flags::NEWNS)?;
        crate::chroot::propagate(attr::PROPAGATION_SLAVE, true)?;
        rustix::mount::mount(source, "/", "overlay", MountFlags::empty(), Some(data.as_c_str()))?;
        // `..` of the root is the root, with what is mounted on it.
        let there = rustix::fs::open("/..", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        let made = open_tree(&there, "", flags)?;
        let clear = if attributes & attr::ATIME == 0 { 0 } else { attr::ATIME };
        let change = MountAttr { set: attributes, clear, propagation: attr::PROPAGATION_PRIVATE, userns: None };
        mount_setattr(made.as_fd(), c"", false, &change)?;
        Ok(made)
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("overlay".into()).spawn_scoped(scope, make);
        let thread = thread.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::AGAIN))?;
        thread.join().unwrap_or(Err(Errno::IO))
    })
}

/// The directories between unescaped colons, unescaped; `None` when there are data-only layers (`::`), which
/// `lowerdir+` cannot name.
fn split(lowerdir: &str) -> Option<Vec<String>> {
    let mut directories = vec![String::new()];
    let mut chars = lowerdir.chars();
    while let Some(c) = chars.next() {
        let last = directories.last_mut()?;
        match c {
            '\\' => last.push(chars.next()?),
            ':' if last.is_empty() => return None,
            ':' => directories.push(String::new()),
            other => last.push(other),
        }
    }
    directories.last().is_some_and(|last| !last.is_empty()).then_some(directories)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{FileType, openat};

    #[test]
    fn lower_directories() {
        let of = |text: &str| split(text);
        assert_eq!(of("l/A:l/B"), Some(vec!["l/A".into(), "l/B".into()]));
        assert_eq!(of("a\\:b:c\\\\"), Some(vec!["a:b".into(), "c\\".into()]));
        assert_eq!(of("a::d"), None);
        assert_eq!(of("a:"), None);
        assert_eq!(of(""), None);
        assert_eq!(of("a\\"), None);
    }

    /// The ways of old kernels, which this one still goes.
    #[test]
    fn few_and_many_layers_in_every_way() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let base = std::env::temp_dir().join(format!("dhow-overlay-{}", std::process::id()));
        for count in [2, 100] {
            let lower: Vec<String> = (0..count).map(|n| format!("{}/{n}", base.display())).collect();
            for (n, directory) in lower.iter().enumerate() {
                std::fs::create_dir_all(directory).unwrap();
                std::fs::write(format!("{directory}/{n}"), "").unwrap();
            }
            let joined = lower.join(":");
            if count == 100 {
                assert!(joined.len() < 4000, "it would not fit in a page");
            }
            let options = [("lowerdir".into(), Some(joined)), ("index".into(), Some("off".into()))];
            let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
            let read_only = attr::RDONLY;
            let ways = [
                mount("overlay", &options, read_only).unwrap(),
                by_string("overlay", &options, read_only).unwrap(),
                by_mount("overlay", &options, read_only).unwrap(),
            ];
            assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
            for way in ways {
                let own = openat(&way, ".", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
                let files = rustix::fs::Dir::read_from(&own).unwrap().map(|entry| entry.unwrap());
                assert_eq!(files.filter(|entry| entry.file_type() == FileType::RegularFile).count(), count);
                let new = openat(&own, "new", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR);
                assert_eq!(new.unwrap_err(), Errno::ROFS);
            }
        }
        let wrong = [("lowerdir".into(), Some(format!("{}/none", base.display())))];
        assert_eq!(mount("overlay", &wrong, 0).unwrap_err().0, Errno::NOENT);
        std::fs::remove_dir_all(&base).unwrap();
    }
}
