//! The JSON lines that pull and import stream.

use crate::go::is_default;
use serde::{Deserialize, Serialize};

/// One line.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct JsonMessage {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stream: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    #[serde(rename = "progressDetail", skip_serializing_if = "Option::is_none")]
    pub progress_detail: Option<ProgressDetail>,
    /// The bar, drawn; for clients that cannot draw.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub progress: String,
    /// Of the layer: 12 hex digits.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    #[serde(rename = "errorDetail", skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<ErrorDetail>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aux: Option<serde_json::Value>,
}

/// How far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct ProgressDetail {
    #[serde(skip_serializing_if = "is_default")]
    pub current: i64,
    /// Absent when unknown.
    #[serde(skip_serializing_if = "is_default")]
    pub total: i64,
    /// Seconds since the epoch.
    #[serde(skip_serializing_if = "is_default")]
    pub start: i64,
    #[serde(skip_serializing_if = "is_default")]
    pub hidecounts: bool,
    /// Default: bytes.
    #[serde(skip_serializing_if = "Units::is_bytes")]
    pub units: Units,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Units {
    #[default]
    #[serde(rename = "")]
    Bytes,
    #[serde(rename = "s")]
    Seconds,
}

impl Units {
    fn is_bytes(&self) -> bool {
        *self == Units::Bytes
    }
}

/// Why it stopped.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct ErrorDetail {
    #[serde(skip_serializing_if = "is_default")]
    pub code: i64,
    pub message: String,
}

impl JsonMessage {
    /// A line of plain status.
    pub fn status(text: impl Into<String>) -> JsonMessage {
        JsonMessage { status: text.into(), ..JsonMessage::default() }
    }

    /// A layer's status, without a bar. Docker prints an empty `progressDetail` with it.
    pub fn layer(id: impl Into<String>, status: impl Into<String>) -> JsonMessage {
        JsonMessage {
            id: id.into(),
            status: status.into(),
            progress_detail: Some(ProgressDetail::default()),
            ..JsonMessage::default()
        }
    }

    /// The end of a stream that failed.
    pub fn error(text: impl Into<String>) -> JsonMessage {
        let message = text.into();
        JsonMessage {
            error: message.clone(),
            error_detail: Some(ErrorDetail { code: 0, message }),
            ..JsonMessage::default()
        }
    }

    /// As a line, with CR LF as Docker ends it.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.extend_from_slice(b"\r\n");
        line
    }
}
