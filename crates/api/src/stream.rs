//! Docker's framing of several streams in one: `[kind, 0, 0, 0, length BE32] payload`.

/// Media type of one raw stream (a terminal).
pub const RAW: &str = "application/vnd.docker.raw-stream";
/// Media type of framed streams.
pub const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";
/// Bytes before each payload.
pub const HEADER: usize = 8;

/// Which stream a payload belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 0
    Stdin,
    /// 1
    Stdout,
    /// 2
    Stderr,
    /// 3: an error of the daemon, as text.
    SystemError,
}

impl Kind {
    /// The first byte of the header.
    pub fn byte(self) -> u8 {
        match self {
            Kind::Stdin => 0,
            Kind::Stdout => 1,
            Kind::Stderr => 2,
            Kind::SystemError => 3,
        }
    }

    /// From the first byte of a header.
    pub fn from_byte(byte: u8) -> Option<Kind> {
        Some(match byte {
            0 => Kind::Stdin,
            1 => Kind::Stdout,
            2 => Kind::Stderr,
            3 => Kind::SystemError,
            _ => return None,
        })
    }
}

/// The header before `length` bytes of `kind`.
pub fn header(kind: Kind, length: u32) -> [u8; HEADER] {
    let [a, b, c, d] = length.to_be_bytes();
    [kind.byte(), 0, 0, 0, a, b, c, d]
}

/// One whole frame.
pub fn frame(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + payload.len());
    out.extend_from_slice(&header(kind, u32::try_from(payload.len()).unwrap_or(u32::MAX)));
    out.extend_from_slice(payload);
    out
}

/// A stream that is not framed as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unframed(
    /// The byte that names no stream.
    pub u8,
);

impl std::fmt::Display for Unframed {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Unrecognized input header: {}", self.0)
    }
}

impl std::error::Error for Unframed {}

/// Takes frames apart without keeping payloads: feed it what arrives, in pieces of any size.
#[derive(Debug, Default)]
pub struct Decoder {
    header: [u8; HEADER],
    have: usize,
    left: u32,
    kind: Option<Kind>,
}

impl Decoder {
    /// Calls `sink` with each piece of payload in `input`; a payload may come in several pieces.
    ///
    /// # Errors
    /// When a header names no stream, and whatever `sink` returns.
    pub fn feed<E: From<Unframed>>(
        &mut self,
        mut input: &[u8],
        mut sink: impl FnMut(Kind, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while !input.is_empty() {
            if let (Some(kind), true) = (self.kind, self.left > 0) {
                let n = input.len().min(self.left as usize);
                let (now, rest) = input.split_at(n);
                sink(kind, now)?;
                // n is at most `left`
                self.left -= n as u32;
                input = rest;
                continue;
            }
            let n = input.len().min(HEADER - self.have);
            let (now, rest) = input.split_at(n);
            self.header[self.have..self.have + n].copy_from_slice(now);
            self.have += n;
            input = rest;
            if self.have == HEADER {
                let [kind, _, _, _, a, b, c, d] = self.header;
                self.kind = Some(Kind::from_byte(kind).ok_or(Unframed(kind))?);
                self.left = u32::from_be_bytes([a, b, c, d]);
                self.have = 0;
            }
        }
        Ok(())
    }

    /// Whether the input ended between two frames.
    pub fn at_boundary(&self) -> bool {
        self.have == 0 && self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_cut_gives_the_same(payloads in proptest::collection::vec((0u8..3, proptest::collection::vec(any::<u8>(), 0..50)), 0..8), cut in 1usize..20) {
            let mut wire = Vec::new();
            let mut want = [Vec::new(), Vec::new(), Vec::new()];
            for (kind, payload) in &payloads {
                wire.extend(frame(Kind::from_byte(*kind).unwrap(), payload));
                want[*kind as usize].extend_from_slice(payload);
            }
            let mut got = [Vec::new(), Vec::new(), Vec::new()];
            let mut decoder = Decoder::default();
            for piece in wire.chunks(cut) {
                decoder.feed::<Unframed>(piece, |kind, bytes| {
                    got[kind.byte() as usize].extend_from_slice(bytes);
                    Ok(())
                }).unwrap();
            }
            prop_assert!(decoder.at_boundary());
            prop_assert_eq!(got, want);
        }
    }

    #[test]
    fn unknown_stream_is_refused() {
        let mut decoder = Decoder::default();
        let result = decoder.feed::<Unframed>(&[9, 0, 0, 0, 0, 0, 0, 1, 65], |_, _| Ok(()));
        assert_eq!(result, Err(Unframed(9)));
        assert_eq!(Unframed(9).to_string(), "Unrecognized input header: 9");
    }
}
