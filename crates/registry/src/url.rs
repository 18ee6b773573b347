//! The few URLs of the protocol. Parsed once; everything after that compares origins, not text.

use crate::Error;
use std::fmt;
use std::net::IpAddr;

/// Scheme, host and port: what credentials are bound to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    /// https.
    pub secure: bool,
    /// Lower case, without the brackets of an IPv6 address.
    pub host: String,
    pub port: u16,
}

impl Origin {
    /// From `host[:port]`; the port defaults to the scheme's.
    pub(crate) fn new(secure: bool, authority: &str) -> Option<Origin> {
        let default = if secure { 443 } else { 80 };
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (host, rest.strip_prefix(':').or(rest.is_empty().then_some("")))
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, Some("")),
            },
        };
        let port = match port? {
            "" => default,
            text => text.parse().ok()?,
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        let valid = authority.starts_with('[') || host.bytes().all(plain);
        (!host.is_empty() && valid).then(|| Origin { secure, host: host.to_lowercase(), port })
    }

    /// `host[:port]` as the Host header and error texts have it.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == if self.secure { 443 } else { 80 } { host } else { format!("{host}:{}", self.port) }
    }

    /// An address that only exists next to a machine, where clouds keep their secrets.
    pub(crate) fn is_link_local(&self) -> bool {
        match self.host.parse() {
            Ok(IpAddr::V4(a)) => a.is_link_local(),
            Ok(IpAddr::V6(a)) => a.is_unicast_link_local() || a.to_ipv4_mapped().is_some_and(|a| a.is_link_local()),
            Err(_) => false,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}://{}", if self.secure { "https" } else { "http" }, self.authority())
    }
}

/// An absolute http or https URL without user information and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub origin: Origin,
    /// Path and query, beginning with a slash.
    pub path: String,
}

impl Url {
    pub(crate) fn parse(text: &str) -> Option<Url> {
        let (scheme, rest) = text.split_once("://")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let rest = rest.split('#').next()?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let origin = Origin::new(secure, &rest[..end])?;
        let path = if rest[end..].starts_with('/') { rest[end..].to_owned() } else { format!("/{}", &rest[end..]) };
        path.bytes().all(|b| (0x21..0x7f).contains(&b)).then_some(Url { origin, path })
    }

    /// Where a `Location` header leads from here (RFC 3986 section 5, as far as servers use it).
    pub(crate) fn join(&self, location: &str) -> Result<Url, Error> {
        let location = location.trim();
        let scheme = if self.origin.secure { "https" } else { "http" };
        let absolute = if location.split_once("://").is_some_and(|(s, _)| !s.contains(['/', '?'])) {
            location.to_owned()
        } else if location.starts_with("//") {
            format!("{scheme}:{location}")
        } else if location.starts_with('/') {
            format!("{}{location}", self.origin)
        } else {
            let directory = self.path.split('?').next().and_then(|p| p.rsplit_once('/')).map_or("", |(d, _)| d);
            format!("{}{directory}/{location}", self.origin)
        };
        let shown: String = location.chars().take(200).collect();
        Url::parse(&absolute)
            .ok_or_else(|| Error::Protocol(format!("registry redirects to {shown:?}, which is not an http(s) URL")))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

/// Percent-encodes everything but the unreserved characters.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_redirects() {
        let base = Url::parse("https://Reg.test:5000/v2/a/blobs/x?y=1#frag").unwrap();
        assert_eq!(base.to_string(), "https://reg.test:5000/v2/a/blobs/x?y=1");
        for (location, result) in [
            ("/b", Some("https://reg.test:5000/b")),
            ("//cdn.test/b", Some("https://cdn.test/b")),
            ("http://cdn.test:80/b?c=d", Some("http://cdn.test/b?c=d")),
            ("z", Some("https://reg.test:5000/v2/a/blobs/z")),
            ("https://[::1]:7/q", Some("https://[::1]:7/q")),
            ("file:///etc/passwd", None),
            ("https://user:pw@cdn.test/", None),
            ("https:///x", None),
            ("https://h:99999/", None),
            ("https://h/a b", None),
        ] {
            assert_eq!(base.join(location).ok().map(|u| u.to_string()).as_deref(), result, "{location}");
        }
        assert!(Origin::new(false, "169.254.169.254").unwrap().is_link_local());
        assert_eq!(encode("repository:a/b:pull"), "repository%3Aa%2Fb%3Apull");
    }
}
