//! Who holds which address: one small file per container on the run directory, so that a restarted daemon knows.

use crate::netlink::route::Mac;
use crate::ports::Binding;
use crate::subnet::Subnet;
use crate::{Error, Result};
use fault::Survey;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// A container's place on a network: all that `inspect` shows of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Name of the network.
    pub network: String,
    /// Id of the network.
    pub network_id: String,
    /// Id of the endpoint, new for every start.
    pub endpoint_id: String,
    /// Name of the interface inside the container.
    pub interface: String,
    /// Address.
    pub ip: Ipv4Addr,
    /// Prefix length of the network.
    pub prefix: u8,
    /// Where the default route goes.
    pub gateway: Ipv4Addr,
    /// Hardware address.
    pub mac: Mac,
    /// Published ports, with what was chosen for those that named no host port.
    pub ports: Vec<Binding>,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) version: u32,
    pub(crate) id: String,
    pub(crate) endpoint: Endpoint,
}

pub(crate) const VERSION: u32 = 1;

/// The leases in memory; the files follow.
#[derive(Default)]
pub(crate) struct Leases {
    pub(crate) records: HashMap<String, Record>,
    /// Also addresses whose record is not written yet.
    used: BTreeSet<u32>,
}

/// Where addresses come from.
pub(crate) struct Range {
    pub(crate) subnet: Subnet,
    pub(crate) part: Subnet,
    pub(crate) reserved: [Ipv4Addr; 2],
}

impl Range {
    fn may_have(&self, address: Ipv4Addr) -> bool {
        self.subnet.contains(address)
            && address != self.subnet.network
            && address != self.subnet.broadcast()
            && !self.reserved.contains(&address)
    }
}

impl Leases {
    /// The lowest free address, as Docker's default network gives them, or the wanted one.
    pub(crate) fn reserve(&mut self, range: &Range, wanted: Option<Ipv4Addr>) -> Result<Ipv4Addr> {
        if let Some(wanted) = wanted {
            if !range.may_have(wanted) {
                return Err(Error::Invalid(format!(
                    "invalid address {wanted}: it is not one of network {}",
                    range.subnet
                )));
            }
            return match self.used.insert(wanted.to_bits()) {
                true => Ok(wanted),
                false => Err(Error::Conflict("Address already in use".into())),
            };
        }
        let (first, last) = (range.part.network.to_bits(), range.part.broadcast().to_bits());
        // Walk the gaps between used addresses: every step but the reserved few skips a used one.
        let mut used = self.used.range(first..=last).copied().peekable();
        for candidate in first..=last {
            if used.next_if_eq(&candidate).is_some() {
                continue;
            }
            let address = Ipv4Addr::from_bits(candidate);
            if range.may_have(address) {
                drop(used);
                self.used.insert(candidate);
                return Ok(address);
            }
        }
        Err(Error::Exhausted(format!("no available IPv4 addresses on this network's address pools: {}", range.part)))
    }

    /// Gives an address back.
    pub(crate) fn free(&mut self, address: Ipv4Addr) {
        self.used.remove(&address.to_bits());
    }

    /// All published ports.
    pub(crate) fn ports(&self) -> Vec<Binding> {
        self.records.values().flat_map(|record| record.endpoint.ports.iter().cloned()).collect()
    }

    /// Reads what is in the directory; a file that cannot be read is set aside under another name.
    pub(crate) fn load(directory: &Path, survey: &mut Survey) -> Result<Leases> {
        let mut leases = Leases::default();
        for entry in std::fs::read_dir(directory).map_err(Error::io("read", directory))? {
            let path = entry.map_err(Error::io("read", directory))?.path();
            match path.extension().and_then(|e| e.to_str()) {
                Some("json") => {}
                // Left by a write that a crash cut short.
                Some("tmp") if survey.mends() => {
                    let _ = std::fs::remove_file(&path);
                    continue;
                }
                _ => continue,
            }
            match read(&path) {
                Ok(record) => {
                    leases.used.insert(record.endpoint.ip.to_bits());
                    leases.records.insert(record.id.clone(), record);
                }
                Err(error) => survey.fault(&path, error.to_string(), || aside(&path)),
            }
        }
        Ok(leases)
    }
}

/// Gives a file another name, by which nobody takes it for a lease.
pub(crate) fn aside(path: &Path) -> Result<String> {
    let to = path.with_extension("corrupt");
    std::fs::rename(path, &to).map_err(Error::io("rename", path))?;
    Ok(format!("moved to {}", to.display()))
}

pub(crate) fn read(path: &Path) -> Result<Record> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let corrupt = |why: String| Error::Corrupt(format!("{}: {why}", path.display()));
    let record: Record = serde_json::from_slice(&bytes).map_err(|e| corrupt(e.to_string()))?;
    if record.version != VERSION {
        return Err(corrupt(format!("format {} is not known", record.version)));
    }
    if path.file_stem().and_then(|s| s.to_str()) != Some(record.id.as_str()) {
        return Err(corrupt("the lease is that of another container".into()));
    }
    Ok(record)
}

pub(crate) fn path_of(directory: &Path, id: &str) -> PathBuf {
    directory.join(format!("{id}.json"))
}

/// Writes a record so that a reader sees all of it or nothing. The directory is a tmpfs: nothing outlives the host's
/// run, so nothing is synced.
pub(crate) fn write(directory: &Path, record: &Record) -> Result<()> {
    let path = path_of(directory, &record.id);
    let tmp = path.with_extension("tmp");
    let bytes = serde_json::to_vec(record).map_err(|e| Error::Corrupt(e.to_string()))?;
    std::fs::write(&tmp, bytes).map_err(Error::io("write", &tmp))?;
    std::fs::rename(&tmp, &path).map_err(Error::io("rename", &path))
}

/// Removes a record; that it is gone already is no error.
pub(crate) fn remove(directory: &Path, id: &str) -> Result<()> {
    let path = path_of(directory, id);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(Error::io("remove", &path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(subnet: &str, part: &str) -> Range {
        let parse = |text| Subnet::parse(text).unwrap().1;
        let subnet: Subnet = parse(subnet);
        Range { subnet, part: parse(part), reserved: [subnet.first_host(), Ipv4Addr::new(10, 0, 0, 5)] }
    }

    #[test]
    fn the_lowest_free_address_is_given() {
        let mut leases = Leases::default();
        let range = range("10.0.0.0/29", "10.0.0.0/29");
        let mut next = || leases.reserve(&range, None).map(|ip| ip.octets()[3]);
        assert_eq!([next().unwrap(), next().unwrap(), next().unwrap(), next().unwrap()], [2, 3, 4, 6]);
        assert_eq!(
            next().unwrap_err().to_string(),
            "no available IPv4 addresses on this network's address pools: 10.0.0.0/29"
        );
        leases.free(Ipv4Addr::new(10, 0, 0, 3));
        assert_eq!(leases.reserve(&range, None).unwrap(), Ipv4Addr::new(10, 0, 0, 3));
    }

    #[test]
    fn a_wanted_address_must_be_free_and_of_the_network() {
        let mut leases = Leases::default();
        let range = range("10.0.0.0/24", "10.0.0.128/25");
        assert_eq!(leases.reserve(&range, None).unwrap(), Ipv4Addr::new(10, 0, 0, 128));
        let wanted = Some(Ipv4Addr::new(10, 0, 0, 9));
        assert_eq!(leases.reserve(&range, wanted).unwrap(), Ipv4Addr::new(10, 0, 0, 9));
        assert_eq!(leases.reserve(&range, wanted).unwrap_err().to_string(), "Address already in use");
        for bad in [[10, 0, 0, 0], [10, 0, 0, 1], [10, 0, 0, 5], [10, 0, 0, 255], [10, 0, 1, 1]] {
            assert!(matches!(leases.reserve(&range, Some(bad.into())), Err(Error::Invalid(_))), "{bad:?}");
        }
    }
}
