//! Images.

use crate::container::{GraphDriver, HealthConfig};
use crate::go::{Empty, List, Map, is_default, objects};
use serde::{Deserialize, Serialize};

objects! {
    /// Answer of `GET /images/{name}/json`.
    struct ImageInspect {
        id: String,
        repo_tags: List<String>,
        repo_digests: List<String>,
        parent: String,
        comment: String,
        /// RFC 3339, or absent.
        #[serde(skip_serializing_if = "is_default")]
        created: String,
        docker_version: String,
        author: String,
        config: Option<ImageConfig>,
        architecture: String,
        #[serde(skip_serializing_if = "is_default")]
        variant: String,
        os: String,
        #[serde(skip_serializing_if = "is_default")]
        os_version: String,
        size: i64,
        graph_driver: GraphDriver,
        #[serde(rename = "RootFS")]
        root_fs: RootFs,
        metadata: ImageMetadata,
    }

    /// What containers of an image start with, as API 1.50 and later print it: only fields of the image specification
    /// and Docker's extensions to it.
    struct ImageConfig {
        #[serde(skip_serializing_if = "is_default")]
        user: String,
        #[serde(skip_serializing_if = "Map::is_empty")]
        exposed_ports: Map<Empty>,
        #[serde(skip_serializing_if = "List::is_empty")]
        env: List<String>,
        #[serde(skip_serializing_if = "List::is_empty")]
        entrypoint: List<String>,
        #[serde(skip_serializing_if = "List::is_empty")]
        cmd: List<String>,
        #[serde(skip_serializing_if = "Map::is_empty")]
        volumes: Map<Empty>,
        #[serde(skip_serializing_if = "is_default")]
        working_dir: String,
        #[serde(skip_serializing_if = "Map::is_empty")]
        labels: Map<String>,
        #[serde(skip_serializing_if = "is_default")]
        stop_signal: String,
        #[serde(skip_serializing_if = "is_default")]
        args_escaped: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        healthcheck: Option<HealthConfig>,
        #[serde(skip_serializing_if = "List::is_empty")]
        on_build: List<String>,
        #[serde(skip_serializing_if = "List::is_empty")]
        shell: List<String>,
    }

    /// The layers' uncompressed digests, lowest first.
    struct RootFs {
        #[serde(rename = "Type")]
        kind: String,
        #[serde(skip_serializing_if = "List::is_empty")]
        layers: List<String>,
    }

    /// What this engine knows beside the image.
    struct ImageMetadata {
        /// RFC 3339; `0001-01-01T00:00:00Z` for never.
        last_tag_time: String,
    }

    /// One line of `GET /images/json`.
    struct ImageSummary {
        /// -1 when not counted.
        containers: i64,
        /// Seconds since the epoch.
        created: i64,
        id: String,
        labels: Map<String>,
        parent_id: String,
        /// Never null.
        repo_digests: Vec<String>,
        /// Never null.
        repo_tags: Vec<String>,
        /// -1 when not calculated.
        shared_size: i64,
        size: i64,
        /// Before 1.44 only.
        #[serde(skip_serializing_if = "Option::is_none")]
        virtual_size: Option<i64>,
    }

    /// One line of `GET /images/{name}/history`, newest first.
    struct HistoryItem {
        comment: String,
        /// Seconds since the epoch.
        created: i64,
        created_by: String,
        /// `<missing>` for all but the image itself.
        id: String,
        size: i64,
        tags: List<String>,
    }

    /// Answer of `POST /images/prune`.
    struct ImagesPruned {
        images_deleted: List<Removed>,
        space_reclaimed: u64,
    }

}

/// One line of `DELETE /images/{name}`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Removed {
    /// An ID that is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted: Option<String>,
    /// A name that is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub untagged: Option<String>,
}
