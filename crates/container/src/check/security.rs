//! `--security-opt`, `--sysctl`, `--ulimit`.

use crate::error::{Result, invalid};
use crate::host::Host;
use crate::seccomp;
use api::container::{HostConfig, Ulimit};
use oci::runtime::Rlimit;

/// Which filter a container gets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum SeccompChoice {
    /// Nothing was said.
    #[default]
    Unsaid,
    Builtin,
    Unconfined,
    /// A profile as JSON.
    Profile(String),
}

/// What `SecurityOpt` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Security {
    pub no_new_privileges: Option<bool>,
    pub seccomp: SeccompChoice,
    pub apparmor: Option<String>,
    pub writable_cgroups: Option<bool>,
    /// Nothing masked, nothing read-only.
    pub system_paths: bool,
    /// Which defaults the rest has.
    pub profile: Option<crate::strict::Profile>,
}

impl Security {
    /// Whether what is not said is strict.
    pub fn is_strict(&self) -> bool {
        self.profile == Some(crate::strict::Profile::Strict)
    }

    /// Whether no program gives more rights than its caller has.
    pub fn bars_privileges(&self, defaults: &crate::spec::Defaults) -> bool {
        self.no_new_privileges.unwrap_or(defaults.no_new_privileges || self.is_strict())
    }

    /// Reads the options.
    ///
    /// # Errors
    /// At the first that is unknown, empty, or beyond this host: none is ignored.
    pub fn parse(options: &[String], facts: &Host) -> Result<Security> {
        let mut s = Security::default();
        for option in options {
            match option.as_str() {
                "no-new-privileges" => {
                    s.no_new_privileges = Some(true);
                    continue;
                }
                "writable-cgroups" => {
                    s.writable_cgroups = Some(true);
                    continue;
                }
                "disable" => continue,
                _ => {}
            }
            let (key, value) = option
                .split_once('=')
                .or_else(|| option.split_once(':'))
                .ok_or_else(|| invalid!("invalid --security-opt 1: {option:?}"))?;
            let boolean = || parse_bool(value).ok_or_else(|| invalid!("invalid --security-opt 2: {option:?}"));
            match key {
                "seccomp" => s.seccomp = choice(value, facts)?,
                "apparmor" => s.apparmor = Some(apparmor(value, facts)?),
                "no-new-privileges" => s.no_new_privileges = Some(boolean()?),
                "writable-cgroups" => s.writable_cgroups = Some(boolean()?),
                "profile" => s.profile = Some(crate::strict::Profile::parse(value)?),
                "systempaths" if value == "unconfined" => s.system_paths = true,
                // Without SELinux, which this engine does not drive, labels mean nothing, as with Docker.
                "label" => {
                    let key = value.split(':').next().unwrap_or_default();
                    if !matches!(key, "disable" | "user" | "role" | "type" | "level" | "filetype" | "nested") {
                        return Err(invalid!(
                            "Bad label option {value:?}, valid options 'disable, user, role, level, type, filetype, nested'"
                        ));
                    }
                }
                _ => return Err(invalid!("invalid --security-opt 2: {option:?}")),
            }
        }
        Ok(s)
    }
}

fn choice(value: &str, facts: &Host) -> Result<SeccompChoice> {
    Ok(match value {
        "unconfined" => SeccompChoice::Unconfined,
        "builtin" => SeccompChoice::Builtin,
        "" => return Err(invalid!("invalid --security-opt 2: \"seccomp=\"")),
        json => {
            let caps: Vec<String> = vec![];
            let facts = seccomp::Facts { capabilities: &caps, arch: &facts.arch, kernel: facts.kernel };
            seccomp::parse(json, facts).map_err(|e| invalid!("Decoding seccomp profile failed: {e}"))?;
            SeccompChoice::Profile(json.to_owned())
        }
    })
}

fn apparmor(profile: &str, facts: &Host) -> Result<String> {
    if profile.is_empty() {
        return Err(invalid!("invalid --security-opt 2: \"apparmor=\""));
    }
    if profile != "unconfined" && !facts.apparmor {
        return Err(invalid!("AppArmor is not enabled on this host: apparmor={profile}"));
    }
    Ok(profile.to_owned())
}

/// Go's `strconv.ParseBool`.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Only what belongs to a namespace of the container's own.
pub(super) fn sysctls(host: &HostConfig) -> Result<()> {
    for (key, value) in &host.sysctls {
        let name = key.replace('/', ".");
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
        if key.is_empty() || !key.chars().all(plain) || name.split('.').any(str::is_empty) {
            return Err(invalid!("invalid sysctl {key:?}"));
        }
        if value.chars().any(|c| c.is_control() && c != '\t') || value.contains('+') {
            return Err(invalid!("invalid value {value:?} of sysctl {key:?}"));
        }
        let ipc = name.starts_with("fs.mqueue.")
            || matches!(
                name.as_str(),
                "kernel.msgmax"
                    | "kernel.msgmnb"
                    | "kernel.msgmni"
                    | "kernel.sem"
                    | "kernel.shmall"
                    | "kernel.shmmax"
                    | "kernel.shmmni"
                    | "kernel.shm_rmid_forced"
            );
        if ipc {
            if host.ipc_mode == "host" {
                return Err(invalid!("sysctl {key:?} not allowed in host ipc namespace"));
            }
        } else if name.starts_with("net.") {
            if host.network_mode == "host" {
                return Err(invalid!("sysctl {key:?} not allowed in host network namespace"));
            }
        } else if name == "kernel.domainname" {
            if host.uts_mode == "host" {
                return Err(invalid!("sysctl {key:?} not allowed in host UTS namespace"));
            }
        } else if name == "kernel.hostname" {
            return Err(invalid!(
                "sysctl \"kernel.hostname\" is not allowed as it conflicts with the OCI \"hostname\" field"
            ));
        } else {
            return Err(invalid!("sysctl {key:?} is not in a separate kernel namespace"));
        }
    }
    Ok(())
}

const RLIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Ulimits as the specification has them.
///
/// # Errors
/// At an unknown name, or a soft limit above the hard one.
pub(crate) fn rlimits(ulimits: &[Ulimit]) -> Result<Vec<Rlimit>> {
    let mut out: Vec<Rlimit> = Vec::with_capacity(ulimits.len());
    for u in ulimits {
        if !RLIMITS.contains(&u.name.as_str()) {
            return Err(invalid!("invalid ulimit type: {}", u.name));
        }
        if u.hard < -1 || u.soft < -1 {
            return Err(invalid!("invalid ulimit value: {}={}:{}", u.name, u.soft, u.hard));
        }
        if u.hard != -1 && (u.soft == -1 || u.soft > u.hard) {
            return Err(invalid!(
                "ulimit soft limit must be less than or equal to hard limit: soft: {}, hard: {}",
                u.soft,
                u.hard
            ));
        }
        let kind = format!("RLIMIT_{}", u.name.to_ascii_uppercase());
        // -1 is the kernel's RLIM_INFINITY, all ones.
        let limit = Rlimit { kind, hard: u.hard as u64, soft: u.soft as u64 };
        match out.iter_mut().find(|l| l.kind == limit.kind) {
            Some(earlier) => *earlier = limit,
            None => out.push(limit),
        }
    }
    Ok(out)
}
