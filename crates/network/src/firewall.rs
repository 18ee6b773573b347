//! The one table of ours, `table ip <name>`, and what each of its chains is for.
//!
//! ```text
//! map published      protocol . port            -> address . port     a port on every address of this host
//! map published_at   address . protocol . port  -> address . port     a port on one address of this host
//! chain guard        prerouting, raw      nothing on 127/8 comes from or goes to the bridge by wire; nobody but the
//!                                         containers and this host talks to the bridge's own address
//! chain prerouting   nat                  to an address of this host, but not 127/8: publish
//! chain output       nat                  the same for what this host sends itself, 127.0.0.1 included
//! chain publish                           the two maps
//! chain postrouting  nat                  masquerade: to the outside; a container to a published port; 127.0.0.1
//! chain forward      filter               towards the bridge: answers, published ports, neighbours if icc; else drop
//! ```
//!
//! Invariants
//! - Every rule names our bridge or a destination of this host that is published: no other packet is changed or dropped.
//! - A transaction replaces the whole table or adds and removes elements; a half-made table does not exist.
//! - A port published on 127.0.0.1 is in no map that `prerouting` reaches: the kernel drops such packets from the wire.
//! - Addresses reachable through the bridge are reachable because of a rule; what no rule names is dropped.
//!
//! A `drop` in another table at the same hook still drops: an administrator's firewall has the last word.

use crate::bridge::Bridge;
use crate::netlink::nft::{self, Hook, Register, Rule, Transaction, Verdict, datatype};
use crate::netlink::{Failure, Socket};
use crate::ports::{Binding, Protocol};
use crate::subnet::Subnet;
use std::net::Ipv4Addr;

const PUBLISHED: &str = "published";
const PUBLISHED_AT: &str = "published_at";
const PUBLISHED_ID: u32 = 1;
const PUBLISHED_AT_ID: u32 = 2;
const LOOPBACK: Subnet = Subnet { network: Ipv4Addr::new(127, 0, 0, 0), prefix: 8 };

/// What the table depends on.
pub struct Rules<'a> {
    /// Name of the table.
    pub table: &'a str,
    /// The bridge and its network.
    pub bridge: &'a Bridge,
    /// Containers reach one another.
    pub icc: bool,
    /// Containers reach the outside under this host's address.
    pub masquerade: bool,
}

/// Elements of the two maps.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Elements {
    everywhere: Vec<(Vec<u8>, Vec<u8>)>,
    at_address: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Elements {
    /// Adds the ports of one container.
    pub fn extend(&mut self, container: Ipv4Addr, ports: &[Binding]) {
        for port in ports {
            let mut value = container.octets().to_vec();
            value.extend(cell(&port.container_port.to_be_bytes()));
            let mut key = cell(&[port.proto.number()]).to_vec();
            key.extend(cell(&port.host_port.to_be_bytes()));
            if port.host_ip.is_unspecified() {
                self.everywhere.push((key, value));
            } else {
                self.at_address.push(([&port.host_ip.octets()[..], &key].concat(), value));
            }
        }
    }

    /// What the two maps of a table hold; nothing when there is no such table.
    pub fn read(socket: &mut Socket, table: &str) -> Result<Option<Elements>, Failure> {
        let everywhere = nft::elements(socket, table, PUBLISHED)?;
        let at_address = nft::elements(socket, table, PUBLISHED_AT)?;
        Ok(everywhere.zip(at_address).map(|(everywhere, at_address)| Elements { everywhere, at_address }))
    }

    /// Whether both are the same, in whatever order.
    pub fn same(mut self, mut other: Elements) -> bool {
        for elements in [&mut self, &mut other] {
            elements.everywhere.sort();
            elements.at_address.sort();
        }
        self == other
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.everywhere.is_empty() && self.at_address.is_empty()
    }
}

/// A value of a concatenation: padded behind to four bytes.
fn cell(value: &[u8]) -> [u8; 4] {
    let mut cell = [0; 4];
    for (to, from) in cell.iter_mut().zip(value) {
        *to = *from;
    }
    cell
}

/// The transaction that makes the table, or makes it anew, with these elements.
pub fn replace<'a>(rules: &Rules<'a>, elements: &Elements) -> Transaction<'a> {
    let mut t = Transaction::new(rules.table);
    // Added so that the removal never fails; the kernel shows others only the result.
    t.add_table();
    t.remove_table();
    t.add_table();
    let address_and_port = [datatype::ADDRESS, datatype::SERVICE];
    t.add_map(PUBLISHED, PUBLISHED_ID, &[datatype::PROTOCOL, datatype::SERVICE], &address_and_port);
    let with_address = [datatype::ADDRESS, datatype::PROTOCOL, datatype::SERVICE];
    t.add_map(PUBLISHED_AT, PUBLISHED_AT_ID, &with_address, &address_and_port);
    add(&mut t, elements);
    guard(&mut t, rules);
    publish(&mut t);
    postrouting(&mut t, rules);
    forward(&mut t, rules);
    t
}

fn add(t: &mut Transaction, elements: &Elements) {
    t.add_elements(PUBLISHED, &elements.everywhere);
    t.add_elements(PUBLISHED_AT, &elements.at_address);
}

/// The transaction that adds elements to the table that is there.
pub fn add_elements<'a>(table: &'a str, elements: &Elements) -> Transaction<'a> {
    let mut t = Transaction::new(table);
    add(&mut t, elements);
    t
}

/// The transaction that takes elements out.
pub fn remove_elements<'a>(table: &'a str, elements: &Elements) -> Transaction<'a> {
    let keys = |list: &[(Vec<u8>, Vec<u8>)]| list.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
    let mut t = Transaction::new(table);
    t.remove_elements(PUBLISHED, &keys(&elements.everywhere));
    t.remove_elements(PUBLISHED_AT, &keys(&elements.at_address));
    t
}

/// The transaction after which nothing of ours is left.
pub fn remove(table: &str) -> Transaction<'_> {
    let mut t = Transaction::new(table);
    t.add_table();
    t.remove_table();
    t
}

fn guard(t: &mut Transaction, rules: &Rules) {
    const RAW: i32 = -300;
    let bridge = rules.bridge.name.as_str();
    t.add_base_chain("guard", "filter", Hook::Prerouting, RAW);
    // The bridge routes 127/8 for what this host sends to a published port; containers must not use that.
    t.add_rule("guard", |r| {
        r.came_by(true, bridge).destination(Register::A).within(Register::A, true, LOOPBACK).verdict(Verdict::Drop);
    });
    t.add_rule("guard", |r| {
        r.came_by(true, bridge).source(Register::A).within(Register::A, true, LOOPBACK).verdict(Verdict::Drop);
    });
    // Linux answers for all its addresses on all its interfaces: keep neighbours off what listens on the bridge.
    let gateway = Subnet { network: rules.bridge.gateway, prefix: 32 };
    t.add_rule("guard", |r| {
        r.came_by(false, bridge).came_by(false, "lo").destination(Register::A);
        r.within(Register::A, true, gateway).verdict(Verdict::Drop);
    });
}

fn publish(t: &mut Transaction) {
    const DSTNAT: i32 = -100;
    t.add_chain("publish");
    t.add_rule("publish", |r| {
        r.destination(Register::A).protocol(Register::B).port(Register::C);
        r.lookup(PUBLISHED_AT, PUBLISHED_AT_ID, Register::A, Register::A).redirect(Register::A, Register::B);
    });
    t.add_rule("publish", |r| {
        r.protocol(Register::A).port(Register::B);
        r.lookup(PUBLISHED, PUBLISHED_ID, Register::A, Register::A).redirect(Register::A, Register::B);
    });
    t.add_base_chain("prerouting", "nat", Hook::Prerouting, DSTNAT);
    t.add_rule("prerouting", |r| {
        r.destination(Register::A).within(Register::A, false, LOOPBACK);
        r.for_this_host().verdict(Verdict::Jump("publish"));
    });
    t.add_base_chain("output", "nat", Hook::Output, DSTNAT);
    t.add_rule("output", |r| r.for_this_host().verdict(Verdict::Jump("publish")));
}

fn postrouting(t: &mut Transaction, rules: &Rules) {
    const SRCNAT: i32 = 100;
    let bridge = rules.bridge.name.as_str();
    let from = |r: &mut Rule, leaves: bool, network: Subnet| {
        r.leaves_by(leaves, bridge).source(Register::A).within(Register::A, true, network);
    };
    t.add_base_chain("postrouting", "nat", Hook::Postrouting, SRCNAT);
    if rules.masquerade {
        t.add_rule("postrouting", |r| {
            from(r, false, rules.bridge.subnet);
            r.masquerade();
        });
    }
    t.add_rule("postrouting", |r| {
        from(r, true, LOOPBACK);
        r.masquerade();
    });
    // A container that calls a published port, perhaps its own: the answer must come back this way.
    t.add_rule("postrouting", |r| {
        from(r, true, rules.bridge.subnet);
        r.translated().masquerade();
    });
}

fn forward(t: &mut Transaction, rules: &Rules) {
    const FILTER: i32 = 0;
    let bridge = rules.bridge.name.as_str();
    t.add_base_chain("forward", "filter", Hook::Forward, FILTER);
    t.add_rule("forward", |r| r.leaves_by(false, bridge).verdict(Verdict::Accept));
    t.add_rule("forward", |r| r.established_or_related().verdict(Verdict::Accept));
    t.add_rule("forward", |r| r.translated().verdict(Verdict::Accept));
    if rules.icc {
        t.add_rule("forward", |r| r.came_by(true, bridge).verdict(Verdict::Accept));
    }
    t.add_rule("forward", |r| r.verdict(Verdict::Drop));
}

impl Protocol {
    /// The number in an IP header.
    pub const fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_padded_cells_in_network_order() {
        let binding = |host_ip: [u8; 4], protocol| Binding {
            proto: protocol,
            container_port: 80,
            host_ip: Ipv4Addr::from(host_ip),
            host_port: 8080,
        };
        let mut elements = Elements::default();
        assert!(elements.is_empty());
        elements.extend(
            Ipv4Addr::new(172, 17, 0, 2),
            &[binding([0; 4], Protocol::Tcp), binding([127, 0, 0, 1], Protocol::Udp)],
        );
        let value = vec![172, 17, 0, 2, 0, 80, 0, 0];
        assert_eq!(elements.everywhere, vec![(vec![6, 0, 0, 0, 0x1f, 0x90, 0, 0], value.clone())]);
        assert_eq!(elements.at_address, vec![(vec![127, 0, 0, 1, 17, 0, 0, 0, 0x1f, 0x90, 0, 0], value)]);
    }
}
