//! Network devices of the host that move into the container (config-linux.md#network-devices), with the addresses that
//! were given to them for good. They come back to the host when the container's network namespace ends, if they are real.

use crate::Failure;
use crate::namespaces::Namespaces;
use oci::runtime::Linux;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use sys::clone::flags as ns;

/// linux/netlink.h
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const CREATE_EXCL: u16 = 0x600;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// linux/rtnetlink.h
const NEWLINK: u16 = 16;
const NEWADDR: u16 = 20;
const GETADDR: u16 = 22;
/// linux/if_link.h
const IFNAME: u16 = 3;
const NET_NS_FD: u16 = 28;
/// linux/if_addr.h
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
const FLAGS: u16 = 8;
const PERMANENT: u32 = 0x80;
const UP: u32 = 1;
const HEADER: usize = 16;
/// Of `struct ifaddrmsg`.
const ADDR_HEADER: usize = 8;

/// Whether the configuration's devices can be what it asks for.
pub(crate) fn check(linux: &Linux, namespaces: &Namespaces) -> Result<(), Failure> {
    if linux.net_devices.is_empty() {
        return Ok(());
    }
    let invalid = |text: String| Err(Failure::invalid("netDevices", text));
    if namespaces.own() & ns::NEWNET == 0 {
        return invalid("unable to move network devices without a NET namespace".into());
    }
    let bad = |name: &str| {
        name.is_empty()
            || name.len() > 15
            || [".", ".."].contains(&name)
            || name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c == '\0')
    };
    for (name, device) in &linux.net_devices {
        if bad(name) {
            return invalid(format!("invalid network device name {name:?}"));
        }
        if !device.name.is_empty() && bad(&device.name) {
            return invalid(format!("invalid network device name {:?}", device.name));
        }
    }
    Ok(())
}

/// Moves the devices into the network namespace of the process `pid`.
pub(crate) fn enter(linux: &Linux, namespaces: &Namespaces, pid: i32) -> Result<(), Failure> {
    if linux.net_devices.is_empty() {
        return Ok(());
    }
    let failed = |what: &str| {
        let what = what.to_owned();
        move |e| Failure::system("netDevices", &what, e)
    };
    let open = |path: &str| rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let own = open("/proc/self/ns/net").map_err(failed("open the network namespace"))?;
    // A process that joins one may not be there yet.
    let joined = namespaces.join.iter().find(|(kind, _)| *kind == ns::NEWNET).map(|(_, fd)| fd.try_clone());
    let there = match joined {
        Some(fd) => fd.map_err(|e| failed("dup")(crate::plan::errno(&e)))?,
        None => open(&format!("/proc/{pid}/ns/net")).map_err(failed("open the container's network namespace"))?,
    };
    let here = Socket::open().map_err(failed("open a netlink socket"))?;
    sys::setns(there.as_fd(), ns::NEWNET).map_err(failed("join the container's network namespace"))?;
    let inside = Socket::open();
    sys::setns(own.as_fd(), ns::NEWNET).map_err(failed("return to the network namespace"))?;
    let inside = inside.map_err(failed("open a netlink socket"))?;
    for (name, device) in &linux.net_devices {
        let inner = if device.name.is_empty() { name } else { &device.name };
        move_one(&here, &inside, name, inner, there.as_fd())
            .map_err(|(what, e)| failed(&format!("move network device {name:?} as {inner:?}: {what}"))(e))?;
    }
    Ok(())
}

type Step = (&'static str, Errno);

fn move_one(here: &Socket, inside: &Socket, name: &str, inner: &str, there: BorrowedFd) -> Result<(), Step> {
    let index = name_to_index(&here.0, name).map_err(|e| ("link not found", e))?;
    let answers = here.ask(GETADDR, DUMP, &[0; ADDR_HEADER], &[]).map_err(|e| ("get its addresses", e))?;
    // Nothing of the host shall go by it while it changes. That alone takes its IPv6 addresses away.
    here.ask(NEWLINK, ACK, &link(index, false), &[]).map_err(|e| ("set it down", e))?;
    let namespace = there.as_raw_fd().to_ne_bytes();
    let text = [inner.as_bytes(), b"\0"].concat();
    here.ask(NEWLINK, ACK, &link(index, false), &[(IFNAME, &text), (NET_NS_FD, &namespace)])
        .map_err(|e| ("change its namespace", e))?;

    let moved = name_to_index(&inside.0, inner).map_err(|e| ("link not found in the container", e))?;
    let addresses = answers.iter().filter_map(|answer| Address::read(answer)).filter(|a| a.index == index && a.stays);
    for a in addresses {
        let mut header = a.header;
        header[4..].copy_from_slice(&moved.to_ne_bytes());
        let attributes: Vec<(u16, &[u8])> =
            a.attributes.iter().map(|(kind, value)| (*kind, value.as_slice())).collect();
        inside.ask(NEWADDR, ACK | CREATE_EXCL, &header, &attributes).map_err(|e| ("give it its address", e))?;
    }
    inside.ask(NEWLINK, ACK, &link(moved, true), &[]).map_err(|e| ("set it up", e)).map(drop)
}

/// `struct ifinfomsg`, to set the device up or down.
fn link(index: u32, up: bool) -> [u8; 16] {
    let mut message = [0; 16];
    message[4..8].copy_from_slice(&index.to_ne_bytes());
    message[8..12].copy_from_slice(&(if up { UP } else { 0 }).to_ne_bytes());
    message[12..16].copy_from_slice(&UP.to_ne_bytes());
    message
}

/// An address of a device.
struct Address {
    /// `struct ifaddrmsg` but for the flags.
    header: [u8; ADDR_HEADER],
    index: u32,
    /// It was given for good, and has a meaning elsewhere than here.
    stays: bool,
    /// Local and peer, as they go into a message again.
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Address {
    /// Reads an answer to `GETADDR`, its header left off.
    fn read(answer: &[u8]) -> Option<Address> {
        let mut header: [u8; ADDR_HEADER] = answer.get(..ADDR_HEADER)?.try_into().ok()?;
        let index = u32::from_ne_bytes(header[4..].try_into().ok()?);
        let (mut flags, scope) = (u32::from(header[2]), header[3]);
        (header[2], header[3]) = (0, 0);
        let mut attributes = Vec::new();
        let mut rest = &answer[ADDR_HEADER..];
        while let Some(head) = rest.get(..4) {
            let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
            let kind = u16::from_ne_bytes([head[2], head[3]]);
            let value = rest.get(4..length)?;
            match kind {
                ADDRESS | LOCAL => attributes.push((kind, value.to_vec())),
                FLAGS => flags = u32::from_ne_bytes(value.try_into().ok()?),
                _ => {}
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Some(Address { header, index, stays: flags & PERMANENT != 0 && scope == 0, attributes })
    }
}

/// A netlink socket of the namespace that it was made in.
struct Socket(OwnedFd);

impl Socket {
    fn open() -> Result<Socket, Errno> {
        // NETLINK_ROUTE is number 0.
        let kind = (AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC);
        rustix::net::socket_with(kind.0, kind.1, kind.2, None).map(Socket)
    }

    /// Sends one message and reads its answers up to the last: their contents without headers.
    fn ask(&self, kind: u16, flags: u16, fixed: &[u8], attributes: &[(u16, &[u8])]) -> Result<Vec<Vec<u8>>, Errno> {
        let mut message = vec![0; HEADER];
        message.extend_from_slice(fixed);
        for (kind, value) in attributes {
            let length = u16::try_from(value.len() + 4).map_err(|_| Errno::INVAL)?;
            message.extend_from_slice(&length.to_ne_bytes());
            message.extend_from_slice(&kind.to_ne_bytes());
            message.extend_from_slice(value);
            message.resize(message.len().next_multiple_of(4), 0);
        }
        let length = u32::try_from(message.len()).map_err(|_| Errno::INVAL)?;
        message[..4].copy_from_slice(&length.to_ne_bytes());
        message[4..6].copy_from_slice(&kind.to_ne_bytes());
        message[6..8].copy_from_slice(&(flags | REQUEST).to_ne_bytes());
        rustix::net::send(&self.0, &message, SendFlags::empty())?;

        let mut answers = Vec::new();
        let mut packet = vec![0; 64 << 10];
        loop {
            let (n, _) = rustix::io::retry_on_intr(|| rustix::net::recv(&self.0, &mut packet[..], RecvFlags::empty()))?;
            let mut rest = &packet[..n];
            while let Some(head) = rest.get(..HEADER) {
                let length = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]) as usize;
                let body = rest.get(HEADER..length).ok_or(Errno::PROTO)?;
                match u16::from_ne_bytes([head[4], head[5]]) {
                    DONE => return Ok(answers),
                    ERROR => {
                        let code = body.get(..4).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
                        return if code == 0 { Ok(answers) } else { Err(Errno::from_raw_os_error(-code)) };
                    }
                    _ => answers.push(body.to_vec()),
                }
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::runtime::NetDevice;

    #[test]
    fn names_of_devices() {
        let of = |name: &str, inner: &str, own: u64| {
            let linux = Linux {
                net_devices: [(name.to_string(), NetDevice { name: inner.into() })].into(),
                ..Linux::default()
            };
            check(&linux, &Namespaces { new: own, ..Namespaces::default() }).map_err(|failure| failure.text)
        };
        assert_eq!(of("eth0", "", ns::NEWNET), Ok(()));
        assert_eq!(of("eth0", "net1", ns::NEWNET), Ok(()));
        assert_eq!(of("eth0", "", 0), Err("unable to move network devices without a NET namespace".into()));
        for bad in ["", "a/b", "sixteen-letters-", "a b", ".", ".."] {
            assert_eq!(of(bad, "x", ns::NEWNET), Err(format!("invalid network device name {bad:?}")));
        }
        assert_eq!(of("x", "a:b", ns::NEWNET), Err("invalid network device name \"a:b\"".into()));
    }

    #[test]
    fn an_address_is_read_with_its_flags() {
        let mut answer = vec![2, 24, 0x80, 0];
        answer.extend_from_slice(&7u32.to_ne_bytes());
        for (kind, value) in [(LOCAL, &[10u8, 0, 0, 1][..]), (3, b"eth0\0"), (FLAGS, &0x80u32.to_ne_bytes())] {
            answer.extend_from_slice(&(value.len() as u16 + 4).to_ne_bytes());
            answer.extend_from_slice(&kind.to_ne_bytes());
            answer.extend_from_slice(value);
            answer.resize(answer.len().next_multiple_of(4), 0);
        }
        let a = Address::read(&answer).unwrap();
        assert_eq!((a.index, a.stays, a.attributes), (7, true, vec![(LOCAL, vec![10, 0, 0, 1])]));
        assert_eq!((a.header[0], a.header[1]), (2, 24));
        answer[3] = 253;
        assert!(!Address::read(&answer).unwrap().stays);
        assert!(Address::read(&answer[..5]).is_none());
    }
}
