//! Logs in files, both ways. `json-file` is one JSON object per line,
//! `{"log":"text\n","stream":"stdout","time":"2026-11-21T05:41:00.123456789Z"}`; `local` is one protobuf message per
//! record with its length before and after it, both as Docker writes them.
//!
//! ```text
//! time.rs      RFC 3339 with nanoseconds, by hand
//! format.rs    Format: where a record ends, encoding and decoding by either format
//! encode.rs    bytes → JSON string as Go's encoder writes it for Docker
//! decode.rs    one line of JSON → Record; our own form by hand, any other through serde_json
//! local.rs     Record ↔ the message of `local`
//! write.rs     Writer: lines, the 16 KiB limit, a full disk
//! rotate.rs    the writer's side of the rotated set, and what a follower still needs of it
//! compress.rs  the work of compressing a rotated file
//! files.rs     the reader's side of the rotated set: open it whole, find what follows a file
//! input.rs     one file after the other, plain or compressed, as a sequence of records
//! read.rs      Reader: tail, since, until, follow
//! follow.rs    waiting for more
//! ```
//!
//! How a follower loses nothing: it holds a shared lock (`flock`) on the file it reads and takes the next one's before
//! it lets go. A file that would be removed while it, or an older one, is locked gets the name `path.old-<n>` instead and
//! goes when nobody needs it any more, or when more than [`BEHIND`] bytes have gathered. Nobody waits for anybody.

mod compress;
mod decode;
mod encode;
mod files;
mod follow;
mod format;
mod input;
mod local;
mod read;
mod rotate;
pub mod time;
mod write;

pub use compress::Compression;
pub use format::Format;
pub use read::{Query, Reader};
pub use write::Writer;

use std::sync::Arc;

/// The longest text of one record; a longer line becomes several records, of which only the last ends with a newline.
pub const CHUNK: usize = 16 << 10;
/// How many bytes of rotated files are kept beyond their number for followers that are behind.
pub const BEHIND: u64 = 1 << 30;
/// [`Record::stream`] of standard output.
pub const STDOUT: u8 = 1;
/// [`Record::stream`] of standard error.
pub const STDERR: u8 = 2;

/// What a record says beside its text, by name.
pub type Attrs = Arc<[(String, String)]>;

/// One record of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// [`STDOUT`] or [`STDERR`].
    pub stream: u8,
    /// When it was written, nanoseconds since the epoch.
    pub time_ns: i64,
    /// The text, with its newline unless the line goes on in the next record of this stream.
    pub line: Vec<u8>,
    /// Labels, variables and the tag that the log's options asked for.
    pub attrs: Option<Attrs>,
}
