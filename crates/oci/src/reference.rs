//! Image names: `[host[:port]/]path[:tag][@digest]` in the grammar of distribution/reference, and Docker's normal form
//! (`debian` is `docker.io/library/debian:latest`).

use crate::{Digest, Error};
use std::fmt;
use std::str::FromStr;

/// The host that a name without one means.
pub const DEFAULT_HOST: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";

/// A parsed image name. `FromStr` normalises as Docker does but adds no tag: see [`Reference::or_latest`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// Registry host with its port, `docker.io` when none was given.
    host: String,
    /// Repository path below the host, `library/debian`.
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Registry host with its port: `docker.io`, `127.0.0.1:5000`, `[::1]:5000`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Repository path below the host: `library/debian`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, if one was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was given.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The reference with tag `latest` when it has neither tag nor digest.
    pub fn or_latest(mut self) -> Reference {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.into());
        }
        self
    }

    /// The same repository under another tag.
    pub fn with_tag(&self, tag: &str) -> Result<Reference, Error> {
        if !is_tag(tag) {
            return Err(Error::ReferenceFormat);
        }
        Ok(Reference { tag: Some(tag.into()), digest: None, ..self.clone() })
    }

    /// The same repository by digest alone.
    pub fn with_digest(&self, digest: Digest) -> Reference {
        Reference { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// Host and path without tag and digest, in full: `docker.io/library/debian`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.host, self.path)
    }

    /// Host and path as Docker shows them: `debian`, `me/app`, `127.0.0.1:5000/debian`. The host of Docker Hub stays when
    /// the path alone would be read as something else: `docker.io/a.b/c`.
    pub fn familiar_repository(&self) -> String {
        let short = self.path.strip_prefix("library/").filter(|p| !p.contains('/')).unwrap_or(&self.path);
        let host = short.split_once('/').is_some_and(|(first, _)| could_be_host(first));
        if self.host != DEFAULT_HOST || host || is_id(short) {
            return self.repository();
        }
        short.to_owned()
    }

    /// The whole name as Docker shows it: `debian:13`, `me/app@sha256:…`.
    pub fn familiar(&self) -> String {
        let mut text = self.familiar_repository();
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest.as_str());
        }
        text
    }
}

/// `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`
pub fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&tag.len())
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

/// Lowercase alphanumerics joined by `.`, `_`, `__` or any number of `-`.
fn is_path_component(part: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_digit() || b.is_ascii_lowercase();
    let bytes = part.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if !alnum(*first) || !alnum(*last) {
        return false;
    }
    part.split(|c: char| c.is_ascii_digit() || c.is_ascii_lowercase())
        .all(|sep| matches!(sep, "" | "." | "_" | "__") || sep.bytes().all(|b| b == b'-'))
}

/// A DNS name, an IPv4 address or a bracketed IPv6 address, with an optional port.
fn is_host(host: &str) -> bool {
    let (name, port) = if let Some(rest) = host.strip_prefix('[') {
        let Some((address, rest)) = rest.split_once(']') else { return false };
        if address.parse::<std::net::Ipv6Addr>().is_err() {
            return false;
        }
        match rest {
            "" => return true,
            _ => match rest.strip_prefix(':') {
                Some(port) => ("ip", Some(port)),
                None => return false,
            },
        }
    } else {
        match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        }
    };
    let label = |l: &str| {
        !l.is_empty()
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    name.split('.').all(label)
        && port.is_none_or(|p| {
            (1..=5).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()) && p.parse::<u16>().is_ok()
        })
}

/// Whether what stands before a slash is taken for a host.
fn could_be_host(first: &str) -> bool {
    first.contains(['.', ':', '[']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase())
}

/// An image ID in full.
fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

impl FromStr for Reference {
    type Err = Error;
    fn from_str(s: &str) -> Result<Reference, Error> {
        if is_id(s) {
            return Err(Error::ReferenceIsId(s.into()));
        }
        let (rest, digest) = match s.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(|_| Error::ReferenceFormat)?)),
            None => (s, None),
        };
        // What stands before the first slash is a host when it could not be a path component of Docker Hub.
        let (host, remainder) = match rest.split_once('/') {
            Some((first, remainder)) if could_be_host(first) => (first, remainder),
            _ => (DEFAULT_HOST, rest),
        };
        let (path, tag) = match remainder.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (remainder, None),
        };
        let host = if host == "index.docker.io" { DEFAULT_HOST } else { host };
        let path = if host == DEFAULT_HOST && !path.contains('/') { format!("library/{path}") } else { path.into() };
        if path.bytes().any(|b| b.is_ascii_uppercase()) && path.to_lowercase().split('/').all(is_path_component) {
            return Err(Error::ReferenceCase(path));
        }
        if !is_host(host) || !path.split('/').all(is_path_component) || tag.is_some_and(|t| !is_tag(t)) {
            return Err(Error::ReferenceFormat);
        }
        if host.len() + 1 + path.len() > 255 {
            return Err(Error::ReferenceLength);
        }
        Ok(Reference { host: host.into(), path, tag: tag.map(Into::into), digest })
    }
}

impl fmt::Display for Reference {
    /// The full name: `docker.io/library/debian:13`.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_normalise_as_docker_does() {
        for (text, full, familiar) in [
            ("debian", "docker.io/library/debian", "debian"),
            ("debian:13", "docker.io/library/debian:13", "debian:13"),
            ("me/app", "docker.io/me/app", "me/app"),
            ("docker.io/debian", "docker.io/library/debian", "debian"),
            ("index.docker.io/library/debian", "docker.io/library/debian", "debian"),
            ("localhost/x", "localhost/x", "localhost/x"),
            ("127.0.0.1:5000/debian:13", "127.0.0.1:5000/debian:13", "127.0.0.1:5000/debian:13"),
            ("[::1]:5000/a/b", "[::1]:5000/a/b", "[::1]:5000/a/b"),
            ("a__b/c--d.e", "docker.io/a__b/c--d.e", "a__b/c--d.e"),
        ] {
            let r: Reference = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((r.to_string().as_str(), r.familiar().as_str()), (full, familiar), "{text}");
        }
    }

    #[test]
    fn digests_and_tags_together() {
        let hex = "ab".repeat(32);
        let r: Reference = format!("host.example/app:1@sha256:{hex}").parse().unwrap();
        assert_eq!((r.tag(), r.digest().unwrap().hex()), (Some("1"), hex.as_str()));
    }

    #[test]
    fn bad_names_say_why() {
        assert_eq!("Debian".parse::<Reference>(), Err(Error::ReferenceCase("library/Debian".into())));
        for bad in [
            "",
            "/",
            "a//b",
            "a/",
            "-a",
            "a..b",
            "a___b",
            "a:",
            "a:b c",
            "a@sha256:12",
            "a/../b",
            "host:99999/x",
            ":x",
            "[::1/x",
        ] {
            assert_eq!(bad.parse::<Reference>(), Err(Error::ReferenceFormat), "{bad:?}");
        }
        assert_eq!("ab".repeat(32).parse::<Reference>(), Err(Error::ReferenceIsId("ab".repeat(32))));
        assert_eq!("a".repeat(300).parse::<Reference>(), Err(Error::ReferenceLength));
    }
}
