//! A seccomp profile as Docker's clients send it: JSON, conditions by capability, machine and kernel included.

use super::{Conditional, Facts};
use oci::runtime::{Seccomp, SyscallArg, SyscallRule};
use serde::{Deserialize, Deserializer};

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

pub(super) fn parse(json: &str, facts: Facts) -> Result<Option<Seccomp>, String> {
    if json.len() > MAX_LENGTH {
        return Err(format!("seccomp profile of {} bytes is larger than {MAX_LENGTH}", json.len()));
    }
    // serde would read a list as the fields in their order.
    if !json.trim_start().starts_with('{') {
        return Err("a seccomp profile is a JSON object".into());
    }
    let profile: Profile = serde_json::from_str(json).map_err(|e| e.to_string())?;
    if profile.default_action.is_empty() && profile.syscalls.is_empty() {
        return Ok(None);
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
    Ok(Some(out))
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
    let major = parts.next()?.parse().ok()?;
    let minor: String = parts.next()?.chars().take_while(char::is_ascii_digit).collect();
    Some((major, minor.parse().ok()?))
}
