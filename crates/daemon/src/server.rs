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
use std::collections::HashMap;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::{Notify, Semaphore};

/// Connections at once; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 2048;
/// Connections at once of one user that is not root: nobody can take them all.
const MAX_OF_A_USER: usize = 512;
/// Request line and headers together.
const MAX_HEADERS: usize = 64 << 10;
/// From the first byte of a request to the end of its headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });

/// What a user gets who has too many connections.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{\"message\":\"this user has too many connections\"}\r\n";

/// How many connections each user has.
struct Users {
    most: usize,
    counts: Arc<Mutex<HashMap<u32, usize>>>,
}

/// One connection of a user; dropping it gives the place back.
struct Place {
    uid: u32,
    counts: Arc<Mutex<HashMap<u32, usize>>>,
}

impl Users {
    fn new(most: usize) -> Users {
        Users { most, counts: Arc::default() }
    }

    /// A place for one more connection; root always has one.
    fn enter(&self, uid: u32) -> Option<Place> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(uid).or_default();
        if uid != 0 && *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Place { uid, counts: self.counts.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.uid);
            }
        }
    }
}

/// Refuses what a browser sends on behalf of some page: whoever forwards the socket to a port has not meant that.
fn not_a_browser(headers: &http::HeaderMap) -> crate::error::Result<()> {
    let site = headers.get("sec-fetch-site").is_some_and(|site| site != "none" && site != "same-origin");
    match site || headers.contains_key(http::header::ORIGIN) {
        true => Err(Error::new(http::StatusCode::FORBIDDEN, "requests of web pages are refused")),
        false => Ok(()),
    }
}

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

/// How many requests are at some stage.
#[derive(Default)]
pub struct Count {
    count: AtomicUsize,
    zero: Notify,
}

/// One of them; it leaves the stage when it is dropped.
struct Counted<'a>(&'a Count);

impl Count {
    fn enter(&self) -> Counted<'_> {
        self.count.fetch_add(1, Ordering::SeqCst);
        Counted(self)
    }

    /// How many there are.
    pub fn now(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits for a moment in which there is none.
    pub async fn none(&self) {
        loop {
            let zero = self.zero.notified();
            tokio::pin!(zero);
            // From here on nothing is missed.
            zero.as_mut().enable();
            if self.now() == 0 {
                return;
            }
            zero.await;
        }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.zero.notify_waiters();
        }
    }
}

/// What all connections share.
pub struct Server<F> {
    answer: F,
    connections: Arc<Semaphore>,
    users: Users,
    working: Count,
    changing: Count,
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
            users: Users::new(MAX_OF_A_USER),
            working: Count::default(),
            changing: Count::default(),
            served: AtomicUsize::new(0),
            next: Notify::new(),
        })
    }

    /// Requests that have no answer yet. Those that stream or wait do not count: their headers are out.
    pub fn working(&self) -> &Count {
        &self.working
    }

    /// Those of them that do not only ask.
    pub fn changing(&self) -> &Count {
        &self.changing
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
            let uid = stream.peer_cred().map_or(u32::MAX, |peer| peer.uid());
            let Some(place) = self.users.enter(uid) else {
                tracing::warn!("user {uid} has {MAX_OF_A_USER} connections: one more is refused");
                // nobody waits for a client that does not read
                let _ = stream.try_write(FULL);
                continue;
            };
            let server = self.clone();
            tokio::spawn(async move {
                server.connection(stream).await;
                drop((permit, place));
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
        self.served.fetch_add(1, Ordering::Relaxed);
        self.next.notify_waiters();
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let _working = self.working.enter();
        let _changing = (!method.is_safe()).then(|| self.changing.enter());
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
        not_a_browser(request.headers())?;
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

    impl Running {
        /// Sends all, goes on listening, and reads all that comes until the server closes.
        async fn raw_kept(&self, request: &[u8]) -> String {
            let mut stream = UnixStream::connect(&self.path).await.unwrap();
            stream.write_all(request).await.unwrap();
            let mut text = Vec::new();
            let _ = stream.read_to_end(&mut text).await;
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

    #[test]
    fn a_user_has_only_so_many_connections() {
        let users = Users::new(2);
        let (first, _second) = (users.enter(7), users.enter(7));
        assert!(first.is_some() && users.enter(7).is_none() && users.enter(8).is_some());
        drop(first);
        assert!(users.enter(7).is_some());
        let root: Vec<_> = (0..5).map(|_| users.enter(0)).collect();
        assert!(root.iter().all(Option::is_some));
        drop(root);
        assert_eq!(users.counts.lock().unwrap().get(&0), None);
        let body = FULL.split(|b| *b == b'{').next_back().unwrap();
        assert_eq!(body.len() + 1, 50);
    }

    #[tokio::test]
    async fn web_pages_are_refused() {
        let server = Running::start("origin");
        for header in ["Origin: http://evil.test", "Origin: null", "Sec-Fetch-Site: cross-site"] {
            let request = format!("GET /version HTTP/1.1\r\nHost: d\r\nConnection: close\r\n{header}\r\n\r\n");
            let answer = server.raw(request.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
            assert_eq!(body(&answer), "{\"message\":\"requests of web pages are refused\"}\n");
        }
        let request = b"GET /version HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\nSec-Fetch-Site: none\r\n\r\n";
        assert!(server.raw(request).await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn who_sends_nothing_more_is_shown_out() {
        let server = Running::start("slow");
        let post = "POST /containers/create HTTP/1.1\r\nHost: d\r\nConnection: close\r\n";
        // headers that never end, a body that never comes
        let answer = server.raw_kept(post.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
        let body_missing = format!("{post}Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{{");
        let answer = server.raw_kept(body_missing.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }

    #[tokio::test]
    async fn none_is_a_moment_and_not_missed() {
        let count = Count::default();
        count.none().await;
        let one = count.enter();
        let mut none = Box::pin(count.none());
        assert!(futures_util::poll!(&mut none).is_pending());
        drop(one);
        // Another has come by the time anybody looks.
        let _two = count.enter();
        assert!(futures_util::poll!(&mut none).is_pending());
        drop(_two);
        none.await;
        assert_eq!(count.now(), 0);
    }

    #[tokio::test]
    async fn garbage_is_refused() {
        let server = Running::start("garbage");
        assert!(server.raw(b"\x00\x01\x02garbage\r\n\r\n").await.starts_with("HTTP/1.1 400"));
        assert!(server.raw(&get("/version")).await.starts_with("HTTP/1.1 200"));
    }
}
