//! One of a kind, kept ready: what takes the kernel long to make is made before somebody waits for it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Before the next one is made when nobody has asked for it: a short command has come to its end by then, on a machine that
/// may have two cores.
pub(crate) const LATER: Duration = Duration::from_millis(20);
/// How long it is kept when nobody comes.
const KEPT: Duration = Duration::from_secs(1);

/// The place for one.
pub(crate) struct Ready<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    one: Option<T>,
    /// Counts those that were put here, so that a thread knows its own.
    serial: u64,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing is being made.
    Idle,
    /// The next one is, later.
    Later,
    /// The next one is, now.
    Making,
}

impl<T: Send + 'static> Ready<T> {
    pub(crate) fn new() -> Arc<Ready<T>> {
        Arc::new(Ready {
            state: Mutex::new(State { one: None, serial: 0, phase: Phase::Idle }),
            changed: Condvar::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn wait_while<'s>(
        &self,
        state: MutexGuard<'s, State<T>>,
        not_yet: impl FnMut(&mut State<T>) -> bool,
    ) -> MutexGuard<'s, State<T>> {
        self.changed.wait_while(state, not_yet).unwrap_or_else(|e| e.into_inner())
    }

    /// The one that is ready, or will be in a moment.
    pub(crate) fn take(&self) -> Option<T> {
        let mut state = self.wait_while(self.state(), |s| s.one.is_none() && s.phase == Phase::Making);
        let one = state.one.take();
        drop(state);
        self.changed.notify_all();
        one
    }

    /// Looks at the one that is ready; nothing while one is being made.
    pub(crate) fn look<R>(&self, at: impl FnOnce(Option<&T>) -> R) -> Option<R> {
        let state = self.state();
        (state.phase != Phase::Making).then(|| at(state.one.as_ref()))
    }

    /// Has the next one made by a thread after this delay, or at once when it is waiting already and the delay is none. The
    /// thread stays until it is taken or has been kept long enough. That the thread cannot be started, or the thing not made,
    /// costs the next one who asks a little time.
    pub(crate) fn refill(self: &Arc<Self>, delay: Duration, make: impl FnOnce() -> Option<T> + Send + 'static) {
        {
            let mut state = self.state();
            match state.phase {
                _ if state.one.is_some() => return,
                Phase::Making => return,
                Phase::Later if delay.is_zero() => {
                    state.phase = Phase::Making;
                    self.changed.notify_all();
                    return;
                }
                Phase::Later => return,
                Phase::Idle if delay.is_zero() => state.phase = Phase::Making,
                Phase::Idle => state.phase = Phase::Later,
            }
        }
        let own = self.clone();
        let thread = std::thread::Builder::new().name("net-ready".into()).stack_size(128 * 1024);
        if thread.spawn(move || own.keep(delay, make)).is_err() {
            self.state().phase = Phase::Idle;
            self.changed.notify_all();
        }
    }

    fn keep(&self, delay: Duration, make: impl FnOnce() -> Option<T>) {
        let waited = self.changed.wait_timeout_while(self.state(), delay, |s| s.phase == Phase::Later);
        waited.unwrap_or_else(|e| e.into_inner()).0.phase = Phase::Making;
        // Whoever needs one waits for the end of this, whatever it is.
        let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(make)).unwrap_or_default();
        let mut state = self.state();
        state.phase = Phase::Idle;
        state.one = made;
        state.serial += 1;
        let own = state.serial;
        self.changed.notify_all();
        let there = |state: &mut State<T>| state.one.is_some() && state.serial == own;
        let waited = self.changed.wait_timeout_while(state, KEPT, there);
        let (mut state, timeout) = waited.unwrap_or_else(|e| e.into_inner());
        if timeout.timed_out() {
            let _unused = state.one.take();
            drop(state);
        }
    }

    /// Waits until nothing is being made, or will be.
    pub(crate) fn settle(&self) {
        let mut state = self.state();
        if state.phase == Phase::Later {
            state.phase = Phase::Making;
            self.changed.notify_all();
        }
        drop(self.wait_while(state, |s| s.phase != Phase::Idle));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_taken_once() {
        let ready = Ready::new();
        assert_eq!(ready.take(), None);
        ready.refill(LATER, || Some(1));
        ready.settle();
        ready.refill(LATER, || Some(2));
        ready.settle();
        assert_eq!((ready.take(), ready.take()), (Some(1), None));
        ready.refill(LATER, || None);
        ready.settle();
        assert_eq!(ready.take(), None);
        ready.refill(LATER, || Some(3));
        ready.settle();
        assert_eq!(ready.take(), Some(3));
    }

    #[test]
    fn who_expects_somebody_has_it_made_at_once() {
        let ready = Ready::new();
        ready.refill(Duration::MAX, || Some(1));
        // It may never come, so nobody waits for it.
        assert_eq!((ready.take(), ready.look(|one| one.is_none())), (None, Some(true)));
        ready.refill(Duration::ZERO, || Some(2));
        assert_eq!(ready.take(), Some(1));
        ready.refill(Duration::ZERO, || Some(3));
        assert_eq!(ready.take(), Some(3));
    }
}
