//! Attach and logs.

use crate::attach::{self, End, Wanted};
use crate::blocking::blocking;
use crate::detach::{self, Escape};
use crate::error::{Error, Result};
use crate::hijack::{self, Form};
use crate::request::Query;
use crate::response::{self, Body};
use crate::rooms::Rooms;
use api::stream::{Kind, header};
use container::{Attach, LogQuery};
use http::{Request, Response};
use hyper::body::Incoming;
use supervisor::log::{Record, STDERR, STDOUT, time::Formatter};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

/// How much of a log is sent at once.
const PIECE: usize = 128 << 10;

/// The room's socket, for `async`.
pub fn socket(stream: std::os::unix::net::UnixStream) -> Result<UnixStream> {
    let ready = stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream));
    ready.map_err(|e| Error::internal(format!("the container's socket: {e}")))
}

/// `POST /containers/{name}/attach`
pub async fn attach(
    rooms: &Rooms,
    name: String,
    version: (u32, u32),
    query: &Query,
    request: Request<Incoming>,
) -> Result<Response<Body>> {
    let keys = detach::keys(query.get("detachKeys"))?;
    let stream = query.boolean("stream");
    let which = Attach {
        stdin: stream && query.boolean("stdin"),
        stdout: stream && query.boolean("stdout"),
        stderr: stream && query.boolean("stderr"),
    };
    if query.boolean("logs") && !stream {
        return logs(rooms, name, version, query).await;
    }
    let containers = rooms.containers.clone();
    let wanted = name.clone();
    let attached = blocking(move || containers.attach(&wanted, which)).await?;
    let supervisor = socket(attached.stream)?;
    let form = Form::of(attached.tty);
    let kind = form.media_type(version);
    let mut past = match query.boolean("logs") {
        true => Some(Past::open(rooms, &name, form, query).await?),
        false => None,
    };
    if !hijack::asked(&request) && !which.stdin {
        let (feed, response) = response::stream(kind);
        tokio::spawn(async move {
            while let Some(text) = Past::next(&mut past).await {
                if feed.send(text.into()).await.is_err() {
                    return End::Left;
                }
            }
            attach::one_way(supervisor, feed, form, &mut |_| {}).await
        });
        return Ok(response);
    }
    let escape = (attached.tty && which.stdin).then(|| Escape::new(keys));
    let containers = rooms.containers.clone();
    hijack::upgrade(request, kind, move |mut client| async move {
        while let Some(text) = Past::next(&mut past).await {
            if client.stream.write_all(&text).await.is_err() {
                return;
            }
        }
        let wanted = Wanted { form, stdin: which.stdin, escape };
        if attach::both_ways(client, supervisor, wanted, false, &mut |_| {}).await == End::Detached {
            containers.detached(&name);
        }
    })
}

/// What a container had said before a client attached to it.
struct Past {
    reader: supervisor::log::Reader,
    lines: Lines,
}

impl Past {
    /// Opens the log as it is now. The client is attached already: what comes from now on reaches it that way.
    async fn open(rooms: &Rooms, name: &str, form: Form, query: &Query) -> Result<Past> {
        let (containers, name) = (rooms.containers.clone(), name.to_owned());
        let now = super::nanoseconds(std::time::SystemTime::now());
        let all = LogQuery { tail: None, since_ns: None, until_ns: Some(now), follow: false };
        let reader = blocking(move || containers.logs(&name, all)).await?.reader;
        Ok(Past { reader, lines: Lines::new(form, query) })
    }

    /// The next piece of it.
    async fn next(past: &mut Option<Past>) -> Option<Vec<u8>> {
        let Past { mut reader, mut lines } = past.take()?;
        let read = tokio::task::spawn_blocking(move || {
            let (mut text, mut record) = (Vec::new(), Record::default());
            match reader.fill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(e) => {
                    tracing::warn!("reading a log: {e}");
                    return None;
                }
            }
            while reader.take(&mut record) {
                lines.add(&record, &mut text);
            }
            Some((text, Past { reader, lines }))
        });
        let (text, rest) = read.await.ok()??;
        *past = Some(rest);
        Some(text)
    }
}

/// `GET /containers/{name}/logs`
pub async fn logs(rooms: &Rooms, name: String, version: (u32, u32), query: &Query) -> Result<Response<Body>> {
    let (stdout, stderr) = (query.boolean("stdout"), query.boolean("stderr"));
    if !stdout && !stderr {
        return Err(Error::invalid("Bad parameters: you must choose at least one stream"));
    }
    let moment = |key: &str| super::event::time(query.get(key)).map(|t| t.filter(|ns| *ns != 0));
    let wanted = LogQuery {
        tail: query.get("tail").parse().ok(),
        since_ns: moment("since")?,
        until_ns: moment("until")?,
        follow: query.boolean("follow"),
    };
    let containers = rooms.containers.clone();
    let logs = blocking(move || containers.logs(&name, wanted)).await?;
    let form = Form::of(logs.tty);
    let (feed, response) = response::stream(form.media_type(version));
    // Followers sleep for long: not on the threads that short work waits for.
    let stop = logs.stop.clone();
    let left = feed.clone();
    let mut lines = Lines::new(form, query);
    let mut reader = logs.reader;
    let (done, finished) = tokio::sync::oneshot::channel::<()>();
    let reading = std::thread::Builder::new().name("logs".into()).stack_size(256 << 10).spawn(move || {
        let _done = done;
        let (mut record, mut piece) = (Record::default(), Vec::new());
        loop {
            match reader.fill() {
                Ok(true) => {}
                Ok(false) => return,
                Err(e) => return tracing::warn!("reading a log: {e}"),
            }
            while reader.take(&mut record) {
                if piece.capacity() == 0 {
                    piece.reserve(PIECE + 2 * supervisor::log::CHUNK);
                }
                lines.add(&record, &mut piece);
                if piece.len() >= PIECE && feed.blocking_send(std::mem::take(&mut piece).into()).is_err() {
                    return;
                }
            }
            // What is here goes out before more is waited for. A small piece takes no more memory than it needs.
            piece.shrink_to_fit();
            if !piece.is_empty() && feed.blocking_send(std::mem::take(&mut piece).into()).is_err() {
                return;
            }
        }
    });
    reading.map_err(|e| Error::internal(format!("starting a thread: {e}")))?;
    // A client that leaves ends the reading, also while nothing is written.
    tokio::spawn(async move {
        tokio::select! {
            () = left.closed() => {}
            _ = finished => return,
        }
        if let Some(stop) = stop {
            let _ = stop.shutdown(std::net::Shutdown::Both);
        }
    });
    Ok(response)
}

/// How records are shown.
struct Lines {
    form: Form,
    stdout: bool,
    stderr: bool,
    timestamps: bool,
    details: bool,
    times: Formatter,
}

impl Lines {
    /// As the query asks for them.
    fn new(form: Form, query: &Query) -> Lines {
        Lines {
            form,
            stdout: query.boolean("stdout"),
            stderr: query.boolean("stderr"),
            timestamps: query.boolean("timestamps"),
            details: query.boolean("details"),
            times: Formatter::default(),
        }
    }

    /// Appends the bytes for one record; none for a stream that is not wanted.
    #[inline]
    fn add(&mut self, record: &Record, out: &mut Vec<u8>) {
        let kind = match record.stream {
            STDOUT if self.stdout => Kind::Stdout,
            STDERR if self.stderr => Kind::Stderr,
            _ => return,
        };
        let start = out.len();
        if self.form == Form::Multiplexed {
            out.extend_from_slice(&header(kind, 0));
        }
        if self.timestamps {
            self.times.fixed(record.time_ns, out);
            out.push(b' ');
        }
        if self.details {
            for (index, (name, value)) in record.attrs.iter().flat_map(|all| all.iter()).enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                escape(name, out);
                out.push(b'=');
                escape(value, out);
            }
            out.push(b' ');
        }
        out.extend_from_slice(&record.line);
        if self.form == Form::Multiplexed {
            let length = u32::try_from(out.len() - start - api::stream::HEADER).unwrap_or(u32::MAX);
            out[start..start + api::stream::HEADER].copy_from_slice(&header(kind, length));
        }
    }
}

/// Appends a text as Go's `url.QueryEscape` writes it.
fn escape(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte),
            b' ' => out.push(b'+'),
            _ => out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_log() {
        let mut lines = Lines {
            form: Form::Multiplexed,
            stdout: true,
            stderr: false,
            timestamps: true,
            details: false,
            times: Formatter::default(),
        };
        let record = Record { stream: STDOUT, time_ns: 1_000_000_000, line: b"hi\n".to_vec(), attrs: None };
        let mut want = vec![1, 0, 0, 0, 0, 0, 0, 34];
        want.extend(b"1970-01-01T00:00:01.000000000Z hi\n");
        let line = |lines: &mut Lines, record: &Record| {
            let mut out = Vec::new();
            lines.add(record, &mut out);
            out
        };
        assert_eq!(line(&mut lines, &record), want);
        assert_eq!(line(&mut lines, &Record { stream: STDERR, ..record.clone() }), b"");
        (lines.form, lines.timestamps, lines.details) = (Form::Raw, false, true);
        assert_eq!(line(&mut lines, &record), b" hi\n");
        let attrs = [("a b", "1"), ("c", "ä=")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(line(&mut lines, &Record { attrs: Some(attrs.into()), ..record }), b"a+b=1,c=%C3%A4%3D hi\n");
    }
}
