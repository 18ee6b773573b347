//! A container joins the default network.

use crate::bridge::{Bridge, marker};
use crate::lease::{self, Endpoint, Record};
use crate::namespace::Netns;
use crate::netlink::Batch;
use crate::netlink::route::Mac;
use crate::networks::{Inner, Networks};
use crate::place::{self, Place};
use crate::ports::{self, Protocol, PublishedPort};
use crate::ready::LATER;
use crate::reaper::remove_link;
use crate::release::release;
use crate::{Error, Result, conntrack, new_id};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use sys::step::{Step, reached};

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
    /// The namespace, with `eth0` up, addressed and routed.
    pub netns: Netns,
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

/// Name of the host's end, new for every start: the device of the last one may still be about to go.
pub(crate) fn veth_name(endpoint: &Endpoint) -> String {
    place::veth_name(&endpoint.endpoint_id)
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
        let place = inner.places.take();
        let endpoint_id = place.as_ref().map_or_else(new_id, |place| Ok(place.endpoint_id.clone()))?;
        // Addresses of containers that have ended are free in a moment, and the lowest is wanted.
        inner.reaper.quiet();
        let (record, sockets) = reserve(inner, id, join, &bridge, endpoint_id)?;
        reached(Step::StartLease);
        let lease = match connect(inner, &record, &bridge, place) {
            // Someone removed the bridge under us: a new one, once.
            Err(Error::Kernel { .. }) if inner.bridge_is_stale(&bridge) => {
                let removed = remove_link(&inner.route, &veth_name(&record.endpoint)).map_err(Error::from);
                removed.and_then(|()| inner.bridge()).and_then(|bridge| connect(inner, &record, &bridge, None))
            }
            other => other,
        };
        match lease {
            Ok(netns) => {
                inner.make_ready(LATER);
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

impl Inner {
    /// Has a place made for the next container.
    pub(crate) fn make_ready(self: &Arc<Inner>, delay: Duration) {
        let next = self.clone();
        self.places.refill(delay, move || Place::make(&next, &*next.bridge().ok()?, new_id().ok()?).ok());
    }
}

/// Address, ports, record: all that is known before the kernel makes a device.
fn reserve(
    inner: &Inner,
    id: &str,
    join: &Join,
    bridge: &Bridge,
    endpoint_id: String,
) -> Result<(Record, Vec<OwnedFd>)> {
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
            interface: place::INTERFACE.into(),
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

/// The devices and the rules.
fn connect(inner: &Arc<Inner>, record: &Record, bridge: &Bridge, place: Option<Place>) -> Result<Netns> {
    let endpoint = &record.endpoint;
    let mut place = match place {
        Some(place) => place,
        None => Place::make(inner, bridge, endpoint.endpoint_id.clone())?,
    };
    let name = place.veth();
    let mut outside = Batch::new();
    outside.claim(&name, &format!("{}{}", marker(&inner.config.table), record.id), bridge.index);
    if !endpoint.ports.is_empty() {
        // With br_netfilter a container that calls its own published port is bridged back to where it came from.
        outside.hairpin(&name);
    }
    if !is_derived(endpoint) {
        outside.set_neighbour(bridge.index, endpoint.ip, endpoint.mac);
    }
    inner.route.with(|socket| socket.apply(outside))?;
    let mut inside = Batch::new();
    inside.set_mac(place.index, endpoint.mac);
    inside.add_address(place.index, bridge.subnet, endpoint.ip);
    inside.add_default_route(place.index, endpoint.gateway);
    place.namespace.socket.apply(inside)?;
    reached(Step::StartDevice);
    if !endpoint.ports.is_empty() {
        inner.publish(bridge, endpoint.ip, &endpoint.ports)?;
        if endpoint.ports.iter().any(|port| port.proto == Protocol::Udp) {
            conntrack::forget_before(endpoint.ip, &endpoint.ports)?;
        }
    }
    Ok(place.namespace.outside)
}
