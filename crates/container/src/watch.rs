//! One thread that sleeps until a supervisor's socket ends or a time has come, and then starts a thread for the work: a
//! slow one delays nobody.

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Work to be done.
type Job = Box<dyn FnOnce() + Send>;
/// What is done with what a socket says before its end. It runs on the one thread: it must be short.
type Hear = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// What [`Watcher::after`] gives, to take it back.
pub(crate) type Timer = (Instant, u64);

/// Name of the watcher's thread.
const NAME: &str = "watch";

/// Token of the descriptor that wakes the thread.
const WAKE: u64 = 0;

/// The watcher. Its thread ends when it is dropped.
pub(crate) struct Watcher {
    inner: Arc<Inner>,
}

struct Inner {
    epoll: OwnedFd,
    wake: OwnedFd,
    next: AtomicU64,
    stop: AtomicBool,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// Sockets and processes by token.
    ends: HashMap<u64, (OwnedFd, Hear, Job)>,
    /// By time, the token keeping equal times apart.
    timers: BTreeMap<(Instant, u64), Job>,
}

impl Watcher {
    /// Starts the thread.
    pub fn new() -> io::Result<Watcher> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &wake, EventData::new_u64(WAKE), EventFlags::IN)?;
        let inner = Arc::new(Inner {
            epoll,
            wake,
            next: AtomicU64::new(1),
            stop: AtomicBool::new(false),
            waiting: Mutex::default(),
        });
        let of_thread = inner.clone();
        std::thread::Builder::new().name(NAME.into()).spawn(move || of_thread.run())?;
        Ok(Watcher { inner })
    }

    /// Runs `job` when the other side of a socket has closed, or a process (by its pidfd) has ended; until then `hear`
    /// gets what the socket says.
    pub fn on_end(
        &self,
        of: OwnedFd,
        hear: impl Fn(&[u8]) + Send + Sync + 'static,
        job: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let token = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let mut waiting = self.inner.waiting();
        let flags = EventFlags::IN | EventFlags::RDHUP;
        epoll::add(&self.inner.epoll, &of, EventData::new_u64(token), flags)?;
        waiting.ends.insert(token, (of, Arc::new(hear), Box::new(job)));
        Ok(())
    }

    /// A way to its timers that does not keep it alive.
    pub fn timers(&self) -> Timers {
        Timers(Arc::downgrade(&self.inner))
    }

    /// Runs `job` after `delay`.
    pub fn after(&self, delay: Duration, job: impl FnOnce() + Send + 'static) -> Timer {
        self.inner.after(delay, job)
    }

    /// Takes a job back, if its time has not come.
    pub fn cancel(&self, timer: Timer) {
        let job = self.inner.waiting().timers.remove(&timer);
        drop(job);
    }
}

/// The watcher's timers, while there is a watcher.
pub(crate) struct Timers(Weak<Inner>);

impl Timers {
    /// Runs `job` after `delay`, if the watcher is still there by then.
    pub fn after(&self, delay: Duration, job: impl FnOnce() + Send + 'static) {
        if let Some(inner) = self.0.upgrade() {
            inner.after(delay, job);
        }
    }
}

impl Inner {
    fn after(&self, delay: Duration, job: impl FnOnce() + Send + 'static) -> Timer {
        // A time that no clock reaches is as good as never.
        const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);
        let token = self.next.fetch_add(1, Ordering::Relaxed);
        let at = Instant::now() + delay.min(NEVER);
        let mut waiting = self.waiting();
        let earliest = waiting.timers.keys().next().is_none_or(|(first, _)| at < *first);
        waiting.timers.insert((at, token), Box::new(job));
        drop(waiting);
        if earliest {
            self.wake();
        }
        (at, token)
    }
}

/// Whether the caller runs on the watcher's own thread, for want of another: it must not wait for anything.
pub(crate) fn is_this_thread() -> bool {
    std::thread::current().name() == Some(NAME)
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.inner.stop.store(true, Ordering::Release);
        self.inner.wake();
    }
}

impl Inner {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    fn run(&self) {
        let mut events = Vec::with_capacity(64);
        while !self.stop.load(Ordering::Acquire) {
            events.clear();
            let timeout = self.waiting().timers.keys().next().map(|(at, _)| {
                let left = at.saturating_duration_since(Instant::now());
                Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() }
            });
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                // Only a program error makes it fail; without this pause it would spin.
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
            for event in &events {
                match event.data.u64() {
                    WAKE => {
                        let _ = rustix::io::read(&self.wake, &mut [0u8; 8]);
                    }
                    token => self.ready(token),
                }
            }
            self.due();
        }
    }

    /// A socket is readable: it says something, or it is its end. A pidfd, which is no socket, is readable at the end
    /// alone.
    fn ready(&self, token: u64) {
        let mut waiting = self.waiting();
        let Some((socket, hear, _)) = waiting.ends.get(&token) else { return };
        let mut byte = [0u8; 256];
        match rustix::net::recv(socket, &mut byte, rustix::net::RecvFlags::DONTWAIT) {
            Ok((0, _)) => {}
            Ok((length, _)) => {
                let hear = hear.clone();
                drop(waiting);
                return hear(&byte[..length]);
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return,
            Err(_) => {}
        }
        if let Some((socket, _, job)) = waiting.ends.remove(&token) {
            let _ = epoll::delete(&self.epoll, &socket);
            drop(waiting);
            work(job);
        }
    }

    fn due(&self) {
        loop {
            let mut waiting = self.waiting();
            match waiting.timers.first_entry() {
                Some(entry) if entry.key().0 <= Instant::now() => {
                    let job = entry.remove();
                    drop(waiting);
                    work(job);
                }
                _ => return,
            }
        }
    }
}

/// A thread for one job. When there are no threads to be had the job still runs: late is better than never.
fn work(job: Job) {
    let job = Arc::new(Mutex::new(Some(job)));
    let take = |job: &Mutex<Option<Job>>| job.lock().unwrap_or_else(PoisonError::into_inner).take();
    let of_thread = job.clone();
    let spawned = std::thread::Builder::new().name("end".into()).spawn(move || {
        if let Some(job) = take(&of_thread) {
            job();
        }
    });
    if spawned.is_err()
        && let Some(job) = take(&job)
    {
        job();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc;

    const DEADLINE: Duration = Duration::from_secs(10);

    #[test]
    fn ends_and_times() {
        let watcher = Watcher::new().unwrap();
        let (send, receive) = mpsc::channel();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let s = send.clone();
        let word = send.clone();
        let hear = move |said: &[u8]| word.send(if said == b"o" { "word" } else { "noise" }).unwrap();
        watcher.on_end(ours.into(), hear, move || s.send("end").unwrap()).unwrap();
        let s = send.clone();
        watcher.after(Duration::from_millis(30), move || s.send("second").unwrap());
        let s = send.clone();
        watcher.after(Duration::from_millis(1), move || s.send("first").unwrap());
        let s = send.clone();
        let never = watcher.after(Duration::from_millis(2), move || s.send("never").unwrap());
        watcher.cancel(never);
        watcher.after(Duration::MAX, || ());
        assert_eq!(receive.recv_timeout(DEADLINE), Ok("first"));
        assert_eq!(receive.recv_timeout(DEADLINE), Ok("second"));
        std::io::Write::write_all(&mut &theirs, b"o").unwrap();
        drop(theirs);
        assert_eq!(receive.recv_timeout(DEADLINE), Ok("word"));
        assert_eq!(receive.recv_timeout(DEADLINE), Ok("end"));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        watcher.on_end(pidfd, |_| (), move || send.send("process").unwrap()).unwrap();
        assert_eq!(receive.recv_timeout(DEADLINE), Ok("process"));
        child.wait().unwrap();
    }

    #[test]
    fn a_slow_job_delays_nobody() {
        let watcher = Watcher::new().unwrap();
        let (release, held) = mpsc::channel::<()>();
        watcher.after(Duration::ZERO, move || assert!(held.recv().is_err()));
        let (send, receive) = mpsc::channel();
        watcher.after(Duration::from_millis(1), move || send.send(()).unwrap());
        receive.recv_timeout(DEADLINE).unwrap();
        drop(release);
    }
}
