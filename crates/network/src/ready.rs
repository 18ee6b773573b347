//! One of a kind, kept ready: what takes the kernel long to make is made before somebody waits for it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Before the next one is made: what has just been given out is about to be used, on a machine that may have two cores.
const LATER: Duration = Duration::from_millis(5);
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
    making: bool,
}

impl<T: Send + 'static> Ready<T> {
    pub(crate) fn new() -> Arc<Ready<T>> {
        Arc::new(Ready { state: Mutex::new(State { one: None, serial: 0, making: false }), changed: Condvar::new() })
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The one that is ready.
    pub(crate) fn take(&self) -> Option<T> {
        let one = self.state().one.take();
        self.changed.notify_all();
        one
    }

    /// Looks at the one that is ready; nothing while one is being made.
    pub(crate) fn look<R>(&self, at: impl FnOnce(Option<&T>) -> R) -> Option<R> {
        let state = self.state();
        (!state.making).then(|| at(state.one.as_ref()))
    }

    /// Has the next one made by a thread, which stays until it is taken or has been kept long enough. That the thread
    /// cannot be started, or the thing not made, costs the next one who asks a little time.
    pub(crate) fn refill(self: &Arc<Self>, make: impl FnOnce() -> Option<T> + Send + 'static) {
        {
            let mut state = self.state();
            if state.one.is_some() || state.making {
                return;
            }
            state.making = true;
        }
        let own = self.clone();
        let thread = std::thread::Builder::new().name("net-ready".into()).stack_size(128 * 1024);
        if thread.spawn(move || own.keep(make)).is_err() {
            self.state().making = false;
        }
    }

    fn keep(&self, make: impl FnOnce() -> Option<T>) {
        std::thread::sleep(LATER);
        let made = make();
        let mut state = self.state();
        state.making = false;
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

    /// Waits until nothing is being made.
    pub(crate) fn settle(&self) {
        let mut state = self.state();
        while state.making {
            state = self.changed.wait(state).unwrap_or_else(|e| e.into_inner());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_taken_once() {
        let ready = Ready::new();
        assert_eq!(ready.take(), None);
        ready.refill(|| Some(1));
        ready.settle();
        ready.refill(|| Some(2));
        ready.settle();
        assert_eq!((ready.take(), ready.take()), (Some(1), None));
        ready.refill(|| None);
        ready.settle();
        assert_eq!(ready.take(), None);
        ready.refill(|| Some(3));
        ready.settle();
        assert_eq!(ready.take(), Some(3));
    }
}
