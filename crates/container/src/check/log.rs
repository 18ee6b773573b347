//! `--log-driver` and `--log-opt`, in Docker's order and words.

use crate::error::{Result, invalid};
use api::container::LogConfig;
use regex_automata::nfa::thompson::{self, pikevm::PikeVM};
use regex_automata::util::syntax;

/// The drivers that there are, as `info` lists them.
pub const LOG_DRIVERS: [&str; 3] = ["json-file", "local", "none"];

const JSON_FILE: &str = "json-file";
const LOCAL: &str = "local";

/// How much of a container's output is kept for a log that is behind, if its options do not say.
const BUFFER: u64 = 1_000_000;
/// What `local` does of its own accord.
const LOCAL_SIZE: u64 = 20 << 20;
const LOCAL_FILES: u32 = 5;

/// What the options ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// No log.
    None,
    /// One in files.
    Files(Files),
}

/// A log in files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    /// As `local` writes it, rather than as JSON.
    pub local: bool,
    pub max_size: Option<u64>,
    pub max_file: u32,
    pub compress: bool,
    pub buffer: Option<u64>,
}

/// What the log is to be like.
///
/// # Errors
/// At a driver or an option that is not there, and at a value that makes no sense.
pub(crate) fn log(config: &LogConfig) -> Result<Wanted> {
    let option = |name: &str| config.config.get(name).map(String::as_str);
    let driver = if config.kind.is_empty() { JSON_FILE } else { &config.kind };
    if driver == "none" {
        return Ok(Wanted::None);
    }
    let buffer = buffer(option("mode").unwrap_or_default(), option("max-buffer-size"))?;
    if !LOG_DRIVERS.contains(&driver) {
        return Err(invalid!("logger: no log driver named '{driver}' is registered"));
    }
    for key in config.config.keys() {
        match (key.as_str(), driver) {
            ("mode" | "max-buffer-size" | "max-size" | "max-file" | "compress", _) => {}
            ("labels" | "env" | "tag", _) => {}
            ("labels-regex" | "env-regex", _) => drop(pattern(&config.config[key])?),
            (other, LOCAL) => return Err(invalid!("unknown log opt '{other}' for log driver {LOCAL}")),
            (other, _) => return Err(invalid!("unknown log opt '{other}' for json-file log driver")),
        }
    }
    if let Some(tag) = option("tag") {
        super::super::logs::parse_tag(tag)?;
    }
    let values = Values { size: option("max-size"), files: option("max-file"), compress: option("compress") };
    let files = if driver == LOCAL { values.local()? } else { values.json_file()? };
    Ok(Wanted::Files(Files { buffer, ..files }))
}

/// How much may wait for the disk; `None`: the container waits for it.
fn buffer(mode: &str, size: Option<&str>) -> Result<Option<u64>> {
    let non_blocking = match mode {
        "" | "blocking" => false,
        "non-blocking" => true,
        other => return Err(invalid!("logger: logging mode not supported: {other}")),
    };
    let Some(size) = size else { return Ok(non_blocking.then_some(BUFFER)) };
    if !non_blocking {
        return Err(invalid!("logger: max-buffer-size option is only supported with 'mode=non-blocking'"));
    }
    let size = api::units::parse_ram(size).map_err(|e| invalid!("error parsing option max-buffer-size: {e}"))?;
    Ok(Some(u64::try_from(size).unwrap_or(BUFFER)))
}

/// The options that say how files grow.
struct Values<'a> {
    size: Option<&'a str>,
    files: Option<&'a str>,
    compress: Option<&'a str>,
}

impl Values<'_> {
    fn json_file(&self) -> Result<Files> {
        let max_size = match self.size {
            None => None,
            Some(text) => match api::units::parse_size(text).map_err(|e| invalid!("{e}"))? {
                size @ 1.. => Some(size as u64),
                _ => return Err(invalid!("max-size must be a positive number")),
            },
        };
        let max_file = match self.files.map(integer).transpose().map_err(|e| invalid!("{e}"))? {
            None => 1,
            Some(count @ 1..) => u32::try_from(count).unwrap_or(u32::MAX),
            Some(_) => return Err(invalid!("max-file cannot be less than 1")),
        };
        let compress = self.compress.map(boolean).transpose().map_err(|e| invalid!("{e}"))?.unwrap_or(false);
        if compress && (max_file == 1 || max_size.is_none()) {
            return Err(invalid!("compress cannot be true when max-file is less than 2 or max-size is not set"));
        }
        Ok(Files { local: false, max_size, max_file, compress, buffer: None })
    }

    fn local(&self) -> Result<Files> {
        let max_size = match self.size {
            None => LOCAL_SIZE,
            Some(text) => {
                let size = api::units::parse_size(text);
                let size = size.map_err(|e| invalid!("invalid value for max-size: {text}: {e}"))?;
                u64::try_from(size).map_err(|_| invalid!("max-size must not be negative"))?
            }
        };
        let max_file = match self.files {
            None => LOCAL_FILES,
            Some(text) => {
                let count = integer(text).map_err(|e| invalid!("invalid value for max-file: {text}: {e}"))?;
                u32::try_from(count.min(u32::MAX.into())).map_err(|_| invalid!("max-file must not be negative"))?
            }
        };
        let compress = self.compress.map(boolean).transpose();
        let compress = compress.map_err(|e| invalid!("invalid boolean value for compress: {e}"))?.unwrap_or(true);
        if compress && max_file <= 1 {
            return Err(invalid!("compression cannot be enabled when max file count is 1"));
        }
        Ok(Files { local: true, max_size: Some(max_size), max_file: max_file.max(1), compress, buffer: None })
    }
}

/// Go's `strconv.Atoi`.
fn integer(text: &str) -> std::result::Result<i64, String> {
    text.parse().map_err(|e: std::num::ParseIntError| {
        let why = match e.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.Atoi: parsing {text:?}: {why}")
    })
}

/// Go's `strconv.ParseBool`.
fn boolean(text: &str) -> std::result::Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
    }
}

/// A regular expression in Go's syntax.
pub(crate) fn pattern(text: &str) -> Result<PikeVM> {
    // As in Go, `\w` and the like mean ASCII; what is searched are names.
    let compiled = PikeVM::builder()
        .syntax(syntax::Config::new().unicode(false).utf8(false))
        .thompson(thompson::Config::new().utf8(false).nfa_size_limit(Some(1 << 20)))
        .build(text);
    compiled.map_err(|e| {
        let why = std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string);
        let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        invalid!("error parsing regexp: {why}: `{text}`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(kind: &str, options: &[(&str, &str)]) -> std::result::Result<Files, String> {
        let config = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        match log(&LogConfig { kind: kind.into(), config }) {
            Ok(Wanted::Files(files)) => Ok(files),
            Ok(Wanted::None) => Err("none".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn sizes_counts_and_what_holds_without_them() {
        let json = Files { local: false, max_size: None, max_file: 1, compress: false, buffer: None };
        assert_eq!(asked("", &[]), Ok(json.clone()));
        let wanted = Files { max_size: Some(10_000_000), max_file: 3, compress: true, ..json.clone() };
        assert_eq!(asked("json-file", &[("max-size", "10m"), ("max-file", "3"), ("compress", "true")]), Ok(wanted));
        let local = Files { local: true, max_size: Some(20 << 20), max_file: 5, compress: true, buffer: None };
        assert_eq!(asked("local", &[]), Ok(local.clone()));
        let wanted = Files { max_file: 1, compress: false, ..local };
        assert_eq!(asked("local", &[("max-file", "1"), ("compress", "f")]), Ok(wanted));
        let mode = ("mode", "non-blocking");
        assert_eq!(asked("", &[mode]).unwrap().buffer, Some(1_000_000));
        assert_eq!(asked("", &[mode, ("max-buffer-size", "4m")]).unwrap().buffer, Some(4 << 20));
        assert_eq!(asked("none", &[("nosuch", "x")]), Err("none".into()));
    }

    #[test]
    fn what_is_refused_and_how() {
        type Asked = [(&'static str, &'static str)];
        let cases: [(&str, &Asked, &str); 18] = [
            ("journald", &[], "logger: no log driver named 'journald' is registered"),
            ("x", &[("mode", "y")], "logger: logging mode not supported: y"),
            ("", &[("nosuch", "1")], "unknown log opt 'nosuch' for json-file log driver"),
            ("local", &[("nosuch", "1")], "unknown log opt 'nosuch' for log driver local"),
            ("", &[("max-size", "x")], "invalid size: 'x'"),
            ("", &[("max-size", "0")], "max-size must be a positive number"),
            ("", &[("max-file", "0")], "max-file cannot be less than 1"),
            ("", &[("max-file", "x")], "strconv.Atoi: parsing \"x\": invalid syntax"),
            ("", &[("compress", "x")], "strconv.ParseBool: parsing \"x\": invalid syntax"),
            (
                "",
                &[("compress", "true"), ("max-file", "2")],
                "compress cannot be true when max-file is less than 2 or max-size is not set",
            ),
            ("local", &[("max-size", "x")], "invalid value for max-size: x: invalid size: 'x'"),
            ("local", &[("max-file", "-1")], "max-file must not be negative"),
            ("local", &[("max-file", "1")], "compression cannot be enabled when max file count is 1"),
            (
                "local",
                &[("compress", "x")],
                "invalid boolean value for compress: strconv.ParseBool: parsing \"x\": invalid syntax",
            ),
            (
                "",
                &[("max-buffer-size", "1m")],
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
            ),
            (
                "",
                &[("mode", "non-blocking"), ("max-buffer-size", "x")],
                "error parsing option max-buffer-size: invalid size: 'x'",
            ),
            ("", &[("env-regex", "(")], "error parsing regexp: unclosed group: `(`"),
            ("", &[("tag", "{{.Nosuch")], "template: log-tag:1: unclosed action"),
        ];
        for (kind, options, text) in cases {
            assert_eq!(asked(kind, options), Err(text.into()), "{kind} {options:?}");
        }
    }
}
