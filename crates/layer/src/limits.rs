//! How much of an outsider's data is taken.

/// Every bound on what is read from an archive or a compressed stream. The defaults are generous to every real image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that the files of one layer hold together, holes included; and bytes of the uncompressed stream.
    pub bytes: u64,
    /// How many times larger than the compressed stream the uncompressed one may be, once it is larger than
    /// [`Limits::ratio_from`].
    pub ratio: u64,
    /// The uncompressed size from which [`Limits::ratio`] counts.
    pub ratio_from: u64,
    /// Entries of one archive, together with the directories that are made because entries lie in them.
    pub entries: u64,
    /// Names in a path: how deep a tree may be, and how far the target of a link may lead.
    pub depth: usize,
    /// Bytes of a path or a link's target.
    pub path: usize,
    /// Bytes of one extended header.
    pub header: usize,
    /// Ranges of one sparse file.
    pub ranges: usize,
    /// Bytes kept in memory of names that can only be settled at the end (hard links to lower layers, implied
    /// directories).
    pub pending: usize,
    /// Base-2 logarithm of the largest Zstandard window.
    pub window_log: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            bytes: 50 << 30,
            ratio: 20,
            ratio_from: 1 << 30,
            entries: 5_000_000,
            depth: 512,
            path: 4096,
            header: 1 << 20,
            ranges: 100_000,
            pending: 32 << 20,
            window_log: 27,
        }
    }
}
