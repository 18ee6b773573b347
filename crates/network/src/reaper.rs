//! Removes devices behind the callers' backs: the kernel takes tens of milliseconds for one, and a container's end need
//! not wait for it. What is handed over here is down already and nobody's any more. Most of them the kernel removes by
//! itself meanwhile, with the container's namespace.

use crate::netlink::{Batch, Failure, Pool};
use rustix::io::Errno;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Time for the namespaces to die by themselves, many at once, which costs the kernel less.
const GRACE: Duration = Duration::from_millis(40);

/// The devices that are to go.
pub(crate) struct Reaper {
    route: Arc<Pool>,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    names: Vec<String>,
    /// The thread runs; it ends when there is nothing to do.
    running: bool,
    /// Someone waits for the end: no grace.
    hurry: bool,
}

impl Reaper {
    pub(crate) fn new(route: Arc<Pool>) -> Reaper {
        Reaper { route, queue: Mutex::default(), changed: Condvar::new() }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Has a device removed soon.
    pub(crate) fn take(self: &Arc<Reaper>, name: String) {
        let mut queue = self.queue();
        queue.names.push(name);
        if queue.running {
            return;
        }
        let own = self.clone();
        let thread = std::thread::Builder::new().name("veth-reaper".into()).stack_size(128 * 1024);
        queue.running = thread.spawn(move || own.run()).is_ok();
        drop(queue);
        self.changed.notify_all();
    }

    /// Waits until every device handed over is gone.
    pub(crate) fn settle(&self) {
        let mut queue = self.queue();
        queue.hurry = true;
        self.changed.notify_all();
        while queue.running {
            queue = self.changed.wait(queue).unwrap_or_else(|e| e.into_inner());
        }
        queue.hurry = false;
        let names = std::mem::take(&mut queue.names);
        drop(queue);
        // Only when no thread could be started.
        names.iter().for_each(|name| self.remove(name));
    }

    fn run(&self) {
        loop {
            let queue = self.queue();
            let waited = self.changed.wait_timeout_while(queue, GRACE, |queue| !queue.hurry);
            let (mut queue, _) = waited.unwrap_or_else(|e| e.into_inner());
            let names = std::mem::take(&mut queue.names);
            if names.is_empty() {
                queue.running = false;
                drop(queue);
                self.changed.notify_all();
                return;
            }
            drop(queue);
            names.iter().for_each(|name| self.remove(name));
        }
    }

    /// Failing here means that the next start finds the device by its mark and tries again.
    fn remove(&self, name: &str) {
        if let Err(failure) = remove_link(&self.route, name) {
            tracing::error!(device = name, doing = failure.doing, error = %failure.errno, "a device remains");
        }
    }
}

/// Removes a device; that it is gone already is no error.
pub(crate) fn remove_link(route: &Pool, name: &str) -> Result<(), Failure> {
    let mut batch = Batch::new();
    batch.remove_link(name);
    match route.with(|socket| socket.apply(batch)) {
        Err(failure) if failure.errno == Errno::NODEV => Ok(()),
        other => other,
    }
}
