//! Bytes between a client and a supervisor.
//!
//! The supervisor speaks Docker's frames, plus a last one of its own (kind 3). A client with a terminal gets bare
//! payloads, any other the frames as they are. What a client types goes through unframed.

use crate::detach::Escape;
use crate::hijack::{Client, Form};
use crate::response::Feed;
use api::stream::HEADER;
use std::io;
use std::time::Duration;
use supervisor::protocol::frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// One read.
const BUFFER: usize = 32 << 10;
/// How often a client that has nothing more to say is asked whether it is still there.
const STILL_THERE: Duration = Duration::from_secs(10);

/// How an attachment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The container, or the exec, ended.
    Over,
    /// The client left.
    Left,
    /// The client pressed the keys.
    Detached,
}

/// Takes the supervisor's frames apart and puts together what the client gets.
struct Translate {
    form: Form,
    header: [u8; HEADER],
    have: usize,
    left: usize,
    /// The payload that comes now is the supervisor's own.
    own: bool,
    /// What it says.
    last: Vec<u8>,
}

impl Translate {
    fn new(form: Form) -> Translate {
        Translate { form, header: [0; HEADER], have: 0, left: 0, own: false, last: Vec::new() }
    }

    /// Appends to `out`; true at the last frame.
    fn feed(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> bool {
        while !input.is_empty() {
            if self.left > 0 {
                let (now, rest) = input.split_at(input.len().min(self.left));
                if self.own {
                    self.last.extend_from_slice(now)
                } else {
                    out.extend_from_slice(now)
                }
                self.left -= now.len();
                input = rest;
                if self.own && self.left == 0 {
                    return true;
                }
                continue;
            }
            let (now, rest) = input.split_at(input.len().min(HEADER - self.have));
            self.header[self.have..self.have + now.len()].copy_from_slice(now);
            self.have += now.len();
            input = rest;
            if self.have < HEADER {
                return false;
            }
            let [kind, _, _, _, a, b, c, d] = self.header;
            self.have = 0;
            self.left = u32::from_be_bytes([a, b, c, d]) as usize;
            self.own = kind == frame::EXIT;
            if self.own && self.left == 0 {
                return true;
            }
            if !self.own && self.form == Form::Multiplexed {
                out.extend_from_slice(&self.header);
            }
        }
        false
    }

    /// Tells the client that nothing more can be heard, and why; a supervisor that is gone went with its container.
    fn broken(&self, error: &io::Error, out: &mut Vec<u8>) {
        // In the middle of a frame the client itself finds that something is missing.
        let within = self.form == Form::Multiplexed && (self.have > 0 || self.left > 0);
        if within || error.kind() == io::ErrorKind::ConnectionReset {
            return;
        }
        let text = format!("cannot hear the supervisor of the container any more: {error}\n");
        match self.form {
            Form::Raw => out.extend_from_slice(text.as_bytes()),
            Form::Multiplexed => out.extend(api::stream::frame(api::stream::Kind::Stderr, text.as_bytes())),
        }
    }
}

/// Told the payload of the last frame, before the client learns that all is over; nothing when there was none.
pub type Last<'a> = &'a mut (dyn FnMut(&[u8]) + Send);

/// Carries bytes both ways until one side is done. `escape` watches what is typed. When `to_the_end`, output goes on
/// being read after the client has left, for `last`.
pub async fn both_ways(
    client: Client,
    supervisor: UnixStream,
    wanted: Wanted,
    to_the_end: bool,
    last: Last<'_>,
) -> End {
    let Client { mut stream, early } = client;
    let (mut from_supervisor, mut to_supervisor) = supervisor.into_split();
    let mut translate = Translate::new(wanted.form);
    let end = {
        let (mut from_client, mut to_client) = stream.split();
        let output = output(&mut from_supervisor, &mut to_client, &mut translate, last);
        let input = input(&mut from_client, &early, &mut to_supervisor, wanted.stdin, wanted.escape);
        tokio::select! {
            end = output => end,
            end = input => end,
        }
    };
    drop(stream);
    if end != End::Over && to_the_end {
        let _ = to_supervisor.shutdown().await;
        output(&mut from_supervisor, &mut tokio::io::sink(), &mut translate, last).await;
    }
    end
}

/// What a client wants of an attachment.
pub struct Wanted {
    /// How it reads output.
    pub form: Form,
    /// What it sends is input.
    pub stdin: bool,
    /// The keys that leave.
    pub escape: Option<Escape>,
}

/// Returns only when the client has left.
async fn input(
    from: &mut tokio::net::unix::ReadHalf<'_>,
    early: &[u8],
    to: &mut tokio::net::unix::OwnedWriteHalf,
    stdin: bool,
    mut escape: Option<Escape>,
) -> End {
    if stdin && let Some(end) = typed(early, &mut escape, to).await {
        return end;
    }
    let mut buffer = Vec::with_capacity(4096);
    loop {
        buffer.clear();
        match from.try_read_buf(&mut buffer) {
            Ok(0) => break,
            Ok(_) if !stdin => {}
            Ok(_) => {
                if let Some(end) = typed(&buffer, &mut escape, to).await {
                    return end;
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                // An idle attachment holds no buffer.
                buffer = Vec::new();
                if from.readable().await.is_err() {
                    break;
                }
                buffer.reserve(4096);
            }
            Err(_) => break,
        }
    }
    drop(buffer);
    if stdin {
        let _ = to.shutdown().await;
    }
    // The end of what is typed is not the end of who listens.
    loop {
        tokio::time::sleep(STILL_THERE).await;
        if gone(from.as_ref()) {
            return End::Left;
        }
    }
}

/// Passes on what was typed. `None`: go on.
async fn typed(bytes: &[u8], escape: &mut Option<Escape>, to: &mut tokio::net::unix::OwnedWriteHalf) -> Option<End> {
    let mut passed = Vec::new();
    let (bytes, detached) = match escape {
        None => (bytes, false),
        Some(escape) => {
            let detached = escape.feed(bytes, &mut passed);
            (passed.as_slice(), detached)
        }
    };
    // A supervisor that takes no more input still gives output.
    let _ = to.write_all(bytes).await;
    detached.then_some(End::Detached)
}

async fn output(
    from: &mut tokio::net::unix::OwnedReadHalf,
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
    translate: &mut Translate,
    last: Last<'_>,
) -> End {
    let (mut buffer, mut out) = (Vec::new(), Vec::new());
    loop {
        if from.readable().await.is_err() {
            last(&[]);
            return End::Over;
        }
        buffer.reserve(BUFFER);
        let over = match from.try_read_buf(&mut buffer) {
            Ok(0) => true,
            Ok(_) => translate.feed(&buffer, &mut out),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                // Nothing for now: no reason to hold on to buffers.
                (buffer, out) = (Vec::new(), Vec::new());
                continue;
            }
            Err(e) => {
                translate.broken(&e, &mut out);
                true
            }
        };
        // The last frame counts also when nobody is left to see what came before it.
        if !out.is_empty() && to.write_all(&out).await.is_err() && !over {
            return End::Left;
        }
        if over {
            last(&translate.last);
            let _ = to.shutdown().await;
            return End::Over;
        }
        buffer.clear();
        out.clear();
    }
}

/// Output alone, as a plain answer to a client that did not ask to leave HTTP.
pub async fn one_way(supervisor: UnixStream, feed: Feed, form: Form, last: Last<'_>) -> End {
    let mut translate = Translate::new(form);
    let (mut from, _to) = supervisor.into_split();
    loop {
        let (mut buffer, mut out) = (Vec::with_capacity(4096), Vec::new());
        let read = tokio::select! {
            read = from.read_buf(&mut buffer) => read,
            () = feed.closed() => return End::Left,
        };
        let over = match read {
            Ok(0) => true,
            Ok(_) => translate.feed(&buffer, &mut out),
            Err(e) => {
                translate.broken(&e, &mut out);
                true
            }
        };
        if !out.is_empty() && feed.send(out.into()).await.is_err() {
            return End::Left;
        }
        if over {
            last(&translate.last);
            return End::Over;
        }
    }
}

/// Whether the other side of a socket has closed it, not just the half it writes to.
fn gone(stream: &UnixStream) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(stream, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn wire() -> Vec<u8> {
        let mut wire = api::stream::frame(api::stream::Kind::Stdout, b"out");
        wire.extend(api::stream::frame(api::stream::Kind::Stderr, b"err"));
        wire.extend([frame::EXIT, 0, 0, 0, 0, 0, 0, 10]);
        wire.extend(b"{\"code\":3}");
        wire
    }

    #[test]
    fn any_cut_gives_the_same() {
        let framed = &wire()[..22];
        for cut in 1..30 {
            for (form, want) in [(Form::Raw, &b"outerr"[..]), (Form::Multiplexed, framed)] {
                let (mut translate, mut out) = (Translate::new(form), Vec::new());
                let ends: Vec<bool> = wire().chunks(cut).map(|piece| translate.feed(piece, &mut out)).collect();
                assert_eq!(out, want, "{cut}");
                assert_eq!(ends.iter().filter(|end| **end).count(), 1);
                assert_eq!(ends.last(), Some(&true));
            }
        }
    }

    #[test]
    fn a_client_is_told_why_it_hears_no_more() {
        let told = |form, before: &[u8], error: io::ErrorKind| {
            let (mut translate, mut out) = (Translate::new(form), Vec::new());
            translate.feed(before, &mut out);
            let heard = out.len();
            translate.broken(&error.into(), &mut out);
            out.split_off(heard)
        };
        let text = b"cannot hear the supervisor of the container any more: no storage space\n";
        let full = io::ErrorKind::StorageFull;
        assert_eq!(told(Form::Raw, b"", full), text);
        assert_eq!(told(Form::Multiplexed, &wire()[..22], full), api::stream::frame(api::stream::Kind::Stderr, text));
        assert_eq!(told(Form::Multiplexed, &wire()[..5], full), b"");
        assert_eq!(told(Form::Raw, b"", io::ErrorKind::ConnectionReset), b"");
    }

    #[tokio::test]
    async fn input_output_and_the_end() {
        let (ours, mut far_client) = UnixStream::pair().unwrap();
        let (near, mut far_supervisor) = UnixStream::pair().unwrap();
        let client = Client { stream: ours, early: Bytes::from_static(b"first ") };
        let task = tokio::spawn(async move {
            let mut said = Vec::new();
            let wanted = Wanted { form: Form::Raw, stdin: true, escape: None };
            let end = both_ways(client, near, wanted, false, &mut |payload| said = payload.to_vec()).await;
            (end, said)
        });
        far_client.write_all(b"second").await.unwrap();
        far_client.shutdown().await.unwrap();
        let mut typed = String::new();
        far_supervisor.read_to_string(&mut typed).await.unwrap();
        assert_eq!(typed, "first second");
        far_supervisor.write_all(&wire()).await.unwrap();
        let mut shown = String::new();
        far_client.read_to_string(&mut shown).await.unwrap();
        assert_eq!(shown, "outerr");
        assert_eq!(task.await.unwrap(), (End::Over, b"{\"code\":3}".to_vec()));
    }

    #[tokio::test]
    async fn the_end_is_waited_for_when_the_client_has_left() {
        let (ours, far_client) = UnixStream::pair().unwrap();
        let (near, mut far_supervisor) = UnixStream::pair().unwrap();
        let client = Client { stream: ours, early: Bytes::new() };
        let task = tokio::spawn(async move {
            let mut said = Vec::new();
            let wanted = Wanted { form: Form::Multiplexed, stdin: true, escape: None };
            let end = both_ways(client, near, wanted, true, &mut |payload| said = payload.to_vec()).await;
            (end, said)
        });
        drop(far_client);
        // Half a frame reaches a client that is gone; the rest is read for nobody.
        far_supervisor.write_all(&wire()[..9]).await.unwrap();
        tokio::task::yield_now().await;
        far_supervisor.write_all(&wire()[9..]).await.unwrap();
        let (_, said) = task.await.unwrap();
        assert_eq!(said, b"{\"code\":3}");
    }

    #[tokio::test]
    async fn the_keys_detach() {
        let (ours, mut far_client) = UnixStream::pair().unwrap();
        let (near, mut far_supervisor) = UnixStream::pair().unwrap();
        let client = Client { stream: ours, early: Bytes::new() };
        let escape = Some(Escape::new(vec![16, 17]));
        let wanted = Wanted { form: Form::Raw, stdin: true, escape };
        let task = tokio::spawn(async move { both_ways(client, near, wanted, false, &mut |_| {}).await });
        far_client.write_all(b"ls\x10\x11").await.unwrap();
        assert_eq!(task.await.unwrap(), End::Detached);
        let mut typed = String::new();
        far_supervisor.read_to_string(&mut typed).await.unwrap();
        assert_eq!(typed, "ls");
    }
}
