//! The terminal while a container has it.

use rustix::termios::{OptionalActions, Termios, Winsize, tcgetattr, tcgetwinsize, tcsetattr};

/// Raw mode for standard input; dropping it gives the terminal back as it was.
#[derive(Debug)]
pub struct Raw(Option<Termios>);

impl Raw {
    /// Enters raw mode, when standard input is a terminal.
    pub fn enter() -> Raw {
        let stdin = rustix::stdio::stdin();
        let Ok(before) = tcgetattr(stdin) else { return Raw(None) };
        let mut raw = before.clone();
        raw.make_raw();
        // output from others still gets its carriage returns when we do not own the screen
        match tcsetattr(stdin, OptionalActions::Now, &raw) {
            Ok(()) => Raw(Some(before)),
            Err(_) => Raw(None),
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // nothing can be done when even this fails
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Whether standard input is a terminal.
pub fn stdin_is_terminal() -> bool {
    rustix::termios::isatty(rustix::stdio::stdin())
}

/// Rows and columns of the terminal that output goes to.
pub fn size() -> Option<(u32, u32)> {
    match tcgetwinsize(rustix::stdio::stdout()) {
        Ok(Winsize { ws_row: 0, ws_col: 0, .. }) | Err(_) => None,
        Ok(size) => Some((size.ws_row.into(), size.ws_col.into())),
    }
}

/// The keys that leave a container: `ctrl-p,ctrl-q`.
pub fn detach_keys(text: &str) -> Result<Vec<u8>, String> {
    let mut keys = Vec::new();
    for key in text.split(',') {
        let bytes = key.as_bytes();
        match (bytes, key.strip_prefix("ctrl-").map(str::as_bytes)) {
            ([one], _) => keys.push(*one),
            (_, Some([c @ b'a'..=b'z'])) => keys.push(c - b'a' + 1),
            (_, Some([b'@'])) => keys.push(0),
            (_, Some([b'['])) => keys.push(27),
            (_, Some([b'\\'])) => keys.push(28),
            (_, Some([b']'])) => keys.push(29),
            (_, Some([b'^'])) => keys.push(30),
            (_, Some([b'_'])) => keys.push(31),
            _ => return Err(format!("Unknown character: '{key}'")),
        }
    }
    Ok(keys)
}

/// Takes the detach keys out of what is typed.
#[derive(Debug)]
pub struct Detach {
    keys: Vec<u8>,
    seen: usize,
}

impl Detach {
    /// No keys: nothing leaves.
    pub fn new(keys: Vec<u8>) -> Detach {
        Detach { keys, seen: 0 }
    }

    /// What is to be passed on, and whether the person has left.
    pub fn feed(&mut self, input: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::with_capacity(input.len());
        for byte in input {
            if self.keys.get(self.seen) == Some(byte) {
                self.seen += 1;
                if self.seen == self.keys.len() {
                    return (out, true);
                }
                continue;
            }
            out.extend_from_slice(&self.keys[..self.seen]);
            self.seen = 0;
            if self.keys.first() == Some(byte) {
                self.seen = 1;
                continue;
            }
            out.push(*byte);
        }
        (out, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        assert_eq!(detach_keys("ctrl-p,ctrl-q").unwrap(), [16, 17]);
        assert_eq!(detach_keys("ctrl-@,a,ctrl-_").unwrap(), [0, b'a', 31]);
        assert_eq!(detach_keys("shift-a").unwrap_err(), "Unknown character: 'shift-a'");
    }

    #[test]
    fn leaving() {
        let mut detach = Detach::new(vec![16, 17]);
        assert_eq!(detach.feed(b"a\x10b"), (b"a\x10b".to_vec(), false));
        assert_eq!(detach.feed(b"x\x10"), (b"x".to_vec(), false));
        assert_eq!(detach.feed(b"\x10\x11y"), (b"\x10".to_vec(), true));
        let mut never = Detach::new(Vec::new());
        assert_eq!(never.feed(b"\x10\x11"), (b"\x10\x11".to_vec(), false));
    }
}
