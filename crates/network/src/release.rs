//! What a join made is given back: when a container ends, when a daemon finds what a crash left, when all shall go.

use crate::bridge::{self, marker};
use crate::join::{is_derived, veth_name};
use crate::lease;
use crate::netlink::{Batch, route};
use crate::networks::{Inner, Networks};
use crate::ports::Protocol;
use crate::{Error, Result, conntrack};
use rustix::io::Errno;
use std::collections::HashSet;
use std::sync::Arc;

impl Networks {
    /// Gives back all that the container has; again is no error. What fails is returned and the rest is done.
    pub fn release(&self, id: &str) -> Vec<Error> {
        release(&self.0, id)
    }

    /// At start: gives back what belongs to no live container, and puts the rules for the live ones in place.
    pub fn recover(&self, live: &[String]) -> Vec<Error> {
        let inner = &self.0;
        let live: HashSet<&str> = live.iter().map(String::as_str).collect();
        let gone: Vec<String> =
            inner.leases().records.keys().filter(|id| !live.contains(id.as_str())).cloned().collect();
        let mut errors: Vec<Error> = gone.iter().flat_map(|id| release(inner, id)).collect();
        // A lease is written before its device is made and removed after it, so that this finds nothing unless the run
        // directory was lost.
        let prefix = marker(&inner.config.table);
        match inner.route.with(route::links) {
            Err(failure) => errors.push(failure.into()),
            Ok(links) => {
                let ours = links.iter().filter_map(|link| Some((link, link.alias.strip_prefix(&prefix)?)));
                for (link, id) in ours.filter(|(link, id)| link.kind == "veth" && !id.is_empty()) {
                    if !live.contains(id) {
                        errors.extend(remove_link(inner, &link.name).err());
                    }
                }
            }
        }
        let none_left = inner.leases().records.is_empty();
        errors.extend(if none_left { inner.unmake().err() } else { inner.bridge().err() });
        errors
    }

    /// Removes the table, the bridge if this engine made it, and the namespace that is kept ready.
    pub fn teardown(&self) -> Vec<Error> {
        let inner = &self.0;
        inner.namespaces.drain();
        let results = [inner.unmake(), bridge::remove(&inner.route, &inner.config)];
        results.into_iter().filter_map(Result::err).collect()
    }
}

fn remove_link(inner: &Inner, name: &str) -> Result<()> {
    let mut batch = Batch::new();
    batch.remove_link(name);
    match inner.route.with(|socket| socket.apply(batch)) {
        // With the last process of the container the kernel removes both ends by itself.
        Err(failure) if failure.errno == Errno::NODEV => Ok(()),
        other => Ok(other?),
    }
}

pub(crate) fn release(inner: &Arc<Inner>, id: &str) -> Vec<Error> {
    // Out of the records first, so that a table made anew meanwhile has no element of it; the address stays taken.
    let Some(record) = inner.leases().records.remove(id) else { return Vec::new() };
    let endpoint = &record.endpoint;
    let mut errors = Vec::new();
    if !endpoint.ports.is_empty() {
        errors.extend(inner.withdraw(endpoint.ip, &endpoint.ports).err());
    }
    errors.extend(remove_link(inner, &veth_name(id)).err());
    if endpoint.ports.iter().any(|port| port.proto == Protocol::Udp) {
        errors.extend(conntrack::forget_container(endpoint.ip).err());
    }
    if !is_derived(endpoint) {
        // Otherwise the host would talk to the old hardware address for the next holder's first second.
        errors.extend(forget_neighbour(inner, endpoint.ip).err());
    }
    if !errors.is_empty() {
        // Something of it may still be there: nobody else gets the address, and the next release or start tries again.
        inner.leases().records.insert(id.to_owned(), record);
        return errors;
    }
    errors.extend(lease::remove(&inner.directory, id).err());
    inner.leases().free(endpoint.ip);
    errors
}

fn forget_neighbour(inner: &Inner, ip: std::net::Ipv4Addr) -> Result<()> {
    let result = inner.route.with(|socket| {
        let Some(link) = route::find_link(socket, &inner.config.bridge)? else { return Ok(()) };
        let mut batch = Batch::new();
        batch.remove_neighbour(link.index, ip);
        socket.apply(batch)
    });
    match result {
        Err(failure) if failure.errno == Errno::NOENT => Ok(()),
        other => Ok(other?),
    }
}
