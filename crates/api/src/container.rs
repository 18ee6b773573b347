//! Containers.

mod config;
mod host;
mod inspect;
mod stats;

pub use config::*;
pub use host::*;
pub use inspect::*;
pub use stats::*;

use crate::go::{List, Map, is_default, objects};
use crate::network::EndpointSettings;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The time that Docker prints for "never".
pub const NEVER: &str = "0001-01-01T00:00:00Z";

objects! {
    /// One line of `GET /containers/json`.
    struct ContainerSummary {
        id: String,
        /// With a slash before each.
        names: List<String>,
        image: String,
        #[serde(rename = "ImageID")]
        image_id: String,
        command: String,
        /// Seconds since the epoch.
        created: i64,
        ports: List<Port>,
        #[serde(skip_serializing_if = "is_default")]
        size_rw: i64,
        #[serde(skip_serializing_if = "is_default")]
        size_root_fs: i64,
        labels: Map<String>,
        state: String,
        /// `Up 3 minutes`, `Exited (0) 2 hours ago` …
        status: String,
        host_config: SummaryHostConfig,
        network_settings: SummaryNetworks,
        mounts: List<MountPoint>,
    }

    /// What a summary says of the host configuration.
    struct SummaryHostConfig {
        #[serde(skip_serializing_if = "is_default")]
        network_mode: String,
        #[serde(skip_serializing_if = "Map::is_empty")]
        annotations: Map<String>,
    }

    /// What a summary says of the network.
    struct SummaryNetworks { networks: Map<Box<EndpointSettings>> }

    /// Answer of `POST /containers/{id}/wait`.
    struct Wait {
        #[serde(rename = "Error", skip_serializing_if = "Option::is_none")]
        error: Option<WaitError>,
        status_code: i64,
    }

    /// Why waiting failed.
    struct WaitError { message: String }

    /// Answer of `GET /containers/{id}/top`.
    struct Top { processes: List<Vec<String>>, titles: List<String> }

    /// Answer of `POST /containers/{id}/update`.
    struct Updated { warnings: List<String> }

    /// One line of `GET /containers/{id}/changes`.
    struct Change {
        /// 0 modified, 1 added, 2 deleted.
        kind: u8,
        path: String,
    }

    /// Answer of `POST /containers/prune`.
    struct Pruned {
        containers_deleted: List<String>,
        space_reclaimed: u64,
    }
}

/// What a table shows of a container: fields of [`ContainerSummary`], borrowed from where they are. With `brief=1`
/// `GET /containers/json` answers with these alone, a list without names for each container ([`SummaryLine::fields`]), and
/// with the image's ID only where it stands for the image's name; that is an addition of ours, and other engines, which do
/// not know it, answer with summaries. It reads both.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct SummaryLine<'a> {
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    pub names: List<String>,
    #[serde(borrow)]
    pub image: Cow<'a, str>,
    #[serde(rename = "ImageID", borrow)]
    pub image_id: Cow<'a, str>,
    #[serde(borrow)]
    pub command: Cow<'a, str>,
    pub created: i64,
    pub ports: List<Port>,
    #[serde(borrow)]
    pub status: Cow<'a, str>,
}

impl SummaryLine<'_> {
    /// All of it in its order: what is written, as names would be half of a hundred lines.
    pub fn fields(&self) -> impl Serialize {
        let ports = &self.ports[..];
        (&self.id, &self.names, &self.image, &self.image_id, &self.command, self.created, ports, &self.status)
    }
}

/// One port of a summary.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct Port {
    #[serde(rename = "IP", skip_serializing_if = "is_default")]
    pub ip: String,
    pub private_port: u16,
    #[serde(skip_serializing_if = "is_default")]
    pub public_port: u16,
    /// `tcp`, `udp` or `sctp`
    #[serde(rename = "Type")]
    pub kind: String,
}

/// The `X-Docker-Container-Path-Stat` header: base64 of this as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct PathStat {
    pub name: String,
    pub size: i64,
    /// Go's `os.FileMode`: permission bits below, the type in [`go_mode`]'s high bits.
    pub mode: u32,
    /// RFC 3339.
    pub mtime: String,
    pub link_target: String,
}

impl PathStat {
    /// The header's value.
    pub fn to_header(&self) -> String {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads the header's value.
    pub fn from_header(value: &str) -> Option<PathStat> {
        use base64::Engine;
        let json = base64::engine::general_purpose::STANDARD.decode(value).ok()?;
        // serde would read a list as the fields in their order.
        serde_json::from_slice(&json).ok().filter(|_| json.trim_ascii_start().first() == Some(&b'{'))
    }
}

/// Bits of Go's `os.FileMode` above the permissions.
pub mod go_mode {
    #![allow(missing_docs)]
    pub const DIR: u32 = 1 << 31;
    pub const SYMLINK: u32 = 1 << 27;
    pub const DEVICE: u32 = 1 << 26;
    pub const NAMED_PIPE: u32 = 1 << 25;
    pub const SOCKET: u32 = 1 << 24;
    pub const SETUID: u32 = 1 << 23;
    pub const SETGID: u32 = 1 << 22;
    pub const CHAR_DEVICE: u32 = 1 << 21;
    pub const STICKY: u32 = 1 << 20;

    /// Go's form of a `st_mode`.
    pub fn from_unix(st_mode: u32) -> u32 {
        let kind = match st_mode & 0o170000 {
            0o040000 => DIR,
            0o120000 => SYMLINK,
            0o060000 => DEVICE,
            0o020000 => DEVICE | CHAR_DEVICE,
            0o010000 => NAMED_PIPE,
            0o140000 => SOCKET,
            _ => 0,
        };
        let bit = |unix: u32, go: u32| if st_mode & unix != 0 { go } else { 0 };
        kind | bit(0o4000, SETUID) | bit(0o2000, SETGID) | bit(0o1000, STICKY) | (st_mode & 0o777)
    }
}
