//! A seccomp profile as Docker's clients send it: JSON, conditions by capability, machine and kernel included.

use super::{Conditional, Facts};
use oci::runtime::{Seccomp, SyscallArg, SyscallRule};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The longest profile read: Docker's own has 12 KiB.
const MAX_LENGTH: usize = 1 << 20;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Profile {
    #[serde(deserialize_with = "null")]
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(deserialize_with = "null")]
    architectures: Vec<String>,
    #[serde(deserialize_with = "null")]
    arch_map: Vec<ArchMap>,
    #[serde(deserialize_with = "null")]
    flags: Vec<String>,
    listener_path: Option<std::path::PathBuf>,
    listener_metadata: Option<String>,
    #[serde(deserialize_with = "null")]
    syscalls: Vec<Call>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ArchMap {
    architecture: String,
    #[serde(deserialize_with = "null")]
    sub_architectures: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Call {
    #[serde(deserialize_with = "null")]
    name: String,
    #[serde(deserialize_with = "null")]
    names: Vec<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(deserialize_with = "null")]
    args: Vec<Arg>,
    #[serde(deserialize_with = "null")]
    includes: Filter,
    #[serde(deserialize_with = "null")]
    excludes: Filter,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Arg {
    index: u32,
    value: u64,
    #[serde(deserialize_with = "null")]
    value_two: u64,
    op: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Filter {
    #[serde(deserialize_with = "null")]
    caps: Vec<String>,
    #[serde(deserialize_with = "null")]
    arches: Vec<String>,
    #[serde(deserialize_with = "null")]
    min_kernel: String,
}

fn null<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

const ACTIONS: [&str; 9] = [
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
];

const OPERATORS: [&str; 7] =
    ["SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"];

/// Every key of a profile.
const KEYS: [&str; 22] = [
    "defaultAction",
    "defaultErrnoRet",
    "architectures",
    "archMap",
    "flags",
    "listenerPath",
    "listenerMetadata",
    "syscalls",
    "architecture",
    "subArchitectures",
    "name",
    "names",
    "action",
    "errnoRet",
    "args",
    "includes",
    "excludes",
    "index",
    "value",
    "valueTwo",
    "op",
    "minKernel",
];

pub(super) fn parse(json: &str, facts: Facts) -> Result<Seccomp, String> {
    if json.len() > MAX_LENGTH {
        return Err(format!("seccomp profile of {} bytes is larger than {MAX_LENGTH}", json.len()));
    }
    // serde would read a list as the fields in their order.
    if !json.trim_start().starts_with('{') {
        return Err("a seccomp profile is a JSON object".into());
    }
    let profile: Profile = serde_json::from_str(json).map_err(|e| e.to_string())?;
    strict(&serde_json::from_str(json).map_err(|e| e.to_string())?)?;
    // For runc one without rules too is no filter at all: whoever wants none says `unconfined`.
    if profile.default_action.is_empty() {
        return Err("a seccomp profile without defaultAction is none".into());
    }
    if !profile.architectures.is_empty() && !profile.arch_map.is_empty() {
        return Err("both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or 'archMap'".into());
    }
    let mut out = Seccomp {
        default_action: action(&profile.default_action)?,
        default_errno_ret: profile.default_errno_ret,
        architectures: profile.architectures,
        flags: profile.flags,
        listener_path: profile.listener_path,
        listener_metadata: profile.listener_metadata,
        syscalls: vec![],
    };
    let native = super::architectures(facts.arch);
    if let Some(map) = profile.arch_map.into_iter().find(|m| native.first() == Some(&m.architecture)) {
        out.architectures.push(map.architecture);
        out.architectures.extend(map.sub_architectures);
    }
    for call in profile.syscalls {
        if let Some(rule) = conditional(call)?.applied(facts) {
            out.syscalls.push(rule);
        }
    }
    Ok(out)
}

/// What serde takes and Go does not, or the other way round: a list in place of an object is its fields in their order, and a
/// key in another case is the key. Either would leave out a part of the profile.
fn strict(value: &Value) -> Result<(), String> {
    let all = match value {
        Value::Array(list) => return list.iter().try_for_each(strict),
        Value::Object(map) => map,
        _ => return Ok(()),
    };
    for (key, inner) in all {
        if let Some(known) = KEYS.iter().find(|known| *known != key && known.eq_ignore_ascii_case(key)) {
            return Err(format!("seccomp profile: {key:?} is no key of it, {known:?} is"));
        }
        let shape = match (key.as_str(), inner) {
            (_, Value::Null) => true,
            ("includes" | "excludes", inner) => inner.is_object(),
            ("archMap" | "syscalls" | "args", Value::Array(list)) => list.iter().all(Value::is_object),
            _ => true,
        };
        if !shape {
            return Err(format!("seccomp profile: {key:?} is no object, or no list of objects"));
        }
        strict(inner)?;
    }
    Ok(())
}

fn conditional(call: Call) -> Result<Conditional, String> {
    let names = match (call.name.is_empty(), call.names.is_empty()) {
        (false, false) => {
            return Err(
                "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'".into()
            );
        }
        (false, true) => vec![call.name],
        (true, _) => call.names,
    };
    let args = call.args.into_iter().map(argument).collect::<Result<_, _>>()?;
    Ok(Conditional {
        rule: SyscallRule { names, action: action(&call.action)?, errno_ret: call.errno_ret, args },
        with_caps: call.includes.caps,
        without_caps: call.excludes.caps,
        arches: call.includes.arches,
        not_arches: call.excludes.arches,
        min_kernel: release(&call.includes.min_kernel)?,
        max_kernel: release(&call.excludes.min_kernel)?,
    })
}

fn argument(arg: Arg) -> Result<SyscallArg, String> {
    if arg.index > 5 {
        return Err(format!("seccomp profile: a system call has no argument {}", arg.index));
    }
    if !OPERATORS.contains(&arg.op.as_str()) {
        return Err(format!("seccomp profile: unknown operator {:?}", arg.op));
    }
    Ok(SyscallArg { index: arg.index, value: arg.value, value_two: Some(arg.value_two), op: arg.op })
}

fn action(name: &str) -> Result<String, String> {
    match ACTIONS.contains(&name) {
        true => Ok(name.to_owned()),
        false => Err(format!("seccomp profile: unknown action {name:?}")),
    }
}

fn release(text: &str) -> Result<Option<(u32, u32)>, String> {
    match text {
        "" => Ok(None),
        text => kernel(text).map(Some).ok_or_else(|| format!("invalid kernel version: {text:?}")),
    }
}

/// `X.Y…` as numbers.
pub(crate) fn kernel(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.');
    let major = parts.next().filter(|t| t.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?;
    let minor: String = parts.next()?.chars().take_while(char::is_ascii_digit).collect();
    Some((major, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn rich() -> Value {
        json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
        "syscalls": [
            {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW", "args": null, "comment": "", "includes": {}, "excludes": {}},
            {"name": "socket", "action": "SCMP_ACT_ERRNO", "errnoRet": 22,
                "args": [{"index": 0, "value": 40, "valueTwo": 0, "op": "SCMP_CMP_NE"}]},
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"], "minKernel": "4.8"}},
            {"names": ["bpf"], "action": "SCMP_ACT_KILL", "excludes": {"caps": ["CAP_BPF"], "arches": ["s390x"]}}
        ]})
    }

    fn odd() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(json!(null)),
            Just(json!(-1)),
            Just(json!(7)),
            Just(json!(u64::MAX)),
            Just(json!("")),
            Just(json!("SCMP_ACT_WHAT")),
            Just(json!("SCMP_ACT_LOG")),
            Just(json!([])),
            Just(json!({})),
            Just(json!([[]])),
            Just(json!([0, 1, 2, "SCMP_CMP_EQ"])),
            Just(json!(["CAP_CHOWN"])),
            Just(json!("99.0")),
            Just(json!("+4.8")),
            Just(json!("4.8-rc1")),
            Just(json!("4")),
            any::<u8>().prop_map(|n| json!(n)),
        ]
    }

    fn apply(value: &mut Value, path: &[prop::sample::Index], how: u8, odd: &Value) {
        let Some((first, rest)) = path.split_first() else { return *value = odd.clone() };
        match value {
            Value::Object(map) if !map.is_empty() => {
                let key = map.keys().nth(first.index(map.len())).unwrap().clone();
                match (rest.is_empty(), how) {
                    (true, 0) => drop(map.remove(&key)),
                    (true, 1) => *value = map.values().cloned().collect(),
                    (true, 2) => {
                        let inner = map.remove(&key).unwrap();
                        map.insert(key.to_uppercase(), inner);
                    }
                    _ => apply(map.get_mut(&key).unwrap(), rest, how, odd),
                }
            }
            Value::Array(list) if !list.is_empty() => {
                let n = first.index(list.len());
                apply(&mut list[n], rest, how, odd);
            }
            other => *other = odd.clone(),
        }
    }

    fn strings(v: Option<&Value>) -> Vec<String> {
        v.and_then(Value::as_array).map_or(vec![], |a| a.iter().map(|s| s.as_str().unwrap().to_owned()).collect())
    }

    /// Whether a rule stands, read off the JSON by hand.
    fn stands(call: &Value, facts: Facts) -> bool {
        let part = |side: &str, key: &str| strings(call.get(side).and_then(|f| f.get(key)));
        let has = |c: &String| facts.capabilities.contains(c);
        let release = |side: &str| {
            let text = call.get(side)?.get("minKernel")?.as_str().filter(|t| !t.is_empty())?;
            let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse::<u32>().unwrap());
            Some((numbers.next().unwrap(), numbers.next().unwrap()))
        };
        let arches = part("includes", "arches");
        part("includes", "caps").iter().all(has)
            && !part("excludes", "caps").iter().any(has)
            && (arches.is_empty() || arches.iter().any(|a| a == facts.arch))
            && !part("excludes", "arches").iter().any(|a| a == facts.arch)
            && release("includes").is_none_or(|min| facts.kernel >= min)
            && release("excludes").is_none_or(|max| facts.kernel < max)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_changed_profile_means_what_it_says_or_is_refused(
            changes in prop::collection::vec((prop::collection::vec(any::<prop::sample::Index>(), 1..5), 0u8..6, odd()), 0..4),
            admin: bool, kernel in (3u32..7, 0u32..20),
        ) {
            let mut value = rich();
            for (path, how, odd) in &changes {
                apply(&mut value, path, *how, odd);
            }
            let capabilities = if admin { vec!["CAP_SYS_ADMIN".to_owned(), "CAP_BPF".to_owned()] } else { vec![] };
            let facts = Facts { capabilities: &capabilities, arch: "amd64", kernel };
            let read = match parse(&value.to_string(), facts) {
                Ok(read) => read,
                Err(_) => {
                    prop_assert!(!changes.is_empty());
                    return Ok(());
                }
            };
            prop_assert_eq!(Some(read.default_action.as_str()), value["defaultAction"].as_str());
            prop_assert_eq!(&read.flags, &strings(value.get("flags")));
            let none = Vec::new();
            let calls: Vec<&Value> = value["syscalls"].as_array().unwrap_or(&none).iter().filter(|c| stands(c, facts)).collect();
            prop_assert_eq!(calls.len(), read.syscalls.len(), "{}", value);
            for (call, rule) in calls.into_iter().zip(&read.syscalls) {
                let mut names = strings(call.get("names"));
                names.extend(call.get("name").and_then(Value::as_str).filter(|n| !n.is_empty()).map(str::to_owned));
                prop_assert_eq!(&rule.names, &names);
                prop_assert_eq!(Some(rule.action.as_str()), call["action"].as_str());
                prop_assert_eq!(rule.errno_ret.map(u64::from), call["errnoRet"].as_u64());
                let args = call["args"].as_array().unwrap_or(&none);
                prop_assert_eq!(rule.args.len(), args.len());
                for (arg, read) in args.iter().zip(&rule.args) {
                    prop_assert!(read.index < 6 && OPERATORS.contains(&read.op.as_str()));
                    prop_assert_eq!(Some(read.value), arg.get("value").map_or(Some(0), Value::as_u64));
                    prop_assert_eq!(u64::from(read.index), arg.get("index").map_or(0, |v| v.as_u64().unwrap()));
                }
            }
        }

        #[test]
        fn any_text_is_a_profile_or_none(text in any::<String>(), json in "[\\[\\]{}\",:a-z0-9]{0,60}") {
            let facts = Facts { capabilities: &[], arch: "amd64", kernel: (6, 1) };
            let _ = (parse(&text, facts), parse(&json, facts));
            let _ = kernel(&text);
        }
    }

    #[test]
    fn nothing_of_a_profile_is_left_out_silently() {
        let facts = Facts { capabilities: &[], arch: "amd64", kernel: (6, 1) };
        for bad in [
            r#"{"defaultAction":"SCMP_ACT_ALLOW","Syscalls":[{"names":["mount"],"action":"SCMP_ACT_ERRNO"}]}"#,
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mount"],"action":"SCMP_ACT_ERRNO","Args":[]}]}"#,
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[["","mount","SCMP_ACT_ERRNO"]]}"#,
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mount"],"action":"SCMP_ACT_ERRNO","includes":[]}]}"#,
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["a"],"action":"SCMP_ACT_ERRNO","includes":{"minKernel":"+5.1"}}]}"#,
        ] {
            assert!(parse(bad, facts).is_err(), "{bad}");
        }
        let long = format!("{{\"defaultAction\":\"{}\"}}", "x".repeat(MAX_LENGTH));
        assert!(parse(&long, facts).unwrap_err().contains("larger than"));
        assert!(parse(&"{\"syscalls\":[".repeat(50_000), facts).is_err());
    }
}
