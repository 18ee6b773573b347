//! The format of Docker's `local` driver: the length of a message (4 bytes, big-endian), the message, its length again.
//! The message is protobuf: 1 the stream's name, 2 nanoseconds since the epoch, 3 the text without its newline, 4 whether
//! the line goes on in the next message, 6 attributes (1 name, 2 value).

use super::format::{Between, Decoded, LONGEST, Next};
use super::{Attrs, Record, STDERR, STDOUT};

const SIZE: usize = 4;

/// What `bytes` begin with.
#[inline]
pub(super) fn next(bytes: &[u8]) -> Next {
    let Some(size) = bytes.first_chunk::<SIZE>() else { return Next::More };
    let length = u32::from_be_bytes(*size) as usize;
    // A message says at least whose it is: zeros are what a crash leaves at the end of a file.
    if length == 0 || length > LONGEST {
        return Next::Nonsense;
    }
    match bytes.get(SIZE + length..SIZE + length + SIZE) {
        None => Next::More,
        Some(again) if again == size => Next::Record(length + 2 * SIZE),
        Some(_) => Next::Nonsense,
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends one message with its lengths.
pub(super) fn encode(out: &mut Vec<u8>, is_err: bool, text: &[u8], time_ns: i64, attrs: &[u8]) {
    out.reserve(text.len() + attrs.len() + 48);
    let start = out.len();
    out.extend_from_slice(&[0; SIZE]);
    out.extend_from_slice(if is_err { b"\x0a\x06stderr" } else { b"\x0a\x06stdout" });
    out.push(0x10);
    put_varint(out, time_ns as u64);
    let line = text.strip_suffix(b"\n");
    match line.unwrap_or(text) {
        [] => {}
        line => put_field(out, 3, line),
    }
    if line.is_none() {
        out.extend_from_slice(b"\x20\x01");
    }
    out.extend_from_slice(attrs);
    let size = ((out.len() - start - SIZE) as u32).to_be_bytes();
    out[start..start + SIZE].copy_from_slice(&size);
    out.extend_from_slice(&size);
}

/// Attributes, as they stand in a message.
pub(super) fn attrs(attrs: &[(String, String)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in attrs {
        let mut one = Vec::new();
        put_field(&mut one, 1, name.as_bytes());
        put_field(&mut one, 2, value.as_bytes());
        put_field(&mut out, 6, &one);
    }
    out
}

/// One field of a message.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Takes one field off the front: its number and what it holds.
#[inline]
fn field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Field<'a>)> {
    let key = varint(bytes)?;
    let length = match key & 7 {
        0 => return Some((key >> 3, Field::Number(varint(bytes)?))),
        1 => 8,
        2 => usize::try_from(varint(bytes)?).ok()?,
        5 => 4,
        _ => return None,
    };
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some((key >> 3, Field::Bytes(taken)))
}

#[inline]
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            *bytes = &bytes[index + 1..];
            return Some(value);
        }
    }
    None
}

/// Reads messages; remembers the last attributes, which hardly ever change.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    raw: Vec<u8>,
    attrs: Option<Attrs>,
}

impl Decoder {
    pub fn decode(&mut self, bytes: &[u8], between: Between, record: &mut Record) -> Decoded {
        let Some(message) = bytes.get(SIZE..bytes.len().saturating_sub(SIZE)) else { return Decoded::Nonsense };
        let Some(parts) = own(message, &self.raw).or_else(|| parts(message)) else { return Decoded::Nonsense };
        let decoded = between.place(parts.time_ns);
        if decoded != Decoded::Wanted {
            return decoded;
        }
        record.stream = parts.stream;
        record.time_ns = parts.time_ns;
        record.line.clear();
        record.line.extend_from_slice(parts.line);
        if !parts.partial {
            record.line.push(b'\n');
        }
        if self.raw.len() != parts.attrs.len() || self.raw != parts.attrs {
            self.raw = parts.attrs.to_vec();
            self.attrs = read_attrs(parts.attrs);
        }
        if record.attrs.is_some() || self.attrs.is_some() {
            record.attrs.clone_from(&self.attrs);
        }
        decoded
    }
}

struct Parts<'a> {
    stream: u8,
    time_ns: i64,
    line: &'a [u8],
    /// The line goes on in the next message.
    partial: bool,
    /// From the first attribute to the last.
    attrs: &'a [u8],
}

/// A message in our own form, its fields in our order.
#[inline]
fn own<'a>(message: &'a [u8], attrs: &[u8]) -> Option<Parts<'a>> {
    let (head, mut rest) = message.split_first_chunk::<9>()?;
    let stream = match head {
        b"\x0a\x06stdout\x10" => STDOUT,
        b"\x0a\x06stderr\x10" => STDERR,
        _ => return None,
    };
    let time_ns = varint(&mut rest)? as i64;
    let mut line = &b""[..];
    if let [0x1a, after @ ..] = rest {
        rest = after;
        let length = usize::try_from(varint(&mut rest)?).ok()?;
        (line, rest) = rest.split_at_checked(length)?;
    }
    let mut partial = false;
    if let [0x20, 1, after @ ..] = rest {
        (partial, rest) = (true, after);
    }
    let same = rest.is_empty() && attrs.is_empty() || rest == attrs;
    same.then_some(Parts { stream, time_ns, line, partial, attrs: rest })
}

/// Any message of this kind.
#[cold]
fn parts(message: &[u8]) -> Option<Parts<'_>> {
    let mut parts = Parts { stream: STDOUT, time_ns: 0, line: b"", partial: false, attrs: b"" };
    let (mut is_partial, mut is_last, mut first_attr) = (false, false, None);
    let mut rest = message;
    while !rest.is_empty() {
        let at = message.len() - rest.len();
        match field(&mut rest)? {
            (1, Field::Bytes(name)) => parts.stream = if name == b"stderr" { STDERR } else { STDOUT },
            (2, Field::Number(time)) => parts.time_ns = time as i64,
            (3, Field::Bytes(line)) => parts.line = line,
            (4, Field::Number(flag)) => is_partial = flag != 0,
            (5, Field::Bytes(mut metadata)) => {
                while !metadata.is_empty() {
                    if let (1, Field::Number(flag)) = field(&mut metadata)? {
                        is_last = flag != 0;
                    }
                }
            }
            (6, Field::Bytes(_)) => {
                let from = *first_attr.get_or_insert(at);
                parts.attrs = &message[from..message.len() - rest.len()];
            }
            _ => {}
        }
    }
    parts.partial = is_partial && !is_last;
    Some(parts)
}

fn read_attrs(mut raw: &[u8]) -> Option<Attrs> {
    let mut all = Vec::new();
    while !raw.is_empty() {
        let (6, Field::Bytes(mut one)) = field(&mut raw)? else { continue };
        let (mut name, mut value) = (String::new(), String::new());
        while !one.is_empty() {
            match field(&mut one)? {
                (1, Field::Bytes(text)) => name = String::from_utf8_lossy(text).into_owned(),
                (2, Field::Bytes(text)) => value = String::from_utf8_lossy(text).into_owned(),
                _ => {}
            }
        }
        all.push((name, value));
    }
    (!all.is_empty()).then(|| all.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Between = Between { since: i64::MIN, until: i64::MAX };

    fn read(bytes: &[u8]) -> Option<Record> {
        let mut record = Record::default();
        (Decoder::default().decode(bytes, ALL, &mut record) == Decoded::Wanted).then_some(record)
    }

    #[test]
    fn a_message_is_dockers() {
        let mut out = Vec::new();
        encode(&mut out, false, b"hi\n", 300, &[]);
        assert_eq!(out, b"\0\0\0\x0f\x0a\x06stdout\x10\xac\x02\x1a\x02hi\0\0\0\x0f");
        assert_eq!(next(&out), Next::Record(out.len()));
        for end in 0..out.len() {
            assert_eq!(next(&out[..end]), Next::More);
        }
        assert_eq!(next(&[0; 64]), Next::Nonsense);
        let record = Record { stream: STDOUT, time_ns: 300, line: b"hi\n".to_vec(), attrs: None };
        assert_eq!(read(&out), Some(record));
    }

    #[test]
    fn lines_that_go_on_and_attributes() {
        let list = vec![("a".to_owned(), "1".to_owned()), ("b".to_owned(), String::new())];
        let mut out = Vec::new();
        encode(&mut out, true, b"part", -5, &attrs(&list));
        let expected = Record { stream: STDERR, time_ns: -5, line: b"part".to_vec(), attrs: Some(list.into()) };
        assert_eq!(read(&out), Some(expected));
        // The last part of a line, as Docker marks it.
        let docker = b"\0\0\0\x15\x0a\x06stdout\x10\x01\x1a\x01x\x20\x01\x2a\x04\x08\x01\x18\x02\0\0\0\x15";
        assert_eq!(next(docker), Next::Record(docker.len()));
        assert_eq!(read(docker).unwrap().line, b"x\n");
    }

    proptest::proptest! {
        #[test]
        fn nonsense_is_refused(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60)) {
            let _ = next(&bytes);
            let _ = read(&bytes);
        }
    }
}
