//! features: what this runtime can, as runtime-spec's features.md has it.

use super::Result;
use super::show::{out, pretty};
use serde_json::json;

/// The version of runtime-spec that this follows.
pub const SPEC: &str = "1.3.0";

/// `features`
pub fn print() -> Result<i32> {
    let capabilities: Vec<String> = runtime::capability_names().map(|name| format!("CAP_{name}")).collect();
    let enabled = |yes: bool| json!({"enabled": yes});
    let features = json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": SPEC,
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": runtime::mount_options(),
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
            "capabilities": capabilities,
            "cgroup": {"v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true},
            "seccomp": {
                "enabled": true,
                "actions": [
                    "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
                    "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP",
                ],
                "operators": [
                    "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ",
                    "SCMP_CMP_NE",
                ],
                "archs": [
                    "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_RISCV64", "SCMP_ARCH_X32", "SCMP_ARCH_X86",
                    "SCMP_ARCH_X86_64",
                ],
                "knownFlags": runtime::seccomp::FLAGS.map(|(name, _)| name),
                "supportedFlags": runtime::seccomp::FLAGS.map(|(name, _)| name),
            },
            "apparmor": enabled(true),
            "selinux": enabled(true),
            "intelRdt": enabled(false),
            "memoryPolicy": {
                "modes": [
                    "MPOL_BIND", "MPOL_DEFAULT", "MPOL_INTERLEAVE", "MPOL_LOCAL", "MPOL_PREFERRED",
                    "MPOL_PREFERRED_MANY", "MPOL_WEIGHTED_INTERLEAVE",
                ],
                "flags": ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"],
            },
            "mountExtensions": {"idmap": enabled(runtime::IDMAP)},
            "netDevices": enabled(runtime::NET_DEVICES),
        },
        "annotations": {"org.opencontainers.runc.checkpoint.enabled": "false"},
    });
    out(&pretty(&features)?)?;
    Ok(0)
}
