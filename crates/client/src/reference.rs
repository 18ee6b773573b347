//! Names of images, as far as a client must take them apart.

/// A name as people write it, in parts.
#[derive(Debug, PartialEq, Eq)]
pub struct Reference {
    /// `docker.io`, `127.0.0.1:5000`
    pub domain: String,
    /// `library/debian`
    pub path: String,
    /// After the colon.
    pub tag: Option<String>,
    /// After the at sign.
    pub digest: Option<String>,
}

/// Takes a name apart; `None` when it is none.
pub fn parse(name: &str) -> Option<Reference> {
    let (rest, digest) = match name.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.to_string())),
        None => (name, None),
    };
    let (rest, tag) = match rest.rsplit_once(':') {
        Some((rest, tag)) if !tag.contains('/') => (rest, Some(tag.to_string())),
        _ => (rest, None),
    };
    let (domain, path) = match rest.split_once('/') {
        Some((domain, path))
            if domain.contains(['.', ':']) || domain == "localhost" || domain.chars().any(char::is_uppercase) =>
        {
            (domain, path.to_string())
        }
        _ => ("docker.io", rest.to_string()),
    };
    let domain = if domain == "index.docker.io" { "docker.io" } else { domain };
    let path = if domain == "docker.io" && !path.contains('/') { format!("library/{path}") } else { path };
    let fits = |p: &str| {
        !p.is_empty()
            && !p.ends_with('/')
            && p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-/".contains(&b))
    };
    fits(&path).then(|| Reference { domain: domain.into(), path, tag, digest })
}

impl Reference {
    /// The name without tag and digest, as people write it.
    pub fn familiar(&self) -> String {
        match self.domain.as_str() {
            "docker.io" => self.path.strip_prefix("library/").unwrap_or(&self.path).to_string(),
            domain => format!("{domain}/{}", self.path),
        }
    }

    /// The familiar name, with `latest` when there is neither tag nor digest.
    pub fn complete(&self) -> String {
        let name = self.familiar();
        match (&self.tag, &self.digest) {
            (None, None) => format!("{name}:latest"),
            (Some(tag), None) => format!("{name}:{tag}"),
            (None, Some(digest)) => format!("{name}@{digest}"),
            (Some(tag), Some(digest)) => format!("{name}:{tag}@{digest}"),
        }
    }

    /// The key of this registry in `config.json`.
    pub fn registry(&self) -> &str {
        match self.domain.as_str() {
            "docker.io" => "https://index.docker.io/v1/",
            domain => domain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn names() {
        for (name, complete, registry) in [
            ("debian", "debian:latest", "https://index.docker.io/v1/"),
            ("docker.io/library/debian:13", "debian:13", "https://index.docker.io/v1/"),
            ("127.0.0.1:5000/debian:13", "127.0.0.1:5000/debian:13", "127.0.0.1:5000"),
            ("localhost/a/b", "localhost/a/b:latest", "localhost"),
            ("u/r@sha256:ab", "u/r@sha256:ab", "https://index.docker.io/v1/"),
        ] {
            let reference = parse(name).unwrap();
            assert_eq!((reference.complete().as_str(), reference.registry()), (complete, registry), "{name}");
        }
        assert_eq!(parse("Bad"), None);
        assert_eq!(parse(""), None);
    }
}
