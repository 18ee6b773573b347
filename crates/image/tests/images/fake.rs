//! A registry that serves what it is given and does what it is told, plain http on loopback.

use crate::layers::{Made, sha256};
use oci::image::media;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

#[derive(Default)]
struct Inside {
    /// Path → content type and bytes.
    content: HashMap<String, (String, Vec<u8>)>,
    /// Path → how many bytes of the body to send before cutting the connection, each once.
    cuts: HashMap<String, Vec<usize>>,
    /// Path, first byte, bytes sent.
    served: Vec<(String, usize, usize)>,
    /// Paths whose second half is not sent yet.
    held: Vec<String>,
}

#[derive(Clone)]
pub struct Fake {
    pub address: SocketAddr,
    inside: Arc<(Mutex<Inside>, Condvar)>,
}

impl Fake {
    pub fn start() -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let fake = Fake { address: listener.local_addr().unwrap(), inside: Arc::default() };
        let server = fake.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                std::thread::spawn(move || server.talk(stream));
            }
        });
        fake
    }

    pub fn reference(&self, name: &str) -> oci::Reference {
        format!("{}/{name}", self.address).parse().unwrap()
    }

    pub fn put(&self, path: &str, media: &str, bytes: &[u8]) {
        self.inside.0.lock().unwrap().content.insert(path.into(), (media.into(), bytes.to_vec()));
    }

    /// Serves an image as `name:tag`.
    pub fn serve(&self, name: &str, tag: &str, made: &Made) {
        let blob = |bytes: &[u8]| format!("/v2/{name}/blobs/{}", sha256(bytes));
        for by in [tag, sha256(&made.manifest).as_str()] {
            self.put(&format!("/v2/{name}/manifests/{by}"), media::OCI_MANIFEST, &made.manifest);
        }
        for bytes in std::iter::once(&made.config).chain(made.layers.iter().map(|(_, bytes)| bytes)) {
            self.put(&blob(bytes), "application/octet-stream", bytes);
        }
    }

    /// Cuts the next answer for a path after so many bytes.
    pub fn cut(&self, path: &str, after: usize) {
        self.inside.0.lock().unwrap().cuts.entry(path.into()).or_default().push(after);
    }

    /// Answers for a path stop in their middle until [`Fake::release`].
    pub fn hold(&self, path: &str) {
        self.inside.0.lock().unwrap().held.push(path.into());
    }

    pub fn release(&self) {
        self.inside.0.lock().unwrap().held.clear();
        self.inside.1.notify_all();
    }

    /// What was asked for with a path that contains `part`: first byte, bytes sent.
    pub fn served(&self, part: &str) -> Vec<(usize, usize)> {
        let inside = self.inside.0.lock().unwrap();
        inside.served.iter().filter(|s| s.0.contains(part)).map(|s| (s.1, s.2)).collect()
    }

    fn talk(&self, stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut stream = stream;
        loop {
            let mut line = Vec::new();
            reader.read_until(b'\n', &mut line).ok()?;
            // A TLS client hello is not a request.
            let line = String::from_utf8(line).ok().filter(|l| l.ends_with("\r\n") && l.starts_with(['G', 'H']));
            let Some(line) = line else {
                let _ = stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n");
                return None;
            };
            let path = line.split(' ').nth(1)?.to_owned();
            let mut first = 0;
            loop {
                let mut header = String::new();
                reader.read_line(&mut header).ok()?;
                if header == "\r\n" {
                    break;
                }
                if let Some(range) = header.to_lowercase().strip_prefix("range: bytes=") {
                    first = range.trim().trim_end_matches('-').parse().ok()?;
                }
            }
            self.answer(&mut stream, &path, first)?;
        }
    }

    fn answer(&self, stream: &mut TcpStream, path: &str, first: usize) -> Option<()> {
        let (found, cut) = {
            let mut inside = self.inside.0.lock().unwrap();
            let cut = inside.cuts.get_mut(path).filter(|c| !c.is_empty()).map(|c| c.remove(0));
            (inside.content.get(path).cloned(), cut)
        };
        let Some((media, bytes)) = found else {
            let body = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
            let length = body.len();
            return write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: {length}\r\n\r\n{body}").ok();
        };
        let rest = bytes.get(first..).unwrap_or_default();
        let status = if first > 0 {
            format!("206 Partial Content\r\nContent-Range: bytes {first}-{}/{}", bytes.len() - 1, bytes.len())
        } else {
            "200 OK".into()
        };
        let length = rest.len();
        write!(stream, "HTTP/1.1 {status}\r\nContent-Type: {media}\r\nContent-Length: {length}\r\n\r\n").ok()?;
        let sent = cut.unwrap_or(length).min(length);
        self.inside.0.lock().unwrap().served.push((path.into(), first, sent));
        let (half, other) = rest[..sent].split_at(sent / 2);
        stream.write_all(half).ok()?;
        let mut inside = self.inside.0.lock().unwrap();
        while inside.held.iter().any(|h| h == path) {
            inside = self.inside.1.wait(inside).unwrap();
        }
        drop(inside);
        stream.write_all(other).ok()?;
        (sent == length).then_some(())
    }
}
