//! mount_setattr(2) (Linux 5.12), and the five calls that make a new file system; the rest is in `rustix::mount`.

use crate::{Errno, Result, result};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// `MOUNT_ATTR_*` and propagation values of [`mount_setattr`].
pub mod attr {
    #![allow(missing_docs)]
    pub const RDONLY: u64 = 0x01;
    pub const NOSUID: u64 = 0x02;
    pub const NODEV: u64 = 0x04;
    pub const NOEXEC: u64 = 0x08;
    /// The mask of the access time modes: to be cleared whenever one of them is set.
    pub const ATIME: u64 = 0x70;
    pub const RELATIME: u64 = 0x00;
    pub const NOATIME: u64 = 0x10;
    pub const STRICTATIME: u64 = 0x20;
    pub const NODIRATIME: u64 = 0x80;
    pub const IDMAP: u64 = 0x0010_0000;
    pub const NOSYMFOLLOW: u64 = 0x0020_0000;

    pub const PROPAGATION_UNBINDABLE: u64 = 1 << 17;
    pub const PROPAGATION_PRIVATE: u64 = 1 << 18;
    pub const PROPAGATION_SLAVE: u64 = 1 << 19;
    pub const PROPAGATION_SHARED: u64 = 1 << 20;
}

/// What to change of a mount (`struct mount_attr`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MountAttr<'fd> {
    /// Flags of [`attr`] to set.
    pub set: u64,
    /// Flags of [`attr`] to clear, before setting.
    pub clear: u64,
    /// One `PROPAGATION_*`, or 0 to leave it.
    pub propagation: u64,
    /// With [`attr::IDMAP`]: the user namespace whose mapping the mount takes.
    pub userns: Option<PlainFd<'fd>>,
}

/// A borrowed descriptor that can be compared.
#[derive(Debug, Clone, Copy)]
pub struct PlainFd<'fd>(pub BorrowedFd<'fd>);

impl PartialEq for PlainFd<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_raw_fd() == other.0.as_raw_fd()
    }
}

impl Eq for PlainFd<'_> {}

#[repr(C)]
struct RawAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// The sentence that the kernel has left in the context of fsopen(2), if it did.
pub fn message(context: BorrowedFd) -> Option<String> {
    let mut message = [0u8; 256];
    match rustix::io::read(context, &mut message) {
        Ok(n) if n > 2 => Some(String::from_utf8_lossy(&message[2..n]).trim_end().to_owned()),
        _ => None,
    }
}

/// What failed, with what the kernel has said of it.
pub type Failure = (Errno, String);

/// An option of a file system: its name, and its value unless it is a flag.
pub type Opt = (String, Option<String>);

/// Makes a file system and a mount of it that is attached nowhere, with [`attr`] `attributes`.
///
/// # Errors
/// What the kernel refuses.
pub fn filesystem(kind: &str, source: &str, options: &[Opt], attributes: u64) -> std::result::Result<OwnedFd, Failure> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).map_err(|e| (e, format!("file system {kind:?}")))?;
    let failed = |what: String, e| match message(context.as_fd()) {
        Some(said) => (e, format!("{what} ({said})")),
        None => (e, what),
    };
    if !source.is_empty() {
        fsconfig_set_string(&context, "source", source).map_err(|e| failed("source".into(), e))?;
    }
    for (key, value) in options {
        match value {
            Some(value) => fsconfig_set_string(&context, key.as_str(), value.as_str()),
            None => fsconfig_set_flag(&context, key.as_str()),
        }
        .map_err(|e| failed(format!("option {key:?}"), e))?;
    }
    fsconfig_create(&context).map_err(|e| failed("create".into(), e))?;
    let attributes = MountAttrFlags::from_bits_retain(attributes as u32);
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(|e| (e, "fsmount".into()))
}

/// Changes the mount at `path`, an empty one meaning `dir` itself, and with `recursive` all mounts below it.
pub fn mount_setattr(dir: BorrowedFd, path: &CStr, recursive: bool, change: &MountAttr) -> Result<()> {
    const AT_RECURSIVE: libc::c_int = 0x8000;
    let mut flags = libc::AT_SYMLINK_NOFOLLOW;
    if path.is_empty() {
        flags |= libc::AT_EMPTY_PATH;
    }
    if recursive {
        flags |= AT_RECURSIVE;
    }
    let mut raw = RawAttr {
        attr_set: change.set,
        attr_clr: change.clear,
        propagation: change.propagation,
        userns_fd: change.userns.map_or(0, |fd| fd.0.as_raw_fd() as u64),
    };
    // SAFETY: `path` is NUL-terminated, `raw` has the layout of version 0 of the kernel's struct, whose size is passed; both
    // outlive the call, which writes to neither.
    result(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dir.as_raw_fd(),
            path.as_ptr(),
            flags,
            &raw mut raw,
            size_of::<RawAttr>(),
        )
    })?;
    Ok(())
}
