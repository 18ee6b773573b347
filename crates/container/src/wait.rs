//! Waiting for the end of a container, in Docker's three ways.

use crate::containers::{Containers, Seen};
use crate::error::{Result, invalid};
use api::container::Wait as Answer;
use tokio::sync::watch::Receiver;

/// Someone waits. Made at once, so that nothing that happens afterwards is missed.
pub struct Waiting {
    receiver: Receiver<Seen>,
    condition: Condition,
    exits: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    NotRunning,
    NextExit,
    Removed,
}

impl Containers {
    /// Begins to wait: `not-running` (also empty), `next-exit` or `removed`.
    ///
    /// # Errors
    /// For another condition, or no such container.
    pub fn wait(&self, name: &str, condition: &str) -> Result<Waiting> {
        let condition = match condition {
            "" | "not-running" => Condition::NotRunning,
            "next-exit" => Condition::NextExit,
            "removed" => Condition::Removed,
            other => return Err(invalid!("invalid condition: {other:?}")),
        };
        let receiver = self.shared.find(name)?.watch();
        let exits = receiver.borrow().exits;
        Ok(Waiting { receiver, condition, exits })
    }
}

impl Waiting {
    /// The answer, when it has come to that. Can be dropped at any time.
    pub async fn done(mut self) -> Answer {
        let (condition, exits) = (self.condition, self.exits);
        let met = move |seen: &Seen| match condition {
            Condition::NotRunning => !seen.running || seen.removed,
            Condition::NextExit => seen.exits > exits || seen.removed,
            Condition::Removed => seen.removed,
        };
        match self.receiver.wait_for(met).await {
            Ok(seen) => Answer { status_code: seen.code.into(), error: None },
            // The container has gone, and with it whoever could have told.
            Err(_) => Answer { status_code: 0, error: None },
        }
    }
}
