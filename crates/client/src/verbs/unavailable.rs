//! commit, push, save, load: requests that this version's engine answers with 501 and a sentence, and other engines
//! answer; and what not even the client has yet, refused by name.

use super::image::read_stream;
use super::pull::{To, show};
use crate::engine::{Ask, Engine, escape, next_piece};
use crate::failure::{Failure, Result, describe};
use crate::flags::Parsed;
use crate::{output, reference};
use std::io::Write;

/// Runs or refuses the command.
pub async fn refuse(engine: &Engine<'_>, path: &str, flags: &Parsed) -> Result<()> {
    match path {
        "container commit" => commit(engine, flags).await,
        "image push" => push(engine, flags).await,
        "image save" => save(engine, flags).await,
        "image load" => load(engine, flags).await,
        _ => {
            let program = &engine.settings.program;
            Err(Failure::new(format!("{program}: '{program} {path}' is not part of this version of dhow")))
        }
    }
}

async fn commit(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    #[derive(serde::Deserialize)]
    struct Made {
        #[serde(rename = "Id")]
        id: String,
    }
    let mut ask = Ask::post("/commit").query("container", flags.args[0].clone());
    if let Some(name) = flags.args.get(1) {
        let name = reference::parse(name)?;
        ask = ask.query("repo", name.familiar_repository()).query("tag", name.tag().unwrap_or("latest"));
    }
    ask = ask.query_some("author", flags.text("author")).query_some("comment", flags.text("message"));
    for change in flags.all("change") {
        ask = ask.query("changes", change);
    }
    let pause = !flags.changed("pause") || flags.is("pause");
    ask = ask.query("pause", if pause { "1" } else { "0" }).json(&serde_json::json!({}));
    let made: Made = engine.fetch(ask).await?;
    output::print(&format!("{}\n", made.id))
}

/// Images are of one platform here.
fn no_platform(flags: &Parsed, doing: &str) -> Result<()> {
    match flags.changed("platform") {
        true => Err(Failure::new(format!("--platform: {doing} one platform of an image is not part of this version"))),
        false => Ok(()),
    }
}

async fn push(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    no_platform(flags, "pushing")?;
    let name = reference::parse(&flags.args[0])?;
    let ask = Ask::post(format!("/images/{}/push", escape(&name.familiar_repository())));
    let ask = match flags.is("all-tags") {
        true => ask,
        false => ask.query("tag", name.tag().unwrap_or("latest")),
    };
    let auth = super::pull::credentials(engine.settings, reference::registry(&name))?.unwrap_or_default();
    let body = engine.send(ask.header(api::auth::HEADER, auth.to_header())).await?.into_body();
    show(body, flags.is("quiet"), To::Stdout).await
}

async fn save(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    no_platform(flags, "saving")?;
    let target = flags.text("output");
    if target.is_empty() && output::is_terminal() {
        return Err(Failure::new("cowardly refusing to save to a terminal. Use the -o flag or redirect"));
    }
    let mut ask = Ask::get("/images/get");
    for name in &flags.args {
        ask = ask.query("names", name.clone());
    }
    let mut body = engine.send(ask).await?.into_body();
    let mut file = match target {
        "" => None,
        path => Some(std::fs::File::create(path).map_err(|e| Failure::new(format!("open {path}: {}", describe(&e))))?),
    };
    while let Some(piece) = next_piece(&mut body).await? {
        match &mut file {
            Some(file) => file.write_all(&piece)?,
            None => output::raw(&piece)?,
        }
    }
    Ok(())
}

async fn load(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    no_platform(flags, "loading")?;
    let input: Box<dyn std::io::Read + Send> = match flags.text("input") {
        "" if crate::terminal::stdin_is_terminal() => {
            return Err(Failure::new("requested load from stdin, but stdin is empty"));
        }
        "" => Box::new(std::io::stdin()),
        path => {
            Box::new(std::fs::File::open(path).map_err(|e| Failure::new(format!("open {path}: {}", describe(&e))))?)
        }
    };
    let ask = Ask::post("/images/load").query("quiet", if flags.is("quiet") { "1" } else { "0" });
    let body = engine.send_stream(ask, "application/x-tar", read_stream(input)).await?.into_body();
    show(body, false, To::Stdout).await
}
