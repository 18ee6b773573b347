//! daemon.json, turned into the text that the same settings have as flags.

use super::table::OPTIONS;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Texts by key: one for a single value, several for a list or a map.
pub type Values = BTreeMap<String, Vec<String>>;

/// Reads the file. One that was not asked for may be missing.
pub fn read(path: &Path, must_exist: bool) -> Result<Values, String> {
    let wrong = |why: String| format!("unable to configure the Docker daemon with file {}: {why}", path.display());
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !must_exist => return Ok(Values::new()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(wrong(format!("open {}: no such file or directory", path.display())));
        }
        Err(e) => return Err(wrong(format!("open {}: {e}", path.display()))),
    };
    if text.trim().is_empty() {
        return Ok(Values::new());
    }
    let object: BTreeMap<String, Value> = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    let known = |key: &str| OPTIONS.iter().any(|e| e.key == Some(key));
    let unknown: Vec<&str> = object.keys().map(String::as_str).filter(|key| !known(key)).collect();
    if !unknown.is_empty() {
        return Err(wrong(format!(
            "the following directives don't match any configuration option: {}",
            unknown.join(", ")
        )));
    }
    let mut values = Values::new();
    for (key, value) in object {
        if value.is_null() {
            continue;
        }
        let texts = texts(&key, &value).map_err(|e| wrong(format!("{key}: {e}")))?;
        values.insert(key, texts);
    }
    Ok(values)
}

fn texts(key: &str, value: &Value) -> Result<Vec<String>, String> {
    match (key, value) {
        ("runtimes", Value::Object(map)) => map.iter().map(|(name, v)| runtime(name, v)).collect(),
        ("default-ulimits", Value::Object(map)) => map.iter().map(|(name, v)| ulimit(name, v)).collect(),
        ("default-address-pools", Value::Array(list)) => list.iter().map(pool).collect(),
        (_, Value::Array(list)) => list.iter().map(scalar).collect(),
        (_, Value::Object(map)) => map.iter().map(|(k, v)| Ok(format!("{k}={}", scalar(v)?))).collect(),
        (_, other) => Ok(vec![scalar(other)?]),
    }
}

fn scalar(value: &Value) -> Result<String, String> {
    match value {
        Value::String(s) => Ok(s.clone()),
        Value::Bool(b) => Ok(b.to_string()),
        Value::Number(n) => Ok(n.to_string()),
        _ => Err("a text, a number or a boolean is wanted".into()),
    }
}

/// `name=path`, or with arguments `name=path arg arg`.
fn runtime(name: &str, value: &Value) -> Result<String, String> {
    let object = value.as_object().ok_or("an object is wanted")?;
    if let Some(key) = object.keys().find(|key| !["path", "runtimeArgs"].contains(&key.as_str())) {
        return Err(format!("{name}: {key} is not implemented in this version of dhow"));
    }
    let mut text = format!("{name}={}", object.get("path").and_then(Value::as_str).unwrap_or_default());
    for arg in object.get("runtimeArgs").and_then(Value::as_array).into_iter().flatten() {
        text.push('\n');
        text.push_str(arg.as_str().ok_or("runtimeArgs: a list of texts is wanted")?);
    }
    Ok(text)
}

fn ulimit(name: &str, value: &Value) -> Result<String, String> {
    let number = |field: &str| value.get(field).and_then(Value::as_i64).ok_or(format!("{name}: {field} is wanted"));
    Ok(format!("{name}={}:{}", number("Soft")?, number("Hard")?))
}

fn pool(value: &Value) -> Result<String, String> {
    let base = value.get("base").and_then(Value::as_str).ok_or("base is wanted")?;
    let size = value.get("size").and_then(Value::as_u64).ok_or("size is wanted")?;
    Ok(format!("base={base},size={size}"))
}
