//! `/containers`, but for streams and archives.

use crate::blocking::blocking;
use crate::error::{Error, Result};
use crate::request::{self, Query};
use crate::response::{self, Body, JSON, no_content, ok};
use crate::rooms::Rooms;
use api::container::{ContainerSummary, CreateContainer, Stats, UpdateContainer};
use api::filters::Filters;
use container::{Containers, Remove};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Does something to a container and answers 204.
async fn act<F>(rooms: &Rooms, work: F) -> Result<Response<Body>>
where
    F: FnOnce(&Containers) -> container::Result<()> + Send + 'static,
{
    let containers = rooms.containers.clone();
    blocking(move || work(&containers)).await?;
    Ok(no_content())
}

/// Asks something about a container and answers it as JSON.
async fn ask<T, F>(rooms: &Rooms, work: F) -> Result<Response<Body>>
where
    T: serde::Serialize + Send + 'static,
    F: FnOnce(&Containers) -> container::Result<T> + Send + 'static,
{
    let containers = rooms.containers.clone();
    Ok(ok(&blocking(move || work(&containers)).await?))
}

/// The same for what is known without touching a disk: handing it to another thread would take longer than the answer.
fn ask_memory<T: serde::Serialize>(
    rooms: &Rooms,
    work: impl FnOnce(&Containers) -> container::Result<T>,
) -> Result<Response<Body>> {
    Ok(ok(&work(&rooms.containers)?))
}

/// `POST /containers/create`
pub async fn create(
    rooms: &Rooms,
    query: &Query,
    version: (u32, u32),
    request: Request<Incoming>,
) -> Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let wanted: CreateContainer = request::json(&parts.headers, body).await?.unwrap_or_default();
    if wanted.config == api::container::ContainerConfig::default() {
        return Err(Error::invalid("config cannot be empty in order to create a container"));
    }
    let mut wanted = wanted;
    if version < (1, 44) {
        // Since then every endpoint has its own; before, a container had one address.
        mac_to_endpoint(&mut wanted);
    }
    let platform = super::pull::platform(query.get("platform"))?;
    let name = query.get("name").to_owned();
    let containers = rooms.containers.clone();
    let created = blocking(move || containers.create(&name, platform.as_ref(), wanted)).await;
    let created = created.map_err(|e| match e.status {
        // To clients a 404 says that the image is missing, and they pull it.
        StatusCode::NOT_FOUND if !e.message.contains("image") => Error::invalid(e.message),
        _ => e,
    })?;
    Ok(response::json(StatusCode::CREATED, &created))
}

fn mac_to_endpoint(wanted: &mut CreateContainer) {
    if wanted.config.mac_address.is_empty() {
        return;
    }
    let mode = wanted.host_config.as_ref().map_or("", |h| h.network_mode.as_str());
    let network = if matches!(mode, "" | "default") { "bridge" } else { mode }.to_owned();
    let endpoints = &mut wanted.networking_config.get_or_insert_default().endpoints_config;
    let endpoint = endpoints.entry(network).or_default().get_or_insert_default();
    if endpoint.mac_address.is_empty() {
        endpoint.mac_address.clone_from(&wanted.config.mac_address);
    }
}

/// `GET /containers/json`
pub async fn list(rooms: &Rooms, query: &Query) -> Result<Response<Body>> {
    let filters = Filters::parse(query.get("filters")).map_err(|e| Error::invalid(e.0))?;
    let limit = query.integer("limit")?.unwrap_or(0);
    let wanted = container::List {
        all: query.boolean("all"),
        limit: usize::try_from(limit).unwrap_or(0),
        size: query.boolean("size"),
        filters,
    };
    match wanted.size {
        true => ask(rooms, move |c| c.list(&wanted)).await,
        false if query.boolean("brief") => Ok(response::json_text(rooms.containers.brief(&wanted)?)),
        false => ask_memory(rooms, |c| c.list(&wanted)),
    }
}

/// `POST /containers/prune`
pub async fn prune(rooms: &Rooms, query: &Query) -> Result<Response<Body>> {
    let filters = Filters::parse(query.get("filters")).map_err(|e| Error::invalid(e.0))?;
    ask(rooms, move |c| c.prune(&filters)).await
}

/// `GET /containers/{name}/json`
pub async fn inspect(rooms: &Rooms, name: String, query: &Query) -> Result<Response<Body>> {
    let size = query.boolean("size");
    ask(rooms, move |c| c.inspect(&name, size)).await
}

/// `GET /containers/{name}/top`
pub async fn top(rooms: &Rooms, name: String, query: &Query) -> Result<Response<Body>> {
    let args = query.get("ps_args").to_owned();
    ask(rooms, move |c| c.top(&name, &args)).await
}

/// `GET /containers/{name}/changes`
pub async fn changes(rooms: &Rooms, name: String) -> Result<Response<Body>> {
    ask(rooms, move |c| c.changes(&name)).await
}

/// How often a stream of samples has one.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// `GET /containers/{name}/stats`
pub async fn stats(rooms: &Rooms, name: String, query: &Query) -> Result<Response<Body>> {
    let stream = !query.has("stream") || query.boolean("stream");
    let one_shot = query.boolean("one-shot");
    if stream && one_shot {
        return Err(Error::invalid("cannot have stream=true and one-shot=true"));
    }
    let (containers, id) = (rooms.containers.clone(), rooms.containers.id(&name)?);
    let sample = move || {
        let (containers, id) = (containers.clone(), id.clone());
        blocking(move || containers.sample(&id))
    };
    let first = sample().await?;
    if stream {
        let (feed, response) = response::stream(JSON);
        tokio::spawn(async move { samples(first, sample, feed).await });
        return Ok(response);
    }
    let runs = first.read != api::container::NEVER;
    if one_shot || !runs {
        return Ok(ok(&first));
    }
    // How busy the processors are is the difference of two.
    tokio::time::sleep(SAMPLE_EVERY).await;
    Ok(ok(&after(sample().await?, &first)))
}

/// A sample beside the one before it.
fn after(mut now: Stats, before: &Stats) -> Stats {
    now.preread.clone_from(&before.read);
    now.precpu_stats = before.cpu_stats.clone();
    now
}

/// Samples until the client has gone, or the container.
async fn samples<F>(mut last: Stats, sample: impl Fn() -> F, feed: response::Feed)
where
    F: Future<Output = Result<Stats>>,
{
    let mut clock = tokio::time::interval(SAMPLE_EVERY);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    clock.tick().await;
    loop {
        let mut bytes = serde_json::to_vec(&last).unwrap_or_default();
        bytes.push(b'\n');
        if feed.send(bytes.into()).await.is_err() {
            return;
        }
        tokio::select! {
            _ = clock.tick() => {}
            () = feed.closed() => return,
        }
        let Ok(next) = sample().await else { return };
        last = after(next, &last);
    }
}

/// Height and width.
pub fn size(query: &Query) -> Result<(u16, u16)> {
    let number = |key: &str| {
        let text = query.get(key);
        let why = |_| Error::invalid(format!("invalid resize {key} {text:?}: invalid syntax"));
        text.parse::<u16>().map_err(why)
    };
    Ok((number("h")?, number("w")?))
}

/// `POST /containers/{name}/resize`
pub async fn resize(rooms: &Rooms, name: String, query: &Query) -> Result<Response<Body>> {
    let (height, width) = size(query)?;
    let containers = rooms.containers.clone();
    blocking(move || containers.resize(&name, height, width)).await?;
    Ok(response::empty(StatusCode::OK))
}

/// `POST /containers/{name}/start`
pub async fn start(rooms: &Rooms, name: String, query: &Query) -> Result<Response<Body>> {
    if !query.get("checkpoint").is_empty() || !query.get("checkpoint-dir").is_empty() {
        return Err(Error::absent("checkpoint"));
    }
    act(rooms, move |c| c.start(&name)).await
}

/// `POST /containers/{name}/stop`
pub async fn stop(rooms: &Rooms, name: String, query: &Query) -> Result<Response<Body>> {
    let (signal, timeout) = (query.get("signal").to_owned(), query.integer("t")?);
    act(rooms, move |c| c.stop(&name, &signal, timeout)).await
}

/// `POST /containers/{name}/restart`
pub async fn restart(rooms: &Rooms, name: String, query: &Query) -> Result<Response<Body>> {
    let (signal, timeout) = (query.get("signal").to_owned(), query.integer("t")?);
    act(rooms, move |c| c.restart(&name, &signal, timeout)).await
}

/// `POST /containers/{name}/kill`
pub async fn kill(rooms: &Rooms, name: String, query: &Query) -> Result<Response<Body>> {
    let signal = query.get("signal").to_owned();
    act(rooms, move |c| c.kill(&name, &signal)).await
}

/// `POST /containers/{name}/update`
pub async fn update(rooms: &Rooms, name: String, request: Request<Incoming>) -> Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let wanted: UpdateContainer = request::json(&parts.headers, body).await?.unwrap_or_default();
    ask(rooms, move |c| c.update(&name, wanted)).await
}

/// `POST /containers/{name}/rename`
pub async fn rename(rooms: &Rooms, name: String, query: &Query) -> Result<Response<Body>> {
    let new = query.get("name").to_owned();
    act(rooms, move |c| c.rename(&name, &new)).await
}

/// `POST /containers/{name}/pause`
pub async fn pause(rooms: &Rooms, name: String) -> Result<Response<Body>> {
    act(rooms, move |c| c.pause(&name)).await
}

/// `POST /containers/{name}/unpause`
pub async fn unpause(rooms: &Rooms, name: String) -> Result<Response<Body>> {
    act(rooms, move |c| c.unpause(&name)).await
}

/// `POST /containers/{name}/wait`. The headers go out at once: a client waits for them before it starts the container.
pub async fn wait(rooms: &Rooms, name: String, query: &Query) -> Result<Response<Body>> {
    // It only looks the container up: no need for a thread of its own.
    let waiting = rooms.containers.wait(&name, query.get("condition"))?;
    let (feed, response) = response::stream(JSON);
    tokio::spawn(async move {
        let answer = tokio::select! {
            answer = waiting.done() => answer,
            () = feed.closed() => return,
        };
        let mut bytes = serde_json::to_vec(&answer).unwrap_or_default();
        bytes.push(b'\n');
        let _ = feed.send(bytes.into()).await;
    });
    Ok(response)
}

/// `DELETE /containers/{name}`
pub async fn remove(rooms: &Rooms, name: String, query: &Query) -> Result<Response<Body>> {
    if query.boolean("link") {
        return Err(Error::absent("removing a link"));
    }
    let how = Remove { force: query.boolean("force"), volumes: query.boolean("v") };
    act(rooms, move |c| c.remove(&name, how)).await
}

/// All containers, without sizes.
fn all(rooms: &Rooms, size: bool) -> Result<Vec<ContainerSummary>> {
    let all = container::List { all: true, limit: 0, size, filters: Filters::default() };
    Ok(rooms.containers.list(&all)?)
}

/// For `GET /system/df`.
pub fn all_with_sizes(rooms: &Rooms) -> Result<Vec<ContainerSummary>> {
    all(rooms, true)
}

/// Names by ID, without the slash.
pub fn names(rooms: &Rooms) -> Result<HashMap<String, String>> {
    let name = |c: &ContainerSummary| c.names.first().map_or("", |n| n.trim_start_matches('/')).to_owned();
    Ok(all(rooms, false)?.into_iter().map(|c| (c.id.clone(), name(&c))).collect())
}

/// How many containers each image has, by its ID.
pub fn images_in_use(rooms: &Rooms) -> Result<HashMap<String, i64>> {
    let mut counts = HashMap::new();
    for container in all(rooms, false)? {
        *counts.entry(container.image_id).or_insert(0) += 1;
    }
    Ok(counts)
}

/// Who uses an image.
pub fn users_of(rooms: &Rooms, id: &oci::Digest) -> Vec<image::User> {
    let user = rooms.containers.using_image(id.as_str());
    user.into_iter().map(|(id, running)| image::User { id, running }).collect()
}

/// Stops every container that runs, all at once, and waits for them. Blocks.
pub fn stop_all(rooms: &Arc<Rooms>, timeout: i64) {
    let Ok(all) = all(rooms, false) else { return };
    let running = all.into_iter().filter(|c| matches!(c.state.as_str(), "running" | "paused" | "restarting"));
    std::thread::scope(|scope| {
        for container in running {
            let containers = &rooms.containers;
            scope.spawn(move || match containers.stop(&container.id, "", Some(timeout)) {
                Ok(()) | Err(container::Error::NotModified(_)) => {}
                Err(e) => tracing::error!("stopping {}: {e}", container.id),
            });
        }
    });
}
