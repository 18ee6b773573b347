//! D-Bus messages in their marshalled form (D-Bus specification, "Type System" and "Message Protocol"). Pure.
//!
//! What comes from outside is limited: in length, in depth, and to the types of [`Value`].

use std::fmt;

/// The longest message that is read. systemd's answers are short; signals of all units come by too.
pub(super) const MAX: usize = 4 << 20;
/// How long the part of a message is that says how long the whole is.
pub(super) const FIXED: usize = 16;
/// How deep types may lie in each other.
const DEPTH: u8 = 16;

pub(super) const CALL: u8 = 1;
pub(super) const REPLY: u8 = 2;
pub(super) const ERROR: u8 = 3;
pub(super) const SIGNAL: u8 = 4;

/// A value with its type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Byte(u8),
    Bool(bool),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    F64(f64),
    Text(String),
    Path(String),
    Signature(String),
    /// `ay`
    Bytes(Vec<u8>),
    /// Of elements of this type.
    Array(String, Vec<Value>),
    Struct(Vec<Value>),
    Variant(Box<Value>),
}

impl Value {
    pub fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    /// Its type, as signatures have it.
    pub fn kind(&self) -> String {
        let one = match self {
            Value::Byte(_) => "y",
            Value::Bool(_) => "b",
            Value::I16(_) => "n",
            Value::U16(_) => "q",
            Value::I32(_) => "i",
            Value::U32(_) => "u",
            Value::I64(_) => "x",
            Value::U64(_) => "t",
            Value::F64(_) => "d",
            Value::Text(_) => "s",
            Value::Path(_) => "o",
            Value::Signature(_) => "g",
            Value::Bytes(_) => "ay",
            Value::Variant(_) => "v",
            Value::Array(element, _) => return format!("a{element}"),
            Value::Struct(fields) => return format!("({})", fields.iter().map(Value::kind).collect::<String>()),
        };
        one.into()
    }
}

/// A message that does not have the form it should have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Nonsense(&'static str);

impl fmt::Display for Nonsense {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// To what a type is aligned.
fn alignment(kind: u8) -> usize {
    match kind {
        b'n' | b'q' => 2,
        b'b' | b'i' | b'u' | b's' | b'o' | b'a' => 4,
        b'x' | b't' | b'd' | b'(' => 8,
        _ => 1,
    }
}

fn pad(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}

fn write(out: &mut Vec<u8>, value: &Value) {
    fn text(out: &mut Vec<u8>, text: &str) {
        out.extend((text.len() as u32).to_le_bytes());
        out.extend(text.as_bytes());
        out.push(0);
    }
    fn signature(out: &mut Vec<u8>, text: &str) {
        out.push(text.len() as u8);
        out.extend(text.as_bytes());
        out.push(0);
    }
    pad(out, alignment(value.kind().as_bytes()[0]));
    match value {
        Value::Byte(v) => out.push(*v),
        Value::Bool(v) => out.extend(u32::from(*v).to_le_bytes()),
        Value::I16(v) => out.extend(v.to_le_bytes()),
        Value::U16(v) => out.extend(v.to_le_bytes()),
        Value::I32(v) => out.extend(v.to_le_bytes()),
        Value::U32(v) => out.extend(v.to_le_bytes()),
        Value::I64(v) => out.extend(v.to_le_bytes()),
        Value::U64(v) => out.extend(v.to_le_bytes()),
        Value::F64(v) => out.extend(v.to_le_bytes()),
        Value::Text(v) | Value::Path(v) => text(out, v),
        Value::Signature(v) => signature(out, v),
        Value::Bytes(v) => {
            out.extend((v.len() as u32).to_le_bytes());
            out.extend(v);
        }
        Value::Array(element, values) => {
            let at = out.len();
            out.extend([0; 4]);
            // The length counts from the first element, after the padding that even an empty array has.
            pad(out, alignment(element.as_bytes()[0]));
            let first = out.len();
            values.iter().for_each(|value| write(out, value));
            let length = (out.len() - first) as u32;
            out[at..at + 4].copy_from_slice(&length.to_le_bytes());
        }
        Value::Struct(fields) => fields.iter().for_each(|field| write(out, field)),
        Value::Variant(inner) => {
            signature(out, &inner.kind());
            write(out, inner);
        }
    }
}

/// A call of a method.
pub(super) struct Call<'a> {
    pub destination: &'a str,
    pub path: &'a str,
    pub interface: &'a str,
    pub member: &'a str,
    pub body: &'a [Value],
}

impl Call<'_> {
    /// The message, little-endian.
    pub fn marshal(&self, serial: u32) -> Vec<u8> {
        let mut body = Vec::new();
        self.body.iter().for_each(|value| write(&mut body, value));
        let field = |code: u8, value: Value| Value::Struct(vec![Value::Byte(code), Value::Variant(Box::new(value))]);
        let mut fields = vec![
            field(1, Value::Path(self.path.into())),
            field(2, Value::text(self.interface)),
            field(3, Value::text(self.member)),
            field(6, Value::text(self.destination)),
        ];
        if !self.body.is_empty() {
            fields.push(field(8, Value::Signature(self.body.iter().map(Value::kind).collect())));
        }
        let mut out = vec![b'l', CALL, 0, 1];
        out.extend((body.len() as u32).to_le_bytes());
        out.extend(serial.to_le_bytes());
        write(&mut out, &Value::Array("(yv)".into(), fields));
        pad(&mut out, 8);
        out.extend(body);
        out
    }
}

/// A message that has come.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Message {
    pub kind: u8,
    /// Of the call that it answers.
    pub answers: Option<u32>,
    pub sender: String,
    pub interface: String,
    pub member: String,
    /// The name of an error.
    pub error: String,
    signature: String,
    body: Vec<u8>,
    big: bool,
}

/// How long the whole message is that begins with `fixed`.
pub(super) fn length(fixed: &[u8; FIXED]) -> Result<usize, Nonsense> {
    let big = match (fixed[0], fixed[3]) {
        (b'l', 1) => false,
        (b'B', 1) => true,
        _ => return Err(Nonsense("no message of D-Bus, version 1")),
    };
    let word = |at: usize| u32_of([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]], big) as usize;
    let (body, fields) = (word(4), word(12));
    if body > MAX || fields > MAX || body + fields > MAX {
        return Err(Nonsense("a message that is too long"));
    }
    Ok((FIXED + fields).next_multiple_of(8) + body)
}

fn u32_of(bytes: [u8; 4], big: bool) -> u32 {
    if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}

impl Message {
    /// Reads a whole message.
    pub fn parse(bytes: &[u8]) -> Result<Message, Nonsense> {
        let fixed: &[u8; FIXED] = bytes.first_chunk().ok_or(Nonsense("a message that is too short"))?;
        if length(fixed)? != bytes.len() {
            return Err(Nonsense("a message of another length"));
        }
        let big = fixed[0] == b'B';
        let body = bytes.len() - u32_of([fixed[4], fixed[5], fixed[6], fixed[7]], big) as usize;
        let mut reader = Reader { bytes: &bytes[..body], at: 12, big };
        let Value::Array(_, fields) = reader.value("a(yv)", 0)? else { return Err(Nonsense("no header")) };
        let mut message = Message { kind: fixed[1], body: bytes[body..].to_vec(), big, ..Message::default() };
        for field in fields {
            let Value::Struct(pair) = field else { continue };
            let [Value::Byte(code), Value::Variant(value)] = pair.as_slice() else { continue };
            match (code, &**value) {
                (2, Value::Text(text)) => message.interface.clone_from(text),
                (3, Value::Text(text)) => message.member.clone_from(text),
                (4, Value::Text(text)) => message.error.clone_from(text),
                (5, Value::U32(serial)) => message.answers = Some(*serial),
                (7, Value::Text(text)) => message.sender.clone_from(text),
                (8, Value::Signature(text)) => message.signature.clone_from(text),
                _ => {}
            }
        }
        Ok(message)
    }

    /// What it says.
    pub fn values(&self) -> Result<Vec<Value>, Nonsense> {
        let mut reader = Reader { bytes: &self.body, at: 0, big: self.big };
        let mut rest = self.signature.as_str();
        let mut out = Vec::new();
        while !rest.is_empty() {
            let (first, after) = split(rest, 0)?;
            out.push(reader.value(first, 0)?);
            rest = after;
        }
        Ok(out)
    }
}

/// The first whole type of a signature, and what follows it.
pub(super) fn split(signature: &str, depth: u8) -> Result<(&str, &str), Nonsense> {
    let wrong = Nonsense("a signature that is none");
    let Some(first) = signature.bytes().next().filter(|_| depth < DEPTH) else { return Err(wrong) };
    let length = match first {
        b'y' | b'b' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b's' | b'o' | b'g' | b'v' => 1,
        b'a' => 1 + split(&signature[1..], depth + 1)?.0.len(),
        b'(' => {
            let mut rest = &signature[1..];
            while !rest.starts_with(')') {
                rest = split(rest, depth + 1)?.1;
            }
            signature.len() - rest.len() + 1
        }
        // Dictionaries and descriptors are in nothing that is asked for.
        _ => return Err(wrong),
    };
    // An empty struct would take no room: so many could be in so little.
    if length == 2 && first == b'(' {
        return Err(wrong);
    }
    Ok(signature.split_at(length))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big: bool,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Nonsense> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(Nonsense("a message that ends too early"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    /// A number of `N` bytes, little-endian.
    fn number<const N: usize>(&mut self) -> Result<[u8; N], Nonsense> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        if self.big {
            bytes.reverse();
        }
        Ok(bytes)
    }

    fn length(&mut self) -> Result<usize, Nonsense> {
        Ok(u32::from_le_bytes(self.number()?) as usize)
    }

    fn text(&mut self, length: usize) -> Result<String, Nonsense> {
        let bytes = self.take(length)?;
        if self.take(1)? != [0] || bytes.contains(&0) {
            return Err(Nonsense("a text without its end"));
        }
        String::from_utf8(bytes.to_vec()).map_err(|_| Nonsense("a text that is not UTF-8"))
    }

    fn value(&mut self, kind: &str, depth: u8) -> Result<Value, Nonsense> {
        if depth >= DEPTH {
            return Err(Nonsense("values too deep in each other"));
        }
        let first = *kind.as_bytes().first().ok_or(Nonsense("a value without a type"))?;
        self.take(self.at.next_multiple_of(alignment(first)) - self.at)?;
        Ok(match first {
            b'y' => Value::Byte(self.take(1)?[0]),
            b'b' => Value::Bool(self.length()? != 0),
            b'n' => Value::I16(i16::from_le_bytes(self.number()?)),
            b'q' => Value::U16(u16::from_le_bytes(self.number()?)),
            b'i' => Value::I32(i32::from_le_bytes(self.number()?)),
            b'u' => Value::U32(u32::from_le_bytes(self.number()?)),
            b'x' => Value::I64(i64::from_le_bytes(self.number()?)),
            b't' => Value::U64(u64::from_le_bytes(self.number()?)),
            b'd' => Value::F64(f64::from_le_bytes(self.number()?)),
            b's' | b'o' => {
                let length = self.length()?;
                let text = self.text(length)?;
                if first == b's' { Value::Text(text) } else { Value::Path(text) }
            }
            b'g' => Value::Signature(self.signature()?),
            b'v' => {
                let inner = self.signature()?;
                if !split(&inner, 0)?.1.is_empty() {
                    return Err(Nonsense("a variant of several values"));
                }
                Value::Variant(Box::new(self.value(&inner, depth + 1)?))
            }
            b'a' => self.array(&kind[1..], depth)?,
            b'(' => {
                let mut rest = &kind[1..];
                let mut fields = Vec::new();
                while !rest.starts_with(')') {
                    let (field, after) = split(rest, depth)?;
                    fields.push(self.value(field, depth + 1)?);
                    rest = after;
                }
                Value::Struct(fields)
            }
            _ => return Err(Nonsense("a value of an unknown type")),
        })
    }

    fn signature(&mut self) -> Result<String, Nonsense> {
        let length = self.take(1)?[0];
        self.text(length.into())
    }

    fn array(&mut self, element: &str, depth: u8) -> Result<Value, Nonsense> {
        let length = self.length()?;
        let first = *element.as_bytes().first().ok_or(Nonsense("an array of nothing"))?;
        self.take(self.at.next_multiple_of(alignment(first)) - self.at)?;
        if element == "y" {
            return Ok(Value::Bytes(self.take(length)?.to_vec()));
        }
        let end = self.at.saturating_add(length);
        let mut values = Vec::new();
        while self.at < end {
            values.push(self.value(element, depth + 1)?);
        }
        if self.at != end {
            return Err(Nonsense("an array of another length"));
        }
        Ok(Value::Array(element.into(), values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn call(body: &[Value]) -> Vec<u8> {
        let (destination, interface) = ("org.freedesktop.systemd1", "org.freedesktop.systemd1.Manager");
        Call { destination, path: "/org/freedesktop/systemd1", interface, member: "Do", body }.marshal(7)
    }

    #[test]
    fn a_call_is_as_the_specification_draws_it() {
        let bytes =
            Call { destination: "d.e", path: "/a", interface: "b.c", member: "M", body: &[Value::U32(5)] }.marshal(1);
        let wanted: &[u8] = b"l\x01\x00\x01\x04\x00\x00\x00\x01\x00\x00\x00\x47\x00\x00\x00\
            \x01\x01o\x00\x02\x00\x00\x00/a\x00\x00\x00\x00\x00\x00\
            \x02\x01s\x00\x03\x00\x00\x00b.c\x00\x00\x00\x00\x00\
            \x03\x01s\x00\x01\x00\x00\x00M\x00\x00\x00\x00\x00\x00\x00\
            \x06\x01s\x00\x03\x00\x00\x00d.e\x00\x00\x00\x00\x00\
            \x08\x01g\x00\x01u\x00\x00\
            \x05\x00\x00\x00";
        assert_eq!(bytes, wanted);
    }

    #[test]
    fn an_answer_of_another_byte_order() {
        let bytes = b"B\x02\x01\x01\x00\x00\x00\x10\x00\x00\x00\x09\x00\x00\x00\x10\
            \x05\x01u\x00\x00\x00\x00\x07\x08\x01g\x00\x02ut\x00\
            \x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00";
        let message = Message::parse(bytes).unwrap();
        assert_eq!((message.kind, message.answers), (REPLY, Some(7)));
        assert_eq!(message.values().unwrap(), [Value::U32(3), Value::U64(256)]);
    }

    #[test]
    fn nonsense_is_refused() {
        let good = call(&[Value::text("x")]);
        for (at, byte) in [(0, b'x'), (3, 2), (7, 0xff), (15, 0xff), (12, 1), (20, 0xff)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert!(Message::parse(&bad).is_err(), "{at}");
        }
        assert!(Message::parse(&good[..15]).is_err());
        for signature in ["()", "a", "(i", "a{sv}", "h", "z", "aaaaaaaaaaaaaaaaaaaai", ")"] {
            let message = Message { signature: signature.into(), body: vec![0; 64], ..Message::default() };
            assert!(message.values().is_err(), "{signature}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<u8>().prop_map(Value::Byte),
            any::<bool>().prop_map(Value::Bool),
            any::<i16>().prop_map(Value::I16),
            any::<u32>().prop_map(Value::U32),
            any::<i64>().prop_map(Value::I64),
            any::<u64>().prop_map(Value::U64),
            "[a-z é]{0,12}".prop_map(Value::Text),
            "(/[a-z]{1,4}){1,3}".prop_map(Value::Path),
            prop::collection::vec(any::<u8>(), 0..9).prop_map(Value::Bytes),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..4).prop_map(Value::Struct),
                inner.clone().prop_map(|v| Value::Variant(Box::new(v))),
                (inner.clone(), 0usize..4).prop_filter_map("an array of bytes is Bytes", |(v, n)| {
                    (v.kind() != "y").then(|| Value::Array(v.kind(), vec![v; n]))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(values in prop::collection::vec(value(), 1..4)) {
            let bytes = call(&values);
            prop_assert_eq!(length(bytes.first_chunk().unwrap()).unwrap(), bytes.len());
            let message = Message::parse(&bytes).unwrap();
            prop_assert_eq!(&message.member, "Do");
            prop_assert_eq!(message.values().unwrap(), values);
        }

        #[test]
        fn no_bytes_do_harm(mut bytes in prop::collection::vec(any::<u8>(), 16..200), at in 0usize..200, other in any::<u8>()) {
            let _ = Message::parse(&bytes).map(|m| m.values());
            bytes = call(&[Value::text("hello"), Value::Variant(Box::new(Value::Array("(sv)".into(), vec![])))]);
            let length = bytes.len();
            bytes[at % length] = other;
            let _ = Message::parse(&bytes).map(|m| m.values());
        }
    }
}
