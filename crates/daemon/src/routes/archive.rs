//! `/containers/{name}/archive` and `/containers/{name}/export`: tar archives in and out.

use crate::blocking::blocking;
use crate::error::{Error, Result};
use crate::pipe;
use crate::request::Query;
use crate::response::{self, Body, Feed};
use crate::rooms::Rooms;
use api::container::PathStat;
use container::{Archive, Put};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use layer::Packing;
use std::io::{self, Read, Write};

const TAR: HeaderValue = HeaderValue::from_static("application/x-tar");
const STAT: HeaderName = HeaderName::from_static("x-docker-container-path-stat");

/// The path, which must be there.
fn path(query: &Query) -> Result<String> {
    match query.get("path") {
        "" => Err(Error::invalid("bad parameter: path cannot be empty")),
        path => Ok(path.to_owned()),
    }
}

fn with_stat(mut response: Response<Body>, stat: &PathStat) -> Result<Response<Body>> {
    let value = HeaderValue::from_str(&stat.to_header()).map_err(|e| Error::internal(e.to_string()))?;
    response.headers_mut().insert(STAT, value);
    Ok(response)
}

/// `HEAD /containers/{name}/archive`
pub async fn stat(rooms: &Rooms, name: String, query: &Query) -> Result<Response<Body>> {
    let path = path(query)?;
    let containers = rooms.containers.clone();
    let stat = blocking(move || containers.archive_stat(&name, &path)).await?;
    with_stat(response::empty(StatusCode::OK), &stat)
}

/// `GET /containers/{name}/archive`
pub async fn get(rooms: &Rooms, name: String, query: &Query) -> Result<Response<Body>> {
    let path = path(query)?;
    let containers = rooms.containers.clone();
    let (stat, archive) = blocking(move || containers.archive_get(&name, &path)).await?;
    let (feed, response) = response::stream(TAR);
    pour(archive, feed)?;
    with_stat(response, &stat)
}

/// `GET /containers/{name}/export`
pub async fn export(rooms: &Rooms, name: String) -> Result<Response<Body>> {
    let containers = rooms.containers.clone();
    let archive = blocking(move || containers.export(&name)).await?;
    let (feed, response) = response::stream(HeaderValue::from_static("application/octet-stream"));
    pour(archive, feed)?;
    Ok(response)
}

/// Carries an archive to the client, as slowly as that takes, on a thread of its own.
fn pour(mut archive: Archive, feed: Feed) -> Result<()> {
    let work = move || {
        let mut body = pipe::writer(feed);
        if let Err(e) = io::copy(&mut archive, &mut body).and_then(|_| body.flush()) {
            tracing::debug!("an archive was broken off: {e}");
        }
    };
    let started = std::thread::Builder::new().name("archive".into()).stack_size(256 << 10).spawn(work);
    started.map(drop).map_err(|e| Error::internal(format!("starting a thread: {e}")))
}

/// `PUT /containers/{name}/archive`
pub async fn put(rooms: &Rooms, name: String, query: &Query, request: Request<Incoming>) -> Result<Response<Body>> {
    let path = path(query)?;
    let how = Put { keep_types: query.boolean("noOverwriteDirNonDir"), own: query.boolean("copyUIDGID") };
    let containers = rooms.containers.clone();
    let body = pipe::reader(request.into_body());
    blocking(move || {
        let mut content = unpacked(body)?;
        containers.archive_put(&name, &path, how, &mut content).map_err(Error::from)
    })
    .await?;
    Ok(response::empty(StatusCode::OK))
}

/// The archive itself, whatever it is packed with.
fn unpacked(mut body: impl Read + 'static) -> Result<Box<dyn Read>> {
    let wrong = |e: io::Error| Error::invalid(format!("reading the request body: {e}"));
    let mut start = Vec::with_capacity(Packing::TELLING);
    body.by_ref().take(Packing::TELLING as u64).read_to_end(&mut start).map_err(wrong)?;
    let packing = Packing::of(&start);
    packing.reader(io::Cursor::new(start).chain(body)).map_err(wrong)
}
