//! Network namespaces for containers. A namespace is made by a thread of its own, which ends in it; what is left is a
//! descriptor of the namespace and a netlink socket inside it, so that nobody has to enter it again.

use crate::netlink::{Batch, ROUTE, Socket};
use crate::{Error, Result};
use rustix::fs::{CWD, Mode, OFlags, open, openat};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Index of the loopback device: the first device of every namespace.
const LOOPBACK: u32 = 1;

/// A namespace whose loopback is up and where interfaces get no IPv6 address unless the user asks for it.
pub(crate) struct Namespace {
    pub(crate) outside: Netns,
    pub(crate) socket: Socket,
}

/// A network namespace. It lives as long as a descriptor or a process holds it.
#[derive(Debug)]
pub struct Netns {
    /// The namespace.
    pub fd: OwnedFd,
    /// A sysfs that shows its devices, mounted nowhere; `None` where the kernel gave none. To make one the kernel looks at
    /// that of every other network namespace.
    pub sysfs: Option<OwnedFd>,
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Makes one.
pub(crate) fn make(ipv6: bool) -> Result<Namespace> {
    let thread = std::thread::Builder::new().name("netns".into()).stack_size(128 * 1024);
    let made = thread.spawn(move || enter_new(ipv6)).map_err(Error::io("start a thread", "netns"))?;
    made.join().unwrap_or_else(|_| Err(Error::Invalid("the thread that makes a network namespace panicked".into())))
}

fn enter_new(ipv6: bool) -> Result<Namespace> {
    let own = Path::new("/proc/thread-self/ns/net");
    sys::unshare(sys::clone::flags::NEWNET).map_err(Error::os("make a network namespace", own))?;
    let fd = open(own, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(Error::os("open", own))?;
    // In a procfs that all share, every namespace leaves entries of the same names behind, and the kernel looks through all
    // of them for the next one's: hundreds of containers would make each other slow.
    let shared = || open("/proc", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let proc = own_filesystem("proc").or_else(|_| shared()).map_err(Error::os("open", Path::new("/proc")))?;
    let write = |name, value| write_below(proc.as_fd(), &Path::new("sys").join(name), value);
    // What a device has is copied from `default` when it appears: eth0 never has a moment of IPv6.
    if ipv6 {
        write("net/ipv6/conf/default/disable_ipv6", "1")?;
        write("net/ipv6/conf/default/accept_ra", "0")?;
    }
    // As Docker does: inside its own namespace a container may bind port 80 and send pings without capabilities.
    write("net/ipv4/ip_unprivileged_port_start", "0")?;
    write("net/ipv4/ping_group_range", "0 2147483647")?;
    let mut socket = Socket::open(ROUTE, 0)?;
    let mut batch = Batch::new();
    batch.set_up(LOOPBACK);
    socket.apply(batch)?;
    let sysfs = own_filesystem("sysfs").ok();
    Ok(Namespace { outside: Netns { fd, sysfs }, socket })
}

/// A file system of the kernel that is mounted nowhere and that nobody else sees.
fn own_filesystem(kind: &str) -> rustix::io::Result<OwnedFd> {
    sys::mount::filesystem(kind, kind, &[], 0).map_err(|(errno, _)| errno)
}

/// Writes a sysctl of the network namespace of the calling thread. A write that changes nothing is harmless.
pub(crate) fn write_sysctl(name: &str, value: &str) -> Result<()> {
    write_below(CWD, &Path::new("/proc/sys").join(name), value)
}

fn write_below(directory: BorrowedFd<'_>, path: &Path, value: &str) -> Result<()> {
    let file = openat(directory, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    let file = file.map_err(Error::os("open", path))?;
    rustix::io::write(&file, value.as_bytes()).map_err(Error::os("write", path))?;
    Ok(())
}
