//! One request, one response, over connections that are kept alive. No policy: redirects, authorization and retries
//! are in `session`.

use crate::config::{Insecure, Patience};
use crate::tls::{self, Trust};
use crate::url::{Origin, Url};
use crate::{Error, resolve, wording};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::pki_types::ServerName;

/// Kept connections per origin, and for how long.
const IDLE_PER_ORIGIN: usize = 8;
const IDLE_FOR: Duration = Duration::from_secs(60);

/// Why there is no response.
#[derive(Debug)]
pub(crate) enum Fault {
    /// No connection could be made.
    Dial(String),
    /// There was one, and it broke or fell silent.
    Broken(String),
}

impl Fault {
    pub(crate) fn text(&self) -> &str {
        match self {
            Fault::Dial(text) | Fault::Broken(text) => text,
        }
    }
}

/// A request.
pub(crate) struct Call<'a> {
    pub method: Method,
    pub url: &'a Url,
    pub accept: &'a [&'a str],
    pub authorization: Option<&'a str>,
    /// First byte wanted.
    pub range: Option<u64>,
    /// A form, posted.
    pub form: Option<String>,
}

type Sender = SendRequest<Full<Bytes>>;

/// A response whose body is still to be read.
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    body: Incoming,
    back: Option<(Arc<Transport>, Origin, Sender)>,
    idle: Duration,
}

/// The connections.
pub(crate) struct Transport {
    pub patience: Patience,
    pub insecure: Insecure,
    trust: Arc<Trust>,
    agent: String,
    idle: Mutex<HashMap<Origin, Vec<(Sender, Instant)>>>,
}

impl Transport {
    pub(crate) fn new(patience: Patience, insecure: Insecure, trust: Trust, agent: String) -> Transport {
        Transport { patience, insecure, trust: Arc::new(trust), agent, idle: Mutex::default() }
    }

    /// Whether plain http and unverified certificates are allowed there.
    pub(crate) async fn is_insecure(&self, host: &str, port: u16) -> bool {
        self.insecure.covers(host, port)
            || resolve::resolve(host).await.is_ok_and(|all| all.iter().any(|a| self.insecure.covers_address(*a)))
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn send(self: &Arc<Self>, call: &Call<'_>) -> Result<Answer, Fault> {
        // A kept connection may have been closed by the other side meanwhile: then, and only then, try a fresh one.
        if let Some(sender) = self.kept(&call.url.origin).await
            && let Ok(answer) = self.exchange(sender, call).await
        {
            return Ok(answer);
        }
        let sender = self.connect(&call.url.origin).await?;
        self.exchange(sender, call).await
    }

    async fn kept(&self, origin: &Origin) -> Option<Sender> {
        loop {
            let (mut sender, since) = {
                let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                let list = idle.get_mut(origin)?;
                let last = list.pop();
                if list.is_empty() {
                    idle.remove(origin);
                }
                last?
            };
            if since.elapsed() > IDLE_FOR || sender.is_closed() {
                continue;
            }
            // The connection's task may not have run since the last body ended.
            if sender.is_ready() || matches!(timeout(Duration::from_millis(50), sender.ready()).await, Ok(Ok(()))) {
                return Some(sender);
            }
        }
    }

    async fn exchange(self: &Arc<Self>, mut sender: Sender, call: &Call<'_>) -> Result<Answer, Fault> {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(call.url.path.as_str())
            .header(header::HOST, call.url.origin.authority())
            .header(header::USER_AGENT, &self.agent);
        for accept in call.accept {
            request = request.header(header::ACCEPT, *accept);
        }
        if let Some(authorization) = call.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if let Some(first) = call.range {
            request = request.header(header::RANGE, format!("bytes={first}-"));
        }
        let mut body = Full::default();
        if let Some(form) = &call.form {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
            body = Full::new(Bytes::from(form.clone()));
        }
        let request = request.body(body).map_err(|e| Fault::Broken(e.to_string()))?;
        let response = match timeout(self.patience.idle, sender.send_request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(Fault::Broken(wording::hyper(&error))),
            Err(_) => {
                return Err(Fault::Broken(
                    "net/http: request canceled (Client.Timeout exceeded while awaiting headers)".into(),
                ));
            }
        };
        let (parts, body) = response.into_parts();
        let back = Some((self.clone(), call.url.origin.clone(), sender));
        Ok(Answer { status: parts.status, headers: parts.headers, body, back, idle: self.patience.idle })
    }

    async fn connect(&self, origin: &Origin) -> Result<Sender, Fault> {
        let addresses = resolve::resolve(&origin.host).await.map_err(|e| Fault::Dial(format!("dial tcp: {e}")))?;
        let insecure = self.insecure.covers(&origin.host, origin.port)
            || addresses.iter().any(|a| self.insecure.covers_address(*a));
        let (stream, address) = self.dial(origin, &addresses).await?;
        let stream = if origin.secure {
            Stream::Tls(Box::new(self.handshake(origin, stream, address, !insecure).await?))
        } else {
            Stream::Plain(stream)
        };
        let (sender, connection) =
            http1::Builder::new().handshake(TokioIo::new(stream)).await.map_err(|e| Fault::Dial(wording::hyper(&e)))?;
        // Ends by itself when the sender and the body are gone.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "registry connection ended");
            }
        });
        Ok(sender)
    }

    async fn dial(&self, origin: &Origin, addresses: &[std::net::IpAddr]) -> Result<(TcpStream, SocketAddr), Fault> {
        let mut fault = Fault::Dial("dial tcp: no address".into());
        for address in addresses {
            let address = SocketAddr::new(*address, origin.port);
            let why = match timeout(self.patience.connect, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    let _ = stream.set_nodelay(true);
                    return Ok((stream, address));
                }
                Ok(Err(error)) => format!("connect: {}", wording::io(&error)),
                Err(_) => "i/o timeout".into(),
            };
            fault = Fault::Dial(format!("dial tcp {address}: {why}"));
        }
        Err(fault)
    }

    async fn handshake(
        &self,
        origin: &Origin,
        stream: TcpStream,
        address: SocketAddr,
        verify: bool,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Fault> {
        let (trust, of) = (self.trust.clone(), origin.clone());
        let config = tokio::task::spawn_blocking(move || trust.config(&of, verify))
            .await
            .map_err(|e| Fault::Dial(e.to_string()))?
            .map_err(Fault::Dial)?;
        let name = ServerName::try_from(origin.host.clone())
            .map_err(|_| Fault::Dial(format!("tls: {:?} is not a valid server name", origin.host)))?;
        let connector = tokio_rustls::TlsConnector::from(config);
        match timeout(self.patience.connect, connector.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(Fault::Dial(tls::words(&error))),
            Err(_) => Err(Fault::Dial(format!("dial tcp {address}: net/http: TLS handshake timeout"))),
        }
    }
}

impl Answer {
    /// A header as text.
    pub(crate) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The next bytes of the body; none at its end, when the connection is kept for the next request.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            let frame = match timeout(self.idle, self.body.frame()).await {
                Ok(frame) => frame,
                Err(_) => return Err(Fault::Broken(format!("no data for {} seconds", self.idle.as_secs_f32()))),
            };
            match frame {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => return Err(Fault::Broken(wording::hyper(&error))),
                None => {
                    self.give_back();
                    return Ok(None);
                }
            }
        }
    }

    /// Whether the body is known to have ended without asking for more.
    pub(crate) fn ended(&self) -> bool {
        self.body.is_end_stream()
    }

    /// Keeps the connection. Only right after the whole body was read.
    pub(crate) fn give_back(&mut self) {
        let Some((transport, origin, sender)) = self.back.take() else { return };
        let mut idle = transport.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let list = idle.entry(origin).or_default();
        list.retain(|(sender, since)| !sender.is_closed() && since.elapsed() < IDLE_FOR);
        if list.len() < IDLE_PER_ORIGIN && !sender.is_closed() {
            list.push((sender, Instant::now()));
        }
    }

    /// The whole body, which must not be longer than `limit`.
    pub(crate) async fn collect(&mut self, limit: usize, what: &str) -> Result<Vec<u8>, CollectError> {
        let too_long = || CollectError::Final(Error::Protocol(format!("{what} is larger than {limit} bytes")));
        let announced = self.body.size_hint().exact().unwrap_or(0);
        if announced > limit as u64 {
            return Err(too_long());
        }
        let mut bytes = Vec::with_capacity(announced as usize);
        let started = Instant::now();
        while let Some(chunk) = self.chunk().await.map_err(CollectError::Fault)? {
            if bytes.len() + chunk.len() > limit {
                return Err(too_long());
            }
            bytes.extend_from_slice(&chunk);
            // A small document that comes a byte at a time is an attack, not a slow line.
            if started.elapsed() > self.idle * 4 {
                return Err(CollectError::Fault(Fault::Broken("the answer comes too slowly".into())));
            }
        }
        Ok(bytes)
    }
}

/// Why a body could not be read to its end.
#[derive(Debug)]
pub(crate) enum CollectError {
    /// Worth another try.
    Fault(Fault),
    /// Not.
    Final(Error),
}

/// TCP, with or without TLS.
enum Stream {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context, buf: &mut ReadBuf) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Stream::Tls(s) => Pin::new(s.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_write(cx, buf),
            Stream::Tls(s) => Pin::new(s.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_flush(cx),
            Stream::Tls(s) => Pin::new(s.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Stream::Tls(s) => Pin::new(s.as_mut()).poll_shutdown(cx),
        }
    }
}
