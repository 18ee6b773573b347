//! The moment the container runs out of memory, told while it runs: nobody asks again and again.

use super::client::Role;
use super::server::Server;
use crate::protocol::OOM;
use rustix::event::PollFlags;
use rustix::net::{SendFlags, send};
use std::os::fd::OwnedFd;

/// What the kernel tells it by.
#[derive(Debug)]
pub enum OomAlarm {
    /// cgroup v1: an eventfd that is registered with `memory.oom_control`.
    Event(OwnedFd),
    /// cgroup v2: `memory.events`, which wakes whoever polls it whenever one of its numbers has grown since it was read.
    File(OwnedFd),
}

impl OomAlarm {
    pub(super) fn fd(&self) -> &OwnedFd {
        let (OomAlarm::Event(fd) | OomAlarm::File(fd)) = self;
        fd
    }

    pub(super) fn flags(&self) -> PollFlags {
        match self {
            OomAlarm::Event(_) => PollFlags::IN,
            OomAlarm::File(_) => PollFlags::PRI,
        }
    }

    /// Reads it, so that it tells of the next time. Of v1: whether it rang; of v2: how many processes have been killed.
    fn read(&self) -> Rung {
        let mut text = [0; 512];
        match self {
            OomAlarm::Event(fd) => Rung::Event(rustix::io::read(fd, &mut text[..8]).is_ok()),
            OomAlarm::File(fd) => {
                let length = rustix::io::pread(fd, &mut text, 0).unwrap_or(0);
                let text = String::from_utf8_lossy(&text[..length]);
                let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
                Rung::Kills(kills.unwrap_or(0))
            }
        }
    }
}

enum Rung {
    Event(bool),
    Kills(u64),
}

impl Server<'_> {
    /// From now on it is told at once. Called when the container runs already: nothing waits for it, and what has
    /// happened before is found by its traces.
    pub(super) fn watch_oom(&mut self) {
        self.oom = self.runtime.oom_alarm();
        if let Some(OomAlarm::File(_)) = &self.oom {
            // It rings for what happens after it has been read.
            self.hear_oom();
        } else {
            self.last_oom();
        }
    }

    pub(super) fn hear_oom(&mut self) {
        match self.oom.as_ref().map(OomAlarm::read) {
            // It rings before the kernel has chosen whom to kill, so the count may be behind.
            Some(Rung::Event(true)) => {
                self.oom_kills = self.runtime.oom_kills().max(1);
                self.tell_oom();
            }
            Some(Rung::Kills(kills)) if kills > self.oom_kills => {
                self.oom_kills = kills;
                self.tell_oom();
            }
            _ => {}
        }
    }

    /// What has happened and has not been told, because there is no alarm or it was not heard yet.
    pub(super) fn last_oom(&mut self) {
        self.hear_oom();
        let kills = self.runtime.oom_kills();
        if kills > 0 && self.oom_kills == 0 {
            self.tell_oom();
        }
        self.oom_kills = self.oom_kills.max(kills);
    }

    /// Tells the daemon, on whichever of its silent connections it listens.
    fn tell_oom(&mut self) {
        let _ = send(rustix::stdio::stdin(), &[OOM], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        for client in self.clients.iter_mut().flatten().filter(|c| c.role == Role::Watch) {
            client.say(&[OOM]);
        }
    }
}
