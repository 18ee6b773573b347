//! run, create

use super::lifecycle::path;
use super::pull;
use crate::engine::{Ask, Engine, next_piece};
use crate::failure::{Failure, Result, describe};
use crate::flags::{Parsed, quote};
use crate::stream::{DETACH_KEYS, End, Join, follow_size, forward_signals, join};
use crate::{options, output, reference, terminal};
use api::container::{CreateContainer, Created, Wait};
use std::io::Write;

/// A failure of `run`, with Docker's words around it.
fn with_help(engine: &Engine<'_>, failure: Failure, verb: &str) -> Failure {
    let program = &engine.settings.program;
    Failure {
        text: format!("{program}: {}\n\nRun '{program} {verb} --help' for more information", failure.text),
        ..failure
    }
}

/// The exit code that a failure to start means to a shell.
fn start_code(text: &str) -> u8 {
    let says = |phrases: &[&str]| phrases.iter().any(|p| text.contains(p));
    match () {
        () if says(&["executable file not found", "no such file or directory"]) => 127,
        () if says(&["permission denied", "is a directory"]) => 126,
        () => 125,
    }
}

/// `create`
pub async fn create(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let bad = |text: String| with_help(engine, Failure::new(text).with_code(125), "create");
    check_pull(flags).map_err(bad)?;
    let body = options::create(flags).map_err(bad)?;
    let created = make(engine, flags, body).await?;
    output::raw(format!("{}\n", created.id).as_bytes())
}

/// `run`
pub async fn run(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let bad = |text: String| with_help(engine, Failure::new(text).with_code(125), "run");
    check_pull(flags).map_err(bad)?;
    let mut body = options::create(flags).map_err(bad)?;
    let detach = flags.is("detach");
    let config = &mut body.config;
    if detach {
        if flags.changed("attach") {
            return Err(Failure::new("conflicting options: cannot specify both --attach and --detach"));
        }
        config.attach_stdin = false;
        config.attach_stdout = false;
        config.attach_stderr = false;
        config.stdin_once = false;
    } else if config.tty && config.attach_stdin && !terminal::stdin_is_terminal() {
        return Err(Failure::new("the input device is not a TTY"));
    }
    let detach_keys = detach_keys(engine, flags)?;
    let attached = Join {
        stdin: config.attach_stdin,
        stdout: config.attach_stdout,
        stderr: config.attach_stderr,
        tty: config.tty,
        detach_keys,
    };
    if let (Some(host), Some((rows, columns))) = (&mut body.host_config, terminal::size()) {
        host.console_size = [rows, columns];
    }
    if !detach {
        engine.asynchronous().await;
    }
    let created = make(engine, flags, body).await.map_err(|failure| {
        let failure = failure.clone().with_code(if failure.code == 1 { 125 } else { failure.code });
        with_help(engine, failure, "run")
    })?;
    if detach || !(attached.stdin || attached.stdout || attached.stderr) {
        if let Err(failure) = start(engine, &created.id).await {
            take_back(engine, flags, &created.id).await;
            return Err(failure);
        }
        return output::raw(format!("{}\n", created.id).as_bytes());
    }
    engine.asynchronous().await;
    let session = session(engine, flags, &created.id, &attached);
    if flags.get("sig-proxy").is_none_or(|_| flags.is("sig-proxy")) {
        tokio::select! {
            biased;
            ended = session => ended,
            () = forward_signals(engine, &created.id) => Ok(()),
        }
    } else {
        session.await
    }
}

async fn start(engine: &Engine<'_>, id: &str) -> Result<()> {
    engine.tell(Ask::post(format!("{}/start", path(id)))).await.map_err(|failure| {
        let code = start_code(&failure.text);
        with_help(engine, failure.with_code(code), "run")
    })
}

/// Removes the container of a `run` that could not start it: the next try finds its name and its ports free.
async fn take_back(engine: &Engine<'_>, flags: &Parsed, id: &str) {
    // With `--rm` the engine does it. What was wrong is what the user hears of, not that this failed too.
    if !flags.is("rm") {
        let _ = engine.tell(Ask::delete(path(id)).query("force", "1").query("v", "1")).await;
    }
    let cidfile = flags.text("cidfile");
    if !cidfile.is_empty() {
        let _ = std::fs::remove_file(cidfile);
    }
}

/// Attach, wait, start, and then everything until the container has ended.
async fn session(engine: &Engine<'_>, flags: &Parsed, id: &str, attached: &Join) -> Result<()> {
    let remove = flags.is("rm");
    let flag = |on: bool| if on { "1" } else { "0" };
    let ask = Ask::post(format!("{}/attach", path(id)))
        .query("stream", "1")
        .query("stdin", flag(attached.stdin))
        .query("stdout", flag(attached.stdout))
        .query("stderr", flag(attached.stderr));
    let connection = engine.hijack(ask).await?;
    let condition = if remove { "removed" } else { "next-exit" };
    // its headers come at once: from then on no exit is missed
    let mut waiting =
        engine.send(Ask::post(format!("{}/wait", path(id))).query("condition", condition)).await?.into_body();
    if let Err(failure) = start(engine, id).await {
        if remove {
            // the container is gone when this ends
            while let Ok(Some(_)) = next_piece(&mut waiting).await {}
        }
        take_back(engine, flags, id).await;
        return Err(failure);
    }
    let streams = join(connection, attached);
    let ended = match attached.tty && output::is_terminal() {
        true => tokio::select! {
            biased;
            ended = streams => ended?,
            () = follow_size(engine, format!("{}/resize", path(id))) => End::Closed,
        },
        false => streams.await?,
    };
    if ended == End::Detached {
        return Ok(());
    }
    finish(waiting).await
}

/// The container's exit code, as ours.
pub async fn finish(mut waiting: hyper::body::Incoming) -> Result<()> {
    let mut text = Vec::new();
    while let Some(piece) = next_piece(&mut waiting).await? {
        text.extend_from_slice(&piece);
    }
    let wait: Wait = serde_json::from_slice(&text).map_err(|_| {
        Failure::new("Error waiting for container: unexpected end of the engine's answer").with_code(125)
    })?;
    if let Some(error) = wait.error {
        return Err(Failure::new(format!("Error waiting for container: {}", error.message)).with_code(125));
    }
    match wait.status_code {
        0 => Ok(()),
        code => Err(Failure::exit(u8::try_from(code).unwrap_or(125))),
    }
}

/// The keys that leave, from the flag or `config.json`.
pub fn detach_keys(engine: &Engine<'_>, flags: &Parsed) -> Result<Vec<u8>> {
    let given = flags.text("detach-keys");
    if !given.is_empty() {
        return terminal::detach_keys(given).map_err(|_| {
            Failure::new(format!(
                "invalid detach keys ({given}): only a single character, or a ctrl- sequence, is allowed"
            ))
        });
    }
    if !flags.is("tty") && !flags.is("interactive") {
        return Ok(Vec::new());
    }
    let configured = &engine.settings.file().detach_keys;
    let text = if configured.is_empty() { DETACH_KEYS } else { configured };
    terminal::detach_keys(text).map_err(Failure::new)
}

fn check_pull(flags: &Parsed) -> std::result::Result<(), String> {
    match flags.text("pull") {
        "" | "always" | "missing" | "never" => Ok(()),
        other => Err(format!("invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\"")),
    }
}

/// The image as a name, unless it is an ID, which cannot be pulled.
fn image(text: &str) -> Result<Option<reference::Reference>> {
    if text.parse::<oci::Digest>().is_ok() {
        return Ok(None);
    }
    match text.parse() {
        Ok(name) => Ok(Some(name)),
        Err(oci::Error::ReferenceIsId(_)) => Ok(None),
        Err(why) => Err(Failure::new(why.to_string())),
    }
}

/// Creates the container, pulling the image if need be, and writes the cidfile.
async fn make(engine: &Engine<'_>, flags: &Parsed, body: CreateContainer) -> Result<Created> {
    let mut cid = CidFile::new(flags.text("cidfile"))?;
    let image = image(&body.config.image)?;
    let quiet = flags.is("quiet");
    let platform = match flags.get("platform") {
        Some(platform) => platform.to_string(),
        None => std::env::var("DOCKER_DEFAULT_PLATFORM").unwrap_or_default(),
    };
    check_platform(&platform)?;
    let fetch = async || match &image {
        Some(image) => pull::pull(engine, image, &platform, quiet, pull::To::Stderr).await,
        None => Err(Failure::new("invalid reference format")),
    };
    if flags.text("pull") == "always" {
        fetch().await?;
    }
    let ask = || {
        Ask::post("/containers/create")
            .query_some("name", flags.text("name"))
            .query_some("platform", &platform)
            .json(&body)
    };
    let created: Result<Created> = engine.fetch(ask()).await;
    let created = match (created, &image) {
        (Err(failure), Some(image))
            // also when there is one, but for another platform
            if failure.is_not_found() && matches!(flags.text("pull"), "" | "missing") =>
        {
            if !quiet {
                output::complain(&format!("Unable to find image '{}' locally", reference::complete(image)));
            }
            fetch().await?;
            engine.fetch(ask()).await?
        }
        (other, _) => other?,
    };
    for warning in &created.warnings {
        output::complain(&format!("WARNING: {warning}"));
    }
    cid.write(&created.id)?;
    Ok(created)
}

/// Refuses what names no platform, in the words of Docker's client.
fn check_platform(text: &str) -> Result<()> {
    if text.is_empty() || text.parse::<oci::Platform>().is_ok() {
        return Ok(());
    }
    let why = match text.split('/').count() {
        1 => "unknown operating system or architecture: invalid argument",
        _ => "cannot parse platform specifier: invalid argument",
    };
    Err(Failure::new(format!("error parsing specified platform: {}: {why}", quote(text))))
}

/// `--cidfile`: there before the container is, and gone when none comes of it.
struct CidFile(Option<(std::fs::File, String)>);

impl CidFile {
    fn new(path: &str) -> Result<CidFile> {
        if path.is_empty() {
            return Ok(CidFile(None));
        }
        if std::fs::exists(path).unwrap_or(false) {
            return Err(Failure::new(format!(
                "container ID file found, make sure the other container isn't running or delete {path}"
            )));
        }
        let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
        let file = file.map_err(|e| {
            let text = format!("failed to create the container ID file: open {path}: {}", describe(&e));
            let code = start_code(&text);
            // Docker takes these words for those of a command that is not there
            Failure::new(text).with_code(if code == 125 { 1 } else { code })
        })?;
        Ok(CidFile(Some((file, path.into()))))
    }

    fn write(&mut self, id: &str) -> Result<()> {
        let Some((file, path)) = &mut self.0 else { return Ok(()) };
        file.write_all(id.as_bytes()).map_err(|e| {
            Failure::new(format!("failed to write the container ID ({id}) to the file {path}: {}", describe(&e)))
        })?;
        self.0 = None;
        Ok(())
    }
}

impl Drop for CidFile {
    fn drop(&mut self) {
        if let Some((_, path)) = &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}
