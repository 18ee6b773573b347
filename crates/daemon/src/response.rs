//! Answers: JSON, nothing, errors, streams; and the headers that are on all of them.

use crate::error::Error;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, SERVER};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use serde::Serialize;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What every body is.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// `application/json`
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Nothing.
pub fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Empty::new().boxed_unsync());
    *response.status_mut() = status;
    response
}

/// 204
pub fn no_content() -> Response<Body> {
    empty(StatusCode::NO_CONTENT)
}

/// One JSON value and a newline, as Go's encoder ends it.
pub fn json<T: Serialize>(status: StatusCode, value: &T) -> Response<Body> {
    let mut bytes = Vec::with_capacity(1024);
    if let Err(e) = serde_json::to_writer(&mut bytes, value) {
        return error(&Error::internal(format!("encoding the answer: {e}")));
    }
    bytes.push(b'\n');
    text(status, JSON, bytes)
}

/// 200 with JSON.
pub fn ok<T: Serialize>(value: &T) -> Response<Body> {
    json(StatusCode::OK, value)
}

/// What is JSON already.
pub fn json_text(body: Arc<[u8]>) -> Response<Body> {
    text(StatusCode::OK, JSON, Bytes::from_owner(body))
}

/// Bytes of some type.
pub fn text(status: StatusCode, kind: HeaderValue, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(bytes.into()).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// `{"message": …}`
pub fn error(error: &Error) -> Response<Body> {
    if error.status == StatusCode::NOT_MODIFIED {
        return empty(error.status);
    }
    json(error.status, &api::error::ErrorResponse { message: error.message.clone() })
}

/// Feeds a streamed body. Dropping it ends the body; `send` fails when the client is gone.
pub type Feed = mpsc::Sender<Bytes>;

/// A streamed body, its headers sent at once.
pub fn stream(kind: HeaderValue) -> (Feed, Response<Body>) {
    let (feed, mut chunks) = mpsc::channel::<Bytes>(8);
    let frames = futures_util::stream::poll_fn(move |cx| chunks.poll_recv(cx).map(|c| c.map(|c| Ok(Frame::data(c)))));
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, kind);
    (feed, response)
}

/// The headers of every answer.
pub fn common_headers(response: &mut Response<Body>) {
    let headers = response.headers_mut();
    headers.insert(SERVER, HeaderValue::from_static(concat!("dhow/", env!("CARGO_PKG_VERSION"), " (linux)")));
    for (name, value) in [
        (HeaderName::from_static("api-version"), api::VERSION),
        (HeaderName::from_static("ostype"), "linux"),
        (HeaderName::from_static("docker-experimental"), "false"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
