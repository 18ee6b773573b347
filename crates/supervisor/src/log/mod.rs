//! Docker's json-file format, both ways: one JSON object per line,
//! `{"log":"text\n","stream":"stdout","time":"2026-11-21T05:41:00.123456789Z"}`.
//!
//! ```text
//! time.rs     RFC 3339 with nanoseconds, by hand
//! encode.rs   bytes → JSON string as Go's encoder writes it for Docker
//! decode.rs   one line → Record; our own form by hand, any other through serde_json
//! write.rs    Writer: lines, the 16 KiB limit, rotation, a full disk
//! files.rs    the rotated set: open it whole, find what follows a file
//! read.rs     Reader: tail, since, until
//! follow.rs   waiting for more
//! ```

mod decode;
mod encode;
mod files;
mod follow;
mod read;
pub mod time;
mod write;

pub use decode::decode;
pub use read::{Query, Reader};
pub use write::Writer;

/// The longest text of one record; a longer line becomes several records, of which only the last ends with a newline.
pub const CHUNK: usize = 16 << 10;
/// [`Record::stream`] of standard output.
pub const STDOUT: u8 = 1;
/// [`Record::stream`] of standard error.
pub const STDERR: u8 = 2;

/// One record of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// [`STDOUT`] or [`STDERR`].
    pub stream: u8,
    /// When it was written, nanoseconds since the epoch.
    pub time_ns: i64,
    /// The text, with its newline unless the line goes on in the next record of this stream.
    pub line: Vec<u8>,
}
