//! The body of every refusal, and the smallest answer.

use serde::{Deserialize, Serialize};

/// `{"message": "…"}`: what a client prints after "Error response from daemon: ".
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorResponse {
    /// The whole sentence.
    pub message: String,
}

/// `{"Id": "…"}`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct IdResponse {
    /// Of what was made.
    #[serde(rename = "Id")]
    pub id: String,
}
