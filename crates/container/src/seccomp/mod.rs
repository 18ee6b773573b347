//! Seccomp profiles: our default as a table, a client's as JSON, both filtered by capabilities, machine and kernel.

mod profile;
pub(crate) use profile::kernel;
mod table;

use oci::runtime::{Seccomp, SyscallArg, SyscallRule};

/// What decides which rules of a profile apply.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The bounding set of the container, names such as `CAP_CHOWN`.
    pub capabilities: &'a [String],
    /// Name of the machine as profiles write it: `amd64`, `arm64`, `x86` …
    pub arch: &'a str,
    /// Major and minor of the running kernel.
    pub kernel: (u32, u32),
}

/// The default profile.
pub fn default(facts: Facts) -> Seccomp {
    let mut out = Seccomp {
        default_action: "SCMP_ACT_ERRNO".into(),
        default_errno_ret: Some(rustix::io::Errno::PERM.raw_os_error() as u32),
        architectures: architectures(facts.arch),
        ..Seccomp::default()
    };
    for rule in table::rules() {
        if let Some(rule) = rule.applied(facts) {
            out.syscalls.push(rule);
        }
    }
    out
}

/// What the profile `strict` lets through: the default without what looks into other processes' memory or hides it from the
/// kernel, and with the sockets that programs of a network use. A capability opens what it is for.
pub fn strict(facts: Facts) -> Seccomp {
    const NETLINK: u64 = 16;
    const PACKET: u64 = 17;
    let has = |cap: &str| facts.capabilities.iter().any(|c| c == cap);
    let looks = ["ptrace", "process_vm_readv", "process_vm_writev"];
    let kept = |name: &String| match name.as_str() {
        "memfd_secret" | "socket" => false,
        name => has("CAP_SYS_PTRACE") || !looks.contains(&name),
    };
    let mut out = default(facts);
    for rule in &mut out.syscalls {
        rule.names.retain(kept);
    }
    out.syscalls.retain(|rule| !rule.names.is_empty());
    let mut socket = |args: Vec<SyscallArg>| {
        let (names, action) = (vec!["socket".to_owned()], "SCMP_ACT_ALLOW".to_owned());
        out.syscalls.push(SyscallRule { names, action, errno_ret: None, args });
    };
    // The kernel reads 32 bits of it.
    let word = |index: u32, value: u64| masked(index, 0xffff_ffff, value);
    for family in [1, 2, 10] {
        socket(vec![word(0, family)]);
    }
    match has("CAP_NET_ADMIN") {
        true => socket(vec![word(0, NETLINK)]),
        // Routes and addresses: what names and interfaces are asked for.
        false => socket(vec![word(0, NETLINK), word(2, 0)]),
    }
    if has("CAP_NET_RAW") {
        socket(vec![word(0, PACKET)]);
    }
    out
}

/// A profile that a client sent.
///
/// # Errors
/// When the text is not a profile, or asks for something unknown: nothing of a security profile is skipped silently.
pub fn parse(json: &str, facts: Facts) -> Result<Seccomp, String> {
    profile::parse(json, facts)
}

/// A rule with the conditions under which it stands.
#[derive(Debug, Clone, PartialEq)]
struct Conditional {
    rule: SyscallRule,
    with_caps: Vec<String>,
    without_caps: Vec<String>,
    arches: Vec<String>,
    not_arches: Vec<String>,
    min_kernel: Option<(u32, u32)>,
    max_kernel: Option<(u32, u32)>,
}

impl Conditional {
    fn applied(&self, facts: Facts) -> Option<SyscallRule> {
        let has = |cap: &String| facts.capabilities.contains(cap);
        let on = |list: &[String]| list.iter().any(|a| a == facts.arch);
        let stands = self.with_caps.iter().all(has)
            && !self.without_caps.iter().any(has)
            && (self.arches.is_empty() || on(&self.arches))
            && !on(&self.not_arches)
            && self.min_kernel.is_none_or(|min| facts.kernel >= min)
            && self.max_kernel.is_none_or(|max| facts.kernel < max);
        stands.then(|| self.rule.clone())
    }
}

/// The architectures whose calls the machine's kernel takes, its own first.
fn architectures(arch: &str) -> Vec<String> {
    let names: &[&str] = match arch {
        "amd64" => &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "arm64" => &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        "s390x" => &["SCMP_ARCH_S390X", "SCMP_ARCH_S390"],
        "riscv64" => &["SCMP_ARCH_RISCV64"],
        "ppc64le" => &["SCMP_ARCH_PPC64LE"],
        "arm" => &["SCMP_ARCH_ARM"],
        "x86" => &["SCMP_ARCH_X86"],
        _ => &[],
    };
    names.iter().map(|n| n.to_string()).collect()
}

/// The machine's name in profiles.
pub fn native_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "x86",
        "aarch64" => "arm64",
        "arm" => "arm",
        "powerpc64" => "ppc64le",
        "s390x" => "s390x",
        other => other,
    }
}

fn equal(index: u32, value: u64) -> SyscallArg {
    SyscallArg { index, value, value_two: None, op: "SCMP_CMP_EQ".into() }
}

fn masked(index: u32, mask: u64, value: u64) -> SyscallArg {
    SyscallArg { index, value: mask, value_two: Some(value), op: "SCMP_CMP_MASKED_EQ".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(names: &[&str]) -> Vec<String> {
        names.iter().map(|c| c.to_string()).collect()
    }

    fn rules<'a>(s: &'a Seccomp, call: &str) -> Vec<&'a SyscallRule> {
        s.syscalls.iter().filter(|r| r.names.iter().any(|n| n == call)).collect()
    }

    /// What the filter answers to `call(args…)`: rules allow when one of theirs matches; errno rules come with no arguments.
    fn verdict(s: &Seccomp, call: &str, arg0: u64) -> Result<(), u32> {
        let mut errno = s.default_errno_ret.unwrap();
        for rule in rules(s, call) {
            let hit = rule.args.iter().all(|a| match a.op.as_str() {
                "SCMP_CMP_EQ" => arg0 == a.value,
                "SCMP_CMP_MASKED_EQ" => arg0 & a.value == a.value_two.unwrap(),
                other => panic!("{other}"),
            });
            match rule.action.as_str() {
                "SCMP_ACT_ALLOW" if hit => return Ok(()),
                "SCMP_ACT_ERRNO" if hit => errno = rule.errno_ret.unwrap(),
                _ => {}
            }
        }
        Err(errno)
    }

    #[test]
    fn vsock_and_alg_stay_shut_whatever_the_upper_bits() {
        let c = caps(&["CAP_CHOWN"]);
        let s = default(Facts { capabilities: &c, arch: "amd64", kernel: (6, 1) });
        for family in 0..48u64 {
            let want = if family == 38 || family == 40 { Err(1) } else { Ok(()) };
            assert_eq!(verdict(&s, "socket", family), want, "{family}");
            assert_eq!(verdict(&s, "socket", family | 1 << 32), want, "{family} with bit 32");
        }
        assert_eq!(verdict(&s, "socketcall", 1), Err(38));
    }

    #[test]
    fn the_default_has_dockers_facts() {
        let c = caps(&["CAP_CHOWN"]);
        let s = default(Facts { capabilities: &c, arch: "amd64", kernel: (6, 1) });
        // 361 names of Docker's, less socketcall.
        assert_eq!(s.syscalls[0].names.len(), 360);
        assert_eq!(s.architectures, ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
        for never in [
            "io_uring_setup",
            "keyctl",
            "add_key",
            "userfaultfd",
            "kexec_load",
            "pivot_root",
            "mount",
            "unshare",
            "bpf",
            "chroot",
            "reboot",
        ] {
            assert!(rules(&s, never).is_empty(), "{never}");
        }
        assert_eq!(verdict(&s, "clone3", 0), Err(38));
        assert_eq!(verdict(&s, "clone", 0x11), Ok(()));
        assert_eq!(verdict(&s, "clone", 0x1000_0000), Err(1));
        for (persona, want) in [(0, Ok(())), (8, Ok(())), (0x20008, Ok(())), (0xffff_ffff, Ok(())), (4, Err(1))] {
            assert_eq!(verdict(&s, "personality", persona), want);
        }
        assert_eq!(verdict(&s, "ptrace", 0), Ok(()));
        let old = default(Facts { capabilities: &c, arch: "amd64", kernel: (4, 7) });
        assert_eq!(verdict(&old, "ptrace", 0), Err(1));
        assert_eq!(rules(&s, "arch_prctl").len(), 1);
        assert_eq!(rules(&s, "set_tls").len(), 0);
    }

    #[test]
    fn capabilities_open_their_calls() {
        let c = caps(&["CAP_SYS_ADMIN", "CAP_SYS_CHROOT"]);
        let s = default(Facts { capabilities: &c, arch: "arm64", kernel: (6, 1) });
        for call in ["mount", "unshare", "clone3", "setns", "chroot", "set_tls"] {
            assert_eq!(verdict(&s, call, u64::MAX), Ok(()), "{call}");
        }
        assert_eq!(verdict(&s, "clone", 0x1000_0000), Ok(()));
        assert!(rules(&s, "arch_prctl").is_empty());
    }

    #[test]
    fn a_clients_profile_is_filtered_or_refused() {
        let c = caps(&["CAP_SYS_ADMIN"]);
        let facts = Facts { capabilities: &c, arch: "amd64", kernel: (5, 10) };
        let s = parse(
            r#"{"defaultAction":"SCMP_ACT_ALLOW","archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}],
               "syscalls":[{"name":"mkdir","action":"SCMP_ACT_ERRNO","args":null},
                 {"names":["a"],"action":"SCMP_ACT_KILL","excludes":{"caps":["CAP_SYS_ADMIN"]}},
                 {"names":["b"],"action":"SCMP_ACT_KILL","includes":{"minKernel":"5.11"}},
                 {"names":["c"],"action":"SCMP_ACT_LOG","includes":{"minKernel":"5.10","arches":["amd64"]},
                  "args":[{"index":1,"value":3,"valueTwo":2,"op":"SCMP_CMP_MASKED_EQ"}]}]}"#,
            facts,
        )
        .unwrap();
        assert_eq!(s.architectures, ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]);
        assert_eq!(s.syscalls.iter().map(|r| r.names[0].as_str()).collect::<Vec<_>>(), ["mkdir", "c"]);
        assert_eq!(s.syscalls[1].args, [masked(1, 3, 2)]);
        for bad in [
            "",
            "{}",
            r#"{"syscalls":[]}"#,
            "[]",
            r#"{"defaultAction":"SCMP_ACT_WHAT"}"#,
            r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"archMap":[{"architecture":"SCMP_ARCH_X86_64"}]}"#,
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"a","names":["b"],"action":"SCMP_ACT_ALLOW"}]}"#,
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["b"],"action":"SCMP_ACT_ALLOW","args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}]}"#,
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["b"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":0,"op":"EQ"}]}]}"#,
        ] {
            assert!(parse(bad, facts).is_err(), "{bad}");
        }
    }
}
