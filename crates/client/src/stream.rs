//! Standard streams to and from a container.

use crate::engine::{Ask, Engine, Hijacked};
use crate::failure::{Failure, Result};
use crate::terminal::{self, Detach, Raw};
use api::stream::{Decoder, Kind, Unframed};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{Read, Write};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// The keys that leave a container when nobody chose others.
pub const DETACH_KEYS: &str = "ctrl-p,ctrl-q";

/// Which streams are joined to the container's, and how.
#[derive(Debug, Clone)]
pub struct Join {
    /// Our input goes to it.
    pub stdin: bool,
    /// Its output comes to us.
    pub stdout: bool,
    /// Its error output comes to us.
    pub stderr: bool,
    /// The container has a terminal: bytes are not framed.
    pub tty: bool,
    /// Keys that leave; only looked for when there is a terminal.
    pub detach_keys: Vec<u8>,
}

/// How a session ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The container's output ended.
    Closed,
    /// The person left.
    Detached,
}

/// Output of a container to one of our descriptors. A full pipe must not keep us from forwarding signals, so what
/// would block is written by another thread.
async fn write_out(kind: Kind, bytes: &[u8]) -> std::io::Result<()> {
    let ready = |fd: rustix::fd::BorrowedFd<'_>| {
        let mut fds = [PollFd::new(&fd, PollFlags::OUT)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().contains(PollFlags::OUT)
    };
    let fd = if kind == Kind::Stderr { rustix::stdio::stderr() } else { rustix::stdio::stdout() };
    // a pipe that says it is writable takes a page without blocking
    if bytes.len() <= 4096 && ready(fd) {
        return write_all(kind, bytes);
    }
    let bytes = bytes.to_vec();
    tokio::task::spawn_blocking(move || write_all(kind, &bytes)).await.map_err(std::io::Error::other)?
}

fn write_all(kind: Kind, bytes: &[u8]) -> std::io::Result<()> {
    match kind {
        Kind::Stderr => std::io::stderr().write_all(bytes),
        _ => {
            let mut out = std::io::stdout().lock();
            out.write_all(bytes)?;
            out.flush()
        }
    }
}

/// Reads our input on a thread of its own: a terminal cannot be made non-blocking without surprising the shell.
pub fn input() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(4);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 32 * 1024];
        loop {
            match std::io::stdin().lock().read(&mut buffer) {
                Ok(0) => return,
                Ok(n) => {
                    if sender.blocking_send(buffer[..n].to_vec()).is_err() {
                        return;
                    }
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    });
    receiver
}

/// Joins our streams to a hijacked connection until the container's output ends or the person leaves.
pub async fn join(connection: Hijacked, join: &Join) -> Result<End> {
    let _raw = (join.stdin && join.tty).then(Raw::enter);
    let mut detach = Detach::new(if join.tty { join.detach_keys.clone() } else { Vec::new() });
    let (mut from, mut to) = tokio::io::split(connection.socket);
    // both directions at once: a container that writes while it reads must not wait for itself
    let reading = async {
        let mut decoder = Decoder::default();
        emit(&mut decoder, join, &connection.early).await?;
        let mut buffer = vec![0; 32 * 1024];
        loop {
            match from.read(&mut buffer).await {
                Ok(0) => return Ok(End::Closed),
                Ok(n) => emit(&mut decoder, join, &buffer[..n]).await?,
                // a container that dies resets the connection; its exit code is told elsewhere
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return Ok(End::Closed),
                Err(e) => return Err(e.into()),
            }
        }
    };
    let writing = async {
        let Some(mut typed) = join.stdin.then(input) else { return std::future::pending().await };
        while let Some(bytes) = typed.recv().await {
            let (bytes, left) = detach.feed(&bytes);
            let written = to.write_all(&bytes).await;
            if left {
                return End::Detached;
            }
            if written.is_err() {
                // the container does not listen any more; what it says still counts
                return std::future::pending().await;
            }
        }
        // the container sees the end of its input; it may have gone already
        let _ = to.shutdown().await;
        match join.stdout || join.stderr {
            true => std::future::pending().await,
            false => End::Closed,
        }
    };
    tokio::select! {
        biased;
        ended = reading => ended,
        ended = writing => Ok(ended),
    }
}

/// Output as it arrives, framed or not.
pub async fn emit(decoder: &mut Decoder, join: &Join, bytes: &[u8]) -> Result<()> {
    if join.tty {
        if join.stdout && !bytes.is_empty() {
            write_out(Kind::Stdout, bytes).await.map_err(gone)?;
        }
        return Ok(());
    }
    let mut pieces: Vec<(Kind, Vec<u8>)> = Vec::new();
    let fed = decoder.feed::<Unframed>(bytes, |kind, piece| {
        match pieces.last_mut() {
            Some((last, data)) if *last == kind => data.extend_from_slice(piece),
            _ => pieces.push((kind, piece.to_vec())),
        }
        Ok(())
    });
    for (kind, data) in pieces {
        match kind {
            Kind::Stdout | Kind::Stdin if join.stdout => write_out(Kind::Stdout, &data).await.map_err(gone)?,
            Kind::Stderr if join.stderr => write_out(Kind::Stderr, &data).await.map_err(gone)?,
            Kind::SystemError => {
                let text = String::from_utf8_lossy(&data);
                return Err(Failure::new(format!("error from daemon in stream: {}", text.trim_end())));
            }
            _ => {}
        }
    }
    fed.map_err(|e| Failure::new(e.to_string()))
}

fn gone(error: std::io::Error) -> Failure {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::exit(141),
        _ => error.into(),
    }
}

/// Forwards every signal that a person may mean for the container. Runs until it is dropped.
pub async fn forward_signals(engine: &Engine<'_>, id: &str) {
    const FORWARDED: [(i32, &str); 8] =
        [(1, "HUP"), (2, "INT"), (3, "QUIT"), (10, "USR1"), (12, "USR2"), (15, "TERM"), (18, "CONT"), (14, "ALRM")];
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let mut tasks = tokio::task::JoinSet::new();
    for (number, name) in FORWARDED {
        let Ok(mut stream) = signal(SignalKind::from_raw(number)) else { continue };
        let sender = sender.clone();
        tasks.spawn(async move {
            while stream.recv().await.is_some() {
                if sender.send(name).is_err() {
                    return;
                }
            }
        });
    }
    let mut ends = 0;
    while let Some(name) = receiver.recv().await {
        ends += u8::from(matches!(name, "INT" | "TERM"));
        if ends > 3 {
            // neither container nor engine reacts: the person must be able to get away
            crate::output::complain("got 3 SIGTERM/SIGINTs, forcefully exiting");
            std::process::exit(1);
        }
        // the container may have ended in between
        let _ = engine.tell(Ask::post(format!("/containers/{id}/kill")).query("signal", name)).await;
    }
}

/// Tells the engine the size of our terminal, now and whenever it changes. Runs until it is dropped.
pub async fn follow_size(engine: &Engine<'_>, path: String) {
    let Ok(mut changed) = signal(SignalKind::window_change()) else { return };
    let mut tries = 0;
    loop {
        if let Some((rows, columns)) = terminal::size() {
            let ask = Ask::post(path.clone()).query("h", rows.to_string()).query("w", columns.to_string());
            // right after a start the terminal may not be there yet
            if engine.tell(ask).await.is_err() && tries < 10 {
                tries += 1;
                tokio::time::sleep(std::time::Duration::from_millis(10 * tries)).await;
                continue;
            }
        }
        changed.recv().await;
    }
}
