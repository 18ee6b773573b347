//! One line of the file → [`Record`].

use super::format::{Between, Decoded};
use super::{Attrs, Record, STDERR, STDOUT, time};
use serde::Deserialize;
use std::collections::BTreeMap;

const HEAD: &[u8] = b"{\"log\":\"";
const STREAM: &[u8] = b"\",\"stream\":\"std";
const TIME: &[u8] = b",\"time\":\"";

/// A line in our own form, not yet unescaped.
struct Parts<'a> {
    stream: u8,
    time: &'a [u8],
    escaped: &'a [u8],
}

/// Takes apart `{"log":"…","stream":"std…","time":"…"}`. The text cannot contain a bare quote, so the fields are found
/// from the end at fixed distances; `attrs` is what may stand before the time.
#[inline]
fn split<'a>(line: &'a [u8], attrs: &[u8]) -> Option<Parts<'a>> {
    let body = line.strip_prefix(HEAD)?.strip_suffix(b"\"}")?;
    let time_at = body.iter().rposition(|byte| *byte == b'"')? + 1;
    let (body, time) = body.split_at(time_at);
    let mut body = body.strip_suffix(TIME)?;
    if !attrs.is_empty() {
        body = body.strip_suffix(attrs)?;
    }
    let (stream, rest) = match body {
        [rest @ .., b'o', b'u', b't', b'"'] => (STDOUT, rest),
        [rest @ .., b'e', b'r', b'r', b'"'] => (STDERR, rest),
        _ => return None,
    };
    Some(Parts { stream, time, escaped: rest.strip_suffix(STREAM)? })
}

/// Times in the form that we write; remembers the last second.
#[derive(Debug, Default)]
struct Times {
    prefix: [u8; SECONDS],
    ns: i64,
}

/// The length of `2026-11-21T05:41:00`.
const SECONDS: usize = 19;

impl Times {
    #[inline]
    fn read(&mut self, text: &[u8]) -> Option<i64> {
        let (prefix, rest) = text.split_first_chunk::<SECONDS>()?;
        if *prefix != self.prefix {
            self.ns = time::parse(text)?;
            let fraction = self.ns.rem_euclid(1_000_000_000);
            self.ns -= fraction;
            // An offset from UTC would have to be remembered, too.
            self.prefix = if text.ends_with(b"Z") { *prefix } else { [0; SECONDS] };
            return Some(self.ns + fraction);
        }
        let digits = rest.strip_prefix(b".")?.strip_suffix(b"Z")?;
        if digits.is_empty() || digits.len() > 9 {
            return None;
        }
        let mut fraction = 0i64;
        for digit in digits {
            if !digit.is_ascii_digit() {
                return None;
            }
            fraction = fraction * 10 + i64::from(digit - b'0');
        }
        for _ in digits.len()..9 {
            fraction *= 10;
        }
        Some(self.ns + fraction)
    }
}

/// Undoes the escapes of `encode`; `None` on one that it would not have written.
fn unescape(mut escaped: &[u8], out: &mut Vec<u8>) -> Option<()> {
    while let Some(at) = memchr::memchr(b'\\', escaped) {
        out.extend_from_slice(&escaped[..at]);
        let simple = match escaped.get(at + 1)? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            quoted @ (b'"' | b'\\' | b'/') => *quoted,
            b'u' => {
                let digits = std::str::from_utf8(escaped.get(at + 2..at + 6)?).ok()?;
                // A surrogate half is left to serde_json, which pairs them.
                let character = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                escaped = &escaped[at + 6..];
                continue;
            }
            _ => return None,
        };
        out.push(simple);
        escaped = &escaped[at + 2..];
    }
    if memchr::memchr(b'"', escaped).is_some() {
        return None;
    }
    out.extend_from_slice(escaped);
    Some(())
}

/// Docker's record in whatever order and with whatever else other writers put there.
#[derive(Deserialize)]
#[serde(default)]
struct Any {
    log: String,
    stream: String,
    time: String,
    attrs: Option<BTreeMap<String, String>>,
}

impl Default for Any {
    fn default() -> Self {
        Any { log: String::new(), stream: "stdout".into(), time: String::new(), attrs: None }
    }
}

/// Reads lines; remembers the last attributes, which hardly ever change.
#[derive(Debug, Default)]
pub(super) struct Json {
    /// `,"attrs":{…}` as we write it, or nothing.
    raw: Vec<u8>,
    attrs: Option<Attrs>,
    times: Times,
}

impl Json {
    #[inline]
    pub fn decode(&mut self, line: &[u8], between: Between, record: &mut Record) -> Decoded {
        if let Some(parts) = split(line, &self.raw)
            && let Some(time_ns) = self.times.read(parts.time)
        {
            let decoded = between.place(time_ns);
            if decoded != Decoded::Wanted {
                return decoded;
            }
            record.line.clear();
            if unescape(parts.escaped, &mut record.line).is_some() {
                record.stream = parts.stream;
                record.time_ns = time_ns;
                if record.attrs.is_some() || self.attrs.is_some() {
                    record.attrs.clone_from(&self.attrs);
                }
                return decoded;
            }
        }
        self.decode_any(line, between, record).unwrap_or(Decoded::Nonsense)
    }

    #[cold]
    fn decode_any(&mut self, line: &[u8], between: Between, record: &mut Record) -> Option<Decoded> {
        let any: Any = serde_json::from_slice(line).ok()?;
        record.stream = if any.stream == "stderr" { STDERR } else { STDOUT };
        record.time_ns = time::parse(any.time.as_bytes())?;
        record.line.clear();
        record.line.extend_from_slice(any.log.as_bytes());
        let attrs: Vec<(String, String)> = any.attrs.unwrap_or_default().into_iter().collect();
        self.raw = if attrs.is_empty() { Vec::new() } else { super::encode::attrs(&attrs) };
        self.attrs = (!attrs.is_empty()).then(|| attrs.into());
        record.attrs.clone_from(&self.attrs);
        Some(between.place(record.time_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<Record> {
        let mut record = Record::default();
        let all = Between { since: i64::MIN, until: i64::MAX };
        (Json::default().decode(line.as_bytes(), all, &mut record) == Decoded::Wanted).then_some(record)
    }

    #[test]
    fn reads_our_own_and_others() {
        let expected = Record { stream: STDERR, time_ns: 1_000_000_000, line: b"a\"<\t\n".to_vec(), attrs: None };
        let ours = r#"{"log":"a\"\u003c\u0009\n","stream":"stderr","time":"1970-01-01T00:00:01Z"}"#;
        let theirs = r#"{"stream":"stderr","attrs":{"x":"y"},"time":"1970-01-01T01:00:01+01:00","log":"a\"<\t\n"}"#;
        assert_eq!(read(ours), Some(expected.clone()));
        let attrs = Some(vec![("x".to_owned(), "y".to_owned())].into());
        assert_eq!(read(theirs), Some(Record { attrs, ..expected }));
        let pair = r#"{"log":"\ud83d\ude00","stream":"stdout","time":"1970-01-01T00:00:01Z"}"#;
        assert_eq!(read(pair).unwrap().line, "😀".as_bytes());
    }

    #[test]
    fn attributes_are_remembered_and_forgotten() {
        let line = |attrs: &str| {
            format!("{{\"log\":\"x\\n\",\"stream\":\"stdout\"{attrs},\"time\":\"1970-01-01T00:00:01Z\"}}")
        };
        let (mut json, mut record) = (Json::default(), Record::default());
        let all = Between { since: i64::MIN, until: i64::MAX };
        let a: Option<Attrs> = Some(vec![("a".to_owned(), "\"}".to_owned())].into());
        let cases =
            [("", None), (",\"attrs\":{\"a\":\"\\\"}\"}", a.clone()), (",\"attrs\":{\"a\":\"\\\"}\"}", a), ("", None)];
        for (attrs, expected) in cases {
            assert_eq!(json.decode(line(attrs).as_bytes(), all, &mut record), Decoded::Wanted);
            assert_eq!((record.line.as_slice(), &record.attrs), (&b"x\n"[..], &expected));
        }
    }

    #[test]
    fn times_are_read_by_their_last_second() {
        let mut times = Times::default();
        for text in [
            "1970-01-01T00:00:01.5Z",
            "1970-01-01T00:00:01.000000001Z",
            "1970-01-01T00:00:02.25Z",
            "1970-01-01T00:00:02.1Z",
        ] {
            assert_eq!(times.read(text.as_bytes()), time::parse(text.as_bytes()), "{text}");
        }
        assert_eq!(times.read(b"1970-01-01T01:00:02.5+01:00"), Some(2_500_000_000));
        assert_eq!(times.read(b"1970-01-01T01:00:02.5Z"), Some(3_602_500_000_000));
        for bad in
            ["1970-01-01T01:00:02.Z", "1970-01-01T01:00:02.5", "1970-01-01T01:00:02.5xZ", "1970-01-01T01:00:02.5+01:00"]
        {
            assert_eq!(times.read(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn refuses_torn_lines() {
        let whole = r#"{"log":"abc\n","stream":"stderr","time":"1970-01-01T00:00:01Z"}"#;
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end]), None, "{end}");
        }
    }
}
