//! `config.json` of a bundle.

use super::{Error, Result};
use oci::runtime::{Process, Spec};
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The largest configuration that is read.
const MAX: u64 = 32 << 20;

/// Reads a JSON document.
pub fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = content(File::open(path).map_err(Error::io(format!("open {}", path.display())))?, path)?;
    parse(&text, path)
}

/// Reads a JSON document as Go does: `null` is as good as nothing.
pub fn parse<T: serde::de::DeserializeOwned>(text: &[u8], path: &Path) -> Result<T> {
    let without_nulls = || {
        let mut value: Value = serde_json::from_slice(text)?;
        strip(&mut value);
        serde_json::from_value(value)
    };
    let parsed = serde_json::from_slice(text).or_else(|first| without_nulls().map_err(|_| first));
    parsed.map_err(|e| Error(format!("{}: {e}", path.display())))
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

/// The whole of `file`, if it is not too long.
pub fn content(file: impl Read, path: &Path) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    file.take(MAX + 1).read_to_end(&mut text).map_err(Error::io(format!("read {}", path.display())))?;
    if text.len() as u64 > MAX {
        return Error::new(format!("{} is longer than {MAX} bytes", path.display()));
    }
    Ok(text)
}

/// The configuration in the working directory, which is the bundle.
pub fn load() -> Result<Spec> {
    let path = Path::new("config.json");
    if !path.exists() {
        return Error::new("JSON specification file config.json not found");
    }
    let spec: Spec = read(path)?;
    if spec.linux.is_none() {
        return Error::new("config.json has no linux section");
    }
    if spec.root.is_none() {
        return Error::new("root must be specified");
    }
    if spec.process.is_some() {
        check(spec.process.as_ref())?;
    }
    Ok(spec)
}

/// What runc asks of every process.
pub fn check(process: Option<&Process>) -> Result<()> {
    let Some(process) = process else { return Error::new("process property must not be empty") };
    if process.cwd.is_empty() {
        return Error::new("Cwd property must not be empty");
    }
    if !process.cwd.starts_with('/') {
        return Error::new("Cwd must be an absolute path");
    }
    if process.args.is_empty() {
        return Error::new("args must not be empty");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_nothing() {
        let text = br#"{"process": {"args": ["a"], "env": null, "cwd": "/"}, "mounts": [{"destination": "/x", "options": null}], "hooks": null}"#;
        let spec: Spec = parse(text, Path::new("x")).unwrap();
        assert_eq!((spec.process.unwrap().args, spec.mounts.len()), (vec!["a".into()], 1));
        let wrong = parse::<Spec>(b"{\"process\": 7}", Path::new("x")).unwrap_err().0;
        assert_eq!(wrong, "x: invalid type: integer `7`, expected struct Process at line 1 column 13");
    }
}
