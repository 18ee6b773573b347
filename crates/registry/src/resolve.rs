//! Host name to addresses. The binaries are static, so the C library's resolver is out of reach: literal addresses,
//! `/etc/hosts`, then DNS as `/etc/resolv.conf` says. Both files are read anew each time, so edits act at once.

use hickory_resolver::TokioResolver;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses of `host`, IPv4 first; the error is Go's text for it.
pub(crate) async fn resolve(host: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let hosts = tokio::task::spawn_blocking(|| std::fs::read_to_string("/etc/hosts")).await;
    let mut found = hosts.ok().and_then(Result::ok).map(|text| from_hosts(&text, host)).unwrap_or_default();
    if found.is_empty() && (host == "localhost" || host.ends_with(".localhost")) {
        found = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    }
    if found.is_empty() {
        let failed = |why: String| format!("lookup {host}: {why}");
        let resolver = TokioResolver::builder_tokio().and_then(|b| b.build());
        let resolver = resolver.map_err(|e| failed(format!("reading resolv.conf: {e}")))?;
        let answer = resolver
            .lookup_ip(host)
            .await
            .map_err(|e| failed(if e.is_no_records_found() { "no such host".into() } else { e.to_string() }))?;
        found = answer.iter().collect();
        if found.is_empty() {
            return Err(failed("no such host".into()));
        }
    }
    // Stable: the order within a family is the resolver's.
    found.sort_by_key(IpAddr::is_ipv6);
    Ok(found)
}

fn from_hosts(text: &str, host: &str) -> Vec<IpAddr> {
    let wanted = host.trim_end_matches('.');
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or("").split_ascii_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse) else { continue };
        if words.any(|w| w.trim_end_matches('.').eq_ignore_ascii_case(wanted)) && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_file() {
        let text =
            "127.0.0.1 localhost # me\n::1 localhost\n10.0.0.9\tReg.test alias\nbad reg.test\n#10.0.0.1 reg.test\n";
        assert_eq!(from_hosts(text, "reg.test"), ["10.0.0.9".parse::<IpAddr>().unwrap()]);
        assert_eq!(from_hosts(text, "alias."), ["10.0.0.9".parse::<IpAddr>().unwrap()]);
        assert_eq!(from_hosts(text, "localhost").len(), 2);
        assert_eq!(from_hosts(text, "me"), Vec::<IpAddr>::new());
    }
}
