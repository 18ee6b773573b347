//! One connection.

use super::QUEUE;
use crate::connect::frame_header;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};
use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::time::Instant;

const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Its request has not come yet.
    New,
    /// Its request has been answered: what else it says is not listened to.
    Answered,
    Attach {
        stdin: bool,
        stdout: bool,
        stderr: bool,
    },
    /// Streams of the process at this place.
    Exec(usize),
    Watch,
}

#[derive(Debug)]
pub(super) struct Client {
    pub socket: OwnedFd,
    pub role: Role,
    /// The beginning of a request.
    pub inbox: Vec<u8>,
    /// The other side may still send.
    pub read_open: bool,
    /// Close the connection when everything has been sent.
    pub last_words: bool,
    /// Since when it has taken nothing although its queue is full.
    pub stalled: Option<Instant>,
    queue: Vec<u8>,
    at: usize,
    /// The other side takes no more.
    broken: bool,
}

impl Client {
    pub fn new(socket: OwnedFd, role: Role) -> Client {
        Client {
            socket,
            role,
            inbox: Vec::new(),
            read_open: true,
            last_words: false,
            stalled: None,
            queue: Vec::new(),
            at: 0,
            broken: false,
        }
    }

    /// Whether something waits to be sent.
    pub fn waiting(&self) -> bool {
        self.at < self.queue.len()
    }

    /// Whether so much waits that its source must wait too.
    pub fn full(&self) -> bool {
        self.queue.len() - self.at > QUEUE
    }

    /// Whether the connection can be closed.
    pub fn done(&self) -> bool {
        self.broken || (self.last_words && !self.waiting())
    }

    /// Reads what the other side has sent: 0 is the end, `None` is nothing now.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Option<usize> {
        match recv(&self.socket, buffer, RecvFlags::DONTWAIT) {
            Ok((length, _)) => Some(length),
            Err(Errno::AGAIN | Errno::INTR) => None,
            Err(_) => Some(0),
        }
    }

    /// Sends bytes, or queues what does not go out now.
    pub fn say(&mut self, bytes: &[u8]) {
        self.queue.extend_from_slice(bytes);
        self.flush();
    }

    /// Sends a frame; straight from `payload` unless others wait before it.
    pub fn frame(&mut self, kind: u8, payload: &[u8]) {
        if self.broken {
            return;
        }
        let header = frame_header(kind, payload.len());
        let mut sent = 0;
        if !self.waiting() {
            let parts = [IoSlice::new(&header), IoSlice::new(payload)];
            match sendmsg(&self.socket, &parts, &mut SendAncillaryBuffer::default(), SEND) {
                Ok(length) => sent = length,
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => return self.give_up(),
            }
        }
        self.queue.extend_from_slice(header.get(sent..).unwrap_or_default());
        self.queue.extend_from_slice(&payload[sent.saturating_sub(header.len())..]);
        self.judge(sent > 0);
    }

    /// Sends what the other side takes.
    pub fn flush(&mut self) {
        let mut moved = false;
        while self.waiting() && !self.broken {
            match send(&self.socket, &self.queue[self.at..], SEND) {
                Ok(length) => {
                    self.at += length;
                    moved = true;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => return self.give_up(),
            }
        }
        if !self.waiting() {
            (self.queue, self.at) = (Vec::new(), 0);
        } else if self.at > QUEUE {
            self.queue.drain(..self.at);
            self.at = 0;
        }
        self.judge(moved);
    }

    /// Starts or stops the clock of a client that takes nothing.
    fn judge(&mut self, moved: bool) {
        if moved || !self.waiting() {
            self.stalled = None;
        }
        if self.stalled.is_none() && self.waiting() && (self.full() || self.last_words) {
            self.stalled = Some(Instant::now());
        }
    }

    /// Whether [`super::STALL`] holds for it: it does unless only its own exec suffers.
    pub fn limited(&self) -> bool {
        !matches!(self.role, Role::Exec(_))
    }

    /// What is waiting is the last.
    pub fn end(&mut self) {
        self.last_words = true;
        self.judge(false);
    }

    /// The other side does not listen any more.
    pub fn give_up(&mut self) {
        self.broken = true;
        (self.queue, self.at) = (Vec::new(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::read_frame;
    use std::os::unix::net::UnixStream;

    #[test]
    fn what_is_not_taken_is_queued_whole_and_in_order() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut client = Client::new(ours.into(), Role::Answered);
        let piece: Vec<u8> = (0..60_000u32).map(|i| i as u8).collect();
        let mut sent = 0;
        while !client.full() {
            client.frame(1 + (sent % 2) as u8, &piece);
            sent += 1;
        }
        assert!(client.stalled.is_some());
        client.frame(3, b"{}");
        client.end();
        let reader = std::thread::spawn(move || {
            let (mut payload, mut kinds) = (Vec::new(), Vec::new());
            while let Some(kind) = read_frame(&mut theirs, &mut payload).unwrap() {
                assert!(kind == 3 || payload == piece);
                kinds.push(kind);
            }
            kinds
        });
        while !client.done() {
            let mut fds = [rustix::event::PollFd::new(&client.socket, rustix::event::PollFlags::OUT)];
            rustix::event::poll(&mut fds, None).unwrap();
            client.flush();
        }
        assert_eq!(client.stalled, None);
        drop(client);
        let kinds = reader.join().unwrap();
        let mut expected: Vec<u8> = (0..sent).map(|i| 1 + (i % 2) as u8).collect();
        expected.push(3);
        assert_eq!(kinds, expected);
    }

    #[test]
    fn a_client_that_has_gone_is_done() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut client = Client::new(ours.into(), Role::Answered);
        drop(theirs);
        client.frame(1, b"x");
        assert!(client.done());
    }
}
