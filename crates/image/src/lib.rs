//! Images: names → manifests → layers. Pull, tag, import, remove, look up, list.
//!
//! ```text
//! store.rs     Images: what is known, under one short lock; opening and recovery
//! record.rs    one JSON document per image, and the document of names
//! durable.rs   the background commit: layers synced, records written, names replaced, in this order
//! names.rs     tags and digests → image IDs
//! lookup.rs    what a user typed → an image; the views `inspect`, `images` and `history` need
//! space.rs     which layers and blobs are needed, and freeing the others
//! pull.rs      a reference → a stored image
//! choose.rs    manifest or index → the manifest for a platform; what an image must be to be run here
//! fetch.rs     one layer: fetched and unpacked once, however many wait for it
//! progress.rs  what happens during a pull, in Docker's words
//! tag.rs       tag and remove, with Docker's rules
//! import.rs    a root file system → an image
//! changes.rs   the Dockerfile lines of `import --change`
//! check.rs     is what lies here what is known
//! embedded.rs  an image made of files that the program carries
//! error.rs
//! ```
//!
//! On disk, below `<root>/image`:
//!
//! ```text
//! record/<hex>.json    version 1: which blobs and layers an image is made of; named by the image ID
//! repositories.json    version 1: names → image IDs, always replaced as a whole
//! quarantine/          what could not be read at a start; never read again
//! ```
//!
//! Invariants
//! - A record is written only after the layers it names are on the disk, so a power cut loses an image whole or not at
//!   all. Pull answers when the image can be used; the record follows at once in the background. Tag, import and
//!   remove answer when it is on the disk.
//! - Nothing is named before its digest was verified. The raw bytes of manifests and configurations are kept as blobs.
//! - No lock is held while reading, writing or waiting.
//! - Labels, annotations and environment of an image are kept and shown, and mean nothing here.
//!
//! This room knows nothing of containers: who uses an image is asked of the caller.

mod changes;
mod check;
mod choose;
mod durable;
mod embedded;
mod error;
mod fetch;
mod import;
mod lookup;
mod names;
mod progress;
mod pull;
mod record;
mod space;
mod store;
mod tag;

pub use embedded::File;
pub use error::{Error, Result};
pub use import::Import;
pub use lookup::{HistoryLine, Image};
pub use progress::{Event, Progress};
pub use pull::Pulled;
pub use space::Sharing;
pub use store::{Config, Images};
pub use tag::{Removed, User};
