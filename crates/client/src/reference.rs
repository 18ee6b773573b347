//! Names of images, as far as only a client must know: how it completes them, and whose credentials they need.

use crate::failure::{Failure, Result};
pub use oci::Reference;

/// Takes a name apart, or says what is wrong with it.
pub fn parse(name: &str) -> Result<Reference> {
    name.parse().map_err(|e: oci::Error| Failure::new(e.to_string()))
}

/// The familiar name, with `latest` when there is neither tag nor digest.
pub fn complete(reference: &Reference) -> String {
    reference.clone().or_latest().familiar()
}

/// The key of this registry in `config.json`.
pub fn registry(reference: &Reference) -> &str {
    match reference.host() {
        oci::reference::DEFAULT_HOST => "https://index.docker.io/v1/",
        host => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, completed, key) in [
            ("debian", "debian:latest", "https://index.docker.io/v1/"),
            ("docker.io/library/debian:13", "debian:13", "https://index.docker.io/v1/"),
            ("127.0.0.1:5000/debian:13", "127.0.0.1:5000/debian:13", "127.0.0.1:5000"),
            ("localhost/a/b", "localhost/a/b:latest", "localhost"),
        ] {
            let reference = parse(name).unwrap();
            assert_eq!((complete(&reference).as_str(), registry(&reference)), (completed, key), "{name}");
        }
        let why = |name| parse(name).unwrap_err().text;
        assert_eq!(why("UPPER"), "invalid reference format: repository name (library/UPPER) must be lowercase");
        assert_eq!(why(""), "invalid reference format");
    }
}
