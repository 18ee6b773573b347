//! A bounded channel of buffers between two threads of one stream, or from an async task to a thread.
//!
//! The end of the stream is said by the writer ([`Sender::end`]); a writer that only goes away has failed, and its reader
//! is told so instead of taking the part for the whole. Waiting works by condition variable for threads and by waker for
//! a task, so no async runtime is needed here.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, BufRead, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// Buffers used again: a fresh megabyte costs 256 page faults each time.
#[derive(Clone, Default)]
pub struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

impl Pool {
    /// An empty buffer, whose capacity is at least `size`.
    pub fn take(&self, size: usize) -> Vec<u8> {
        let mut buffer = self.any();
        buffer.clear();
        buffer.reserve(size);
        buffer
    }

    /// A buffer of `size` bytes to be overwritten: whatever they were before.
    pub fn take_full(&self, size: usize) -> Vec<u8> {
        let mut buffer = self.any();
        buffer.resize(size, 0);
        buffer
    }

    fn any(&self) -> Vec<u8> {
        lock(&self.0).pop().unwrap_or_default()
    }

    /// A buffer to send and share. It comes back when its last holder drops it.
    pub fn share(&self, data: Vec<u8>) -> Chunk {
        Chunk(Arc::new(Shared { data, home: self.clone() }))
    }
}

/// Bytes that several threads look at.
#[derive(Clone)]
pub struct Chunk(Arc<Shared>);

struct Shared {
    data: Vec<u8>,
    home: Pool,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let mut idle = lock(&self.home.0);
        if idle.len() < 32 {
            idle.push(std::mem::take(&mut self.data));
        }
    }
}

impl std::ops::Deref for Chunk {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0.data
    }
}

struct State {
    queue: VecDeque<Chunk>,
    room: usize,
    /// The writer has said that this is all.
    ended: bool,
    /// Writers that are still there.
    writers: bool,
    reader: bool,
    waker: Option<Waker>,
}

struct Channel {
    state: Mutex<State>,
    changed: Condvar,
}

/// The other side has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// The writing end.
pub struct Sender(Arc<Channel>);

/// The reading end.
pub struct Receiver {
    channel: Arc<Channel>,
    current: Option<Chunk>,
    at: usize,
}

/// A channel that holds at most `room` chunks.
pub fn channel(room: usize) -> (Sender, Receiver) {
    let state =
        State { queue: VecDeque::with_capacity(room), room, ended: false, writers: true, reader: true, waker: None };
    let channel = Arc::new(Channel { state: Mutex::new(state), changed: Condvar::new() });
    (Sender(channel.clone()), Receiver { channel, current: None, at: 0 })
}

impl Sender {
    /// Sends, waiting for room.
    pub fn send(&self, chunk: Chunk) -> Result<(), Gone> {
        let mut state = lock(&self.0.state);
        while state.reader && state.queue.len() >= state.room {
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        self.put(state, chunk)
    }

    /// Sends, waiting for room without holding the thread.
    pub async fn send_async(&self, chunk: Chunk) -> Result<(), Gone> {
        let mut chunk = Some(chunk);
        poll_fn(|context| {
            let mut state = lock(&self.0.state);
            if state.reader && state.queue.len() >= state.room {
                state.waker = Some(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(chunk.take().map_or(Ok(()), |chunk| self.put(state, chunk)))
        })
        .await
    }

    fn put(&self, mut state: MutexGuard<State>, chunk: Chunk) -> Result<(), Gone> {
        if !state.reader {
            return Err(Gone);
        }
        state.queue.push_back(chunk);
        drop(state);
        self.0.changed.notify_all();
        Ok(())
    }

    /// Says that this was all.
    pub fn end(self) {
        lock(&self.0.state).ended = true;
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        lock(&self.0.state).writers = false;
        self.0.changed.notify_all();
    }
}

impl Receiver {
    /// The next chunk; `Ok(None)` at the end that the writer said.
    pub fn receive(&mut self) -> Result<Option<Chunk>, Gone> {
        let mut state = lock(&self.channel.state);
        loop {
            if let Some(chunk) = state.queue.pop_front() {
                let waker = state.waker.take();
                drop(state);
                self.channel.changed.notify_all();
                if let Some(waker) = waker {
                    waker.wake();
                }
                return Ok(Some(chunk));
            }
            if state.ended {
                return Ok(None);
            }
            if !state.writers {
                return Err(Gone);
            }
            state = self.channel.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut state = lock(&self.channel.state);
        state.reader = false;
        state.queue.clear();
        let waker = state.waker.take();
        drop(state);
        self.channel.changed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl BufRead for Receiver {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.as_ref().is_none_or(|chunk| self.at >= chunk.len()) {
            self.current = None;
            self.at = 0;
            match self.receive() {
                Ok(Some(chunk)) => self.current = Some(chunk),
                Ok(None) => return Ok(&[]),
                Err(Gone) => return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the stream was cut off")),
            }
        }
        Ok(self.current.as_ref().and_then(|chunk| chunk.get(self.at..)).unwrap_or_default())
    }

    fn consume(&mut self, n: usize) {
        self.at += n;
    }
}

impl Read for Receiver {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut from = self.fill_buf()?;
        let n = from.read(out)?;
        self.consume(n);
        Ok(n)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these mutexes guard is whole at every step: a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(pool: &Pool, bytes: &[u8]) -> Chunk {
        let mut buffer = pool.take(16);
        buffer.extend_from_slice(bytes);
        pool.share(buffer)
    }

    #[test]
    fn a_stream_arrives_whole_and_in_order() {
        let pool = Pool::default();
        let (sender, mut receiver) = channel(2);
        let writer = std::thread::spawn({
            let pool = pool.clone();
            move || {
                for i in 0..100u8 {
                    sender.send(chunk(&pool, &[i])).unwrap();
                }
                sender.end();
            }
        });
        let mut all = Vec::new();
        receiver.read_to_end(&mut all).unwrap();
        writer.join().unwrap();
        assert_eq!(all, (0..100).collect::<Vec<u8>>());
        assert!(lock(&pool.0).len() <= 4, "buffers are used again");
    }

    #[test]
    fn a_writer_that_went_away_is_not_an_end() {
        let pool = Pool::default();
        let (sender, mut receiver) = channel(2);
        sender.send(chunk(&pool, b"x")).unwrap();
        drop(sender);
        assert_eq!(receiver.fill_buf().unwrap(), b"x");
        receiver.consume(1);
        assert_eq!(receiver.fill_buf().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        let (sender, receiver) = channel(1);
        drop(receiver);
        assert_eq!(sender.send(chunk(&pool, b"x")), Err(Gone));
    }

    #[test]
    fn a_task_waits_for_room() {
        use std::pin::pin;
        use std::task::Context;
        let pool = Pool::default();
        let (sender, mut receiver) = channel(1);
        let mut context = Context::from_waker(Waker::noop());
        {
            let mut first = pin!(sender.send_async(chunk(&pool, b"1")));
            assert_eq!(first.as_mut().poll(&mut context), Poll::Ready(Ok(())));
        }
        let mut second = pin!(sender.send_async(chunk(&pool, b"2")));
        assert_eq!(second.as_mut().poll(&mut context), Poll::Pending);
        assert_eq!(receiver.receive().unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(second.as_mut().poll(&mut context), Poll::Ready(Ok(())));
        assert_eq!(receiver.receive().unwrap().as_deref(), Some(&b"2"[..]));
    }
}
