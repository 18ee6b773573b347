//! `/networks`: the three that there are.

use crate::error::{Error, Result};
use crate::request::Query;
use api::network::{Ipam, IpamPool, Network, NetworkContainer};
use api::{List, Map};
use std::collections::HashMap;

/// The keys of its filters.
const ACCEPTED: [&str; 7] = ["dangling", "driver", "id", "label", "name", "scope", "type"];

/// `GET /networks`. Blocks.
pub fn list(networks: &network::Networks, query: &Query) -> Result<Vec<Network>> {
    let filters = query.filters(&ACCEPTED)?;
    let invalid = |e: api::filters::InvalidFilter| Error::invalid(e.0);
    let mut kinds = filters.get("type");
    if let Some(kind) = kinds.find(|kind| !["builtin", "custom"].contains(kind)) {
        return Err(Error::invalid(format!("invalid filter: 'type'='{kind}'")));
    }
    // None of the three can be removed, so none is ever dangling; all are built in.
    let none = filters.boolean("dangling", false).map_err(invalid)? || !filters.exact("type", "builtin");
    let all = networks.list()?.into_iter().map(|network| describe(network, None));
    Ok(all
        .filter(|n| {
            !none
                && filters.exact("driver", &n.driver)
                && filters.prefix("id", &n.id)
                && (!filters.contains("name") || filters.get("name").any(|name| n.name.contains(name)))
                && filters.exact("scope", &n.scope)
                && filters.labels("label", &n.labels)
        })
        .collect())
}

/// `GET /networks/{id}`: by name, ID or the beginning of one. `names` are those of containers by ID. Blocks.
pub fn inspect(networks: &network::Networks, wanted: &str, names: &HashMap<String, String>) -> Result<Network> {
    let all = networks.list()?;
    let exact = all.iter().position(|n| n.name == wanted || n.id == wanted);
    let found = match exact {
        Some(found) => Some(found),
        None => {
            let mut by_prefix = (0..all.len()).filter(|i| !wanted.is_empty() && all[*i].id.starts_with(wanted));
            match (by_prefix.next(), by_prefix.next()) {
                (first, None) => first,
                _ => {
                    let text = format!("network {wanted} is ambiguous ({} matches found based on ID prefix)", 2);
                    return Err(Error::invalid(text));
                }
            }
        }
    };
    let found = found.and_then(|i| all.into_iter().nth(i));
    found.map(|n| describe(n, Some(names))).ok_or_else(|| Error::not_found(format!("network {wanted} not found")))
}

fn describe(network: network::Network, names: Option<&HashMap<String, String>>) -> Network {
    let pool = network.subnet.map(|subnet| IpamPool {
        subnet: subnet.to_string(),
        ip_range: network.ip_range.map(|r| r.to_string()).unwrap_or_default(),
        gateway: network.gateway.map(|g| g.to_string()).unwrap_or_default(),
        ..IpamPool::default()
    });
    let containers: Map<NetworkContainer> = match names {
        None => Map::empty(),
        Some(names) => {
            network.endpoints.into_iter().map(|(id, place)| (id.clone(), container(&id, &place, names))).collect()
        }
    };
    Network {
        name: network.name.into(),
        id: network.id,
        created: super::rfc3339(super::nanoseconds(network.created)),
        scope: "local".into(),
        driver: network.driver.into(),
        enable_ipv4: true,
        ipam: Ipam {
            driver: "default".into(),
            options: Map::null(),
            config: if network.name == "bridge" { pool.into_iter().collect() } else { List::null() },
        },
        containers,
        options: network.options.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
        labels: Map::empty(),
        ..Network::default()
    }
}

fn container(id: &str, place: &network::Endpoint, names: &HashMap<String, String>) -> NetworkContainer {
    NetworkContainer {
        name: names.get(id).cloned().unwrap_or_default(),
        endpoint_id: place.endpoint_id.clone(),
        mac_address: place.mac.to_string(),
        ipv4_address: format!("{}/{}", place.ip, place.prefix),
        ipv6_address: String::new(),
    }
}
