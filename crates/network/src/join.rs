//! A container joins the default network.

use crate::bridge::{Bridge, marker};
use crate::lease::{self, Endpoint, Record};
use crate::netlink::route::{self, Mac, Veth};
use crate::netlink::{Batch, Failure};
use crate::networks::{Inner, Networks};
use crate::ports::{self, Protocol, PublishedPort};
use crate::release::release;
use crate::{Error, Result, conntrack, new_id};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a container wants.
#[derive(Debug, Clone, Default)]
pub struct Join {
    /// The container's name, for messages.
    pub name: String,
    /// `--mac-address`; otherwise derived from the address, so that neighbours' memories of it stay right.
    pub mac: Option<Mac>,
    /// `--ip`; otherwise the lowest free one.
    pub ip: Option<Ipv4Addr>,
    /// `-p`, `-P`
    pub ports: Vec<PublishedPort>,
}

/// What a container got. Dropping it gives nothing back: `Networks::release` does.
#[derive(Debug)]
pub struct Lease {
    /// The namespace, with `eth0` up, addressed and routed. It lives as long as a descriptor or a process holds it.
    pub netns: OwnedFd,
    /// Hold the published ports: to be kept open for the container's life.
    pub sockets: Vec<OwnedFd>,
    /// What `inspect` shows.
    pub endpoint: Endpoint,
}

impl std::ops::Deref for Lease {
    type Target = Endpoint;
    fn deref(&self) -> &Endpoint {
        &self.endpoint
    }
}

/// Name of the interface in the container.
const INTERFACE: &str = "eth0";

/// Name of the host's end, new for every start: the device of the last one may still be about to go.
pub(crate) fn veth_name(endpoint: &Endpoint) -> String {
    format!("veth{}", endpoint.endpoint_id.get(..11).unwrap_or(&endpoint.endpoint_id))
}

fn derived_mac(ip: Ipv4Addr) -> Mac {
    let [a, b, c, d] = ip.octets();
    Mac([0x02, 0x42, a, b, c, d])
}

/// Whether the hardware address is the one that every holder of the address has.
pub(crate) fn is_derived(endpoint: &Endpoint) -> bool {
    endpoint.mac == derived_mac(endpoint.ip)
}

fn validate(id: &str, join: &Join) -> Result<()> {
    // It becomes a file name and part of a device's name.
    let valid = !id.is_empty() && id.len() <= 128 && id.bytes().all(|b| b.is_ascii_alphanumeric());
    if !valid {
        return Err(Error::Invalid(format!("invalid container id {id:?}")));
    }
    if let Some(mac) = join.mac
        && (mac.0[0] & 1 != 0 || mac == Mac([0; 6]))
    {
        return Err(Error::Invalid(format!("invalid MAC address {mac}: it must be that of one device")));
    }
    Ok(())
}

impl Networks {
    /// Gives the container a namespace, an interface, an address and its ports. All of it or, with an error, nothing.
    pub fn join(&self, id: &str, join: &Join) -> Result<Lease> {
        validate(id, join)?;
        let inner = &self.0;
        if inner.config.disabled {
            return Err(Error::Invalid("there is no default network: the engine runs with bridge \"none\"".into()));
        }
        let bridge = inner.bridge()?;
        let (record, sockets) = reserve(inner, id, join, &bridge)?;
        let lease = match connect(inner, &record, &bridge) {
            // Someone removed the bridge under us: a new one, once.
            Err(Error::Kernel { .. }) if inner.bridge_is_stale(&bridge) => {
                inner.bridge().and_then(|bridge| connect(inner, &record, &bridge))
            }
            other => other,
        };
        match lease {
            Ok(netns) => {
                let namespaces = inner.namespaces.clone();
                // Off the caller's path; that it cannot be started costs the next join a little time.
                let _ = std::thread::Builder::new()
                    .name("netns-spare".into())
                    .stack_size(128 * 1024)
                    .spawn(move || namespaces.refill());
                Ok(Lease { netns, sockets, endpoint: record.endpoint })
            }
            Err(error) => {
                for error in release(inner, id) {
                    tracing::error!(%error, container = id, "undo of a failed join");
                }
                Err(error)
            }
        }
    }
}

/// Address, ports, record: all that is known before the kernel makes a device.
fn reserve(inner: &Inner, id: &str, join: &Join, bridge: &Bridge) -> Result<(Record, Vec<OwnedFd>)> {
    let endpoint_id = new_id()?;
    let (ip, taken) = {
        let mut leases = inner.leases();
        if leases.records.contains_key(id) {
            return Err(Error::Conflict(format!("container {id} is already connected to network bridge")));
        }
        (leases.reserve(&inner.range(bridge), join.ip)?, leases.ports())
    };
    let held = || {
        let prefix = match join.name.as_str() {
            "" => String::new(),
            name => format!("driver failed programming external connectivity on endpoint {name} ({endpoint_id}): "),
        };
        let request = ports::Request {
            ports: &join.ports,
            container: ip,
            default_ip: inner.config.publish_ip,
            taken: &taken,
            endpoint: &prefix,
        };
        let (bindings, sockets) = ports::reserve(&request, &inner.ephemeral)?;
        let endpoint = Endpoint {
            network: "bridge".into(),
            network_id: inner.ids.bridge.clone(),
            endpoint_id: endpoint_id.clone(),
            interface: INTERFACE.into(),
            ip,
            prefix: bridge.subnet.prefix,
            gateway: inner.config.default_gateway.unwrap_or(bridge.gateway),
            mac: join.mac.unwrap_or_else(|| derived_mac(ip)),
            ports: bindings,
        };
        let record = Record { version: lease::VERSION, id: id.to_owned(), endpoint };
        lease::write(&inner.directory, &record)?;
        Ok((record, sockets))
    };
    let result = held();
    let mut leases = inner.leases();
    match result {
        Ok((record, sockets)) => {
            leases.records.insert(id.to_owned(), record.clone());
            Ok((record, sockets))
        }
        Err(error) => {
            leases.free(ip);
            Err(error)
        }
    }
}

/// The kernel notices in a work queue of its own that a pair is up at both ends, and drops all packets until then: the
/// first one of a container would be lost and come again only after a second. Asking for the device's state makes newer
/// kernels look at once; older ones are waited for.
fn wait_until_running(inner: &Inner, name: &str) -> Result<()> {
    const ENOUGH: Duration = Duration::from_millis(100);
    let start = Instant::now();
    loop {
        let link = inner.route.with(|socket| route::find_link(socket, name))?;
        if link.is_none_or(|link| link.running) || start.elapsed() > ENOUGH {
            return Ok(());
        }
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// The devices and the rules.
fn connect(inner: &Arc<Inner>, record: &Record, bridge: &Bridge) -> Result<OwnedFd> {
    let endpoint = &record.endpoint;
    let mut namespace = inner.namespaces.take()?;
    let mut outside = Batch::new();
    outside.add_veth(&Veth {
        name: &veth_name(endpoint),
        alias: &format!("{}{}", marker(&inner.config.table), record.id),
        bridge: bridge.index,
        mtu: inner.config.mtu,
        peer: INTERFACE,
        peer_mac: endpoint.mac,
        netns: namespace.fd.as_fd(),
        isolated: bridge.isolate,
        // With br_netfilter a container that calls its own published port is bridged back to where it came from.
        hairpin: !endpoint.ports.is_empty(),
        ipv6: inner.ipv6,
    });
    if !is_derived(endpoint) {
        outside.set_neighbour(bridge.index, endpoint.ip, endpoint.mac);
    }
    inner.route.with(|socket| socket.apply(outside))?;
    let index = route::find_link(&mut namespace.socket, INTERFACE)?.map(|link| link.index);
    let index = index.ok_or(Failure { doing: "find the container's interface", errno: rustix::io::Errno::NODEV })?;
    let mut inside = Batch::new();
    inside.add_address(index, bridge.subnet, endpoint.ip);
    inside.set_up(index);
    inside.add_default_route(index, endpoint.gateway);
    namespace.socket.apply(inside)?;
    wait_until_running(inner, &veth_name(endpoint))?;
    // A bridge whose first port comes up is itself such a device.
    wait_until_running(inner, &bridge.name)?;
    if !endpoint.ports.is_empty() {
        inner.publish(bridge, endpoint.ip, &endpoint.ports)?;
        if endpoint.ports.iter().any(|port| port.proto == Protocol::Udp) {
            conntrack::forget_before(endpoint.ip, &endpoint.ports)?;
        }
    }
    Ok(namespace.fd)
}
