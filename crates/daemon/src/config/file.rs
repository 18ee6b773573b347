//! daemon.json, turned into the text that the same settings have as flags.

use super::table::{Entry, OPTIONS};
use crate::flags::Takes;
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
    values(&text).map_err(wrong)
}

fn values(text: &str) -> Result<Values, String> {
    let object: BTreeMap<String, Value> = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let entry = |key: &str| OPTIONS.iter().find(|e| e.key == Some(key));
    let unknown: Vec<&str> = object.keys().map(String::as_str).filter(|key| entry(key).is_none()).collect();
    if !unknown.is_empty() {
        return Err(format!("the following directives don't match any configuration option: {}", unknown.join(", ")));
    }
    let mut values = Values::new();
    for (key, value) in object {
        if let Some(entry) = entry(&key).filter(|_| !value.is_null()) {
            let texts = texts(entry, &key, &value).map_err(|e| format!("{key}: {e}"))?;
            values.insert(key, texts);
        }
    }
    Ok(values)
}

/// Those whose value is an object.
const MAPS: [&str; 5] = ["runtimes", "default-ulimits", "log-opts", "default-network-opts", "features"];

fn texts(entry: &Entry, key: &str, value: &Value) -> Result<Vec<String>, String> {
    if MAPS.contains(&key) {
        let map = value.as_object().ok_or("an object is wanted")?;
        // As flags they are `key=value`.
        if let Some(bad) = map.keys().find(|name| name.contains(['=', '\n'])) {
            return Err(format!("invalid name {bad:?}"));
        }
        return map
            .iter()
            .map(|(name, v)| match key {
                "runtimes" => runtime(name, v),
                "default-ulimits" => ulimit(name, v),
                _ => Ok(format!("{name}={}", scalar(v)?)),
            })
            .collect();
    }
    if entry.many {
        let list = value.as_array().ok_or("a list is wanted")?;
        return list.iter().map(|v| if key == "default-address-pools" { pool(v) } else { scalar(v) }).collect();
    }
    if entry.takes == Takes::Bool && !value.is_boolean() {
        return Err("true or false is wanted".into());
    }
    Ok(vec![scalar(value)?])
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
    // One line each.
    let line = |v: &Value| v.as_str().filter(|t| !t.contains('\n')).map(str::to_owned);
    let path = object.get("path").map_or(Some(String::new()), line).ok_or(format!("{name}: path: a text is wanted"))?;
    let args = match object.get("runtimeArgs") {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(list) => list.as_array().and_then(|list| list.iter().map(line).collect()),
    };
    let args = args.ok_or(format!("{name}: runtimeArgs: a list of texts is wanted"))?;
    Ok([vec![format!("{name}={path}")], args].concat().join("\n"))
}

fn ulimit(name: &str, value: &Value) -> Result<String, String> {
    let number = |field: &str| value.get(field).and_then(Value::as_i64).ok_or(format!("{name}: {field} is wanted"));
    Ok(format!("{name}={}:{}", number("Soft")?, number("Hard")?))
}

fn pool(value: &Value) -> Result<String, String> {
    let base = value.get("base").and_then(Value::as_str).filter(|b| !b.contains(',')).ok_or("base is wanted")?;
    let size = value.get("size").and_then(Value::as_u64).ok_or("size is wanted")?;
    Ok(format!("base={base},size={size}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, apply};
    use proptest::prelude::*;
    use serde_json::json;

    fn set(text: &str) -> Result<Config, String> {
        let mut config = Config::default();
        for (key, texts) in values(text)? {
            let entry = OPTIONS.iter().find(|e| e.key == Some(&key)).ok_or("unknown")?;
            texts.iter().try_for_each(|text| apply(entry, &mut config, text))?;
        }
        Ok(config)
    }

    #[test]
    fn a_value_of_another_shape_is_refused_and_not_read_as_something_else() {
        for bad in [
            r#"{"data-root":["/a","/b"]}"#,
            r#"{"data-root":[]}"#,
            r#"{"icc":{}}"#,
            r#"{"icc":"false"}"#,
            r#"{"icc":0}"#,
            r#"{"bip":{"a":1}}"#,
            r#"{"labels":"a=b"}"#,
            r#"{"labels":{"a":"b"}}"#,
            r#"{"dns":{"a":"1.1.1.1"}}"#,
            r#"{"log-opts":["max-size=1m"]}"#,
            r#"{"log-opts":{"a=b":"c"}}"#,
            r#"{"runtimes":{"a=b":{"path":"/x"}}}"#,
            r#"{"runtimes":{"a":{"path":5}}}"#,
            r#"{"runtimes":{"a":{"path":"/x\n--flag"}}}"#,
            r#"{"runtimes":{"a":{"path":"/x","runtimeArgs":"--flag"}}}"#,
            r#"{"runtimes":{"a":{"path":"/x","runtimeArgs":["a\nb"]}}}"#,
            r#"{"default-ulimits":{"a=1:2":{"Soft":1,"Hard":1}}}"#,
            r#"{"default-ulimits":[1]}"#,
            r#"{"default-address-pools":[{"base":"10.0.0.0/8,size=9","size":24}]}"#,
            r#"{"default-address-pools":{"base":"10.0.0.0/8","size":24}}"#,
            "[]",
            "5",
            "{} {}",
        ] {
            assert!(set(bad).is_err(), "{bad}");
        }
        assert_eq!(set(r#"{"icc":null,"labels":null,"runtimes":null,"bip":null}"#), Ok(Config::default()));
    }

    fn odd() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(json!(null)),
            Just(json!(true)),
            Just(json!(-1)),
            Just(json!(1.5)),
            Just(json!(u64::MAX)),
            Just(json!("")),
            Just(json!([])),
            Just(json!({})),
            Just(json!(["a=b", "c=d"])),
            Just(json!([[]])),
            Just(json!({"a": {"path": "/x"}})),
            Just(json!({"nofile": {"Soft": 1, "Hard": 2}})),
            Just(json!([{"base": "10.0.0.0/8", "size": 24}])),
            Just(json!("1g")),
            Just(json!({"a": "b"})),
            any::<String>().prop_map(|s| json!(s)),
            any::<i64>().prop_map(|n| json!(n)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_file_is_read_or_refused(text in any::<String>(), like in "[\\[\\]{}\",:a-z0-9-]{0,60}") {
            let _ = (set(&text), set(&like));
        }

        #[test]
        fn what_is_set_is_what_was_said(keys in prop::collection::vec((any::<prop::sample::Index>(), odd()), 1..3)) {
            let known: Vec<&str> = OPTIONS.iter().filter_map(|e| e.key).collect();
            let object: serde_json::Map<String, Value> =
                keys.into_iter().map(|(at, v)| (known[at.index(known.len())].to_owned(), v)).collect();
            let said = Value::Object(object);
            let Ok(config) = set(&said.to_string()) else { return Ok(()) };
            let list = |key: &str| said[key].as_array().map_or(vec![], |l| l.iter().map(|v| v.as_str().map_or(v.to_string(), str::to_owned)).collect());
            prop_assert_eq!(&config.labels, &list("labels"));
            prop_assert_eq!(&config.dns_search, &list("dns-search"));
            prop_assert_eq!(&config.registry_mirrors, &list("registry-mirrors"));
            prop_assert_eq!(config.icc, said["icc"].as_bool().unwrap_or(true));
            prop_assert_eq!(config.debug, said["debug"].as_bool().unwrap_or(false));
            let names = |v: &Value| v.as_object().map_or(vec![], |o| o.keys().cloned().collect::<Vec<_>>());
            prop_assert_eq!(config.runtimes.keys().cloned().collect::<Vec<_>>(), names(&said["runtimes"]));
            prop_assert_eq!(config.ulimits.keys().cloned().collect::<Vec<_>>(), names(&said["default-ulimits"]));
            prop_assert_eq!(config.log_opts.keys().cloned().collect::<Vec<_>>(), names(&said["log-opts"]));
            prop_assert_eq!(config.address_pools.len(), said["default-address-pools"].as_array().map_or(0, Vec::len));
            prop_assert!(config.mtu >= 68 && config.data_root.is_absolute());
        }
    }
}
