//! The byte format: `struct nlmsghdr`, `struct nlattr`, both padded to four bytes (linux/netlink.h).

/// Bytes of a message header.
pub const HEADER: usize = 16;
const ATTRIBUTE: usize = 4;

/// `NLM_F_REQUEST`
pub const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`
pub const ACK: u16 = 0x4;
/// `NLM_F_DUMP`
pub const DUMP: u16 = 0x300;
/// `NLM_F_EXCL`
pub const EXCL: u16 = 0x200;
/// `NLM_F_REPLACE`
pub const REPLACE: u16 = 0x100;
/// `NLM_F_CREATE`
pub const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`
pub const APPEND: u16 = 0x800;
/// `NLMSG_ERROR`, also the acknowledgement
pub const ERROR: u16 = 2;
/// `NLMSG_DONE`, the end of a dump
pub const DONE: u16 = 3;

const NESTED: u16 = 0x8000;
const TYPE_MASK: u16 = 0x3fff;

/// Several messages that go to the kernel in one `sendmsg`, each with what it is for, so that an error can say so.
pub struct Batch {
    bytes: Vec<u8>,
    doing: Vec<&'static str>,
    /// Where the header of the last message begins.
    last: usize,
    overflow: bool,
}

impl Default for Batch {
    fn default() -> Batch {
        Batch::new()
    }
}

impl Batch {
    /// No message yet.
    pub fn new() -> Batch {
        Batch { bytes: Vec::with_capacity(1024), doing: Vec::new(), last: 0, overflow: false }
    }

    /// Adds one message: its fixed header, then the attributes that `body` writes. Its sequence number is its index + 1.
    pub fn message(
        &mut self,
        doing: &'static str,
        kind: u16,
        flags: u16,
        fixed: &[u8],
        body: impl FnOnce(&mut Attributes),
    ) {
        self.doing.push(doing);
        self.last = self.bytes.len();
        let sequence = self.doing.len() as u32;
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(fixed);
        let mut attributes = Attributes { bytes: &mut self.bytes, overflow: false };
        attributes.pad();
        body(&mut attributes);
        self.overflow |= attributes.overflow;
        match u32::try_from(self.bytes.len() - self.last) {
            Ok(length) => self.patch(self.last, &length.to_ne_bytes()),
            Err(_) => self.overflow = true,
        }
    }

    /// Asks for an acknowledgement of the last message: the kernel answers in order, so that one ends the wait.
    pub fn acknowledge_last(&mut self) {
        if let Some(flags) = self.bytes.get(self.last + 6..self.last + 8) {
            let flags = u16::from_ne_bytes([flags[0], flags[1]]) | ACK;
            self.patch(self.last + 6, &flags.to_ne_bytes());
        }
    }

    fn patch(&mut self, at: usize, with: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + with.len()) {
            place.copy_from_slice(with);
        }
    }

    /// The bytes to send, or nothing when a length did not fit its field (an attribute ends at 64 KiB).
    pub fn bytes(&self) -> Option<&[u8]> {
        (!self.overflow).then_some(&self.bytes)
    }

    /// What the message with this sequence number was for.
    pub fn doing(&self, sequence: u32) -> &'static str {
        let index = (sequence as usize).saturating_sub(1);
        self.doing.get(index).or(self.doing.first()).copied().unwrap_or("netlink")
    }

    /// How many messages there are: also the sequence number of the last one.
    pub fn len(&self) -> u32 {
        self.doing.len() as u32
    }

    /// Whether there is no message.
    pub fn is_empty(&self) -> bool {
        self.doing.is_empty()
    }
}

/// Where attributes are written.
pub struct Attributes<'a> {
    bytes: &'a mut Vec<u8>,
    overflow: bool,
}

impl Attributes<'_> {
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(&mut self, start: usize, kind: u16) {
        match u16::try_from(self.bytes.len() - start) {
            Ok(length) => {
                if let Some(place) = self.bytes.get_mut(start..start + 2) {
                    place.copy_from_slice(&length.to_ne_bytes());
                }
                if let Some(place) = self.bytes.get_mut(start + 2..start + 4) {
                    place.copy_from_slice(&kind.to_ne_bytes());
                }
            }
            Err(_) => self.overflow = true,
        }
        self.pad();
    }

    /// One attribute of raw bytes.
    pub fn put(&mut self, kind: u16, value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; ATTRIBUTE]);
        self.bytes.extend_from_slice(value);
        self.finish(start, kind);
    }

    /// A string with its NUL.
    pub fn text(&mut self, kind: u16, value: &str) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; ATTRIBUTE]);
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.finish(start, kind);
    }

    /// A number in the machine's byte order, as rtnetlink has them.
    pub fn u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_ne_bytes());
    }

    /// A number in network byte order, as nf_tables has them.
    pub fn be32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_be_bytes());
    }

    /// An attribute that holds attributes.
    pub fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Attributes)) {
        self.nest_after(kind | NESTED, &[], body);
    }

    /// An attribute that holds a fixed header and attributes, unmarked (`VETH_INFO_PEER` is one).
    pub fn nest_after(&mut self, kind: u16, fixed: &[u8], body: impl FnOnce(&mut Attributes)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; ATTRIBUTE]);
        self.bytes.extend_from_slice(fixed);
        let mut inner = Attributes { bytes: self.bytes, overflow: false };
        inner.pad();
        body(&mut inner);
        let overflow = inner.overflow;
        self.overflow |= overflow;
        self.finish(start, kind);
    }
}

/// One message that came from the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`
    pub kind: u16,
    /// `nlmsg_flags`
    pub flags: u16,
    /// `nlmsg_seq`
    pub sequence: u32,
    /// `nlmsg_pid`: whose request caused this one
    pub port: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|b| u16::from_ne_bytes([b[0], b[1]]))
}

/// A 32-bit number in the machine's order.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).map(|b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
}

/// The messages in what one `recv` returned; stops at the first one that is cut short.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = u32_at(bytes, 0)? as usize;
        let payload = bytes.get(HEADER..length)?;
        let message = Message {
            kind: u16_at(bytes, 4)?,
            flags: u16_at(bytes, 6)?,
            sequence: u32_at(bytes, 8)?,
            port: u32_at(bytes, 12)?,
            payload,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// The attributes in `bytes`, as (type without flags, value); stops at the first one that is cut short.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = u16_at(bytes, 0)? as usize;
        let kind = u16_at(bytes, 2)? & TYPE_MASK;
        let value = bytes.get(ATTRIBUTE..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the first attribute of this type.
pub fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(k, _)| *k == kind).map(|(_, value)| value)
}

/// An attribute's string without its NUL; nothing when it is not UTF-8.
pub fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value.split(|b| *b == 0).next()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_has_the_kernels_layout() {
        let mut batch = Batch::new();
        batch.message("x", 0x10, CREATE, &[1, 2], |a| {
            a.text(3, "lo");
            a.nest(18, |a| a.put(1, b"veth"));
        });
        batch.acknowledge_last();
        let mut expected = Vec::new();
        expected.extend_from_slice(&40u32.to_ne_bytes());
        expected.extend_from_slice(&0x10u16.to_ne_bytes());
        expected.extend_from_slice(&(CREATE | REQUEST | ACK).to_ne_bytes());
        expected.extend_from_slice(&1u32.to_ne_bytes());
        expected.extend_from_slice(&[0, 0, 0, 0, 1, 2, 0, 0]);
        expected.extend_from_slice(&[7, 0, 3, 0, b'l', b'o', 0, 0]);
        expected.extend_from_slice(&[12, 0, 18, 0x80, 8, 0, 1, 0, b'v', b'e', b't', b'h']);

        assert_eq!(batch.bytes(), Some(expected.as_slice()));
        assert_eq!(batch.doing(1), "x");
    }

    #[test]
    fn an_attribute_over_64_kib_is_refused_and_never_wraps() {
        let mut fits = Batch::new();
        fits.message("x", 1, 0, &[], |a| a.put(1, &vec![0; 65_531]));
        assert!(fits.bytes().is_some());
        let mut over = Batch::new();
        over.message("x", 1, 0, &[], |a| a.nest(1, |a| a.put(1, &vec![0; 65_532])));
        assert_eq!(over.bytes(), None);
        let mut sum = Batch::new();
        sum.message("x", 1, 0, &[], |a| a.nest(1, |a| (0..2).for_each(|_| a.put(1, &vec![0; 40_000]))));
        assert_eq!(sum.bytes(), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            list in prop::collection::vec((1u16..0x3fff, prop::collection::vec(any::<u8>(), 0..60)), 0..12),
            outer in 1u16..0x3fff,
            kinds in prop::collection::vec(any::<u16>(), 1..5),
        ) {
            let mut batch = Batch::new();
            for kind in &kinds {
                batch.message("t", *kind, 0, &[9; 8], |a| {
                    a.nest(outer, |a| list.iter().for_each(|(k, v)| a.put(*k, v)));
                    list.iter().for_each(|(k, v)| a.put(*k, v));
                });
            }
            let bytes = batch.bytes().unwrap();
            let read: Vec<_> = messages(bytes).collect();
            prop_assert_eq!(read.len(), kinds.len());
            for (index, (message, kind)) in read.iter().zip(&kinds).enumerate() {
                prop_assert_eq!(message.kind, *kind);
                prop_assert_eq!(message.sequence, index as u32 + 1);
                prop_assert_eq!(&message.payload[..8], &[9u8; 8][..]);
                let all: Vec<_> = attributes(&message.payload[8..]).collect();
                prop_assert_eq!(all[0].0, outer);
                let inner: Vec<_> = attributes(all[0].1).map(|(k, v)| (k, v.to_vec())).collect();
                prop_assert_eq!(&inner, &list);
                let flat: Vec<_> = all[1..].iter().map(|(k, v)| (*k, v.to_vec())).collect();
                prop_assert_eq!(&flat, &list);
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            for message in messages(&bytes).take(1000) {
                attributes(message.payload).take(1000).for_each(drop);
            }
            attributes(&bytes).take(1000).for_each(drop);
        }
    }
}
