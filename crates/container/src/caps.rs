//! Capability names: Docker's defaults, adding and dropping. Pure.

use crate::error::{Result, invalid};

/// In the order of their numbers (linux/capability.h).
pub(crate) const ALL: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

const DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// What of it the profile `strict` does not give: who needs one of these names it.
const TAKEN: [&str; 5] = ["CAP_NET_RAW", "CAP_MKNOD", "CAP_AUDIT_WRITE", "CAP_SETPCAP", "CAP_SYS_CHROOT"];

/// `net_admin`, `CAP_NET_ADMIN` or `all` in one spelling. Bit n of `usable` is capability n.
fn normal(name: &str, usable: u64) -> Result<String> {
    let upper = name.to_ascii_uppercase();
    if upper == "ALL" {
        return Ok(upper);
    }
    let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    match ALL.iter().position(|c| *c == full) {
        None => Err(invalid!("unknown capability: {full:?}")),
        Some(n) if usable & 1 << n == 0 => Err(invalid!(
            "capability not supported by your kernel or not available in the current environment: {full:?}"
        )),
        Some(_) => Ok(full),
    }
}

/// All names in one spelling.
///
/// # Errors
/// At the first name that cannot be given.
pub(crate) fn normalize(names: &[String], usable: u64) -> Result<Vec<String>> {
    names.iter().map(|n| normal(n, usable)).collect()
}

/// What a request says of capabilities.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub add: &'a [String],
    pub drop: &'a [String],
    pub privileged: bool,
    /// It starts from the profile `strict`.
    pub strict: bool,
}

/// The set of a container: bounding, permitted and effective alike.
///
/// # Errors
/// At the first name that cannot be given.
pub(crate) fn set(asked: Asked, usable: u64) -> Result<Vec<String>> {
    let Asked { add, drop, privileged, strict } = asked;

    let all = || ALL.iter().enumerate().filter(|(n, _)| usable & 1 << n != 0).map(|(_, c)| c.to_string());
    if privileged {
        return Ok(all().collect());
    }
    let (add, drop) = (normalize(add, usable)?, normalize(drop, usable)?);
    let is_all = |list: &[String]| list.iter().any(|c| c == "ALL");
    let is_kept = |c: &String| !drop.contains(c);
    let default = DEFAULT.iter().filter(|c| !strict || !TAKEN.contains(c));
    Ok(match (is_all(&add), is_all(&drop)) {
        (true, _) => all().filter(is_kept).collect(),
        (false, true) => unique(add),
        (false, false) => unique(default.map(|c| c.to_string()).filter(is_kept).chain(add).collect()),
    })
}

fn unique(list: Vec<String>) -> Vec<String> {
    let mut out: Vec<String> = Vec::with_capacity(list.len());
    for c in list {
        if !out.contains(&c) {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: u64 = (1 << ALL.len()) - 1;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| s.to_string()).collect()
    }

    #[test]
    fn adding_and_dropping() {
        let of = |add: &[&str], drop: &[&str], (privileged, strict), usable| {
            set(Asked { add: &names(add), drop: &names(drop), privileged, strict }, usable).unwrap()
        };
        let set = |add: &[&str], drop: &[&str]| of(add, drop, (false, false), EVERY);
        assert_eq!(set(&[], &[]), names(&DEFAULT));
        assert_eq!(set(&["net_admin"], &["all"]), ["CAP_NET_ADMIN"]);
        assert_eq!(set(&[], &["ALL"]).len(), 0);
        assert_eq!(set(&["ALL"], &["CAP_SYS_ADMIN"]).len(), 40);
        assert_eq!(set(&["chown"], &["mknod"]).len(), 13);
        // What is dropped and added is there, as with Docker: additions come last.
        assert!(set(&["mknod"], &["mknod"]).contains(&"CAP_MKNOD".to_string()));
        assert_eq!(of(&[], &["ALL"], (true, false), EVERY >> 3).len(), 38);
        let fewer = of(&[], &[], (true, false), EVERY & !(1 << 24));
        assert!(fewer.len() == 40 && !fewer.contains(&"CAP_SYS_RESOURCE".to_string()));
        let strict = |add: &[&str], drop: &[&str]| of(add, drop, (false, true), EVERY);
        let kept =
            ["CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "SETGID", "SETUID", "SETFCAP", "NET_BIND_SERVICE", "KILL"];
        assert_eq!(strict(&[], &[]), kept.map(|c| format!("CAP_{c}")));
        assert_eq!(strict(&["net_raw"], &["all"]), ["CAP_NET_RAW"]);
        assert!(strict(&["mknod"], &[]).contains(&"CAP_MKNOD".to_string()));
    }

    #[test]
    fn unknown_names_are_refused_in_dockers_words() {
        let err = |c: &str, usable| normalize(&names(&[c]), usable).unwrap_err().to_string();
        assert_eq!(err("NO_SUCH", EVERY), "unknown capability: \"CAP_NO_SUCH\"");
        assert_eq!(
            err("bpf", EVERY & !(1 << 39)),
            "capability not supported by your kernel or not available in the current environment: \"CAP_BPF\""
        );
    }
}
