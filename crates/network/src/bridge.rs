//! The bridge of the default network: found or made, with a network that clashes with nothing on this host.

use crate::config::{Cidr, Config};
use crate::namespace::write_sysctl;
use crate::netlink::route::{self, Link, Mac};
use crate::netlink::{Batch, Failure, Pool};
use crate::subnet::{AddressPool, Subnet};
use crate::{Error, Result};
use std::net::Ipv4Addr;
use std::path::Path;

/// The bridge as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Its address: where containers route to.
    pub gateway: Ipv4Addr,
    /// The network.
    pub subnet: Subnet,
    /// Ports are kept apart by the bridge itself, because the firewall does not see what passes between them.
    pub isolate: bool,
}

/// What the host has, as far as choosing a network goes.
struct Host {
    links: Vec<Link>,
    taken: Vec<(u32, Subnet, &'static str)>,
}

impl Host {
    fn read(sockets: &Pool, except: Option<u32>) -> Result<Host> {
        let (links, addresses, routes) = sockets.with(|socket| {
            Ok::<_, Failure>((route::links(socket)?, route::addresses(socket)?, route::routes(socket)?))
        })?;
        let routes = routes.into_iter().map(|(index, network)| (index, network, "route"));
        let addresses = addresses.into_iter().filter_map(|(index, address, prefix)| {
            let loopback = address.is_loopback();
            (!loopback).then_some((index, Subnet::new(address, prefix)?, "address"))
        });
        let taken = routes.chain(addresses).filter(|(index, ..)| Some(*index) != except).collect();
        Ok(Host { links, taken })
    }

    /// What of the host has addresses in common with the network.
    fn clash(&self, network: Subnet) -> Option<String> {
        let (index, other, what) = self.taken.iter().find(|(_, other, _)| other.overlaps(network))?;
        let device = self.links.iter().find(|link| link.index == *index).map_or("?", |link| link.name.as_str());
        Some(format!("the {what} {other} dev {device}"))
    }

    fn choose(&self, config: &Config) -> Result<Cidr> {
        if let Some(bip) = config.bip {
            return match self.clash(bip.subnet) {
                None => Ok(bip),
                Some(other) => Err(Error::Conflict(format!(
                    "the bridge's network {} clashes with {other} of this host: choose another --bip",
                    bip.subnet
                ))),
            };
        }
        let mut first = None;
        for network in config.pools.iter().copied().flat_map(AddressPool::networks) {
            match self.clash(network) {
                None => return Ok(Cidr { address: network.first_host(), subnet: network }),
                Some(other) => first = first.or(Some((network, other))),
            }
        }
        Err(Error::Conflict(match first {
            None => "there are no default address pools: give --bip or --default-address-pool".into(),
            Some((network, other)) => format!(
                "all predefined address pools have been fully subnetted: {network}, the first, clashes with {other}"
            ),
        }))
    }
}

/// What marks a link as made by the engine with this table.
pub(crate) fn marker(table: &str) -> String {
    format!("dhow:{table}:")
}

/// The network that the bridge has or would get; nothing is made.
pub(crate) fn plan(sockets: &Pool, config: &Config) -> Result<Cidr> {
    match existing(sockets, config)? {
        Some((_, Some(cidr))) => Ok(cidr),
        Some((link, None)) => Host::read(sockets, Some(link.index))?.choose(config),
        None => Host::read(sockets, None)?.choose(config),
    }
}

/// The bridge of that name with its first address, if it is there.
fn existing(sockets: &Pool, config: &Config) -> Result<Option<(Link, Option<Cidr>)>> {
    let Some(link) = sockets.with(|socket| route::find_link(socket, &config.bridge))? else { return Ok(None) };
    if link.kind != "bridge" {
        return Err(Error::Conflict(format!("the device {} exists and is not a bridge", config.bridge)));
    }
    let addresses = sockets.with(route::addresses)?;
    let address = addresses.into_iter().find(|(index, ..)| *index == link.index);
    let cidr = address.and_then(|(_, address, prefix)| Some(Cidr { address, subnet: Subnet::new(address, prefix)? }));
    Ok(Some((link, cidr)))
}

/// The bridge, made if it is not there. `in_use` says whether containers hold addresses of it.
pub(crate) fn ensure(sockets: &Pool, config: &Config, ipv6: bool, in_use: bool) -> Result<Bridge> {
    let (link, current) = match existing(sockets, config)? {
        Some(found) => found,
        None => {
            // Validate before anything is made: a clash leaves no trace.
            Host::read(sockets, None)?.choose(config)?;
            (create(sockets, config, ipv6)?, None)
        }
    };
    let mut batch = Batch::new();
    let cidr = match (current, config.bip) {
        (Some(current), None) => current,
        (Some(current), Some(wanted)) if current == wanted => current,
        (Some(current), Some(wanted)) => {
            if in_use || !link.alias.starts_with(&marker(&config.table)) {
                return Err(Error::Conflict(format!(
                    "the bridge {} has the address {}/{} and not {}/{}: remove it or its containers, or change --bip",
                    link.name, current.address, current.subnet.prefix, wanted.address, wanted.subnet.prefix
                )));
            }
            batch.remove_address(link.index, current.address, current.subnet.prefix);
            Host::read(sockets, Some(link.index))?.choose(config)?
        }
        (None, _) => Host::read(sockets, Some(link.index))?.choose(config)?,
    };
    if current != Some(cidr) {
        batch.add_address(link.index, cidr.subnet, cidr.address);
    }
    // With br_netfilter the firewall sees neighbours, and only so does a published port work between two ports that must
    // not talk: its frames count as bridged. Without it the bridge keeps the ports apart and published ports are routed.
    let seen = Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables").exists();
    if !config.icc && seen {
        batch.filter_bridged(&link.name);
    }
    if !link.up {
        batch.set_up(link.index);
    }
    sockets.with(|socket| socket.apply(batch))?;
    if config.ip_forward {
        forward()?;
    }
    Ok(Bridge {
        name: link.name,
        index: link.index,
        gateway: cidr.address,
        subnet: cidr.subnet,
        isolate: !config.icc && !seen,
    })
}

fn create(sockets: &Pool, config: &Config, ipv6: bool) -> Result<Link> {
    let mut random = [0; 6];
    crate::random(&mut random)?;
    // Locally administered, unicast, fixed: otherwise a bridge takes the lowest address of its ports, which changes.
    let [_, _, a, b, c, d] = random;
    let mut batch = Batch::new();
    batch.add_bridge(&config.bridge, Mac([0x02, 0x42, a, b, c, d]), config.mtu);
    batch.set_alias(&config.bridge, &marker(&config.table));
    sockets.with(|socket| socket.apply(batch))?;
    if ipv6 {
        write_sysctl(&format!("net/ipv6/conf/{}/disable_ipv6", config.bridge), "1")?;
    }
    let link = sockets.with(|socket| route::find_link(socket, &config.bridge))?;
    link.ok_or_else(|| Error::Conflict(format!("the bridge {} vanished while it was set up", config.bridge)))
}

/// Switches IPv4 forwarding on if it is off; nothing else of the host's settings is touched.
fn forward() -> Result<()> {
    let path = "/proc/sys/net/ipv4/ip_forward";
    let now = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    if now.trim() == "0" { write_sysctl("net/ipv4/ip_forward", "1") } else { Ok(()) }
}

/// Lets this host's 127.0.0.1 reach through the bridge, for published ports; the table's guard keeps others out.
pub(crate) fn route_loopback(name: &str) -> Result<()> {
    write_sysctl(&format!("net/ipv4/conf/{name}/route_localnet"), "1")
}

/// Removes the bridge if this engine made it.
pub(crate) fn remove(sockets: &Pool, config: &Config) -> Result<()> {
    let Some(link) = sockets.with(|socket| route::find_link(socket, &config.bridge))? else { return Ok(()) };
    if !link.alias.starts_with(&marker(&config.table)) {
        return Ok(());
    }
    let mut batch = Batch::new();
    batch.remove_link(&config.bridge);
    Ok(sockets.with(|socket| socket.apply(batch))?)
}
