//! The network room: the default bridge, a container's interface and address, published ports, the firewall table.
//!
//! ```text
//! config.rs      what the administrator sets
//! networks.rs    the handle: open, the bridge and the table made at the first join, what GET /networks shows
//! join.rs        a container gets a namespace, an interface, an address, its ports
//! release.rs     … and gives all of it back; recovery; teardown
//! check.rs       are the leases, and what they stand for in the kernel, there
//! reaper.rs      removes devices in the background
//! lease.rs       who holds which address, as files
//! claim.rs       one engine per bridge
//! bridge.rs      the bridge and the choice of its network
//! namespace.rs   network namespaces
//! place.rs       a namespace with its interface on the bridge, made ahead
//! ready.rs       keeps one of a kind ready
//! ports.rs       published ports and the sockets that hold them
//! firewall.rs    our nftables table: chains, maps, transactions
//! monitor.rs     puts the table back when someone removes it
//! conntrack.rs   forgets UDP flows of a container that is gone
//! subnet.rs      IPv4 networks and pools
//! hosts.rs, resolv.rs   the texts of /etc/hosts and /etc/resolv.conf
//! netlink/       the wire: message.rs, socket.rs, route.rs (rtnetlink), nft.rs (nf_tables)
//! ```
//!
//! On disk: `<run>/network/<container id>.json`, the leases; `<root>/network/ids`, the ids of the networks.
//!
//! Invariants
//! - No two containers hold one address; a lease is written before anything of it exists in the kernel.
//! - Everything in the kernel is marked as ours (the alias of a link, the name of the table) and nothing else is touched:
//!   no other table, no other link, no sysctl of the host but `ip_forward` when it is off.
//! - Whatever is closed is closed by our own table; while it is missing for a moment nothing answers on a published
//!   port in its stead.
//! - IPv4 only: interfaces of containers and the bridge have no IPv6 address and accept no router advertisement.
//!
//! It must never know what an image, a process or an HTTP request is.

mod bridge;
mod check;
mod claim;
mod config;
mod conntrack;
mod firewall;
mod hosts;
mod join;
mod lease;
mod monitor;
mod namespace;
mod netlink;
mod networks;
mod place;
mod ports;
mod ready;
mod reaper;
mod release;
mod resolv;
mod subnet;

pub use config::{Cidr, Config};
pub use hosts::{hosts, hosts_of_host};
pub use join::{Join, Lease};
pub use lease::Endpoint;
pub use namespace::Netns;
pub use netlink::route::Mac;
pub use networks::{Network, Networks};
pub use ports::{Binding, Protocol, PublishedPort};
pub use resolv::{ResolvConf, host_resolv_conf};
pub use subnet::{AddressPool, Subnet, docker_pools};

use std::path::{Path, PathBuf};

/// The room's result.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong, by what a caller does about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// It clashes with something that is there.
    #[error("{0}")]
    Conflict(String),
    /// A port of the host is someone else's.
    #[error("failed to set up container networking: {0}")]
    PortInUse(String),
    /// No address is left.
    #[error("{0}")]
    Exhausted(String),
    /// A file of ours does not hold what it should.
    #[error("{0}")]
    Corrupt(String),
    /// The kernel refused.
    #[error("failed to set up container networking: {doing}: {source}")]
    Kernel {
        /// What the message was for.
        doing: &'static str,
        /// The kernel's answer.
        source: rustix::io::Errno,
    },
    /// A file or a device.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl Error {
    fn io(doing: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Error {
        move |source| Error::Io { doing, path: path.as_ref().to_owned(), source }
    }

    fn os(doing: &'static str, path: impl AsRef<Path>) -> impl FnOnce(rustix::io::Errno) -> Error {
        move |errno| Error::Io { doing, path: path.as_ref().to_owned(), source: errno.into() }
    }
}

impl From<netlink::Failure> for Error {
    fn from(failure: netlink::Failure) -> Error {
        Error::Kernel { doing: failure.doing, source: failure.errno }
    }
}

/// Fills the buffer from the kernel's generator.
fn random(buffer: &mut [u8]) -> Result<()> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let flags = rustix::rand::GetRandomFlags::empty();
        filled += rustix::rand::getrandom(rest, flags).map_err(Error::os("read", "/dev/urandom"))?;
    }
    Ok(())
}

/// A new id: 64 hexadecimal digits.
fn new_id() -> Result<String> {
    let mut bytes = [0; 32];
    random(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
