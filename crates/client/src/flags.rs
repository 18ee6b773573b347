//! Flags as pflag reads them: `--name=value`, `--name value`, `-abc`, `-nvalue`, `--`, booleans without a value.

use crate::failure::{Failure, Result};
use api::units;
use std::ffi::OsString;

/// A flag of a command.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// Without dashes.
    pub name: &'static str,
    /// One letter, or NUL.
    pub short: char,
    /// What help calls the value; `bool` has none.
    pub kind: &'static str,
    /// Help; the default stands at its end.
    pub usage: &'static str,
    /// Accepted, but not shown.
    pub hidden: bool,
}

/// A flag that help shows.
pub const fn flag(name: &'static str, short: char, kind: &'static str, usage: &'static str) -> Flag {
    Flag { name, short, kind, usage, hidden: false }
}

/// A flag that help does not show.
pub const fn hidden(name: &'static str, short: char, kind: &'static str, usage: &'static str) -> Flag {
    Flag { name, short, kind, usage, hidden: true }
}

/// A command.
#[derive(Debug)]
pub struct Command {
    /// Its full name: `container ls`.
    pub path: &'static str,
    /// Its short name (`ps`), if it has one.
    pub top: &'static str,
    /// All names, in the order in which help shows them.
    pub other_paths: &'static [&'static str],
    /// Arguments, as help shows them after the full name.
    pub args: &'static str,
    /// Arguments, as help shows them after the short name.
    pub top_args: &'static str,
    /// What it does; the first line stands in lists.
    pub about: &'static str,
    /// Fewest arguments.
    pub least: usize,
    /// Most arguments.
    pub most: Option<usize>,
    /// Whether flags may stand after arguments.
    pub interspersed: bool,
    /// Its flags, sorted.
    pub flags: &'static [Flag],
}

impl Command {
    /// `docker run [OPTIONS] IMAGE …` when it was called by `words`.
    pub fn use_line(&self, program: &str, words: &str) -> String {
        let args = if words == self.path { self.args } else { self.top_args };
        format!("{program} {words} {args}").trim_end().replace("\tdocker ", &format!("\t{program} "))
    }
}

/// What was typed.
#[derive(Debug, Default, Clone)]
pub struct Parsed {
    values: Vec<(&'static str, String)>,
    /// What is not a flag.
    pub args: Vec<String>,
    /// `--help` or `-h` was among the flags.
    pub help: bool,
    /// `-h` was, which Docker no longer wants.
    pub short_help: bool,
    /// Flags that Docker no longer wants, and what stands in their place.
    pub deprecated: Vec<(&'static str, &'static str)>,
}

impl Parsed {
    /// Whether the flag was given.
    pub fn changed(&self, name: &str) -> bool {
        self.values.iter().any(|(n, _)| *n == name)
    }

    /// The last value, if the flag was given.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.iter().rev().find(|(n, _)| *n == name).map(|(_, v)| v.as_str())
    }

    /// The last value, or nothing.
    pub fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or("")
    }

    /// Every value.
    pub fn all(&self, name: &str) -> Vec<String> {
        self.values.iter().filter(|(n, _)| *n == name).map(|(_, v)| v.clone()).collect()
    }

    /// Whether a boolean is on.
    pub fn is(&self, name: &str) -> bool {
        self.get(name).is_some_and(|v| parse_bool(v) == Some(true))
    }

    /// A number; what is not one was refused by [`parse`].
    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.get(name).and_then(parse_int).unwrap_or(default)
    }
}

/// Go's `strconv.ParseBool`.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn parse_int(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, body) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if body.is_empty() || !body.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let value = i128::from_str_radix(&body.replace('_', ""), radix).ok()?;
    i64::try_from(if negative { -value } else { value }).ok()
}

/// Reads the arguments of a command. The text of a failure has no usage yet.
pub fn parse(flags: &[&'static [Flag]], interspersed: bool, args: &[OsString]) -> Result<Parsed> {
    let mut parsed = Parsed::default();
    let mut rest = args.iter().map(|a| a.to_string_lossy().into_owned());
    let find = |test: &dyn Fn(&Flag) -> bool| flags.iter().flat_map(|f| f.iter()).find(|f| test(f));
    while let Some(arg) = rest.next() {
        if arg == "--" {
            parsed.args.extend(rest);
            break;
        }
        if let Some(long) = arg.strip_prefix("--") {
            let (name, inline) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_string())),
                None => (long, None),
            };
            if name.is_empty() || name.starts_with(['-', '=']) {
                return Err(Failure::new(format!("bad flag syntax: {arg}")));
            }
            let Some(flag) = find(&|f| f.name == name) else {
                if name == "help" {
                    parsed.help = true;
                    continue;
                }
                return Err(Failure::new(format!("unknown flag: --{name}")));
            };
            if name == "help" {
                parsed.help = true;
                continue;
            }
            let value = match inline {
                Some(value) => value,
                None if flag.kind == "bool" => "true".into(),
                None => rest.next().ok_or_else(|| Failure::new(format!("flag needs an argument: --{name}")))?,
            };
            set(&mut parsed, flag, value)?;
        } else if arg.len() > 1 && arg.starts_with('-') {
            let mut letters = &arg[1..];
            while let Some(c) = letters.chars().next() {
                let after = &letters[c.len_utf8()..];
                let Some(flag) = find(&|f| f.short == c && c != '\0') else {
                    if c == 'h' {
                        parsed.help = true;
                        parsed.short_help = true;
                        letters = after;
                        continue;
                    }
                    return Err(Failure::new(format!("unknown shorthand flag: '{c}' in -{letters}")));
                };
                if let Some(value) = after.strip_prefix('=').filter(|_| after.len() > 1) {
                    set(&mut parsed, flag, value.to_string())?;
                    break;
                }
                if flag.kind == "bool" {
                    set(&mut parsed, flag, "true".into())?;
                    letters = after;
                    continue;
                }
                let value = match after {
                    "" => rest
                        .next()
                        .ok_or_else(|| Failure::new(format!("flag needs an argument: '{c}' in -{letters}")))?,
                    after => after.to_string(),
                };
                set(&mut parsed, flag, value)?;
                break;
            }
        } else {
            parsed.args.push(arg);
            if !interspersed {
                parsed.args.extend(rest);
                break;
            }
        }
    }
    Ok(parsed)
}

/// Names that mean another flag, so that one name finds the values of both.
const SYNONYMS: [(&str, &str); 4] =
    [("dns-opt", "dns-option"), ("net", "network"), ("net-alias", "network-alias"), ("time", "timeout")];

fn set(parsed: &mut Parsed, flag: &'static Flag, value: String) -> Result<()> {
    check(flag, &value).map_err(|why| {
        let name = match flag.short {
            '\0' => format!("--{}", flag.name),
            short => format!("-{short}, --{}", flag.name),
        };
        Failure::new(format!("invalid argument {} for {} flag: {why}", quote(&value), quote(&name)))
    })?;
    let name = SYNONYMS.iter().find(|(from, _)| *from == flag.name).map_or(flag.name, |(_, to)| to);
    if flag.name == "time" {
        parsed.deprecated.push((flag.name, name));
    }
    parsed.values.push((name, value));
    Ok(())
}

/// Go's `%q`, near enough for what people type.
pub fn quote(text: &str) -> String {
    let plain = |b: u8| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\';
    if text.bytes().all(plain) {
        return ["\"", text, "\""].concat();
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if c.is_control() || crate::output::is_deceptive(c) => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn check(flag: &Flag, value: &str) -> std::result::Result<(), String> {
    let number = |kind: &str, low: i128, high: i128| {
        let digits = value.strip_prefix(['-', '+']).unwrap_or(value);
        let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        match value.parse::<i128>() {
            Ok(n) if n >= low && n <= high => Ok(()),
            _ if parse_int(value).is_some_and(|n| (low..=high).contains(&i128::from(n))) => Ok(()),
            _ if is_number && !(kind == "ParseUint" && value.starts_with('-')) => {
                Err(format!("strconv.{kind}: parsing {}: value out of range", quote(value)))
            }
            _ => Err(format!("strconv.{kind}: parsing {}: invalid syntax", quote(value))),
        }
    };
    match flag.kind {
        "bool" => match parse_bool(value) {
            Some(_) => Ok(()),
            None => Err(format!("strconv.ParseBool: parsing {}: invalid syntax", quote(value))),
        },
        "int" => number("ParseInt", i64::MIN.into(), i64::MAX.into()),
        "uint16" => number("ParseUint", 0, u16::MAX.into()),
        "uint" => number("ParseUint", 0, u64::MAX.into()),
        "duration" => crate::options::values::duration(value).map(|_| ()),
        "decimal" => crate::options::values::nano_cpus(value).map(|_| ()),
        "bytes" if flag.name == "memory-swap" && value == "-1" => Ok(()),
        "bytes" => units_size(value).map(|_| ()),
        "filter" => match value.is_empty() || value.contains('=') {
            true => Ok(()),
            false => Err("bad format of filter (expected name=value)".into()),
        },
        _ => crate::options::values::check(flag.name, flag.kind, value),
    }
}

/// A size in bytes, in the words of Docker's parser.
pub fn units_size(value: &str) -> std::result::Result<i64, String> {
    units::parse_ram(value).map_err(|error| {
        let digits = value.trim_end_matches(|c: char| !c.is_ascii_digit() && c != '.');
        let suffix = value[digits.len()..].trim_start().to_lowercase();
        match digits.parse::<f64>() {
            Ok(number) if number >= 0.0 && !suffix.is_empty() && !value.starts_with('-') => {
                format!("invalid suffix: '{suffix}'")
            }
            _ => error,
        }
    })
}
