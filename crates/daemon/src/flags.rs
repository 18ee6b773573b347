//! A command line in pflag's grammar: `--name value`, `--name=value`, `-x value`, `-xvalue`, `-ab` of booleans, `--`.

use std::fmt;

/// Whether an option takes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// `--x` means true; `--x=false` is possible.
    Bool,
    /// `--x value`
    Value,
}

/// What the parser must know of one option.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// Without the dashes.
    pub name: &'static str,
    /// One letter.
    pub short: Option<char>,
    /// Its form.
    pub takes: Takes,
}

/// A command line that cannot be read, in pflag's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadFlag(
    /// The whole sentence.
    pub String,
);

impl fmt::Display for BadFlag {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Options by name in the order they came, and what was no option.
pub type Parsed = (Vec<(&'static str, String)>, Vec<String>);

/// Reads `args`.
///
/// # Errors
/// On an unknown option, and on one whose value is missing.
pub fn parse(args: &[String], flags: &[Flag]) -> Result<Parsed, BadFlag> {
    let mut options = Vec::new();
    let mut rest = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--" {
            rest.extend(args.cloned());
            break;
        } else if let Some(long) = arg.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            let flag =
                flags.iter().find(|f| f.name == name).ok_or_else(|| BadFlag(format!("unknown flag: --{name}")))?;
            let value = match (value, flag.takes) {
                (Some(value), _) => value,
                (None, Takes::Bool) => "true".into(),
                (None, Takes::Value) => {
                    args.next().cloned().ok_or_else(|| BadFlag(format!("flag needs an argument: --{name}")))?
                }
            };
            options.push((flag.name, value));
        } else if let Some(letters) = arg.strip_prefix('-').filter(|l| !l.is_empty()) {
            shorthands(letters, flags, &mut args, &mut options)?;
        } else {
            rest.push(arg.clone());
        }
    }
    Ok((options, rest))
}

fn shorthands(
    letters: &str,
    flags: &[Flag],
    args: &mut std::slice::Iter<String>,
    options: &mut Vec<(&'static str, String)>,
) -> Result<(), BadFlag> {
    let mut chars = letters.chars();
    while let Some(letter) = chars.next() {
        let flag = flags
            .iter()
            .find(|f| f.short == Some(letter))
            .ok_or_else(|| BadFlag(format!("unknown shorthand flag: '{letter}' in -{letters}")))?;
        let after = chars.as_str();
        if let Some(value) = after.strip_prefix('=') {
            options.push((flag.name, value.to_owned()));
            return Ok(());
        }
        if flag.takes == Takes::Bool {
            options.push((flag.name, "true".into()));
            continue;
        }
        let value = if after.is_empty() {
            let missing = || BadFlag(format!("flag needs an argument: '{letter}' in -{letters}"));
            args.next().cloned().ok_or_else(missing)?
        } else {
            after.to_owned()
        };
        options.push((flag.name, value));
        return Ok(());
    }
    Ok(())
}

/// Go's `strconv.ParseBool`.
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: [Flag; 3] = [
        Flag { name: "debug", short: Some('D'), takes: Takes::Bool },
        Flag { name: "host", short: Some('H'), takes: Takes::Value },
        Flag { name: "group", short: Some('G'), takes: Takes::Value },
    ];

    fn run(line: &str) -> Result<Parsed, String> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&args, &FLAGS).map_err(|e| e.0)
    }

    #[test]
    fn every_form() {
        let (options, rest) = run("-DH a --host=b -Gc --debug=false x --host d -- -y").unwrap();
        let want = [("debug", "true"), ("host", "a"), ("host", "b"), ("group", "c"), ("debug", "false"), ("host", "d")];
        assert_eq!(options, want.map(|(k, v)| (k, v.to_owned())));
        assert_eq!(rest, ["x", "-y"]);
    }

    #[test]
    fn refusals() {
        assert_eq!(run("--nope").unwrap_err(), "unknown flag: --nope");
        assert_eq!(run("-DX").unwrap_err(), "unknown shorthand flag: 'X' in -DX");
        assert_eq!(run("--host").unwrap_err(), "flag needs an argument: --host");
        assert_eq!(run("-H").unwrap_err(), "flag needs an argument: 'H' in -H");
    }
}
