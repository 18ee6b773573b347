//! The daemon's side of `<run>/sock`: connections, requests, frames.

use crate::protocol::{Reply, Request, SOCKET};
use rustix::fs::{Mode, OFlags};
use rustix::net::{RecvFlags, recv};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// The longest socket path that fits an address.
const LONGEST_PATH: usize = 107;
/// No frame is longer: a supervisor reads its container in pieces of 64 KiB.
const LONGEST_FRAME: usize = 1 << 20;

/// A path of the socket that fits its address whatever the length of `run_dir`, and what must stay open meanwhile.
pub(crate) fn socket_path(run_dir: &Path) -> io::Result<(PathBuf, Option<OwnedFd>)> {
    let path = run_dir.join(SOCKET);
    if path.as_os_str().len() <= LONGEST_PATH {
        return Ok((path, None));
    }
    let directory = rustix::fs::open(run_dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    Ok((PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd())), Some(directory)))
}

/// Connects to the supervisor that uses `run_dir`.
pub fn connect(run_dir: &Path) -> io::Result<UnixStream> {
    let (path, _directory) = socket_path(run_dir)?;
    UnixStream::connect(path)
}

/// Sends the request that a connection begins with and waits for its answer, not reading a byte beyond it.
pub fn request(socket: &UnixStream, request: &Request) -> io::Result<Reply> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    (&mut &*socket).write_all(&line)?;
    Ok(serde_json::from_slice(&read_line(socket)?)?)
}

/// Reads up to a newline and leaves what follows in the socket.
pub(crate) fn read_line(socket: &UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut block = [0; 4096];
    loop {
        let (seen, _) = rustix::io::retry_on_intr(|| recv(socket, &mut block[..], RecvFlags::PEEK))?;
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let newline = memchr::memchr(b'\n', &block[..seen]);
        let length = newline.map_or(seen, |at| at + 1);
        (&mut &*socket).read_exact(&mut block[..length])?;
        line.extend_from_slice(&block[..length]);
        if newline.is_some() {
            return Ok(line);
        }
    }
}

/// Reads one frame into `payload` and returns its kind; `None` at a clean end.
pub fn read_frame(from: &mut impl Read, payload: &mut Vec<u8>) -> io::Result<Option<u8>> {
    let mut header = [0; 8];
    let mut filled = 0;
    while filled < header.len() {
        match from.read(&mut header[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
    if length > LONGEST_FRAME || header[1..4] != [0; 3] {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a frame"));
    }
    payload.resize(length, 0);
    from.read_exact(payload)?;
    Ok(Some(header[0]))
}

/// The header of a frame.
pub(crate) fn frame_header(kind: u8, length: usize) -> [u8; 8] {
    let [a, b, c, d] = (length as u32).to_be_bytes();
    [kind, 0, 0, 0, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_and_no_more() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"\"ok\"\nrest").unwrap();
        assert_eq!(read_line(&ours).unwrap(), b"\"ok\"\n");
        drop(theirs);
        let mut rest = Vec::new();
        (&ours).read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"rest");
    }

    #[test]
    fn frames_come_apart_as_they_were_put_together() {
        let mut bytes = frame_header(2, 3).to_vec();
        bytes.extend_from_slice(b"abc");
        bytes.extend_from_slice(&frame_header(1, 0));
        let mut payload = Vec::new();
        let mut from = &bytes[..];
        assert_eq!(read_frame(&mut from, &mut payload).unwrap(), Some(2));
        assert_eq!(payload, b"abc");
        assert_eq!(read_frame(&mut from, &mut payload).unwrap(), Some(1));
        assert!(payload.is_empty());
        assert_eq!(read_frame(&mut from, &mut payload).unwrap(), None);
        let mut torn = &bytes[..5];
        assert_eq!(read_frame(&mut torn, &mut payload).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let mut endless: &[u8] = &[1, 0, 0, 0, 255, 255, 255, 255];
        assert_eq!(read_frame(&mut endless, &mut payload).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
