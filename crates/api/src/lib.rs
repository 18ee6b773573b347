//! The Docker Engine API on the wire, version 1.51: pure data, one module per noun.
//!
//! ```text
//! go.rs          what Go's encoding/json does and serde does not: null lists and maps, null as the default
//! container.rs   create, inspect, list, wait, top, update, changes, path stat, stats
//!   container/config.rs   ContainerConfig, HealthConfig, CreateContainer
//!   container/host.rs     HostConfig, Resources, mounts, log and restart policy
//!   container/inspect.rs  ContainerInspect, State, NetworkSettings, MountPoint
//!   container/stats.rs    one sample of the resources in use
//! exec.rs        processes added to a running container
//! image.rs       inspect, list, history, removal, search
//! network.rs     networks and endpoints        volume.rs   volumes
//! system.rs      version, info, disk usage     event.rs    events
//! auth.rs        registry credentials          error.rs    {"message"}
//! message.rs     the JSON lines of pull and import
//! stream.rs      the framing of attach, logs and exec
//! filters.rs     the `filters` query parameter
//! samples/       what dockerd prints, for the tests
//! signal.rs      signal names                  units.rs    sizes and durations as people read them
//! ```
//!
//! Invariants
//! - Field names, field order, and the choice between `null`, `[]`, `{}`, `""` and absence are dockerd's: what it
//!   prints survives a round trip byte for byte.
//! - On input, an absent field and `null` both mean the type's default; unknown fields are ignored.
//! - No input and output, no clock, no knowledge of who sends and who receives.

pub mod auth;
pub mod container;
pub mod error;
pub mod event;
pub mod exec;
pub mod filters;
pub mod go;
pub mod image;
pub mod message;
pub mod network;
#[cfg(test)]
mod samples;
pub mod signal;
pub mod stream;
pub mod system;
pub mod units;
pub mod volume;

pub use go::{Empty, List, Map};

/// The newest version of the API that this crate describes.
pub const VERSION: &str = "1.51";
/// The oldest version that is served.
pub const MIN_VERSION: &str = "1.24";
/// Where the engine listens, and a client looks, when neither is told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/dhow.sock";
