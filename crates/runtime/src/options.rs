//! Mount options of runtime-spec (config.md#linux-mount-options) → what the mount calls take.

use crate::Failure;
use sys::mount::attr;

/// The options of one mount, told apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// `bind` is `Some(false)`, `rbind` is `Some(true)`.
    pub bind: Option<bool>,
    /// `remount`: change what is mounted there already. `bind` then says that the mount is meant, and not its file system.
    pub remount: bool,
    /// The path below the container's root that is bound, where the source is one: the container's own mounts are seen there.
    pub inside: Option<String>,
    /// Attributes to set on the mount.
    pub set: u64,
    /// Attributes to clear first.
    pub clear: u64,
    /// Some are spoken of: a bind then has none of the others from what it is of, but for access times.
    pub exact: bool,
    /// The same for the mount and all below it (`rro` …).
    pub set_all: u64,
    /// See `set_all`.
    pub clear_all: u64,
    /// `PROPAGATION_*` in the order given, each with whether it is recursive.
    pub propagation: Vec<(u64, bool)>,
    /// `idmap` is `Some(false)`, `ridmap`, which holds for all mounts below too, is `Some(true)`.
    pub idmap: Option<bool>,
    /// `tmpcopyup`: begin with a copy of what the mount hides.
    pub copy_up: bool,
    /// The file system's own: `key=value`, or a flag.
    pub data: Vec<(String, Option<String>)>,
}

impl Options {
    /// Whether something is bound, and if so, with all mounts below it.
    pub fn binds(&self) -> Option<bool> {
        self.bind.filter(|_| !self.remount)
    }
}

/// An option that changes attributes: its name, what it sets, what it clears.
const ATTRIBUTES: &[(&str, u64, u64)] = &[
    ("ro", attr::RDONLY, 0),
    ("rw", 0, attr::RDONLY),
    ("nosuid", attr::NOSUID, 0),
    ("suid", 0, attr::NOSUID),
    ("nodev", attr::NODEV, 0),
    ("dev", 0, attr::NODEV),
    ("noexec", attr::NOEXEC, 0),
    ("exec", 0, attr::NOEXEC),
    ("noatime", attr::NOATIME, attr::ATIME),
    ("relatime", attr::RELATIME, attr::ATIME),
    ("strictatime", attr::STRICTATIME, attr::ATIME),
    ("nodiratime", attr::NODIRATIME, 0),
    ("nosymfollow", attr::NOSYMFOLLOW, 0),
    ("symfollow", 0, attr::NOSYMFOLLOW),
];

/// Options that take back what was said of access times, which are then as they were, or relatime on a new mount.
const TIMES_UNSAID: [(&str, u64); 4] = [
    ("atime", attr::ATIME),
    ("norelatime", attr::ATIME),
    ("nostrictatime", attr::ATIME),
    ("diratime", attr::NODIRATIME),
];

const PROPAGATION: &[(&str, u64)] = &[
    ("private", attr::PROPAGATION_PRIVATE),
    ("shared", attr::PROPAGATION_SHARED),
    ("slave", attr::PROPAGATION_SLAVE),
    ("unbindable", attr::PROPAGATION_UNBINDABLE),
];

/// Options that ask for what is so anyway, or change only what the kernel writes to its log.
const UNCHANGED: [&str; 7] = ["defaults", "silent", "loud", "async", "nomand", "nolazytime", "noiversion"];

/// Flags of every file system, which the kernel takes by their names.
const FLAGS: [&str; 4] = ["sync", "dirsync", "mand", "lazytime"];

/// What an option sets and clears of a mount and all below it; of those there is none to go back to.
fn recursive(name: &str) -> Option<(u64, u64)> {
    let attributes = || ATTRIBUTES.iter().find(|(n, ..)| *n == name).map(|(_, set, clear)| (*set, *clear));
    let unsaid = TIMES_UNSAID.iter().find(|(n, _)| *n == name);
    unsaid.map(|(_, times)| (attr::RELATIME, *times)).or_else(attributes)
}

/// The propagation that `name` asks for, and whether recursively.
pub fn propagation(name: &str) -> Option<(u64, bool)> {
    let find = |name: &str| PROPAGATION.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
    find(name).map(|value| (value, false)).or_else(|| find(name.strip_prefix('r')?).map(|value| (value, true)))
}

/// The name of every option that is not a file system's own, sorted.
pub fn known() -> Vec<String> {
    let attributes = ATTRIBUTES.iter().map(|(name, ..)| *name).chain(TIMES_UNSAID.map(|(name, _)| name));
    let propagation = PROPAGATION.iter().map(|(name, _)| *name);
    let both: Vec<&str> = attributes.chain(propagation).collect();
    let others = ["bind", "rbind", "remount", "tmpcopyup", "idmap", "ridmap"];
    let recursive = both.iter().map(|name| format!("r{name}"));
    let mut all: Vec<String> =
        recursive.chain(both.iter().chain(&others).chain(&UNCHANGED).chain(&FLAGS).map(|n| n.to_string())).collect();
    all.sort();
    all
}

/// Reads `options` of the mount at `destination` of type `kind`.
pub fn parse(destination: &str, kind: &str, options: &[String]) -> Result<Options, Failure> {
    let mut parsed = Options::default();
    for option in options {
        let name = option.as_str();
        if let Some((_, set, clear)) = ATTRIBUTES.iter().find(|(n, ..)| *n == name) {
            (parsed.set, parsed.clear) = ((parsed.set & !clear) | set, (parsed.clear & !set) | clear);
            parsed.exact = true;
        } else if let Some((_, times)) = TIMES_UNSAID.iter().find(|(n, _)| *n == name) {
            (parsed.set, parsed.clear) = (parsed.set & !times, parsed.clear & !times);
            parsed.exact = true;
        } else if let Some((set, clear)) = name.strip_prefix('r').and_then(recursive) {
            (parsed.set_all, parsed.clear_all) = ((parsed.set_all & !clear) | set, (parsed.clear_all & !set) | clear);
        } else if let Some(change) = propagation(name) {
            parsed.propagation.push(change);
        } else {
            match name {
                "bind" => parsed.bind = Some(parsed.bind.unwrap_or(false)),
                "rbind" => parsed.bind = Some(true),
                "remount" => parsed.remount = true,
                "tmpcopyup" => parsed.copy_up = true,
                "idmap" => parsed.idmap = Some(parsed.idmap.unwrap_or(false)),
                "ridmap" => parsed.idmap = Some(true),
                "" => {}
                _ if UNCHANGED.contains(&name) => {}
                _ => parsed.data.push(match name.split_once('=') {
                    Some((key, value)) => (key.into(), Some(value.into())),
                    None => (name.into(), None),
                }),
            }
        }
    }
    if kind == "bind" && parsed.bind.is_none() {
        parsed.bind = Some(false);
    }
    if parsed.bind.is_some() {
        // A bind is a view of a file system that is mounted already: it has no data of its own.
        if let Some((key, _)) = parsed.data.first() {
            return Err(refused(destination, key));
        }
    }
    if parsed.copy_up && (kind != "tmpfs" || parsed.remount) {
        return Err(refused(destination, "tmpcopyup"));
    }
    Ok(parsed)
}

fn refused(destination: &str, option: &str) -> Failure {
    Failure::invalid("mounts", format!("mount option {option:?} of {destination:?} is not supported"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &str, options: &[&str]) -> Result<Options, Failure> {
        parse("/d", kind, &options.iter().map(|o| o.to_string()).collect::<Vec<_>>())
    }

    #[test]
    fn dockers_own_mounts() {
        let dev = of("tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]).unwrap();
        assert_eq!((dev.set, dev.clear), (attr::NOSUID | attr::STRICTATIME, attr::ATIME));
        let data = |k: &str, v: &str| (k.to_string(), Some(v.to_string()));
        assert_eq!(dev.data, [data("mode", "755"), data("size", "65536k")]);
        let volume = of("bind", &["rbind", "ro", "rprivate"]).unwrap();
        assert_eq!((volume.bind, volume.set), (Some(true), attr::RDONLY));
        assert_eq!(volume.propagation, [(attr::PROPAGATION_PRIVATE, true)]);
    }

    #[test]
    fn the_last_of_two_opposites_counts() {
        let o = of("bind", &["ro", "rw", "noatime", "relatime", "rro", "rnosuid", "rrw"]).unwrap();
        assert_eq!((o.set, o.clear), (0, attr::RDONLY | attr::ATIME));
        assert_eq!((o.set_all, o.clear_all), (attr::NOSUID, attr::RDONLY));
    }

    #[test]
    fn a_remount_binds_nothing() {
        let o = of("bind", &["remount", "bind", "ro"]).unwrap();
        assert_eq!((o.remount, o.bind, o.binds(), o.set), (true, Some(false), None, attr::RDONLY));
        assert_eq!(of("bind", &["rbind"]).unwrap().binds(), Some(true));
    }

    #[test]
    fn access_times() {
        for name in ["norelatime", "nostrictatime", "atime"] {
            let o = of("bind", &["noatime", name]).unwrap();
            assert_eq!((o.set, o.clear, o.exact), (0, 0, true), "{name}");
            let o = of("bind", &[&format!("r{name}")]).unwrap();
            assert_eq!((o.set_all, o.clear_all, o.exact), (attr::RELATIME, attr::ATIME, false), "{name}");
        }
        let o = of("bind", &["nodiratime", "diratime", "rdiratime"]).unwrap();
        assert_eq!((o.set, o.clear, o.clear_all), (0, 0, attr::NODIRATIME));
        let o = of("bind", &["noatime", "relatime"]).unwrap();
        assert_eq!((o.set, o.clear), (attr::RELATIME, attr::ATIME));
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        for (kind, option) in [("bind", "mode=755"), ("proc", "tmpcopyup"), ("bind", "bogus")] {
            let failure = of(kind, &[option]).unwrap_err();
            let name = option.split('=').next().unwrap();
            assert_eq!(failure.text, format!("mount option {name:?} of \"/d\" is not supported"));
        }
        assert!(of("tmpfs", &["tmpcopyup"]).is_ok() && of("tmpfs", &["tmpcopyup", "remount"]).is_err());
        assert_eq!(propagation("rshared"), Some((attr::PROPAGATION_SHARED, true)));
        assert_eq!(propagation("rrshared"), None);
    }
}
