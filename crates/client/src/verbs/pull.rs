//! pull, and the credentials for it

use crate::config::Settings;
use crate::engine::{Ask, Engine, next_piece};
use crate::failure::{Failure, Result};
use crate::flags::Parsed;
use crate::progress::Display;
use crate::reference::{self, Reference};
use crate::{help, output};
use api::auth::{AuthConfig, HEADER};
use api::message::JsonMessage;
use base64::Engine as _;
use std::io::Write;
use std::process::{Command, Stdio};

/// Where progress goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// Of `pull` and `import`.
    Stdout,
    /// Of `run`, whose output belongs to the container.
    Stderr,
}

/// `pull`
pub async fn pull_command(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let name = &flags.args[0];
    let mut image = reference::parse(name)?;
    let quiet = flags.is("quiet");
    let all = flags.is("all-tags");
    let complete = image.tag().is_some() || image.digest().is_some();
    if all && complete {
        return Err(Failure::new("tag can't be used with --all-tags/-a"));
    }
    if !all && !complete {
        image = image.or_latest();
        if !quiet {
            output::print("Using default tag: latest\n")?;
        }
    }
    let platform = match flags.get("platform") {
        Some(platform) => platform.to_string(),
        None => std::env::var("DOCKER_DEFAULT_PLATFORM").unwrap_or_default(),
    };
    fetch(engine, &image, &platform, quiet, To::Stdout, all).await?;
    let full = if all { image.repository() } else { image.to_string() };
    output::print(&format!("{full}\n"))
}

/// Pulls an image and shows how it goes.
pub async fn pull(engine: &Engine<'_>, image: &Reference, platform: &str, quiet: bool, to: To) -> Result<()> {
    fetch(engine, image, platform, quiet, to, false).await
}

async fn fetch(engine: &Engine<'_>, image: &Reference, platform: &str, quiet: bool, to: To, all: bool) -> Result<()> {
    let tag = match (image.digest(), image.tag()) {
        _ if all => "",
        (Some(digest), _) => digest.as_str(),
        (None, Some(tag)) => tag,
        (None, None) => "latest",
    };
    let mut ask = Ask::post("/images/create")
        .query("fromImage", image.repository())
        .query_some("tag", tag)
        .query_some("platform", platform);
    if let Some(auth) = credentials(engine.settings, reference::registry(image))? {
        ask = ask.header(HEADER, auth.to_header());
    }
    let body = engine.send(ask).await?.into_body();
    show(body, quiet, to).await
}

/// Shows a stream of messages to its end.
pub async fn show(mut body: hyper::body::Incoming, quiet: bool, to: To) -> Result<()> {
    let terminal = match to {
        To::Stdout => output::is_terminal(),
        To::Stderr => rustix::termios::isatty(rustix::stdio::stderr()),
    };
    let width = crate::terminal::size().map_or_else(help::width, |(_, columns)| columns as usize);
    let mut display = Display::new(terminal, width);
    let mut pending: Vec<u8> = Vec::new();
    while let Some(piece) = next_piece(&mut body).await? {
        pending.extend_from_slice(&piece);
        let Some(end) = pending.iter().rposition(|b| *b == b'\n') else { continue };
        let rest = pending.split_off(end + 1);
        let lines = std::mem::replace(&mut pending, rest);
        lines_shown(&lines, &mut display, quiet, to)?;
    }
    lines_shown(&pending, &mut display, quiet, to)
}

fn lines_shown(lines: &[u8], display: &mut Display, quiet: bool, to: To) -> Result<()> {
    let mut text = String::new();
    let mut failed = None;
    for line in lines.split(|b| *b == b'\n').filter(|l| !l.trim_ascii().is_empty()) {
        let mut message: JsonMessage =
            serde_json::from_slice(line).map_err(|e| Failure::new(format!("the engine's answer is broken: {e}")))?;
        if let Some(detail) = &message.error_detail {
            failed = Some(Failure::new(match detail.message.is_empty() {
                true => message.error.clone(),
                false => detail.message.clone(),
            }));
            break;
        }
        // words from a registry must not drive the terminal
        message.status = output::visible(&message.status).into_owned();
        message.id = output::visible(&message.id).into_owned();
        message.stream = output::visible(&message.stream).into_owned();
        text.push_str(&display.show(&message, super::now()));
    }
    if !quiet && !text.is_empty() {
        match to {
            To::Stdout => output::raw(text.as_bytes())?,
            To::Stderr => std::io::stderr().write_all(text.as_bytes())?,
        }
    }
    failed.map_or(Ok(()), Err)
}

/// What `config.json` or a helper of it knows about a registry.
pub fn credentials(settings: &Settings, registry: &str) -> Result<Option<AuthConfig>> {
    let file = settings.file();
    let helper = file.cred_helpers.get(registry).unwrap_or(&file.creds_store);
    if !helper.is_empty()
        && let Some(found) = from_helper(helper, registry)?
    {
        return Ok(Some(found));
    }
    let host = |key: &str| {
        let bare = key.trim_start_matches("https://").trim_start_matches("http://");
        bare.split('/').next().unwrap_or(bare).to_string()
    };
    let entry = file
        .auths
        .get(registry)
        .or_else(|| file.auths.iter().find(|(key, _)| host(key) == host(registry)).map(|(_, auth)| auth));
    let Some(mut auth) = entry.cloned().filter(|a| !a.is_empty()) else { return Ok(None) };
    if auth.username.is_empty() && !auth.auth.is_empty() {
        let decoded = base64::engine::general_purpose::STANDARD.decode(auth.auth.trim()).unwrap_or_default();
        let decoded = String::from_utf8_lossy(&decoded).into_owned();
        let Some((user, password)) = decoded.split_once(':') else {
            return Err(Failure::new(format!("the credentials for {registry} in config.json are not user:password")));
        };
        auth.username = user.into();
        auth.password = password.trim_matches('\0').into();
        auth.auth.clear();
    }
    auth.serveraddress = registry.into();
    Ok(Some(auth))
}

/// Asks `docker-credential-NAME get`.
fn from_helper(name: &str, registry: &str) -> Result<Option<AuthConfig>> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        username: String,
        secret: String,
    }
    let program = format!("docker-credential-{name}");
    let failed = |why: String| Failure::new(format!("error getting credentials - err: {why}"));
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| failed(format!("exec: \"{program}\": {}", crate::failure::describe(&e))))?;
    if let Some(mut stdin) = child.stdin.take() {
        // a helper that does not read its input answers all the same
        let _ = stdin.write_all(registry.as_bytes());
    }
    let output = child.wait_with_output().map_err(|e| failed(e.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return match text.trim() {
            "credentials not found in native keychain" => Ok(None),
            other => Err(failed(format!("{}, out: `{other}`", output.status))),
        };
    }
    let answer: Answer = serde_json::from_str(&text).map_err(|e| failed(e.to_string()))?;
    let mut auth = AuthConfig { serveraddress: registry.into(), ..AuthConfig::default() };
    match answer.username.as_str() {
        "<token>" => auth.identitytoken = answer.secret,
        _ => (auth.username, auth.password) = (answer.username, answer.secret),
    }
    Ok(Some(auth))
}
