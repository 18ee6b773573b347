//! What happened lately, and who wants to know what happens next.

use api::event::Event;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::broadcast;

/// How many past events `since` can show: dockerd keeps as many.
const KEPT: usize = 256;
/// How far a listener may fall behind.
const BUFFER: usize = 1024;

/// The log of events.
#[derive(Clone)]
pub struct Events(Arc<Inner>);

struct Inner {
    past: Mutex<VecDeque<Arc<Event>>>,
    live: broadcast::Sender<Arc<Event>>,
}

impl Default for Events {
    fn default() -> Events {
        Events(Arc::new(Inner { past: Mutex::default(), live: broadcast::Sender::new(BUFFER) }))
    }
}

impl Events {
    /// Something happened.
    pub fn send(&self, event: Event) {
        let event = Arc::new(event);
        let mut past = self.0.past.lock().unwrap_or_else(PoisonError::into_inner);
        if past.len() == KEPT {
            past.pop_front();
        }
        past.push_back(event.clone());
        // Under the lock, so that a listener misses nothing between the past and the present. Nobody listening is fine.
        let _ = self.0.live.send(event);
    }

    /// The kept events, and a receiver of all that follow.
    pub fn subscribe(&self) -> (Vec<Arc<Event>>, broadcast::Receiver<Arc<Event>>) {
        let past = self.0.past.lock().unwrap_or_else(PoisonError::into_inner);
        (past.iter().cloned().collect(), self.0.live.subscribe())
    }

    /// How many listen.
    pub fn listeners(&self) -> usize {
        self.0.live.receiver_count()
    }
}

/// The time now, nanoseconds since the epoch.
pub fn now_ns() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_is_bounded() {
        let events = Events::default();
        for i in 0..300 {
            events.send(Event { time: i, ..Event::default() });
        }
        let (past, mut live) = events.subscribe();
        assert_eq!((past.len(), past[0].time, past[255].time), (256, 44, 299));
        events.send(Event { time: 300, ..Event::default() });
        assert_eq!(live.try_recv().unwrap().time, 300);
        assert_eq!(events.listeners(), 1);
    }
}
