//! What reaches the terminal.

use crate::failure::Result;
use std::borrow::Cow;
use std::io::Write;

/// Whether standard output is a terminal.
pub fn is_terminal() -> bool {
    rustix::termios::isatty(rustix::stdio::stdout())
}

/// Characters that make a terminal show something else than what is there: the bidirectional controls and the
/// invisible ones.
pub fn is_deceptive(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Text from a stranger (a name, a label, a path), with what a terminal would obey made visible.
pub fn visible(text: &str) -> Cow<'_, str> {
    let bad = |c: char| (c.is_control() && !matches!(c, '\n' | '\t')) || is_deceptive(c);
    if !text.contains(bad) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            c if bad(c) && (c as u32) < 0x100 => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if bad(c) => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Prints text made of other people's words: escaped on a terminal, as it is elsewhere.
pub fn print(text: &str) -> Result<()> {
    match is_terminal() {
        true => raw(visible(text).as_bytes()),
        false => raw(text.as_bytes()),
    }
}

/// Prints bytes as they are. A reader that has gone away ends the program quietly, as SIGPIPE would.
pub fn raw(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Err(crate::failure::Failure::exit(141)),
        other => Ok(other?),
    }
}

/// Prints a line to standard error.
pub fn complain(text: &str) {
    let shown = match rustix::termios::isatty(rustix::stdio::stderr()) {
        true => visible(text),
        false => Cow::Borrowed(text),
    };
    // nothing is left to do when standard error is gone too
    let _ = writeln!(std::io::stderr(), "{shown}");
}

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn escapes_are_shown() {
        assert_eq!(visible("plain ü\tx\n"), "plain ü\tx\n");
        assert_eq!(visible("\u{1b}[31mred\u{7}\u{9b}"), "\\x1b[31mred\\x07\\x9b");
        assert_eq!(visible("a\u{202e}b"), "a\\u202eb");
    }
}
