//! Manifests, indexes and image configurations: bytes of anyone's. Read as every other reader would, or refused.

use oci::image::{Document, ImageConfig, media};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn digest(n: u8) -> String {
    format!("sha256:{}", format!("{n:02x}").repeat(32))
}

fn descriptor(media: &str, n: u8) -> Value {
    json!({"mediaType": media, "digest": digest(n), "size": u64::from(n), "annotations": {"a": "b", "A": "c"}, "urls": null})
}

fn manifest() -> Value {
    json!({"schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "config": descriptor(media::OCI_CONFIG, 1),
        "layers": [descriptor(media::OCI_LAYER_GZIP, 2), descriptor(media::OCI_LAYER_TAR, 3)],
        "annotations": {"org.example": "x", "Layers": "a word"}, "subject": descriptor(media::OCI_MANIFEST, 4)})
}

fn index() -> Value {
    let mut one = descriptor(media::OCI_MANIFEST, 5);
    one["platform"] =
        json!({"os": "linux", "architecture": "amd64", "variant": "v2", "os.version": "1", "os.features": ["x"]});
    json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": [one, descriptor(media::OCI_MANIFEST, 6)]})
}

fn config() -> Value {
    json!({"created": "2026-01-02T03:04:05Z", "author": "x", "architecture": "amd64", "os": "linux", "variant": "v2",
        "config": {"User": "me", "Env": ["A=b"], "Cmd": ["sh"], "Entrypoint": null, "Labels": {"a": "b"},
            "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/v": {}}, "WorkingDir": "/w", "StopSignal": "TERM",
            "Healthcheck": {"Test": ["NONE"]}, "Shell": ["sh"], "OnBuild": [], "ArgsEscaped": true},
        "rootfs": {"type": "layers", "diff_ids": [digest(1), digest(2)]},
        "history": [{"created": "2026-01-02T03:04:05Z", "created_by": "x", "empty_layer": true}, {"comment": "c"}],
        "docker_version": "28"})
}

/// Something else in a document's place.
fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        Just(json!(true)),
        Just(json!(-1)),
        Just(json!(1.5)),
        Just(json!(u64::MAX)),
        Just(json!("")),
        Just(json!("x\u{0}")),
        Just(json!([])),
        Just(json!({})),
        Just(json!([null])),
        Just(json!([[]])),
        Just(json!({"": 1})),
        Just(json!("sha256:../../x")),
        Just(json!(media::DOCKER_INDEX)),
        Just(json!(media::DOCKER_MANIFEST)),
        Just(manifest()),
        Just(index()),
        Just(descriptor("x", 9)),
        any::<i64>().prop_map(|n| json!(n)),
        any::<String>().prop_map(|s| json!(s)),
    ]
}

/// One change of a document at a place that `path` picks.
#[derive(Debug, Clone)]
struct Change {
    path: Vec<prop::sample::Index>,
    how: u8,
    odd: Value,
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = (prop::collection::vec(any::<prop::sample::Index>(), 1..5), 0u8..6, odd());
    prop::collection::vec(change.prop_map(|(path, how, odd)| Change { path, how, odd }), 0..3)
}

fn apply(value: &mut Value, change: &Change, depth: usize) {
    let last = depth + 1 >= change.path.len();
    let at = |len: usize| change.path[depth].index(len);
    match value {
        Value::Object(map) if !map.is_empty() => {
            let key = map.keys().nth(at(map.len())).unwrap().clone();
            match (last, change.how) {
                (false, _) => apply(map.get_mut(&key).unwrap(), change, depth + 1),
                (true, 0) => drop(map.remove(&key)),
                // The fields in their order, as a list.
                (true, 1) => *value = map.values().cloned().collect(),
                (true, 2) => {
                    let inner = map.remove(&key).unwrap();
                    map.insert(key.to_uppercase(), inner);
                }
                (true, 3) => drop(map.insert(change.odd.to_string(), change.odd.clone())),
                _ => drop(map.insert(key, change.odd.clone())),
            }
        }
        Value::Array(list) if !list.is_empty() => {
            let n = at(list.len());
            match (last, change.how) {
                (false, _) => apply(&mut list[n], change, depth + 1),
                (true, 0) => drop(list.remove(n)),
                (true, 1) => list.push(list[n].clone()),
                _ => list[n] = change.odd.clone(),
            }
        }
        other => *other = change.odd.clone(),
    }
}

/// What a careful reader without types takes a descriptor for.
fn naive_descriptor(v: &Value) -> Option<(String, String, u64)> {
    let object = v.as_object()?;
    let media = match object.get("mediaType") {
        None => "",
        Some(media) => media.as_str()?,
    };
    let digest = object.get("digest")?.as_str()?;
    let (name, hex) = digest.split_once(':')?;
    let length = match name {
        "sha256" => 64,
        "sha512" => 128,
        _ => return None,
    };
    let lower = hex.len() == length && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    lower.then_some((media.to_owned(), digest.to_owned(), object.get("size")?.as_u64()?))
}

/// The descriptors of a document of `content_type`, if it is one.
fn naive(v: &Value, content_type: &str) -> Option<Vec<(String, String, u64)>> {
    let object = v.as_object()?;
    if object.get("schemaVersion")?.as_u64()? != 2 {
        return None;
    }
    let has = |key: &str| object.get(key).is_some_and(|v| !v.is_null());
    if let Some(inside) = object.get("mediaType").filter(|m| !m.is_null())
        && inside.as_str()? != content_type
    {
        return None;
    }
    let all = |key: &str| object.get(key)?.as_array()?.iter().map(naive_descriptor).collect::<Option<Vec<_>>>();
    match content_type {
        media::OCI_MANIFEST if !has("manifests") => {
            let mut list = vec![naive_descriptor(object.get("config")?)?];
            list.extend(all("layers")?);
            Some(list)
        }
        media::OCI_INDEX if !has("layers") => all("manifests"),
        _ => None,
    }
}

fn flat(document: &Document) -> Vec<(String, String, u64)> {
    let all: Vec<_> = match document {
        Document::Manifest(m) => std::iter::once(&m.config).chain(&m.layers).collect(),
        Document::Index(i) => i.manifests.iter().collect(),
    };
    all.into_iter().map(|d| (d.media_type.clone(), d.digest.to_string(), d.size)).collect()
}

fn written(document: &Document) -> String {
    match document {
        Document::Manifest(m) => serde_json::to_string(m).unwrap(),
        Document::Index(i) => serde_json::to_string(i).unwrap(),
    }
}

/// What holds of whatever is accepted.
fn sound(bytes: &[u8], content_type: &str) -> Result<bool, TestCaseError> {
    let Ok(document) = Document::parse(bytes, content_type) else { return Ok(false) };
    let value: Value = serde_json::from_slice(bytes).unwrap();
    prop_assert_eq!(Some(flat(&document)), naive(&value, content_type), "{}", value);
    prop_assert_eq!(Document::parse(written(&document).as_bytes(), content_type), Ok(document));
    for other in [media::OCI_MANIFEST, media::OCI_INDEX, media::DOCKER_MANIFEST, media::DOCKER_INDEX] {
        if other != content_type && value["mediaType"].is_string() {
            prop_assert!(Document::parse(bytes, other).is_err(), "as {}: {}", other, value);
        }
    }
    Ok(true)
}

/// The same object with one of its keys said once more.
fn twice(value: &Value, pick: &prop::sample::Index) -> String {
    let map = value.as_object().unwrap();
    let (key, _) = map.iter().nth(pick.index(map.len())).unwrap();
    let text = value.to_string();
    format!("{},{}:{}}}", text.strip_suffix('}').unwrap(), json!(key), json!(null))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[\\[\\]{}\",:a-z0-9]{0,80}") {
        for bytes in [&bytes[..], text.as_bytes()] {
            for kind in [media::OCI_MANIFEST, media::OCI_INDEX, "", "text/html"] {
                prop_assert!(!sound(bytes, kind)?);
            }
            prop_assert!(ImageConfig::parse(bytes).is_err());
        }
    }

    #[test]
    fn changed_documents(list: bool, changes in changes(), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..2)) {
        let (mut value, kind) = if list { (index(), media::OCI_INDEX) } else { (manifest(), media::OCI_MANIFEST) };
        changes.iter().for_each(|change| apply(&mut value, change, 0));
        let mut bytes = value.to_string().into_bytes();
        let accepted = sound(&bytes, kind)?;
        prop_assert!(accepted || !changes.is_empty());
        for (at, byte) in &flips {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        sound(&bytes, kind)?;
    }

    #[test]
    fn what_two_readers_may_read_differently(list: bool, pick: prop::sample::Index, inner: prop::sample::Index) {
        let (value, kind) = if list { (index(), media::OCI_INDEX) } else { (manifest(), media::OCI_MANIFEST) };
        let sound = value.to_string();
        prop_assert!(Document::parse(sound.as_bytes(), kind).is_ok());
        // A key said twice, at the top and below; a key of another case.
        let below = if list { &value["manifests"][0] } else { &value["layers"][0] };
        let deep = sound.replacen(&below.to_string(), &twice(below, &inner), 1);
        let notes = sound.replacen(r#""a":"b""#, r#""a":"b","a":"d""#, 1);
        let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
        let key = keys[pick.index(keys.len())];
        let capital = format!("{}{}", key[..1].to_uppercase(), &key[1..]);
        let cased = format!("{},{}:null}}", sound.strip_suffix('}').unwrap(), json!(capital));
        let kelvin = format!("{},\"\u{17f}ize\":1}}", sound.strip_suffix('}').unwrap());
        let all = [twice(&value, &pick), deep, notes, cased, kelvin, format!("\u{feff}{sound}"), format!("{sound}{sound}"),
            format!("{sound}x"), format!("[{sound}]"), format!("{sound}\0")];
        for text in all {
            prop_assert!(Document::parse(text.as_bytes(), kind).is_err(), "{}", text);
        }
    }

    #[test]
    fn changed_configurations(changes in changes(), pick: prop::sample::Index) {
        let mut value = config();
        changes.iter().for_each(|change| apply(&mut value, change, 0));
        let Ok(read) = ImageConfig::parse(value.to_string().as_bytes()) else {
            prop_assert!(!changes.is_empty());
            return Ok(());
        };
        let ids: Vec<String> = read.rootfs.diff_ids.iter().map(ToString::to_string).collect();
        let list = |v: &Value| v.as_array().map_or(Some(vec![]), |a| a.iter().map(|s| Some(s.as_str()?.to_owned())).collect());
        prop_assert_eq!(Some(ids), list(&value["rootfs"]["diff_ids"]));
        prop_assert_eq!(Some(read.config.env.clone()), list(&value["config"]["Env"]));
        prop_assert_eq!(&read.config.user, value["config"]["User"].as_str().unwrap_or_default());
        prop_assert_eq!(&read.platform.os, value["os"].as_str().unwrap_or_default());
        let labels: Value = read.config.labels.iter().map(|(k, v)| (k.clone(), json!(v))).collect::<serde_json::Map<_, _>>().into();
        let said = &value["config"]["Labels"];
        prop_assert_eq!(&labels, if said.is_null() { &json!({}) } else { said });
        prop_assert_eq!(read.history.len(), value["history"].as_array().map_or(0, Vec::len));
        for object in ["config", "rootfs"] {
            prop_assert!(value[object].is_object() || value[object].is_null(), "{}", value);
        }
        let again = serde_json::to_vec(&read).unwrap();
        prop_assert_eq!(ImageConfig::parse(&again).unwrap(), read);
        if !value.as_object().unwrap().is_empty() {
            let known = ["architecture", "os", "config", "rootfs", "history", "created"];
            let key = known[pick.index(known.len())];
            if value.get(key).is_some_and(|v| !v.is_null()) {
                let text = value.to_string();
                let twice = format!("{},{}:{}}}", text.strip_suffix('}').unwrap(), json!(key), value[key]);
                prop_assert!(ImageConfig::parse(twice.as_bytes()).is_err(), "{}", twice);
            }
        }
    }
}

/// What is as large as a registry may send, or as deep, is read or refused at once.
#[test]
fn size_and_depth_cost_little() {
    let begun = Instant::now();
    for open in ["[", "{\"layers\":", "{\"annotations\":{\"a\":[", "{\"config\":"] {
        let deep = open.repeat(100_000);
        assert!(Document::parse(deep.as_bytes(), media::OCI_MANIFEST).is_err());
        assert!(ImageConfig::parse(deep.as_bytes()).is_err());
    }
    let mut wide = index();
    wide["manifests"] = (0..10_000).map(|n| descriptor(media::OCI_MANIFEST, n as u8)).collect();
    let wide = wide.to_string();
    assert!(Document::parse(wide.as_bytes(), media::OCI_INDEX).is_ok());
    let keys: String = (0..200_000).map(|n| format!(",\"k{n}\":0")).collect();
    let many = manifest().to_string().replacen('}', &format!("{keys}}}"), 1);
    let _ = Document::parse(many.as_bytes(), media::OCI_MANIFEST);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
