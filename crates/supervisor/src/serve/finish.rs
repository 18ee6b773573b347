//! The end of the container.

use super::END_GRACE;
use super::client::Role;
use super::process::MAIN;
use super::server::Server;
use crate::log;
use crate::protocol::{EXIT_RECORD, ExitRecord, SOCKET, START_RECORD, VERSION, frame};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Instant;
use sys::step::{Step, reached};

/// Writes a record so that it is there whole or not at all.
pub(super) fn write_record(directory: &Path, name: &str, record: &impl Serialize) -> io::Result<()> {
    let temporary = directory.join(format!(".{name}"));
    let written = std::fs::write(&temporary, serde_json::to_vec(record)?);
    let named = written.and_then(|()| std::fs::rename(&temporary, directory.join(name)));
    if named.is_err() {
        let _ = rustix::fs::unlink(&temporary);
    }
    named
}

/// Takes the supervisor's own files away; what is not there is fine.
pub(super) fn clear_run_dir(run_dir: &Path) {
    for name in [SOCKET, START_RECORD] {
        let _ = rustix::fs::unlink(run_dir.join(name));
    }
    let _ = rustix::fs::rmdir(run_dir);
}

impl Server<'_> {
    /// Called again and again once the container's first process has ended; `true` when nothing is left to do.
    ///
    /// Order: everything the container said is in the log and on its way to clients; nothing of it lives; the record is
    /// there; the kernel's things are given back; only then do the sockets tell.
    pub(super) fn finish(&mut self) -> bool {
        if self.held.is_empty() {
            // All has been done: only clients with unsent output are left.
            return self.clients.is_empty();
        }
        reached(Step::SuperviseEnded);
        self.reap();
        self.drain(MAIN);
        let quiet = self.held.iter().flatten().all(|h| h.ended.is_some() && !h.open());
        if self.exiting.is_none() {
            self.exiting = Some(Instant::now() + END_GRACE);
            if !quiet || self.shares_pids {
                let _ = self.runtime.kill_all();
                self.reap();
                self.drain(MAIN);
            }
        }
        let quiet = quiet || self.held.iter().flatten().all(|h| h.ended.is_some() && !h.open());
        if !quiet && self.exiting.is_some_and(|until| Instant::now() < until) {
            return false;
        }
        let ended = self.held[MAIN].as_ref().and_then(|h| h.ended);
        for place in 1..self.held.len() {
            self.end_exec(place);
        }
        if let Some(mut log) = self.log.take() {
            log.finish(log::STDOUT);
            log.finish(log::STDERR);
            log.close();
        }
        reached(Step::SuperviseLogged);
        self.last_oom();
        // It rings once more when the cgroup goes.
        self.oom = None;
        let (code, signal) = ended.map_or((255, None), |(ended, _)| (ended.code, ended.signal));
        let record = ExitRecord {
            version: VERSION,
            started_ns: self.started.started_ns,
            code,
            signal,
            oom_killed: self.oom_kills > 0,
            finished_ns: self.finished_ns as u64,
        };
        // Where the disk has no room for it there is some in memory.
        if write_record(&self.state_dir, EXIT_RECORD, &record).is_err() {
            let _ = write_record(&self.run_dir, EXIT_RECORD, &record);
        }
        reached(Step::SuperviseExit);
        self.held.clear();
        self.listener = None;
        self.ports.clear();
        self.give_back();
        reached(Step::SuperviseReturned);
        clear_run_dir(&self.run_dir);
        reached(Step::SuperviseCleared);
        self.say_goodbye(&record);
        self.clients.is_empty()
    }

    /// Gives back the cgroup; what still lives in it is killed, and waited for.
    fn give_back(&mut self) {
        let until = Instant::now() + END_GRACE;
        while self.runtime.remove().is_err() && Instant::now() < until {
            let _ = self.runtime.kill_all();
            self.reap();
            let mut fds = [PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN)];
            let _ = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 5_000_000 }));
            while let Ok(Some(_)) = sys::signal::read_signalfd(self.signals.as_fd()) {}
        }
    }

    /// Tells attached clients how it ended, and lets everyone else notice.
    fn say_goodbye(&mut self, record: &ExitRecord) {
        let payload = serde_json::to_vec(record).unwrap_or_default();
        for client in self.clients.iter_mut().flatten() {
            if matches!(client.role, Role::Attach { .. }) {
                client.frame(frame::EXIT, &payload);
            }
            client.role = Role::Answered;
            client.end();
        }
        // The daemon need not wait for slow clients: its end of the launch socket reads end of file now.
        let _ = rustix::net::shutdown(rustix::stdio::stdin(), rustix::net::Shutdown::Both);
        for client in &mut self.clients {
            if client.as_ref().is_some_and(super::client::Client::done) {
                *client = None;
            }
        }
        while self.clients.last().is_some_and(Option::is_none) {
            self.clients.pop();
        }
    }
}
