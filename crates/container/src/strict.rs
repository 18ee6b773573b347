//! The profile `strict`: defaults that take away what few programs need. The profile `docker` has Docker's, to the letter.
//!
//! | of | strict |
//! |---|---|
//! | capabilities | without NET_RAW, MKNOD, AUDIT_WRITE, SETPCAP, SYS_CHROOT (`caps.rs`) |
//! | new privileges | none |
//! | system calls | no ptrace, no memfd_secret; sockets of UNIX, INET, INET6 and routing netlink (`seccomp/`) |
//! | processes | 512 |
//! | limits | no core files; 1024 open files, up to 524288 |
//! | hidden | what tells of the kernel's code, modules and tracing, and of the machine's serial numbers |
//! | cgroups | a namespace of the container's own on version 1 too |
//!
//! Each of them yields to the option that names it: `--cap-add`, `--pids-limit`, `--ulimit`, `--security-opt seccomp=…`.

use crate::check::Security;
use crate::error::{Result, invalid};
use crate::host::Host;
use crate::spec;
use api::container::{HostConfig, Ulimit};

const PIDS: i64 = 512;
const CORE: i64 = 0;
const OPEN_FILES: (i64, i64) = (1024, 524_288);

const MASKED: [&str; 11] = [
    "/proc/kallsyms",
    "/proc/modules",
    "/proc/config.gz",
    "/proc/bootconfig",
    "/sys/kernel/debug",
    "/sys/kernel/tracing",
    "/sys/kernel/security",
    "/sys/fs/bpf",
    "/sys/module",
    "/sys/class/dmi",
    "/sys/devices/virtual/dmi",
];

/// Which defaults a container has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// Docker's.
    #[default]
    Docker,
    /// Ours.
    Strict,
}

impl Profile {
    /// By its name.
    ///
    /// # Errors
    /// For any other.
    pub fn parse(name: &str) -> Result<Profile> {
        match name {
            "docker" => Ok(Profile::Docker),
            "strict" => Ok(Profile::Strict),
            _ => Err(invalid!("unknown security profile {name:?}: docker, strict")),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Docker => "docker",
            Profile::Strict => "strict",
        }
    }
}

/// Whether a request, or the engine's default in its place, is for the strict one.
pub(crate) fn is_asked(host: &HostConfig, default: Profile, facts: &Host) -> Result<bool> {
    let named = Security::parse(&host.security_opt, facts)?.profile;
    Ok(named.unwrap_or(if host.privileged { Profile::Docker } else { default }) == Profile::Strict)
}

/// Writes into the request what the profile makes of it, so that `inspect` shows it and a later default changes nothing.
///
/// # Errors
/// When everything is asked for at the same time.
pub(crate) fn settle(host: &mut HostConfig, default: Profile, facts: &Host) -> Result<()> {
    if !is_asked(host, default, facts)? {
        return Ok(());
    }
    if host.privileged {
        return Err(invalid!("conflicting options: --privileged and --security-opt profile=strict"));
    }
    if Security::parse(&host.security_opt, facts)?.profile.is_none() {
        let name = format!("profile={}", Profile::Strict.name());
        let mut options = host.security_opt.to_vec();
        options.push(name);
        host.security_opt = options.into();
    }
    // Clients send 0 when nothing was said; without a limit is -1.
    host.resources.pids_limit = host.resources.pids_limit.filter(|n| *n != 0).or(Some(PIDS));
    if host.masked_paths.is_null() && !host.security_opt.iter().any(|o| o == "systempaths=unconfined") {
        let mut masked = spec::default_masked(facts);
        masked.extend(MASKED.map(str::to_owned));
        host.masked_paths = masked.into();
    }
    Ok(())
}

/// The limits where none are asked for; not above what the engine itself may give.
pub(crate) fn ulimits() -> Vec<Ulimit> {
    let own = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let most = own.and_then(|n| i64::try_from(n).ok()).unwrap_or(i64::MAX).min(OPEN_FILES.1);
    let limit = |name: &str, soft: i64, hard: i64| Ulimit { name: name.into(), soft, hard };
    vec![limit("core", CORE, CORE), limit("nofile", OPEN_FILES.0.min(most), most)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_outweighs_the_default() {
        let facts = Host::default();
        let with = |options: &[&str]| {
            let options: Vec<String> = options.iter().map(|o| (*o).to_owned()).collect();
            HostConfig { security_opt: options.into(), ..HostConfig::default() }
        };
        let settled = |mut host: HostConfig, default| settle(&mut host, default, &facts).map(|()| host);
        let host = settled(with(&[]), Profile::Docker).unwrap();
        assert_eq!((host.security_opt.len(), host.resources.pids_limit), (0, None));
        let host = settled(with(&["profile=docker"]), Profile::Strict).unwrap();
        assert_eq!((host.security_opt.len(), host.resources.pids_limit), (1, None));
        for (options, default) in [(&["profile=strict"][..], Profile::Docker), (&[], Profile::Strict)] {
            let host = settled(with(options), default).unwrap();
            assert_eq!(host.security_opt.to_vec(), ["profile=strict"]);
            assert_eq!(host.resources.pids_limit, Some(512));
            assert!(host.masked_paths.contains(&"/proc/kallsyms".to_owned()));
            assert!(host.masked_paths.contains(&"/proc/kcore".to_owned()));
        }
        let mut host = with(&["profile=strict"]);
        host.resources.pids_limit = Some(-1);
        assert_eq!(settled(host, Profile::Docker).unwrap().resources.pids_limit, Some(-1));
        let mut host = with(&[]);
        host.privileged = true;
        assert_eq!(settled(host.clone(), Profile::Strict).unwrap().security_opt.len(), 0);
        host.security_opt = vec!["profile=strict".to_owned()].into();
        assert!(settled(host, Profile::Docker).unwrap_err().to_string().contains("--privileged"));
        assert!(Profile::parse("loose").is_err());
    }
}
