//! Values as JSON, the way Go's encoder writes them with HTML escaping off.

use crate::fmt::format_float;
use crate::value::{Map, Value};

/// Compact JSON. Functions are left out of objects.
pub fn to_json(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value);
    out
}

fn write(out: &mut String, value: &Value) {
    match value {
        Value::Nil | Value::NilPointer | Value::NilList | Value::NilMap | Value::Func(_) => out.push_str("null"),
        Value::Pointer(to) => write(out, to),
        Value::Scalar(scalar) => out.push_str(&scalar.json),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(i) => out.push_str(&i.to_string()),
        Value::Float(f) => number(out, *f),
        Value::Str(s) => string(out, s),
        Value::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(out, item);
            }
            out.push(']');
        }
        Value::Map(map) if matches!(map.shape, crate::Shape::Row(_)) => {
            let plain = Value::structure("", map.entries.clone());
            for c in to_json(&plain).chars() {
                match c {
                    '<' | '>' | '&' => out.push_str(&format!("\\u{:04x}", c as u32)),
                    c => out.push(c),
                }
            }
        }
        Value::Map(map) => {
            out.push('{');
            fields(out, map, &mut true);
            out.push('}');
        }
    }
}

/// What stands between the braces.
fn fields(out: &mut String, map: &Map, first: &mut bool) {
    for (at, (key, item)) in map.entries.iter().enumerate() {
        let tag = map.tags.get(at);
        if matches!(item, Value::Func(_)) || tag.is_some_and(|t| &*t.json == "-" || (t.omit_empty && is_empty(item))) {
            continue;
        }
        if tag.is_some_and(|t| t.embedded) {
            if let Some(inner) = item.pointed().as_map() {
                fields(out, inner, first);
            }
            continue;
        }
        if !std::mem::take(first) {
            out.push(',');
        }
        string(out, tag.map_or(key, |t| &t.json));
        out.push(':');
        write(out, item);
    }
}

/// What `omitempty` leaves out.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Pointer(_) => false,
        Value::Scalar(scalar) => scalar.json == "0",
        other => !other.truth(),
    }
}

/// Go's encoder: plain decimals, exponents only below 1e-6 and from 1e21 on.
fn number(out: &mut String, f: f64) {
    if !f.is_finite() {
        out.push_str("null");
        return;
    }
    let magnitude = f.abs();
    if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        let text = format_float(f, 'e', None);
        // e-09 is written e-9
        let text = match text.find("e-0") {
            Some(at) => format!("{}{}", &text[..at + 2], &text[at + 3..]),
            None => text,
        };
        out.push_str(&text);
    } else {
        out.push_str(&format_float(f, 'f', None));
    }
}

fn string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Indents JSON text as Go's `json.Indent` does, leaving every token as it is: no reordering, no reformatting of
/// numbers, empty objects and arrays on one line.
pub fn indent(json: &str, unit: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0usize;
    let mut in_string = false;
    let mut escaped = false;
    let mut fresh = false; // just after an opening bracket
    let newline = |out: &mut String, depth: usize| {
        out.push('\n');
        for _ in 0..depth {
            out.push_str(unit);
        }
    };
    for c in json.chars() {
        if in_string {
            out.push(c);
            match (escaped, c) {
                (true, _) => escaped = false,
                (false, '\\') => escaped = true,
                (false, '"') => in_string = false,
                _ => {}
            }
            continue;
        }
        match c {
            ' ' | '\t' | '\r' | '\n' => continue,
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                if !std::mem::take(&mut fresh) {
                    newline(&mut out, depth);
                }
                out.push(c);
                continue;
            }
            _ => {}
        }
        if std::mem::take(&mut fresh) {
            newline(&mut out, depth);
        }
        match c {
            '{' | '[' => {
                depth += 1;
                fresh = true;
                out.push(c);
            }
            ',' => {
                out.push(c);
                newline(&mut out, depth);
            }
            ':' => out.push_str(": "),
            '"' => {
                in_string = true;
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}
