//! Requests to the engine.
//!
//! No ping comes first: requests go out with our newest version, and an engine that only knows older ones says which,
//! once. One connection is kept and used again when it is free.
//!
//! Until a command needs several things at once ([`Engine::asynchronous`]) there is no runtime: requests whose answers
//! are read whole go over a blocking connection ([`crate::plain`]).

use crate::autostart;
use crate::config::{Endpoint, Settings};
use crate::failure::{Failure, Result, describe};
use crate::flags::quote;
use crate::plain;
use crate::socket::Socket;
use bytes::Bytes;
use futures_util::TryStreamExt;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, UPGRADE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde::de::{DeserializeOwned, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::task::{Context, Poll, Waker};
use tokio::net::{TcpStream, UnixStream};

type Body = BoxBody<Bytes, io::Error>;

/// The host of every request.
const NAME: &str = "api.moby.localhost";
const AGENT: &str = concat!("Dhow-Client/", env!("CARGO_PKG_VERSION"), " (linux)");

/// A request.
#[derive(Debug, Clone)]
pub struct Ask {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, String)>,
    json: Option<Bytes>,
}

impl Ask {
    fn new(method: Method, path: impl Into<String>) -> Ask {
        Ask { method, path: path.into(), query: Vec::new(), headers: Vec::new(), json: None }
    }
    /// `GET`
    pub fn get(path: impl Into<String>) -> Ask {
        Ask::new(Method::GET, path)
    }
    /// `HEAD`
    pub fn head(path: impl Into<String>) -> Ask {
        Ask::new(Method::HEAD, path)
    }
    /// `POST`
    pub fn post(path: impl Into<String>) -> Ask {
        Ask::new(Method::POST, path)
    }
    /// `PUT`
    pub fn put(path: impl Into<String>) -> Ask {
        Ask::new(Method::PUT, path)
    }
    /// `DELETE`
    pub fn delete(path: impl Into<String>) -> Ask {
        Ask::new(Method::DELETE, path)
    }
    /// Adds a query parameter.
    pub fn query(mut self, name: &'static str, value: impl Into<String>) -> Ask {
        self.query.push((name, value.into()));
        self
    }
    /// Adds a query parameter when it is not empty.
    pub fn query_some(self, name: &'static str, value: &str) -> Ask {
        if value.is_empty() { self } else { self.query(name, value) }
    }
    /// Adds `name=1` when `on`.
    pub fn query_if(self, name: &'static str, on: bool) -> Ask {
        if on { self.query(name, "1") } else { self }
    }
    /// Adds a header.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Ask {
        self.headers.push((name, value.into()));
        self
    }
    /// Sets the body.
    pub fn json(mut self, body: &impl Serialize) -> Ask {
        self.json = Some(serde_json::to_vec(body).unwrap_or_default().into());
        self
    }

    /// The whole request, as it goes over the wire.
    fn text(&self, version: &str) -> Result<Vec<u8>> {
        let target = self.target(version);
        let mut head = format!("{} {target} HTTP/1.1\r\nHost: {NAME}\r\nUser-Agent: {AGENT}\r\n", self.method);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
            if value.contains(char::is_control) {
                return Err(Failure::new(format!("invalid header field value for {name:?}")));
            }
        }
        if let Some(body) = &self.json {
            head.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
        } else if self.method == Method::POST || self.method == Method::PUT {
            head.push_str("Content-Length: 0\r\n");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(self.json.as_deref().unwrap_or_default());
        // a space or a line's end in the target would be another request
        match target.contains(|c: char| c.is_ascii_control() || c == ' ') {
            true => Err(Failure::new("invalid character in request path")),
            false => Ok(bytes),
        }
    }

    fn target(&self, version: &str) -> String {
        let mut out = match self.path.as_str() {
            "/_ping" => "/_ping".to_string(),
            path => format!("/v{version}{path}"),
        };
        for (i, (name, value)) in self.query.iter().enumerate() {
            out.push(if i == 0 { '?' } else { '&' });
            out.push_str(name);
            out.push('=');
            out.push_str(&escape(value));
        }
        out
    }
}

/// Percent-encodes what may not stand in a path segment or a query value.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b':' | b'/' | b'@' => {
                out.push(char::from(b))
            }
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

/// The engine.
pub struct Engine<'a> {
    /// Which, and how.
    pub settings: &'a Settings,
    version: RefCell<String>,
    started: Cell<bool>,
    idle: RefCell<Option<SendRequest<Body>>>,
    runtime: Cell<bool>,
    plain: RefCell<Option<plain::Connection>>,
}

impl<'a> Engine<'a> {
    /// Does nothing yet.
    pub fn new(settings: &'a Settings) -> Engine<'a> {
        let version = settings.api_version.clone().unwrap_or_else(|| api::VERSION.into());
        Engine {
            settings,
            version: RefCell::new(version),
            started: Cell::new(false),
            idle: RefCell::new(None),
            runtime: Cell::new(false),
            plain: RefCell::new(None),
        }
    }

    /// From here on the command runs in a runtime: it is pending once, which tells its driver ([`drive`]) to make one.
    pub async fn asynchronous(&self) {
        if self.runtime.replace(true) {
            return;
        }
        let mut asked = false;
        std::future::poll_fn(|_| if std::mem::replace(&mut asked, true) { Poll::Ready(()) } else { Poll::Pending })
            .await;
    }

    /// The version that requests are made in.
    pub fn version(&self) -> String {
        self.version.borrow().clone()
    }

    /// Starts the engine if it is ours and does not run; says whether another attempt makes sense.
    fn wake(&self, error: &io::Error) -> Result<()> {
        let absent = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
        match &self.settings.endpoint {
            // Of several requests under way one starts it for all.
            Endpoint::Unix { ours: true, .. } if absent && self.started.replace(true) => Ok(()),
            Endpoint::Unix { path, ours: true } if absent => autostart::start(path),
            _ => Err(self.unreachable(error)),
        }
    }

    fn open_plain(&self) -> io::Result<plain::Connection> {
        Ok(match &self.settings.endpoint {
            Endpoint::Unix { path, .. } => plain::Connection::new(std::os::unix::net::UnixStream::connect(path)?),
            Endpoint::Tcp(address) => {
                let stream = std::net::TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                plain::Connection::new(stream)
            }
        })
    }

    /// A request and its answer over a blocking connection.
    fn exchange_plain(&self, ask: &Ask) -> Result<plain::Answer> {
        self.tell_debug(ask);
        let request = ask.text(&self.version())?;
        let mut connection = match self.plain.take() {
            Some(connection) => connection,
            None => match self.open_plain() {
                Ok(connection) => connection,
                Err(error) => {
                    self.wake(&error)?;
                    self.open_plain().map_err(|e| self.unreachable(&e))?
                }
            },
        };
        let answer = connection.exchange(&request).map_err(|e| {
            let why = if e.kind() == io::ErrorKind::UnexpectedEof { "EOF".into() } else { describe(&e) };
            Failure::new(format!("error during connect: {why}"))
        })?;
        if answer.reusable {
            self.plain.replace(Some(connection));
        }
        Ok(answer)
    }

    async fn open(&self) -> io::Result<Socket> {
        match &self.settings.endpoint {
            Endpoint::Unix { path, .. } => Ok(Socket::Unix(UnixStream::connect(path).await?)),
            Endpoint::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(Socket::Tcp(stream))
            }
        }
    }

    /// A connection of its own, the engine started if it is ours and does not run.
    async fn connect(&self) -> Result<SendRequest<Body>> {
        let socket = match self.open().await {
            Ok(socket) => socket,
            Err(error) => {
                self.wake(&error)?;
                self.open().await.map_err(|e| self.unreachable(&e))?
            }
        };
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.map_err(|e| broken(&e))?;
        tokio::spawn(connection.with_upgrades());
        Ok(sender)
    }

    fn tell_debug(&self, ask: &Ask) {
        if self.settings.debug {
            let time = jiff::Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%:z");
            let what = quote(&format!("{} {}", ask.method, ask.target(&self.version())));
            crate::output::complain(&format!("time=\"{time}\" level=debug msg={what}"));
        }
    }

    fn unreachable(&self, error: &io::Error) -> Failure {
        let endpoint = &self.settings.endpoint;
        if error.kind() == io::ErrorKind::PermissionDenied
            && let Endpoint::Unix { path, .. } = endpoint
        {
            return Failure::new(format!(
                "permission denied while trying to connect to the Docker daemon socket at {endpoint}: dial unix {}: connect: permission denied",
                path.display()
            ));
        }
        Failure::new(format!("Cannot connect to the Docker daemon at {endpoint}. Is the docker daemon running?"))
    }

    async fn exchange(&self, ask: &Ask, body: Body, upgrade: bool, fresh: bool) -> Result<Response<Incoming>> {
        self.asynchronous().await;
        self.tell_debug(ask);
        let version = self.version();
        let request = |body: Body| {
            let mut request = Request::builder().method(ask.method.clone()).uri(ask.target(&version));
            request = request.header(HOST, NAME).header("User-Agent", AGENT);
            if upgrade {
                request = request.header(CONNECTION, "Upgrade").header(UPGRADE, "tcp");
            }
            if ask.json.is_some() {
                request = request.header(CONTENT_TYPE, "application/json");
            }
            for (name, value) in &ask.headers {
                request = request.header(*name, value);
            }
            request.body(body).map_err(|e| Failure::new(e.to_string()))
        };
        let idle = self.idle.borrow_mut().take().filter(|_| !fresh);
        if idle.is_some() {
            // lets the connection notice that its last answer has been read
            tokio::task::yield_now().await;
        }
        let idle = idle.filter(SendRequest::is_ready);
        let mut sender = match idle {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let response = sender.send_request(request(body)?).await.map_err(|e| broken(&e))?;
        if !upgrade {
            *self.idle.borrow_mut() = Some(sender);
        }
        Ok(response)
    }

    /// Sends a request; a refusal is a failure.
    pub async fn send(&self, ask: Ask) -> Result<Response<Incoming>> {
        self.send_how(ask, false).await
    }

    async fn send_how(&self, ask: Ask, upgrade: bool) -> Result<Response<Incoming>> {
        loop {
            let body = ask.json.clone().unwrap_or_default();
            let body = Full::new(body).map_err(|never| match never {}).boxed();
            let response = self.exchange(&ask, body, upgrade, false).await?;
            match self.judge(response).await {
                Err(refused) if self.older(&refused) => continue,
                other => return other,
            }
        }
    }

    /// Sends a request whose body is a stream, which cannot be sent twice: the version is settled before.
    pub async fn send_stream<S>(&self, ask: Ask, kind: &str, body: S) -> Result<Response<Incoming>>
    where
        S: futures_util::Stream<Item = io::Result<Bytes>> + Send + Sync + 'static,
    {
        self.settle().await?;
        let body = StreamBody::new(body.map_ok(Frame::data)).boxed();
        let ask = ask.header("Content-Type", kind);
        let response = self.exchange(&ask, body, false, true).await?;
        self.judge(response).await
    }

    /// Finds out which version the engine speaks.
    pub async fn settle(&self) -> Result<()> {
        let response = self.ping().await?;
        let theirs = response.headers().get(api::system::ping::API_VERSION).and_then(|v| v.to_str().ok());
        if let Some(theirs) = theirs
            && self.settings.api_version.is_none()
            && newer(&self.version(), theirs)
        {
            *self.version.borrow_mut() = theirs.to_string();
        }
        Ok(())
    }

    /// `GET /_ping`
    pub async fn ping(&self) -> Result<Response<Incoming>> {
        let body = Full::new(Bytes::new()).map_err(|never| match never {}).boxed();
        let response = self.exchange(&Ask::head("/_ping"), body, false, false).await?;
        self.judge(response).await
    }

    /// Takes the engine's newest version when it refused ours as too new.
    fn older(&self, refused: &Failure) -> bool {
        if self.settings.api_version.is_some() || refused.status != Some(400) {
            return false;
        }
        let Some((_, theirs)) = refused.text.split_once("Maximum supported API version is ") else { return false };
        let theirs = theirs.trim_end_matches('.').to_string();
        let lower = newer(&self.version(), &theirs);
        if lower {
            *self.version.borrow_mut() = theirs;
        }
        lower
    }

    async fn judge(&self, response: Response<Incoming>) -> Result<Response<Incoming>> {
        let status = response.status();
        if status.is_success() || matches!(status, StatusCode::SWITCHING_PROTOCOLS | StatusCode::NOT_MODIFIED) {
            return Ok(response);
        }
        let body = response.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default();
        Err(refusal(status, &body))
    }

    /// Sends a request and reads its whole answer.
    pub async fn bytes(&self, ask: Ask) -> Result<Bytes> {
        if self.runtime.get() {
            let body = self.send(ask).await?.into_body();
            return Ok(body.collect().await.map_err(|e| broken(&e))?.to_bytes());
        }
        loop {
            let answer = self.exchange_plain(&ask)?;
            if (200..300).contains(&answer.status) || answer.status == 304 {
                return Ok(answer.body);
            }
            let refused = refusal(StatusCode::from_u16(answer.status).unwrap_or_default(), &answer.body);
            if !self.older(&refused) {
                return Err(refused);
            }
        }
    }

    /// Sends a request and reads its answer.
    pub async fn fetch<T: DeserializeOwned>(&self, ask: Ask) -> Result<T> {
        serde_json::from_slice(&self.bytes(ask).await?).map_err(|e| unreadable(&e))
    }

    /// Sends a request whose answer does not matter.
    pub async fn tell(&self, ask: Ask) -> Result<()> {
        self.bytes(ask).await.map(drop)
    }

    /// Sends a request whose answer is a stream in both directions. The content type says whether it is framed.
    pub async fn hijack(&self, ask: Ask) -> Result<Hijacked> {
        let response = self.send_how(ask, true).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(Failure::new(format!("unable to upgrade to tcp, received {}", response.status().as_u16())));
        }
        let upgraded = hyper::upgrade::on(response).await.map_err(|e| broken(&e))?;
        let parts = upgraded
            .downcast::<TokioIo<Socket>>()
            .map_err(|_| Failure::new("the connection to the engine is of an unknown kind"))?;
        Ok(Hijacked { socket: parts.io.into_inner(), early: parts.read_buf })
    }
}

/// Takes the items of an answer that is a list, one by one: a long list is never in memory as a whole.
pub fn read_each<'a, T: Deserialize<'a>>(answer: &'a [u8], take: impl FnMut(T)) -> Result<()> {
    struct Each<T, F>(F, PhantomData<T>);
    impl<'a, T: Deserialize<'a>, F: FnMut(T)> Visitor<'a> for Each<T, F> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }
        fn visit_seq<A: SeqAccess<'a>>(mut self, mut items: A) -> std::result::Result<(), A::Error> {
            while let Some(item) = items.next_element()? {
                (self.0)(item);
            }
            Ok(())
        }
    }
    let text = std::str::from_utf8(answer).map_err(|e| unreadable(&e))?;
    let mut json = serde_json::Deserializer::from_str(text);
    let done = json.deserialize_seq(Each(take, PhantomData)).and_then(|()| json.end());
    done.map_err(|e| unreadable(&e))
}

fn unreadable(error: &dyn std::error::Error) -> Failure {
    Failure::new(format!("Error reading remote info: {error}"))
}

/// A connection that is no longer HTTP.
#[derive(Debug)]
pub struct Hijacked {
    /// The connection.
    pub socket: Socket,
    /// What came with the answer's headers.
    pub early: Bytes,
}

/// What a person reads of a refusal.
fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    let message = match serde_json::from_slice::<api::error::ErrorResponse>(body) {
        Ok(error) if !error.message.is_empty() => error.message,
        _ if body.is_empty() => {
            let reason = status.canonical_reason().unwrap_or("unknown");
            format!(
                "request returned {reason} for API route and version, check if the server supports the requested API version"
            )
        }
        _ => String::from_utf8_lossy(body).trim().to_string(),
    };
    Failure::daemon(status.as_u16(), &message)
}

/// Runs a command to its end: without a runtime as long as it can do without.
pub fn drive(work: impl Future<Output = Result<()>>) -> Result<()> {
    let mut work = std::pin::pin!(work);
    if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        return done;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(work);
    // a thread that still reads a terminal must not keep us
    runtime.shutdown_background();
    done
}

/// The pieces of a body as they come.
pub async fn next_piece(body: &mut Incoming) -> Result<Option<Bytes>> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(e)) => return Err(broken(&e)),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Whether version `a` is newer than `b`.
pub fn newer(a: &str, b: &str) -> bool {
    let parts = |v: &str| v.split('.').map(|p| p.parse::<u32>().unwrap_or(0)).collect::<Vec<_>>();
    parts(a) > parts(b)
}

fn broken(error: &hyper::Error) -> Failure {
    use std::error::Error;
    match error.source().and_then(|s| s.downcast_ref::<io::Error>()) {
        Some(cause) => Failure::new(format!("error during connect: {}", describe(cause))),
        None => Failure::new(format!("error during connect: {error}")),
    }
}
