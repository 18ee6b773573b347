//! The keys that leave an attached terminal without ending its container.

use crate::error::{Error, Result};

/// Docker's default, `ctrl-p,ctrl-q`.
const DEFAULT: [u8; 2] = [16, 17];

/// Reads `ctrl-p,ctrl-q`, `a,b`, `ctrl-[`; nothing is the default.
///
/// # Errors
/// 400, when a key has no such name.
pub fn keys(text: &str) -> Result<Vec<u8>> {
    if text.is_empty() {
        return Ok(DEFAULT.to_vec());
    }
    text.split(',').map(|key| code(key).ok_or_else(|| unknown(key))).collect()
}

fn unknown(key: &str) -> Error {
    Error::invalid(format!("Invalid detach keys (\"{key}\") provided: Unknown character: '{key}'"))
}

fn code(key: &str) -> Option<u8> {
    match key.as_bytes() {
        [one] => Some(*one),
        [b'c', b't', b'r', b'l', b'-', letter] => Some(match letter.to_ascii_lowercase() {
            letter @ b'a'..=b'z' => letter - b'a' + 1,
            b'@' => 0,
            b'[' => 27,
            b'\\' => 28,
            b']' => 29,
            b'^' => 30,
            b'_' => 31,
            _ => return None,
        }),
        b"del" | b"DEL" => Some(127),
        _ => None,
    }
}

/// Looks for the keys in what is typed. A beginning of them is held back until it is known to be more or less.
#[derive(Debug)]
pub struct Escape {
    keys: Vec<u8>,
    matched: usize,
}

impl Escape {
    /// Of these keys.
    pub fn new(keys: Vec<u8>) -> Escape {
        Escape { keys, matched: 0 }
    }

    /// Appends to `out` what goes to the container; true when the keys were pressed.
    pub fn feed(&mut self, typed: &[u8], out: &mut Vec<u8>) -> bool {
        for byte in typed {
            if self.keys.get(self.matched) == Some(byte) {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return true;
                }
                continue;
            }
            out.extend_from_slice(&self.keys[..self.matched]);
            self.matched = usize::from(self.keys.first() == Some(byte));
            if self.matched == 0 {
                out.push(*byte);
            } else if self.keys.len() == 1 {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(keys("").unwrap(), [16, 17]);
        assert_eq!(keys("ctrl-a,x,ctrl-[").unwrap(), [1, b'x', 27]);
        assert!(keys("ctrl-1").is_err() && keys("xy").is_err() && keys("a,,b").is_err());
    }

    #[test]
    fn a_beginning_is_held_back_and_given_up() {
        let mut escape = Escape::new(vec![16, 17]);
        let mut out = Vec::new();
        assert!(!escape.feed(b"a\x10", &mut out));
        assert_eq!(out, b"a");
        assert!(!escape.feed(b"b\x10\x10", &mut out));
        assert_eq!(out, b"a\x10b\x10");
        assert!(escape.feed(b"\x11zzz", &mut out));
        assert_eq!(out, b"a\x10b\x10");
    }
}
