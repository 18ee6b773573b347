//! Layers: content by digest, the tar reader and writer, unpacked layers, and writable ones on top of them.
//!
//! ```text
//! store.rs     the layer store: names, records, durability, garbage
//! blob.rs      the content store: resumable, verified before it is named
//! pull.rs      compressed bytes in, staged layer out
//! pipeline.rs  the threads between them: blob, inflate, untar, hash
//! pipe.rs      the bounded channels between the threads
//! inflate.rs   gzip and Zstandard
//! packing.rs   what else people hand over: bzip2, xz
//! hash.rs      digests of streams
//! stage.rs     an unpacked layer finds its place in a chain
//! merged.rs    what a stack of layers shows at a path
//! snapshot.rs  writable layers by overlayfs
//! tar/         the one tar reader and writer of the engine
//! unpack/      an archive becomes files
//! pack.rs      files become an archive
//! trash.rs     removing them later
//! limits.rs    how much of outside data is taken
//! check.rs     is what lies here what the records say
//! error.rs     what can go wrong
//! ```
//!
//! Invariants
//! - Bytes are verified against their digest before anything has their name, and are durable before it does.
//! - A record of a layer exists only when the layer's files are on disk ([`Layers::sync`]).
//! - No archive changes anything outside the directory it is unpacked into: every path is walked by descriptors, and the
//!   thread that walks is shut in by Landlock where the kernel has it.
//! - Damage never keeps the store from opening: what is damaged is put aside.
//! - Nothing is mounted here.
//!
//! It must never know what an image, a registry or a container is.

mod blob;
mod check;
mod error;
mod hash;
mod inflate;
mod limits;
mod merged;
pub mod pack;
mod packing;
mod pipe;
mod pipeline;
mod pull;
mod snapshot;
mod stage;
mod store;
pub mod tar;
mod trash;
pub mod unpack;

pub use blob::Ingest;
pub use check::{Needed, Needs};
pub use error::{Error, Result};
pub use limits::Limits;
pub use pack::pack;
pub use packing::Packing;
pub use pull::PullSink;
pub use snapshot::Rootfs;
pub use stage::Staged;
pub use store::{Applied, ChainId, Layers};
pub use unpack::unpack;
