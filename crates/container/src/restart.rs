//! Whether and when a container that has ended starts again. Pure.

use std::time::Duration;

/// What the user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// Never.
    #[default]
    No,
    /// Whatever the exit code.
    Always,
    /// Like `Always`, but a container that was stopped by hand stays down over a restart of the engine.
    UnlessStopped,
    /// When the exit code is not 0, at most so many times (0: without end).
    OnFailure(u32),
}

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);
/// Up for so long: the next delay is the first one again.
const STEADY: Duration = Duration::from_secs(10);

/// The delay that grows from failure to failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backoff {
    last: Duration,
}

impl Backoff {
    /// The delay before the next start, after a run of this length.
    pub fn next(&mut self, up: Duration) -> Duration {
        self.last = match self.last {
            _ if up >= STEADY => FIRST,
            Duration::ZERO => FIRST,
            last => (last * 2).min(LONGEST),
        };
        self.last
    }

    /// Start over: the user started it by hand.
    pub fn reset(&mut self) {
        self.last = Duration::ZERO;
    }
}

impl Policy {
    /// Whether to start again after an exit.
    pub fn restarts(self, code: i32, restarts_so_far: u32, stopped_by_hand: bool) -> bool {
        !stopped_by_hand
            && match self {
                Policy::No => false,
                Policy::Always | Policy::UnlessStopped => true,
                Policy::OnFailure(max) => code != 0 && (max == 0 || restarts_so_far < max),
            }
    }

    /// Whether to start when the engine starts and finds the container down.
    pub fn starts_with_engine(self, was_started: bool, stopped_by_hand: bool, code: i32, restarts_so_far: u32) -> bool {
        was_started
            && match self {
                Policy::Always => true,
                Policy::UnlessStopped => !stopped_by_hand,
                Policy::OnFailure(_) => self.restarts(code, restarts_so_far, stopped_by_hand),
                Policy::No => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_to_a_minute_and_start_over_after_ten_seconds_up() {
        let mut b = Backoff::default();
        let short = Duration::from_millis(9_999);
        let ms: Vec<u128> = (0..12).map(|_| b.next(short).as_millis()).collect();
        assert_eq!(ms, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]);
        assert_eq!(b.next(STEADY), FIRST);
        assert_eq!(b.next(short), FIRST * 2);
        b.reset();
        assert_eq!(b.next(short), FIRST);
    }

    #[test]
    fn policies() {
        use Policy::*;
        assert!(!No.restarts(1, 0, false));
        assert!(Always.restarts(0, 1000, false));
        assert!(!Always.restarts(0, 0, true));
        assert!(!OnFailure(3).restarts(0, 0, false));
        assert!(OnFailure(3).restarts(1, 2, false));
        assert!(!OnFailure(3).restarts(1, 3, false));
        assert!(OnFailure(0).restarts(1, 3000, false));
        assert!(Always.starts_with_engine(true, true, 0, 0));
        assert!(!UnlessStopped.starts_with_engine(true, true, 0, 0));
        assert!(!Always.starts_with_engine(false, false, 0, 0));
    }
}
