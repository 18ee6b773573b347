//! Volumes.

use crate::go::{List, Map, is_default, objects};

objects! {
    /// One volume.
    struct Volume {
        #[serde(skip_serializing_if = "is_default")]
        created_at: String,
        driver: String,
        labels: Map<String>,
        mountpoint: String,
        name: String,
        options: Map<String>,
        scope: String,
        /// In `GET /system/df` only.
        #[serde(skip_serializing_if = "Option::is_none")]
        usage_data: Option<VolumeUsage>,
    }

    /// How much a volume holds.
    struct VolumeUsage { ref_count: i64, size: i64 }

    /// Answer of `GET /volumes`.
    struct VolumeList {
        /// Never null.
        volumes: Vec<Volume>,
        warnings: List<String>,
    }

    /// Body of `POST /volumes/create`.
    struct CreateVolume {
        #[serde(skip_serializing_if = "is_default")]
        driver: String,
        #[serde(skip_serializing_if = "Map::is_empty")]
        driver_opts: Map<String>,
        #[serde(skip_serializing_if = "Map::is_empty")]
        labels: Map<String>,
        #[serde(skip_serializing_if = "is_default")]
        name: String,
    }

    /// Answer of `POST /volumes/prune`.
    struct VolumesPruned { volumes_deleted: List<String>, space_reclaimed: u64 }
}
