//! What a request mounts: `Binds`, `Mounts`, `Tmpfs` and the image's `VOLUME`s, parsed to one type. Pure.

mod bind;
mod tmpfs;

pub(crate) use bind::{parse_bind, parse_mount, parse_volumes_from};
pub(crate) use tmpfs::{check_destination, options as tmpfs_options};

use serde::{Deserialize, Serialize};

/// One mount of a container, as `config.json` keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct MountPoint {
    pub kind: Kind,
    /// Of a volume; empty until an anonymous one has been made.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// On the host.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Absolute and clean, in the container.
    pub destination: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// The third part of a bind, verbatim.
    pub mode: String,
    pub rw: bool,
    /// Empty is the default.
    pub propagation: String,
    /// Fill an empty volume with what the image has at the destination.
    pub copy: bool,
    /// Make a missing source on the host: `-v` does, `--mount` does not.
    pub create_source: bool,
    pub non_recursive: bool,
    pub read_only: Depth,
    /// Below the volume's root.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subpath: String,
    /// Of a tmpfs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Made for this container and without a name of the user's: `rm -v` takes it along.
    pub anonymous: bool,
    /// Of a volume that is to be made.
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub labels: std::collections::BTreeMap<String, String>,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub driver_options: std::collections::BTreeMap<String, String>,
}

/// What is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    #[default]
    Bind,
    Volume,
    Tmpfs,
}

impl Kind {
    /// As inspect prints it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Bind => "bind",
            Kind::Volume => "volume",
            Kind::Tmpfs => "tmpfs",
        }
    }
}

/// How deep read-only goes into the mounts below a bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Depth {
    /// All of them, where the kernel can (5.12).
    #[default]
    Recursive,
    /// The top one alone.
    Top,
    /// All of them or an error.
    Forced,
}

/// Go's `path.Clean` for a path that counts as absolute.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Whether the relative path stays where it starts.
pub(crate) fn is_local(path: &str) -> bool {
    let mut depth = 0i32;
    if path.is_empty() || path.starts_with('/') || path.contains('\0') {
        return false;
    }
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => depth -= 1,
            _ => depth += 1,
        }
        if depth < 0 {
            return false;
        }
    }
    true
}

/// Mounts above come before those below: by the number of names in the path, else in the given order.
pub(crate) fn sort(mounts: &mut [MountPoint]) {
    mounts.sort_by_key(|m| m.destination.split('/').filter(|p| !p.is_empty()).count());
}
