//! Attach and logs.

use crate::attach::{self, End, Wanted};
use crate::blocking::blocking;
use crate::detach::{self, Escape};
use crate::error::{Error, Result};
use crate::hijack::{self, Form};
use crate::pipe;
use crate::request::Query;
use crate::response::{self, Body};
use crate::rooms::Rooms;
use api::stream::{Kind, header};
use container::{Attach, LogQuery};
use http::{Request, Response};
use hyper::body::Incoming;
use std::io::Write;
use supervisor::log::{Record, STDERR, STDOUT, time::Formatter};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

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
                text.extend_from_slice(lines.line(&record));
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
    let mut body = pipe::writer(feed);
    let (done, finished) = tokio::sync::oneshot::channel::<()>();
    let reading = std::thread::Builder::new().name("logs".into()).stack_size(256 << 10).spawn(move || {
        let _done = done;
        let mut record = Record::default();
        loop {
            match reader.fill() {
                Ok(true) => {}
                Ok(false) => break,
                Err(e) => return tracing::warn!("reading a log: {e}"),
            }
            while reader.take(&mut record) {
                if body.write_all(lines.line(&record)).is_err() {
                    return;
                }
            }
            if body.flush().is_err() {
                return;
            }
        }
        let _ = body.flush();
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
    text: Vec<u8>,
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
            text: Vec::new(),
        }
    }

    /// The bytes for one record; none for a stream that is not wanted.
    fn line(&mut self, record: &Record) -> &[u8] {
        self.text.clear();
        let kind = match record.stream {
            STDOUT if self.stdout => Kind::Stdout,
            STDERR if self.stderr => Kind::Stderr,
            _ => return &self.text,
        };
        if self.form == Form::Multiplexed {
            self.text.extend_from_slice(&header(kind, 0));
        }
        if self.timestamps {
            self.times.fixed(record.time_ns, &mut self.text);
            self.text.push(b' ');
        }
        if self.details {
            for (index, (name, value)) in record.attrs.iter().flat_map(|all| all.iter()).enumerate() {
                if index > 0 {
                    self.text.push(b',');
                }
                escape(name, &mut self.text);
                self.text.push(b'=');
                escape(value, &mut self.text);
            }
            self.text.push(b' ');
        }
        self.text.extend_from_slice(&record.line);
        if self.form == Form::Multiplexed {
            let length = u32::try_from(self.text.len() - api::stream::HEADER).unwrap_or(u32::MAX);
            self.text[..api::stream::HEADER].copy_from_slice(&header(kind, length));
        }
        &self.text
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
            text: Vec::new(),
        };
        let record = Record { stream: STDOUT, time_ns: 1_000_000_000, line: b"hi\n".to_vec(), attrs: None };
        let mut want = vec![1, 0, 0, 0, 0, 0, 0, 34];
        want.extend(b"1970-01-01T00:00:01.000000000Z hi\n");
        assert_eq!(lines.line(&record), want);
        assert_eq!(lines.line(&Record { stream: STDERR, ..record.clone() }), b"");
        (lines.form, lines.timestamps, lines.details) = (Form::Raw, false, true);
        assert_eq!(lines.line(&record), b" hi\n");
        let attrs = [("a b", "1"), ("c", "ä=")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(lines.line(&Record { attrs: Some(attrs.into()), ..record }), b"a+b=1,c=%C3%A4%3D hi\n");
    }
}
