//! Registry credentials, as the `X-Registry-Auth` header carries them.

use crate::go::{is_default, null_is_default, object};
use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Go's `base64.URLEncoding`; padding is optional on input.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Name of the header of pull, push and search.
pub const HEADER: &str = "X-Registry-Auth";

/// How to log in to one registry. Its `Debug` form keeps the secrets to itself.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, remote = "Self")]
#[allow(missing_docs)]
pub struct AuthConfig {
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_default")]
    pub username: String,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_default")]
    pub password: String,
    /// base64 of `username:password`
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_default")]
    pub auth: String,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_default")]
    pub serveraddress: String,
    /// An OAuth refresh token.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_default")]
    pub identitytoken: String,
    /// A bearer token to send as it is.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_default")]
    pub registrytoken: String,
}

object!(AuthConfig);

impl AuthConfig {
    /// The header's value.
    pub fn to_header(&self) -> String {
        ENGINE.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads the header's value; an empty one is no credentials.
    ///
    /// # Errors
    /// When it is not base64url of a JSON object.
    pub fn from_header(value: &str) -> Result<AuthConfig, String> {
        let wrong = |why: &dyn fmt::Display| format!("invalid X-Registry-Auth header: {why}");
        if value.is_empty() {
            return Ok(AuthConfig::default());
        }
        let json = ENGINE.decode(value).map_err(|_| wrong(&"must be a valid base64url-encoded string"))?;
        if json.is_empty() {
            return Ok(AuthConfig::default());
        }
        // serde would read a list as the fields in their order.
        if json.trim_ascii_start().first() != Some(&b'{') {
            return Err(wrong(&"it is no JSON object"));
        }
        serde_json::from_slice(&json).map_err(|e| wrong(&e))
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.username.is_empty()
            && self.password.is_empty()
            && self.auth.is_empty()
            && self.identitytoken.is_empty()
            && self.registrytoken.is_empty()
    }
}

impl fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("AuthConfig")
            .field("username", &self.username)
            .field("serveraddress", &self.serveraddress)
            .finish_non_exhaustive()
    }
}

/// Answer of `POST /auth`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct AuthStatus {
    pub identity_token: String,
    pub status: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_both_ways() {
        let auth = AuthConfig { username: "u".into(), password: "p?~".into(), ..AuthConfig::default() };
        assert_eq!(AuthConfig::from_header(&auth.to_header()).unwrap(), auth);
        assert_eq!(AuthConfig::from_header("e30").unwrap(), AuthConfig::default());
        assert_eq!(AuthConfig::from_header("e30=").unwrap(), AuthConfig::default());
        assert_eq!(AuthConfig::from_header("").unwrap(), AuthConfig::default());
        assert_eq!(
            AuthConfig::from_header("***").unwrap_err(),
            "invalid X-Registry-Auth header: must be a valid base64url-encoded string"
        );
        assert!(!format!("{auth:?}").contains("p?~"));
        let shouted = ENGINE.encode(r#"{"Username":"u","PASSWORD":"p?~"}"#);
        assert_eq!(AuthConfig::from_header(&shouted).unwrap(), auth);
    }
}
