//! The one tar reader and the one tar writer of the engine.
//!
//! The reader takes ustar, GNU and PAX archives, and refuses whatever two well-known readers could read differently: a
//! smuggled entry needs two readers that disagree.

mod header;
mod pax;
mod reader;
mod sparse;
mod writer;

pub use reader::{Entry, Kind, Reader, Time};
pub use writer::Writer;
