//! exec

use super::lifecycle::path;
use super::run::detach_keys;
use crate::engine::{Ask, Engine};
use crate::failure::{Failure, Result};
use crate::flags::Parsed;
use crate::options::files;
use crate::stream::{End, Join, follow_size, join};
use crate::{output, terminal};
use api::exec::{CreateExec, ExecInspect, StartExec};
use api::go::List;

#[derive(serde::Deserialize)]
struct Made {
    #[serde(rename = "Id")]
    id: String,
}

/// `exec`
pub async fn exec(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let Some((container, command)) = flags.args.split_first() else {
        return Err(Failure::new("a container is required"));
    };
    let detach = flags.is("detach");
    let (tty, interactive) = (flags.is("tty"), flags.is("interactive"));
    let env = files::environment(&flags.all("env-file"), &flags.all("env")).map_err(Failure::new)?;
    let stdin = interactive && !detach;
    if stdin && tty && !terminal::stdin_is_terminal() {
        return Err(Failure::new("the input device is not a TTY"));
    }
    let size = if tty { terminal::size().map(|(rows, columns)| [rows, columns]) } else { None };
    let attached = Join {
        stdin,
        stdout: !detach,
        stderr: !detach && !tty,
        tty,
        detach_keys: if detach { Vec::new() } else { detach_keys(engine, flags)? },
    };
    let body = CreateExec {
        user: flags.text("user").into(),
        privileged: flags.is("privileged"),
        tty,
        console_size: size,
        attach_stdin: attached.stdin,
        attach_stdout: attached.stdout,
        attach_stderr: !detach,
        detach_keys: flags.text("detach-keys").into(),
        env: if env.is_empty() { List::null() } else { env.into() },
        working_dir: flags.text("workdir").into(),
        cmd: command.to_vec().into(),
    };
    let made: Made = engine.fetch(Ask::post(format!("{}/exec", path(container))).json(&body)).await?;
    let start = Ask::post(format!("/exec/{}/start", made.id)).json(&StartExec { detach, tty, console_size: size });
    if detach {
        return engine.tell(start).await;
    }
    let connection = engine.hijack(start).await?;
    let streams = join(connection, &attached);
    let ended = match tty && output::is_terminal() {
        true => tokio::select! {
            biased;
            ended = streams => ended?,
            () = follow_size(engine, format!("/exec/{}/resize", made.id)) => End::Closed,
        },
        false => streams.await?,
    };
    if ended == End::Detached {
        return Ok(());
    }
    let inspect: ExecInspect = engine.fetch(Ask::get(format!("/exec/{}/json", made.id))).await?;
    match inspect.exit_code.unwrap_or(0) {
        0 => Ok(()),
        code => Err(Failure::exit(u8::try_from(code).unwrap_or(1))),
    }
}
