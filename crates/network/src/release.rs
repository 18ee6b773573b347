//! What a join made is given back: when a container ends, when a daemon finds what a crash left, when all shall go.

use crate::bridge::{self, marker};
use crate::join::{is_derived, veth_name};
use crate::lease;
use crate::netlink::{Batch, route};
use crate::networks::{Inner, Networks};
use crate::ports::Protocol;
use crate::reaper::remove_link;
use crate::{Error, Result, conntrack};
use rustix::io::Errno;
use std::collections::HashSet;
use std::sync::Arc;

impl Networks {
    /// Gives back all that the container has; again is no error. What fails is returned and the rest is done. Its device
    /// is down before its address is given to another, and gone soon after: see [`Networks::settle`].
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
        // A device whose removal a crash cut short, or all of them when the run directory was lost.
        inner.reaper.settle();
        let prefix = marker(&inner.config.table);
        match inner.route.with(route::links) {
            Err(failure) => errors.push(failure.into()),
            Ok(links) => {
                let ours = links.iter().filter_map(|link| Some((link, link.alias.strip_prefix(&prefix)?)));
                for (link, id) in ours.filter(|(link, id)| link.kind == "veth" && !id.is_empty()) {
                    let known = self.endpoint(id).is_some_and(|endpoint| veth_name(&endpoint) == link.name);
                    if !known {
                        errors.extend(remove_link(&inner.route, &link.name).err().map(Error::from));
                    }
                }
            }
        }
        let none_left = inner.leases().records.is_empty();
        errors.extend(if none_left { inner.unmake().err() } else { inner.bridge().err() });
        errors
    }

    /// Removes the table, the bridge if this engine made it, and what is kept ready.
    pub fn teardown(&self) -> Vec<Error> {
        let inner = &self.0;
        self.settle();
        inner.namespaces.take();
        let unused = inner.places.take().map_or(Ok(()), |place| place.remove(inner));
        let results = [unused, inner.unmake(), bridge::remove(&inner.route, &inner.config)];
        results.into_iter().filter_map(Result::err).collect()
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
    if endpoint.ports.iter().any(|port| port.proto == Protocol::Udp) {
        errors.extend(conntrack::forget_container(endpoint.ip).err());
    }
    if !is_derived(endpoint) {
        // Otherwise the host would talk to the old hardware address for the next holder's first second.
        errors.extend(forget_neighbour(inner, endpoint.ip).err());
    }
    if errors.is_empty() {
        // A second look at a file system that refuses for a moment.
        let removed = lease::remove(&inner.directory, id).or_else(|_| lease::remove(&inner.directory, id));
        errors.extend(removed.err());
    }
    if !errors.is_empty() {
        // Something of it may still be there: nobody else gets the address, and the next release or start tries again.
        inner.leases().records.insert(id.to_owned(), record);
        return errors;
    }
    let (own, ip) = (inner.clone(), endpoint.ip);
    inner.reaper.take(veth_name(endpoint), move || own.leases().free(ip));
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
