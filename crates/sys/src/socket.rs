//! Descriptors over a Unix socket (SCM_RIGHTS, unix(7)).

use crate::{Errno, Result};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

/// The most descriptors that one message carries here (the kernel's own limit is 253).
pub const MAX_FDS: usize = 64;

/// Sends as much of `bytes` as the socket takes, with `fds` on the first byte; returns how much. Never raises SIGPIPE.
///
/// # Errors
/// `EINVAL` for more than [`MAX_FDS`] descriptors, or for descriptors without a byte to carry them.
pub fn send_with_fds(socket: BorrowedFd, bytes: &[u8], fds: &[BorrowedFd]) -> Result<usize> {
    if fds.len() > MAX_FDS || (bytes.is_empty() && !fds.is_empty()) {
        return Err(Errno::INVAL);
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::INVAL);
    }
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
    })
}

/// Receives into `bytes` and returns how much, with the descriptors that came along (close-on-exec); 0 is the end of file.
///
/// # Errors
/// `EMSGSIZE` when more descriptors came than [`MAX_FDS`]; those that arrived are closed.
pub fn recv_with_fds(socket: BorrowedFd, bytes: &mut [u8]) -> Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        match rustix::net::recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => continue,
            other => break other?,
        }
    };
    let mut fds = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = part {
            fds.extend(received);
        }
    }
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(Errno::MSGSIZE);
    }
    Ok((message.bytes, fds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn descriptors_arrive_with_the_first_byte() {
        let (a, b) = UnixStream::pair().unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        assert_eq!(send_with_fds(a.as_fd(), b"hello", &[writer.as_fd()]), Ok(5));
        drop(writer);
        let mut bytes = [0; 16];
        let (n, fds) = recv_with_fds(b.as_fd(), &mut bytes).unwrap();
        assert_eq!((&bytes[..n], fds.len()), (&b"hello"[..], 1));
        let flags = rustix::io::fcntl_getfd(&fds[0]).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        std::fs::File::from(fds.into_iter().next().unwrap()).write_all(b"through").unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
        drop(a);
        assert_eq!(recv_with_fds(b.as_fd(), &mut bytes).unwrap().0, 0);
    }

    #[test]
    fn the_limit_and_one_more() {
        let (a, b) = UnixStream::pair().unwrap();
        let fd = a.as_fd();
        assert_eq!(send_with_fds(fd, b"x", &[fd; MAX_FDS + 1]), Err(Errno::INVAL));
        assert_eq!(send_with_fds(fd, b"", &[fd]), Err(Errno::INVAL));
        assert_eq!(send_with_fds(fd, b"x", &[fd; MAX_FDS]), Ok(1));
        assert_eq!(recv_with_fds(b.as_fd(), &mut [0; 1]).unwrap().1.len(), MAX_FDS);
    }
}
