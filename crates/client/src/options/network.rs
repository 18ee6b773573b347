//! `--network` and the flags that go with it.

use super::values::csv;
use crate::flags::Parsed;
use api::go::Map;
use api::network::{EndpointIpam, EndpointSettings};

/// One `--network`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attachment {
    /// A name, an ID, or a mode such as `host`.
    pub target: String,
    aliases: Vec<String>,
    driver_opts: Map<String>,
    links: Vec<String>,
    ipv4: String,
    ipv6: String,
    link_local: Vec<String>,
    mac: String,
    priority: i64,
}

/// Reads `name` or `name=…,alias=…,ip=…`.
pub fn attachment(value: &str) -> Result<Attachment, String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let long = value.match_indices('=').any(|(at, _)| value[..at].ends_with(word) && value[at + 1..].starts_with(word));
    if !long {
        return Ok(Attachment { target: value.into(), ..Attachment::default() });
    }
    let mut out = Attachment::default();
    for field in csv(value)? {
        let lower = field.to_lowercase();
        let Some((key, value)) = lower.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(format!("invalid field {field}"));
        };
        let value = value.trim().to_string();
        match key.trim() {
            "name" => out.target = value,
            "alias" => out.aliases.push(value),
            "ip" => out.ipv4 = value,
            "ip6" => out.ipv6 = value,
            "mac-address" => out.mac = value,
            "link-local-ip" => out.link_local.push(value),
            "driver-opt" => match value.split_once('=') {
                Some((key, value)) if !key.trim().is_empty() => {
                    out.driver_opts.insert(key.trim().into(), value.trim().into());
                }
                _ => return Err("invalid key value pair format in driver options".into()),
            },
            "gw-priority" => {
                out.priority = value.parse().map_err(|_| format!("invalid gw-priority ({value}): invalid syntax"))?;
            }
            other => return Err(format!("invalid field key {other}")),
        }
    }
    if out.target.is_empty() {
        return Err("network name/id is not specified".into());
    }
    Ok(out)
}

/// Whether a mode names a network that somebody made.
pub fn is_user_defined(mode: &str) -> bool {
    !matches!(mode, "" | "default" | "bridge" | "host" | "none") && !mode.starts_with("container:")
}

/// Docker's `net.ParseMAC` for the usual forms.
pub fn is_mac(text: &str) -> bool {
    let octets = |separator: char| {
        let parts: Vec<&str> = text.split(separator).collect();
        matches!(parts.len(), 6 | 8 | 20)
            && parts.iter().all(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    octets(':') || octets('-')
}

/// The network mode, and the endpoints' settings by network.
pub fn endpoints(flags: &Parsed) -> Result<(String, Map<Option<EndpointSettings>>), String> {
    let mut given = Vec::new();
    for value in flags.all("network") {
        given.push(attachment(&value)?);
    }
    let mode = given.first().map_or("default".to_string(), |a| a.target.clone());
    let mut endpoints: Map<Option<EndpointSettings>> = Map::empty();
    let only = given.len() == 1;
    let unnamed = given.is_empty();
    if unnamed {
        given.push(Attachment { target: "default".into(), ..Attachment::default() });
    }
    let user_defined = given.iter().filter(|a| is_user_defined(&a.target)).count();
    for (i, mut attachment) in given.iter().cloned().enumerate() {
        if i == 0 {
            apply(&mut attachment, flags)?;
        }
        let settings = settings(&attachment)?;
        if endpoints.contains_key(&attachment.target) {
            let name = crate::flags::quote(&attachment.target);
            return Err(format!("network {name} is specified multiple times"));
        }
        // without options the daemon makes the settings of a lone network itself
        if only && settings == EndpointSettings::default() {
            continue;
        }
        endpoints.insert(attachment.target, Some(settings));
    }
    if user_defined > 0 && user_defined < given.len() {
        return Err("conflicting options: cannot attach both user-defined and non-user-defined network-modes".into());
    }
    Ok((mode, endpoints))
}

/// The flags of the first network that stand outside `--network`.
fn apply(attachment: &mut Attachment, flags: &Parsed) -> Result<(), String> {
    let clash =
        |one: &str, other: &str| Err(format!("conflicting options: cannot specify both {one} and per-network {other}"));
    let aliases = flags.all("network-alias");
    let links = flags.all("link");
    let link_local = flags.all("link-local-ip");
    let (ip, ip6, mac) = (flags.text("ip"), flags.text("ip6"), flags.text("mac-address"));
    if !attachment.aliases.is_empty() && !aliases.is_empty() {
        return clash("--network-alias", "alias");
    }
    if !attachment.ipv4.is_empty() && !ip.is_empty() {
        return clash("--ip", "IPv4 address");
    }
    if !attachment.ipv6.is_empty() && !ip6.is_empty() {
        return clash("--ip6", "IPv6 address");
    }
    if !attachment.mac.is_empty() && !mac.is_empty() {
        return clash("--mac-address", "MAC address");
    }
    if !attachment.link_local.is_empty() && !link_local.is_empty() {
        return clash("--link-local-ip", "link-local IP addresses");
    }
    if !aliases.is_empty() {
        attachment.aliases = aliases;
    }
    if is_user_defined(&attachment.target) && !links.is_empty() {
        attachment.links = links;
    }
    for (field, value) in [(&mut attachment.ipv4, ip), (&mut attachment.ipv6, ip6), (&mut attachment.mac, mac)] {
        if !value.is_empty() {
            *field = value.into();
        }
    }
    if !link_local.is_empty() {
        attachment.link_local = link_local;
    }
    Ok(())
}

fn settings(attachment: &Attachment) -> Result<EndpointSettings, String> {
    if attachment.target.trim().is_empty() {
        return Err("no name set for network".into());
    }
    if !is_user_defined(&attachment.target) {
        if !attachment.aliases.is_empty() {
            return Err("network-scoped aliases are only supported for user-defined networks".into());
        }
        if !attachment.links.is_empty() {
            return Err("links are only supported for user-defined networks".into());
        }
    }
    if !attachment.mac.is_empty() && !is_mac(&attachment.mac) {
        return Err(format!("{} is not a valid mac address", attachment.mac));
    }
    let list = |items: &[String]| if items.is_empty() { Default::default() } else { items.to_vec().into() };
    let mut settings = EndpointSettings {
        aliases: list(&attachment.aliases),
        links: list(&attachment.links),
        mac_address: attachment.mac.clone(),
        driver_opts: attachment.driver_opts.clone(),
        gw_priority: attachment.priority,
        ..EndpointSettings::default()
    };
    if !attachment.ipv4.is_empty() || !attachment.ipv6.is_empty() || !attachment.link_local.is_empty() {
        settings.ipam_config = Some(EndpointIpam {
            ipv4_address: attachment.ipv4.clone(),
            ipv6_address: attachment.ipv6.clone(),
            link_local_ips: list(&attachment.link_local),
        });
    }
    Ok(settings)
}
