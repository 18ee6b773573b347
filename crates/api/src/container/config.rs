//! The portable half of a container's configuration, and the body of create.

use super::HostConfig;
use crate::go::{Empty, List, Map, flattened, is_default, null_is_default, objects, one_or_many};
use crate::network::EndpointSettings;
use serde::{Deserialize, Serialize};

/// What an image also carries: Docker's `Config`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct ContainerConfig {
    #[serde(deserialize_with = "null_is_default")]
    pub hostname: String,
    #[serde(deserialize_with = "null_is_default")]
    pub domainname: String,
    #[serde(deserialize_with = "null_is_default")]
    pub user: String,
    #[serde(deserialize_with = "null_is_default")]
    pub attach_stdin: bool,
    #[serde(deserialize_with = "null_is_default")]
    pub attach_stdout: bool,
    #[serde(deserialize_with = "null_is_default")]
    pub attach_stderr: bool,
    /// `80/tcp`
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub exposed_ports: Map<Empty>,
    #[serde(deserialize_with = "null_is_default")]
    pub tty: bool,
    #[serde(deserialize_with = "null_is_default")]
    pub open_stdin: bool,
    #[serde(deserialize_with = "null_is_default")]
    pub stdin_once: bool,
    /// `NAME=value`, or `NAME` to take the image's away.
    pub env: List<String>,
    /// A lone string is a list of one.
    #[serde(deserialize_with = "one_or_many")]
    pub cmd: List<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthConfig>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_default")]
    pub args_escaped: bool,
    #[serde(deserialize_with = "null_is_default")]
    pub image: String,
    pub volumes: Map<Empty>,
    #[serde(deserialize_with = "null_is_default")]
    pub working_dir: String,
    /// A lone string is a list of one; `[""]` takes the image's away.
    #[serde(deserialize_with = "one_or_many")]
    pub entrypoint: List<String>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_default")]
    pub network_disabled: bool,
    /// Before 1.44; since then it is the endpoint's.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_default")]
    pub mac_address: String,
    pub on_build: List<String>,
    pub labels: Map<String>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_default")]
    pub stop_signal: String,
    /// Seconds; -1 waits for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "List::is_empty")]
    pub shell: List<String>,
}

objects! {
    /// How to find out whether a container is healthy. Durations in nanoseconds; zero inherits.
    struct HealthConfig {
        /// Empty inherits; `["NONE"]` disables; `["CMD", …]`, `["CMD-SHELL", text]`.
        #[serde(skip_serializing_if = "List::is_empty")]
        test: List<String>,
        #[serde(skip_serializing_if = "is_default")]
        interval: i64,
        #[serde(skip_serializing_if = "is_default")]
        timeout: i64,
        #[serde(skip_serializing_if = "is_default")]
        start_period: i64,
        #[serde(skip_serializing_if = "is_default")]
        start_interval: i64,
        #[serde(skip_serializing_if = "is_default")]
        retries: i64,
    }

    /// The networks of a new container.
    struct NetworkingConfig {
        endpoints_config: Map<Option<EndpointSettings>>,
    }

    /// Answer of `POST /containers/create`.
    struct Created {
        id: String,
        /// Never null.
        warnings: Vec<String>,
    }
}

/// Body of `POST /containers/create`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default, remote = "Self")]
#[allow(missing_docs)]
pub struct CreateContainer {
    #[serde(flatten)]
    pub config: ContainerConfig,
    pub host_config: Option<HostConfig>,
    pub networking_config: Option<NetworkingConfig>,
}

flattened!(CreateContainer, &["HostConfig", "NetworkingConfig"], ContainerConfig);
