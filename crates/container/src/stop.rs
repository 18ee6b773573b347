//! Stop, kill, restart, pause, unpause.

use crate::containers::{Container, Containers, Shared};
use crate::error::{Error, Result, conflict, text};
use crate::state::Phase;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use supervisor::protocol::{Reply, Request};
use sys::step::{Step, reached};

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
/// Docker's stop timeout, seconds.
const STOP_TIMEOUT: i64 = 10;
/// How long a killed container may take to end.
const KILL_WAIT: Duration = Duration::from_secs(10);
const LAST_WAIT: Duration = Duration::from_secs(2);
/// How long a supervisor may take to answer: one that freezes processes gives up earlier.
const ANSWER: Duration = Duration::from_secs(20);

/// A signal by name or number.
fn parse(signal: &str) -> Result<i32> {
    api::signal::parse(signal).map_err(Error::Invalid)
}

impl Containers {
    /// Asks the container to end and kills it after `timeout` seconds (negative: never). `signal` may be empty.
    ///
    /// # Errors
    /// `NotModified` when it does not run.
    pub fn stop(&self, name: &str, signal: &str, timeout: Option<i64>) -> Result<()> {
        let c = self.shared.find(name)?;
        if !c.peek(|s| s.is_running()) {
            return Err(Error::NotModified("container is already stopped".into()));
        }
        self.shared.stop(&c, signal, timeout).map_err(|e| e.context(&format!("cannot stop container: {name}")))
    }

    /// Sends a signal; an empty one is SIGKILL, and that one waits for the end.
    ///
    /// # Errors
    /// `Conflict` when it does not run.
    pub fn kill(&self, name: &str, signal: &str) -> Result<()> {
        let signal = if signal.is_empty() { SIGKILL } else { parse(signal)? };
        let c = self.shared.find(name)?;
        let done = if signal == SIGKILL { self.shared.kill(&c) } else { self.shared.send(&c, signal) };
        done.map_err(|e| e.context(&format!("cannot kill container: {name}")))
    }

    /// Stops, if it runs, and starts.
    ///
    /// # Errors
    /// Those of both.
    pub fn restart(&self, name: &str, signal: &str, timeout: Option<i64>) -> Result<()> {
        let c = self.shared.find(name)?;
        let wrong = |e: Error| e.context(&format!("Cannot restart container {name}"));
        if c.peek(|s| s.removing || s.removed) {
            return Err(wrong(conflict!("container is marked for removal and cannot be started")));
        }
        if c.peek(|s| s.is_running()) {
            // Its end then is only half of this: no restart policy, no removal.
            c.change(|s| s.restarted_by_hand = true);
            let stopped = self.shared.stop(&c, signal, timeout);
            c.change(|s| s.restarted_by_hand = false);
            stopped.map_err(wrong)?;
        }
        {
            let _turn = c.turn_in_time().map_err(wrong)?;
            if !c.peek(|s| s.is_running()) {
                self.shared.check_startable(&c).and_then(|()| self.shared.launch(&c, true)).map_err(wrong)?;
            }
        }
        self.shared.tell(&c, "restart", &[]);
        Ok(())
    }

    /// Freezes all processes.
    ///
    /// # Errors
    /// `Conflict` unless it runs and is not frozen.
    pub fn pause(&self, name: &str) -> Result<()> {
        let c = self.shared.find(name)?;
        let _turn = c.turn_in_time()?;
        c.peek(|s| match s.phase {
            Phase::Restarting => Err(text::restarting(&c.id)),
            Phase::Running if s.paused => Err(conflict!("Container {} is already paused", c.id)),
            Phase::Running => Ok(()),
            _ => Err(text::not_running(&c.id)),
        })?;
        c.ask(&Request::Pause).map_err(|e| e.context(&format!("cannot pause container {}", c.id)))?;
        c.change(|s| s.paused = true);
        self.shared.end_probes(&c);
        c.save();
        self.shared.tell(&c, "pause", &[]);
        Ok(())
    }

    /// Lets all processes go on.
    ///
    /// # Errors
    /// When it is not frozen.
    pub fn unpause(&self, name: &str) -> Result<()> {
        let c = self.shared.find(name)?;
        let _turn = c.turn_in_time()?;
        if !c.peek(|s| s.phase == Phase::Running && s.paused) {
            return Err(Error::System(format!("Container {} is not paused", c.id)));
        }
        self.shared.thaw(&c).map_err(|e| e.context(&format!("Cannot unpause container {}", c.id)))
    }
}

impl Container {
    /// One question to the supervisor.
    pub fn ask(&self, request: &Request) -> Result<Reply> {
        self.ask_within(request, ANSWER)
    }

    /// The same of someone who has other things to do.
    pub fn ask_within(&self, request: &Request, patience: Duration) -> Result<Reply> {
        let unreachable = |e| Error::System(format!("cannot reach the supervisor of container {}: {e}", self.id));
        let socket = supervisor::connect(&self.run).map_err(unreachable)?;
        socket.set_read_timeout(Some(patience)).map_err(unreachable)?;
        let reply = supervisor::request(&socket, request).map_err(|e| match e.kind() {
            std::io::ErrorKind::WouldBlock => {
                Error::System(format!("the supervisor of container {} has not answered for {patience:?}", self.id))
            }
            _ => Error::System(e.to_string()),
        });
        match reply? {
            Reply::Failed(failure) => Err(match failure.kind {
                supervisor::protocol::FailureKind::System => Error::System(failure.text),
                _ => Error::Invalid(failure.text),
            }),
            reply => Ok(reply),
        }
    }
}

impl Container {
    /// What keeps it from dying, as far as its processes tell.
    fn why_it_lives(&self) -> String {
        // Not even SIGKILL ends a wait inside the kernel for a disk or a file system.
        let waits = |pid: &i32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let (before, after) = stat.rsplit_once(')')?;
            let name = before.split_once('(')?.1;
            after
                .trim_start()
                .starts_with('D')
                .then(|| format!(": process {pid} ({name}) waits in the kernel for a file system or a device"))
        };
        self.pids().ok().and_then(|pids| pids.iter().find_map(waits)).unwrap_or_default()
    }
}

impl Shared {
    fn thaw(self: &Arc<Shared>, c: &Arc<Container>) -> Result<()> {
        c.ask(&Request::Resume)?;
        c.change(|s| s.paused = false);
        self.begin_probes(c);
        c.save();
        self.tell(c, "unpause", &[]);
        Ok(())
    }

    /// Stops what runs, or keeps from restarting what waits for that.
    pub fn stop(self: &Arc<Shared>, c: &Arc<Container>, signal: &str, timeout: Option<i64>) -> Result<()> {
        let config = c.record().config.clone();
        let signal = match (signal, config.stop_signal.as_str()) {
            ("", "") => SIGTERM,
            ("", own) => parse(own).unwrap_or(SIGTERM),
            (asked, _) => parse(asked)?,
        };
        let timeout = timeout.or(config.stop_timeout).or(self.options.stop_timeout).unwrap_or(STOP_TIMEOUT);
        reached(Step::StopBegun);
        let sent = self.send_to_stop(c, signal);
        reached(Step::StopSignalled);
        let wait = match (&sent, u64::try_from(timeout)) {
            (Err(_), Ok(_)) => Some(LAST_WAIT),
            (_, Ok(seconds)) => Some(Duration::from_secs(seconds)),
            (_, Err(_)) => None,
        };
        let deadline = wait.map(|w| Instant::now() + w);
        if !c.wait_until(deadline, |s| !s.is_running()) {
            match self.kill(c) {
                Ok(()) => {}
                Err(_) if !c.peek(|s| s.is_running()) => {}
                Err(e) => {
                    if !c.wait_until(Some(Instant::now() + LAST_WAIT), |s| !s.is_running()) {
                        return Err(e);
                    }
                }
            }
        }
        // What follows an end (saving, leaving the network) is done when the turn is free again.
        drop(c.turn_in_time());
        reached(Step::StopEnded);
        self.tell(c, "stop", &[]);
        Ok(())
    }

    fn send_to_stop(self: &Arc<Shared>, c: &Arc<Container>, signal: i32) -> Result<()> {
        match self.send(c, signal) {
            Err(Error::Conflict(_)) => Ok(()),
            other => other,
        }
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(self: &Arc<Shared>, c: &Arc<Container>) -> Result<()> {
        if !c.peek(|s| s.is_running()) {
            return Err(text::not_running(&c.id));
        }
        self.send(c, SIGKILL)?;
        if c.wait_until(Some(Instant::now() + KILL_WAIT), |s| !s.is_running()) {
            drop(c.turn_in_time());
            return Ok(());
        }
        // Every process of it, then, in case the first one is not the one that holds on.
        let _ = c.ask(&Request::SignalAll { signal: SIGKILL });
        match c.wait_until(Some(Instant::now() + LAST_WAIT), |s| !s.is_running()) {
            true => Ok(()),
            false => Err(Error::System(format!(
                "tried to kill container, but did not receive an exit event{}",
                c.why_it_lives()
            ))),
        }
    }

    /// Sends a signal to the first process. One that is meant to end it also keeps it from restarting.
    pub fn send(self: &Arc<Shared>, c: &Arc<Container>, signal: i32) -> Result<()> {
        let stop_signal = c.record().config.stop_signal.clone();
        let ends = signal == SIGKILL || stop_signal.is_empty() || parse(&stop_signal).is_ok_and(|s| s == signal);
        let state = c.state();
        if !state.is_running() {
            return Err(text::not_running(&c.id));
        }
        c.change(|s| s.stopped_by_hand = true);
        if state.phase == Phase::Restarting {
            // Nothing runs: that it will not is all there is to do.
            c.change(|s| {
                if s.phase == Phase::Restarting {
                    s.phase = Phase::Exited;
                }
            });
            c.save();
            return Ok(());
        }
        let sent = signal_process(state.pid, state.pid_start, signal);
        if ends && state.paused {
            // A frozen process dies of nothing.
            let _ = self.thaw(c);
        }
        match sent {
            Ok(()) => {
                self.tell(c, "kill", &[("signal", signal.to_string())]);
                Ok(())
            }
            // It is ending just now.
            Err(Errno::SRCH) => Ok(()),
            Err(e) => Err(Error::System(format!("Cannot kill container {}: {}", c.id, std::io::Error::from(e)))),
        }
    }
}

/// Signals the process that had this number since then, and no other.
fn signal_process(pid: i32, start: u64, signal: i32) -> std::result::Result<(), Errno> {
    let raw = Pid::from_raw(pid).ok_or(Errno::SRCH)?;
    let pidfd = pidfd_open(raw, PidfdFlags::empty())?;
    match sys::process::start_time(pid) == Some(start) {
        true => sys::process::pidfd_send_signal(pidfd.as_fd(), signal),
        false => Err(Errno::SRCH),
    }
}
