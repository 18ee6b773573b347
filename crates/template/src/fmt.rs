//! Go's `fmt`: default formats, verbs and flags.

use crate::value::Value;

/// What `{{value}}` prints.
pub fn display(value: &Value) -> String {
    match value {
        Value::Nil => "<no value>".into(),
        other => default(other.pointed(), Mode::Plain),
    }
}

/// The address in a pointer: nothing that anybody can rely on, but in the form that Go has it.
fn address(to: &std::rc::Rc<Value>) -> String {
    format!("0xc{:09x}", std::rc::Rc::as_ptr(to) as usize & 0xf_ffff_ffff)
}

/// `&{…}` of what a pointer at the outside points to; inside of others it is an address.
fn outer(value: &Value, mode: Mode) -> String {
    match value {
        Value::Pointer(to) if matches!(**to, Value::Map(_) | Value::List(_)) => {
            let text = default(to, mode);
            if to.as_map().is_some_and(|m| m.text.is_some() && mode != Mode::Go) { text } else { format!("&{text}") }
        }
        other => default(other, mode),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Plain,
    Names,
    Go,
}

/// `%v`, `%+v` and `%#v`.
fn default(value: &Value, mode: Mode) -> String {
    let join = |items: &[Value]| {
        items.iter().map(|v| default(v, mode)).collect::<Vec<_>>().join(if mode == Mode::Go { ", " } else { " " })
    };
    match value {
        Value::Nil | Value::NilPointer => "<nil>".into(),
        Value::NilList if mode == Mode::Go => "[]string(nil)".into(),
        Value::NilList => "[]".into(),
        Value::NilMap if mode == Mode::Go => "map[string]string(nil)".into(),
        Value::NilMap => "map[]".into(),
        // what prints itself does so behind a pointer, too
        Value::Pointer(to) if mode != Mode::Go && to.as_map().is_some_and(|m| m.text.is_some()) => default(to, mode),
        Value::Pointer(to) if mode == Mode::Go => format!("({})({})", value.type_name(), address(to)),
        Value::Pointer(to) => address(to),
        Value::Scalar(scalar) if mode == Mode::Go && scalar.kind == crate::value::NUMBER => quote(&scalar.text, false),
        Value::Scalar(scalar) => scalar.text.clone(),
        Value::Bool(b) => b.to_string(),
        Value::Int(i) => i.to_string(),
        Value::Float(f) => format_float(*f, 'g', None),
        Value::Str(s) if mode == Mode::Go => quote(s, false),
        Value::Str(s) => s.to_string(),
        Value::List(items) if mode == Mode::Go => format!("{}{{{}}}", value.type_name(), join(items)),
        Value::List(items) => format!("[{}]", join(items)),
        Value::Func(_) => "0x0".into(),
        Value::Map(map) if map.text.is_some() && mode != Mode::Go => map.text.as_deref().unwrap_or_default().into(),
        Value::Map(map) => {
            let fields = map.entries.iter().filter(|(_, v)| !matches!(v, Value::Func(_)));
            let is_struct = map.is_struct();
            let items: Vec<String> = fields
                .map(|(name, item)| match (is_struct, mode) {
                    (true, Mode::Plain) => default(item, mode),
                    (false, Mode::Go) => format!("{}:{}", quote(name, false), default(item, mode)),
                    _ => format!("{name}:{}", default(item, mode)),
                })
                .collect();
            match (is_struct, mode) {
                (_, Mode::Go) => format!("{}{{{}}}", value.type_name(), items.join(", ")),
                (true, _) => format!("{{{}}}", items.join(" ")),
                (false, _) => format!("map[{}]", items.join(" ")),
            }
        }
    }
}

/// `fmt.Sprint`: a space between operands when neither is a string.
pub fn sprint(args: &[Value]) -> String {
    let mut out = String::new();
    for (i, arg) in args.iter().enumerate() {
        let is_text = |v: &Value| match v {
            Value::Scalar(s) => s.kind == crate::value::NUMBER,
            other => matches!(other, Value::Str(_)),
        };
        if i > 0 && !is_text(arg) && !is_text(&args[i - 1]) {
            out.push(' ');
        }
        out.push_str(&outer(arg, Mode::Plain));
    }
    out
}

/// `fmt.Sprintln`.
pub fn sprintln(args: &[Value]) -> String {
    let mut out = args.iter().map(|v| outer(v, Mode::Plain)).collect::<Vec<_>>().join(" ");
    out.push('\n');
    out
}

/// A float in Go's `%e`, `%f` or `%g`; no precision means the shortest text that reads back the same.
pub fn format_float(f: f64, verb: char, precision: Option<usize>) -> String {
    if f.is_nan() {
        return "NaN".into();
    }
    if f.is_infinite() {
        return if f > 0.0 { "+Inf" } else { "-Inf" }.into();
    }
    let exponent_form = |text: String| {
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', exponent),
        };
        format!("{mantissa}e{sign}{digits:0>2}")
    };
    match (verb.to_ascii_lowercase(), precision) {
        ('f', Some(p)) => format!("{f:.p$}"),
        ('f', None) => format!("{f}"),
        ('e', Some(p)) => exponent_form(format!("{f:.p$e}")),
        ('e', None) => exponent_form(format!("{f:e}")),
        (_, precision) => {
            let digits = precision.map(|p| p.max(1));
            let scientific = match digits {
                Some(p) => format!("{f:.*e}", p - 1),
                None => format!("{f:e}"),
            };
            let exponent: i32 = scientific.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
            // the shortest form decides as if it had six digits
            let limit = digits.map_or(6, |p| p as i32);
            let strip = |text: String| match text.contains('.') {
                true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
                false => text,
            };
            if exponent < -4 || exponent >= limit {
                let (mantissa, e) = scientific.split_once('e').unwrap_or((&scientific, "0"));
                exponent_form(format!("{}e{e}", strip(mantissa.to_string())))
            } else {
                match digits {
                    Some(p) => strip(format!("{f:.*}", (p as i32 - 1 - exponent).max(0) as usize)),
                    None => format!("{f}"),
                }
            }
        }
    }
}

/// A Go string literal; `ascii` escapes everything beyond ASCII (`%+q`).
pub fn quote(text: &str, ascii: bool) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if (ascii && !c.is_ascii()) || c.is_control() => match c as u32 {
                n if n < 0x10000 => out.push_str(&format!("\\u{n:04x}")),
                n => out.push_str(&format!("\\U{n:08x}")),
            },
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[derive(Default, Clone)]
struct Flags {
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// Wider fields than this are refused as Go refuses them.
const MAX_WIDTH: usize = 1_000_000;

/// `fmt.Sprintf`.
pub fn sprintf(format: &str, args: &[Value]) -> String {
    let mut out = String::new();
    let mut chars = format.chars().peekable();
    let mut next = 0usize;
    let mut reordered = false;
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut flags = Flags::default();
        while let Some(flag) = chars.peek() {
            match flag {
                '+' => flags.plus = true,
                '-' => (flags.minus, flags.zero) = (true, false),
                '#' => flags.sharp = true,
                ' ' => flags.space = true,
                '0' => flags.zero = !flags.minus,
                _ => break,
            }
            chars.next();
        }
        let mut bad_index = index(&mut chars, args, &mut next, &mut reordered);
        flags.width = size(&mut chars, args, &mut next, &mut out, &mut flags.minus, "WIDTH");
        if chars.peek() == Some(&'.') {
            chars.next();
            bad_index |= index(&mut chars, args, &mut next, &mut reordered);
            let mut ignored = false;
            flags.precision = Some(size(&mut chars, args, &mut next, &mut out, &mut ignored, "PREC").unwrap_or(0));
        }
        bad_index |= index(&mut chars, args, &mut next, &mut reordered);
        let Some(verb) = chars.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            out.push('%');
        } else if bad_index {
            out.push_str(&format!("%!{verb}(BADINDEX)"));
        } else if let Some(arg) = args.get(next) {
            next += 1;
            out.push_str(&one(arg, verb, &flags));
        } else {
            out.push_str(&format!("%!{verb}(MISSING)"));
        }
    }
    if !reordered && next < args.len() {
        let extra: Vec<String> = args[next..]
            .iter()
            .map(|arg| match arg {
                Value::Nil => "<nil>".into(),
                arg => format!("{}={}", arg.type_name(), default(arg, Mode::Plain)),
            })
            .collect();
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// `[n]`: true when it names no argument.
fn index(chars: &mut Chars<'_>, args: &[Value], next: &mut usize, reordered: &mut bool) -> bool {
    if chars.peek() != Some(&'[') {
        return false;
    }
    *reordered = true;
    chars.next();
    let inner: String = chars.by_ref().take_while(|c| *c != ']').collect();
    match inner.parse::<usize>() {
        Ok(n) if n >= 1 && n <= args.len() => {
            *next = n - 1;
            false
        }
        _ => true,
    }
}

/// A width or precision: digits, or `*` for the next argument.
fn size(
    chars: &mut Chars<'_>,
    args: &[Value],
    next: &mut usize,
    out: &mut String,
    minus: &mut bool,
    name: &str,
) -> Option<usize> {
    if chars.peek() == Some(&'*') {
        chars.next();
        let arg = args.get(*next);
        *next += 1;
        return match arg {
            Some(Value::Int(n)) if n.unsigned_abs() as usize <= MAX_WIDTH => {
                *minus |= *n < 0;
                Some(n.unsigned_abs() as usize)
            }
            _ => {
                out.push_str(&format!("%!(BAD{name})"));
                None
            }
        };
    }
    let mut value = None;
    while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
        chars.next();
        value = Some(value.unwrap_or(0usize).saturating_mul(10).saturating_add(digit as usize).min(MAX_WIDTH));
    }
    value
}

fn one(arg: &Value, verb: char, flags: &Flags) -> String {
    match verb {
        'T' => return pad(arg.type_name(), flags),
        'v' if flags.sharp => return pad(outer(arg, Mode::Go), flags),
        'v' if flags.plus && matches!(arg.pointed(), Value::Map(_) | Value::List(_)) => {
            return pad(outer(arg, Mode::Names), flags);
        }
        _ => {}
    }
    let formatted = match arg {
        Value::Nil | Value::NilPointer if verb == 'v' => Some(pad("<nil>".into(), flags)),
        Value::Nil => return format!("%!{verb}(<nil>)"),
        Value::Bool(b) if matches!(verb, 't' | 'v') => Some(pad(b.to_string(), flags)),
        Value::Int(i) => integer(*i, verb, flags),
        Value::Float(f) => float(*f, verb, flags),
        Value::Str(s) => text(s, verb, flags),
        Value::Scalar(s) => text(&s.text, verb, flags),
        Value::Pointer(_) if verb == 'v' => Some(pad(outer(arg, Mode::Plain), flags)),
        Value::Pointer(to) if matches!(**to, Value::Map(_) | Value::List(_)) => {
            let text = one(to, verb, flags);
            return if to.is_printed() { text } else { format!("&{text}") };
        }
        Value::Map(map) if map.text.is_some() => map.text.as_deref().and_then(|t| text(t, verb, flags)),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(|v| one(v, verb, flags)).collect();
            return format!("[{}]", items.join(" "));
        }
        Value::Map(map) => {
            let is_struct = map.is_struct();
            let items: Vec<String> = map
                .entries
                .iter()
                .map(|(k, v)| match is_struct {
                    true => one(v, verb, flags),
                    false => format!("{}:{}", one(&Value::str(k.as_str()), verb, flags), one(v, verb, flags)),
                })
                .collect();
            return if is_struct { format!("{{{}}}", items.join(" ")) } else { format!("map[{}]", items.join(" ")) };
        }
        Value::NilList => return "[]".into(),
        Value::NilMap => return "map[]".into(),
        _ => None,
    };
    formatted.unwrap_or_else(|| format!("%!{verb}({}={})", arg.type_name(), default(arg, Mode::Plain)))
}

fn pad(text: String, flags: &Flags) -> String {
    let width = flags.width.unwrap_or(0);
    let length = text.chars().count();
    if length >= width {
        return text;
    }
    let fill = " ".repeat(width - length);
    if flags.minus { text + &fill } else { fill + &text }
}

/// Pads a number, zeros going after the sign.
fn pad_number(text: String, flags: &Flags, zeros: bool) -> String {
    let width = flags.width.unwrap_or(0);
    if !(zeros && flags.zero) || text.len() >= width {
        return pad(text, flags);
    }
    let (sign, digits) = match text.strip_prefix(['-', '+', ' ']) {
        Some(digits) => (&text[..1], digits),
        None => ("", text.as_str()),
    };
    format!("{sign}{}{digits}", "0".repeat(width - text.len()))
}

fn sign(negative: bool, flags: &Flags) -> &'static str {
    match (negative, flags.plus, flags.space) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (_, _, true) => " ",
        _ => "",
    }
}

fn integer(i: i64, verb: char, flags: &Flags) -> Option<String> {
    let magnitude = i.unsigned_abs();
    let (prefix, mut digits) = match verb {
        'd' | 'v' => ("", magnitude.to_string()),
        'b' => (if flags.sharp { "0b" } else { "" }, format!("{magnitude:b}")),
        'o' => (if flags.sharp { "0" } else { "" }, format!("{magnitude:o}")),
        'O' => ("0o", format!("{magnitude:o}")),
        'x' => (if flags.sharp { "0x" } else { "" }, format!("{magnitude:x}")),
        'X' => (if flags.sharp { "0X" } else { "" }, format!("{magnitude:X}")),
        'c' | 'q' => {
            let c = u32::try_from(i).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
            let text = match (verb, c) {
                ('c', c) => c.to_string(),
                (_, '\'') => "'\\''".into(),
                (_, '"') => "'\"'".into(),
                (_, c) => {
                    let quoted = quote(&c.to_string(), flags.plus);
                    format!("'{}'", &quoted[1..quoted.len() - 1])
                }
            };
            return Some(pad(text, flags));
        }
        'U' => return Some(pad(format!("U+{magnitude:04X}"), flags)),
        _ => return None,
    };
    if let Some(precision) = flags.precision {
        if precision == 0 && i == 0 {
            return Some(pad(String::new(), flags));
        }
        digits = format!("{}{digits}", "0".repeat(precision.saturating_sub(digits.len())));
    }
    Some(pad_number(format!("{}{prefix}{digits}", sign(i < 0, flags)), flags, flags.precision.is_none()))
}

fn float(f: f64, verb: char, flags: &Flags) -> Option<String> {
    let text = match verb {
        'v' | 'g' | 'G' => format_float(f.abs(), 'g', flags.precision),
        'e' | 'E' => format_float(f.abs(), 'e', Some(flags.precision.unwrap_or(6))),
        'f' | 'F' => format_float(f.abs(), 'f', Some(flags.precision.unwrap_or(6))),
        _ => return None,
    };
    let text = if verb.is_uppercase() { text.to_uppercase() } else { text };
    Some(pad_number(format!("{}{text}", sign(f.is_sign_negative(), flags)), flags, f.is_finite()))
}

fn text(s: &str, verb: char, flags: &Flags) -> Option<String> {
    let cut: String = match flags.precision {
        Some(p) => s.chars().take(p).collect(),
        None => s.into(),
    };
    let hex = |upper: bool| {
        let bytes = flags.precision.map_or(s.as_bytes(), |p| &s.as_bytes()[..p.min(s.len())]);
        let separator = if flags.space { " " } else { "" };
        let one = |b: &u8| if upper { format!("{b:02X}") } else { format!("{b:02x}") };
        let prefix = if flags.sharp { if upper { "0X" } else { "0x" } } else { "" };
        let items: Vec<String> = bytes.iter().map(one).collect();
        match flags.space {
            true => items.iter().map(|b| format!("{prefix}{b}")).collect::<Vec<_>>().join(separator),
            false if items.is_empty() => String::new(),
            false => format!("{prefix}{}", items.concat()),
        }
    };
    let formatted = match verb {
        's' | 'v' => cut,
        'q' if flags.sharp && !cut.contains('`') && !cut.chars().any(|c| c.is_control() && c != '\t') => {
            format!("`{cut}`")
        }
        'q' => quote(&cut, flags.plus),
        'x' => hex(false),
        'X' => hex(true),
        _ => return None,
    };
    if flags.zero && !flags.minus {
        let width = flags.width.unwrap_or(0);
        return Some(format!("{}{formatted}", "0".repeat(width.saturating_sub(formatted.chars().count()))));
    }
    Some(pad(formatted, flags))
}
