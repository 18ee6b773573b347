//! What happened: lines of `GET /events`.

use crate::go::{Map, is_default, null_is_default};
use serde::{Deserialize, Serialize};

/// One event. `status`, `id` and `from` repeat the action for old clients.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Event {
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_default")]
    pub status: String,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_default")]
    pub id: String,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_default")]
    pub from: String,
    /// `container`, `image`, `network`, `volume`, `daemon` …
    #[serde(rename = "Type", deserialize_with = "null_is_default")]
    pub kind: String,
    #[serde(rename = "Action", deserialize_with = "null_is_default")]
    pub action: String,
    #[serde(rename = "Actor", deserialize_with = "null_is_default")]
    pub actor: Actor,
    /// `local`
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_default")]
    pub scope: String,
    /// Seconds since the epoch.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_default")]
    pub time: i64,
    /// Nanoseconds since the epoch.
    #[serde(rename = "timeNano", deserialize_with = "null_is_default", skip_serializing_if = "is_default")]
    pub time_nano: i64,
}

/// Whom it happened to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Actor {
    /// A container's ID, an image's name, a network's ID, a volume's name.
    #[serde(rename = "ID", deserialize_with = "null_is_default")]
    pub id: String,
    /// Labels and more.
    #[serde(rename = "Attributes")]
    pub attributes: Map<String>,
}

impl Event {
    /// An event of this machine at `time_nano`, with the fields for old clients filled in.
    pub fn new(kind: &str, action: &str, id: &str, attributes: Map<String>, time_nano: i64) -> Event {
        let legacy = matches!(kind, "container" | "image");
        let from =
            if kind == "container" { attributes.get("image").cloned().unwrap_or_default() } else { String::new() };
        Event {
            status: if legacy { action.into() } else { String::new() },
            id: if legacy { id.into() } else { String::new() },
            from,
            kind: kind.into(),
            action: action.into(),
            actor: Actor { id: id.into(), attributes },
            scope: "local".into(),
            time: time_nano.div_euclid(1_000_000_000),
            time_nano,
        }
    }
}
