//! `/exec`

use super::streams::socket;
use crate::attach::{self, Wanted};
use crate::blocking::blocking;
use crate::detach::{self, Escape};
use crate::error::{Error, Result};
use crate::hijack::{self, Form};
use crate::request::{self, Query};
use crate::response::{self, Body, ok};
use crate::rooms::Rooms;
use api::error::IdResponse;
use api::exec::{CreateExec, StartExec};
use api::stream::{Kind, frame};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::io::AsyncWriteExt;

/// What an exec that was killed with its container ends with.
const KILLED: &[u8] = br#"{"code":137}"#;

/// `POST /containers/{name}/exec`
pub async fn create(rooms: &Rooms, name: String, request: Request<Incoming>) -> Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let wanted: CreateExec = request::json(&parts.headers, body).await?.unwrap_or_default();
    detach::keys(&wanted.detach_keys)?;
    let containers = rooms.containers.clone();
    let id = blocking(move || containers.exec_create(&name, wanted)).await?;
    Ok(response::json(StatusCode::CREATED, &IdResponse { id }))
}

/// `POST /exec/{id}/start`
pub async fn start(
    rooms: &Rooms,
    id: String,
    version: (u32, u32),
    mut request: Request<Incoming>,
) -> Result<Response<Body>> {
    let how: StartExec = {
        // The request itself stays whole: its connection is taken over below.
        let headers = request.headers().clone();
        request::json(&headers, request.body_mut()).await?.unwrap_or_default()
    };
    let keys = detach::keys(&rooms.containers.exec_detach_keys(&id)?)?;
    let (containers, wanted, asked) = (rooms.containers.clone(), id.clone(), how.clone());
    let started = match blocking(move || containers.exec_start(&wanted, &asked)).await {
        Ok(Some(started)) => started,
        Ok(None) => return Ok(response::empty(StatusCode::OK)),
        // As dockerd: once an exec exists, why it did not start is written where its output would have been, and
        // inspect has the exit code.
        Err(e)
            if (e.status == StatusCode::BAD_REQUEST || e.message.starts_with("OCI runtime exec failed"))
                && !how.detach
                && hijack::asked(&request) =>
        {
            return complain(request, Form::of(how.tty), version, e);
        }
        Err(e) => return Err(e),
    };
    let supervisor = socket(started.stream)?;
    let form = Form::of(started.tty);
    let kind = form.media_type(version);
    let containers = rooms.containers.clone();
    let mut last = move |payload: &[u8]| containers.exec_ended(&id, if payload.is_empty() { KILLED } else { payload });
    if !hijack::asked(&request) {
        let (feed, response) = response::stream(kind);
        tokio::spawn(async move { attach::one_way(supervisor, feed, form, &mut last).await });
        return Ok(response);
    }
    let escape = started.tty.then(|| Escape::new(keys));
    hijack::upgrade(request, kind, move |client| async move {
        let wanted = Wanted { form, stdin: true, escape };
        attach::both_ways(client, supervisor, wanted, true, &mut last).await;
    })
}

fn complain(request: Request<Incoming>, form: Form, version: (u32, u32), error: Error) -> Result<Response<Body>> {
    let text = format!("{}\r\n", error.message);
    let bytes = if form == Form::Raw { text.into_bytes() } else { frame(Kind::Stdout, text.as_bytes()) };
    hijack::upgrade(request, form.media_type(version), move |mut client| async move {
        let _ = client.stream.write_all(&bytes).await;
    })
}

/// `POST /exec/{id}/resize`
pub async fn resize(rooms: &Rooms, id: String, query: &Query) -> Result<Response<Body>> {
    let (height, width) = super::container::size(query)?;
    let containers = rooms.containers.clone();
    blocking(move || containers.exec_resize(&id, height, width)).await?;
    Ok(response::empty(StatusCode::OK))
}

/// `GET /exec/{id}/json`
pub async fn inspect(rooms: &Rooms, id: String) -> Result<Response<Body>> {
    let containers = rooms.containers.clone();
    Ok(ok(&blocking(move || containers.exec_inspect(&id)).await?))
}
