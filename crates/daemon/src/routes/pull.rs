//! `POST /images/create`: pull, and import.

use super::image::publish;
use crate::error::{Error, Result};
use crate::pipe;
use crate::request::Query;
use crate::response::{self, Body, Feed, JSON};
use crate::rooms::{self, Rooms};
use api::message::{JsonMessage, ProgressDetail};
use bytes::Bytes;
use container::Events;
use http::{HeaderMap, Response};
use hyper::body::Incoming;
use image::{Images, Progress};
use oci::Platform;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How often one layer's bar moves.
const PACE: Duration = Duration::from_millis(100);

/// The platform that was asked for, if one was.
pub fn platform(text: &str) -> Result<Option<Platform>> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|e: oci::Error| Error::invalid(e.to_string()))
}

/// Pulls. The status waits for the first news, so that what fails before it has a status of its own; what fails later
/// is the last line. When the client leaves, the pull is given up; what has come stays for the next one.
pub async fn pull(rooms: &Arc<Rooms>, query: &Query, headers: &HeaderMap) -> Result<Response<Body>> {
    let (images, events) = (rooms.images.clone(), rooms.events.clone());
    let reference = super::image::reference(query.get("fromImage"), query.get("tag"))?;
    if reference.tag().is_none() && reference.digest().is_none() {
        return Err(Error::absent("pulling all tags of a repository"));
    }
    if reference.familiar() == format!("{}:latest", rooms::HELLO) {
        return carried(rooms).await;
    }
    let platform = platform(query.get("platform"))?;
    let header = headers.get(api::auth::HEADER).map_or("", |v| v.to_str().unwrap_or("?"));
    let credentials = registry::Credentials::decode(header)?;
    // Unbounded on purpose: the pull never waits for a slow client, and the pace below bounds what is in it.
    let (news, mut lines) = mpsc::unbounded_channel::<Bytes>();
    let pulling = tokio::spawn(async move {
        let pace = Pace::default();
        let name = reference.familiar();
        let result = images
            .pull(&reference, platform, credentials, |progress| {
                if pace.lets(&progress) {
                    let _ = news.send(message(progress).to_line().into());
                }
            })
            .await;
        result.map(|_| publish(&events, "pull", &name, &reference.familiar_repository()))
    });
    let Some(first) = lines.recv().await else {
        return match pulling.await {
            Ok(Err(e)) => Err(e.into()),
            Ok(Ok(())) => Ok(response::stream(JSON).1),
            Err(e) => Err(Error::internal(format!("the pull was broken off: {e}"))),
        };
    };
    let (feed, response) = response::stream(JSON);
    tokio::spawn(forward(feed, first, lines, pulling));
    Ok(response)
}

/// The image that this program carries needs no registry.
async fn carried(rooms: &Arc<Rooms>) -> Result<Response<Body>> {
    let rooms = rooms.clone();
    let id = crate::blocking::blocking(move || rooms::embedded(&rooms.images, rooms.hello)).await?;
    let (feed, response) = response::stream(JSON);
    for line in [format!("Digest: {id}"), format!("Status: {} is carried inside dhow", rooms::HELLO)] {
        let _ = feed.try_send(JsonMessage::status(line).to_line().into());
    }
    Ok(response)
}

async fn forward(
    feed: Feed,
    first: Bytes,
    mut lines: mpsc::UnboundedReceiver<Bytes>,
    pulling: tokio::task::JoinHandle<image::Result<()>>,
) {
    let abort = pulling.abort_handle();
    let mut next = Some(first);
    while let Some(line) = next {
        if feed.send(line).await.is_err() {
            abort.abort();
            return;
        }
        next = tokio::select! {
            line = lines.recv() => line,
            () = feed.closed() => {
                abort.abort();
                return;
            }
        };
    }
    let failed = match pulling.await {
        Ok(Ok(())) => return,
        Ok(Err(e)) => Error::from(e).message,
        Err(e) => format!("the pull was broken off: {e}"),
    };
    let _ = feed.send(JsonMessage::error(failed).to_line().into()).await;
}

/// Lets a layer's bar move only now and then; everything else always passes.
#[derive(Default)]
struct Pace(Mutex<HashMap<(String, &'static str), Instant>>);

impl Pace {
    fn lets(&self, progress: &Progress) -> bool {
        let what = match &progress.event {
            image::Event::Downloading { current, total } if current < total || *total == 0 => "d",
            image::Event::Extracting { current, total } if current < total || *total == 0 => "e",
            _ => return true,
        };
        let now = Instant::now();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (progress.id.clone().unwrap_or_default(), what);
        match last.get(&key) {
            Some(before) if now.duration_since(*before) < PACE => false,
            _ => {
                last.insert(key, now);
                true
            }
        }
    }
}

fn message(progress: Progress) -> JsonMessage {
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let detail = progress.event.detail().map(|(current, total)| ProgressDetail {
        current: number(current),
        total: number(total),
        ..ProgressDetail::default()
    });
    let of_layer =
        !matches!(progress.event, image::Event::PullingFrom(_) | image::Event::Digest(_) | image::Event::Message(_));
    let bar = detail.as_ref().map(bar).unwrap_or_default();
    JsonMessage {
        status: progress.event.text(),
        progress_detail: if of_layer { Some(detail.unwrap_or_default()) } else { None },
        progress: bar,
        id: progress.id.unwrap_or_default(),
        ..JsonMessage::default()
    }
}

/// The drawn bar that the API also carries: `[====>    ]  1.2MB/3.4MB`.
fn bar(detail: &ProgressDetail) -> String {
    let size = |n: i64| api::units::human_size(n as f64);
    if detail.total <= 0 {
        return format!("{:>8}", size(detail.current));
    }
    let filled = usize::try_from(detail.current.saturating_mul(50) / detail.total).unwrap_or(0).min(50);
    let head = if filled < 50 { ">" } else { "" };
    let gap = " ".repeat(50 - filled - head.len());
    format!("[{}{head}{gap}] {:>8}/{}", "=".repeat(filled), size(detail.current), size(detail.total))
}

/// Imports a root file system from the body. Reads `changes`, `message`, `repo`, `tag`, `platform`.
pub async fn import(images: Images, events: Events, query: &Query, body: Incoming) -> Result<Response<Body>> {
    let source = query.get("fromSrc");
    if source != "-" {
        return Err(Error::absent(&format!("importing from {source:?}: fetching a URL")));
    }
    let repository = query.get("repo");
    let name = match repository {
        "" => None,
        repository => {
            let reference = super::image::reference(repository, query.get("tag"))?;
            if reference.digest().is_some() {
                return Err(Error::invalid("cannot import digest reference"));
            }
            Some(reference.or_latest())
        }
    };
    let import = image::Import {
        reference: name,
        changes: query.all("changes"),
        message: Some(query.get("message")).filter(|m| !m.is_empty()).unwrap_or("Imported from -").to_owned(),
        platform: platform(query.get("platform"))?,
    };
    let mut reader = pipe::reader(body);
    let id = crate::blocking::blocking(move || images.import(&mut reader, &import)).await?;
    publish(&events, "import", id.as_str(), id.as_str());
    let (feed, response) = response::stream(JSON);
    let _ = feed.try_send(JsonMessage::status(id.to_string()).to_line().into());
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_as_dockerd_writes_them() {
        let line = |event, id: &str| {
            let progress = Progress { id: (!id.is_empty()).then(|| id.to_owned()), event };
            String::from_utf8(message(progress).to_line()).unwrap()
        };
        assert_eq!(
            line(image::Event::PullingFrom("library/debian".into()), "13"),
            "{\"status\":\"Pulling from library/debian\",\"id\":\"13\"}\r\n"
        );
        assert_eq!(
            line(image::Event::PullingLayer, "abc"),
            "{\"status\":\"Pulling fs layer\",\"progressDetail\":{},\"id\":\"abc\"}\r\n"
        );
        assert_eq!(
            line(image::Event::Downloading { current: 500, total: 1000 }, "abc"),
            "{\"status\":\"Downloading\",\"progressDetail\":{\"current\":500,\"total\":1000},\"progress\":\"[=========================\u{3e}                        ]     500B/1kB\",\"id\":\"abc\"}\r\n"
        );
        assert_eq!(line(image::Event::Message("Status: done".into()), ""), "{\"status\":\"Status: done\"}\r\n");
    }

    #[test]
    fn bars_move_at_a_pace_and_always_end() {
        let pace = Pace::default();
        let at = |current| Progress { id: Some("x".into()), event: image::Event::Downloading { current, total: 10 } };
        assert!(pace.lets(&at(1)));
        assert!(!pace.lets(&at(2)));
        assert!(pace.lets(&at(10)));
    }
}
