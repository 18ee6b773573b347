//! Deleting without making anybody wait: what is to go is renamed into `trash/`, and a thread of low priority empties it.

use crate::error::{Error, Result};
use rustix::fs::{Mode, OFlags, openat, renameat};
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};

/// The directory `trash/` and the thread that empties it.
pub struct Trash {
    root: OwnedFd,
    next: AtomicU64,
    queue: Mutex<Option<mpsc::Sender<CString>>>,
    waiting: Arc<(Mutex<usize>, Condvar)>,
}

impl Trash {
    /// Below `root`; `tidy`: what an earlier process left is removed too.
    pub fn open(root: OwnedFd, tidy: bool) -> Result<Trash> {
        let left = crate::store::names(&root, "trash")?;
        let next = left.iter().filter_map(|name| name.parse::<u64>().ok()).max().map_or(0, |n| n + 1);
        let trash = Trash { root, next: next.into(), queue: Mutex::default(), waiting: Arc::default() };
        for name in left.into_iter().filter(|_| tidy) {
            trash.enqueue(name)?;
        }
        Ok(trash)
    }

    /// Takes `path` away. Nothing there is an error of the kind `NotFound`.
    pub fn take(&self, path: &str) -> Result<()> {
        let name = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        let to = format!("trash/{name}");
        match renameat(&self.root, path, &self.root, to.as_str()) {
            Ok(()) => self.enqueue(name),
            Err(Errno::NOENT) => Err(Error::NotFound { what: "directory", name: path.into() }),
            Err(e) => Err(Error::io("remove", path, e)),
        }
    }

    /// Waits until everything taken so far is gone.
    pub fn settle(&self) {
        let (count, changed) = &*self.waiting;
        let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
        while *count > 0 {
            count = changed.wait(count).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn enqueue(&self, name: String) -> Result<()> {
        let name = CString::new(name).map_err(|e| Error::io("remove", "trash", std::io::Error::from(e)))?;
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.is_none() {
            *queue = Some(self.start()?);
        }
        *self.waiting.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        // The thread ends only when this sender is gone.
        if let Some(queue) = queue.as_ref() {
            let _ = queue.send(name);
        }
        Ok(())
    }

    fn start(&self) -> Result<mpsc::Sender<CString>> {
        let (sender, receiver) = mpsc::channel::<CString>();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(&self.root, "trash", flags, Mode::empty()).map_err(|e| Error::io("open", "trash", e))?;
        let waiting = self.waiting.clone();
        let run = move || {
            // Of this thread alone: whoever throws something away is not interrupted for it. Without it the work is the same.
            let _ = sys::sched::sched_setattr(&sys::sched::SchedAttr {
                policy: sys::sched::BATCH,
                nice: 10,
                ..Default::default()
            });
            for name in receiver {
                if let Err(e) = sys::remove::remove_at(dir.as_fd(), &name) {
                    tracing::warn!("removing trash/{}: {e}; the next start tries again", name.to_string_lossy());
                }
                *waiting.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
                waiting.1.notify_all();
            }
        };
        let thread = std::thread::Builder::new().name("trash".into()).spawn(run);
        thread.map_err(|e| Error::io("start", "trash thread", e))?;
        Ok(sender)
    }
}
