//! Bytes → the inside of a JSON string, with the escapes of Go's encoder as Docker uses it: HTML characters and the two
//! Unicode line separators are escaped, every byte that is not part of valid UTF-8 becomes `\ufffd`.

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Whether a byte can be copied as it is. Written without a table so that the loop over a block vectorises.
#[inline(always)]
const fn plain(b: u8) -> bool {
    (b >= 0x20) & (b < 0x80) & (b != b'"') & (b != b'\\') & (b != b'<') & (b != b'>') & (b != b'&')
}

/// How many leading bytes can be copied as they are.
#[inline]
fn plain_prefix(bytes: &[u8]) -> usize {
    let mut length = 0;
    for block in bytes.chunks_exact(32) {
        let mut all = true;
        for &b in block {
            all &= plain(b);
        }
        if !all {
            break;
        }
        length += 32;
    }
    length + bytes[length..].iter().take_while(|b| plain(**b)).count()
}

/// Appends `bytes` escaped.
pub(super) fn escape(out: &mut Vec<u8>, mut bytes: &[u8]) {
    loop {
        let length = plain_prefix(bytes);
        out.extend_from_slice(&bytes[..length]);
        bytes = &bytes[length..];
        let Some(&byte) = bytes.first() else { return };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0..0x80 => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
            _ => {
                bytes = escape_wide(out, bytes);
                continue;
            }
        }
        bytes = &bytes[1..];
    }
}

/// Appends the run of bytes above 0x7f that `bytes` begins with; returns what is after it.
fn escape_wide<'a>(out: &mut Vec<u8>, bytes: &'a [u8]) -> &'a [u8] {
    let run = bytes.iter().take_while(|b| **b >= 0x80).count();
    let (mut wide, rest) = bytes.split_at(run);
    while !wide.is_empty() {
        let (valid, bad) = match std::str::from_utf8(wide) {
            Ok(text) => (text, false),
            Err(error) => (std::str::from_utf8(&wide[..error.valid_up_to()]).unwrap_or_default(), true),
        };
        wide = &wide[valid.len()..];
        let mut text = valid;
        while let Some(at) = text.find(['\u{2028}', '\u{2029}']) {
            out.extend_from_slice(&text.as_bytes()[..at]);
            out.extend_from_slice(if text.as_bytes()[at + 2] == 0xa8 { b"\\u2028" } else { b"\\u2029" });
            text = &text[at + 3..];
        }
        out.extend_from_slice(text.as_bytes());
        if bad {
            // One for each byte, as Go's decoder advances; Rust's lossy conversion would merge some.
            out.extend_from_slice(b"\\ufffd");
            wide = &wide[1..];
        }
    }
    rest
}

/// `,"attrs":{…}`, as it stands in every record: sorted by name, as Go writes a map.
pub(super) fn attrs(attrs: &[(String, String)]) -> Vec<u8> {
    let mut sorted: Vec<_> = attrs.iter().collect();
    sorted.sort();
    let mut out = b",\"attrs\":{".to_vec();
    for (index, (name, value)) in sorted.into_iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"\"" } else { b",\"" });
        escape(&mut out, name.as_bytes());
        out.extend_from_slice(b"\":\"");
        escape(&mut out, value.as_bytes());
        out.push(b'"');
    }
    out.push(b'}');
    out
}

/// Where to cut `line` so that a piece has at most `limit` bytes and no character is torn.
pub(super) fn cut(line: &[u8], limit: usize) -> usize {
    // A character is at most four bytes: look back for its first one and keep it whole if it does not fit.
    for back in 1..=3.min(limit) {
        let byte = line[limit - back];
        if byte < 0x80 {
            break;
        }
        if byte >= 0xc0 {
            let width = if byte >= 0xf0 { 4 } else { 3 - usize::from(byte < 0xe0) };
            let whole = line.get(limit - back..limit - back + width).is_some_and(|c| std::str::from_utf8(c).is_ok());
            return if width > back && whole { limit - back } else { limit };
        }
    }
    limit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        escape(&mut out, bytes);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes_as_docker_does() {
        assert_eq!(
            escaped(b"plain text of more than thirty-two bytes in length\n"),
            "plain text of more than thirty-two bytes in length\\n"
        );
        assert_eq!(
            escaped(b"<a href=\"x\">&\\\t\r\x1b\x7f"),
            r#"\u003ca href=\"x\"\u003e\u0026\\\u0009\r\u001b"#.to_owned() + "\x7f"
        );
        assert_eq!(escaped("ä€😀\u{2028}x\u{2029}".as_bytes()), "ä€😀\\u2028x\\u2029");
        assert_eq!(escaped(b"a\xffb\xe2\x82"), "a\\ufffdb\\ufffd\\ufffd");
        assert_eq!(escaped(b"\xed\xa0\x80"), "\\ufffd\\ufffd\\ufffd");
    }

    #[test]
    fn cuts_between_characters() {
        assert_eq!(cut("aäb".as_bytes(), 2), 1);
        assert_eq!(cut("aäb".as_bytes(), 3), 3);
        assert_eq!(cut("x😀".as_bytes(), 4), 1);
        assert_eq!(cut(b"a\xff\xff\xff", 3), 3);
        assert_eq!(cut(b"a\xe2\x82zz", 2), 2);
    }
}
