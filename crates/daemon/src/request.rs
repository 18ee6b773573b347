//! What a request says: its query, its headers, its body within limits.

use crate::error::{Error, Result};
use crate::pipe;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Body;
use serde::de::DeserializeOwned;

/// The longest JSON body.
pub const MAX_JSON: u64 = 4 << 20;

/// How long the next piece of one may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(if cfg!(test) { 1 } else { 30 });

/// The query, decoded.
#[derive(Debug, Clone, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `a=b&c`.
    pub fn parse(text: Option<&str>) -> Query {
        let pairs = text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Query(
            pairs
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(key, true), decode(value, true))
                })
                .collect(),
        )
    }

    /// The first value, or nothing.
    pub fn get(&self, key: &str) -> &str {
        self.0.iter().find(|(k, _)| k == key).map_or("", |(_, v)| v)
    }

    /// All values.
    pub fn all(&self, key: &str) -> Vec<String> {
        self.0.iter().filter(|(k, _)| k == key).map(|(_, v)| v.clone()).collect()
    }

    /// Whether the key was given at all.
    pub fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(k, _)| k == key)
    }

    /// Docker's booleans: all is true but nothing, `0`, `no`, `false`, `none`.
    pub fn boolean(&self, key: &str) -> bool {
        !matches!(self.get(key).trim().to_ascii_lowercase().as_str(), "" | "0" | "no" | "false" | "none")
    }

    /// A whole number, if given.
    ///
    /// # Errors
    /// 400, as Go's strconv says it.
    pub fn integer(&self, key: &str) -> Result<Option<i64>> {
        let text = self.get(key);
        if text.is_empty() {
            return Ok(None);
        }
        let why = |_| Error::invalid(format!("strconv.Atoi: parsing {text:?}: invalid syntax"));
        text.parse().map(Some).map_err(why)
    }

    /// The `filters`.
    ///
    /// # Errors
    /// 400 when they are not JSON of one of the two forms, or a key is not in `accepted`.
    pub fn filters(&self, accepted: &[&str]) -> Result<api::filters::Filters> {
        let wrong = |e: api::filters::InvalidFilter| Error::invalid(e.0);
        let filters = api::filters::Filters::parse(self.get("filters")).map_err(wrong)?;
        filters.validate(accepted).map_err(wrong)?;
        Ok(filters)
    }
}

/// Percent-decoding; bytes that are not UTF-8 become replacement characters.
pub fn decode(text: &str, plus_is_space: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = |b: Option<&u8>| b.and_then(|b| (*b as char).to_digit(16));
        match bytes[i] {
            b'+' if plus_is_space => out.push(b' '),
            b'%' => match (hex(bytes.get(i + 1)), hex(bytes.get(i + 2))) {
                (Some(high), Some(low)) => {
                    out.push((high * 16 + low) as u8);
                    i += 2;
                }
                _ => out.push(b'%'),
            },
            other => out.push(other),
        }
        i += 1;
    }
    String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

/// Refuses what is not said to be JSON.
fn check_content_type(headers: &HeaderMap, has_body: bool) -> Result<()> {
    let value = headers.get(header::CONTENT_TYPE).map_or("", |v| v.to_str().unwrap_or("?"));
    if value.is_empty() && !has_body {
        return Ok(());
    }
    let kind = value.split(';').next().unwrap_or_default().trim();
    if kind.is_empty() {
        return Err(Error::invalid(format!("malformed Content-Type header ({value}): mime: no media type")));
    }
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(Error::invalid(format!("unsupported Content-Type header ({value}): must be 'application/json'")));
    }
    Ok(())
}

/// The length that the request declares.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The whole body, if it is no longer than [`MAX_JSON`]. A longer one is refused before it is read.
///
/// # Errors
/// 413; 408 when no more of it comes; 400 when the client breaks off.
pub async fn bytes<B>(headers: &HeaderMap, body: B) -> Result<Bytes>
where
    B: Body<Data = Bytes, Error = hyper::Error>,
{
    let too_long = || Error::new(StatusCode::PAYLOAD_TOO_LARGE, "http: request body too large");
    if content_length(headers).is_some_and(|n| n > MAX_JSON) {
        return Err(too_long());
    }
    let mut body = std::pin::pin!(body);
    let mut whole = bytes::BytesMut::new();
    loop {
        match tokio::time::timeout(PATIENCE, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                let data = frame.data_ref().map_or(&[][..], |data| data);
                if (whole.len() + data.len()) as u64 > MAX_JSON {
                    drop(whole);
                    pipe::linger(body).await;
                    return Err(too_long());
                }
                whole.extend_from_slice(data);
            }
            Ok(Some(Err(e))) => return Err(Error::invalid(format!("reading the request body: {e}"))),
            Ok(None) => return Ok(whole.freeze()),
            Err(_) => return Err(Error::new(StatusCode::REQUEST_TIMEOUT, "the rest of the request body did not come")),
        }
    }
}

/// A JSON body; an empty one is `None`.
///
/// # Errors
/// 400 when it is said to be something else or is not JSON of that shape, 413 when it is too long.
pub async fn json<T, B>(headers: &HeaderMap, body: B) -> Result<Option<T>>
where
    T: DeserializeOwned,
    B: Body<Data = Bytes, Error = hyper::Error>,
{
    let has_body = content_length(headers).map_or(!body.is_end_stream(), |n| n > 0);
    check_content_type(headers, has_body)?;
    if !has_body {
        return Ok(None);
    }
    let bytes = bytes(headers, body).await?;
    parse(&bytes).map(Some)
}

/// Exactly one JSON value.
///
/// # Errors
/// 400
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Error::invalid("invalid JSON: got EOF while reading request body"));
    }
    // A list would be taken for an object's fields in their order. Objects within objects see to it themselves.
    if bytes.trim_ascii_start().starts_with(b"[") {
        let name = std::any::type_name::<T>();
        let name = name.rsplit("::").next().unwrap_or(name);
        return Err(Error::invalid(format!("invalid JSON: json: cannot unmarshal array into Go value of type {name}")));
    }
    serde_json::from_slice(bytes).map_err(|e| {
        let text = e.to_string();
        if text.starts_with("trailing characters") {
            return Error::invalid("unexpected content after JSON");
        }
        Error::invalid(format!("invalid JSON: {}", go_words(&text).unwrap_or(text)))
    })
}

/// A value of the wrong type as Go's `encoding/json` tells of it.
fn go_words(text: &str) -> Option<String> {
    let (found, wanted) = text.strip_prefix("invalid type: ")?.rsplit_once(", expected ")?;
    let wanted = wanted.split(" at line ").next()?;
    let found = match found.split([' ', '`']).next()? {
        "sequence" => "array",
        "map" => "object",
        "string" => "string",
        "boolean" => "bool",
        "integer" | "floating" => "number",
        _ => return None,
    };
    let wanted = match wanted {
        "a string" => "string",
        "a boolean" => "bool",
        "a sequence" => "[]interface {}",
        "a map" => "map[string]interface {}",
        "i64" => "int64",
        other => other.strip_prefix("struct ").unwrap_or(other),
    };
    Some(format!("json: cannot unmarshal {found} into Go value of type {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let query = Query::parse(Some("a=1&b=x%2Fy+z&all&t=a&t=b&no=False"));
        assert_eq!((query.get("b"), query.get("none")), ("x/y z", ""));
        assert_eq!(query.all("t"), ["a", "b"]);
        assert!(query.boolean("a") && !query.boolean("all") && !query.boolean("no"));
        assert_eq!(query.integer("a"), Ok(Some(1)));
        assert_eq!(query.integer("b").unwrap_err().message, "strconv.Atoi: parsing \"x/y z\": invalid syntax");
        assert_eq!(decode("%zz%4", false), "%zz%4");
    }

    #[test]
    fn content_types() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            check_content_type(&headers, true).map_err(|e| e.message)
        };
        assert_eq!(with("application/json; charset=utf-8"), Ok(()));
        assert_eq!(
            with("text/plain").unwrap_err(),
            "unsupported Content-Type header (text/plain): must be 'application/json'"
        );
        assert_eq!(check_content_type(&HeaderMap::new(), false), Ok(()));
        assert_eq!(
            check_content_type(&HeaderMap::new(), true).unwrap_err().message,
            "malformed Content-Type header (): mime: no media type"
        );
    }

    #[test]
    fn bodies() {
        let read = |text: &str| parse::<api::exec::StartExec>(text.as_bytes()).map_err(|e| e.message);
        assert!(read(r#"{"Detach":true,"Tty":null}"#).unwrap().detach);
        assert_eq!(read(" ").unwrap_err(), "invalid JSON: got EOF while reading request body");
        assert_eq!(read("{} {}").unwrap_err(), "unexpected content after JSON");
        assert_eq!(
            read("[]").unwrap_err(),
            "invalid JSON: json: cannot unmarshal array into Go value of type StartExec"
        );
        let wrong = |json: &str| parse::<api::container::CreateContainer>(json.as_bytes()).unwrap_err().message;
        for (json, found, wanted) in [
            (r#"{"NetworkingConfig":[]}"#, "array", "NetworkingConfig"),
            (r#"{"HostConfig":[]}"#, "array", "HostConfig"),
            (r#"{"HostConfig":"a, expected b"}"#, "string", "HostConfig"),
            (r#"{"Image":5}"#, "number", "string"),
            (r#"{"Image":{}}"#, "object", "string"),
            (r#"{"Tty":1.5}"#, "number", "bool"),
            (r#"{"Env":true}"#, "bool", "[]interface {}"),
            (r#"{"Labels":[]}"#, "array", "map[string]interface {}"),
            (r#"{"HostConfig":{"Memory":"1"}}"#, "string", "int64"),
        ] {
            let want = format!("invalid JSON: json: cannot unmarshal {found} into Go value of type {wanted}");
            assert_eq!(wrong(json), want, "{json}");
        }
    }

    /// Everything but letters and digits as `%XX`.
    fn encode(text: &str) -> String {
        let one = |b: u8| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") };
        text.bytes().map(one).collect()
    }

    proptest::proptest! {
        #[test]
        fn any_query_is_read(text in ".{0,60}") {
            let query = Query::parse(Some(&text));
            let _ = (query.integer("a"), query.filters(&["a"]), query.boolean("a"));
            proptest::prop_assert!(decode(&text, true).len() <= 3 * text.len());
        }

        #[test]
        fn a_query_reads_back(pairs in proptest::collection::vec(("[a-z]{1,3}", proptest::arbitrary::any::<String>()), 0..5)) {
            let text: Vec<String> = pairs.iter().map(|(k, v)| format!("{k}={}", encode(v))).collect();
            let query = Query::parse(Some(&text.join("&")));
            for (key, _) in &pairs {
                let all: Vec<String> = pairs.iter().filter(|(k, _)| k == key).map(|(_, v)| v.clone()).collect();
                proptest::prop_assert_eq!(query.all(key), all);
            }
        }

        #[test]
        fn any_body_is_read_or_refused(bytes: Vec<u8>) {
            if let Ok(value) = parse::<serde_json::Value>(&bytes) {
                proptest::prop_assert_eq!(value, serde_json::from_slice::<serde_json::Value>(&bytes).unwrap());
            }
            let _ = parse::<api::container::CreateContainer>(&bytes);
        }
    }
}
