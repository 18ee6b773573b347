//! The client against registries that misbehave, each over a real socket.

use registry::{Client, Config, Credentials, Error, Patience, Repository, digest};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the server does after it read a request.
enum Step {
    Send(Vec<u8>),
    /// Says nothing more, for ever.
    Stall,
    /// Cuts the connection with RST.
    Reset,
    /// Ends the connection in order.
    Close,
    /// Chunks until the other side has enough.
    Endless,
}

#[derive(Debug, Clone, Default)]
struct Request {
    path: String,
    headers: HashMap<String, String>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Request>>>);

impl Log {
    fn all(&self) -> Vec<Request> {
        self.0.lock().unwrap().clone()
    }

    fn paths(&self) -> Vec<String> {
        self.all().into_iter().map(|r| r.path).collect()
    }
}

/// Starts a server; `behave` is given each request and how many came before it.
async fn serve(behave: impl Fn(&Request, usize) -> Vec<Step> + Send + Sync + 'static) -> (SocketAddr, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let log = Log::default();
    let (behave, seen) = (Arc::new(behave), log.clone());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(connection(stream, behave.clone(), seen.clone()));
        }
    });
    (address, log)
}

async fn connection<F: Fn(&Request, usize) -> Vec<Step>>(mut stream: TcpStream, behave: Arc<F>, log: Log) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                // A TLS client hello: what an http server answers to it.
                Ok(0x16) if head.is_empty() => {
                    let _ = stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").await;
                    return;
                }
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let text = String::from_utf8(head).unwrap();
        let mut lines = text.lines();
        let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
        let headers = lines.filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect();
        let request = Request { path, headers };
        let before = {
            let mut log = log.0.lock().unwrap();
            log.push(request.clone());
            log.len() - 1
        };
        for step in behave(&request, before) {
            match step {
                Step::Send(bytes) => {
                    if stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                Step::Stall => std::future::pending().await,
                Step::Reset => {
                    // Data on its way is dropped by a reset: give it time to be read first.
                    let _ = stream.flush().await;
                    tokio::time::sleep(Duration::from_millis(30)).await;
                    stream.set_zero_linger().unwrap();
                    return;
                }
                Step::Close => return,
                Step::Endless => loop {
                    if stream.write_all(b"400\r\n").await.is_err()
                        || stream.write_all(&[b'x'; 0x400]).await.is_err()
                        || stream.write_all(b"\r\n").await.is_err()
                    {
                        return;
                    }
                },
            }
        }
    }
}

fn answer(status: &str, headers: &[&str], body: &[u8]) -> Vec<Step> {
    let mut text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    vec![Step::Send(bytes)]
}

fn client() -> Client {
    let patience = Patience {
        connect: Duration::from_secs(5),
        idle: Duration::from_millis(400),
        retries: 3,
        pause: Duration::from_millis(1),
        retry_after: Duration::from_secs(60),
    };
    Client::new(Config { patience, certs: Vec::new(), ..Config::default() }).unwrap()
}

fn repository(address: SocketAddr) -> Repository {
    client().repository(&format!("{address}/app:1").parse().unwrap(), None)
}

fn secret() -> Option<Credentials> {
    Some(Credentials { username: "me".into(), password: "secret".into(), ..Credentials::default() })
}

const BASIC: &str = "Basic bWU6c2VjcmV0";

fn sha256(bytes: &[u8]) -> oci::Digest {
    digest(oci::digest::Algorithm::Sha256, bytes)
}

/// Reads a blob of `size` bytes from `offset`.
async fn read(repository: &Repository, size: u64, offset: u64) -> Result<Vec<u8>, Error> {
    let mut blob = repository.blob(&sha256(b"any"), size, offset);
    let mut bytes = Vec::new();
    while let Some(chunk) = blob.chunk().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn body(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8).collect()
}

#[tokio::test]
async fn truncated_blobs_end_in_an_error() {
    let (address, log) =
        serve(|_, _| vec![Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello".to_vec()), Step::Close])
            .await;
    let error = read(&repository(address), 100, 0).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable(t) if t.contains("unexpected EOF after 5 of 100 bytes")), "{error}");
    let ranges: Vec<_> = log.all().iter().map(|r| r.header("range").map(str::to_owned)).collect();
    // 200 to a range is taken, and what was known is dropped.
    assert_eq!(ranges, [None, Some("bytes=5-".into()), Some("bytes=5-".into()), Some("bytes=5-".into())]);
    // In order, but too short.
    let (address, _) = serve(|_, _| answer("200 OK", &[], b"hello")).await;
    assert!(
        matches!(read(&repository(address), 6, 0).await, Err(Error::Corrupt(t)) if t.ends_with("the registry has 5"))
    );
}

#[tokio::test]
async fn too_long_and_endless_blobs_end_in_an_error() {
    let (address, _) = serve(|_, _| answer("200 OK", &[], b"hello!")).await;
    assert!(matches!(read(&repository(address), 5, 0).await, Err(Error::Corrupt(_))));
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (address, _) = serve(|_, _| vec![Step::Send(chunked.to_vec()), Step::Endless]).await;
    let error = read(&repository(address), 10_000, 0).await.unwrap_err();
    assert!(matches!(&error, Error::Corrupt(t) if t.ends_with("the registry sends more")), "{error}");
}

#[tokio::test]
async fn silence_is_not_waited_for() {
    let (address, _) =
        serve(|_, _| vec![Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhell".to_vec()), Step::Stall]).await;
    let error = read(&repository(address), 9, 0).await.unwrap_err();
    assert!(
        matches!(&error, Error::Unreachable(t) if t.contains("no data for 0.4 seconds after 4 of 9 bytes")),
        "{error}"
    );
    let (address, _) = serve(|_, _| vec![Step::Stall]).await;
    let error = repository(address).manifest(None).await.unwrap_err();
    assert!(
        matches!(&error, Error::Unreachable(t) if t.contains("Client.Timeout exceeded while awaiting headers")),
        "{error}"
    );
}

#[tokio::test]
async fn a_cut_connection_is_continued_with_a_range() {
    let whole = body(50_000);
    let (sent, all) = (whole.clone(), whole.clone());
    let (address, log) = serve(move |request, _| {
        let first: usize = request.header("range").map_or(0, |r| r[6..].trim_end_matches('-').parse().unwrap());
        let rest = &sent[first..];
        let status = if first == 0 {
            "200 OK\r\n".to_owned()
        } else {
            format!("206 Partial Content\r\nContent-Range: bytes {first}-49999/50000\r\n")
        };
        let mut bytes = format!("HTTP/1.1 {status}Content-Length: {}\r\n\r\n", rest.len()).into_bytes();
        bytes.extend_from_slice(&rest[..rest.len().min(20_000)]);
        vec![Step::Send(bytes), if rest.len() > 20_000 { Step::Reset } else { Step::Send(Vec::new()) }]
    })
    .await;
    assert_eq!(read(&repository(address), 50_000, 0).await.unwrap(), all);
    let ranges: Vec<_> = log.all().iter().map(|r| r.header("range").unwrap_or("-").to_owned()).collect();
    assert_eq!(ranges, ["-", "bytes=20000-", "bytes=40000-"]);
    // A later attempt begins where the earlier one ended.
    assert_eq!(read(&repository(address), 50_000, 45_000).await.unwrap(), whole[45_000..]);
}

#[tokio::test]
async fn wrong_ranges_are_not_believed() {
    for wrong in ["bytes 4-9/10", "bytes 5-9/11", "bytes 5-8/10", "nonsense"] {
        let (address, log) = serve(move |request, _| match request.header("range") {
            Some(_) => answer("206 Partial Content", &[&format!("Content-Range: {wrong}")], b"WRONG"),
            None => answer("200 OK", &[], b"0123456789"),
        })
        .await;
        assert_eq!(read(&repository(address), 10, 5).await.unwrap(), b"56789", "{wrong}");
        assert_eq!(log.all().len(), 2);
    }
    let (address, _) = serve(|request, _| match request.header("range") {
        Some(_) => answer("416 Range Not Satisfiable", &[], b""),
        None => answer("200 OK", &[], b"0123456789"),
    })
    .await;
    assert_eq!(read(&repository(address), 10, 5).await.unwrap(), b"56789");
}

#[tokio::test]
async fn manifests_are_what_their_digest_says() {
    let (address, _) = serve(|_, _| answer("200 OK", &["Content-Type: application/json; charset=x"], b"{}")).await;
    let got = repository(address).manifest(Some(&sha256(b"{}"))).await.unwrap();
    assert_eq!(
        (got.bytes.as_slice(), got.media_type.as_str(), got.digest),
        (&b"{}"[..], "application/json", sha256(b"{}"))
    );
    let wrong = repository(address).manifest(Some(&sha256(b"other"))).await.unwrap_err();
    assert!(
        matches!(&wrong, Error::Corrupt(t) if t.starts_with("manifest verification failed for digest sha256:")),
        "{wrong}"
    );
    let header = format!("Docker-Content-Digest: {}", sha256(b"other"));
    let (address, _) = serve(move |_, _| answer("200 OK", &[&header], b"{}")).await;
    assert!(matches!(repository(address).manifest(None).await, Err(Error::Corrupt(_))));
    let huge = vec![b' '; registry::MANIFEST_LIMIT + 1];
    let (address, _) = serve(move |_, _| answer("200 OK", &[], &huge)).await;
    let error = repository(address).manifest(None).await.unwrap_err();
    assert_eq!(error, Error::Protocol("manifest is larger than 4194304 bytes".into()));
}

#[tokio::test]
async fn redirects_end_and_carry_no_credentials() {
    let (elsewhere, log) = serve(|_, _| answer("200 OK", &[], b"hello")).await;
    let to = format!("Location: http://{elsewhere}/data?x=y");
    let (address, home) = serve(move |request, _| match request.header("authorization") {
        Some(BASIC) => answer("307 Temporary Redirect", &[&to], b"gone"),
        _ => answer("401 Unauthorized", &["WWW-Authenticate: Basic realm=\"x\""], b""),
    })
    .await;
    let repository_ = client().repository(&format!("{address}/app").parse().unwrap(), secret());
    assert_eq!(read(&repository_, 5, 0).await.unwrap(), b"hello");
    assert_eq!(home.all().len(), 2);
    let there = log.all();
    assert_eq!((there.len(), there[0].path.as_str(), there[0].header("authorization")), (1, "/data?x=y", None));

    let (address, log) = serve(|_, _| answer("302 Found", &["Location: /again"], b"")).await;
    let error = read(&repository(address), 5, 0).await.unwrap_err();
    assert!(matches!(&error, Error::Protocol(t) if t.ends_with("stopped after 5 redirects")), "{error}");
    assert_eq!(log.all().len(), 6);
    for bad in ["file:///etc/passwd", "http://169.254.169.254/latest", "http://me:secret@127.0.0.1/"] {
        let (address, log) = serve(move |_, _| answer("302 Found", &[&format!("Location: {bad}")], b"")).await;
        assert!(matches!(read(&repository(address), 5, 0).await, Err(Error::Protocol(_))), "{bad}");
        assert_eq!(log.all().len(), 1);
    }
}

#[tokio::test]
async fn a_401_is_answered_once() {
    let (address, log) = serve(|_, _| answer("401 Unauthorized", &["WWW-Authenticate: Basic realm=x"], b"")).await;
    let with = client().repository(&format!("{address}/app").parse().unwrap(), secret());
    let error = with.manifest(None).await.unwrap_err();
    assert_eq!(error, Error::Unauthorized("unauthorized: authentication required".into()));
    assert_eq!(log.all().len(), 2);
    let error = repository(address).manifest(None).await.unwrap_err();
    let url = format!("http://{address}/v2/app/manifests/1");
    assert_eq!(error, Error::Unauthorized(format!("Get \"{url}\": no basic auth credentials")));
}

#[tokio::test]
async fn bearer_tokens_are_fetched_once_and_only_from_a_decent_realm() {
    let address_of_realm = Arc::new(Mutex::new(String::new()));
    let realm = address_of_realm.clone();
    let (address, log) = serve(move |request, _| {
        if request.path.starts_with("/token") {
            assert_eq!(request.header("authorization"), Some(BASIC));
            return answer("200 OK", &[], br#"{"token":"T","expires_in":300}"#);
        }
        if request.header("authorization") == Some("Bearer T") {
            return answer("200 OK", &[], b"{}");
        }
        let realm = realm.lock().unwrap().clone();
        let challenge =
            format!(r#"WWW-Authenticate: Bearer realm="{realm}",service="reg",scope="repository:app:pull""#);
        answer("401 Unauthorized", &[&challenge], b"")
    })
    .await;
    *address_of_realm.lock().unwrap() = format!("http://{address}/token");
    let client_ = client();
    for _ in 0..2 {
        let repository = client_.repository(&format!("{address}/app:1").parse().unwrap(), secret());
        repository.manifest(None).await.unwrap();
    }
    let token = "/token?account=me&scope=repository%3Aapp%3Apull&service=reg".to_owned();
    let manifest = "/v2/app/manifests/1".to_owned();
    assert_eq!(log.paths(), [manifest.clone(), token, manifest.clone(), manifest]);

    let (thief, stolen) = serve(|_, _| answer("200 OK", &[], br#"{"token":"T"}"#)).await;
    for realm in
        [format!("http://localhost:{}/token", thief.port()), "http://169.254.169.254/t".into(), "file:///x".into()]
    {
        *address_of_realm.lock().unwrap() = realm.clone();
        let fresh = client().repository(&format!("{address}/app:1").parse().unwrap(), secret());
        assert!(matches!(fresh.manifest(None).await, Err(Error::Protocol(_))), "{realm}");
    }
    assert_eq!(stolen.all().len(), 0);
}

#[tokio::test]
async fn passing_troubles_pass() {
    let (address, log) = serve(|_, before| match before {
        0 => answer("429 Too Many Requests", &["Retry-After: 0"], b""),
        1 => answer("503 Service Unavailable", &[], b"<html>"),
        2 => vec![Step::Reset],
        _ => answer("200 OK", &[], b"{}"),
    })
    .await;
    repository(address).manifest(None).await.unwrap();
    assert_eq!(log.all().len(), 4);
    let (address, log) = serve(|_, _| answer("500 Internal Server Error", &[], b"<html>")).await;
    let error = repository(address).manifest(None).await.unwrap_err();
    assert_eq!(error, Error::Server("received unexpected HTTP status: 500 Internal Server Error".into()));
    assert_eq!(log.all().len(), 4);
    let (address, log) = serve(|_, _| answer("429 Too Many Requests", &["Retry-After: 1000000000"], b"")).await;
    assert!(matches!(repository(address).manifest(None).await, Err(Error::TooManyRequests(_))));
    assert_eq!(log.all().len(), 1);
}

#[tokio::test]
async fn connections_are_used_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::new(Mutex::new(0));
    let count = accepted.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            *count.lock().unwrap() += 1;
            tokio::spawn(connection(stream, Arc::new(|_: &Request, _| answer("200 OK", &[], b"{}")), Log::default()));
        }
    });
    let repository = repository(address);
    for _ in 0..5 {
        repository.manifest(None).await.unwrap();
        assert_eq!(read(&repository, 2, 0).await.unwrap(), b"{}");
    }
    // One for the attempt at https, one for everything else.
    assert_eq!(*accepted.lock().unwrap(), 2);
}

#[tokio::test]
async fn nobody_there() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = repository(address).manifest(None).await.unwrap_err();
    let text = format!("Get \"http://{address}/v2/\": dial tcp {address}: connect: connection refused");
    assert_eq!(error, Error::Unreachable(text));
    let nowhere = client().repository(&"registry.invalid/app".parse().unwrap(), None);
    let error = nowhere.manifest(None).await.unwrap_err().to_string();
    assert!(error.starts_with("Get \"https://registry.invalid/v2/\": dial tcp: lookup registry.invalid"), "{error}");
}

#[tokio::test]
async fn mirrors_come_first_and_see_no_credentials() {
    let body = br#"{"a":1}"#;
    let (address, log) = serve(move |_, _| answer("200 OK", &[], body)).await;
    let config = Config { mirrors: vec![format!("http://{address}/cache/")], certs: Vec::new(), ..Config::default() };
    let repository = Client::new(config).unwrap().repository(&"debian:13".parse().unwrap(), secret());
    assert_eq!(repository.manifest(None).await.unwrap().digest, sha256(body));
    let seen = log.all();
    assert_eq!(
        (seen[0].path.as_str(), seen[0].header("authorization")),
        ("/cache/v2/library/debian/manifests/13", None)
    );
    assert!(Client::new(Config { mirrors: vec!["ftp://x".into()], ..Config::default() }).is_err());
}
