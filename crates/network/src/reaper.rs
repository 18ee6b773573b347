//! Removes devices behind the callers' backs: a container's end need not wait for the kernel, which takes tens of
//! milliseconds for one. What is handed over here is taken down at once, and only then is its address free; it is removed
//! later. Most of them the kernel removes by itself meanwhile, with the container's namespace.

use crate::netlink::{Batch, Failure, Pool};
use rustix::io::Errno;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Time for the namespaces to die by themselves, many at once, which costs the kernel less.
const GRACE: Duration = Duration::from_millis(40);

/// What is to happen when a device carries nothing any more.
type Then = Box<dyn FnOnce() + Send>;

/// The devices that are to go.
pub(crate) struct Reaper {
    route: Arc<Pool>,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    /// Those that may still carry something.
    up: Vec<(String, Then)>,
    /// Some of them are being taken down.
    busy: bool,
    /// Those that carry nothing; where taking it down failed, with what is to happen after its removal.
    down: Vec<(String, Option<Then>)>,
    /// When the first of them is removed.
    due: Option<Instant>,
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

    fn wait_while<'q>(
        &self,
        queue: MutexGuard<'q, Queue>,
        so: impl FnMut(&mut Queue) -> bool,
    ) -> MutexGuard<'q, Queue> {
        self.changed.wait_while(queue, so).unwrap_or_else(|e| e.into_inner())
    }

    /// Has a device taken down now and removed soon. When it carries nothing any more `then` is called.
    pub(crate) fn take(self: &Arc<Reaper>, name: String, then: impl FnOnce() + Send + 'static) {
        let mut queue = self.queue();
        queue.up.push((name, Box::new(then)));
        if !queue.running {
            let own = self.clone();
            let thread = std::thread::Builder::new().name("veth-reaper".into()).stack_size(128 * 1024);
            queue.running = thread.spawn(move || own.run()).is_ok();
            if !queue.running {
                drop(self.take_down(queue));
            }
        }
        self.changed.notify_all();
    }

    /// Waits until nothing that was handed over carries anything.
    pub(crate) fn quiet(&self) {
        drop(self.wait_while(self.queue(), |queue| !queue.up.is_empty() || queue.busy));
    }

    /// Waits until every device handed over is gone.
    pub(crate) fn settle(&self) {
        let mut queue = self.queue();
        queue.hurry = true;
        self.changed.notify_all();
        queue = self.wait_while(queue, |queue| queue.running);
        queue.hurry = false;
        let left = std::mem::take(&mut queue.down);
        drop(queue);
        // Only when no thread could be started.
        self.remove(left);
    }

    fn run(&self) {
        let mut queue = self.queue();
        loop {
            let now = Instant::now();
            if !queue.up.is_empty() {
                queue = self.take_down(queue);
            } else if let Some(due) = queue.due.filter(|due| *due > now && !queue.hurry) {
                let waits = |queue: &mut Queue| queue.up.is_empty() && !queue.hurry;
                let waited = self.changed.wait_timeout_while(queue, due - now, waits);
                queue = waited.unwrap_or_else(|e| e.into_inner()).0;
            } else if queue.down.is_empty() {
                queue.running = false;
                self.changed.notify_all();
                return;
            } else {
                let due = std::mem::take(&mut queue.down);
                queue.due = None;
                drop(queue);
                self.remove(due);
                queue = self.queue();
            }
        }
    }

    fn take_down<'q>(&'q self, mut queue: MutexGuard<'q, Queue>) -> MutexGuard<'q, Queue> {
        let up = std::mem::take(&mut queue.up);
        queue.busy = true;
        drop(queue);
        let mut down = Vec::with_capacity(up.len());
        for (name, then) in up {
            match self.disconnect(&name) {
                Ok(there) => {
                    then();
                    down.extend(there.then_some((name, None)));
                }
                Err(failure) => {
                    tracing::error!(device = name, doing = failure.doing, error = %failure.errno, "it is to be removed");
                    down.push((name, Some(then)));
                }
            }
        }
        let mut queue = self.queue();
        queue.busy = false;
        if !down.is_empty() {
            queue.due.get_or_insert_with(|| Instant::now() + GRACE);
            queue.down.append(&mut down);
        }
        self.changed.notify_all();
        queue
    }

    /// Ends all traffic of the device; false when there is none: with the last process of the container the kernel removes
    /// both ends by itself.
    fn disconnect(&self, name: &str) -> Result<bool, Failure> {
        let mut batch = Batch::new();
        batch.set_down(name);
        match self.route.with(|socket| socket.apply(batch)) {
            Err(failure) if failure.errno == Errno::NODEV => Ok(false),
            other => other.map(|()| true),
        }
    }

    /// Failing here means that the next start finds the device by its mark and tries again.
    fn remove(&self, devices: Vec<(String, Option<Then>)>) {
        for (name, then) in devices {
            match (remove_link(&self.route, &name), then) {
                (Ok(()), Some(then)) => then(),
                (Ok(()), None) => {}
                (Err(failure), _) => {
                    tracing::error!(device = name, doing = failure.doing, error = %failure.errno, "a device remains");
                }
            }
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
