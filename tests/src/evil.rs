//! A registry whose every answer the test makes up, and what images are made of.

use crate::NetNs;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `GET`, `HEAD`.
    pub method: String,
    /// With the query.
    pub path: String,
    /// As sent, names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Asked {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// An answer.
pub enum Answer {
    /// Status, headers, body; the length is said.
    Plain(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// These bytes on the wire, and the connection is closed.
    Raw(Vec<u8>),
    /// These bytes, and then zeros until the other side has enough.
    Endless(Vec<u8>),
}

/// 200 with a body.
pub fn found(media: &str, body: &[u8]) -> Answer {
    Answer::Plain(200, vec![("Content-Type", media.into())], body.to_vec())
}

/// 404.
pub fn missing() -> Answer {
    Answer::Plain(404, vec![], b"{\"errors\":[{\"code\":\"NAME_UNKNOWN\",\"message\":\"no\"}]}".to_vec())
}

/// A server in a network namespace. It ends with the test's process.
pub struct Evil {
    /// `127.0.0.1:<port>`
    pub host: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Evil {
    /// Serves on a free port of the namespace; `answer` is called in a thread of each connection.
    pub fn start(net: &NetNs, answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Evil {
        let namespace = std::fs::File::open(format!("/proc/{}/ns/net", net.pid())).expect("namespace");
        let (tell, told) = std::sync::mpsc::channel();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        std::thread::spawn(move || {
            let kind = Some(rustix::thread::LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), kind).expect("setns");
            drop(namespace);
            let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
            tell.send(listener.local_addr().expect("address").to_string()).expect("told");
            let answer = Arc::new(answer);
            for stream in listener.incoming().flatten() {
                let (answer, log) = (answer.clone(), log.clone());
                std::thread::spawn(move || serve(stream, &*answer, &log));
            }
        });
        Evil { host: told.recv().expect("the server's address"), asked }
    }

    /// All requests until now.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("lock").clone()
    }
}

fn serve(stream: TcpStream, answer: &dyn Fn(&Asked) -> Answer, log: &Mutex<Vec<Asked>>) -> Option<()> {
    let mut input = BufReader::new(stream.try_clone().ok()?);
    let mut out = stream;
    loop {
        let mut line = String::new();
        if input.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let mut words = line.split_whitespace();
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            input.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let asked = Asked { method, path, headers };
        log.lock().ok()?.push(asked.clone());
        match answer(&asked) {
            Answer::Plain(status, headers, body) => {
                let mut head = format!("HTTP/1.1 {status} Whatever\r\n");
                if !headers.iter().any(|(name, _)| *name == "Content-Length") {
                    head.push_str(&format!("Content-Length: {}\r\n", body.len()));
                }
                for (name, value) in headers {
                    head.push_str(&format!("{name}: {value}\r\n"));
                }
                out.write_all(head.as_bytes()).ok()?;
                out.write_all(b"\r\n").ok()?;
                if asked.method != "HEAD" {
                    out.write_all(&body).ok()?;
                }
            }
            Answer::Raw(bytes) => {
                out.write_all(&bytes).ok()?;
                return None;
            }
            Answer::Endless(head) => {
                out.write_all(&head).ok()?;
                let zeros = vec![0; 1 << 20];
                while out.write_all(&zeros).is_ok() {}
                return None;
            }
        }
    }
}

/// `sha256:…` of some bytes.
pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{hex}")
}

/// Media types.
#[allow(missing_docs)]
pub mod media {
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    pub const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
    pub const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
}

/// A descriptor of some bytes.
pub fn descriptor(media: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media, "digest": digest(bytes), "size": bytes.len()})
}

/// An image as its documents, to be bent before it is served.
#[derive(Clone)]
pub struct Parts {
    /// The configuration.
    pub config: Vec<u8>,
    /// The manifest.
    pub manifest: Value,
    /// The layers as they travel.
    pub layers: Vec<Vec<u8>>,
}

/// A sound image of uncompressed layers.
pub fn image(layers: &[Vec<u8>]) -> Parts {
    let ids: Vec<String> = layers.iter().map(|l| digest(l)).collect();
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = json!({"architecture": architecture, "os": "linux", "config": {"Cmd": ["true"]},
        "rootfs": {"type": "layers", "diff_ids": ids}});
    with_config(config, layers)
}

/// The same with a configuration of the test's own.
pub fn with_config(config: Value, layers: &[Vec<u8>]) -> Parts {
    let config = config.to_string().into_bytes();
    let all: Vec<Value> = layers.iter().map(|l| descriptor(media::TAR, l)).collect();
    let manifest = json!({"schemaVersion": 2, "mediaType": media::MANIFEST,
        "config": descriptor(media::CONFIG, &config), "layers": all});
    Parts { config, manifest, layers: layers.to_vec() }
}

impl Parts {
    /// The answer of a registry that has this image under every name and tag.
    pub fn answer(&self, asked: &Asked) -> Answer {
        let manifest = self.manifest.to_string().into_bytes();
        if asked.path.contains("/manifests/") {
            let by = asked.path.rsplit('/').next().unwrap_or_default();
            if by.starts_with("sha256:") && by != digest(&manifest) {
                return missing();
            }
            return Answer::Plain(
                200,
                vec![("Content-Type", media::MANIFEST.into()), ("Docker-Content-Digest", digest(&manifest))],
                manifest,
            );
        }
        let all = self.layers.iter().chain([&self.config]);
        match all.into_iter().find(|blob| asked.path.ends_with(&digest(blob))) {
            Some(blob) => found("application/octet-stream", blob),
            None if asked.path == "/v2/" => found("application/json", b"{}"),
            None => missing(),
        }
    }
}
