//! Bodies for rooms that read and write without `async`: a tar that comes in, a tar that goes out.

use crate::response::Feed;
use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use std::io::{self, Read, Write};
use std::time::Duration;
use tokio::sync::mpsc;

/// A client that sends nothing for so long has gone.
const IDLE: Duration = Duration::from_secs(120);
/// How long a body that nobody reads any more is taken, before the connection is closed under it.
const LINGER: Duration = Duration::from_secs(10);
/// Payloads go out in pieces of this size.
const PIECE: usize = 64 << 10;

/// A request's body.
pub struct BodyReader {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    now: Bytes,
}

/// Reads `body` from a thread that may block. At most a few pieces are in memory.
pub fn reader(mut body: Incoming) -> BodyReader {
    let (feed, chunks) = mpsc::channel(2);
    tokio::spawn(async move {
        loop {
            let piece = match tokio::time::timeout(IDLE, body.frame()).await {
                Ok(None) => return,
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => Ok(data),
                    Err(_) => continue,
                },
                Ok(Some(Err(e))) => Err(io::Error::other(e)),
                Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the client sends nothing any more")),
            };
            let last = piece.is_err();
            if last {
                let _ = feed.send(piece).await;
                return;
            }
            if feed.send(piece).await.is_err() {
                return linger(body).await;
            }
        }
    });
    BodyReader { chunks, now: Bytes::new() }
}

/// Takes what is still sent though the answer is known: a client would else meet a broken pipe in its stead.
pub async fn linger(mut body: impl Body + Unpin) {
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = tokio::time::timeout(LINGER, rest).await;
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.now.is_empty() {
            match self.chunks.blocking_recv() {
                None => return Ok(0),
                Some(piece) => self.now = piece?,
            }
        }
        let n = buffer.len().min(self.now.len());
        buffer[..n].copy_from_slice(&self.now[..n]);
        self.now.advance(n);
        Ok(n)
    }
}

/// A response's body. What is buffered goes out with `flush`.
pub struct BodyWriter {
    feed: Feed,
    buffer: Vec<u8>,
}

/// Writes a streamed body from a thread that may block.
pub fn writer(feed: Feed) -> BodyWriter {
    BodyWriter { feed, buffer: Vec::new() }
}

impl Write for BodyWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.buffer);
        self.feed.blocking_send(piece.into()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
