//! One module per noun; here each route finds its function.

mod archive;
mod container;
mod event;
mod exec;
mod image;
mod network;
mod pull;
mod streams;
mod system;
mod volume;

use crate::blocking::blocking;
use crate::check;
use crate::error::{Error, Result};
use crate::request::Query;
use crate::response::{self, Body, no_content, ok};
use crate::rooms::Rooms;
use crate::router::{Route, Version};
use crate::server::Call;
use api::event::Event;
use api::system::DiskUsage;
use api::{List, Map};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use std::sync::Arc;
use std::time::SystemTime;

/// Nanoseconds since the epoch.
fn nanoseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// As Docker prints times.
fn rfc3339(ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(ns)).map_or_else(|_| api::container::NEVER.into(), |t| t.to_string())
}

/// The daemon took other settings over.
pub fn reloaded(rooms: &Rooms) {
    let attributes = [("name".to_owned(), rooms.host_name())].into_iter().collect();
    rooms.events.publish(Event::new("daemon", "reload", &rooms.id, attributes, event::now_ns()));
}

pub use container::stop_all;

/// The answer to one request.
pub async fn answer(rooms: Arc<Rooms>, call: Call) -> Result<Response<Body>> {
    let Call { route, version, query, request } = call;
    match route {
        Route::Ping => Ok(system::ping(request.method() == Method::HEAD)),
        Route::Version => Ok(system::version()),
        Route::Info => {
            let info = blocking(move || Ok::<_, Error>(system::info(&rooms))).await?;
            Ok(ok(&info))
        }
        Route::Events => event::stream(&rooms.events, &query),
        Route::DiskUsage => {
            let usage = blocking(move || disk_usage(&rooms)).await?;
            Ok(ok(&usage))
        }
        Route::Check => {
            let repair = query.boolean("repair");
            Ok(ok(&blocking(move || check::running(&rooms, repair)).await?))
        }
        Route::Auth => system::auth(&rooms.images, request).await,
        Route::PluginList => Ok(ok(&[(); 0])),
        Route::PluginInspect(name) => Err(Error::not_found(format!("plugin {name:?} not found"))),
        Route::Options => Ok(response::empty(StatusCode::OK)),
        Route::Absent(what) => Err(Error::absent(what)),
        Route::Swarm => Err(Error::swarm()),

        Route::ContainerCreate => container::create(&rooms, &query, version, request).await,
        Route::ContainerList => container::list(&rooms, &query).await,
        Route::ContainerPrune => container::prune(&rooms, &query).await,
        Route::ContainerInspect(name) => container::inspect(&rooms, name, &query).await,
        Route::ContainerTop(name) => container::top(&rooms, name, &query).await,
        Route::ContainerChanges(name) => container::changes(&rooms, name).await,
        Route::ContainerStats(name) => container::stats(&rooms, name, &query).await,
        Route::ContainerResize(name) => container::resize(&rooms, name, &query).await,
        Route::ContainerStart(name) => container::start(&rooms, name, &query).await,
        Route::ContainerStop(name) => container::stop(&rooms, name, &query).await,
        Route::ContainerRestart(name) => container::restart(&rooms, name, &query).await,
        Route::ContainerKill(name) => container::kill(&rooms, name, &query).await,
        Route::ContainerUpdate(name) => container::update(&rooms, name, request).await,
        Route::ContainerRename(name) => container::rename(&rooms, name, &query).await,
        Route::ContainerPause(name) => container::pause(&rooms, name).await,
        Route::ContainerUnpause(name) => container::unpause(&rooms, name).await,
        Route::ContainerWait(name) => container::wait(&rooms, name, &query).await,
        Route::ContainerRemove(name) => container::remove(&rooms, name, &query).await,
        Route::ContainerLogs(name) => streams::logs(&rooms, name, version, &query).await,
        Route::ContainerAttach(name) => streams::attach(&rooms, name, version, &query, request).await,
        Route::ContainerExport(name) => archive::export(&rooms, name).await,
        Route::ArchiveStat(name) => archive::stat(&rooms, name, &query).await,
        Route::ArchiveGet(name) => archive::get(&rooms, name, &query).await,
        Route::ArchivePut(name) => archive::put(&rooms, name, &query, request).await,

        Route::ExecCreate(name) => exec::create(&rooms, name, request).await,
        Route::ExecStart(id) => exec::start(&rooms, id, version, request).await,
        Route::ExecResize(id) => exec::resize(&rooms, id, &query).await,
        Route::ExecInspect(id) => exec::inspect(&rooms, id).await,

        Route::ImageList => image_list(rooms, version, query).await,
        Route::ImageCreate => image_create(rooms, query, request).await,
        Route::ImageInspect(name) => Ok(ok(&blocking(move || image::inspect(&rooms.images, &name, &query)).await?)),
        Route::ImageHistory(name) => Ok(ok(&blocking(move || image::history(&rooms.images, &name)).await?)),
        Route::ImageTag(name) => image_tag(rooms, name, query).await,
        Route::ImageRemove(name) => image_remove(rooms, name, query).await,
        Route::ImagePrune => image_prune(rooms, query).await,

        Route::NetworkList => Ok(ok(&blocking(move || network::list(&rooms.networks, &query)).await?)),
        Route::NetworkInspect(name) => network_inspect(rooms, name).await,

        Route::VolumeList => Ok(ok(&blocking(move || volume::list(&rooms, &query)).await?)),
        Route::VolumeCreate => volume::create(rooms, request).await,
        Route::VolumePrune => Ok(ok(&blocking(move || volume::prune(&rooms, version, &query)).await?)),
        Route::VolumeInspect(name) => Ok(ok(&blocking(move || volume::inspect(&rooms, &name)).await?)),
        Route::VolumeRemove(name) => {
            blocking(move || volume::remove(&rooms, &name, query.boolean("force"))).await?;
            Ok(no_content())
        }
    }
}

async fn image_list(rooms: Arc<Rooms>, version: Version, query: Query) -> Result<Response<Body>> {
    let list = blocking(move || image::list(&rooms.images, &container::images_in_use(&rooms)?, version, &query));
    Ok(ok(&list.await?))
}

async fn image_create(rooms: Arc<Rooms>, query: Query, request: Request<Incoming>) -> Result<Response<Body>> {
    if query.get("fromImage").is_empty() {
        return pull::import(rooms.images.clone(), rooms.events.clone(), &query, request.into_body()).await;
    }
    pull::pull(&rooms, &query, request.headers()).await
}

async fn image_tag(rooms: Arc<Rooms>, name: String, query: Query) -> Result<Response<Body>> {
    blocking(move || image::tag(&rooms.images, &rooms.events, &name, &query)).await?;
    Ok(response::empty(StatusCode::CREATED))
}

async fn image_remove(rooms: Arc<Rooms>, name: String, query: Query) -> Result<Response<Body>> {
    let removed = blocking(move || {
        let users = |id: &oci::Digest| container::users_of(&rooms, id);
        image::remove(&rooms.images, &rooms.events, &users, &name, &query)
    });
    Ok(ok(&removed.await?))
}

async fn image_prune(rooms: Arc<Rooms>, query: Query) -> Result<Response<Body>> {
    let pruned = blocking(move || {
        let users = |id: &oci::Digest| container::users_of(&rooms, id);
        image::prune(&rooms.images, &rooms.events, &users, &query)
    });
    Ok(ok(&pruned.await?))
}

async fn network_inspect(rooms: Arc<Rooms>, name: String) -> Result<Response<Body>> {
    let found = blocking(move || network::inspect(&rooms.networks, &name, &container::names(&rooms)?));
    Ok(ok(&found.await?))
}

/// `GET /system/df`. Blocks.
fn disk_usage(rooms: &Rooms) -> Result<DiskUsage> {
    let (images, layers_size) = image::all(&rooms.images, &container::images_in_use(rooms)?);
    Ok(DiskUsage {
        layers_size,
        images: images.into(),
        containers: container::all_with_sizes(rooms)?.into(),
        volumes: volume::all_with_sizes(rooms)?.into(),
        build_cache: List::empty(),
    })
}

/// Attributes of an event.
fn attributes(pairs: &[(&str, &str)]) -> Map<String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}
