//! What happens when a container has ended. The way is the same after an ordinary end and after a restart of the engine:
//! read the supervisor's record, give back what the container had, decide whether it starts again.

use crate::check;
use crate::containers::now_ns;
use crate::containers::{Container, Shared, lock};
use crate::error::Result;
use crate::record;
use crate::restart::Policy;
use crate::start::unmount_shm;
use crate::state::{Phase, State};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use supervisor::protocol::{ExitRecord, OOM};
use sys::step::{Step, reached};

/// The exit code of a container that went down with its supervisor.
const KILLED: i32 = 137;
/// The exit code of a container that went down with the machine.
const LOST: i32 = 255;

impl Shared {
    /// Waits in the background for the end of this run: of the supervisor's socket, or of its process.
    pub fn follow(self: &Arc<Shared>, c: &Arc<Container>, supervisor: OwnedFd, run: u64) -> Result<()> {
        let (shared, container) = (Arc::downgrade(self), Arc::downgrade(c));
        let job = move || {
            if let (Some(shared), Some(container)) = (shared.upgrade(), container.upgrade()) {
                let _turn = container.turn();
                shared.ended(&container, run);
            }
        };
        let (shared, container) = (Arc::downgrade(self), Arc::downgrade(c));
        let hear = move |said: &[u8]| {
            if let (Some(shared), Some(container)) = (shared.upgrade(), container.upgrade()) {
                for _ in said.iter().filter(|word| **word == OOM) {
                    shared.out_of_memory(&container, run);
                }
            }
        };
        Ok(self.watcher.on_end(supervisor, hear, job)?)
    }

    /// The kernel has just killed a process of the container for want of memory; its first one may well live on.
    fn out_of_memory(&self, c: &Arc<Container>, run: u64) {
        let before = c.state();
        if before.phase != Phase::Running || before.started_ns != run {
            return;
        }
        c.change(|s| s.oom_killed = true);
        if !before.oom_killed {
            let container = c.clone();
            self.watcher.after(Duration::ZERO, move || {
                let _turn = container.turn();
                container.save();
            });
        }
        self.tell(c, "oom", &[]);
    }

    /// The supervisor of this run is gone. The caller has the turn.
    pub fn ended(self: &Arc<Shared>, c: &Arc<Container>, run: u64) {
        let before = c.state();
        if before.phase != Phase::Running || before.started_ns != run {
            return;
        }
        reached(Step::EndNoticed);
        // In the run directory it is when there was no room for it on the disk.
        let of_run = |directory| record::exit_record(directory).filter(|r| r.started_ns == run);
        let on_disk = of_run(&c.dir);
        let kept = on_disk.is_none();
        let end = on_disk.or_else(|| of_run(&c.run));
        let (end, error) = match end {
            Some(end) => {
                // It gives back its cgroup after the record and its directory last.
                if c.run.exists() {
                    if let Err(error) = self.reap_cgroup(&self.cgroup_of(c, &before)) {
                        tracing::error!(container = %c.id, "what its supervisor left was not ended: {error}");
                    }
                    if !kept {
                        let _ = std::fs::remove_dir_all(&c.run);
                    }
                }
                (end, String::new())
            }
            None => self.reap(c, &before),
        };
        let up = Duration::from_nanos(end.finished_ns.saturating_sub(run));
        let record = c.record();
        let policy = check::restart_policy(&record.host_config.restart_policy).unwrap_or(Policy::No);
        let closing = self.closing.load(Ordering::Acquire);
        let restarts = !before.restarted_by_hand
            && !closing
            && policy.restarts(end.code, before.restart_count, before.stopped_by_hand);
        self.end_probes(c);
        // Ports and addresses must be free when a waiter hears of the end: it may start another container at once.
        self.give_back(c, &before);
        reached(Step::EndReturned);
        if end.oom_killed && !before.oom_killed {
            self.tell(c, "oom", &[]);
        }
        let delay = c.change(|s| {
            s.ended(end.code, end.finished_ns, end.oom_killed, &error, restarts);
            restarts.then(|| s.backoff.next(up))
        });
        let removes = record.host_config.auto_remove && !restarts && !before.restarted_by_hand;
        reached(Step::EndNoted);
        if !removes {
            if c.save() {
                c.forget_run();
            }
            reached(Step::EndSaved);
        }
        let attributes = [("exitCode", end.code.to_string()), ("execDuration", up.as_secs().to_string())];
        self.tell(c, "die", &attributes);
        self.let_go(c, restarts);
        if removes && let Err(error) = self.remove_now(c, true) {
            tracing::error!(container = %c.id, "not removed after its end: {error}");
        }
        c.wait_for_supervisor();
        if let Some(delay) = delay {
            self.start_later(c, delay);
        }
    }

    /// The supervisor died without a word: ends what it left, and says so.
    fn reap(&self, c: &Container, before: &State) -> (ExitRecord, String) {
        let end = |code| ExitRecord {
            version: supervisor::protocol::VERSION,
            started_ns: before.started_ns,
            code,
            signal: None,
            oom_killed: false,
            finished_ns: now_ns(),
        };
        // The run directory is on tmpfs: without it the machine went down, and with it everything of the container.
        if !c.run.exists() {
            return (end(LOST), String::new());
        }
        let mut error = "the supervisor of this container has died; its processes were killed".to_owned();
        if let Err(e) = self.reap_cgroup(&self.cgroup_of(c, before)) {
            error = format!("{error} (incompletely: {e})");
        }
        let _ = std::fs::remove_dir_all(&c.run);
        // Killed while it wrote its record.
        let _ = rustix::fs::unlink(c.dir.join(format!(".{}", supervisor::protocol::EXIT_RECORD)));
        (end(KILLED), error)
    }

    /// Where a container's processes are.
    pub fn cgroup_of(&self, c: &Container, state: &State) -> String {
        match state.cgroup.as_str() {
            // The engine died before it had noted the start: where it put the container follows from the request.
            "" => {
                let parent = &c.record().host_config.resources.cgroup_parent;
                crate::spec::cgroup(&c.id, parent, &self.options.defaults)
            }
            noted => noted.to_owned(),
        }
    }

    /// Kills what is left in a cgroup and removes it.
    pub fn reap_cgroup(&self, cgroup: &str) -> Result<()> {
        let mut command = std::process::Command::new(&self.paths.init);
        command.arg("reap").arg("--cgroup").arg(cgroup).env_clear();
        let quiet = std::process::Stdio::null;
        match command.stdin(quiet()).stdout(quiet()).stderr(quiet()).status()? {
            status if status.success() => Ok(()),
            status => Err(crate::error::Error::System(status.to_string())),
        }
    }

    /// What a run had of other rooms.
    pub fn give_back(&self, c: &Container, before: &State) {
        if before.endpoint.as_ref().is_some_and(|e| e.ip.is_some()) {
            self.leave(&c.id);
        }
        if c.record().host_config.ipc_mode == "shareable" {
            unmount_shm(&self.shm_path(&c.id));
        }
    }

    /// Readers of the log, and processes that were added.
    fn let_go(self: &Arc<Shared>, c: &Container, restarts: bool) {
        let followers = if restarts { vec![] } else { std::mem::take(&mut lock(&c.streams).followers) };
        for follower in followers.iter().filter_map(|f| f.upgrade()) {
            let _ = follower.shutdown(std::net::Shutdown::Both);
        }
        self.forget_execs(&c.id);
    }

    /// Starts the container again after the delay, if by then nobody has stopped it.
    pub fn start_later(self: &Arc<Shared>, c: &Arc<Container>, delay: Duration) {
        let (shared, container) = (Arc::downgrade(self), Arc::downgrade(c));
        let exits = c.peek(|s| s.exits);
        self.watcher.after(delay, move || {
            let (Some(shared), Some(container)) = (shared.upgrade(), container.upgrade()) else { return };
            let _turn = container.turn();
            let still = container.peek(|s| {
                s.phase == Phase::Restarting && s.exits == exits && !s.stopped_by_hand && !s.removing && !s.removed
            });
            if !still || shared.closing.load(Ordering::Acquire) {
                return;
            }
            if let Err(error) = shared.launch(&container, false) {
                tracing::error!(container = %container.id, "not restarted: {error}");
            }
        });
    }
}
