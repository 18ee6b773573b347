//! Which engine to speak to, and `config.json`, which is read only when something in it is needed.

use crate::failure::{Failure, Result, describe};
use crate::flags::Parsed;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Where the engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket; ours is started when nobody answers.
    Unix {
        /// The socket.
        path: PathBuf,
        /// Nobody chose it: the engine is started when it is not there.
        ours: bool,
    },
    /// Plain HTTP.
    Tcp(String),
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Endpoint::Unix { path, .. } => write!(f, "unix://{}", path.display()),
            Endpoint::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

/// The socket of an engine that nobody configured.
pub const SOCKET: &str = api::DEFAULT_SOCKET;

/// What the start of the command line and the environment say.
#[derive(Debug)]
pub struct Settings {
    /// `dhow` or `docker`.
    pub program: String,
    /// The directory of `config.json`.
    pub directory: PathBuf,
    /// The engine.
    pub endpoint: Endpoint,
    /// `DOCKER_API_VERSION`.
    pub api_version: Option<String>,
    /// `--debug`: requests are told of.
    pub debug: bool,
    file: OnceLock<File>,
}

/// `config.json`, as far as it concerns us.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct File {
    /// Credentials by registry.
    pub auths: HashMap<String, api::auth::AuthConfig>,
    /// The program that keeps credentials.
    pub creds_store: String,
    /// Programs by registry.
    pub cred_helpers: HashMap<String, String>,
    /// `ps --format`
    pub ps_format: String,
    /// `images --format`
    pub images_format: String,
    /// `network ls --format`
    pub networks_format: String,
    /// `volume ls --format`
    pub volumes_format: String,
    /// `stats --format`
    pub stats_format: String,
    /// Keys that leave a container.
    pub detach_keys: String,
    /// The context that `context use` chose.
    pub current_context: String,
    /// Headers of every request.
    #[serde(rename = "HttpHeaders")]
    pub http_headers: HashMap<String, String>,
    /// Proxies that containers are told of.
    pub proxies: HashMap<String, HashMap<String, String>>,
}

/// Levels of the client's own messages; it has none between debugging and failure.
const LEVELS: [&str; 8] = ["panic", "fatal", "error", "warn", "warning", "info", "debug", "trace"];

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

/// The directory of `config.json`.
pub fn directory(globals: &Parsed) -> PathBuf {
    match globals.get("config").map(str::to_string).or_else(|| variable("DOCKER_CONFIG")) {
        Some(path) => path.into(),
        None => PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".docker"),
    }
}

impl Settings {
    /// Where the engine listens that is started by itself, if that is the one that is spoken to.
    pub fn own_socket(&self) -> Option<&std::path::Path> {
        match &self.endpoint {
            Endpoint::Unix { path, ours: true } => Some(path),
            _ => None,
        }
    }

    /// From the flags before the command and the environment.
    pub fn new(program: &str, globals: &Parsed) -> Result<Settings> {
        for name in ["tls", "tlsverify", "tlscacert", "tlscert", "tlskey"] {
            if globals.changed(name) {
                return Err(Failure::new(format!("--{name}: TLS to the engine is not part of this version")));
            }
        }
        let level = globals.text("log-level").to_ascii_lowercase();
        if globals.changed("log-level") && !LEVELS.contains(&level.as_str()) {
            let level = globals.text("log-level");
            return Err(Failure::new(format!("Unable to parse logging level: {level}")));
        }
        let hosts = globals.all("host");
        if hosts.len() > 1 {
            return Err(Failure::new("Failed to initialize: unable to resolve docker endpoint: Specify only one -H"));
        }
        let context = globals.get("context").map(str::to_string).or_else(|| variable("DOCKER_CONTEXT"));
        let endpoint = match (hosts.first(), context) {
            (Some(_), Some(_)) if globals.changed("context") => {
                return Err(Failure::new("conflicting options: cannot specify both --host and --context"));
            }
            (Some(host), _) => parse_host(host)?,
            (None, Some(context)) if context != "default" => {
                return Err(Failure::new(format!(
                    "context {}: contexts are not part of this version; use -H or DOCKER_HOST",
                    crate::flags::quote(&context)
                )));
            }
            _ => match variable("DHOW_HOST").or_else(|| variable("DOCKER_HOST")) {
                Some(host) => parse_host(&host)?,
                None => default_endpoint(program),
            },
        };
        Ok(Settings {
            program: program.into(),
            directory: directory(globals),
            endpoint,
            debug: globals.is("debug") || matches!(level.as_str(), "debug" | "trace"),
            api_version: variable("DOCKER_API_VERSION").map(|v| v.trim_start_matches('v').to_string()),
            file: OnceLock::new(),
        })
    }

    /// `config.json`; a broken one is said once and then ignored, as Docker does.
    pub fn file(&self) -> &File {
        self.file.get_or_init(|| {
            let path = self.directory.join("config.json");
            match std::fs::read(&path) {
                Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|e| {
                    crate::output::complain(&format!("WARNING: Error parsing config file ({}): {e}", path.display()));
                    File::default()
                }),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => File::default(),
                Err(e) => {
                    let why = describe(&e);
                    crate::output::complain(&format!(
                        "WARNING: Error loading config file: open {}: {why}",
                        path.display()
                    ));
                    File::default()
                }
            }
        })
    }
}

fn default_endpoint(program: &str) -> Endpoint {
    const DOCKER: &str = "/var/run/docker.sock";
    if program == "docker" && std::fs::exists(DOCKER).unwrap_or(false) {
        return Endpoint::Unix { path: DOCKER.into(), ours: false };
    }
    Endpoint::Unix { path: SOCKET.into(), ours: true }
}

fn parse_host(host: &str) -> Result<Endpoint> {
    let failed = |why: String| Failure::new(format!("Failed to initialize: unable to resolve docker endpoint: {why}"));
    if let Some(path) = host.strip_prefix("unix://") {
        let path = if path.is_empty() { "/var/run/docker.sock" } else { path };
        return Ok(Endpoint::Unix { path: path.into(), ours: path == SOCKET });
    }
    if let Some(address) = host.strip_prefix("tcp://").or_else(|| host.strip_prefix("http://")) {
        let address = address.trim_end_matches('/');
        let address = if address.is_empty() { "localhost:2375" } else { address };
        let with_port = match address.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => address.to_string(),
            Some((_, port)) if !port.ends_with(']') => {
                return Err(failed(format!("invalid bind address format: {host}")));
            }
            _ => format!("{address}:2375"),
        };
        return Ok(Endpoint::Tcp(with_port));
    }
    if host.starts_with("ssh://") {
        return Err(failed("ssh:// is not part of this version; forward the socket with ssh -L".into()));
    }
    if !host.contains("://") {
        // A host, perhaps with a port.
        return parse_host(&format!("tcp://{host}"));
    }
    Err(failed(format!("invalid bind address format: {host}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (host, want) in [
            ("unix:///a/b", Ok("unix:///a/b")),
            ("unix://", Ok("unix:///var/run/docker.sock")),
            ("tcp://1.2.3.4:5", Ok("tcp://1.2.3.4:5")),
            ("tcp://h", Ok("tcp://h:2375")),
            ("1.2.3.4:5", Ok("tcp://1.2.3.4:5")),
            ("name", Ok("tcp://name:2375")),
            (
                "bad://x",
                Err("Failed to initialize: unable to resolve docker endpoint: invalid bind address format: bad://x"),
            ),
        ] {
            match (parse_host(host), want) {
                (Ok(got), Ok(want)) => assert_eq!(got.to_string(), want),
                (Err(got), Err(want)) => assert_eq!(got.text, want),
                (got, want) => panic!("{host}: {got:?} for {want:?}"),
            }
        }
        assert!(parse_host("ssh://x").unwrap_err().text.contains("ssh://"));
    }
}
