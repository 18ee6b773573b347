//! Flags that name files which the client reads: environments, labels, seccomp profiles.

use super::values::key_values;
use crate::failure::describe;
use api::go::Map;

/// The container's environment: files first, then `--env`; a name alone takes the client's value.
pub fn environment(paths: &[String], given: &[String]) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    for path in paths {
        lines.extend(lines_of(path, "variable", &|name| std::env::var(name).ok())?);
    }
    for item in given {
        match item.contains('=') {
            true => lines.push(item.clone()),
            false => lines.push(match std::env::var(item) {
                Ok(value) => format!("{item}={value}"),
                Err(_) => item.clone(),
            }),
        }
    }
    Ok(lines)
}

/// The container's labels.
pub fn labels(paths: &[String], given: &[String]) -> Result<Map<String>, String> {
    let mut lines = Vec::new();
    for path in paths {
        lines.extend(lines_of(path, "label", &|_| Some(String::new()))?);
    }
    lines.extend_from_slice(given);
    let mut labels = key_values(&lines);
    if labels.is_null() {
        labels = Map::empty();
    }
    Ok(labels)
}

/// `key=value` lines; `#` begins a comment; a key alone takes what `value` gives, or is dropped.
fn lines_of(path: &str, what: &str, value: &dyn Fn(&str) -> Option<String>) -> Result<Vec<String>, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("open {path}: {}", describe(&e)))?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let mut lines = Vec::new();
    for (number, line) in bytes.split(|b| *b == b'\n').enumerate() {
        let line = std::str::from_utf8(line)
            .map_err(|_| format!("env file {path} contains invalid utf8 bytes at line {}: {line:?}", number + 1))?;
        let line = line.strip_suffix('\r').unwrap_or(line).trim_start_matches([' ', '\t']);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split('=').next().unwrap_or(line);
        let invalid = |why: String| Err(format!("invalid env file ({path}): {why}"));
        if name.contains([' ', '\t']) {
            return invalid(format!("{what} '{name}' contains whitespaces"));
        }
        if name.is_empty() {
            return invalid(format!("no {what} name on line '{line}'"));
        }
        if line.contains('=') {
            lines.push(line.to_string());
        } else if let Some(value) = value(name) {
            lines.push(format!("{name}={value}"));
        }
    }
    Ok(lines)
}

/// `--security-opt`, with the files of seccomp profiles replaced by what is in them.
pub fn security(options: Vec<String>) -> Result<Vec<String>, String> {
    let mut out = Vec::with_capacity(options.len());
    for option in options {
        let split = option.split_once('=').or_else(|| option.split_once(':'));
        let (key, value) = split.unwrap_or((&option, ""));
        if value.is_empty() && key != "no-new-privileges" {
            return Err(format!("Invalid --security-opt: {}", crate::flags::quote(&option)));
        }
        if key != "seccomp" || matches!(value, "unconfined" | "builtin" | "default") {
            out.push(option);
            continue;
        }
        let text = std::fs::read_to_string(value)
            .map_err(|e| format!("opening seccomp profile ({value}) failed: open {value}: {}", describe(&e)))?;
        let profile: template::Value = serde_json::from_str(&text).map_err(|e| {
            let why = if e.is_eof() { "unexpected end of JSON input".into() } else { e.to_string() };
            format!("compacting json for seccomp profile ({value}) failed: {why}")
        })?;
        out.push(format!("seccomp={}", template::to_json(&profile)));
    }
    Ok(out)
}
