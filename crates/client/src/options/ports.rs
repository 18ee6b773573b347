//! `--publish` and `--expose`.

use api::Empty;
use api::container::PortBinding;
use api::go::{List, Map};
use std::net::IpAddr;

/// Exposed ports and their bindings.
pub type Ports = (Map<Empty>, Map<List<PortBinding>>);

/// What `--publish` and `--expose` come to.
pub fn ports(publish: &[String], expose: &[String]) -> Result<Ports, String> {
    let mut exposed: Map<Empty> = Map::empty();
    let mut bindings: Map<List<PortBinding>> = Map::empty();
    for spec in publish {
        for (port, binding) in spec_of(&standard(spec)?)? {
            exposed.insert(port.clone(), Empty {});
            bindings.entry(port).or_default().push(binding);
        }
    }
    for spec in expose {
        if spec.contains(':') {
            return Err(format!("invalid port format for --expose: {spec}"));
        }
        let (range_text, proto) = split_proto(spec);
        let (start, end) =
            range(range_text).map_err(|why| format!("invalid range format for --expose: {spec}, error: {why}"))?;
        for port in start..=end {
            exposed.insert(format!("{port}/{proto}"), Empty {});
        }
    }
    Ok((exposed, bindings))
}

/// The long form (`published=8080,target=80`) as the short one.
fn standard(spec: &str) -> Result<String, String> {
    if !spec.contains('=') {
        return Ok(spec.into());
    }
    let (mut published, mut target, mut protocol) = ("", "", "tcp");
    for param in spec.split(',') {
        match param.split_once('=') {
            Some(("published", value)) => published = value,
            Some(("target", value)) => target = value,
            Some(("protocol", value)) => protocol = value,
            Some((key, _)) if !key.is_empty() => {}
            _ => return Err(format!("invalid publish opts format (should be name=value but got '{param}')")),
        }
    }
    Ok(format!("{published}:{target}/{protocol}"))
}

fn split_proto(text: &str) -> (&str, String) {
    match text.split_once('/') {
        Some((port, "")) => (port, "tcp".into()),
        Some(("", _)) => ("", String::new()),
        Some((port, proto)) => (port, proto.to_string()),
        None => (text, "tcp".into()),
    }
}

fn range(text: &str) -> Result<(u16, u16), String> {
    if text.is_empty() {
        return Err("empty string specified for ports".into());
    }
    let number = |text: &str| {
        text.parse::<u16>().map_err(|_| match !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            true => format!("strconv.ParseUint: parsing {}: value out of range", crate::flags::quote(text)),
            false => format!("strconv.ParseUint: parsing {}: invalid syntax", crate::flags::quote(text)),
        })
    };
    let (start, end) = match text.split_once('-') {
        Some((start, end)) => (number(start)?, number(end)?),
        None => (number(text)?, number(text)?),
    };
    if end < start {
        return Err(format!("invalid range specified for port: {text}"));
    }
    Ok((start, end))
}

fn spec_of(spec: &str) -> Result<Vec<(String, PortBinding)>, String> {
    let parts: Vec<&str> = spec.split(':').collect();
    let (ip, host, container) = match parts.as_slice() {
        [container] => (String::new(), "", *container),
        [host, container] => (String::new(), *host, *container),
        [ip @ .., host, container] => (ip.join(":"), *host, *container),
        [] => return Err(format!("no port specified: {spec}<empty>")),
    };
    let bare = match ip.strip_prefix('[') {
        Some(rest) => {
            rest.strip_suffix(']').ok_or_else(|| format!("invalid IP address {ip}: missing ']' in address"))?
        }
        None if ip.contains(':') => {
            return Err(format!("invalid IP address: {ip}"));
        }
        None => &ip,
    };
    if !bare.is_empty() && bare.parse::<IpAddr>().is_err() {
        return Err(format!("invalid IP address: {bare}"));
    }
    let (container, proto) = split_proto(container);
    if container.is_empty() {
        return Err(format!("no port specified: {spec}<empty>"));
    }
    let (start, end) = range(container).map_err(|_| format!("invalid containerPort: {container}"))?;
    let host_range = match host {
        "" => None,
        host => Some(range(host).map_err(|_| format!("invalid hostPort: {host}"))?),
    };
    if let Some((host_start, host_end)) = host_range
        && host_end - host_start != end - start
        && end != start
    {
        return Err(format!("invalid ranges specified for container and host Ports: {container} and {host}"));
    }
    if !matches!(proto.to_ascii_lowercase().as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid proto: {proto}"));
    }
    let proto = proto.to_ascii_lowercase();
    Ok((0..=end - start)
        .map(|i| {
            let host_port = match host_range {
                None => String::new(),
                Some((first, last)) if start == end && first != last => format!("{first}-{last}"),
                Some((first, _)) => (u32::from(first) + u32::from(i)).to_string(),
            };
            (format!("{}/{proto}", start + i), PortBinding { host_ip: bare.to_string(), host_port })
        })
        .collect())
}
