//! Values as annotations have them: GVariant's text, as `gdbus` and runc read it.
//!
//! ```text
//! true  'text'  "text"  -5  5.0  uint64 5  @t 5  ['a', 'b']  @as []  ('a', 5)  <'variant'>
//! ```
//!
//! A number without a type is an `i`, or a `d` with a point.

use super::message::{Value, split};

/// How deep values may lie in each other.
const DEPTH: u8 = 8;
/// Types by the names that they have before a value.
const NAMES: [(&str, &str); 11] = [
    ("boolean", "b"),
    ("byte", "y"),
    ("int16", "n"),
    ("uint16", "q"),
    ("int32", "i"),
    ("uint32", "u"),
    ("int64", "x"),
    ("uint64", "t"),
    ("double", "d"),
    ("string", "s"),
    ("objectpath", "o"),
];

/// Reads one; `None` when it is none of these.
pub(super) fn parse(text: &str) -> Option<Value> {
    let mut parser = Parser { rest: text.trim() };
    let value = parser.value(None, 0)?;
    parser.rest.is_empty().then_some(value)
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn eat(&mut self, what: &str) -> bool {
        match self.rest.strip_prefix(what) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> &'a str {
        let end =
            self.rest.find(|c: char| !c.is_ascii_alphanumeric() && !"+-._".contains(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        word
    }

    /// A value, of type `kind` if that is known.
    fn value(&mut self, kind: Option<&str>, depth: u8) -> Option<Value> {
        if depth >= DEPTH {
            return None;
        }
        if self.eat("@") {
            let end = self.rest.find(char::is_whitespace)?;
            let (kind, rest) = self.rest.split_at(end);
            self.rest = rest.trim_start();
            return split(kind, 0)
                .is_ok_and(|(_, after)| after.is_empty())
                .then(|| self.value(Some(kind), depth + 1))?;
        }
        match self.rest.bytes().next()? {
            b'\'' | b'"' => self.text(kind.unwrap_or("s")),
            b'[' => self.array(kind, depth),
            b'(' => self.tuple(kind, depth),
            b'<' => {
                self.eat("<");
                let inner = self.value(None, depth + 1)?;
                (self.eat(">") && kind.is_none_or(|k| k == "v")).then(|| Value::Variant(Box::new(inner)))
            }
            _ => {
                let word = self.word();
                match NAMES.iter().find(|(name, _)| *name == word) {
                    Some((_, named)) => self.value(Some(named), depth + 1),
                    None => scalar(word, kind),
                }
            }
        }
    }

    fn text(&mut self, kind: &str) -> Option<Value> {
        let quote = self.rest.chars().next()?;
        let mut out = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        loop {
            match chars.next()? {
                (at, c) if c == quote => {
                    self.rest = self.rest[at + 1..].trim_start();
                    break;
                }
                (_, '\\') => out.push(match chars.next()?.1 {
                    'n' => '\n',
                    't' => '\t',
                    c if c.is_ascii_alphanumeric() => return None,
                    c => c,
                }),
                (_, '\0') => return None,
                (_, c) => out.push(c),
            }
        }
        match kind {
            "s" => Some(Value::Text(out)),
            "o" => Some(Value::Path(out)),
            _ => None,
        }
    }

    fn array(&mut self, kind: Option<&str>, depth: u8) -> Option<Value> {
        self.eat("[");
        let mut element = match kind {
            Some(kind) => Some(kind.strip_prefix('a')?.to_owned()),
            None => None,
        };
        let mut values = Vec::new();
        while !self.eat("]") {
            if !values.is_empty() && !self.eat(",") {
                return None;
            }
            let value = self.value(element.as_deref(), depth + 1)?;
            if value.kind() != *element.get_or_insert_with(|| value.kind()) {
                return None;
            }
            values.push(value);
        }
        let element = element?;
        if element != "y" {
            return Some(Value::Array(element, values));
        }
        let byte = |value| if let Value::Byte(byte) = value { Some(byte) } else { None };
        values.into_iter().map(byte).collect::<Option<_>>().map(Value::Bytes)
    }

    fn tuple(&mut self, kind: Option<&str>, depth: u8) -> Option<Value> {
        self.eat("(");
        let mut kinds = match kind {
            Some(kind) => Some(kind.strip_prefix('(')?),
            None => None,
        };
        let mut fields = Vec::new();
        while !self.eat(")") {
            if !fields.is_empty() && !self.eat(",") {
                return None;
            }
            let field = match kinds {
                Some(rest) => {
                    let (first, after) = split(rest, 0).ok()?;
                    kinds = Some(after);
                    Some(first)
                }
                None => None,
            };
            fields.push(self.value(field, depth + 1)?);
        }
        (!fields.is_empty() && kinds.is_none_or(|rest| rest == ")")).then_some(Value::Struct(fields))
    }
}

/// A number or a truth.
fn scalar(word: &str, kind: Option<&str>) -> Option<Value> {
    if let "true" | "false" = word {
        return kind.is_none_or(|k| k == "b").then_some(Value::Bool(word == "true"));
    }
    let point = word.contains('.') && !word.starts_with("0x");
    let number = || -> Option<i128> {
        match word.strip_prefix("0x") {
            Some(hex) => i128::from_str_radix(hex, 16).ok(),
            None => word.parse().ok(),
        }
    };
    Some(match kind.unwrap_or(if point { "d" } else { "i" }) {
        "y" => Value::Byte(number()?.try_into().ok()?),
        "n" => Value::I16(number()?.try_into().ok()?),
        "q" => Value::U16(number()?.try_into().ok()?),
        "i" => Value::I32(number()?.try_into().ok()?),
        "u" => Value::U32(number()?.try_into().ok()?),
        "x" => Value::I64(number()?.try_into().ok()?),
        "t" => Value::U64(number()?.try_into().ok()?),
        "d" => Value::F64(word.parse().ok().filter(|f: &f64| f.is_finite())?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_annotations_say() {
        let texts = |all: &[&str]| Value::Array("s".into(), all.iter().map(|t| Value::text(t)).collect());
        let table = [
            ("true", Value::Bool(true)),
            (" 'in\\'active' ", Value::text("in'active")),
            ("\"a b\"", Value::text("a b")),
            ("-5", Value::I32(-5)),
            ("5.5", Value::F64(5.5)),
            ("uint64 5", Value::U64(5)),
            ("@t 0x10", Value::U64(16)),
            ("['a', \"b\"]", texts(&["a", "b"])),
            ("@as []", texts(&[])),
            ("[byte 1, 2]", Value::Bytes(vec![1, 2])),
            (
                "@a(st) [('/dev/sda', 5)]",
                Value::Array("(st)".into(), vec![Value::Struct(vec![Value::text("/dev/sda"), Value::U64(5)])]),
            ),
            ("<5>", Value::Variant(Box::new(Value::I32(5)))),
        ];
        for (text, value) in table {
            assert_eq!(parse(text), Some(value), "{text}");
        }
        for bad in [
            "",
            "x",
            "[]",
            "'a",
            "1 2",
            "[1, 'a']",
            "uint16 70000",
            "()",
            "@b 5",
            "@zz 5",
            "((((((((((1))))))))))",
            "'\\x41'",
            "[,]",
            "nan",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
