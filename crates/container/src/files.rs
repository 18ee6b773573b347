//! `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a container: files of its own beside its record.

use crate::check;
use crate::containers::{Container, Options};
use crate::error::{Error, Result};
use crate::record::Record;
use oci::runtime::Mount;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

pub(crate) const HOSTS: &str = "hosts";
pub(crate) const HOSTNAME: &str = "hostname";
pub(crate) const RESOLV_CONF: &str = "resolv.conf";

/// The file in the container, and its name beside the record.
const ALL: [(&str, &str); 3] = [("/etc/resolv.conf", RESOLV_CONF), ("/etc/hostname", HOSTNAME), ("/etc/hosts", HOSTS)];

/// What the network gave.
pub(crate) struct Place {
    pub ip: Option<Ipv4Addr>,
    pub gateway: Option<Ipv4Addr>,
    pub host: bool,
}

/// Writes the three files.
pub(crate) fn write(c: &Container, record: &Record, hostname: &str, place: &Place, options: &Options) -> Result<()> {
    let host = &record.host_config;
    let extra = extra_hosts(&host.extra_hosts, options.host_gateway.or(place.gateway.map(IpAddr::V4)))?;
    let hosts = match place.host {
        true => network::hosts_of_host(&std::fs::read_to_string("/etc/hosts").unwrap_or_default(), &extra),
        false => network::hosts(hostname, &record.config.domainname, place.ip, &extra),
    };
    let or = |own: &[String], engine: &[String]| if own.is_empty() { engine.to_vec() } else { own.to_vec() };
    let dns =
        or(&host.dns, &options.dns).iter().map(|s| s.parse::<IpAddr>()).collect::<std::result::Result<Vec<_>, _>>();
    let dns = dns.map_err(|_| Error::Invalid("--dns: not an IP address".into()))?;
    let (search, dns_options) =
        (or(&host.dns_search, &options.dns_search), or(&host.dns_options, &options.dns_options));
    let (host_path, host_text) = network::host_resolv_conf(place.host);
    let resolv = network::ResolvConf {
        host_path,
        host_text: &host_text,
        dns: &dns,
        search: &search,
        options: &dns_options,
        host_network: place.host,
    };
    put(&c.dir, HOSTS, &hosts)?;
    put(&c.dir, HOSTNAME, &format!("{hostname}\n"))?;
    put(&c.dir, RESOLV_CONF, &resolv.generate())
}

/// Not by rename: the file may be mounted in a container that shares this one's network.
fn put(directory: &Path, name: &str, text: &str) -> Result<()> {
    let path = directory.join(name);
    std::fs::write(&path, text).map_err(Error::io("write", &path))
}

fn extra_hosts(list: &[String], gateway: Option<IpAddr>) -> Result<Vec<(String, IpAddr)>> {
    list.iter()
        .map(|text| {
            let (name, ip) = text.split_once(':').unwrap_or((text, ""));
            let ip = match ip {
                "host-gateway" => {
                    gateway.ok_or_else(|| Error::Invalid("unable to derive the IP value for host-gateway".into()))?
                }
                ip => check::address(ip)
                    .ok_or_else(|| Error::Invalid(format!("invalid IP address in add-host: {ip:?}")))?,
            };
            Ok((name.to_owned(), ip))
        })
        .collect()
}

/// The mounts of the three files of `from`, but for those that `own` mounts itself.
pub(crate) fn mounts(from: &Path, own: &[Mount], read_only: bool) -> Vec<Mount> {
    ALL.iter()
        .filter(|(destination, _)| !own.iter().any(|m| m.destination == *destination))
        .map(|(destination, name)| {
            let mut options = vec!["rbind".to_owned(), "rprivate".to_owned()];
            if read_only {
                options.push("ro".into());
            }
            Mount {
                destination: (*destination).to_owned(),
                kind: "bind".into(),
                source: from.join(name).to_string_lossy().into_owned(),
                options,
                ..Mount::default()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_were_added() {
        let list = |t: &str| extra_hosts(&[t.to_owned()], Some(IpAddr::from([10, 0, 0, 1]))).map_err(|e| e.to_string());
        assert_eq!(list("a:1.2.3.4").unwrap(), [("a".to_owned(), IpAddr::from([1, 2, 3, 4]))]);
        assert_eq!(list("a:host-gateway").unwrap(), [("a".to_owned(), IpAddr::from([10, 0, 0, 1]))]);
        assert_eq!(list("a:[::1]").unwrap(), [("a".to_owned(), "::1".parse::<IpAddr>().unwrap())]);
        assert!(extra_hosts(&["a:host-gateway".to_owned()], None).is_err());
    }

    #[test]
    fn a_mount_of_the_users_takes_the_place() {
        let own = Mount { destination: "/etc/hosts".into(), ..Mount::default() };
        let all = mounts(Path::new("/x"), &[own], true);
        let destinations: Vec<_> = all.iter().map(|m| m.destination.as_str()).collect();
        assert_eq!(destinations, ["/etc/resolv.conf", "/etc/hostname"]);
        assert_eq!((all[0].source.as_str(), all[0].options.contains(&"ro".to_owned())), ("/x/resolv.conf", true));
    }
}
