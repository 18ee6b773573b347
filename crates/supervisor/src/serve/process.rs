//! The container's first process, and the execs.

use super::client::{Client, Role};
use super::server::Server;
use super::stdio::{Ends, Input};
use super::{EXEC_GRACE, Process};
use crate::log;
use crate::protocol::{ExecExit, frame};
use rustix::io::Errno;
use rustix::process::{WaitOptions, WaitStatus};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// The place of the container's first process among the processes.
pub(super) const MAIN: usize = 0;
/// How much is read at once: what a pipe holds.
pub(super) const BLOCK: usize = 64 << 10;
/// Output that nobody watches and that comes in small pieces is left in the pipe for so long, to be read together.
const GATHER: Duration = Duration::from_micros(200);
const SMALL: usize = 8 << 10;

/// A process whose streams we hold.
#[derive(Debug)]
pub(super) struct Held {
    /// The exec's ID; empty for the container's first process.
    pub id: String,
    pub process: Process,
    pub is_terminal: bool,
    pub stdin: Option<Input>,
    pub outs: [Option<OwnedFd>; 2],
    /// Of an exec: who gets its output.
    pub client: Option<usize>,
    /// Of an exec: it ends with its client.
    pub with_client: bool,
    /// How it ended, and when we noticed.
    pub ended: Option<(Ended, Instant)>,
    /// Its end has been told; what is left of it only swallows the output of processes that it left behind.
    pub told: bool,
    /// Do not read before this moment.
    pub gather_until: Option<Instant>,
    last_read: Option<Instant>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    pub code: i32,
    pub signal: Option<i32>,
}

impl From<WaitStatus> for Ended {
    fn from(status: WaitStatus) -> Ended {
        match status.terminating_signal() {
            Some(signal) => Ended { code: 128 + signal, signal: Some(signal) },
            None => Ended { code: status.exit_status().unwrap_or(255), signal: None },
        }
    }
}

impl Held {
    pub fn new(id: String, process: Process, ends: Ends, is_terminal: bool) -> Held {
        Held {
            id,
            process,
            is_terminal,
            stdin: ends.stdin,
            outs: ends.outs,
            client: None,
            with_client: false,
            ended: None,
            told: false,
            gather_until: None,
            last_read: None,
        }
    }

    /// Kills it and its process group. The number is its own until it has been waited for.
    pub fn kill(&self) {
        if self.ended.is_none() {
            let signal = rustix::process::Signal::KILL.as_raw();
            let _ = sys::process::kill(-self.process.pid, signal);
            let _ = sys::process::pidfd_send_signal(self.process.pidfd.as_fd(), signal);
        }
    }

    /// Whether it can still say something.
    pub fn open(&self) -> bool {
        self.outs.iter().any(Option::is_some)
    }

    /// Decides whether small pieces are worth waiting for more of them.
    fn gather(&mut self, length: usize, watched: bool) {
        let now = Instant::now();
        let brisk = self.last_read.is_some_and(|last| now - last < Duration::from_millis(1));
        self.last_read = Some(now);
        self.gather_until = (brisk && length < SMALL && !watched).then(|| now + GATHER);
    }
}

impl Server<'_> {
    /// Reads one block of a process's output and passes it on. `false` when there is none now, or never again.
    pub(super) fn read_output(&mut self, place: usize, side: usize) -> bool {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(BLOCK, 0);
        let length = self.read_into(place, side, &mut buffer);
        if let Some(length) = length {
            self.pass_on(place, side, &buffer[..length]);
        }
        self.buffer = buffer;
        self.used = true;
        length.is_some()
    }

    /// Reads; closes the stream at its end.
    fn read_into(&mut self, place: usize, side: usize, buffer: &mut [u8]) -> Option<usize> {
        let held = self.held.get_mut(place)?.as_mut()?;
        let out = held.outs[side].as_ref()?;
        match rustix::io::read(out, buffer) {
            Ok(0) => {}
            Ok(length) => return Some(length),
            Err(Errno::AGAIN | Errno::INTR) => return None,
            // A terminal that nobody has open any more answers EIO.
            Err(_) => {}
        }
        held.outs[side] = None;
        if held.is_terminal {
            held.stdin = None;
        }
        if place == MAIN
            && let Some(log) = &mut self.log
        {
            log.finish(side as u8 + log::STDOUT);
        }
        None
    }

    fn pass_on(&mut self, place: usize, side: usize, data: &[u8]) {
        let stream = side as u8 + log::STDOUT;
        let Some(held) = self.held[place].as_mut() else { return };
        if place != MAIN {
            if let Some(client) = held.client.and_then(|c| self.clients[c].as_mut()) {
                client.frame(stream, data);
            }
            return;
        }
        if let Some(log) = &mut self.log {
            log.append(stream, data);
        }
        let mut watched = false;
        for client in self.clients.iter_mut().flatten() {
            if wants(client, stream) {
                client.frame(stream, data);
                watched = true;
            }
        }
        held.gather(data.len(), watched || held.is_terminal);
    }

    /// Reads what a process that has ended left in its pipes.
    pub(super) fn drain(&mut self, place: usize) {
        for side in 0..2 {
            while self.read_output(place, side) {}
        }
    }

    /// Collects every child that has ended: the container, execs, and orphans that fell to us.
    pub(super) fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let pid = pid.as_raw_nonzero().get();
            let place =
                self.held.iter().position(|h| h.as_ref().is_some_and(|h| h.process.pid == pid && h.ended.is_none()));
            let Some(place) = place else {
                if let Some(log) = &mut self.log {
                    log.reaped(pid, status);
                }
                continue;
            };
            if let Some(held) = &mut self.held[place] {
                held.ended = Some((status.into(), Instant::now()));
            }
            if place == MAIN {
                self.finished_ns = log::time::now_ns();
            } else {
                self.end_exec(place);
            }
        }
    }

    /// Tells the end of an exec, if its output has ended too or the time for that is over.
    pub(super) fn end_exec(&mut self, place: usize) {
        let Some(Some(held)) = self.held.get(place) else { return };
        let (Some((ended, since)), false) = (held.ended, held.told) else { return };
        self.drain(place);
        let Some(Some(held)) = self.held.get_mut(place) else { return };
        if held.open() && since.elapsed() < EXEC_GRACE && self.exiting.is_none() {
            return;
        }
        held.told = true;
        held.stdin = None;
        if let Some(client) = held.client.take().and_then(|c| self.clients[c].as_mut()) {
            client.frame(frame::EXIT, &serde_json::to_vec(&ExecExit { code: ended.code }).unwrap_or_default());
            // From now on its place may belong to another exec.
            client.role = Role::Answered;
            client.end();
        }
        self.forget_exec(place);
    }

    /// Frees the place of an exec that is over and whose streams are closed.
    pub(super) fn forget_exec(&mut self, place: usize) {
        if place != MAIN && self.held[place].as_ref().is_some_and(|h| h.told && !h.open()) {
            self.held[place] = None;
            while self.held.last().is_some_and(Option::is_none) {
                self.held.pop();
            }
        }
    }

    /// Whether a process's output is left unread because those who get it do not keep up.
    pub(super) fn held_back(&self, place: usize) -> bool {
        if place == MAIN {
            return self.clients.iter().flatten().any(|c| matches!(c.role, Role::Attach { .. }) && c.full());
        }
        let client = self.held[place].as_ref().and_then(|h| h.client).and_then(|c| self.clients[c].as_ref());
        client.is_some_and(Client::full)
    }
}

fn wants(client: &Client, stream: u8) -> bool {
    match client.role {
        Role::Attach { stdout, stderr, .. } => {
            !client.last_words && if stream == log::STDOUT { stdout } else { stderr }
        }
        _ => false,
    }
}
