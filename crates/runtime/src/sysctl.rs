//! Kernel parameters that belong to a namespace; every other one is the host's and is refused.

use crate::Failure;
use std::collections::BTreeMap;

/// Parameters of the ipc namespace.
const IPC: &[&str] = &[
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
];

/// Which namespaces are the container's own, not the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Own {
    pub ipc: bool,
    pub network: bool,
    pub uts: bool,
    pub user: bool,
}

/// The parameters as paths below `/proc/sys` with their values.
pub fn parse(sysctl: &BTreeMap<String, String>, own: Own) -> Result<Vec<(String, String)>, Failure> {
    sysctl.iter().map(|(key, value)| one(key, value, own)).collect()
}

fn one(key: &str, value: &str, own: Own) -> Result<(String, String), Failure> {
    let refuse = |why: &str| Failure::invalid("sysctl", format!("sysctl {key:?} {why}"));
    let path = path(key);
    let plain = path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    if !plain || path.contains('\0') {
        return Err(refuse("is not a name"));
    }
    if value.contains(['\n', '\0']) {
        return Err(refuse("has a value of more than one line"));
    }
    let (belongs, namespace) = if IPC.contains(&path.as_str()) || path.starts_with("fs/mqueue/") {
        (own.ipc, "ipc")
    } else if path.starts_with("net/") {
        (own.network, "network")
    } else if path == "kernel/domainname" {
        (own.uts, "uts")
    } else if path == "kernel/hostname" {
        return Err(refuse("is not allowed as it conflicts with the field \"hostname\""));
    } else if path.starts_with("user/") {
        (own.user, "user")
    } else {
        return Err(refuse("is not in a separate kernel namespace"));
    };
    if !belongs {
        return Err(refuse(&format!("is not allowed in the host's {namespace} namespace")));
    }
    Ok((path, value.into()))
}

/// `net.ipv4.ip_forward` and `net/ipv4/ip_forward` name the same; whichever separator comes first is the separator, and the
/// other one then stands for itself exchanged (`net.ipv4.conf.eth0/1.forwarding` is of the interface `eth0.1`).
fn path(key: &str) -> String {
    if key.find(['.', '/']).is_some_and(|at| key.as_bytes()[at] == b'/') {
        return key.into();
    }
    let exchanged = key.chars().map(|c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    });
    exchanged.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Own = Own { ipc: true, network: true, uts: true, user: true };

    #[test]
    fn both_spellings() {
        assert_eq!(path("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
        assert_eq!(path("net/ipv4/conf/eth0.1/forwarding"), "net/ipv4/conf/eth0.1/forwarding");
        assert_eq!(path("net.ipv4.conf.eth0/1.forwarding"), "net/ipv4/conf/eth0.1/forwarding");
    }

    #[test]
    fn only_what_a_namespace_owns() {
        let good =
            [("kernel.shmmax", "1"), ("fs.mqueue.msg_max", "5"), ("net.core.somaxconn", "9"), ("kernel.sem", "1 2")];
        for (key, value) in good {
            assert_eq!(one(key, value, ALL), Ok((path(key), value.into())));
        }
        let hosts = Own { ipc: false, network: false, uts: false, user: false };
        for (key, _) in good {
            assert!(one(key, "1", hosts).is_err(), "{key}");
        }
        for bad in [
            "kernel.core_pattern",
            "kernel.hostname",
            "vm.swappiness",
            "net..x",
            "net/../kernel/core_pattern",
            "",
            "net",
            "/net/x",
            "kernel/core_pattern",
            "fs.mqueue",
        ] {
            assert!(one(bad, "1", ALL).is_err(), "{bad}");
        }
        assert!(one("net.core.somaxconn", "1\n2", ALL).is_err());
    }
}
