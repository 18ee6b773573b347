//! What happens during a pull. The texts are Docker's; the daemon only puts them into JSON.

use oci::Digest;

/// One line of news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The tag for the first line, twelve digits of a layer's digest for its lines, nothing for the last ones.
    pub id: Option<String>,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The manifest is being asked for; the repository's path.
    PullingFrom(String),
    /// A layer will be fetched.
    PullingLayer,
    /// Other layers come first.
    Waiting,
    /// Compressed bytes so far.
    Downloading {
        /// So many.
        current: u64,
        /// Of so many.
        total: u64,
    },
    /// All bytes have come.
    Verifying,
    /// They are the right ones.
    Downloaded,
    /// Unpacking, counted in compressed bytes.
    Extracting {
        /// So many.
        current: u64,
        /// Of so many.
        total: u64,
    },
    /// The layer is in its place.
    Complete,
    /// It was there before.
    Exists,
    /// What the reference named.
    Digest(Digest),
    /// The last line, or a warning.
    Message(String),
}

impl Event {
    /// The text of Docker's `status` field.
    pub fn text(&self) -> String {
        match self {
            Event::PullingFrom(path) => format!("Pulling from {path}"),
            Event::PullingLayer => "Pulling fs layer".into(),
            Event::Waiting => "Waiting".into(),
            Event::Downloading { .. } => "Downloading".into(),
            Event::Verifying => "Verifying Checksum".into(),
            Event::Downloaded => "Download complete".into(),
            Event::Extracting { .. } => "Extracting".into(),
            Event::Complete => "Pull complete".into(),
            Event::Exists => "Already exists".into(),
            Event::Digest(digest) => format!("Digest: {digest}"),
            Event::Message(text) => text.clone(),
        }
    }

    /// `current` and `total` of Docker's `progressDetail`.
    pub fn detail(&self) -> Option<(u64, u64)> {
        match self {
            Event::Downloading { current, total } | Event::Extracting { current, total } => Some((*current, *total)),
            _ => None,
        }
    }
}
