//! What the administrator decides about registries.

use crate::Error;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How long to wait and how often to try.
#[derive(Debug, Clone)]
pub struct Patience {
    /// For one TCP connection and its TLS handshake.
    pub connect: Duration,
    /// For the next byte, or for the head of an answer.
    pub idle: Duration,
    /// How often a request is repeated after the first try.
    pub retries: u32,
    /// The first pause between two tries; it doubles, with jitter.
    pub pause: Duration,
    /// The longest `Retry-After` that is waited for.
    pub retry_after: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            connect: Duration::from_secs(15),
            idle: Duration::from_secs(30),
            retries: 5,
            pause: Duration::from_millis(250),
            retry_after: Duration::from_secs(60),
        }
    }
}

/// The configuration of a [`crate::Client`].
#[derive(Debug, Clone)]
pub struct Config {
    /// `--insecure-registry`: `host`, `host:port` or a CIDR. 127.0.0.0/8 and ::1 are always insecure.
    pub insecure: Vec<String>,
    /// `--registry-mirror`: URLs asked before Docker Hub.
    pub mirrors: Vec<String>,
    /// Directories like `/etc/docker/certs.d`, with one directory per `host[:port]`.
    pub certs: Vec<PathBuf>,
    /// What this engine calls itself.
    pub user_agent: String,
    /// Waits and repetitions.
    pub patience: Patience,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            insecure: Vec::new(),
            mirrors: Vec::new(),
            certs: vec!["/etc/docker/certs.d".into()],
            user_agent: concat!("dhow/", env!("CARGO_PKG_VERSION")).into(),
            patience: Patience::default(),
        }
    }
}

/// The parsed insecure list.
#[derive(Debug, Default)]
pub(crate) struct Insecure {
    /// `host` or `host:port`, lower case.
    hosts: Vec<String>,
    networks: Vec<(IpAddr, u8)>,
}

impl Insecure {
    pub(crate) fn parse(list: &[String]) -> Result<Insecure, Error> {
        let mut insecure = Insecure::default();
        for entry in list {
            let entry = entry.trim().to_lowercase();
            // dockerd takes http:// and https:// here with a warning and drops them.
            let name = entry.trim_start_matches("http://").trim_start_matches("https://").trim_end_matches('/');
            if let Some((address, length)) = name.split_once('/') {
                let bad = || Error::Invalid(format!("insecure registry {entry} is not valid: invalid CIDR address"));
                let address: IpAddr = address.parse().map_err(|_| bad())?;
                let length: u8 = length.parse().map_err(|_| bad())?;
                if length > if address.is_ipv4() { 32 } else { 128 } {
                    return Err(bad());
                }
                insecure.networks.push((address, length));
            } else if name.is_empty() || name.starts_with('-') || name.contains(['@', ' ', '?', '#']) {
                return Err(Error::Invalid(format!("insecure registry {entry} is not valid: invalid host {name:?}")));
            } else {
                insecure.hosts.push(name.to_owned());
            }
        }
        Ok(insecure)
    }

    /// By name alone: what is written `host` covers every port.
    pub(crate) fn covers(&self, host: &str, port: u16) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let address = bare.parse::<IpAddr>().ok();
        if host == "localhost" || address.is_some_and(|a| a.is_loopback()) {
            return true;
        }
        let with_port = if bare.contains(':') { format!("[{bare}]:{port}") } else { format!("{bare}:{port}") };
        self.hosts.iter().any(|h| h == bare || *h == format!("[{bare}]") || *h == with_port)
            || address.is_some_and(|a| self.networks.iter().any(|n| contains(n, a)))
    }

    /// Whether an address that a name resolved to is in one of the networks (Docker asks this too).
    pub(crate) fn covers_address(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.networks.iter().any(|n| contains(n, address))
    }
}

fn contains((network, length): &(IpAddr, u8), address: IpAddr) -> bool {
    let bits = |a: IpAddr| match a {
        IpAddr::V4(a) => (u128::from(u32::from(a)) << 96, 32u8),
        IpAddr::V6(a) => (u128::from(a), 128),
    };
    let ((n, wide), (a, width)) = (bits(*network), bits(address));
    wide == width && (*length == 0 || (n ^ a) >> (128 - u32::from(*length)) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_insecure_list() {
        let list = ["10.0.0.0/8", "reg.test", "other.test:5000", "http://x.test", "[fd00::1]:5000", "fd01::/16"];
        let i = Insecure::parse(&list.map(String::from)).unwrap();
        for (host, port, expected) in [
            ("127.0.0.1", 1, true),
            ("127.8.9.1", 443, true),
            ("::1", 5000, true),
            ("localhost", 5000, true),
            ("10.255.0.1", 443, true),
            ("11.0.0.1", 443, false),
            ("reg.test", 443, true),
            ("reg.test", 5000, true),
            ("other.test", 5000, true),
            ("other.test", 5001, false),
            ("x.test", 80, true),
            ("fd00::1", 5000, true),
            ("fd00::1", 5001, false),
            ("fd01::7", 443, true),
            ("docker.io", 443, false),
        ] {
            assert_eq!(i.covers(host, port), expected, "{host}:{port}");
        }
        for bad in ["10.0.0.0/33", "x/8", "", "-x", "a@b"] {
            assert!(Insecure::parse(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
