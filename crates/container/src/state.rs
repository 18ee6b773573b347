//! What a container does now, and how that changes. Pure; kept on disk as `state.json`.

use crate::health::{Health, Status};
use crate::restart::Backoff;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

const MINUTE_NS: u64 = 60_000_000_000;

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    #[default]
    Created,
    /// Its first process has been executed and not been seen to end.
    Running,
    /// It ended, and starts again by itself.
    Restarting,
    Exited,
    /// Its removal failed half-way; only another removal helps.
    Dead,
}

/// One published port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BoundPort {
    /// `tcp` …
    pub protocol: String,
    pub container: u16,
    pub host_ip: IpAddr,
    pub host: u16,
}

/// The network of a running container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Endpoint {
    pub network_id: String,
    pub endpoint_id: String,
    pub ip: Option<Ipv4Addr>,
    pub prefix: u8,
    pub gateway: Option<Ipv4Addr>,
    pub mac: String,
    pub ports: Vec<BoundPort>,
}

/// The state. Times in nanoseconds since the epoch, 0 for never.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct State {
    /// [`crate::record::VERSION`]
    pub version: u32,
    pub phase: Phase,
    pub paused: bool,
    pub pid: i32,
    /// With the pid it names the process for good.
    pub pid_start: u64,
    pub cgroup: String,
    pub exit_code: i32,
    pub error: String,
    pub oom_killed: bool,
    pub started_ns: u64,
    pub finished_ns: u64,
    pub restart_count: u32,
    /// The user stopped it: `unless-stopped` heeds it, and so does a restart that is pending.
    pub stopped_by_hand: bool,
    pub endpoint: Option<Endpoint>,
    /// Since the first start, of a container that has a health check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Box<Health>>,
    /// Not kept: being removed just now.
    #[serde(skip)]
    pub removing: bool,
    /// Not kept: has been removed.
    #[serde(skip)]
    pub removed: bool,
    /// Not kept: `restart` has stopped it and will start it, so nothing else happens at its end.
    #[serde(skip)]
    pub restarted_by_hand: bool,
    #[serde(skip)]
    pub backoff: Backoff,
    /// Not kept: how often it has ended since the engine started.
    #[serde(skip)]
    pub exits: u64,
}

impl State {
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
    pub fn status(&self) -> &'static str {
        match self.phase {
            Phase::Running if self.paused => "paused",
            Phase::Running => "running",
            Phase::Restarting => "restarting",
            _ if self.removing => "removing",
            Phase::Dead => "dead",
            Phase::Created => "created",
            Phase::Exited => "exited",
        }
    }

    /// Docker's `Running`: true while it restarts, too.
    pub fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Restarting)
    }

    /// `Up 3 minutes`, `Exited (0) 2 hours ago` …
    pub fn human(&self, now_ns: u64) -> String {
        let ago = |then: u64| api::units::human_duration((now_ns.saturating_sub(then) / 1_000_000_000) as i64);
        match self.phase {
            Phase::Running if self.paused => format!("Up {} (Paused)", ago(self.started_ns)),
            Phase::Running => match self.health.as_ref().map(|h| h.status) {
                None => format!("Up {}", ago(self.started_ns)),
                Some(Status::Starting) => format!("Up {} (health: starting)", ago(self.started_ns)),
                Some(status) => format!("Up {} ({})", ago(self.started_ns), status.name()),
            },
            Phase::Restarting => format!("Restarting ({}) {} ago", self.exit_code, ago(self.finished_ns)),
            _ if self.removing => "Removal In Progress".into(),
            Phase::Dead => "Dead".into(),
            Phase::Created => "Created".into(),
            Phase::Exited => format!("Exited ({}) {} ago", self.exit_code, ago(self.finished_ns)),
        }
    }

    /// From when to when [`State::human`] says what it says now, in nanoseconds since the epoch.
    pub fn alike(&self, now_ns: u64) -> std::ops::Range<u64> {
        let since = match self.phase {
            Phase::Running => self.started_ns,
            _ => self.finished_ns,
        };
        // What is less than a minute old is told in seconds.
        let age = now_ns.saturating_sub(since);
        let unit = if age < MINUTE_NS { MINUTE_NS / 60 } else { MINUTE_NS };
        let begin = since + age / unit * unit;
        begin..begin + unit
    }

    /// It runs.
    pub fn started(&mut self, record: &supervisor::protocol::StartRecord, endpoint: Option<Endpoint>) {
        self.phase = Phase::Running;
        self.paused = false;
        self.pid = record.pid;
        self.pid_start = record.start_time;
        self.cgroup = record.cgroup.clone();
        self.started_ns = record.started_ns;
        self.exit_code = 0;
        self.oom_killed = false;
        self.error.clear();
        self.endpoint = endpoint;
        // Whether there is one depends on what the container is: see the prober.
        self.health = self.health.take().map(|before| Health::begin(Some(before)));
    }

    /// A start did not come about; the error stays for `inspect`.
    pub fn start_failed(&mut self, error: &str, code: i32, now_ns: u64) {
        self.error = error.to_owned();
        self.exit_code = code;
        self.endpoint = None;
        if self.phase == Phase::Restarting {
            self.phase = Phase::Exited;
            self.finished_ns = now_ns;
        }
    }

    /// It has ended.
    pub fn ended(&mut self, code: i32, finished_ns: u64, oom_killed: bool, error: &str, restarts: bool) {
        self.phase = if restarts { Phase::Restarting } else { Phase::Exited };
        self.paused = false;
        self.pid = 0;
        self.pid_start = 0;
        self.exit_code = code;
        self.finished_ns = finished_ns;
        self.oom_killed = oom_killed;
        self.error = error.to_owned();
        self.endpoint = None;
        self.exits += 1;
        if restarts {
            self.restart_count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_that_are_told_alike() {
        let since = 1_700_000_000_123_456_789;
        for phase in [Phase::Running, Phase::Exited, Phase::Created] {
            let state = State { phase, started_ns: since, finished_ns: since, ..State::default() };
            let mut now = since;
            for _ in 0..5000 {
                let alike = state.alike(now);
                assert!(alike.contains(&now));
                let said = state.human(now);
                assert_eq!((state.human(alike.start), state.human(alike.end - 1)), (said.clone(), said));
                now = alike.end;
            }
            assert!(now > since + 3 * 24 * 60 * MINUTE_NS);
            assert!(!state.alike(since - 1).contains(&(since - 1)), "by a clock that was set back nothing is known");
        }
    }

    use supervisor::protocol::StartRecord;

    #[test]
    fn a_life() {
        let mut s = State::default();
        assert_eq!((s.status(), s.human(0).as_str(), s.is_running()), ("created", "Created", false));
        let start = StartRecord {
            version: 1,
            pid: 7,
            start_time: 9,
            supervisor: 6,
            supervisor_start_time: 8,
            started_ns: 1_000_000_000,
            cgroup: "/dhow/x".into(),
        };
        s.started(&start, None);
        assert_eq!((s.status(), s.human(181_000_000_000).as_str(), s.pid), ("running", "Up 3 minutes", 7));
        s.paused = true;
        assert_eq!((s.status(), s.human(181_000_000_000).as_str()), ("paused", "Up 3 minutes (Paused)"));
        s.ended(3, 200_000_000_000, false, "", true);
        assert_eq!((s.status(), s.is_running(), s.restart_count, s.exits), ("restarting", true, 1, 1));
        s.start_failed("no", 127, 210_000_000_000);
        assert_eq!((s.status(), s.exit_code, s.error.as_str()), ("exited", 127, "no"));
        assert_eq!(s.human(330_000_000_000), "Exited (127) 2 minutes ago");
        s.started(&start, None);
        // As with Docker, the time of the last end stays.
        assert_eq!((s.exit_code, s.error.as_str(), s.finished_ns), (0, "", 210_000_000_000));
        s.ended(137, 1, true, "", false);
        assert_eq!((s.status(), s.oom_killed, s.restart_count), ("exited", true, 1));
    }

    #[test]
    fn what_is_not_kept_is_not_written() {
        let s = State { removing: true, removed: true, exits: 5, restarted_by_hand: true, ..State::default() };
        let back: State = serde_json::from_slice(&serde_json::to_vec(&s).unwrap()).unwrap();
        assert_eq!(back, State::default());
    }
}
