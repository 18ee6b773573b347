//! A log that the container never waits for (`mode=non-blocking`): a process of its own writes the files, and what it
//! does not take is kept up to a bound. Beyond that whole lines are dropped, the newest first, and counted in the log.
//!
//! Messages to it: a kind, a length (4 bytes), so many bytes.

use super::sink::Keeper;
use crate::log::{Format, STDERR, STDOUT, Writer};
use crate::protocol::LogFile;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, wait, waitpid};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

const HEADER: usize = 5;
// A kind is the number of the stream whose data comes, or one of these, with the number of the stream.
/// Of what has come of a stream's last line nothing is to be kept: the rest of it was dropped.
const FORGET: u8 = 0x10;
/// A stream has ended.
const FINISH: u8 = 0x20;
/// So many lines were dropped here (8 bytes).
const MISSED: u8 = 0x40;
/// How much is read at once.
const BLOCK: usize = 128 << 10;
/// How long after the last line memory is given back.
const QUIET: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };

/// The supervisor's side.
#[derive(Debug)]
pub(super) struct Apart {
    socket: OwnedFd,
    pid: i32,
    queue: Vec<u8>,
    at: usize,
    limit: usize,
    /// Of each stream: what was sent ends in the middle of a line.
    open: [bool; 2],
    /// Of each stream: the rest of the line is dropped.
    skipping: [bool; 2],
    missed: u64,
    gone: bool,
}

impl Apart {
    /// Makes the process.
    pub fn start(format: Format, files: &LogFile, limit: u64) -> io::Result<Apart> {
        // What does not go here would not go there, where nobody could be told.
        drop(Writer::open(format, files)?);
        let (socket, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        match sys::own::fork()? {
            None => {
                let done = only_keep(&theirs)
                    .and_then(|()| Writer::open(format, files))
                    .and_then(|writer| write_apart(writer, rustix::stdio::stdin()));
                sys::process::exit_now(if done.is_ok() { 0 } else { 1 })
            }
            Some(pid) => Ok(Apart {
                socket,
                pid,
                queue: Vec::new(),
                at: 0,
                limit: usize::try_from(limit).unwrap_or(usize::MAX),
                open: [false; 2],
                skipping: [false; 2],
                missed: 0,
                gone: false,
            }),
        }
    }

    fn message(&mut self, kind: u8, data: &[u8]) {
        self.queue.push(kind);
        self.queue.extend_from_slice(&(data.len() as u32).to_le_bytes());
        self.queue.extend_from_slice(data);
    }

    pub fn append(&mut self, stream: u8, mut data: &[u8]) {
        let side = usize::from(stream == STDERR);
        if self.skipping[side] {
            let Some(newline) = memchr::memchr(b'\n', data) else { return };
            self.skipping[side] = false;
            data = &data[newline + 1..];
        }
        let room = self.limit.saturating_sub(self.queue.len() - self.at + HEADER);
        // The first piece is always taken, however large: else a small bound would let nothing through.
        let taken = if data.len() <= room || !self.is_behind() {
            data.len()
        } else {
            memchr::memrchr(b'\n', &data[..room]).map_or(0, |at| at + 1)
        };
        let (kept, lost) = data.split_at(taken);
        if !kept.is_empty() {
            if self.missed > 0 {
                let missed = std::mem::take(&mut self.missed);
                self.message(MISSED, &missed.to_le_bytes());
            }
            self.message(stream, kept);
            self.open[side] = !kept.ends_with(b"\n");
        }
        if !lost.is_empty() {
            if std::mem::take(&mut self.open[side]) {
                self.message(FORGET | stream, b"");
            }
            self.missed += memchr::memchr_iter(b'\n', lost).count() as u64;
            self.skipping[side] = !lost.ends_with(b"\n");
            self.missed += u64::from(self.skipping[side]);
        }
        self.flush();
    }

    fn is_behind(&self) -> bool {
        self.at < self.queue.len()
    }

    pub fn finish(&mut self, stream: u8) {
        if self.missed > 0 {
            let missed = std::mem::take(&mut self.missed);
            self.message(MISSED, &missed.to_le_bytes());
        }
        self.message(FINISH | stream, b"");
        self.flush();
    }

    pub fn waiting(&self) -> Option<&OwnedFd> {
        (self.is_behind() && !self.gone).then_some(&self.socket)
    }

    /// Sends what the other process takes.
    pub fn flush(&mut self) {
        while self.is_behind() && !self.gone {
            match send(&self.socket, &self.queue[self.at..], SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL)) {
                Ok(length) => self.at += length,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => self.gone = true,
            }
        }
        if self.gone || !self.is_behind() {
            (self.queue, self.at) = (Vec::new(), 0);
        } else if self.at > self.queue.len() / 2 {
            self.queue.drain(..self.at);
            self.at = 0;
        }
    }

    pub fn reaped(&mut self, pid: i32) {
        self.gone |= pid == self.pid;
    }

    /// Sends the rest and waits for the other's end.
    pub fn close(&mut self, grace: Duration) {
        let until = Instant::now() + grace;
        let wait_for = |fd: BorrowedFd, flags| {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            poll(&mut [PollFd::from_borrowed_fd(fd, flags)], Some(&timeout)).is_ok_and(|ready| ready > 0)
        };
        while self.is_behind() && !self.gone && wait_for(self.socket.as_fd(), PollFlags::OUT) {
            self.flush();
        }
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write);
        let Some(pid) = Pid::from_raw(self.pid).filter(|_| !self.gone) else { return };
        // If the disk does not answer it stays behind and writes what it has when the disk does.
        if let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty())
            && wait_for(pidfd.as_fd(), PollFlags::IN)
        {
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
        self.gone = true;
    }
}

/// In the other process, which ends without looking back at what it has inherited: clients must see their sockets end
/// when the supervisor closes them.
fn only_keep(socket: &OwnedFd) -> io::Result<()> {
    rustix::stdio::dup2_stdin(socket)?;
    sys::own::close_from(3)?;
    Ok(())
}

/// The other process: takes messages until the socket ends.
fn write_apart(writer: Writer, socket: BorrowedFd) -> io::Result<()> {
    let _ = rustix::thread::set_name(c"dhow-log");
    let signals = sys::signal::signalfd(sys::signal::Set::of(&[Signal::CHILD.as_raw()]))?;
    let mut keeper = Keeper::new(writer);
    let (mut buffer, mut filled) = (Vec::new(), 0);
    let mut quiet = true;
    loop {
        let mut fds =
            [PollFd::from_borrowed_fd(socket, PollFlags::IN), PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
        match poll(&mut fds, (!quiet).then_some(&QUIET)) {
            Ok(0) => {
                keeper.writer.shrink();
                if filled == 0 {
                    buffer = Vec::new();
                }
                sys::own::trim_heap();
                quiet = true;
                continue;
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if !fds[1].revents().is_empty() {
            while let Ok(Some(_)) = sys::signal::read_signalfd(signals.as_fd()) {}
            while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
                keeper.reaped(pid.as_raw_nonzero().get(), status);
            }
        }
        if fds[0].revents().is_empty() {
            continue;
        }
        quiet = false;
        if buffer.len() < filled + BLOCK {
            buffer.resize(filled + BLOCK, 0);
        }
        match rustix::io::read(socket, &mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(Errno::INTR | Errno::AGAIN) => continue,
            Err(errno) => return Err(errno.into()),
        }
        let done = take_messages(&mut keeper, &buffer[..filled]);
        buffer.copy_within(done..filled, 0);
        filled -= done;
    }
    keeper.writer.finish(STDOUT);
    keeper.writer.finish(STDERR);
    keeper.close();
    Ok(())
}

/// Deals with the whole messages at the beginning of `bytes`; returns how many bytes those are.
fn take_messages(keeper: &mut Keeper, bytes: &[u8]) -> usize {
    let mut done = 0;
    while let Some((header, rest)) = bytes[done..].split_first_chunk::<HEADER>() {
        let length = u32::from_le_bytes([header[1], header[2], header[3], header[4]]) as usize;
        let Some(data) = rest.get(..length) else { break };
        match header[0] {
            stream @ (STDOUT | STDERR) => keeper.append(stream, data),
            MISSED => keeper.writer.missed(data.first_chunk().map_or(0, |count| u64::from_le_bytes(*count))),
            kind if kind & FORGET != 0 => keeper.writer.forget(kind & !FORGET),
            kind => keeper.writer.finish(kind & !FINISH),
        }
        done += HEADER + length;
    }
    done
}
