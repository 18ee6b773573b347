//! What each command does.

pub mod attach;
pub mod cp;
pub mod df;
pub mod exec;
pub mod image;
pub mod inspect;
pub mod lifecycle;
pub mod look;
pub mod network;
pub mod ps;
pub mod pull;
pub mod run;
pub mod stats;
pub mod system;
pub mod unavailable;
pub mod version;
pub mod volume;

use crate::engine::Engine;
use crate::failure::{Failure, Result};
use crate::flags::{Command, Parsed};
use api::filters::Filters;
use futures_util::stream::{self, Stream, StreamExt};

/// How many requests [`each_at_once`] has under way.
const AT_ONCE: usize = 50;

/// Commands that do one thing after another and need no runtime, or make one when they do.
const STRAIGHT: [&str; 40] = [
    "container create",
    "container diff",
    "container inspect",
    "container kill",
    "container ls",
    "container pause",
    "container port",
    "container prune",
    "container rename",
    "container restart",
    "container rm",
    "container run",
    "container start",
    "container stop",
    "container top",
    "container unpause",
    "container update",
    "container wait",
    "image history",
    "image inspect",
    "image ls",
    "image prune",
    "image rm",
    "image tag",
    "inspect",
    "network connect",
    "network create",
    "network disconnect",
    "network inspect",
    "network ls",
    "network prune",
    "network rm",
    "system check",
    "system df",
    "system info",
    "system prune",
    "version",
    "volume create",
    "volume inspect",
    "volume ls",
];

/// Runs a command.
pub async fn run(command: &Command, engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    if !STRAIGHT.contains(&command.path) {
        engine.asynchronous().await;
    }
    match command.path {
        "container attach" => attach::attach(engine, flags).await,
        "container cp" => cp::cp(engine, flags).await,
        "container create" => run::create(engine, flags).await,
        "container diff" => look::diff(engine, flags).await,
        "container exec" => exec::exec(engine, flags).await,
        "container export" => look::export(engine, flags).await,
        "container inspect" => inspect::one_kind(engine, flags, "container").await,
        "container kill" => lifecycle::kill(engine, flags).await,
        "container logs" => look::logs(engine, flags).await,
        "container ls" => ps::ps(engine, flags).await,
        "container pause" => lifecycle::pause(engine, flags, "pause").await,
        "container port" => look::port(engine, flags).await,
        "container prune" => lifecycle::prune(engine, flags).await,
        "container rename" => lifecycle::rename(engine, flags).await,
        "container restart" => lifecycle::stop(engine, flags, "restart").await,
        "container rm" => lifecycle::rm(engine, flags).await,
        "container run" => run::run(engine, flags).await,
        "container start" => attach::start(engine, flags).await,
        "container stats" => stats::stats(engine, flags).await,
        "container stop" => lifecycle::stop(engine, flags, "stop").await,
        "container top" => look::top(engine, flags).await,
        "container unpause" => lifecycle::pause(engine, flags, "unpause").await,
        "container update" => lifecycle::update(engine, flags).await,
        "container wait" => lifecycle::wait(engine, flags).await,
        "image history" => image::history(engine, flags).await,
        "image import" => image::import(engine, flags).await,
        "image inspect" => inspect::one_kind(engine, flags, "image").await,
        "image ls" => image::ls(engine, flags).await,
        "image prune" => image::prune(engine, flags).await,
        "image pull" => pull::pull_command(engine, flags).await,
        "image rm" => image::rm(engine, flags).await,
        "image tag" => image::tag(engine, flags).await,
        "network connect" => network::connect(engine, flags).await,
        "network create" => network::create(engine, flags).await,
        "network disconnect" => network::disconnect(engine, flags).await,
        "network inspect" => inspect::one_kind(engine, flags, "network").await,
        "network ls" => network::ls(engine, flags).await,
        "network prune" => network::prune(engine, flags).await,
        "network rm" => network::rm(engine, flags).await,
        "volume create" => volume::create(engine, flags).await,
        "volume inspect" => inspect::one_kind(engine, flags, "volume").await,
        "volume ls" => volume::ls(engine, flags).await,
        "volume prune" => volume::prune(engine, flags).await,
        "volume rm" => volume::rm(engine, flags).await,
        "system check" => system::check(engine, flags).await,
        "system df" => df::df(engine, flags).await,
        "system events" => system::events(engine, flags).await,
        "system info" => system::info(engine, flags).await,
        "system prune" => system::prune(engine, flags).await,
        "version" => version::version(engine, flags).await,
        "inspect" => inspect::inspect(engine, flags).await,
        path => unavailable::refuse(engine, path, flags).await,
    }
}

/// What a command says when it has done its work to one of its arguments.
pub enum Told {
    /// A line of output; nothing, when it is empty.
    Done(String),
    /// A line on standard error that is no failure.
    Complaint(String),
}

impl From<String> for Told {
    fn from(line: String) -> Told {
        Told::Done(line)
    }
}

/// Does something to each of `names`, one after the other, prints what it gives, and says all that failed at the end.
pub async fn each<F, T>(names: &[String], act: impl FnMut(String) -> F) -> Result<()>
where
    F: Future<Output = Result<T>>,
    T: Into<Told>,
{
    tell_each(stream::iter(names.to_vec()).then(act)).await
}

/// The same with many at a time, as Docker's client does it; what they give is still printed in the order of `names`.
pub async fn each_at_once<F, T>(engine: &Engine<'_>, names: &[String], act: impl FnMut(String) -> F) -> Result<()>
where
    F: Future<Output = Result<T>>,
    T: Into<Told>,
{
    if names.len() > 1 {
        engine.asynchronous().await;
    }
    tell_each(stream::iter(names.to_vec()).map(act).buffered(AT_ONCE)).await
}

async fn tell_each<T: Into<Told>>(done: impl Stream<Item = Result<T>>) -> Result<()> {
    let mut done = std::pin::pin!(done);
    let mut failed = Vec::new();
    while let Some(one) = done.next().await {
        match one.map(Into::into) {
            Ok(Told::Done(line)) if line.is_empty() => {}
            Ok(Told::Done(line)) => crate::output::print(&format!("{line}\n"))?,
            Ok(Told::Complaint(line)) => crate::output::complain(&line),
            Err(failure) => failed.push(failure.text),
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure::new(failed.join("\n"))) }
}

/// The `--filter` flags.
pub fn filters(flags: &Parsed) -> Filters {
    let mut filters = Filters::default();
    for filter in flags.all("filter") {
        if let Some((key, value)) = filter.split_once('=') {
            filters.add(key.trim().to_lowercase(), value.trim());
        }
    }
    filters
}

/// Asks before something is thrown away. Without a terminal to ask on, no is the answer.
pub fn confirm(question: &str) -> Result<bool> {
    crate::output::raw(format!("{question} [y/N] ").as_bytes())?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(line.trim().eq_ignore_ascii_case("y"))
}

/// Now, in seconds since the epoch.
pub fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}
