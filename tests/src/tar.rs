//! Archives by hand, wrong ones above all: every field is what the test says.

/// An archive under construction.
#[derive(Default, Clone)]
pub struct Tar(Vec<u8>);

/// One ustar header; the checksum is right.
pub fn header(name: &[u8], kind: u8, size: u64, link: &[u8]) -> [u8; 512] {
    let mut h = [0u8; 512];
    h[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
    h[100..108].copy_from_slice(if kind == b'5' { b"0000755\0" } else { b"0000644\0" });
    h[108..116].copy_from_slice(b"0000000\0");
    h[116..124].copy_from_slice(b"0000000\0");
    h[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    h[136..148].copy_from_slice(b"00000000000\0");
    h[156] = kind;
    h[157..157 + link.len().min(100)].copy_from_slice(&link[..link.len().min(100)]);
    h[257..265].copy_from_slice(b"ustar\x0000");
    h[329..337].copy_from_slice(b"0000000\0");
    h[337..345].copy_from_slice(b"0000000\0");
    sum(&mut h);
    h
}

/// Makes the checksum of a header right again.
pub fn sum(h: &mut [u8; 512]) {
    h[148..156].fill(b' ');
    let sum: u32 = h.iter().map(|b| u32::from(*b)).sum();
    h[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// One record of an extended header.
pub fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length.to_string().len() + rest != length {
        length = length.to_string().len() + rest;
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

impl Tar {
    /// An empty one.
    pub fn new() -> Tar {
        Tar::default()
    }

    /// Any bytes, filled up to a block.
    pub fn raw(mut self, bytes: &[u8]) -> Tar {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// A file.
    pub fn file(self, name: &str, body: &[u8]) -> Tar {
        self.raw(&header(name.as_bytes(), b'0', body.len() as u64, b"")).raw(body)
    }

    /// A file with a mode of its own.
    pub fn mode(self, name: &str, mode: u32, body: &[u8]) -> Tar {
        let mut h = header(name.as_bytes(), b'0', body.len() as u64, b"");
        h[100..108].copy_from_slice(format!("{mode:07o}\0").as_bytes());
        sum(&mut h);
        self.raw(&h).raw(body)
    }

    /// A directory.
    pub fn dir(self, name: &str) -> Tar {
        self.raw(&header(name.as_bytes(), b'5', 0, b""))
    }

    /// A symbolic link.
    pub fn symlink(self, name: &str, to: &str) -> Tar {
        self.raw(&header(name.as_bytes(), b'2', 0, to.as_bytes()))
    }

    /// A hard link.
    pub fn link(self, name: &str, to: &str) -> Tar {
        self.raw(&header(name.as_bytes(), b'1', 0, to.as_bytes()))
    }

    /// A node: `b'3'` character device, `b'4'` block device.
    pub fn node(self, name: &str, kind: u8, major: u32, minor: u32) -> Tar {
        let mut h = header(name.as_bytes(), kind, 0, b"");
        h[329..337].copy_from_slice(format!("{major:07o}\0").as_bytes());
        h[337..345].copy_from_slice(format!("{minor:07o}\0").as_bytes());
        sum(&mut h);
        self.raw(&h)
    }

    /// An extended header for the next entry.
    pub fn pax(self, records: &[(&str, &[u8])]) -> Tar {
        let body: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        self.raw(&header(b"pax", b'x', body.len() as u64, b"")).raw(&body)
    }

    /// All entries of a whole archive, without its end.
    pub fn with(self, archive: &[u8]) -> Tar {
        let last = archive.chunks(512).rposition(|block| block.iter().any(|b| *b != 0));
        let end = last.map_or(0, |n| ((n + 1) * 512).min(archive.len()));
        self.raw(&archive[..end])
    }

    /// With the two blocks of the end.
    pub fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }

    /// Without any end.
    pub fn cut(self) -> Vec<u8> {
        self.0
    }
}
