//! The log, as the loop sees it: written here, or by a process of its own when the container must never wait for it.

use super::END_GRACE;
use super::apart::Apart;
use crate::log::Writer;
use crate::protocol::Log;
use rustix::process::{Pid, Signal, WaitStatus, kill_process};
use std::io;
use std::os::fd::OwnedFd;

/// Where the output of the container goes.
#[derive(Debug)]
pub(super) enum Sink {
    Here(Box<Keeper>),
    Apart(Apart),
}

impl Sink {
    /// Opens the log, or makes the process that writes it.
    pub fn open(log: &Log) -> io::Result<Option<Sink>> {
        let Some((format, files)) = log.files() else { return Ok(None) };
        Ok(Some(match files.buffer {
            None => Sink::Here(Box::new(Keeper::new(Writer::open(format, files)?))),
            Some(limit) => Sink::Apart(Apart::start(format, files, limit)?),
        }))
    }

    pub fn append(&mut self, stream: u8, data: &[u8]) {
        match self {
            Sink::Here(keeper) => keeper.append(stream, data),
            Sink::Apart(apart) => apart.append(stream, data),
        }
    }

    /// A stream has ended.
    pub fn finish(&mut self, stream: u8) {
        match self {
            Sink::Here(keeper) => keeper.writer.finish(stream),
            Sink::Apart(apart) => apart.finish(stream),
        }
    }

    /// Gives memory back after a burst.
    pub fn shrink(&mut self) {
        match self {
            Sink::Here(keeper) => keeper.writer.shrink(),
            Sink::Apart(apart) => apart.flush(),
        }
    }

    /// What is to be waited for before [`Sink::flush`] can send what waits.
    pub fn waiting(&self) -> Option<&OwnedFd> {
        match self {
            Sink::Here(_) => None,
            Sink::Apart(apart) => apart.waiting(),
        }
    }

    pub fn flush(&mut self) {
        if let Sink::Apart(apart) = self {
            apart.flush();
        }
    }

    /// A child has ended that is no process of the container's.
    pub fn reaped(&mut self, pid: i32, status: WaitStatus) {
        match self {
            Sink::Here(keeper) => keeper.reaped(pid, status),
            Sink::Apart(apart) => apart.reaped(pid),
        }
    }

    /// There will be no more. What has been said is in the files when this returns, unless the disk does not answer.
    pub fn close(&mut self) {
        match self {
            Sink::Here(keeper) => keeper.close(),
            Sink::Apart(apart) => apart.close(END_GRACE),
        }
    }
}

/// A writer and the children that compress its files, one at a time.
#[derive(Debug)]
pub(super) struct Keeper {
    pub writer: Writer,
    compressing: Option<i32>,
}

impl Keeper {
    pub fn new(writer: Writer) -> Keeper {
        Keeper { writer, compressing: None }
    }

    pub fn append(&mut self, stream: u8, data: &[u8]) {
        self.writer.append(stream, data);
        self.compress();
    }

    /// Compresses the next file, if there is one, in a child: it takes longer than anybody here may wait.
    fn compress(&mut self) {
        if self.compressing.is_some() {
            return;
        }
        let Some(work) = self.writer.compression() else { return };
        match sys::own::fork() {
            Ok(None) => {
                // Less urgent than everything else; refused nowhere, and harmless if it were.
                let _ = rustix::process::setpriority_process(None, 10);
                let done = work.alone().is_ok();
                sys::process::exit_now(if done { 0 } else { 1 })
            }
            Ok(child) => self.compressing = child,
            Err(_) => self.writer.compressed(false),
        }
    }

    pub fn reaped(&mut self, pid: i32, status: WaitStatus) {
        if self.compressing == Some(pid) {
            self.compressing = None;
            self.writer.compressed(status.exit_status() == Some(0));
            self.compress();
        }
    }

    /// What is not compressed by now is left for the next run of the container.
    pub fn close(&mut self) {
        if let Some(pid) = self.compressing.take().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
            self.writer.compressed(false);
        }
    }
}
