//! What the administrator configures: dockerd's network flags and daemon.json keys, parsed.

use crate::subnet::{AddressPool, Subnet, docker_pools};
use crate::{Error, Result};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::str::FromStr;

/// An address with the network it lies in, as `--bip` is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// The address.
    pub address: Ipv4Addr,
    /// Its network.
    pub subnet: Subnet,
}

impl FromStr for Cidr {
    type Err = Error;
    fn from_str(text: &str) -> Result<Cidr> {
        let parsed = Subnet::parse(text).map(|(address, subnet)| Cidr { address, subnet });
        parsed.ok_or_else(|| Error::Invalid(format!("invalid CIDR address: {text}")))
    }
}

impl FromStr for Subnet {
    type Err = Error;
    fn from_str(text: &str) -> Result<Subnet> {
        Cidr::from_str(text).map(|cidr| cidr.subnet)
    }
}

/// The configuration of the default network.
#[derive(Debug, Clone)]
pub struct Config {
    /// `--bridge`: name of the bridge; it is made when it is not there.
    pub bridge: String,
    /// `--bridge none`: there is no default network; containers get a loopback.
    pub disabled: bool,
    /// `--bip`: the bridge's address; otherwise the first free network of the pools.
    pub bip: Option<Cidr>,
    /// `--fixed-cidr`: containers get addresses from this part only.
    pub fixed_cidr: Option<Subnet>,
    /// `--default-gateway`: containers route by this address instead of the bridge's.
    pub default_gateway: Option<Ipv4Addr>,
    /// `--default-address-pool`
    pub pools: Vec<AddressPool>,
    /// `--mtu`
    pub mtu: u32,
    /// `--icc`: containers reach one another.
    pub icc: bool,
    /// `--ip-masq`: containers reach the outside under the host's address.
    pub ip_masq: bool,
    /// `--ip-forward`: switch the kernel's forwarding on when it is off.
    pub ip_forward: bool,
    /// `--ip`: where a port is published that names no host address.
    pub publish_ip: Ipv4Addr,
    /// Name of the nftables table of our own: several engines side by side each have one.
    pub table: String,
    /// The room's directory below the data root, where the ids of the networks are kept; without it they last until the host restarts.
    pub root: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            bridge: "dhow0".into(),
            disabled: false,
            bip: None,
            fixed_cidr: None,
            default_gateway: None,
            pools: docker_pools(),
            mtu: 1500,
            icc: true,
            ip_masq: true,
            ip_forward: true,
            publish_ip: Ipv4Addr::UNSPECIFIED,
            table: "dhow".into(),
            root: None,
        }
    }
}

impl Config {
    /// Checks all that can be checked before the kernel is asked.
    pub(crate) fn validate(&self) -> Result<()> {
        let invalid = |why: String| Err(Error::Invalid(why));
        let name_ok = |name: &str, most: usize| {
            !name.is_empty()
                && name.len() <= most
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
                && !name.starts_with('.')
        };
        if !name_ok(&self.bridge, 15) {
            return invalid(format!("invalid bridge name {:?}: 1 to 15 letters, digits, '_', '-' or '.'", self.bridge));
        }
        if !name_ok(&self.table, 64) {
            return invalid(format!("invalid firewall table name {:?}", self.table));
        }
        if !(68..=65535).contains(&self.mtu) {
            return invalid(format!("invalid MTU {}: must be between 68 and 65535", self.mtu));
        }
        let Some(bip) = self.bip else {
            // Without an address of the bridge there is nothing that the others could be checked against.
            return match (self.fixed_cidr, self.default_gateway) {
                (None, None) => Ok(()),
                _ => invalid("fixed-cidr and default-gateway need the bridge's address: give --bip too".into()),
            };
        };
        let hosts = bip.subnet.prefix <= 30;
        if !hosts || bip.address == bip.subnet.network || bip.address == bip.subnet.broadcast() {
            return invalid(format!("bip {}/{} is not the address of a host", bip.address, bip.subnet.prefix));
        }
        if let Some(part) = self.fixed_cidr
            && !(bip.subnet.contains(part.network) && part.prefix >= bip.subnet.prefix)
        {
            return invalid(format!("fixed-cidr {part} is not within {}", bip.subnet));
        }
        if let Some(gateway) = self.default_gateway
            && !bip.subnet.contains(gateway)
        {
            return invalid(format!("default gateway {gateway} is not within {}", bip.subnet));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_checked() {
        let ok = Config { bip: Some("10.9.0.1/24".parse().unwrap()), ..Config::default() };
        assert!(ok.validate().is_ok());
        assert!(Config::default().validate().is_ok());
        let wrong = |change: fn(&mut Config)| {
            let mut config = ok.clone();
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        assert!(wrong(|c| c.bridge = "a/b".into()).starts_with("invalid bridge name"));
        assert!(wrong(|c| c.bridge = "sixteen-letters-".into()).starts_with("invalid bridge name"));
        assert!(wrong(|c| c.table = String::new()).starts_with("invalid firewall table name"));
        assert_eq!(wrong(|c| c.mtu = 67), "invalid MTU 67: must be between 68 and 65535");
        assert_eq!(wrong(|c| c.bip = "10.9.0.0/24".parse().ok()), "bip 10.9.0.0/24 is not the address of a host");
        assert_eq!(
            wrong(|c| c.fixed_cidr = "10.8.0.0/24".parse().ok()),
            "fixed-cidr 10.8.0.0/24 is not within 10.9.0.0/24"
        );
        assert_eq!(
            wrong(|c| c.fixed_cidr = "10.9.0.0/16".parse().ok()),
            "fixed-cidr 10.9.0.0/16 is not within 10.9.0.0/24"
        );
        assert_eq!("10.9.0.1".parse::<Cidr>().unwrap_err().to_string(), "invalid CIDR address: 10.9.0.1");
    }
}
