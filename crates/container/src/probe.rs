//! Running the probes of a container that has a health check: a timer while it waits, a thread while it runs.
//!
//! Nothing else ever waits for a probe: it is started, listened to and killed on a thread of its own, which holds no turn
//! and no lock meanwhile. One that cannot even be killed is not followed by another; each interval then counts as a failure.

use crate::containers::{Container, Shared, lock, now_ns};
use crate::exec::Exec;
use crate::health::{Check, Health, Outcome, Output, Status, go_duration};
use crate::state::Phase;
use crate::watch::Timer;
use api::exec::{CreateExec, StartExec};
use std::io::{ErrorKind, Read};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use supervisor::protocol::{ExecExit, Request, frame};

/// How long the supervisor may take to begin a probe, and to answer a question.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one that was killed may take to end before that is reported.
const DYING: Duration = Duration::from_secs(2);
/// When there was no thread for a probe, it is tried again.
const LATER: Duration = Duration::from_secs(1);
/// No frame is longer.
const MAX_FRAME: usize = 1 << 20;

/// The probing of one container.
#[derive(Default)]
pub(crate) struct Prober {
    /// How often probing has begun or ended: what was due before is no more.
    round: u64,
    due: Option<Timer>,
    /// The probe that runs.
    stream: Option<Arc<UnixStream>>,
}

impl Prober {
    fn stop(&mut self, shared: &Shared) {
        self.round += 1;
        if let Some(timer) = self.due.take() {
            shared.watcher.cancel(timer);
        }
        if let Some(stream) = self.stream.take() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// What came of listening.
enum Heard {
    Exit(i32),
    /// The deadline came first.
    Late,
    /// The probing, or the container, is over.
    Gone,
}

impl Shared {
    /// Probes a container that has begun, or goes on, to run. The caller has the turn.
    pub fn begin_probes(self: &Arc<Shared>, c: &Arc<Container>) {
        let Some(check) = Check::of(&c.record().config) else { return };
        let wait = c.change(|s| {
            let health = s.health.get_or_insert_with(|| Health::begin(None));
            check.first_wait(health, s.started_ns, now_ns())
        });
        let mut prober = lock(&c.prober);
        prober.stop(self);
        self.probe_after(c, &mut prober, wait);
    }

    /// Ends it. Nobody knows any more how the container is. The caller has the turn.
    pub fn end_probes(&self, c: &Container) {
        if c.peek(|s| s.health.is_none()) {
            return;
        }
        lock(&c.prober).stop(self);
        c.change(|s| {
            if let Some(health) = &mut s.health {
                health.status = Status::Unhealthy;
            }
        });
    }

    fn probe_after(self: &Arc<Shared>, c: &Arc<Container>, prober: &mut Prober, wait: Duration) {
        let (shared, container) = (Arc::downgrade(self), Arc::downgrade(c));
        let round = prober.round;
        prober.due = Some(self.watcher.after(wait, move || {
            if let (Some(shared), Some(container)) = (shared.upgrade(), container.upgrade()) {
                shared.probe(&container, round);
            }
        }));
    }

    /// One probe, and the timer of the next.
    fn probe(self: &Arc<Shared>, c: &Arc<Container>, round: u64) {
        {
            let mut prober = lock(&c.prober);
            if prober.round != round {
                return;
            }
            prober.due = None;
            if crate::watch::is_this_thread() {
                return self.probe_after(c, &mut prober, LATER);
            }
        }
        let Some(check) = Check::of(&c.record().config) else { return };
        let start_ns = now_ns();
        let say = |code, output| Outcome { start_ns, end_ns: now_ns(), code, output };
        let found = self.run_probe(c, &check, round, &mut |text| {
            self.note(c, &check, round, say(-1, text));
        });
        if let Some((code, output)) = found {
            self.note(c, &check, round, say(code, output));
        }
        let (status, started) = c.peek(|s| (s.health.as_ref().map_or(Status::Starting, |h| h.status), s.started_ns));
        let up = Duration::from_nanos(now_ns().saturating_sub(started));
        let mut prober = lock(&c.prober);
        if prober.round == round {
            prober.stream = None;
            self.probe_after(c, &mut prober, check.wait(status, up));
        }
    }

    /// Runs it and waits for its end. One that is too late is told to `late`, again and again as long as it does not die.
    fn run_probe(
        self: &Arc<Shared>,
        c: &Arc<Container>,
        check: &Check,
        round: u64,
        late: &mut dyn FnMut(String),
    ) -> Option<(i32, String)> {
        const FAILED: i32 = -1;
        let wanted = CreateExec {
            cmd: check.command.clone().into(),
            attach_stdout: true,
            attach_stderr: true,
            ..CreateExec::default()
        };
        let exec = match self.new_exec(c, wanted) {
            Ok(exec) => exec,
            Err(e) => return Some((FAILED, e.to_string())),
        };
        let begun = self.begin_exec(c, &exec, &StartExec::default(), Some(PATIENCE));
        let found = match begun {
            Err(e) => Some((FAILED, e.to_string())),
            Ok(stream) => self.hear_out(c, &exec, Arc::new(stream), check, round, late),
        };
        self.forget_exec(&exec);
        found
    }

    fn hear_out(
        self: &Arc<Shared>,
        c: &Arc<Container>,
        exec: &Exec,
        stream: Arc<UnixStream>,
        check: &Check,
        round: u64,
        late: &mut dyn FnMut(String),
    ) -> Option<(i32, String)> {
        {
            let mut prober = lock(&c.prober);
            // Dropping the connection kills it.
            if prober.round != round {
                return None;
            }
            prober.stream = Some(stream.clone());
        }
        let mut listening = Listening { stream: &stream, bytes: Vec::new(), output: Output::default() };
        let mut heard = listening.until(Instant::now().checked_add(check.timeout));
        let in_time = !matches!(heard, Heard::Late);
        let mut told = false;
        let mut patience = DYING;
        while matches!(heard, Heard::Late) {
            let _ = c.ask_within(&Request::Signal { exec: Some(exec.id.clone()), signal: 9 }, PATIENCE);
            heard = listening.until(Instant::now().checked_add(patience));
            if matches!(heard, Heard::Late) {
                late(too_late(check, &listening.output));
                told = true;
                let status = c.peek(|s| s.health.as_ref().map_or(Status::Starting, |h| h.status));
                patience = check.wait(status, Duration::MAX).saturating_add(check.timeout);
            }
        }
        let text = if in_time { listening.output.text() } else { too_late(check, &listening.output) };
        match heard {
            Heard::Exit(code) => {
                self.exec_done(exec, code);
                (!told).then_some((if in_time { code } else { -1 }, text))
            }
            _ => {
                self.exec_done(exec, 137);
                None
            }
        }
    }

    /// Takes in what a probe found, unless probing has ended meanwhile.
    fn note(&self, c: &Arc<Container>, check: &Check, round: u64, outcome: Outcome) {
        let _turn = c.turn();
        if lock(&c.prober).round != round {
            return;
        }
        let changed = c.change(|s| {
            let started = s.started_ns;
            let health = s.health.as_mut().filter(|_| s.phase == Phase::Running && !s.paused)?;
            Some(health.note(outcome, check, started).then_some(health.status))
        });
        let Some(changed) = changed else { return };
        c.save();
        if let Some(status) = changed {
            self.tell(c, &format!("health_status: {}", status.name()), &[]);
        }
    }
}

fn too_late(check: &Check, output: &Output) -> String {
    let text = format!("Health check exceeded timeout ({})", go_duration(check.timeout));
    match output.text() {
        none if none.is_empty() => text,
        said => format!("{text}: {said}"),
    }
}

/// Frames of a probe, put together from what comes until a deadline.
struct Listening<'s> {
    stream: &'s UnixStream,
    bytes: Vec<u8>,
    output: Output,
}

impl Listening<'_> {
    fn until(&mut self, deadline: Option<Instant>) -> Heard {
        let mut block = vec![0; 16 << 10];
        loop {
            match self.frames() {
                Ok(None) => {}
                Ok(Some(code)) => return Heard::Exit(code),
                Err(()) => return Heard::Gone,
            }
            let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Heard::Late;
            }
            if self.stream.set_read_timeout(left).is_err() {
                return Heard::Gone;
            }
            match self.stream.read(&mut block) {
                Ok(0) => return Heard::Gone,
                Ok(length) => self.bytes.extend_from_slice(&block[..length]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Heard::Late,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Heard::Gone,
            }
        }
    }

    /// Takes what is whole: the code, when it was the last frame.
    fn frames(&mut self) -> Result<Option<i32>, ()> {
        let mut at = 0;
        while let Some(header) = self.bytes.get(at..at + 8) {
            let (kind, length) = (header[0], u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize);
            if length > MAX_FRAME {
                return Err(());
            }
            let Some(payload) = self.bytes.get(at + 8..at + 8 + length) else { break };
            match kind {
                frame::EXIT => return serde_json::from_slice::<ExecExit>(payload).map(|e| Some(e.code)).map_err(drop),
                _ => self.output.push(payload),
            }
            at += 8 + length;
        }
        self.bytes.drain(..at);
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn frames_in_any_pieces() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut all = vec![1, 0, 0, 0, 0, 0, 0, 2, b'h', b'i', 2, 0, 0, 0, 0, 0, 0, 1, b'!'];
        let exit = br#"{"code":7}"#;
        all.extend([3, 0, 0, 0, 0, 0, 0, exit.len() as u8]);
        all.extend_from_slice(exit);
        let mut listening = Listening { stream: &ours, bytes: vec![], output: Output::default() };
        for (n, byte) in all.iter().enumerate() {
            assert!(matches!(listening.until(Some(Instant::now())), Heard::Late), "{n}");
            theirs.write_all(&[*byte]).unwrap();
            let heard = listening.until(Some(Instant::now() + Duration::from_micros(200)));
            match n + 1 == all.len() {
                true => assert!(matches!(heard, Heard::Exit(7))),
                false => assert!(matches!(heard, Heard::Late)),
            }
        }
        assert_eq!(listening.output.text(), "hi!");
        drop(theirs);
        let mut listening = Listening { stream: &ours, bytes: vec![], output: Output::default() };
        assert!(matches!(listening.until(None), Heard::Gone));
    }
}
