//! Connections, and the fence around each request: limits, panics, the common headers.

use crate::error::Error;
use crate::request::decode;
use crate::response::{self, Body};
use crate::router;
use futures_util::FutureExt;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::{Notify, Semaphore};

/// Connections at once; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 2048;
/// Request line and headers together.
const MAX_HEADERS: usize = 64 << 10;
/// From the first byte of a request to the end of its headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// One request, past the fence.
pub struct Call {
    /// What is asked.
    pub route: router::Route,
    /// The version in the path, or the newest.
    pub version: (u32, u32),
    /// The query.
    pub query: crate::request::Query,
    /// The rest.
    pub request: Request<Incoming>,
}

/// What all connections share.
pub struct Server<F> {
    answer: F,
    connections: Arc<Semaphore>,
    working: AtomicUsize,
    served: AtomicUsize,
    next: Notify,
}

impl<F, Fut> Server<F>
where
    F: Fn(Call) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = crate::error::Result<Response<Body>>> + Send + 'static,
{
    /// A server without connections, which gives each call to `answer`.
    pub fn new(answer: F) -> Arc<Server<F>> {
        Arc::new(Server {
            answer,
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            working: AtomicUsize::new(0),
            served: AtomicUsize::new(0),
            next: Notify::new(),
        })
    }

    /// Requests that have no answer yet. Those that stream or wait do not count: their headers are out.
    pub fn working(&self) -> usize {
        self.working.load(Ordering::SeqCst)
    }

    /// How many requests there have been.
    pub fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }

    /// Waits for a request.
    pub async fn next_request(&self) {
        self.next.notified().await;
    }

    /// Accepts connections for ever.
    pub async fn accept(self: Arc<Self>, listener: UnixListener) {
        loop {
            let Ok(permit) = self.connections.clone().acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(e) => {
                    // Out of descriptors, most likely: some will be given back.
                    tracing::warn!("accepting a connection: {e}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let server = self.clone();
            tokio::spawn(async move {
                server.connection(stream).await;
                drop(permit);
            });
        }
    }

    async fn connection(self: Arc<Self>, stream: tokio::net::UnixStream) {
        let service = service_fn(|request| {
            let server = self.clone();
            async move { Ok::<_, Infallible>(server.fence(request).await) }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEADERS)
            .title_case_headers(true)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
            .await;
        if let Err(e) = served {
            tracing::debug!("connection: {e}");
        }
    }

    async fn fence(&self, request: Request<Incoming>) -> Response<Body> {
        struct Working<'a>(&'a AtomicUsize);
        impl Drop for Working<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.working.fetch_add(1, Ordering::SeqCst);
        self.served.fetch_add(1, Ordering::Relaxed);
        self.next.notify_waiters();
        let _working = Working(&self.working);
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let begun = std::time::Instant::now();
        let result = match AssertUnwindSafe(self.call(request)).catch_unwind().await {
            Ok(result) => result,
            Err(_) => Err(Error::internal("the engine failed on this request; its log says more")),
        };
        let mut response = result.unwrap_or_else(|e| {
            if e.status == http::StatusCode::INTERNAL_SERVER_ERROR {
                tracing::error!("{method} {path}: {e}");
            }
            response::error(&e)
        });
        tracing::debug!("{method} {path}: {} in {:?}", response.status().as_u16(), begun.elapsed());
        response::common_headers(&mut response);
        response
    }

    async fn call(&self, request: Request<Incoming>) -> crate::error::Result<Response<Body>> {
        // hyper's own limit is on its buffer, which may grow to twice that before it looks.
        let headers: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if headers > MAX_HEADERS {
            let status = http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return Err(Error::new(status, "request header fields too large"));
        }
        let path = decode(request.uri().path(), false);
        let (version, rest) = router::version(&path)?;
        let route = router::route(request.method(), rest)?;
        let query = crate::request::Query::parse(request.uri().query());
        let version = version.unwrap_or((1, 51));
        (self.answer)(Call { route, version, query, request }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Result;
    use crate::request;
    use std::path::PathBuf;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    /// What the tests answer: the body's length, a panic, a stream, the route.
    async fn answer(call: Call) -> Result<Response<Body>> {
        match call.route {
            router::Route::ContainerCreate => {
                let (parts, body) = call.request.into_parts();
                let value: Option<serde_json::Value> = request::json(&parts.headers, body).await?;
                Ok(response::ok(&value))
            }
            router::Route::Info => panic!("on purpose"),
            router::Route::Swarm => Err(Error::swarm()),
            route => Ok(response::ok(&format!("{route:?} {:?}", call.version))),
        }
    }

    struct Running {
        path: PathBuf,
        task: tokio::task::JoinHandle<()>,
    }

    impl Running {
        fn start(name: &str) -> Running {
            let path = std::env::temp_dir().join(format!("dhow-server-{name}-{}", std::process::id()));
            let listener = UnixListener::bind(&path).unwrap();
            Running { path, task: tokio::spawn(Server::new(answer).accept(listener)) }
        }

        /// Sends all, closes, and reads all.
        async fn raw(&self, request: &[u8]) -> String {
            let mut stream = UnixStream::connect(&self.path).await.unwrap();
            // The server may refuse and close before all is sent.
            let _ = stream.write_all(request).await;
            let mut text = Vec::new();
            let deadline = Duration::from_secs(20);
            let _ = tokio::time::timeout(deadline, stream.read_to_end(&mut text)).await.expect("an answer");
            String::from_utf8(text).unwrap()
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            self.task.abort();
            let _ = std::fs::remove_file(&self.path);
        }
    }

    fn body(answer: &str) -> &str {
        answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    fn get(path: &str) -> Vec<u8> {
        format!("GET {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n").into_bytes()
    }

    #[tokio::test]
    async fn headers_versions_and_unknown_paths() {
        let server = Running::start("paths");
        let answer = server.raw(&get("/v1.40/images/a%2Fb:c/json")).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        for header in ["Api-Version: 1.51", "Ostype: linux", "Docker-Experimental: false", "Server: dhow/"] {
            assert!(answer.contains(&format!("\r\n{header}")), "{header} in {answer}");
        }
        assert_eq!(body(&answer), "\"ImageInspect(\\\"a/b:c\\\") (1, 40)\"\n");
        let answer = server.raw(&get("/v1.99/info")).await;
        assert!(answer.starts_with("HTTP/1.1 400"));
        assert_eq!(
            body(&answer),
            "{\"message\":\"client version 1.99 is too new. Maximum supported API version is 1.51\"}\n"
        );
        let answer = server.raw(&get("/nope")).await;
        assert!(answer.starts_with("HTTP/1.1 404"));
        assert_eq!(body(&answer), "{\"message\":\"page not found\"}\n");
        assert!(server.raw(&get("/swarm")).await.starts_with("HTTP/1.1 503"));
    }

    #[tokio::test]
    async fn a_panic_stays_in_its_request() {
        let server = Running::start("panic");
        let answer = server.raw(&get("/info")).await;
        assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
        assert!(body(&answer).contains("failed on this request"));
        assert!(server.raw(&get("/version")).await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn bodies_have_limits() {
        let server = Running::start("bodies");
        let post = |headers: &str, body: &str| {
            format!("POST /containers/create HTTP/1.1\r\nHost: d\r\nConnection: close\r\n{headers}\r\n{body}")
                .into_bytes()
        };
        let json = "Content-Type: application/json\r\n";
        let answer = server.raw(&post(&format!("{json}Content-Length: 7\r\n"), "{\"a\":1}")).await;
        assert_eq!(body(&answer), "{\"a\":1}\n");
        // A gigabyte is refused by its declared length, before any of it is sent.
        let answer = server.raw(&post(&format!("{json}Content-Length: 1073741824\r\n"), "")).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        // The same without a declared length stops at the limit.
        let chunk = format!("100000\r\n{}\r\n", " ".repeat(0x100000));
        let answer = server.raw(&post(&format!("{json}Transfer-Encoding: chunked\r\n"), &chunk.repeat(6))).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        let answer = server.raw(&post("Content-Type: text/plain\r\nContent-Length: 2\r\n", "{}")).await;
        assert_eq!(
            body(&answer),
            "{\"message\":\"unsupported Content-Type header (text/plain): must be 'application/json'\"}\n"
        );
        let headers = format!("X: {}\r\n", "y".repeat(100_000));
        let answer = server.raw(&post(&headers, "")).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
        assert!(server.raw(&get("/version")).await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn garbage_is_refused() {
        let server = Running::start("garbage");
        assert!(server.raw(b"\x00\x01\x02garbage\r\n\r\n").await.starts_with("HTTP/1.1 400"));
        assert!(server.raw(&get("/version")).await.starts_with("HTTP/1.1 200"));
    }
}
