//! `GET /events`.

use crate::error::{Error, Result};
use crate::request::Query;
use crate::response::{self, Body, JSON};
use api::event::Event;
use api::filters::Filters;
use bytes::Bytes;
use container::Events;
use http::Response;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;

/// The keys of its filters.
const ACCEPTED: [&str; 13] = [
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "service",
    "type",
    "volume",
];

/// How many connections listen now.
static LISTENERS: AtomicI64 = AtomicI64::new(0);

/// How many connections listen now.
pub fn listeners() -> i64 {
    LISTENERS.load(Ordering::Relaxed)
}

/// Counts one listener while it lives.
struct Listening;

impl Listening {
    fn new() -> Listening {
        LISTENERS.fetch_add(1, Ordering::Relaxed);
        Listening
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        LISTENERS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Streams what happened since then and what happens until then.
pub fn stream(events: &Events, query: &Query) -> Result<Response<Body>> {
    let filters = query.filters(&ACCEPTED)?;
    let since = time(query.get("since"))?;
    let until = time(query.get("until"))?;
    if let (Some(since), Some(until)) = (since, until)
        && until < since
    {
        return Err(Error::invalid(format!(
            "`since` time ({}) cannot be after `until` time ({})",
            query.get("since"),
            query.get("until")
        )));
    }
    let (past, mut live) = events.subscribe();
    let (feed, response) = response::stream(JSON);
    tokio::spawn(async move {
        let _listening = Listening::new();
        let wanted = |event: &Event| until.is_none_or(|until| event.time_nano <= until) && includes(&filters, event);
        if let Some(since) = since {
            for event in past.iter().filter(|e| e.time_nano >= since && wanted(e)) {
                if feed.send(line(event)).await.is_err() {
                    return;
                }
            }
        } else if let Some(until) = until {
            // Only `until`: all of the past is asked for.
            for event in past.iter().filter(|e| e.time_nano <= until && wanted(e)) {
                if feed.send(line(event)).await.is_err() {
                    return;
                }
            }
        }
        let end = until.map(|until| Duration::from_nanos(u64::try_from(until - now_ns()).unwrap_or(0)));
        let end = async {
            match end {
                Some(left) => tokio::time::sleep(left).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(end);
        loop {
            let event = tokio::select! {
                () = &mut end => return,
                () = feed.closed() => return,
                event = live.recv() => match event {
                    Ok(event) => event,
                    Err(RecvError::Lagged(_)) => continue,
                    Err(RecvError::Closed) => return,
                },
            };
            if wanted(&event) && feed.send(line(&event)).await.is_err() {
                return;
            }
        }
    });
    Ok(response)
}

fn line(event: &Event) -> Bytes {
    let mut bytes = serde_json::to_vec(event).unwrap_or_default();
    bytes.push(b'\n');
    bytes.into()
}

/// The time now, nanoseconds since the epoch.
pub fn now_ns() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// `seconds` or `seconds.fraction` since the epoch, in nanoseconds.
pub fn time(text: &str) -> Result<Option<i64>> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || Error::invalid(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"));
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().map_err(|_| wrong())?;
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let nanos: i64 = format!("{fraction:0<9}").parse().map_err(|_| wrong())?;
    Ok(Some(seconds.saturating_mul(1_000_000_000).saturating_add(nanos)))
}

/// Whether dockerd's filters let an event through.
fn includes(filters: &Filters, event: &Event) -> bool {
    let attribute = |key: &str| event.actor.attributes.get(key).map_or("", String::as_str);
    // `exec_start: sh -c …` is found as `exec_start`, too.
    let action = event.action.split(": ").next().unwrap_or_default();
    let by_name = |key: &str| filters.prefix(key, &event.actor.id) || filters.prefix(key, attribute("name"));
    let labels: &BTreeMap<String, String> = &event.actor.attributes;
    (filters.exact("event", &event.action) || filters.exact("event", action))
        && filters.exact("type", &event.kind)
        && filters.exact("scope", &event.scope)
        && ["container", "daemon", "network", "node", "plugin", "volume", "service", "config"].into_iter().all(by_name)
        && image(filters, event, attribute(if event.kind == "image" { "name" } else { "image" }))
        && filters.labels("label", labels)
}

fn image(filters: &Filters, event: &Event, name: &str) -> bool {
    let without_tag = |text: &str| match text.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => before.to_owned(),
        _ => text.to_owned(),
    };
    let id = &event.actor.id;
    [id.clone(), name.to_owned(), without_tag(id), without_tag(name)].iter().any(|text| filters.exact("image", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(time("").unwrap(), None);
        assert_eq!(time("5").unwrap(), Some(5_000_000_000));
        assert_eq!(time("5.25").unwrap(), Some(5_250_000_000));
        assert_eq!(time("5.000000001").unwrap(), Some(5_000_000_001));
        assert!(time("x").is_err() && time("5.x").is_err() && time("5.0000000001").is_err());
    }

    #[test]
    fn filters_as_dockerd_reads_them() {
        let attributes = [("image", "debian:13"), ("name", "web"), ("tier", "front")];
        let attributes = attributes.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        let event = Event::new("container", "exec_start: sh", "abcdef", attributes, 1);
        for (filter, want) in [
            ("{}", true),
            (r#"{"event":["exec_start"]}"#, true),
            (r#"{"event":["die"]}"#, false),
            (r#"{"container":["abc"]}"#, true),
            (r#"{"container":["web"]}"#, true),
            (r#"{"container":["db"]}"#, false),
            (r#"{"image":["debian"]}"#, true),
            (r#"{"image":["ubuntu"]}"#, false),
            (r#"{"type":["image"]}"#, false),
            (r#"{"label":["tier=front"]}"#, true),
            (r#"{"label":["tier=back"]}"#, false),
            (r#"{"scope":["local"]}"#, true),
        ] {
            assert_eq!(includes(&Filters::parse(filter).unwrap(), &event), want, "{filter}");
        }
    }
}
