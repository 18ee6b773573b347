//! The loop.

use super::client::{Client, Role};
use super::process::{Held, MAIN};
use super::sink::Sink;
use super::{EXEC_GRACE, OomAlarm, Runtime, STALL};
use crate::protocol::StartRecord;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SocketFlags, accept_with};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long after the last activity the buffers are given back.
const QUIET: Duration = Duration::from_millis(500);

/// Everything a supervisor has.
pub(super) struct Server<'r> {
    pub runtime: &'r mut dyn Runtime,
    pub state_dir: PathBuf,
    pub run_dir: PathBuf,
    pub stdin_once: bool,
    /// The container's processes do not end with its first one.
    pub shares_pids: bool,
    pub oom_score_adj: Option<i32>,
    pub started: StartRecord,
    pub finished_ns: i64,
    pub log: Option<Sink>,
    pub listener: Option<OwnedFd>,
    pub signals: OwnedFd,
    /// Sockets that reserve published ports: held, never used.
    pub ports: Vec<OwnedFd>,
    pub clients: Vec<Option<Client>>,
    pub held: Vec<Option<Held>>,
    /// Until when the streams of the ended container are waited for.
    pub exiting: Option<Instant>,
    /// Tells when the container runs out of memory, and how many of its processes had been killed for it when last told.
    pub oom: Option<OomAlarm>,
    pub oom_kills: u64,
    pub buffer: Vec<u8>,
    /// Buffers have been used since they were last given back.
    pub used: bool,
}

/// What is waited for.
#[derive(Debug, Clone, Copy)]
enum Source {
    Signals,
    Output(usize, usize),
    Input(usize),
    /// The process that writes the log takes more of it.
    Log,
    Oom,
    Client(usize),
    /// Dealt with last: until then the places of clients mean what they meant when waiting began.
    Listener,
}

impl Server<'_> {
    /// Serves until the container has ended and everything has been said.
    pub(super) fn serve(&mut self) -> io::Result<()> {
        self.watch_oom();
        self.release();
        loop {
            let (ready, idle) = self.wait()?;
            if idle && self.used {
                self.release();
            }
            for (source, flags) in ready {
                self.deal_with(source, flags);
            }
            self.let_go();
            for place in 1..self.held.len() {
                self.end_exec(place);
            }
            let ended = self.held.first().is_none_or(|h| h.as_ref().is_none_or(|h| h.ended.is_some()));
            if ended && self.finish() {
                return Ok(());
            }
        }
    }

    /// Gives back memory that a burst has used.
    fn release(&mut self) {
        self.buffer = Vec::new();
        if let Some(log) = &mut self.log {
            log.shrink();
        }
        sys::own::trim_heap();
        self.used = false;
    }

    /// Waits; `true` beside the list when it was the quiet that ended it.
    fn wait(&self) -> io::Result<(Vec<(Source, PollFlags)>, bool)> {
        let now = Instant::now();
        let mut sources = Vec::with_capacity(8);
        let mut fds = Vec::with_capacity(8);
        let mut add = |source, fd, flags| {
            sources.push(source);
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        };
        add(Source::Signals, self.signals.as_fd(), PollFlags::IN);
        if let Some(alarm) = &self.oom {
            add(Source::Oom, alarm.fd().as_fd(), alarm.flags());
        }
        if let Some(socket) = self.log.as_ref().and_then(Sink::waiting) {
            add(Source::Log, socket.as_fd(), PollFlags::OUT);
        }
        for (place, held) in self.held.iter().enumerate() {
            let Some(held) = held else { continue };
            if !self.held_back(place) && held.gather_until.is_none_or(|until| until <= now) {
                for (side, out) in held.outs.iter().enumerate() {
                    if let Some(out) = out {
                        add(Source::Output(place, side), out.as_fd(), PollFlags::IN);
                    }
                }
            }
            if let Some(stdin) = held.stdin.as_ref().filter(|stdin| stdin.waiting()) {
                add(Source::Input(place), stdin.fd().as_fd(), PollFlags::OUT);
            }
        }
        for (place, client) in self.clients.iter().enumerate() {
            let Some(client) = client else { continue };
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, client.read_open && !input_of(client.role).is_some_and(|p| self.is_clogged(p)));
            flags.set(PollFlags::OUT, client.waiting());
            // Without a flag poll reports only a hang-up. While its words are not taken that would be for ever.
            if !flags.is_empty() || !client.read_open {
                add(Source::Client(place), client.socket.as_fd(), flags);
            }
        }
        if let Some(listener) = &self.listener {
            add(Source::Listener, listener.as_fd(), PollFlags::IN);
        }
        let (timeout, idle) = self.timeout(now);
        let timeout = timeout.map(|t| Timespec { tv_sec: t.as_secs() as i64, tv_nsec: i64::from(t.subsec_nanos()) });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) => return Ok((Vec::new(), idle)),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok((Vec::new(), false)),
            Err(errno) => return Err(errno.into()),
        }
        let ready = sources.into_iter().zip(fds.iter().map(PollFd::revents)).filter(|(_, flags)| !flags.is_empty());
        Ok((ready.collect(), false))
    }

    /// How long to wait at most, and whether reaching that means quiet.
    fn timeout(&self, now: Instant) -> (Option<Duration>, bool) {
        let stalls = self.clients.iter().flatten().filter(|c| c.limited()).filter_map(|c| c.stalled);
        let stalls = stalls.map(|since| since + STALL);
        let graces = self.held.iter().skip(1).flatten().filter(|h| !h.told).filter_map(|h| h.ended);
        let gathers = self.held.iter().flatten().filter_map(|h| h.gather_until).filter(|until| *until > now);
        // Once everything has been given back only the clients' own deadlines count.
        let exiting = self.exiting.filter(|_| !self.held.is_empty());
        let deadline = stalls.chain(graces.map(|(_, since)| since + EXEC_GRACE)).chain(gathers).chain(exiting).min();
        match (deadline, self.used) {
            (None, false) => (None, false),
            (Some(at), used) if !used || at < now + QUIET => (Some(at.saturating_duration_since(now)), false),
            _ => (Some(QUIET), true),
        }
    }

    fn deal_with(&mut self, source: Source, flags: PollFlags) {
        match source {
            Source::Signals => {
                while let Ok(Some(_)) = sys::signal::read_signalfd(self.signals.as_fd()) {}
                self.reap();
            }
            Source::Output(place, side) => {
                self.read_output(place, side);
                self.forget_if_over(place);
            }
            Source::Input(place) => {
                if let Some(Some(held)) = self.held.get_mut(place)
                    && !held.stdin.as_mut().is_none_or(super::stdio::Input::flush)
                {
                    held.stdin = None;
                }
            }
            Source::Log => {
                if let Some(log) = &mut self.log {
                    log.flush();
                }
            }
            Source::Oom => self.hear_oom(),
            Source::Client(place) => self.hear(place, flags),
            Source::Listener => self.accept(),
        }
    }

    fn forget_if_over(&mut self, place: usize) {
        if place < self.held.len() {
            self.forget_exec(place);
        }
    }

    fn accept(&mut self) {
        let Some(listener) = &self.listener else { return };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        while let Ok(socket) = accept_with(listener, flags) {
            // The directory keeps others out; this holds even if someone opens it.
            let own = rustix::process::geteuid();
            let peer = rustix::net::sockopt::socket_peercred(&socket);
            if peer.is_ok_and(|peer| peer.uid == own || peer.uid.is_root()) {
                self.used = true;
                add_client(&mut self.clients, Client::new(socket, Role::New));
            }
        }
    }

    fn hear(&mut self, place: usize, flags: PollFlags) {
        let Some(Some(client)) = self.clients.get_mut(place) else { return };
        if flags.contains(PollFlags::OUT) {
            client.flush();
        }
        if !client.read_open {
            if flags.intersects(PollFlags::HUP | PollFlags::ERR) {
                client.give_up();
            }
            return;
        }
        if !flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            return;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(super::process::BLOCK, 0);
        self.used = true;
        match client.receive(&mut buffer) {
            None => {}
            Some(0) => self.heard_end(place),
            Some(length) => self.heard(place, &buffer[..length]),
        }
        self.buffer = buffer;
    }

    fn heard(&mut self, place: usize, data: &[u8]) {
        let Some(client) = &mut self.clients[place] else { return };
        if client.role == Role::New {
            return self.read_request(place, data);
        }
        if let Some(process) = input_of(client.role) {
            self.feed(process, data);
        }
    }

    /// A client sends no more: its stdin ends; what it is to receive still comes.
    fn heard_end(&mut self, place: usize) {
        let Some(client) = &mut self.clients[place] else { return };
        client.read_open = false;
        match client.role {
            Role::New | Role::Watch => client.give_up(),
            Role::Attach { stdin: true, .. } => self.stdin_leaves(),
            Role::Exec(process) => self.close_stdin(process),
            Role::Attach { .. } | Role::Answered => {}
        }
    }

    /// Lets go of clients that are done, gone, or take nothing.
    fn let_go(&mut self) {
        for place in 0..self.clients.len() {
            let Some(client) = &mut self.clients[place] else { continue };
            if client.limited() && client.stalled.is_some_and(|since| since.elapsed() >= STALL) {
                client.give_up();
            }
            if !client.done() {
                continue;
            }
            let (role, was_open) = (client.role, client.read_open);
            self.clients[place] = None;
            match role {
                Role::Attach { stdin: true, .. } if was_open => self.stdin_leaves(),
                Role::Exec(process) => {
                    if let Some(Some(held)) =
                        self.held.get_mut(process).filter(|h| h.as_ref().is_some_and(|h| h.client == Some(place)))
                    {
                        held.client = None;
                        if held.with_client {
                            held.kill();
                        }
                        self.close_stdin(process);
                    }
                }
                _ => {}
            }
        }
        while self.clients.last().is_some_and(Option::is_none) {
            self.clients.pop();
        }
    }

    fn is_clogged(&self, place: usize) -> bool {
        let stdin = self.held.get(place).and_then(Option::as_ref).and_then(|h| h.stdin.as_ref());
        stdin.is_some_and(super::stdio::Input::waiting)
    }

    /// Passes data to the stdin of a process; to one that has none any more it is lost, as in a closed pipe.
    pub(super) fn feed(&mut self, place: usize, data: &[u8]) {
        if let Some(Some(held)) = self.held.get_mut(place)
            && let Some(stdin) = &mut held.stdin
            && !stdin.feed(data)
        {
            held.stdin = None;
        }
    }

    /// The stdin of a process ends after what is still to be written. A terminal has no such end.
    pub(super) fn close_stdin(&mut self, place: usize) {
        if let Some(Some(held)) = self.held.get_mut(place)
            && !held.is_terminal
            && let Some(stdin) = &mut held.stdin
            && !stdin.close()
        {
            held.stdin = None;
        }
    }

    /// An attached client with stdin has left.
    fn stdin_leaves(&mut self) {
        if self.stdin_once {
            self.close_stdin(MAIN);
        }
    }
}

/// Which process a client's words go to.
fn input_of(role: Role) -> Option<usize> {
    match role {
        Role::Attach { stdin: true, .. } => Some(MAIN),
        Role::Exec(place) => Some(place),
        _ => None,
    }
}

/// Puts a client in a free place and returns it.
pub(super) fn add_client(clients: &mut Vec<Option<Client>>, client: Client) -> usize {
    add(clients, client)
}

/// Puts a value in a free place and returns it.
pub(super) fn add<T>(places: &mut Vec<Option<T>>, value: T) -> usize {
    match places.iter().position(Option::is_none) {
        Some(free) => {
            places[free] = Some(value);
            free
        }
        None => {
            places.push(Some(value));
            places.len() - 1
        }
    }
}
