//! logs, top, port, diff, export

use super::lifecycle::path;
use crate::engine::{Ask, Engine, next_piece};
use crate::failure::{Failure, Result, describe};
use crate::flags::{Parsed, quote};
use crate::format::{ports::joined, tabwriter, time};
use crate::output;
use api::container::{Change, ContainerInspect, Top};
use api::stream::{Decoder, Kind, Unframed};
use std::io::Write;

/// `logs`
pub async fn logs(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let name = &flags.args[0];
    let container: ContainerInspect = engine.fetch(Ask::get(format!("{}/json", path(name)))).await?;
    let now = jiff::Timestamp::now();
    let when = |flag: &str| match flags.text(flag) {
        "" => Ok(String::new()),
        text => {
            time::moment(text, now).map_err(|why| Failure::new(format!("invalid value for {}: {why}", quote(flag))))
        }
    };
    let tail = if flags.changed("tail") { flags.text("tail") } else { "all" };
    let ask = Ask::get(format!("{}/logs", path(&container.id)))
        .query("stdout", "1")
        .query("stderr", "1")
        .query_some("since", &when("since")?)
        .query_some("until", &when("until")?)
        .query_if("timestamps", flags.is("timestamps"))
        .query_if("details", flags.is("details"))
        .query_if("follow", flags.is("follow"))
        .query("tail", tail);
    let mut body = engine.send(ask).await?.into_body();
    // both streams may be the same file: order is kept by writing each piece as it comes
    let mut out = std::io::stdout().lock();
    let mut err = std::io::stderr().lock();
    let quiet = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::exit(141),
        _ => e.into(),
    };
    let mut decoder = Decoder::default();
    let mut buffered: Vec<u8> = Vec::new();
    while let Some(piece) = next_piece(&mut body).await? {
        if container.config.tty {
            out.write_all(&piece).and_then(|()| out.flush()).map_err(quiet)?;
            continue;
        }
        decoder
            .feed::<Broken>(&piece, |kind, bytes| {
                match kind {
                    Kind::Stdout | Kind::Stdin => buffered.extend_from_slice(bytes),
                    Kind::Stderr => {
                        out.write_all(&buffered)?;
                        out.flush()?;
                        buffered.clear();
                        err.write_all(bytes)?;
                    }
                    Kind::SystemError => {
                        return Err(Broken(Failure::new(format!(
                            "error from daemon in stream: {}",
                            String::from_utf8_lossy(bytes).trim_end()
                        ))));
                    }
                }
                Ok(())
            })
            .map_err(|b| b.0)?;
        out.write_all(&buffered).and_then(|()| out.flush()).map_err(quiet)?;
        buffered.clear();
    }
    Ok(())
}

/// What can go wrong between the wire and our output.
struct Broken(Failure);

impl From<Unframed> for Broken {
    fn from(error: Unframed) -> Broken {
        Broken(Failure::new(error.to_string()))
    }
}

impl From<std::io::Error> for Broken {
    fn from(error: std::io::Error) -> Broken {
        Broken(match error.kind() {
            std::io::ErrorKind::BrokenPipe => Failure::exit(141),
            _ => error.into(),
        })
    }
}

/// `top`
pub async fn top(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let ask = Ask::get(format!("{}/top", path(&flags.args[0]))).query_some("ps_args", &flags.args[1..].join(" "));
    let top: Top = engine.fetch(ask).await?;
    let mut text = top.titles.join("\t");
    text.push('\n');
    for process in &top.processes {
        text.push_str(&process.join("\t"));
        text.push('\n');
    }
    output::print(&tabwriter::align(&text, tabwriter::Layout { min_width: 20, padding: 3 }))
}

/// `port`
pub async fn port(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let container: ContainerInspect = engine.fetch(Ask::get(format!("{}/json", path(&flags.args[0])))).await?;
    let bound = &container.network_settings.ports;
    let mut lines = Vec::new();
    if let Some(wanted) = flags.args.get(1) {
        let (port, proto) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
        if port.parse::<u16>().is_err() {
            return Err(Failure::new(format!(
                "Error: invalid port ({port}): strconv.ParseUint: parsing {}: invalid syntax",
                crate::flags::quote(port)
            )));
        }
        let key = format!("{port}/{proto}");
        match bound.get(&key) {
            Some(bindings) if !bindings.is_empty() => {
                lines.extend(bindings.iter().map(|b| joined(&b.host_ip, &b.host_port)));
            }
            _ => return Err(Failure::new(format!("Error: No public port '{wanted}' published for {}", flags.args[0]))),
        }
    } else {
        let mut ports: Vec<_> = bound.iter().collect();
        ports.sort_by_key(|(port, _)| port.split('/').next().and_then(|p| p.parse::<u16>().ok()));
        for (port, bindings) in ports {
            lines.extend(bindings.iter().map(|b| format!("{port} -> {}", joined(&b.host_ip, &b.host_port))));
        }
    }
    output::print(&lines.iter().map(|l| format!("{l}\n")).collect::<String>())
}

/// `diff`
pub async fn diff(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let bytes = engine.bytes(Ask::get(format!("{}/changes", path(&flags.args[0])))).await?;
    let changes: Option<Vec<Change>> =
        serde_json::from_slice(&bytes).map_err(|e| Failure::new(format!("Error reading remote info: {e}")))?;
    let mut text = String::new();
    for change in changes.unwrap_or_default() {
        let kind = match change.kind {
            0 => 'C',
            1 => 'A',
            _ => 'D',
        };
        text.push_str(&format!("{kind} {}\n", change.path));
    }
    output::print(&text)
}

/// `export`
pub async fn export(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let target = flags.text("output");
    if target.is_empty() && output::is_terminal() {
        return Err(Failure::new("cowardly refusing to save to a terminal. Use the -o flag or redirect"));
    }
    let mut body = engine.send(Ask::get(format!("{}/export", path(&flags.args[0])))).await?.into_body();
    if target.is_empty() {
        while let Some(piece) = next_piece(&mut body).await? {
            output::raw(&piece)?;
        }
        return Ok(());
    }
    let failed =
        |e: std::io::Error| Failure::new(format!("failed to export container: open {target}: {}", describe(&e)));
    let mut file = std::fs::File::create(target).map_err(failed)?;
    while let Some(piece) = next_piece(&mut body).await? {
        file.write_all(&piece).map_err(failed)?;
    }
    Ok(())
}
