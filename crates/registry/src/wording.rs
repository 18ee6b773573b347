//! Docker's words for what goes wrong, which scripts and people search for. Docker's client is written in Go, so many
//! of them are those of Go's net packages.

use crate::Error;
use http::StatusCode;
use oci::Reference;
use serde::Deserialize;
use std::error::Error as _;

/// An error of the operating system without Rust's `(os error N)`.
pub(crate) fn io(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => "unknown error".into(),
    }
}

/// An error of the HTTP connection: its cause when the operating system is the cause.
pub(crate) fn hyper(error: &hyper::Error) -> String {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(cause) = cause.downcast_ref::<std::io::Error>() {
            return match cause.kind() {
                std::io::ErrorKind::UnexpectedEof => "unexpected EOF".into(),
                _ => format!("read: {}", io(cause)),
            };
        }
        source = cause.source();
    }
    if error.is_incomplete_message() { "unexpected EOF".into() } else { error.to_string() }
}

/// One error of the distribution protocol's error body.
#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// What an error body says first, as `code: message` in Docker's form.
pub(crate) struct Said {
    /// `MANIFEST_UNKNOWN` …
    pub code: String,
    /// `manifest unknown: manifest unknown`
    pub text: String,
}

/// Reads an error body; HTML and other surprises give none.
pub(crate) fn said(body: &[u8]) -> Option<Said> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        errors: Vec<Entry>,
        /// Token realms use this.
        #[serde(default)]
        details: Option<String>,
    }
    let body: Body = serde_json::from_slice(body).ok()?;
    let first = body.errors.into_iter().next();
    let (code, message) = match (first, body.details) {
        (Some(entry), _) => (clean(&entry.code), clean(&entry.message)),
        (None, Some(details)) => ("UNAUTHORIZED".into(), clean(&details)),
        (None, None) => return None,
    };
    let text = format!("{}: {}", code.to_lowercase().replace('_', " "), message);
    Some(Said { code, text })
}

/// Text of a stranger, made fit for a terminal and for one line.
pub(crate) fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(500).collect()
}

/// What a request asked for, which decides how its failure is worded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Manifest,
    Blob,
    /// `GET /v2/`
    Ping,
}

/// The error for an answer with a status that is none of success.
pub(crate) fn refusal(
    reference: &Reference,
    subject: Subject,
    status: StatusCode,
    insufficient_scope: Option<String>,
    body: &[u8],
) -> Error {
    let name = reference.familiar_repository();
    let denied = |text: &str| {
        Error::Denied(format!(
            "pull access denied for {name}, repository does not exist or may require 'docker login': {text}"
        ))
    };
    if let Some(description) = insufficient_scope {
        return denied(&format!("denied: {description}"));
    }
    let said = said(body);
    let text = said.as_ref().map(|s| s.text.clone());
    let code = said.map(|s| s.code).unwrap_or_default();
    match (code.as_str(), status) {
        ("DENIED", _) => denied(&text.unwrap_or_default()),
        ("MANIFEST_UNKNOWN", _) => {
            Error::NotFound(format!("manifest for {} not found: {}", reference.familiar(), text.unwrap_or_default()))
        }
        ("NAME_UNKNOWN", _) => Error::NotFound(format!("repository {name} not found: {}", text.unwrap_or_default())),
        (_, StatusCode::UNAUTHORIZED) => {
            Error::Unauthorized(text.unwrap_or_else(|| "unauthorized: authentication required".into()))
        }
        (_, StatusCode::FORBIDDEN) => {
            denied(&text.unwrap_or_else(|| "denied: requested access to the resource is denied".into()))
        }
        (_, StatusCode::NOT_FOUND) => Error::NotFound(match (subject, text) {
            (Subject::Manifest, text) => format!(
                "manifest for {} not found: {}",
                reference.familiar(),
                text.unwrap_or_else(|| "manifest unknown: manifest unknown".into())
            ),
            (Subject::Blob, text) => text.unwrap_or_else(|| "blob unknown: blob unknown to registry".into()),
            (Subject::Ping, _) => "received unexpected HTTP status: 404 Not Found: it is no registry".into(),
        }),
        (_, StatusCode::TOO_MANY_REQUESTS) => {
            Error::TooManyRequests(text.unwrap_or_else(|| "toomanyrequests: too many requests".into()))
        }
        (_, status) if status.is_server_error() => {
            Error::Server(text.unwrap_or_else(|| format!("received unexpected HTTP status: {status}")))
        }
        (_, status) => Error::Protocol(text.unwrap_or_else(|| format!("received unexpected HTTP status: {status}"))),
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
pub(crate) fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Counting years from March puts the leap day at the end.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    Some(365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468)
}

/// `Retry-After` in seconds from `now` (seconds since 1970): a number, or an HTTP date.
pub(crate) fn retry_after(value: &str, now: u64) -> Option<u64> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(seconds);
    }
    // Sun, 06 Nov 1994 08:49:37 GMT
    let mut words = value.split_once(", ")?.1.strip_suffix(" GMT")?.split(' ');
    let day = words.next()?.parse().ok()?;
    let month = words.next()?;
    let names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = names.iter().position(|n| *n == month)? as u64 + 1;
    let days = days_since_1970(words.next()?.parse().ok()?, month, day)?;
    let clock: Vec<u64> = words.next()?.split(':').filter_map(|p| p.parse().ok()).collect();
    let [h, m, s] = clock.as_slice() else { return None };
    Some((days * 86400 + h.min(&23) * 3600 + m.min(&59) * 60 + s.min(&60)).saturating_sub(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_words() {
        let reference: Reference = "debian:nope".parse().unwrap();
        let ask = |subject, status: u16, scope: Option<&str>, body: &str| {
            refusal(&reference, subject, StatusCode::from_u16(status).unwrap(), scope.map(Into::into), body.as_bytes())
                .to_string()
        };
        let unknown = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}}]}"#;
        let not_found = "manifest for debian:nope not found: manifest unknown: manifest unknown";
        assert_eq!(ask(Subject::Manifest, 404, None, unknown), not_found);
        assert_eq!(ask(Subject::Manifest, 404, None, "<html>"), not_found);
        assert_eq!(
            ask(Subject::Manifest, 401, Some("requested access to the resource is denied"), ""),
            "pull access denied for debian, repository does not exist or may require 'docker login': denied: requested access to the resource is denied"
        );
        assert_eq!(ask(Subject::Manifest, 401, None, ""), "unauthorized: authentication required");
        assert_eq!(ask(Subject::Blob, 502, None, "<html>"), "received unexpected HTTP status: 502 Bad Gateway");
    }

    #[test]
    fn retry_after_forms() {
        assert_eq!(retry_after("7", 0), Some(7));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_770), Some(7));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", 999_999_999), Some(0));
        assert_eq!(retry_after("garbage", 0), None);
        assert_eq!(days_since_1970(2000, 3, 1), Some(11_017));
    }
}
