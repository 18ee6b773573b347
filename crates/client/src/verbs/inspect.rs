//! inspect, container inspect, image inspect, network inspect, volume inspect

use crate::engine::{Ask, Engine, escape};
use crate::failure::{Failure, Result};
use crate::flags::{Parsed, quote};
use crate::format::{execute, parse, typed};
use crate::output;
use bytes::Bytes;
use template::Value;

/// Kinds in the order in which `inspect` tries them: where a name is looked for, and what Go calls it.
const KINDS: [(&str, &str); 4] = [
    ("container", "container.InspectResponse"),
    ("image", "image.InspectResponse"),
    ("network", "network.Inspect"),
    ("volume", "volume.Volume"),
];
/// Kinds that Docker knows and this engine has none of.
const ABSENT: [&str; 6] = ["config", "node", "plugin", "secret", "service", "task"];

fn ask(kind: &str, name: &str, flags: &Parsed) -> Result<Ask> {
    let name = escape(name);
    Ok(match kind {
        "container" => Ask::get(format!("/containers/{name}/json")).query_if("size", flags.is("size")),
        "image" => {
            let ask = Ask::get(format!("/images/{name}/json"));
            match flags.get("platform").filter(|p| !p.is_empty()) {
                Some(platform) => ask.query("platform", super::image::platform(platform)?),
                None => ask,
            }
        }
        "network" => {
            let ask = Ask::get(format!("/networks/{name}"));
            if flags.is("verbose") { ask.query("verbose", "true") } else { ask }
        }
        _ => Ask::get(format!("/volumes/{name}")),
    })
}

/// `inspect` of one kind.
pub async fn one_kind(engine: &Engine<'_>, flags: &Parsed, kind: &str) -> Result<()> {
    show(engine, flags, &[kind]).await
}

/// `inspect`
pub async fn inspect(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let wanted = flags.text("type");
    if flags.changed("type") && wanted.is_empty() {
        return Err(Failure::new(
            "type is empty: must be one of \"config\", \"container\", \"image\", \"network\", \"node\", \"plugin\", \"secret\", \"service\", \"task\", \"volume\"",
        ));
    }
    match KINDS.iter().find(|(kind, _)| *kind == wanted) {
        Some((kind, _)) => show(engine, flags, &[kind]).await,
        None if wanted.is_empty() => show(engine, flags, &KINDS.map(|(kind, _)| kind)).await,
        None if ABSENT.contains(&wanted) => {
            Err(Failure::new(format!("this engine has no objects of type {}", quote(wanted))))
        }
        None => Err(Failure::new(format!(
            "unknown type: {}: must be one of \"config\", \"container\", \"image\", \"network\", \"node\", \"plugin\", \"secret\", \"service\", \"task\", \"volume\"",
            quote(wanted)
        ))),
    }
}

async fn find(engine: &Engine<'_>, flags: &Parsed, kinds: &[&str], name: &str) -> Result<(&'static str, Bytes)> {
    for kind in kinds {
        match engine.bytes(ask(kind, name, flags)?).await {
            Ok(bytes) => {
                if flags.is("size") && *kind != "container" {
                    crate::output::complain(&format!("WARNING: --size ignored for {kind}"));
                }
                let go = KINDS.iter().find(|(k, _)| k == kind).map_or("", |(_, go)| go);
                return Ok((go, bytes));
            }
            // a name that is none to images may still be a network
            Err(failure) if kinds.len() > 1 && (failure.is_not_found() || is_no_name(&failure)) => {}
            Err(failure) => return Err(failure),
        }
    }
    Err(Failure::new(format!("Error: No such object: {name}")))
}

fn is_no_name(failure: &Failure) -> bool {
    failure.status == Some(400) && failure.text.contains("invalid reference format")
}

async fn show(engine: &Engine<'_>, flags: &Parsed, kinds: &[&str]) -> Result<()> {
    if let Some(wanted) = flags.get("platform").filter(|p| !p.is_empty()) {
        super::image::platform(wanted)?;
    }
    let format = flags.text("format");
    let template = match format {
        "" | "json" => None,
        // Docker's own code for a template that cannot be read
        text => Some(parse(text).map_err(|f| f.with_code(64))?),
    };
    let mut found = Vec::new();
    let mut text = String::new();
    let mut failed = Vec::new();
    for name in &flags.args {
        let (go, bytes) = match find(engine, flags, kinds, name).await {
            Ok(found) => found,
            Err(failure) => {
                failed.push(failure.text);
                continue;
            }
        };
        let Some(template) = &template else {
            found.push(String::from_utf8_lossy(&bytes).trim().to_string());
            continue;
        };
        let document: Value =
            serde_json::from_slice(&bytes).map_err(|e| Failure::new(format!("unable to read inspect data: {e}")))?;
        let structure = typed::structure(&document, go);
        let done = match template.execute(&structure) {
            Ok(done) => Ok(done),
            // `volume inspect` alone has nothing but the struct
            Err(e) if kinds == ["volume"] && !flags.changed("type") => {
                Err(Failure::new(format!("template parsing error: {e}")))
            }
            Err(_) => execute(&template.clone().missing_key_error(), &typed::raw(&document)),
        };
        match done {
            Ok(done) => text.push_str(&format!("{done}\n")),
            Err(failure) => failed.push(failure.text),
        }
    }
    match &template {
        Some(_) if text.is_empty() => text.push('\n'),
        Some(_) => {}
        None => {
            let all = format!("[{}]", found.join(","));
            text = match format {
                "json" => template::to_json(&serde_json::from_str::<Value>(&all).unwrap_or_default()),
                _ => template::indent(&all, "    "),
            };
            text.push('\n');
        }
    }
    output::print(&text)?;
    if failed.is_empty() { Ok(()) } else { Err(Failure::new(failed.join("\n"))) }
}
