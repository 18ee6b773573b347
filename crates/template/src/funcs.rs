//! Functions that templates call.

use crate::Value;
use crate::fmt;
use crate::json::to_json;
use crate::value::{NUMBER, Shape};

/// Which meanings Docker's own functions have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Functions {
    /// They do what their names say.
    Docker,
    /// For the header line of a table, where they must leave the column's name alone.
    Header,
}

const NAMES: [&str; 28] = [
    "and", "call", "eq", "ge", "gt", "html", "index", "join", "js", "json", "le", "len", "lower", "lt", "ne", "not",
    "or", "pad", "print", "printf", "println", "slice", "split", "title", "truncate", "upper", "urlquery", "",
];

/// Whether a function of this name can be called.
pub fn exists(name: &str) -> bool {
    !name.is_empty() && NAMES.contains(&name)
}

/// Why a call failed.
pub enum Failure {
    /// The function was called and said this.
    Called(String),
    /// It cannot be called with so many arguments.
    Arity(String),
    /// It cannot be called with this argument.
    Argument(usize, String),
}

impl From<String> for Failure {
    fn from(message: String) -> Failure {
        Failure::Called(message)
    }
}

impl From<&str> for Failure {
    fn from(message: &str) -> Failure {
        Failure::Called(message.into())
    }
}

/// Calls a function other than `and` and `or`, which the executor evaluates lazily.
pub fn call(name: &str, args: &[Value], functions: Functions) -> Result<Value, Failure> {
    let count = |least: usize, most: usize| arity(name, args.len(), least, most);
    if functions == Functions::Header
        && matches!(name, "json" | "split" | "join" | "title" | "lower" | "upper" | "truncate")
    {
        return args
            .first()
            .cloned()
            .ok_or_else(|| Failure::Arity(format!("wrong number of args for {name}: want 1 got 0")));
    }
    match name {
        "not" => {
            count(1, 1)?;
            Ok(Value::Bool(!args[0].truth()))
        }
        "eq" => {
            if args.len() < 2 {
                return match args.len() {
                    0 => Err(Failure::Arity("wrong number of args for eq: want at least 1 got 0".into())),
                    _ => Err("missing argument for comparison".into()),
                };
            }
            for other in &args[1..] {
                if equal(&args[0], other)? {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        "ne" => {
            count(2, 2)?;
            Ok(Value::Bool(!equal(&args[0], &args[1])?))
        }
        "lt" | "le" | "gt" | "ge" => {
            count(2, 2)?;
            let order = compare(&args[0], &args[1])?;
            Ok(Value::Bool(match name {
                "lt" => order.is_lt(),
                "le" => order.is_le(),
                "gt" => order.is_gt(),
                _ => order.is_ge(),
            }))
        }
        "index" => {
            count(1, usize::MAX)?;
            let mut item = args[0].clone();
            for (at, index) in args[1..].iter().enumerate() {
                // what an earlier index did not find is nil of some type
                item = if at > 0 && matches!(item, Value::Nil) { Value::NilPointer } else { item };
                item = element(&item, index)?;
            }
            Ok(item)
        }
        "slice" => {
            count(1, usize::MAX)?;
            Ok(slice(args)?)
        }
        "len" => {
            count(1, 1)?;
            match args[0].pointed() {
                Value::Scalar(s) if s.kind == NUMBER => Ok(Value::Int(s.text.len() as i64)),
                Value::Str(s) => Ok(Value::Int(s.len() as i64)),
                Value::List(l) => Ok(Value::Int(l.len() as i64)),
                Value::Map(m) if !m.is_struct() => Ok(Value::Int(m.entries.len() as i64)),
                Value::NilList | Value::NilMap => Ok(Value::Int(0)),
                Value::Nil => Err("reflect: call of reflect.Value.Type on zero Value".into()),
                Value::NilPointer => Err("len of nil pointer".into()),
                other => Err(format!("len of type {}", other.type_name()).into()),
            }
        }
        "print" => Ok(Value::str(fmt::sprint(args))),
        "println" => Ok(Value::str(fmt::sprintln(args))),
        "printf" => match args.first() {
            Some(Value::Str(format)) => Ok(Value::str(fmt::sprintf(format, &args[1..]))),
            Some(other) => Err(wrong_type(0, other, "string")),
            None => Err(Failure::Arity("wrong number of args for printf: want at least 1 got 0".into())),
        },
        "html" => Ok(Value::str(escape_html(&fmt::sprint(args)))),
        "js" => Ok(Value::str(escape_js(&fmt::sprint(args)))),
        "urlquery" => Ok(Value::str(escape_query(&fmt::sprint(args)))),
        "call" => match args.first() {
            Some(Value::Func(f)) => Ok((f.0)(&args[1..])?),
            Some(Value::Nil) | None => Err("call of nil".into()),
            Some(other) => {
                Err(format!("non-function {} of type {}", fmt::sprint(&args[..1]), other.type_name()).into())
            }
        },
        _ => docker(name, args),
    }
}

fn arity(name: &str, got: usize, least: usize, most: usize) -> Result<(), Failure> {
    let wanted = match most {
        usize::MAX if got < least => format!("at least {least}"),
        most if got < least || got > most => least.to_string(),
        _ => return Ok(()),
    };
    Err(Failure::Arity(format!("wrong number of args for {name}: want {wanted} got {got}")))
}

/// An argument that a Go function's signature does not take.
fn wrong_type(at: usize, value: &Value, wanted: &str) -> Failure {
    Failure::Argument(at, format!("wrong type for value; expected {wanted}; got {}", value.type_name()))
}

fn string(args: &[Value], i: usize) -> Result<&str, Failure> {
    match args.get(i) {
        Some(Value::Str(s)) => Ok(s),
        Some(Value::Nil) | None => Err(Failure::Argument(i, "invalid value; expected string".into())),
        Some(other) => Err(wrong_type(i, other, "string")),
    }
}

fn integer(args: &[Value], i: usize) -> Result<i64, Failure> {
    match args.get(i) {
        Some(Value::Int(n)) => Ok(*n),
        Some(Value::Nil) | None => Err(Failure::Argument(i, "invalid value; expected int".into())),
        Some(other) => Err(wrong_type(i, other, "int")),
    }
}

fn docker(name: &str, args: &[Value]) -> Result<Value, Failure> {
    let wanted = match name {
        "split" | "join" | "truncate" => 2,
        "pad" => 3,
        _ => 1,
    };
    arity(name, args.len(), wanted, wanted)?;
    let text = match name {
        "json" => to_json(&args[0]),
        "join" => {
            let separator = string(args, 1)?;
            match &args[0] {
                Value::List(items) => {
                    let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
                    texts.ok_or_else(|| wrong_type(0, &args[0], "[]string"))?.join(separator)
                }
                Value::NilList => String::new(),
                other => return Err(wrong_type(0, other, "[]string")),
            }
        }
        "split" => {
            let (text, separator) = (string(args, 0)?, string(args, 1)?);
            return Ok(match separator {
                "" => Value::strings(text.chars().map(|c| c.to_string())),
                separator => Value::strings(text.split(separator)),
            });
        }
        "title" => title(string(args, 0)?),
        "lower" => string(args, 0)?.to_lowercase(),
        "upper" => string(args, 0)?.to_uppercase(),
        "pad" => {
            let text = string(args, 0)?;
            let spaces = |n: i64| match usize::try_from(n) {
                Ok(n) => Ok(" ".repeat(n.min(1 << 20))),
                Err(_) => Err(Failure::from("strings: negative Repeat count")),
            };
            match text {
                "" => String::new(),
                text => format!("{}{text}{}", spaces(integer(args, 1)?)?, spaces(integer(args, 2)?)?),
            }
        }
        "truncate" => {
            let (text, length) = (string(args, 0)?, integer(args, 1)?);
            let length =
                usize::try_from(length).map_err(|_| format!("runtime error: slice bounds out of range [:{length}]"))?;
            match text.len() < length {
                true => text.into(),
                false => String::from_utf8_lossy(&text.as_bytes()[..length]).into_owned(),
            }
        }
        _ => return Err(Failure::Arity(format!("{name:?} is not a defined function"))),
    };
    Ok(Value::str(text))
}

fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        if inside {
            out.push(c);
        } else {
            out.extend(c.to_uppercase());
        }
        inside = c.is_alphanumeric() || c == '_' || (!c.is_ascii() && !c.is_whitespace());
    }
    out
}

/// A `json.Number` is compared as the string that it is.
fn plain(value: &Value) -> Value {
    match value {
        Value::Scalar(s) if s.kind == NUMBER => Value::str(s.text.as_str()),
        other => other.clone(),
    }
}

fn equal(a: &Value, b: &Value) -> Result<bool, String> {
    use Value::*;
    let (a, b) = (&plain(a), &plain(b));
    match (a, b) {
        (List(_) | NilList, Nil) | (Nil, List(_)) => Ok(false),
        (Map(m), Nil) | (Nil, Map(m)) if !m.is_struct() => Ok(false),
        (Nil | NilPointer | NilList | NilMap, Nil | NilPointer | NilList | NilMap) => Ok(true),
        (Bool(a), Bool(b)) => Ok(a == b),
        (Int(a), Int(b)) => Ok(a == b),
        (Float(a), Float(b)) => Ok(a == b),
        (Str(a), Str(b)) => Ok(a == b),
        (Nil, _) | (_, Nil) => Ok(false),
        (List(_) | NilList | Func(_), _)
        | (_, List(_) | NilList | Func(_))
        | (Map(_) | NilMap, _)
        | (_, Map(_) | NilMap) => {
            let other = if matches!(a, Bool(_) | Int(_) | Float(_) | Str(_)) { b } else { a };
            Err(format!("non-comparable type {}: {}", fmt::display(other), other.type_name()))
        }
        _ => Err(incompatible(a, b)),
    }
}

fn incompatible(a: &Value, b: &Value) -> String {
    format!("incompatible types for comparison: {} and {}", a.type_name(), b.type_name())
}

fn compare(a: &Value, b: &Value) -> Result<std::cmp::Ordering, String> {
    let (a, b) = (&plain(a), &plain(b));
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Ok(a.cmp(b)),
        (Value::Str(a), Value::Str(b)) => Ok(a.cmp(b)),
        (Value::Float(x), Value::Float(y)) => x.partial_cmp(y).ok_or_else(|| incompatible(a, b)),
        (Value::Bool(_), Value::Bool(_)) => Err("invalid type for comparison".into()),
        (Value::List(_) | Value::Map(_) | Value::NilList | Value::NilMap, _) => {
            Err("invalid type for comparison".into())
        }
        _ => Err(incompatible(a, b)),
    }
}

fn element(item: &Value, index: &Value) -> Result<Value, String> {
    let position = |length: usize| match index {
        Value::Int(i) => match usize::try_from(*i) {
            Ok(at) if at < length => Ok(at),
            _ => Err(format!("index out of range: {i}")),
        },
        Value::Nil => Err("cannot index slice/array with nil".into()),
        other => Err(format!("cannot index slice/array with type {}", other.type_name())),
    };
    match item {
        Value::List(items) => Ok(items[position(items.len())?].clone()),
        Value::NilList => position(0).map(|_| Value::Nil),
        Value::Str(s) => Ok(Value::Int(i64::from(s.as_bytes()[position(s.len())?]))),
        Value::Scalar(s) if s.kind == NUMBER => element(&Value::str(s.text.as_str()), index),
        Value::Map(map) if !map.is_struct() => match index {
            Value::Str(key) => Ok(map.get(key).cloned().unwrap_or_else(|| match map.shape {
                Shape::Strings => Value::str(""),
                _ => Value::Nil,
            })),
            Value::Nil => Err("value is nil; should be of type string".into()),
            other => Err(format!("value has type {}; should be string", other.type_name())),
        },
        // nil maps are maps of strings, as far as Docker has any
        Value::NilMap => Ok(Value::str("")),
        Value::Nil => Err("index of untyped nil".into()),
        Value::NilPointer => Err("index of nil pointer".into()),
        other => Err(format!("can't index item of type {}", other.type_name())),
    }
}

fn slice(args: &[Value]) -> Result<Value, String> {
    if args.len() > 4 {
        return Err(format!("too many slice indexes: {}", args.len() - 1));
    }
    let length = match &args[0] {
        Value::Str(_) if args.len() == 4 => return Err("cannot 3-index slice a string".into()),
        Value::Str(s) => s.len(),
        Value::List(l) => l.len(),
        Value::NilList => 0,
        Value::Nil => return Err("slice of untyped nil".into()),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    let mut bounds = [0, length, length];
    for (i, arg) in args[1..].iter().enumerate() {
        bounds[i] = match arg {
            Value::Int(n) => {
                usize::try_from(*n).ok().filter(|n| *n <= length).ok_or_else(|| format!("index out of range: {n}"))?
            }
            Value::Nil => return Err("cannot index slice/array with nil".into()),
            other => return Err(format!("cannot index slice/array with type {}", other.type_name())),
        };
    }
    let [from, to, _] = bounds;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    Ok(match &args[0] {
        Value::Str(s) => Value::str(String::from_utf8_lossy(&s.as_bytes()[from..to]).into_owned()),
        Value::List(l) => Value::list(l[from..to].to_vec()),
        other => other.clone(),
    })
}

fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\0' => out.push('\u{fffd}'),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}

fn escape_js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' | '>' | '&' | '=' => out.push_str(&format!("\\u{:04X}", c as u32)),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04X}", c as u32)),
            c if !c.is_ascii() && c.is_control() => out.push_str(&format!("\\u{:04X}", c as u32)),
            c => out.push(c),
        }
    }
    out
}

fn escape_query(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(b)),
            b' ' => out.push('+'),
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}
