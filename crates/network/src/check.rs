//! Whether the leases are what this room knows, and whether the kernel has what they stand for and no more.

use crate::bridge::marker;
use crate::firewall::Elements;
use crate::join::veth_name;
use crate::lease::{self, Record};
use crate::netlink::route::{self, Link};
use crate::networks::Networks;
use crate::reaper::remove_link;
use crate::release::release;
use crate::{Error, Result};
use fault::Survey;
use std::collections::HashMap;
use std::path::Path;

impl Networks {
    /// Compares leases, devices and published ports. `holds`: whether a container runs, or may be starting, and so may
    /// have a place here.
    ///
    /// # Errors
    /// When the run directory or the kernel's devices cannot be listed.
    pub fn check(&self, survey: &mut Survey, holds: impl Fn(&str) -> bool) -> Result<()> {
        let records: Vec<Record> = self.0.leases().records.values().cloned().collect();
        self.check_files(survey, &records)?;
        self.check_leases(survey, &records, &holds);
        let links = self.0.route.with(route::links)?;
        self.check_links(survey, &records, &links);
        self.check_ports(survey, &records)
    }

    /// The leases as files, without asking the kernel: for an engine that does not run.
    ///
    /// # Errors
    /// As [`Networks::check`].
    pub fn check_at_rest(&self, survey: &mut Survey) -> Result<()> {
        let records: Vec<Record> = self.0.leases().records.values().cloned().collect();
        self.check_files(survey, &records)?;
        self.check_leases(survey, &records, &|_| true);
        Ok(())
    }

    fn check_files(&self, survey: &mut Survey, records: &[Record]) -> Result<()> {
        let directory = &self.0.directory;
        for record in records {
            let path = lease::path_of(directory, &record.id);
            let cause = match lease::read(&path) {
                Ok(read) if read == *record => continue,
                Ok(_) => "this lease is not the one that is known".to_owned(),
                Err(error) => error.to_string(),
            };
            survey.fault(&path, cause, || lease::write(directory, record).map(|()| "written again".to_owned()));
        }
        for entry in std::fs::read_dir(directory).map_err(Error::io("read", directory))?.flatten() {
            let path = entry.path();
            let id = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
            if path.extension().is_some_and(|e| e == "json") && !records.iter().any(|r| r.id == id) {
                survey.fault(&path, "nobody knows this lease", || lease::aside(&path));
            }
        }
        Ok(())
    }

    fn check_leases(&self, survey: &mut Survey, records: &[Record], holds: &dyn Fn(&str) -> bool) {
        let mut by_address = HashMap::new();
        let mut sorted: Vec<&Record> = records.iter().collect();
        sorted.sort_by(|a, b| a.id.cmp(&b.id));
        for record in sorted {
            let path = lease::path_of(&self.0.directory, &record.id);
            if !holds(&record.id) {
                survey.fault(&path, "this lease is that of no container that runs", || {
                    match release(&self.0, &record.id).into_iter().next() {
                        None => Ok("given back".to_owned()),
                        Some(error) => Err(error),
                    }
                });
                continue;
            }
            if let Some(other) = by_address.insert(record.endpoint.ip, &record.id) {
                let cause = format!("address {} is also that of container {other}", record.endpoint.ip);
                survey.stays(&path, cause, "restart one of them");
            }
        }
    }

    fn check_links(&self, survey: &mut Survey, records: &[Record], links: &[Link]) {
        let prefix = marker(&self.0.config.table);
        let at = |link: &str| Path::new("link").join(link);
        let ready = self.0.places.look(|place| place.map(crate::place::Place::veth));
        for link in links.iter().filter(|link| link.kind == "veth") {
            let Some(holder) = link.alias.strip_prefix(&prefix).filter(|id| !id.is_empty()) else { continue };
            let known = match holder {
                crate::place::UNUSED => ready.as_ref().is_none_or(|name| name.as_ref() == Some(&link.name)),
                id => records.iter().any(|r| r.id == id && veth_name(&r.endpoint) == link.name),
            };
            if !known {
                survey.fault(
                    &at(&link.name),
                    format!("no container has this device, which was made for {holder}"),
                    || remove_link(&self.0.route, &link.name).map(|()| "removed".to_owned()).map_err(Error::from),
                );
            }
        }
        for record in records {
            let name = veth_name(&record.endpoint);
            if !links.iter().any(|link| link.name == name) {
                let cause = format!("the device of container {} is missing", record.id);
                survey.stays(&at(&name), cause, "restart the container");
            }
        }
    }

    fn check_ports(&self, survey: &mut Survey, records: &[Record]) -> Result<()> {
        let mut wanted = Elements::default();
        records.iter().for_each(|r| wanted.extend(r.endpoint.ip, &r.endpoint.ports));
        let path = Path::new("nftables/ip").join(&self.0.config.table);
        let heal = || self.0.bridge().and_then(|_| self.heal()).map(|()| "put back".to_owned());
        let found = self.0.open_ports()?.map(|found| found.same(wanted));
        match found {
            None if records.is_empty() => {}
            None => survey.fault(&path, "the firewall table is missing", heal),
            Some(true) => {}
            Some(false) => survey.fault(&path, "the published ports are not those of the containers", heal),
        }
        Ok(())
    }
}
