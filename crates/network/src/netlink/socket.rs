//! One netlink socket and a small pool of them: a request never waits for another thread's answer.

use super::message::{DONE, DUMP, ERROR, Message, messages, u32_at};
use super::{Attributes, Batch};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, netlink::SocketAddrNetlink, recv,
    send, socket_with, sockopt,
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;
use std::time::Duration;

/// What the kernel refused, and what the message was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// What the message was for.
    pub doing: &'static str,
    /// The kernel's answer.
    pub errno: Errno,
}

/// `NETLINK_ROUTE`, which is number 0: rustix has no name for it.
pub const ROUTE: Option<Protocol> = None;
/// `NETLINK_NETFILTER`
pub const NETFILTER: Option<Protocol> = Some(rustix::net::netlink::NETFILTER);

/// The kernel answers netlink at once; this only ends a wait that would never end.
const DEADLINE: Duration = Duration::from_secs(10);
const BUFFER: usize = 32 * 1024;

/// A socket of one netlink protocol. It belongs to the network namespace it was opened in, whoever uses it.
pub struct Socket {
    fd: OwnedFd,
    buffer: Vec<u8>,
    /// Set when an answer may still be on its way: the socket must not serve another request.
    stale: bool,
}

impl Socket {
    /// Opens a socket in the network namespace of the calling thread, and listens to `groups` (a bit mask).
    pub fn open(protocol: Option<Protocol>, groups: u32) -> Result<Socket, Failure> {
        let failed = |errno| Failure { doing: "open a netlink socket", errno };
        let fd =
            socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol).map_err(failed)?;
        bind(&fd, &SocketAddrNetlink::new(0, groups)).map_err(failed)?;
        sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(DEADLINE)).map_err(failed)?;
        Ok(Socket { fd, buffer: Vec::new(), stale: false })
    }

    /// The port number by which the kernel knows this socket; notifications carry that of whoever caused them.
    pub fn port(&self) -> u32 {
        rustix::net::getsockname(&self.fd)
            .ok()
            .and_then(|address| SocketAddrNetlink::try_from(address).ok())
            .map_or(0, |address| address.pid())
    }

    fn send(&mut self, batch: &Batch) -> Result<(), Failure> {
        let failed = |errno| Failure { doing: batch.doing(1), errno };
        let bytes = batch.bytes().ok_or(failed(Errno::MSGSIZE))?;
        // A message must fit the send buffer as a whole; the default is about 200 KiB.
        if bytes.len() > 128 * 1024 {
            sockopt::set_socket_send_buffer_size_force(&self.fd, bytes.len() * 2).map_err(failed)?;
        }
        self.stale = true;
        send(&self.fd, bytes, SendFlags::empty()).map_err(failed)?;
        Ok(())
    }

    /// Waits for one datagram and gives its messages to `each`.
    pub fn receive(&mut self, each: impl FnMut(Message)) -> Result<(), Errno> {
        self.receive_with(RecvFlags::empty(), each)
    }

    /// As [`Socket::receive`], but `EAGAIN` when there is none.
    pub fn receive_ready(&mut self, each: impl FnMut(Message)) -> Result<(), Errno> {
        self.receive_with(RecvFlags::DONTWAIT, each)
    }

    fn receive_with(&mut self, flags: RecvFlags, mut each: impl FnMut(Message)) -> Result<(), Errno> {
        self.buffer.resize(BUFFER, 0);
        let length = loop {
            match recv(&self.fd, &mut self.buffer[..], flags) {
                Ok((length, _)) => break length,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno),
            }
        };
        messages(self.buffer.get(..length).unwrap_or_default()).for_each(&mut each);
        Ok(())
    }

    /// Sends a batch and waits until the kernel has done all of it. The error is that of the first message it refused
    /// (rtnetlink goes on with the later ones; nf_tables undoes all).
    pub fn apply(&mut self, mut batch: Batch) -> Result<(), Failure> {
        if batch.is_empty() {
            return Ok(());
        }
        batch.acknowledge_last();
        self.apply_as_is(&batch, batch.len(), 0)
    }

    /// As [`Socket::apply`] for a batch whose flags are already set: `last` is the sequence number that ends the wait,
    /// and an error for message `fatal` ends it too.
    pub fn apply_as_is(&mut self, batch: &Batch, last: u32, fatal: u32) -> Result<(), Failure> {
        self.send(batch)?;
        let mut first: Option<(u32, Errno)> = None;
        let mut done = false;
        while !done {
            let received = self.receive(|message| {
                if message.kind != ERROR {
                    return;
                }
                let refused = refusal(message.payload);
                done |= message.sequence == last || (refused.is_some() && message.sequence == fatal);
                first = first.or(refused.map(|errno| (message.sequence, errno)));
            });
            received.map_err(|errno| Failure { doing: batch.doing(last), errno })?;
        }
        // After a refused nf_tables batch more errors may follow the one that ended the wait.
        self.stale = first.is_some();
        match first {
            None => Ok(()),
            Some((sequence, errno)) => Err(Failure { doing: batch.doing(sequence), errno }),
        }
    }

    /// Asks one question and gives every message of the answer to `each`.
    pub fn ask(
        &mut self,
        doing: &'static str,
        kind: u16,
        dump: bool,
        fixed: &[u8],
        body: impl FnOnce(&mut Attributes),
        mut each: impl FnMut(u16, &[u8]),
    ) -> Result<(), Failure> {
        let mut batch = Batch::new();
        batch.message(doing, kind, if dump { DUMP } else { 0 }, fixed, body);
        self.send(&batch)?;
        let mut done = false;
        let mut refused = None;
        while !done {
            self.receive(|message| match message.kind {
                DONE => done = true,
                ERROR => {
                    done = true;
                    refused = refused.or(refusal(message.payload));
                }
                kind => {
                    each(kind, message.payload);
                    done |= !dump;
                }
            })
            .map_err(|errno| Failure { doing, errno })?;
        }
        self.stale = false;
        refused.map_or(Ok(()), |errno| Err(Failure { doing, errno }))
    }
}

/// What an `NLMSG_ERROR` says: a negative error number, or 0 for an acknowledgement. What is neither is an error too.
fn refusal(payload: &[u8]) -> Option<Errno> {
    match u32_at(payload, 0).map(|code| code as i32) {
        Some(0) => None,
        Some(code @ -4095..=-1) => Some(Errno::from_raw_os_error(-code)),
        _ => Some(Errno::PROTO),
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Idle sockets of one protocol and one network namespace.
pub struct Pool {
    protocol: Option<Protocol>,
    idle: Mutex<Vec<Socket>>,
}

impl Pool {
    /// A pool whose first socket is opened here, in the network namespace of the calling thread.
    pub fn open(protocol: Option<Protocol>) -> Result<Pool, Failure> {
        Ok(Pool { protocol, idle: Mutex::new(vec![Socket::open(protocol, 0)?]) })
    }

    /// Runs `work` with a socket of its own.
    pub fn with<T>(&self, work: impl FnOnce(&mut Socket) -> Result<T, Failure>) -> Result<T, Failure> {
        let idle = self.idle.lock().unwrap_or_else(|e| e.into_inner()).pop();
        let mut socket = match idle {
            Some(socket) => socket,
            None => Socket::open(self.protocol, 0)?,
        };
        let result = work(&mut socket);
        if !socket.stale {
            self.idle.lock().unwrap_or_else(|e| e.into_inner()).push(socket);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_answers() {
        let say = |code: i32| refusal(&code.to_ne_bytes());
        assert_eq!((say(0), say(-17), say(-4095)), (None, Some(Errno::EXIST), Some(Errno::from_raw_os_error(4095))));
        for odd in [1, 17, -4096, i32::MIN, i32::MAX] {
            assert_eq!(say(odd), Some(Errno::PROTO), "{odd}");
        }
        assert_eq!(refusal(&[0, 0, 0]), Some(Errno::PROTO));
    }
}
