//! One request and its whole answer over a blocking connection: what most commands are. They start in a fraction of the
//! time that an asynchronous runtime and a full HTTP client need to come up.

use bytes::Bytes;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

/// Longest status line or header, and most headers: an engine never comes near.
const LINE: u64 = 64 << 10;
const HEADERS: usize = 256;
/// Longest answer that is read whole.
const BODY: u64 = 1 << 30;
/// How much is read beyond a head: a page, since what comes of a long body is copied once more.
const AHEAD: usize = 4 << 10;
/// So much memory is taken before anything has come.
const AT_ONCE: u64 = 1 << 20;

/// A blocking connection.
pub trait Stream: Read + Write {}
impl Stream for UnixStream {}
impl Stream for TcpStream {}

/// A connection on which nothing is under way.
pub struct Connection(BufReader<Box<dyn Stream>>);

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// All of it.
    pub body: Bytes,
    /// Whether another request may follow.
    pub reusable: bool,
}

/// What the head says of the body.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    length: Option<u64>,
    chunked: bool,
    close: bool,
}

impl Connection {
    /// Over an open stream.
    pub fn new(stream: impl Stream + 'static) -> Connection {
        Connection(BufReader::with_capacity(AHEAD, Box::new(stream)))
    }

    /// Sends a request (head and body as they go out) and reads the answer.
    ///
    /// # Errors
    /// What reading and writing can meet; `InvalidData` when the answer is not HTTP.
    pub fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.0.get_mut().write_all(request)?;
        read(&mut self.0)
    }
}

fn read(from: &mut impl BufRead) -> io::Result<Answer> {
    let head = loop {
        let head = read_head(from)?;
        // 1xx: the answer proper follows
        if head.status >= 200 {
            break head;
        }
    };
    let empty = matches!(head.status, 204 | 304);
    let mut body = Vec::new();
    let mut reusable = !head.close;
    if empty {
    } else if head.chunked {
        read_chunks(from, &mut body)?;
    } else if let Some(length) = head.length {
        if length > BODY {
            return Err(invalid("an answer that is too long"));
        }
        body.reserve_exact(length.min(AT_ONCE) as usize);
        if from.take(length).read_to_end(&mut body)? as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    } else {
        reusable = false;
        from.take(BODY).read_to_end(&mut body)?;
    }
    Ok(Answer { status: head.status, body: body.into(), reusable })
}

fn read_head(from: &mut impl BufRead) -> io::Result<Head> {
    let first = line(from)?;
    let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)).and_then(|s| s.parse().ok());
    let Some(status) = status else { return Err(invalid("not an HTTP answer")) };
    let mut head = Head { status, length: None, chunked: false, close: first.starts_with("HTTP/1.0") };
    for _ in 0..HEADERS {
        let text = line(from)?;
        if text.is_empty() {
            return Ok(head);
        }
        let Some((name, value)) = text.split_once(':') else { return Err(invalid("a header without a colon")) };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            head.length = Some(value.parse().map_err(|_| invalid("a length that is no number"))?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            head.chunked = value.eq_ignore_ascii_case("chunked");
            if !head.chunked {
                return Err(invalid("an unknown transfer encoding"));
            }
        } else if name.eq_ignore_ascii_case("connection") {
            head.close |= value.eq_ignore_ascii_case("close");
        }
    }
    Err(invalid("too many headers"))
}

fn read_chunks(from: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let text = line(from)?;
        let size = text.split(';').next().unwrap_or("").trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| invalid("a chunk without a size"))?;
        if size == 0 {
            break;
        }
        if size > BODY || body.len() as u64 + size > BODY {
            return Err(invalid("an answer that is too long"));
        }
        if from.take(size).read_to_end(body)? as u64 != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !line(from)?.is_empty() {
            return Err(invalid("a chunk that is longer than its size"));
        }
    }
    for _ in 0..HEADERS {
        if line(from)?.is_empty() {
            return Ok(());
        }
    }
    Err(invalid("too many trailers"))
}

/// A line without its end.
fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut bytes = Vec::with_capacity(64);
    from.take(LINE).read_until(b'\n', &mut bytes)?;
    if bytes.pop() != Some(b'\n') {
        return Err(if bytes.len() as u64 >= LINE - 1 {
            invalid("a header that is too long")
        } else {
            io::ErrorKind::UnexpectedEof.into()
        });
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    String::from_utf8(bytes).map_err(|_| invalid("a header that is not text"))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed HTTP response: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> std::result::Result<(u16, String, bool), String> {
        let answer = read(&mut text.as_bytes()).map_err(|e| e.to_string())?;
        Ok((answer.status, String::from_utf8(answer.body.to_vec()).unwrap(), answer.reusable))
    }

    #[test]
    fn answers() {
        for (text, want) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabX", (200, "ab", true)),
            ("HTTP/1.1 204 No Content\r\n\r\nX", (204, "", true)),
            ("HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 1\r\n\r\nn", (404, "n", false)),
            ("HTTP/1.1 200 OK\r\n\r\nto the end", (200, "to the end", false)),
            (
                "HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3;x=y\r\ncde\r\n0\r\n\r\n",
                (200, "abcde", true),
            ),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", (201, "", true)),
        ] {
            let (status, body, reusable) = want;
            assert_eq!(answer(text), Ok((status, body.to_string(), reusable)), "{text}");
        }
    }

    #[test]
    fn garbage_is_refused() {
        for text in [
            "",
            "hello\r\n",
            "HTTP/1.1 x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        ] {
            assert!(answer(text).is_err(), "{text}");
        }
        let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(100_000));
        assert_eq!(answer(&long).unwrap_err(), "malformed HTTP response: a header that is too long");
    }
}
