//! Connections that stop being HTTP: attach and exec.

use crate::error::{Error, Result};
use crate::response::{self, Body};
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// What a client gets from a hijacked connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A terminal: bytes as they come.
    Raw,
    /// Docker's frames.
    Multiplexed,
}

impl Form {
    /// Of a container with or without a terminal.
    pub fn of(tty: bool) -> Form {
        if tty { Form::Raw } else { Form::Multiplexed }
    }

    /// What it is called; before 1.42 both had one name.
    pub fn media_type(self, version: (u32, u32)) -> HeaderValue {
        HeaderValue::from_static(match self {
            Form::Multiplexed if version >= (1, 42) => api::stream::MULTIPLEXED,
            _ => api::stream::RAW,
        })
    }
}

/// The client's end, once the answer has been sent.
pub struct Client {
    /// Its socket.
    pub stream: UnixStream,
    /// What it sent right after its request.
    pub early: Bytes,
}

/// Whether the client asks to leave HTTP.
pub fn asked(request: &Request<Incoming>) -> bool {
    request.headers().contains_key(UPGRADE)
}

/// Answers `101 UPGRADED` and hands the connection to `then`.
///
/// # Errors
/// 400 when the client did not ask for it: a connection cannot be taken over from a client that expects HTTP.
pub fn upgrade<F, Fut>(request: Request<Incoming>, kind: HeaderValue, then: F) -> Result<Response<Body>>
where
    F: FnOnce(Client) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    if !asked(&request) {
        return Err(Error::invalid("this endpoint needs the headers Connection: Upgrade and Upgrade: tcp"));
    }
    let pending = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let upgraded = match pending.await {
            Ok(upgraded) => upgraded,
            Err(e) => return tracing::debug!("a client left before its upgrade: {e}"),
        };
        match upgraded.downcast::<TokioIo<UnixStream>>() {
            Ok(parts) => then(Client { stream: parts.io.into_inner(), early: parts.read_buf }).await,
            Err(_) => tracing::error!("an upgraded connection is not a unix socket"),
        }
    });
    let mut answer = response::empty(StatusCode::SWITCHING_PROTOCOLS);
    answer.extensions_mut().insert(hyper::ext::ReasonPhrase::from_static(b"UPGRADED"));
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("tcp"));
    headers.insert(CONTENT_TYPE, kind);
    Ok(answer)
}
