//! Options of tmpfs mounts: `--tmpfs /run:size=64m,exec` and `--mount type=tmpfs`.

use crate::error::{Result, invalid};
use api::container::TmpfsOptions;

const DEFAULT: [&str; 4] = ["noexec", "nosuid", "nodev", "rprivate"];
const DATA: [&str; 7] = ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"];
/// Names of flags, and in which group they exclude each other.
const FLAGS: [(&str, u8); 25] = [
    ("ro", 0),
    ("rw", 0),
    ("suid", 1),
    ("nosuid", 1),
    ("dev", 2),
    ("nodev", 2),
    ("exec", 3),
    ("noexec", 3),
    ("sync", 4),
    ("async", 4),
    ("dirsync", 5),
    ("atime", 6),
    ("noatime", 6),
    ("diratime", 7),
    ("nodiratime", 7),
    ("relatime", 8),
    ("norelatime", 8),
    ("strictatime", 8),
    ("nostrictatime", 8),
    ("private", 9),
    ("rprivate", 9),
    ("slave", 9),
    ("rslave", 9),
    ("shared", 9),
    ("rshared", 9),
];

/// The destination of a tmpfs.
///
/// # Errors
/// When it is the root or relative.
pub(crate) fn check_destination(destination: &str) -> Result<()> {
    if super::clean(destination) == "/" && destination.starts_with('/') {
        return Err(invalid!("invalid specification: destination can't be '/'"));
    }
    if !destination.starts_with('/') {
        return Err(invalid!("invalid mount path: '{destination}' mount path must be absolute"));
    }
    Ok(())
}

/// Docker's defaults with `text` (comma-separated) over them: of options that exclude each other the last one stands.
///
/// # Errors
/// At an option that tmpfs does not have.
pub(crate) fn options(text: &str) -> Result<Vec<String>> {
    let given = text.split(',').filter(|o| !o.is_empty());
    let mut seen_groups = Vec::new();
    let mut seen_data = Vec::new();
    let mut out = Vec::new();
    for option in DEFAULT.into_iter().chain(given).collect::<Vec<_>>().into_iter().rev() {
        if option == "defaults" {
            continue;
        }
        let fresh = match (FLAGS.iter().find(|(name, _)| *name == option), option.split_once('=')) {
            (Some((_, group)), _) => !std::mem::replace(seen(&mut seen_groups, *group), true),
            (None, Some((key, _))) if DATA.contains(&key) => !std::mem::replace(seen(&mut seen_data, key), true),
            _ => return Err(invalid!("Invalid tmpfs option {option:?}")),
        };
        if fresh {
            out.push(option.to_owned());
        }
    }
    out.reverse();
    Ok(out)
}

/// The mark of `key`, false when it is new.
fn seen<K: PartialEq>(marks: &mut Vec<(K, bool)>, key: K) -> &mut bool {
    let at = match marks.iter().position(|(k, _)| *k == key) {
        Some(at) => at,
        None => {
            marks.push((key, false));
            marks.len() - 1
        }
    };
    &mut marks[at].1
}

/// The options of `--mount type=tmpfs` as text.
pub(crate) fn from_mount(options: Option<&TmpfsOptions>, read_only: bool) -> Result<String> {
    let mut out = Vec::new();
    if read_only {
        out.push("ro".to_owned());
    }
    let Some(options) = options else { return Ok(out.join(",")) };
    if options.mode != 0 {
        out.push(format!("mode={:o}", options.mode));
    }
    match options.size_bytes {
        0 => {}
        size if size < 0 => return Err(invalid!("invalid tmpfs size: {size}")),
        size => {
            let (mut size, mut unit) = (size, "");
            for next in ["k", "m", "g"] {
                if size % 1024 != 0 {
                    break;
                }
                (size, unit) = (size / 1024, next);
            }
            out.push(format!("size={size}{unit}"));
        }
    }
    for option in &options.options {
        match option.as_slice() {
            [name] if matches!(name.as_str(), "exec" | "noexec") => out.push(name.clone()),
            [name, value] if matches!(name.as_str(), "exec" | "noexec") => out.push(format!("{name}={value}")),
            [] => return Err(invalid!("invalid option array length")),
            [name, rest @ ..] if rest.len() < 2 => return Err(invalid!("invalid option: {name}")),
            _ => return Err(invalid!("invalid option array length")),
        }
    }
    Ok(out.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_opposites_stands() {
        let get = |t: &str| options(t).map(|o| o.join(",")).map_err(|e| e.to_string());
        assert_eq!(get("").unwrap(), "noexec,nosuid,nodev,rprivate");
        assert_eq!(get("exec,size=64m").unwrap(), "nosuid,nodev,rprivate,exec,size=64m");
        assert_eq!(get("size=1m,size=2m,ro").unwrap(), "noexec,nosuid,nodev,rprivate,size=2m,ro");
        assert_eq!(get("huge=always").unwrap_err(), "Invalid tmpfs option \"huge=always\"");
        assert_eq!(get("bogus").unwrap_err(), "Invalid tmpfs option \"bogus\"");
    }

    #[test]
    fn of_a_mount() {
        let o = TmpfsOptions { size_bytes: 64 << 20, mode: 0o1777, ..Default::default() };
        assert_eq!(from_mount(Some(&o), true).unwrap(), "ro,mode=1777,size=64m");
        let o = TmpfsOptions { size_bytes: 1025, ..Default::default() };
        assert_eq!(from_mount(Some(&o), false).unwrap(), "size=1025");
        assert_eq!(from_mount(None, false).unwrap(), "");
    }
}
