//! Watches nf_tables: `nft flush ruleset`, a reload of firewalld or of an init script takes our table away too, and then
//! nothing would protect the containers. It is put back at once.

use crate::netlink::nft::{GROUP, changed_table};
use crate::netlink::{NETFILTER, Socket};
use crate::networks::{Inner, Networks};
use crate::{Error, Result};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// From one repair to the next, whether it succeeded or not: two programs that answer to one another's changes must not keep
/// the machine busy. The first one comes at once.
const PAUSE: Duration = Duration::from_millis(200);

/// The thread that watches; it ends when this is dropped.
pub(crate) struct Monitor {
    stop: OwnedFd,
}

impl Monitor {
    /// Starts to watch the network namespace of the calling thread.
    pub(crate) fn start(inner: &Arc<Inner>) -> Result<Monitor> {
        let stop = eventfd(0, EventfdFlags::CLOEXEC).map_err(Error::os("make", "an eventfd"))?;
        let stopped = stop.try_clone().map_err(Error::io("duplicate", "an eventfd"))?;
        let socket = Socket::open(NETFILTER, GROUP)?;
        let inner = Arc::downgrade(inner);
        let thread = std::thread::Builder::new().name("firewall".into()).stack_size(128 * 1024);
        thread.spawn(move || watch(socket, &stopped, &inner)).map_err(Error::io("start", "the firewall's monitor"))?;
        Ok(Monitor { stop })
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        // Only a full counter could refuse; then the thread is awake already.
        let _ = rustix::io::write(&self.stop, &1u64.to_ne_bytes());
    }
}

fn watch(mut socket: Socket, stop: &OwnedFd, inner: &Weak<Inner>) {
    let mut damaged = false;
    let mut repaired: Option<Instant> = None;
    loop {
        let pause = repaired.map_or(Duration::ZERO, |at| PAUSE.saturating_sub(at.elapsed()));
        let wait = damaged.then(|| Timespec { tv_sec: 0, tv_nsec: pause.subsec_nanos().into() });
        let mut waiting = [PollFd::new(stop, PollFlags::IN), PollFd::new(&socket, PollFlags::IN)];
        // While it pauses, what else is changed makes no difference.
        let until = if damaged { 1 } else { 2 };
        match poll(&mut waiting[..until], wait.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return tracing::error!(%error, "the firewall is no longer watched"),
        }
        if !waiting[0].revents().is_empty() {
            return;
        }
        let Some(inner) = inner.upgrade() else { return };
        damaged |= read_all(&mut socket, &inner);
        if !damaged || repaired.is_some_and(|at| at.elapsed() < PAUSE) {
            continue;
        }
        match Networks(inner).heal() {
            Ok(()) => {
                damaged = false;
                tracing::warn!("the firewall table was changed by another program and has been put back");
            }
            Err(error) => tracing::error!(%error, "the firewall table was changed and cannot be put back yet"),
        }
        repaired = Some(Instant::now());
    }
}

/// Reads all that is there: one flush of a large ruleset is thousands of messages and one repair. Says whether someone
/// else changed our table, or may have, when there was more than the socket could hold.
fn read_all(socket: &mut Socket, inner: &Inner) -> bool {
    let mut damaged = false;
    loop {
        let read = socket.receive_ready(|message| {
            let ours = changed_table(message.kind, message.payload) == Some(inner.config.table.as_str());
            damaged |= ours && !inner.is_own_change(message.port);
        });
        match read {
            Ok(()) => {}
            Err(Errno::AGAIN) => return damaged,
            Err(_) => damaged = true,
        }
    }
}
