//! IPv4 networks and the pools they are taken from.

use std::net::Ipv4Addr;

/// An IPv4 network: its first address and the length of its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subnet {
    /// The network address: host bits are zero.
    pub network: Ipv4Addr,
    /// 0 to 32.
    pub prefix: u8,
}

impl Subnet {
    /// The network that contains `address`; nothing when the prefix is longer than 32.
    pub const fn new(address: Ipv4Addr, prefix: u8) -> Option<Subnet> {
        if prefix > 32 {
            return None;
        }
        Some(Subnet { network: Ipv4Addr::from_bits(address.to_bits() & mask(prefix)), prefix })
    }

    /// `a.b.c.d/n`, with the address as it was typed, host bits and all.
    pub fn parse(text: &str) -> Option<(Ipv4Addr, Subnet)> {
        let (address, prefix) = text.split_once('/')?;
        if prefix.is_empty() || prefix.len() > 2 || !prefix.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let address: Ipv4Addr = address.parse().ok()?;
        Some((address, Subnet::new(address, prefix.parse().ok()?)?))
    }

    /// Whether the address lies within.
    pub const fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.network.to_bits()
    }

    /// Whether the two have an address in common.
    pub const fn overlaps(self, other: Subnet) -> bool {
        let shorter = if self.prefix < other.prefix { self.prefix } else { other.prefix };
        self.network.to_bits() & mask(shorter) == other.network.to_bits() & mask(shorter)
    }

    /// The last address.
    pub const fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() | !mask(self.prefix))
    }

    /// The first address that a host can have: Docker's gateway.
    pub const fn first_host(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits().saturating_add(1))
    }

    /// The bits that are the same in every address.
    pub const fn mask(self) -> u32 {
        mask(self.prefix)
    }
}

const fn mask(prefix: u8) -> u32 {
    match prefix {
        0 => 0,
        n => u32::MAX << (32 - n),
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl serde::Serialize for Subnet {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Subnet {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Subnet, D::Error> {
        let text = String::deserialize(from)?;
        let parsed = Subnet::parse(&text).map(|(_, subnet)| subnet);
        parsed.ok_or_else(|| serde::de::Error::custom(format!("{text}: not a network such as 10.0.0.0/24")))
    }
}

/// A range of addresses that networks of one size are cut from (`default-address-pools`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressPool {
    /// The whole range.
    pub base: Subnet,
    /// Prefix length of each network.
    pub size: u8,
}

impl AddressPool {
    /// A pool, when its networks are no larger than itself and have room for hosts.
    pub fn new(base: Subnet, size: u8) -> Option<AddressPool> {
        (size >= base.prefix && size <= 30).then_some(AddressPool { base, size })
    }

    /// Its networks, in order.
    pub fn networks(self) -> impl Iterator<Item = Subnet> {
        let count = 1u64 << (self.size - self.base.prefix);
        let step = 1u64 << (32 - self.size);
        (0..count).filter_map(move |index| {
            let bits = u64::from(self.base.network.to_bits()) + index * step;
            Subnet::new(Ipv4Addr::from_bits(u32::try_from(bits).ok()?), self.size)
        })
    }
}

/// The pools that Docker has when none are configured.
pub fn docker_pools() -> Vec<AddressPool> {
    let pool = |a, b, prefix, size| {
        Subnet::new(Ipv4Addr::new(a, b, 0, 0), prefix).and_then(|base| AddressPool::new(base, size))
    };
    let all = [
        pool(172, 17, 16, 16),
        pool(172, 18, 16, 16),
        pool(172, 19, 16, 16),
        pool(172, 20, 14, 16),
        pool(172, 24, 14, 16),
        pool(172, 28, 14, 16),
        pool(192, 168, 16, 20),
    ];
    all.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Subnet {
        Subnet::parse(text).unwrap().1
    }

    #[test]
    fn networks_are_parsed_strictly() {
        assert_eq!(Subnet::parse("10.1.2.3/16"), Some((Ipv4Addr::new(10, 1, 2, 3), net("10.1.0.0/16"))));
        for bad in ["10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0/8", "x/8", "10.0.0.0/008"] {
            assert_eq!(Subnet::parse(bad), None, "{bad}");
        }
        assert_eq!(net("10.1.2.3/0").to_string(), "0.0.0.0/0");
    }

    #[test]
    fn overlap_is_symmetric_and_exact() {
        for (a, b, overlap) in [
            ("172.17.0.0/16", "172.16.0.0/12", true),
            ("172.17.0.0/16", "172.17.200.0/24", true),
            ("172.17.0.0/16", "172.18.0.0/16", false),
            ("0.0.0.0/0", "8.8.8.8/32", true),
            ("192.168.0.0/20", "192.168.16.0/20", false),
        ] {
            assert_eq!((net(a).overlaps(net(b)), net(b).overlaps(net(a))), (overlap, overlap), "{a} {b}");
        }
        assert_eq!(net("192.168.16.0/20").broadcast(), Ipv4Addr::new(192, 168, 31, 255));
    }

    #[test]
    fn dockers_pools_hold_31_networks_in_order() {
        let all: Vec<String> =
            docker_pools().into_iter().flat_map(AddressPool::networks).map(|n| n.to_string()).collect();
        assert_eq!(all.len(), 3 + 3 * 4 + 16);
        assert_eq!(all[..4], ["172.17.0.0/16", "172.18.0.0/16", "172.19.0.0/16", "172.20.0.0/16"]);
        assert_eq!(all[14..17], ["172.31.0.0/16", "192.168.0.0/20", "192.168.16.0/20"]);
    }
}
