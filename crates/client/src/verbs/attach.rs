//! attach, start

use super::lifecycle::path;
use super::run;
use super::run::{detach_keys, finish};
use crate::engine::{Ask, Engine};
use crate::failure::{Failure, Result};
use crate::flags::Parsed;
use crate::stream::{DETACH_KEYS, End, Join, follow_size, forward_signals, join};
use crate::{output, terminal};
use api::container::ContainerInspect;

/// `attach`
pub async fn attach(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let name = &flags.args[0];
    let container: ContainerInspect = engine.fetch(Ask::get(format!("{}/json", path(name)))).await?;
    if !container.state.running {
        return Err(Failure::new("You cannot attach to a stopped container, start it first"));
    }
    if container.state.paused {
        return Err(Failure::new("You cannot attach to a paused container, unpause it first"));
    }
    if container.state.restarting {
        return Err(Failure::new("You cannot attach to a restarting container, wait until it is running"));
    }
    let stdin = !flags.is("no-stdin") && container.config.open_stdin;
    let tty = container.config.tty;
    if stdin && tty && !terminal::stdin_is_terminal() {
        return Err(Failure::new("the input device is not a TTY"));
    }
    let keys = keys(engine, flags)?;
    let waiting = engine.send(Ask::post(format!("{}/wait", path(&container.id)))).await?.into_body();
    let attached = Join { stdin, stdout: true, stderr: true, tty, detach_keys: keys };
    let connection = engine.hijack(ask(&container.id, &attached, flags)).await?;
    let session = async {
        match streams(engine, &container.id, connection, &attached).await? {
            End::Detached => Err(Failure::new("read escape sequence")),
            End::Closed => finish(waiting).await,
        }
    };
    with_signals(engine, &container.id, proxies(flags) && !tty, session).await
}

fn keys(engine: &Engine<'_>, flags: &Parsed) -> Result<Vec<u8>> {
    if flags.changed("detach-keys") {
        return detach_keys(engine, flags);
    }
    let configured = &engine.settings.file().detach_keys;
    terminal::detach_keys(if configured.is_empty() { DETACH_KEYS } else { configured }).map_err(Failure::new)
}

fn proxies(flags: &Parsed) -> bool {
    !flags.changed("sig-proxy") || flags.is("sig-proxy")
}

fn ask(id: &str, attached: &Join, flags: &Parsed) -> Ask {
    let flag = |on: bool| if on { "1" } else { "0" };
    Ask::post(format!("{}/attach", path(id)))
        .query("stream", "1")
        .query("stdin", flag(attached.stdin))
        .query("stdout", flag(attached.stdout))
        .query("stderr", flag(attached.stderr))
        .query_some("detachKeys", flags.text("detach-keys"))
}

/// Streams until they end, the size of the terminal following ours.
pub async fn streams(
    engine: &Engine<'_>,
    id: &str,
    connection: crate::engine::Hijacked,
    attached: &Join,
) -> Result<End> {
    let streams = join(connection, attached);
    if !(attached.tty && output::is_terminal()) {
        return streams.await;
    }
    tokio::select! {
        biased;
        ended = streams => ended,
        () = follow_size(engine, format!("{}/resize", path(id))) => Ok(End::Closed),
    }
}

async fn with_signals(
    engine: &Engine<'_>,
    id: &str,
    forward: bool,
    session: impl Future<Output = Result<()>>,
) -> Result<()> {
    if !forward {
        return session.await;
    }
    tokio::select! {
        biased;
        ended = session => ended,
        () = forward_signals(engine, id) => Ok(()),
    }
}

/// `start`
pub async fn start(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    for name in ["checkpoint", "checkpoint-dir"] {
        if flags.changed(name) {
            return Err(Failure::new(format!(
                "\"--{name}\" is only supported on a Docker daemon with experimental features enabled"
            )));
        }
    }
    if !flags.is("attach") && !flags.is("interactive") {
        let mut failed = Vec::new();
        for name in &flags.args {
            match engine.tell(Ask::post(format!("{}/start", path(name)))).await {
                Ok(()) => output::print(&format!("{name}\n"))?,
                Err(failure) => {
                    output::complain(&failure.text);
                    failed.push(name.as_str());
                }
            }
        }
        return match failed.is_empty() {
            true => Ok(()),
            false => Err(Failure::new(format!("Error: failed to start containers: {}", failed.join(", ")))),
        };
    }
    if flags.args.len() > 1 {
        return Err(Failure::new("you cannot start and attach multiple containers at once"));
    }
    engine.asynchronous().await;
    start_attached(engine, flags).await
}

async fn start_attached(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let container: ContainerInspect = engine.fetch(Ask::get(format!("{}/json", path(&flags.args[0])))).await?;
    let id = &container.id;
    let attached = Join {
        stdin: flags.is("interactive") && container.config.open_stdin,
        stdout: container.config.attach_stdout || flags.is("attach"),
        stderr: container.config.attach_stderr || flags.is("attach"),
        tty: container.config.tty,
        detach_keys: keys(engine, flags)?,
    };
    if attached.stdin && attached.tty && !terminal::stdin_is_terminal() {
        return Err(Failure::new("the input device is not a TTY"));
    }
    let removed = container.host_config.auto_remove;
    let condition = if removed { "removed" } else { "next-exit" };
    let connection = engine.hijack(ask(id, &attached, flags)).await?;
    let waiting = engine.send(Ask::post(format!("{}/wait", path(id))).query("condition", condition)).await?.into_body();
    engine.tell(Ask::post(format!("{}/start", path(id)))).await?;
    let session = async {
        match streams(engine, id, connection, &attached).await? {
            End::Detached => Ok(()),
            End::Closed => run::finish(waiting).await,
        }
    };
    with_signals(engine, id, proxies(flags) && !attached.tty, session).await
}
