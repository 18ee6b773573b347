//! What happened: handed to everyone who listens, the last ones kept for those who ask about the past.

use api::event::Event;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::broadcast;

/// How many past events are kept, and how far a listener may fall behind.
const KEPT: usize = 1024;

/// The engine's events. Cheap to clone.
#[derive(Clone)]
pub struct Events {
    inner: Arc<Inner>,
}

struct Inner {
    past: Mutex<VecDeque<Arc<Event>>>,
    sender: broadcast::Sender<Arc<Event>>,
}

impl Default for Events {
    fn default() -> Events {
        Events {
            inner: Arc::new(Inner {
                past: Mutex::new(VecDeque::with_capacity(64)),
                sender: broadcast::Sender::new(KEPT),
            }),
        }
    }
}

impl Events {
    /// Tells everyone. Order of the past and of what listeners get is the same.
    pub fn publish(&self, event: Event) {
        let event = Arc::new(event);
        let mut past = self.inner.past.lock().unwrap_or_else(PoisonError::into_inner);
        if past.len() == KEPT {
            past.pop_front();
        }
        past.push_back(event.clone());
        let _ = self.inner.sender.send(event);
    }

    /// What has happened until now, oldest first, and all that will: nothing is missing or double between the two.
    pub fn subscribe(&self) -> (Vec<Arc<Event>>, broadcast::Receiver<Arc<Event>>) {
        let past = self.inner.past.lock().unwrap_or_else(PoisonError::into_inner);
        (past.iter().cloned().collect(), self.inner.sender.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_and_future_join_without_a_gap() {
        let events = Events::default();
        let event = |n: i64| Event::new("container", "start", "x", api::Map::empty(), n);
        for n in 0..(KEPT as i64 + 5) {
            events.publish(event(n));
        }
        let (past, mut future) = events.subscribe();
        assert_eq!((past.len(), past[0].time_nano), (KEPT, 5));
        events.publish(event(9999));
        assert_eq!(future.try_recv().unwrap().time_nano, 9999);
        assert!(future.try_recv().is_err());
    }
}
