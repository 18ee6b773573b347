//! Who the user says he is.

use crate::Error;
use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::engine::{DecodePaddingMode, general_purpose};
use serde::Deserialize;
use std::fmt;

/// Credentials for one registry: those of the reference they are given with, and no other.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// Empty when a token is given instead.
    pub username: String,
    /// The password, or a personal access token.
    pub password: String,
    /// A refresh token that the token realm exchanges (`identitytoken`).
    pub identity_token: String,
    /// A bearer token used as it is (`registrytoken`).
    pub registry_token: String,
}

impl fmt::Debug for Credentials {
    /// Never prints a secret.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Both alphabets occur in the wild, with and without padding.
fn lenient(text: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let url = GeneralPurpose::new(&base64::alphabet::URL_SAFE, config);
    let standard = general_purpose::GeneralPurpose::new(&base64::alphabet::STANDARD, config);
    url.decode(text).or_else(|_| standard.decode(text)).ok()
}

impl Credentials {
    /// Reads the `X-Registry-Auth` header: base64 of a JSON object. Empty means none.
    ///
    /// # Errors
    /// When it is not that.
    pub fn decode(header: &str) -> Result<Option<Credentials>, Error> {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Auth {
            username: Option<String>,
            password: Option<String>,
            auth: Option<String>,
            identitytoken: Option<String>,
            registrytoken: Option<String>,
        }
        let header = header.trim();
        if header.is_empty() {
            return Ok(None);
        }
        let bad = |why: String| Error::Invalid(format!("invalid X-Registry-Auth header: {why}"));
        let bytes = lenient(header).ok_or_else(|| bad("it is not base64".into()))?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        // serde would read an array as a struct, too.
        if bytes.trim_ascii_start().starts_with(b"[") {
            return Err(bad("it is not a JSON object".into()));
        }
        let auth: Option<Auth> = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
        let auth = auth.unwrap_or_default();
        let mut credentials = Credentials {
            username: auth.username.unwrap_or_default(),
            password: auth.password.unwrap_or_default(),
            identity_token: auth.identitytoken.unwrap_or_default(),
            registry_token: auth.registrytoken.unwrap_or_default(),
        };
        // `auth` is base64 of user:password, as in config.json.
        if let Some(pair) = auth.auth.filter(|a| !a.is_empty() && credentials.username.is_empty()) {
            let pair = lenient(&pair).and_then(|b| String::from_utf8(b).ok());
            let (user, password) = pair.as_deref().and_then(|p| p.split_once(':')).ok_or_else(|| bad("auth".into()))?;
            (credentials.username, credentials.password) = (user.into(), password.trim_end_matches('\0').into());
        }
        Ok((credentials != Credentials::default()).then_some(credentials))
    }

    /// The value of an `Authorization` header of the Basic scheme.
    pub(crate) fn basic(&self) -> Option<String> {
        let pair = format!("{}:{}", self.username, self.password);
        (!self.username.is_empty()).then(|| format!("Basic {}", STANDARD.encode(pair)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::URL_SAFE;

    #[test]
    fn registry_auth_headers() {
        let ask = |json: &str| Credentials::decode(&URL_SAFE.encode(json));
        assert_eq!(Credentials::decode(""), Ok(None));
        assert_eq!(ask("{}"), Ok(None));
        assert_eq!(ask("null"), Ok(None));
        let full = Credentials { username: "u".into(), password: "p".into(), ..Default::default() };
        assert_eq!(ask(r#"{"username":"u","password":"p","serveraddress":"x"}"#), Ok(Some(full.clone())));
        assert_eq!(ask(r#"{"auth":"dTpw"}"#), Ok(Some(full.clone())));
        assert_eq!(full.basic().as_deref(), Some("Basic dTpw"));
        assert!(ask("[]").is_err() && Credentials::decode("%%").is_err());
        assert_eq!(format!("{full:?}"), "Credentials { username: \"u\", .. }");
    }
}
