//! rtnetlink: links, addresses, routes (linux/rtnetlink.h, linux/if_link.h).

use super::message::{CREATE, EXCL, REPLACE, attribute, text, u32_at};
use super::{Batch, Failure, Socket};
use crate::subnet::Subnet;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const VETH_INFO_PEER: u16 = 1;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const IFLA_BR_NF_CALL_IPTABLES: u16 = 36;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_TABLE: u16 = 15;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;

const AF_INET: u8 = 2;
const IFF_UP: u32 = 1;
const IF_OPER_UP: u8 = 6;
const RTEXT_FILTER_SKIP_STATS: u32 = 8;
const RT_TABLE_MAIN: u32 = 254;
const RTN_UNICAST: u8 = 1;
const NUD_STALE: u16 = 4;

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl std::str::FromStr for Mac {
    type Err = String;
    fn from_str(text: &str) -> Result<Mac, String> {
        let invalid = || format!("address {text}: invalid MAC address");
        let parts: Vec<&str> = text.split([':', '-']).collect();
        if parts.len() != 6 || parts.iter().any(|p| p.len() != 2 || !p.bytes().all(|b| b.is_ascii_hexdigit())) {
            return Err(invalid());
        }
        let mut mac = [0; 6];
        for (byte, part) in mac.iter_mut().zip(parts) {
            *byte = u8::from_str_radix(part, 16).map_err(|_| invalid())?;
        }
        Ok(Mac(mac))
    }
}

impl serde::Serialize for Mac {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Mac {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Mac, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

fn link_header(family: u8, index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[0] = family;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}

fn address_header(index: u32, prefix: u8) -> [u8; 8] {
    let mut header = [AF_INET, prefix, 0, 0, 0, 0, 0, 0];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header
}

/// A veth pair to make.
pub struct Veth<'a> {
    /// The host's end.
    pub name: &'a str,
    /// Kept on the host's end, so that it is known as ours later.
    pub alias: &'a str,
    /// Index of the bridge that the host's end joins.
    pub bridge: u32,
    /// MTU of both ends.
    pub mtu: u32,
    /// Name of the container's end.
    pub peer: &'a str,
    /// Where the container's end is made.
    pub netns: BorrowedFd<'a>,
    /// The port talks to the bridge itself only, not to other isolated ports.
    pub isolated: bool,
}

impl Batch {
    /// The pair is made down.
    pub fn add_veth(&mut self, veth: &Veth) {
        self.message("create the veth pair", RTM_NEWLINK, CREATE | EXCL, &link_header(0, 0, 0, 0), |a| {
            a.text(IFLA_IFNAME, veth.name);
            a.u32(IFLA_MTU, veth.mtu);
            a.u32(IFLA_MASTER, veth.bridge);
            a.nest(IFLA_LINKINFO, |a| {
                a.put(IFLA_INFO_KIND, b"veth");
                a.nest(IFLA_INFO_DATA, |a| {
                    a.nest_after(VETH_INFO_PEER, &link_header(0, 0, 0, 0), |a| {
                        a.text(IFLA_IFNAME, veth.peer);
                        a.u32(IFLA_MTU, veth.mtu);
                        a.u32(IFLA_NET_NS_FD, veth.netns.as_raw_fd() as u32);
                    });
                });
            });
        });
        if veth.isolated {
            self.set_port("isolate the bridge port", veth.name, IFLA_BRPORT_ISOLATED);
        }
    }

    /// The host's end goes up.
    pub fn raise_veth(&mut self, veth: &Veth) {
        self.message("bring the veth pair up", RTM_SETLINK, 0, &link_header(0, 0, IFF_UP, IFF_UP), |a| {
            a.text(IFLA_IFNAME, veth.name);
            a.text(IFLA_IFALIAS, veth.alias);
        });
    }

    fn set_port(&mut self, doing: &'static str, name: &str, flag: u16) {
        self.message(doing, RTM_NEWLINK, 0, &link_header(0, 0, 0, 0), |a| {
            a.text(IFLA_IFNAME, name);
            a.nest(IFLA_LINKINFO, |a| {
                a.put(IFLA_INFO_SLAVE_KIND, b"bridge");
                a.nest(IFLA_INFO_SLAVE_DATA, |a| a.put(flag, &[1]));
            });
        });
    }

    /// What comes by the port of a bridge may leave by it again.
    pub fn hairpin(&mut self, name: &str) {
        self.set_port("let the bridge port reflect", name, IFLA_BRPORT_MODE);
    }

    /// Gives the host's end of a pair its owner's mark. The bridge must be there; the kernel compares.
    pub fn claim(&mut self, name: &str, alias: &str, bridge: u32) {
        self.message("mark the veth pair", RTM_SETLINK, 0, &link_header(0, 0, 0, 0), |a| {
            a.text(IFLA_IFNAME, name);
            a.text(IFLA_IFALIAS, alias);
            a.u32(IFLA_MASTER, bridge);
        });
    }

    /// Gives a link a hardware address.
    pub fn set_mac(&mut self, index: u32, mac: Mac) {
        self.message("set the hardware address", RTM_SETLINK, 0, &link_header(0, index, 0, 0), |a| {
            a.put(IFLA_ADDRESS, &mac.0);
        });
    }

    /// A bridge, down, with an address that does not change with its ports. Multicast goes to every port: snooping costs each
    /// port that goes up or down a timer for every other one, and without a querier in the network it changes nothing.
    pub fn add_bridge(&mut self, name: &str, mac: Mac, mtu: u32) {
        self.message("create the bridge", RTM_NEWLINK, CREATE | EXCL, &link_header(0, 0, 0, 0), |a| {
            a.text(IFLA_IFNAME, name);
            a.put(IFLA_ADDRESS, &mac.0);
            a.u32(IFLA_MTU, mtu);
            a.nest(IFLA_LINKINFO, |a| {
                a.put(IFLA_INFO_KIND, b"bridge");
                a.nest(IFLA_INFO_DATA, |a| a.put(IFLA_BR_MCAST_SNOOPING, &[0]));
            });
        });
    }

    /// Frames that the bridge passes from port to port go through the firewall as packets do (`br_netfilter`).
    pub fn filter_bridged(&mut self, name: &str) {
        self.message("filter what the bridge forwards", RTM_NEWLINK, 0, &link_header(0, 0, 0, 0), |a| {
            a.text(IFLA_IFNAME, name);
            a.nest(IFLA_LINKINFO, |a| {
                a.put(IFLA_INFO_KIND, b"bridge");
                a.nest(IFLA_INFO_DATA, |a| a.put(IFLA_BR_NF_CALL_IPTABLES, &[1]));
            });
        });
    }

    /// Marks a link as ours.
    pub fn set_alias(&mut self, name: &str, alias: &str) {
        self.message("mark the link", RTM_SETLINK, 0, &link_header(0, 0, 0, 0), |a| {
            a.text(IFLA_IFNAME, name);
            a.text(IFLA_IFALIAS, alias);
        });
    }

    /// Up.
    pub fn set_up(&mut self, index: u32) {
        self.message("bring the link up", RTM_SETLINK, 0, &link_header(0, index, IFF_UP, IFF_UP), |_| ());
    }

    /// Down, by name.
    pub fn set_down(&mut self, name: &str) {
        self.message("bring the link down", RTM_SETLINK, 0, &link_header(0, 0, 0, IFF_UP), |a| {
            a.text(IFLA_IFNAME, name)
        });
    }

    /// Removes a link by name.
    pub fn remove_link(&mut self, name: &str) {
        self.message("remove the link", RTM_DELLINK, 0, &link_header(0, 0, 0, 0), |a| a.text(IFLA_IFNAME, name));
    }

    /// Gives a link an address with its broadcast address.
    pub fn add_address(&mut self, index: u32, at: Subnet, address: Ipv4Addr) {
        self.message("add the address", RTM_NEWADDR, CREATE | EXCL, &address_header(index, at.prefix), |a| {
            a.put(IFA_LOCAL, &address.octets());
            a.put(IFA_ADDRESS, &address.octets());
            a.put(IFA_BROADCAST, &at.broadcast().octets());
        });
    }

    /// Takes an address from a link.
    pub fn remove_address(&mut self, index: u32, address: Ipv4Addr, prefix: u8) {
        self.message("remove the address", RTM_DELADDR, 0, &address_header(index, prefix), |a| {
            a.put(IFA_LOCAL, &address.octets());
        });
    }

    /// The default route.
    pub fn add_default_route(&mut self, index: u32, gateway: Ipv4Addr) {
        const RTPROT_BOOT: u8 = 3;
        let header = [AF_INET, 0, 0, 0, RT_TABLE_MAIN as u8, RTPROT_BOOT, 0, RTN_UNICAST, 0, 0, 0, 0];
        self.message("add the default route", RTM_NEWROUTE, CREATE | EXCL, &header, |a| {
            a.put(RTA_GATEWAY, &gateway.octets());
            a.u32(RTA_OIF, index);
        });
    }

    /// Tells the host which hardware address the holder of this address has.
    pub fn set_neighbour(&mut self, index: u32, address: Ipv4Addr, mac: Mac) {
        let header = neighbour_header(index);
        self.message("set the neighbour entry", RTM_NEWNEIGH, CREATE | REPLACE, &header, |a| {
            a.put(NDA_DST, &address.octets());
            a.put(NDA_LLADDR, &mac.0);
        });
    }

    /// Makes the host forget it.
    pub fn remove_neighbour(&mut self, index: u32, address: Ipv4Addr) {
        self.message("remove the neighbour entry", RTM_DELNEIGH, 0, &neighbour_header(index), |a| {
            a.put(NDA_DST, &address.octets());
        });
    }
}

fn neighbour_header(index: u32) -> [u8; 12] {
    let mut header = [AF_INET, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, RTN_UNICAST];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..10].copy_from_slice(&NUD_STALE.to_ne_bytes());
    header
}

/// A link of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// `bridge`, `veth`…, empty for a device of hardware.
    pub kind: String,
    /// Its alias, empty when it has none.
    pub alias: String,
    /// Its MTU.
    pub mtu: u32,
    /// Whether it is up.
    pub up: bool,
    /// Whether it carries traffic: it is up, and so is the other end.
    pub running: bool,
}

fn link(payload: &[u8]) -> Option<Link> {
    let rest = payload.get(16..)?;
    let string = |kind| attribute(rest, kind).and_then(text).unwrap_or_default().to_owned();
    Some(Link {
        index: u32_at(payload, 4)?,
        up: u32_at(payload, 8)? & IFF_UP != 0,
        running: attribute(rest, IFLA_OPERSTATE) == Some(&[IF_OPER_UP]),
        name: string(IFLA_IFNAME),
        alias: string(IFLA_IFALIAS),
        mtu: attribute(rest, IFLA_MTU).and_then(|v| u32_at(v, 0)).unwrap_or(0),
        kind: attribute(rest, IFLA_LINKINFO)
            .and_then(|info| attribute(info, IFLA_INFO_KIND))
            .and_then(text)
            .unwrap_or_default()
            .to_owned(),
    })
}

/// One link by name; nothing when there is none.
pub fn find_link(socket: &mut Socket, name: &str) -> Result<Option<Link>, Failure> {
    let mut found = None;
    let asked = socket.ask(
        "look a link up",
        RTM_GETLINK,
        false,
        &link_header(0, 0, 0, 0),
        |a| {
            a.text(IFLA_IFNAME, name);
            a.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
        },
        |_, payload| found = link(payload),
    );
    match asked {
        Ok(()) => Ok(found),
        Err(failure) if failure.errno == rustix::io::Errno::NODEV => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// All links.
pub fn links(socket: &mut Socket) -> Result<Vec<Link>, Failure> {
    let mut all = Vec::new();
    let each = |_, payload: &[u8]| all.extend(link(payload));
    socket.ask("list the links", RTM_GETLINK, true, &link_header(0, 0, 0, 0), |_| (), each)?;
    Ok(all)
}

fn ipv4(value: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from)
}

/// The IPv4 addresses of the host, as (link index, address, prefix).
pub fn addresses(socket: &mut Socket) -> Result<Vec<(u32, Ipv4Addr, u8)>, Failure> {
    let mut all = Vec::new();
    let each = |_, payload: &[u8]| all.extend(address(payload));
    socket.ask("list the addresses", RTM_GETADDR, true, &address_header(0, 0), |_| (), each)?;
    Ok(all)
}

fn address(payload: &[u8]) -> Option<(u32, Ipv4Addr, u8)> {
    let rest = payload.get(8..)?;
    let address = attribute(rest, IFA_LOCAL).or(attribute(rest, IFA_ADDRESS)).and_then(ipv4)?;
    let prefix = *payload.get(1).filter(|prefix| **prefix <= 32)?;
    Some((u32_at(payload, 4)?, address, prefix))
}

/// The IPv4 unicast routes of the host in all tables but `local`, the default route left out, as (link index, network).
pub fn routes(socket: &mut Socket) -> Result<Vec<(u32, Subnet)>, Failure> {
    let mut all = Vec::new();
    let each = |_, payload: &[u8]| all.extend(route(payload));
    let header = [AF_INET, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    socket.ask("list the routes", RTM_GETROUTE, true, &header, |_| (), each)?;
    Ok(all)
}

fn route(payload: &[u8]) -> Option<(u32, Subnet)> {
    const RT_TABLE_LOCAL: u32 = 255;
    let rest = payload.get(12..)?;
    let prefix = *payload.get(1)?;
    let table = attribute(rest, RTA_TABLE).and_then(|v| u32_at(v, 0)).unwrap_or(u32::from(*payload.get(4)?));
    if table == RT_TABLE_LOCAL || *payload.get(7)? != RTN_UNICAST || prefix == 0 {
        return None;
    }
    let network = attribute(rest, RTA_DST).and_then(ipv4)?;
    let index = attribute(rest, RTA_OIF).and_then(|v| u32_at(v, 0)).unwrap_or(0);
    Some((index, Subnet::new(network, prefix)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::message::messages;
    use proptest::prelude::*;

    #[test]
    fn mac_addresses_are_read_and_written() {
        assert_eq!("02:42:ac:11:00:02".parse::<Mac>(), Ok(Mac([2, 0x42, 0xac, 0x11, 0, 2])));
        assert_eq!(Mac([2, 0x42, 0xac, 0x11, 0, 2]).to_string(), "02:42:ac:11:00:02");
        for bad in
            ["", "02:42:ac:11:00", "02:42:ac:11:00:0g", "02:42:ac:11:00:+2", "0242ac110002", "02:42:ac:11:00:02:03"]
        {
            assert_eq!(bad.parse::<Mac>(), Err(format!("address {bad}: invalid MAC address")), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_link_reads_back(index in any::<u32>(), name in "[a-z]{1,15}", alias in "[a-z:]{1,40}", mtu in any::<u32>(), up: bool) {
            let mut batch = Batch::new();
            batch.message("t", RTM_NEWLINK, 0, &link_header(0, index, u32::from(up), 0), |a| {
                a.text(IFLA_IFNAME, &name);
                a.text(IFLA_IFALIAS, &alias);
                a.u32(IFLA_MTU, mtu);
                a.nest(IFLA_LINKINFO, |a| a.put(IFLA_INFO_KIND, b"veth"));
            });
            let running = false;
            let read = link(messages(batch.bytes().unwrap()).next().unwrap().payload).unwrap();
            prop_assert_eq!(read, Link { index, name, alias, mtu, up, running, kind: "veth".into() });
        }
    }

    /// A reply as the kernel lays it out: a fixed part, and attributes that hold what they may not, too.
    fn reply() -> impl Strategy<Value = Vec<u8>> {
        let attribute = (0u16..60, prop::collection::vec(any::<u8>(), 0..24), any::<Option<u16>>());
        (prop::collection::vec(any::<u8>(), 0..20), prop::collection::vec(attribute, 0..8)).prop_map(
            |(mut bytes, list)| {
                for (kind, value, length) in list {
                    let right = value.len() as u16 + 4;
                    // One in a few says another length than it has.
                    let length = length.filter(|n| n % 5 == 0).unwrap_or(right);
                    bytes.extend_from_slice(&length.to_ne_bytes());
                    bytes.extend_from_slice(&kind.to_ne_bytes());
                    bytes.extend_from_slice(&value);
                    bytes.resize(bytes.len().next_multiple_of(4), 0);
                }
                bytes
            },
        )
    }

    proptest! {
        #[test]
        fn any_reply_is_read_or_left_out(payload in reply()) {
            if let Some(link) = link(&payload) {
                prop_assert!(payload.len() >= 16);
                prop_assert!(link.name.len() < payload.len() && !link.name.contains('\0'));
            }
            if let Some((_, _, prefix)) = address(&payload) {
                prop_assert!(prefix <= 32);
            }
            if let Some((_, network)) = route(&payload) {
                prop_assert!((1..=32).contains(&network.prefix));
                prop_assert_eq!(Subnet::new(network.network, network.prefix), Some(network));
            }
        }

        #[test]
        fn addresses_and_routes_read_back(index in any::<u32>(), octets: [u8; 4], prefix in 1u8..33, table in 1u32..400) {
            let mut batch = Batch::new();
            batch.add_address(index, Subnet::new(octets.into(), prefix).unwrap(), octets.into());
            let read = address(messages(batch.bytes().unwrap()).next().unwrap().payload);
            prop_assert_eq!(read, Some((index, octets.into(), prefix)));
            let network = Subnet::new(octets.into(), prefix).unwrap();
            let mut batch = Batch::new();
            batch.message("t", RTM_NEWROUTE, 0, &[AF_INET, prefix, 0, 0, 0, 0, 0, RTN_UNICAST, 0, 0, 0, 0], |a| {
                a.put(RTA_DST, &network.network.octets());
                a.u32(RTA_OIF, index);
                a.u32(RTA_TABLE, table);
            });
            let read = route(messages(batch.bytes().unwrap()).next().unwrap().payload);
            prop_assert_eq!(read, (table != 255).then_some((index, network)));
        }
    }
}
