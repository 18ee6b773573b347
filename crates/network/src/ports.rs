//! Published ports: what is asked for, what was bound, and the sockets that hold the ports.

use crate::{Error, Result};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, listen, socket_with, sockopt};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU16, Ordering};

/// A protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// SCTP
    Sctp,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        })
    }
}

impl std::str::FromStr for Protocol {
    type Err = Error;
    fn from_str(text: &str) -> Result<Protocol> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Protocol::Tcp),
            "udp" => Ok(Protocol::Udp),
            "sctp" => Ok(Protocol::Sctp),
            _ => Err(Error::Invalid(format!("invalid proto: {text}"))),
        }
    }
}

/// A port that is to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedPort {
    /// The protocol.
    pub proto: Protocol,
    /// The port in the container.
    pub container_port: u16,
    /// The address of the host it is published at; none means all, or the configured one.
    pub host_ip: Option<IpAddr>,
    /// The port on the host; none means any free one.
    pub host_port: Option<u16>,
    /// With `host_port`, the end of a range of which the first free port is taken.
    pub host_port_end: Option<u16>,
}

/// A port that is published.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Binding {
    /// The protocol.
    pub proto: Protocol,
    /// The port in the container.
    pub container_port: u16,
    /// The address of the host; 0.0.0.0 means all.
    pub host_ip: Ipv4Addr,
    /// The port on the host.
    pub host_port: u16,
}

impl Binding {
    fn clashes(&self, other: &Binding) -> bool {
        self.proto == other.proto
            && self.host_port == other.host_port
            && (self.host_ip == other.host_ip || self.host_ip.is_unspecified() || other.host_ip.is_unspecified())
    }
}

/// Hands out free ports in turn, so that a port just given back is not at once someone else's.
pub(crate) struct Ephemeral {
    next: AtomicU16,
}

impl Ephemeral {
    pub(crate) fn new() -> Ephemeral {
        Ephemeral { next: AtomicU16::new(0) }
    }

    /// The kernel's own range, every port once.
    fn candidates(&self) -> impl Iterator<Item = u16> {
        let (low, high) = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
            .ok()
            .and_then(|text| {
                let mut numbers = text.split_whitespace().map(str::parse::<u16>);
                Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
            })
            .filter(|(low, high)| low <= high)
            .unwrap_or((32768, 60999));
        let start = self.next.load(Ordering::Relaxed).clamp(low, high);
        (start..=high).chain(low..start)
    }
}

/// What ports are wanted for.
pub(crate) struct Request<'a> {
    pub(crate) ports: &'a [PublishedPort],
    pub(crate) container: Ipv4Addr,
    pub(crate) default_ip: Ipv4Addr,
    /// The ports of all other containers.
    pub(crate) taken: &'a [Binding],
    /// Begin of the message of an error: which container it is about.
    pub(crate) endpoint: &'a str,
}

/// Binds every port, exact ones first so that none of them is taken for a range. The sockets hold the ports against
/// every other program; what reaches them is translated before, so that nothing ever arrives there.
pub(crate) fn reserve(request: &Request, ephemeral: &Ephemeral) -> Result<(Vec<Binding>, Vec<OwnedFd>)> {
    let exact =
        |port: &PublishedPort| port.host_port.is_some() && port.host_port_end.is_none_or(|e| Some(e) == port.host_port);
    let (first, later): (Vec<_>, Vec<_>) = request.ports.iter().partition(|port| exact(port));
    let mut bindings: Vec<Binding> = Vec::with_capacity(request.ports.len());
    let mut sockets = Vec::with_capacity(request.ports.len());
    for port in first.into_iter().chain(later) {
        let host_ip = match port.host_ip {
            None => request.default_ip,
            Some(IpAddr::V4(ip)) => ip,
            Some(IpAddr::V6(ip)) => ip.to_ipv4_mapped().ok_or_else(|| {
                Error::Invalid(format!("cannot publish a port at [{ip}]: the default network has no IPv6"))
            })?,
        };
        let (binding, socket) = one(request, ephemeral, port, host_ip, &bindings)?;
        bindings.push(binding);
        sockets.extend(socket);
    }
    Ok((bindings, sockets))
}

fn one(
    request: &Request,
    ephemeral: &Ephemeral,
    port: &PublishedPort,
    host_ip: Ipv4Addr,
    own: &[Binding],
) -> Result<(Binding, Option<OwnedFd>)> {
    let binding = |host_port| Binding { proto: port.proto, container_port: port.container_port, host_ip, host_port };
    let ours = |binding: &Binding| request.taken.iter().chain(own).any(|other| other.clashes(binding));
    let refused = |why: String| Error::PortInUse(format!("{}{why}", request.endpoint));
    let Some(wanted) = port.host_port.filter(|port| *port != 0) else {
        for candidate in ephemeral.candidates() {
            let binding = binding(candidate);
            if !ours(&binding)
                && let Ok(socket) = hold(&binding)
            {
                ephemeral.next.store(candidate.wrapping_add(1), Ordering::Relaxed);
                return Ok((binding, socket));
            }
        }
        return Err(refused("all ports are allocated".into()));
    };
    let end = port.host_port_end.unwrap_or(wanted);
    if end < wanted {
        return Err(Error::Invalid(format!("invalid range of host ports: {wanted}-{end}")));
    }
    let range = if end == wanted { wanted.to_string() } else { format!("{wanted}-{end}") };
    let mut last = None;
    for candidate in wanted..=end {
        let binding = binding(candidate);
        let why = if ours(&binding) {
            format!("Bind for {host_ip}:{candidate} failed: port is already allocated")
        } else {
            match hold(&binding) {
                Ok(socket) => return Ok((binding, socket)),
                Err(errno) => format!(
                    "failed to bind host port for {host_ip}:{range}:{}:{}/{}: {}",
                    request.container,
                    port.container_port,
                    port.proto,
                    words(errno)
                ),
            }
        };
        last = Some(why);
    }
    Err(refused(last.unwrap_or_default()))
}

/// The kernel's error as Docker prints it.
fn words(errno: Errno) -> String {
    match errno {
        Errno::ADDRINUSE => "address already in use".into(),
        Errno::ADDRNOTAVAIL => "cannot assign requested address".into(),
        Errno::ACCESS => "permission denied".into(),
        other => std::io::Error::from(other).to_string(),
    }
}

/// A socket that keeps others from binding the port; none for SCTP where the kernel has no SCTP.
fn hold(binding: &Binding) -> std::result::Result<Option<OwnedFd>, Errno> {
    let address = SocketAddrV4::new(binding.host_ip, binding.host_port);
    let open = |kind, protocol| socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, Some(protocol));
    match binding.proto {
        Protocol::Tcp => {
            // Bound and deaf: should our rules be missing for a moment, a client is refused instead of kept waiting.
            let socket = open(SocketType::STREAM, ipproto::TCP)?;
            match bind(&socket, &address) {
                Err(Errno::ADDRINUSE) => {}
                other => return other.map(|()| Some(socket)),
            }
            // Perhaps only connections of an ended server linger on the port. SO_REUSEADDR looks past those, but also
            // past other deaf sockets: that nobody else holds the port is sure only when we can listen.
            let socket = open(SocketType::STREAM, ipproto::TCP)?;
            sockopt::set_socket_reuseaddr(&socket, true)?;
            bind(&socket, &address)?;
            listen(&socket, 0)?;
            Ok(Some(socket))
        }
        Protocol::Udp => {
            let socket = open(SocketType::DGRAM, ipproto::UDP)?;
            bind(&socket, &address)?;
            sockopt::set_socket_recv_buffer_size(&socket, 0)?;
            Ok(Some(socket))
        }
        Protocol::Sctp => match open(SocketType::STREAM, ipproto::SCTP) {
            Ok(socket) => bind(&socket, &address).map(|()| Some(socket)),
            Err(Errno::PROTONOSUPPORT | Errno::SOCKTNOSUPPORT | Errno::INVAL) => Ok(None),
            Err(errno) => Err(errno),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bindings_clash_by_protocol_port_and_address() {
        let binding =
            |proto, ip: [u8; 4], host_port| Binding { proto, container_port: 1, host_ip: ip.into(), host_port };
        let any = binding(Protocol::Tcp, [0; 4], 80);
        assert!(any.clashes(&binding(Protocol::Tcp, [127, 0, 0, 1], 80)));
        assert!(!any.clashes(&binding(Protocol::Udp, [0; 4], 80)));
        assert!(!any.clashes(&binding(Protocol::Tcp, [0; 4], 81)));
        let local = binding(Protocol::Tcp, [127, 0, 0, 1], 80);
        assert!(!local.clashes(&binding(Protocol::Tcp, [127, 0, 0, 2], 80)));
    }

    #[test]
    fn protocols_are_read_without_regard_to_case() {
        assert_eq!("UDP".parse::<Protocol>().unwrap(), Protocol::Udp);
        assert_eq!("icmp".parse::<Protocol>().unwrap_err().to_string(), "invalid proto: icmp");
    }
}
