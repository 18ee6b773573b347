//! Flows that the kernel remembers (linux/netfilter/nfnetlink_conntrack.h). A rule sees only the first packet of a flow,
//! and a UDP flow has no end: a client that goes on sending would reach what stood there before, for minutes. TCP needs
//! none of this, its flows end by themselves.

use crate::Result;
use crate::netlink::message::attribute;
use crate::netlink::{Batch, NETFILTER, Socket};
use crate::ports::{Binding, Protocol};
use rustix::io::Errno;
use std::net::Ipv4Addr;

const SUBSYSTEM: u16 = 1;
const GET: u16 = SUBSYSTEM << 8 | 1;
const DELETE: u16 = SUBSYSTEM << 8 | 2;
/// `nfgenmsg`: IPv4, version 0, no resource.
const HEADER: [u8; 4] = [2, 0, 0, 0];

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;

/// What of a flow matters here.
#[derive(Debug, PartialEq, Eq)]
struct Flow {
    protocol: u8,
    /// The port it was first sent to.
    port: u16,
    /// Who answers: the container when the flow was translated.
    answers: Ipv4Addr,
}

fn flow(payload: &[u8]) -> Option<(Flow, &[u8])> {
    let rest = payload.get(4..)?;
    let original = attribute(rest, CTA_TUPLE_ORIG)?;
    let proto = attribute(original, CTA_TUPLE_PROTO)?;
    let reply = attribute(attribute(rest, CTA_TUPLE_REPLY)?, CTA_TUPLE_IP)?;
    let port =
        attribute(proto, CTA_PROTO_DST_PORT).and_then(|v| <[u8; 2]>::try_from(v).ok()).map_or(0, u16::from_be_bytes);
    let answers = <[u8; 4]>::try_from(attribute(reply, CTA_IP_V4_SRC)?).ok()?;
    let protocol = *attribute(proto, CTA_PROTO_NUM)?.first()?;
    Some((Flow { protocol, port, answers: answers.into() }, original))
}

/// Forgets the UDP flows to newly published ports that do not go to their container: they began before.
pub(crate) fn forget_before(container: Ipv4Addr, ports: &[Binding]) -> Result<()> {
    let ports: Vec<u16> = ports.iter().filter(|p| p.proto == Protocol::Udp).map(|p| p.host_port).collect();
    forget(|flow| ports.contains(&flow.port) && flow.answers != container)
}

/// Forgets the UDP flows that a container answers: its address will be another's.
pub(crate) fn forget_container(container: Ipv4Addr) -> Result<()> {
    forget(|flow| flow.answers == container)
}

fn forget(is_old: impl Fn(&Flow) -> bool) -> Result<()> {
    let mut socket = Socket::open(NETFILTER, 0)?;
    let mut old: Vec<Vec<u8>> = Vec::new();
    let each = |_, payload: &[u8]| {
        if let Some((flow, original)) = flow(payload)
            && flow.protocol == Protocol::Udp.number()
            && is_old(&flow)
        {
            old.push(original.to_vec());
        }
    };
    match socket.ask("list the tracked flows", GET, true, &HEADER, |_| (), each) {
        // A kernel that tracks flows but does not list them: old ones end by their timeout.
        Err(failure) if matches!(failure.errno, Errno::OPNOTSUPP | Errno::INVAL) => return Ok(()),
        other => other?,
    }
    for original in old {
        let mut batch = Batch::new();
        batch.message("forget a tracked flow", DELETE, 0, &HEADER, |a| {
            a.nest_after(CTA_TUPLE_ORIG | 0x8000, &original, |_| ())
        });
        match socket.apply(batch) {
            Err(failure) if failure.errno != Errno::NOENT => return Err(failure.into()),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::message::messages;
    use crate::netlink::nft::changed_table;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_flow_reads_back_and_anything_is_read(
            protocol: u8, port: u16, answers: [u8; 4],
            change in (any::<prop::sample::Index>(), any::<u8>()), cut: prop::sample::Index, kind: u16,
        ) {
            let mut batch = Batch::new();
            batch.message("t", GET, 0, &HEADER, |a| {
                a.nest(CTA_TUPLE_ORIG, |a| a.nest(CTA_TUPLE_PROTO, |a| {
                    a.put(CTA_PROTO_NUM, &[protocol]);
                    a.put(CTA_PROTO_DST_PORT, &port.to_be_bytes());
                }));
                a.nest(CTA_TUPLE_REPLY, |a| a.nest(CTA_TUPLE_IP, |a| a.put(CTA_IP_V4_SRC, &answers)));
            });
            let payload = messages(batch.bytes().unwrap()).next().unwrap().payload.to_vec();
            let want = Flow { protocol, port, answers: answers.into() };
            prop_assert_eq!(flow(&payload).map(|(flow, _)| flow), Some(want));
            let mut bent = payload.clone();
            let at = change.0.index(bent.len());
            bent[at] = change.1;
            for bytes in [&bent[..], &payload[..cut.index(payload.len())]] {
                if let Some((_, original)) = flow(bytes) {
                    prop_assert!(original.len() < bytes.len());
                }
                let _ = changed_table(kind, bytes);
                let _ = changed_table(10 << 8 | kind & 0xff, bytes);
            }
        }
    }
}
