//! The ports of a container on one line.

use api::container::Port;

/// `0.0.0.0:8080->80/tcp, 443/tcp`: ranges are drawn together when host and container ports are the same.
pub fn line(ports: &[Port]) -> String {
    let mut ports: Vec<&Port> = ports.iter().collect();
    ports.sort_by(|a, b| {
        (a.private_port, &a.ip, a.public_port, &a.kind).cmp(&(b.private_port, &b.ip, b.public_port, &b.kind))
    });
    // (address, protocol), first, last: in the order in which they begin
    let mut groups: Vec<((&str, &str), u16, u16)> = Vec::new();
    let mut result = Vec::new();
    let mut mapped = Vec::new();
    for port in ports {
        let current = port.private_port;
        if !port.ip.is_empty() && port.public_port != current {
            mapped.push(format!("{}->{current}/{}", joined(&port.ip, &port.public_port.to_string()), port.kind));
            continue;
        }
        let key = (port.ip.as_str(), port.kind.as_str());
        match groups.iter_mut().find(|(k, ..)| *k == key) {
            None => groups.push((key, current, current)),
            Some((_, _, last)) if current == last.wrapping_add(1) => *last = current,
            Some((key, first, last)) => {
                result.push(group(*key, *first, *last));
                (*first, *last) = (current, current);
            }
        }
    }
    result.extend(groups.into_iter().map(|(key, first, last)| group(key, first, last)));
    result.extend(mapped);
    result.join(", ")
}

/// An address and a port; IPv6 in brackets.
pub fn joined(ip: &str, port: &str) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

fn group((ip, kind): (&str, &str), first: u16, last: u16) -> String {
    let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
    match ip {
        "" => format!("{range}/{kind}"),
        ip => format!("{}->{range}/{kind}", joined(ip, &range)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(ip: &str, private: u16, public: u16) -> Port {
        Port { ip: ip.into(), private_port: private, public_port: public, kind: "tcp".into() }
    }

    #[test]
    fn lines() {
        assert_eq!(line(&[]), "");
        assert_eq!(line(&[port("", 80, 0)]), "80/tcp");
        assert_eq!(line(&[port("0.0.0.0", 80, 8080), port("", 443, 0)]), "443/tcp, 0.0.0.0:8080->80/tcp");
        assert_eq!(line(&[port("0.0.0.0", 80, 80), port("0.0.0.0", 81, 81)]), "0.0.0.0:80-81->80-81/tcp");
        assert_eq!(line(&[port("::", 80, 8080)]), "[::]:8080->80/tcp");
        assert_eq!(line(&[port("", 1, 0), port("", 2, 0), port("", 9, 0)]), "1-2/tcp, 9/tcp");
    }
}
