//! What clients send: bodies, headers, filters. Anything is read as it was meant or refused, and never as something else.

use api::auth::AuthConfig;
use api::container::{CreateContainer, PathStat, UpdateContainer, go_mode};
use api::exec::{CreateExec, StartExec};
use api::filters::Filters;
use api::volume::CreateVolume;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn create() -> Value {
    serde_json::from_str(include_str!("../src/samples/create.json")).unwrap()
}

/// More of what a body of create may hold than Docker's client sends.
fn rich() -> Value {
    json!({"Image": "busybox", "Cmd": ["true"], "Entrypoint": "sh", "Env": ["A=b"], "User": "0", "Labels": {"a": "b"},
        "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/v": {}}, "StopTimeout": 1, "Tty": true,
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5, "Retries": 3},
        "HostConfig": {"Binds": ["vol:/data:ro"], "Memory": 67108864, "NanoCpus": 500000000, "PidsLimit": 50,
            "Mounts": [{"Type": "tmpfs", "Target": "/tmp", "ReadOnly": true, "TmpfsOptions": {"SizeBytes": 5}},
                {"Type": "bind", "Source": "/a", "Target": "/b", "BindOptions": {"Propagation": "rslave"}}],
            "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]},
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}, "Sysctls": {"net.core.somaxconn": "1"},
            "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}], "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
            "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/n", "CgroupPermissions": "rwm"}],
            "ConsoleSize": [24, 80], "Init": false, "Tmpfs": {"/run": "size=1m"}, "MaskedPaths": [], "Privileged": true},
        "NetworkingConfig": {"EndpointsConfig": {"bridge": {"IPAMConfig": {"IPv4Address": "10.0.0.2"}, "Aliases": ["x"]}}}})
}

fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        Just(json!(true)),
        Just(json!(0)),
        Just(json!(-1)),
        Just(json!(1.5)),
        Just(json!(1e300)),
        Just(json!(i64::MIN)),
        Just(json!(u64::MAX)),
        Just(json!("")),
        Just(json!("x\u{0}\n")),
        Just(json!([])),
        Just(json!({})),
        Just(json!([null])),
        Just(json!([[]])),
        Just(json!({"": null})),
        Just(json!(["x", "y"])),
        Just(json!([1, 2])),
        Just(json!({"Name": "x"})),
        any::<i64>().prop_map(|n| json!(n)),
        any::<String>().prop_map(|s| json!(s)),
    ]
}

/// Where, how, with what.
type Change = (Vec<prop::sample::Index>, u8, Value);

fn changes() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec((prop::collection::vec(any::<prop::sample::Index>(), 1..5), 0u8..5, odd()), 0..4)
}

fn apply(value: &mut Value, (path, how, odd): &Change, depth: usize) {
    let last = depth + 1 >= path.len();
    match value {
        Value::Object(map) if !map.is_empty() => {
            let key = map.keys().nth(path[depth].index(map.len())).unwrap().clone();
            match (last, how) {
                (false, _) => apply(map.get_mut(&key).unwrap(), &(path.clone(), *how, odd.clone()), depth + 1),
                (true, 0) => drop(map.remove(&key)),
                // The fields in their order, as a list.
                (true, 1) => *value = map.values().cloned().collect(),
                (true, 2) => drop(map.insert(format!("{key}X"), odd.clone())),
                _ => drop(map.insert(key, odd.clone())),
            }
        }
        Value::Array(list) if !list.is_empty() => {
            let n = path[depth].index(list.len());
            match (last, how) {
                (false, _) => apply(&mut list[n], &(path.clone(), *how, odd.clone()), depth + 1),
                (true, 0) => drop(list.remove(n)),
                _ => list[n] = odd.clone(),
            }
        }
        other => *other = odd.clone(),
    }
}

fn nothing(v: &Value) -> bool {
    match v {
        Value::Null | Value::Bool(false) => true,
        Value::Number(n) => n.as_i64() == Some(0),
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.iter().all(nothing),
        Value::Object(o) => o.values().all(nothing),
        Value::Bool(true) => false,
    }
}

/// Whether `read`, which is what was understood, says what `sent` says. Null is the default; what is unknown is left out.
fn agrees(sent: &Value, read: &Value) -> bool {
    match (sent, read) {
        (Value::Null, read) => nothing(read),
        (Value::Object(sent), Value::Object(read)) => read.iter().all(|(key, read)| match sent.get(key) {
            Some(sent) => agrees(sent, read),
            None => nothing(read),
        }),
        (Value::Array(sent), Value::Array(read)) => {
            sent.len() == read.len() && sent.iter().zip(read).all(|(sent, read)| agrees(sent, read))
        }
        // Docker's strslice.
        (Value::String(sent), Value::Array(read)) => read.len() == 1 && read[0] == **sent,
        (sent, read) => sent == read,
    }
}

fn sound<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<bool, TestCaseError> {
    let Ok(read) = serde_json::from_slice::<T>(bytes) else { return Ok(false) };
    let sent: Value = serde_json::from_slice(bytes).unwrap();
    let written = serde_json::to_value(&read).unwrap();
    prop_assert!(agrees(&sent, &written), "sent {}\nread {}", sent, written);
    // What is left out when it is empty is nil afterwards; the text is the same.
    let again = serde_json::from_value::<T>(written.clone()).unwrap();
    prop_assert_eq!(serde_json::to_value(&again).unwrap(), written);
    Ok(true)
}

fn changed<T: Serialize + DeserializeOwned>(mut value: Value, changes: &[Change]) -> Result<(), TestCaseError> {
    changes.iter().for_each(|change| apply(&mut value, change, 0));
    let accepted = sound::<T>(value.to_string().as_bytes())?;
    prop_assert!(accepted || !changes.is_empty(), "{}", value);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bodies_of_create(changes in changes()) {
        changed::<CreateContainer>(create(), &changes)?;
        changed::<CreateContainer>(rich(), &changes)?;
    }

    #[test]
    fn other_bodies(changes in changes()) {
        changed::<CreateExec>(json!({"User": "0", "Privileged": true, "Tty": true, "ConsoleSize": [24, 80], "Env": ["A=b"],
            "AttachStdin": true, "Cmd": ["sh"], "DetachKeys": "ctrl-p", "WorkingDir": "/"}), &changes)?;
        changed::<StartExec>(json!({"Detach": true, "Tty": false, "ConsoleSize": [24, 80]}), &changes)?;
        changed::<UpdateContainer>(json!({"Memory": 5, "CpuShares": 5, "PidsLimit": 5, "BlkioWeightDevice": [{"Path": "/x",
            "Weight": 5}], "RestartPolicy": {"Name": "always", "MaximumRetryCount": 0}}), &changes)?;
        changed::<CreateVolume>(json!({"Name": "v", "Driver": "local", "Labels": {"a": "b"}, "DriverOpts": {"o": "bind"}}), &changes)?;
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..100), text in "[\\[\\]{}\",:a-zA-Z0-9]{0,60}") {
        for bytes in [&bytes[..], text.as_bytes()] {
            sound::<CreateContainer>(bytes)?;
            sound::<CreateExec>(bytes)?;
            sound::<UpdateContainer>(bytes)?;
            if let Ok(text) = std::str::from_utf8(bytes) {
                let _ = (Filters::parse(text), AuthConfig::from_header(text), PathStat::from_header(text));
            }
        }
    }

    #[test]
    fn headers_both_ways(name: String, target: String, size: i64, mode: u32, user: String, password: String, cut: prop::sample::Index, byte in 0x20u8..0x7f) {
        let stat = PathStat { name, size, mode, mtime: "2026-01-05T10:11:12Z".into(), link_target: target };
        let header = stat.to_header();
        prop_assert!(header.is_ascii() && !header.contains(['\r', '\n']));
        prop_assert_eq!(PathStat::from_header(&header), Some(stat.clone()));
        let auth = AuthConfig { username: user, password, ..AuthConfig::default() };
        let secret = auth.to_header();
        prop_assert_eq!(AuthConfig::from_header(&secret), Ok(auth));
        for text in [header, secret] {
            let at = cut.index(text.len());
            let mut bent = text.clone().into_bytes();
            bent[at] = byte;
            for text in [text[..at].to_owned(), String::from_utf8(bent).unwrap()] {
                let _ = (PathStat::from_header(&text), AuthConfig::from_header(&text));
            }
        }
        // A mode has one type, and its permissions are the file's.
        let go = go_mode::from_unix(mode);
        prop_assert_eq!(go & 0o777, mode & 0o777);
        prop_assert_eq!(go & go_mode::DIR != 0, mode & 0o170000 == 0o040000);
    }

    #[test]
    fn filters_mean_what_they_say(
        list in prop::collection::btree_map("[a-z]{1,6}", prop::collection::btree_set(".{0,6}", 0..3), 0..4),
        change in changes(),
    ) {
        // Both forms, and what is sent is what is read.
        let lists = json!(list);
        let sets: Value = list.iter().map(|(k, v)| (k.clone(), v.iter().map(|v| (v.clone(), json!(true))).collect()))
            .collect::<serde_json::Map<_, _>>().into();
        for form in [lists, sets] {
            let filters = Filters::parse(&form.to_string()).unwrap();
            let read: std::collections::BTreeMap<_, std::collections::BTreeSet<_>> =
                filters.keys().map(|k| (k.to_owned(), filters.get(k).map(str::to_owned).collect())).collect();
            prop_assert_eq!(&read, &list);
            prop_assert_eq!(&Filters::parse(&filters.to_query()).unwrap(), &filters);
            let mut bent = form.clone();
            change.iter().for_each(|change| apply(&mut bent, change, 0));
            if let Ok(filters) = Filters::parse(&bent.to_string()) {
                prop_assert!(bent.is_object() || bent.is_null() , "{}", bent);
                for (key, value) in bent.as_object().into_iter().flatten() {
                    let said: std::collections::BTreeSet<&str> = match value {
                        Value::Array(all) => all.iter().map(|v| v.as_str().unwrap()).collect(),
                        Value::Object(all) => all.keys().map(String::as_str).collect(),
                        Value::Null => Default::default(),
                        other => panic!("accepted {other}"),
                    };
                    prop_assert_eq!(filters.get(key).collect::<std::collections::BTreeSet<_>>(), said, "{} of {}", key, bent);
                }
            }
        }
    }
}

#[test]
fn depth_and_length_end() {
    let deep = format!("{{\"Labels\":{}", "{\"a\":".repeat(100_000));
    assert!(serde_json::from_str::<CreateContainer>(&deep).is_err());
    assert!(Filters::parse(&"[".repeat(100_000)).is_err());
    let many: Value = (0..20_000).map(|n| (format!("k{n}"), json!("v"))).collect::<serde_json::Map<_, _>>().into();
    let body = json!({"Image": "x", "Labels": many}).to_string();
    assert_eq!(serde_json::from_str::<CreateContainer>(&body).unwrap().config.labels.len(), 20_000);
}
