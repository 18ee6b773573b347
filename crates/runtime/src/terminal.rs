//! The terminal of a process: a pty of the container's own devpts.

use crate::Failure;
use crate::mount::{attach, clone_tree};
use crate::sync::{Report, Socket};
use rustix::fs::{FileType, OFlags, major, makedev};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::rootfs;

const DEVPTS_MAGIC: u64 = 0x1cd1;
/// Majors of the slaves of Unix98 ptys.
const PTS_MAJORS: std::ops::RangeInclusive<u32> = 136..=143;

/// Opens a pty, sends its master to the parent and returns the other side. The container may have replaced anything by
/// name, so what was opened is checked to be devpts's own, and the other side comes from the master, not from a name.
pub(crate) fn open(root: BorrowedFd, (lines, columns): (u16, u16), socket: &Socket) -> Result<OwnedFd, Failure> {
    let failed = |what: &'static str| move |e| Failure::system("terminal", what, e);
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK;
    let master = rootfs::resolve(root, b"dev/pts/ptmx", flags).map_err(failed("open /dev/pts/ptmx"))?;
    let magic = rustix::fs::fstatfs(&master).map_err(failed("statfs /dev/pts/ptmx"))?.f_type as u64;
    let kind = rootfs::kind(master.as_fd()).map_err(failed("stat /dev/pts/ptmx"))?;
    if magic != DEVPTS_MAGIC || kind != (FileType::CharacterDevice, makedev(5, 2)) {
        return Err(failed("/dev/pts/ptmx is not the terminal multiplexer")(Errno::NODEV));
    }
    rustix::fs::fcntl_setfl(&master, OFlags::empty()).map_err(failed("fcntl"))?;
    rustix::pty::unlockpt(&master).map_err(failed("unlock the pty"))?;
    let slave_flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, slave_flags).map_err(failed("TIOCGPTPEER"))?;
    let (kind, number) = rootfs::kind(slave.as_fd()).map_err(failed("stat the pty"))?;
    if kind != FileType::CharacterDevice || !PTS_MAJORS.contains(&major(number)) {
        return Err(failed("the pty's other side is not a terminal")(Errno::NODEV));
    }
    if (lines, columns) != (0, 0) {
        let size = Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&master, size).map_err(failed("set the size of the terminal"))?;
    }
    socket.report(&Report::Terminal(master))?;
    Ok(slave)
}

/// Makes the terminal the container's `/dev/console`.
pub(crate) fn console(root: BorrowedFd, slave: BorrowedFd) -> Result<(), Failure> {
    let mount = || -> Result<(), Errno> {
        let target = rootfs::create_file(root, b"dev/console", 0o600)?;
        attach(clone_tree(slave, b"", false)?.as_fd(), target.as_fd())
    };
    mount().map_err(|e| Failure::system("terminal", "mount /dev/console", e))
}
