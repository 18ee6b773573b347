//! `/volumes`

use super::event::now_ns;
use crate::blocking::blocking;
use crate::error::{Error, Result};
use crate::request::{self, Query};
use crate::response::{self, Body};
use crate::rooms::Rooms;
use api::event::Event;
use api::volume::{CreateVolume, Volume, VolumeList, VolumeUsage, VolumesPruned};
use api::{List, Map};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use std::collections::BTreeMap;
use std::sync::Arc;

fn describe(volume: volume::Volume) -> Volume {
    let map = |map: BTreeMap<String, String>| if map.is_empty() { Map::null() } else { map.into() };
    let seconds = super::nanoseconds(volume.created) / 1_000_000_000;
    Volume {
        created_at: super::rfc3339(seconds * 1_000_000_000),
        driver: "local".into(),
        labels: map(volume.labels),
        mountpoint: volume.mountpoint.to_string_lossy().into_owned(),
        name: volume.name,
        options: map(volume.options),
        scope: "local".into(),
        usage_data: None,
    }
}

/// `GET /volumes`. Blocks.
pub fn list(rooms: &Rooms, query: &Query) -> Result<VolumeList> {
    let filters = query.filters(&["dangling", "driver", "label", "name"])?;
    let dangling = if filters.contains("dangling") {
        Some(filters.boolean("dangling", false).map_err(|e| Error::invalid(e.0))?)
    } else {
        None
    };
    let all = rooms.volumes.list()?.into_iter().filter(|v| {
        dangling.is_none_or(|wanted| rooms.containers.using_volume(&v.name).is_empty() == wanted)
            && filters.exact("driver", "local")
            && filters.labels("label", &v.labels)
            && (!filters.contains("name") || filters.get("name").any(|name| v.name.contains(name)))
    });
    Ok(VolumeList { volumes: all.map(describe).collect(), warnings: List::null() })
}

/// For `GET /system/df`. Blocks.
pub fn all_with_sizes(rooms: &Rooms) -> Result<Vec<Volume>> {
    let with_size = |v: volume::Volume| {
        let size = rooms.volumes.size(&v.name).ok().and_then(|n| i64::try_from(n).ok()).unwrap_or(-1);
        let ref_count = i64::try_from(rooms.containers.using_volume(&v.name).len()).unwrap_or(-1);
        Volume { usage_data: Some(VolumeUsage { ref_count, size }), ..describe(v) }
    };
    Ok(rooms.volumes.list()?.into_iter().map(with_size).collect())
}

/// `POST /volumes/create`
pub async fn create(rooms: Arc<Rooms>, request: Request<Incoming>) -> Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let wanted: CreateVolume = request::json(&parts.headers, body).await?.unwrap_or_default();
    if !matches!(wanted.driver.as_str(), "" | "local") {
        let text = format!("error looking up volume plugin {}: plugin {:?} not found", wanted.driver, wanted.driver);
        return Err(Error::not_found(text));
    }
    let made = blocking(move || {
        let there = !wanted.name.is_empty() && rooms.volumes.get(&wanted.name).is_ok();
        let made = rooms.volumes.create(&wanted.name, wanted.labels.into_btree(), wanted.driver_opts.into_btree())?;
        if !there {
            publish(&rooms, "create", &made.name);
        }
        Ok::<_, Error>(made)
    });
    Ok(response::json(StatusCode::CREATED, &describe(made.await?)))
}

/// `GET /volumes/{name}`. Blocks.
pub fn inspect(rooms: &Rooms, name: &str) -> Result<Volume> {
    Ok(describe(rooms.volumes.get(name)?))
}

/// `DELETE /volumes/{name}`. Blocks.
pub fn remove(rooms: &Rooms, name: &str, force: bool) -> Result<()> {
    match rooms.volumes.get(name) {
        Err(volume::Error::NotFound(_)) if force => return Ok(()),
        found => found?,
    };
    let users = rooms.containers.using_volume(name);
    if !users.is_empty() {
        let users = users.join(", ");
        return Err(Error::conflict(format!("remove {name}: volume is in use - [{users}]")));
    }
    rooms.volumes.remove(name)?;
    publish(rooms, "destroy", name);
    Ok(())
}

fn publish(rooms: &Rooms, action: &str, name: &str) {
    let attributes = super::attributes(&[("driver", "local")]);
    rooms.events.publish(Event::new("volume", action, name, attributes, now_ns()));
}

/// `POST /volumes/prune`: those without a name, and since 1.42 with `all` every unused one. Blocks.
pub fn prune(rooms: &Rooms, version: (u32, u32), query: &Query) -> Result<VolumesPruned> {
    let filters = query.filters(&["all", "label", "label!"])?;
    let every = version < (1, 42) || filters.boolean("all", false).map_err(|e| Error::invalid(e.0))?;
    let mut pruned = VolumesPruned::default();
    for volume in rooms.volumes.list()? {
        let kept = (!every && !volume.is_anonymous())
            || !filters.labels("label", &volume.labels)
            || (filters.contains("label!") && filters.labels("label!", &volume.labels))
            || !rooms.containers.using_volume(&volume.name).is_empty();
        if kept {
            continue;
        }
        let size = rooms.volumes.size(&volume.name).unwrap_or(0);
        // One that went away or came into use meanwhile is simply left.
        if remove(rooms, &volume.name, false).is_ok() {
            pruned.volumes_deleted.push(volume.name);
            pruned.space_reclaimed += size;
        }
    }
    let reclaimed = pruned.space_reclaimed.to_string();
    let attributes = super::attributes(&[("reclaimed", &reclaimed)]);
    rooms.events.publish(Event::new("volume", "prune", "", attributes, now_ns()));
    Ok(pruned)
}
