//! `/images`, but for create.

use crate::error::{Error, Result};
use crate::request::Query;
use crate::routes::event::now_ns;
use api::container::{GraphDriver, HealthConfig, NEVER};
use api::event::Event;
use api::filters::Filters;
use api::image::{HistoryItem, ImageConfig, ImageInspect, ImageMetadata, ImageSummary, ImagesPruned, Removed, RootFs};
use api::{Empty, List, Map};
use container::Events;
use image::{Image, Images};
use std::collections::HashMap;

/// Who uses an image: asked by ID.
pub type Users<'a> = &'a dyn Fn(&oci::Digest) -> Vec<image::User>;

/// `GET /images/json`
pub fn list(
    images: &Images,
    used: &HashMap<String, i64>,
    version: (u32, u32),
    query: &Query,
) -> Result<Vec<ImageSummary>> {
    let filters = query.filters(&["before", "dangling", "label", "reference", "since", "until"])?;
    let invalid = |e: api::filters::InvalidFilter| Error::invalid(e.0);
    let dangling =
        if filters.contains("dangling") { Some(filters.boolean("dangling", false).map_err(invalid)?) } else { None };
    let created = |key: &str| -> Result<Option<i64>> {
        filters.get(key).next().map(|name| Ok(images.get(name)?.created)).transpose()
    };
    let (before, since, until) = (created("before")?, created("since")?, until(&filters)?);
    let sharing = query.boolean("shared-size").then(|| images.sharing());
    let mut all = Vec::new();
    for mut image in images.list() {
        let in_time = before.is_none_or(|t| image.created < t)
            && since.is_none_or(|t| image.created > t)
            && until.is_none_or(|t| image.created < t);
        let labelled = filters.labels("label", &image.config.config.labels);
        if !in_time || !labelled || dangling.is_some_and(|d| d != image.repo_tags.is_empty()) {
            continue;
        }
        if filters.contains("reference") {
            let wanted = |name: &String| filters.get("reference").any(|pattern| reference_matches(pattern, name));
            image.repo_tags.retain(wanted);
            image.repo_digests.retain(wanted);
            if image.repo_tags.is_empty() && image.repo_digests.is_empty() {
                continue;
            }
        }
        let mut summary = summary(image, used, version);
        if let Some(sharing) = &sharing {
            summary.shared_size = shared(sharing, &summary.id);
        }
        all.push(summary);
    }
    Ok(all)
}

/// `GET /images/json` of everything, for `/system/df`; and the size of all layers.
pub fn all(images: &Images, used: &HashMap<String, i64>) -> (Vec<ImageSummary>, i64) {
    let sharing = images.sharing();
    let summary = |image: Image| {
        let summary = summary(image, used, (1, 51));
        ImageSummary { shared_size: shared(&sharing, &summary.id), ..summary }
    };
    (images.list().into_iter().map(summary).collect(), i64::try_from(sharing.layers).unwrap_or(i64::MAX))
}

fn shared(sharing: &image::Sharing, id: &str) -> i64 {
    let size = id.parse().ok().and_then(|id: oci::Digest| sharing.shared.get(&id).copied());
    size.map_or(-1, |size| i64::try_from(size).unwrap_or(i64::MAX))
}

fn summary(image: Image, used: &HashMap<String, i64>, version: (u32, u32)) -> ImageSummary {
    let size = i64::try_from(image.size).unwrap_or(i64::MAX);
    let labels = image.config.config.labels.clone();
    ImageSummary {
        containers: if version >= (1, 51) { used.get(image.id.as_str()).copied().unwrap_or(0) } else { -1 },
        created: image.created,
        id: image.id.to_string(),
        labels: if labels.is_empty() { Map::null() } else { labels.into() },
        parent_id: String::new(),
        repo_digests: image.repo_digests,
        repo_tags: image.repo_tags,
        shared_size: -1,
        size,
        virtual_size: (version < (1, 44)).then_some(size),
    }
}

/// Seconds since the epoch before which something must have been made.
pub fn until(filters: &Filters) -> Result<Option<i64>> {
    let Some(text) = filters.get("until").next() else { return Ok(None) };
    if let Ok(Some(ns)) = super::event::time(text) {
        return Ok(Some(ns / 1_000_000_000));
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(Some(time.as_second()));
    }
    if let Some(seconds) = go_duration(text) {
        return Ok(Some(now_ns() / 1_000_000_000 - seconds));
    }
    Err(Error::invalid(format!("invalid value for \"until\" filter: {text:?}")))
}

/// Go's durations: `24h`, `1h30m`, in whole seconds.
fn go_duration(text: &str) -> Option<i64> {
    let (mut total, mut rest) = (0.0, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let scale = match &rest[..unit] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            _ => return None,
        };
        total += number * scale;
        rest = &rest[unit..];
    }
    (!text.is_empty()).then_some(total as i64)
}

/// Go's `path.Match` on the whole name or on the name without tag and digest.
fn reference_matches(pattern: &str, name: &str) -> bool {
    let bare = name.split('@').next().unwrap_or(name);
    let bare = match bare.rsplit_once(':') {
        Some((before, after)) if !after.contains('/') => before,
        _ => bare,
    };
    let pattern: Vec<char> = pattern.chars().collect();
    [name, bare].iter().any(|text| glob(&pattern, &text.chars().collect::<Vec<_>>()))
}

/// `*` and `?` stop at a slash.
fn glob(pattern: &[char], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
                continue;
            }
            Some('?') if text[t] != '/' => {
                p += 1;
                t += 1;
                continue;
            }
            Some(c) if *c == text[t] && *c != '?' => {
                p += 1;
                t += 1;
                continue;
            }
            _ => {}
        }
        match star {
            Some((at, from)) if text[from] != '/' => {
                star = Some((at, from + 1));
                p = at + 1;
                t = from + 1;
            }
            _ => return false,
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// `GET /images/{name}/json`
pub fn inspect(images: &Images, name: &str, query: &Query) -> Result<ImageInspect> {
    let image = images.get(name)?;
    if query.has("platform") {
        is_for(&image, name, query.get("platform"))?;
    }
    let config = &image.config;
    let newest = config.history.last();
    let tagged = jiff::Timestamp::from_second(image.tagged).ok().filter(|_| image.tagged != 0);
    Ok(ImageInspect {
        id: image.id.to_string(),
        repo_tags: image.repo_tags.into(),
        repo_digests: image.repo_digests.into(),
        parent: String::new(),
        comment: newest.and_then(|h| h.comment.clone()).unwrap_or_default(),
        created: config.created.clone().unwrap_or_default(),
        docker_version: String::new(),
        author: config.author.clone().unwrap_or_default(),
        config: Some(image_config(&config.config)),
        architecture: config.platform.architecture.clone(),
        variant: config.platform.variant.clone().unwrap_or_default(),
        os: config.platform.os.clone(),
        os_version: config.platform.os_version.clone().unwrap_or_default(),
        size: i64::try_from(image.size).unwrap_or(i64::MAX),
        graph_driver: GraphDriver { data: Map::null(), name: super::system::STORAGE_DRIVER.into() },
        root_fs: RootFs {
            kind: "layers".into(),
            layers: config.rootfs.diff_ids.iter().map(ToString::to_string).collect(),
        },
        metadata: ImageMetadata { last_tag_time: tagged.map_or(NEVER.into(), |t| t.to_string()) },
    })
}

/// Refuses an image that is not for a platform, given as JSON: each has one here.
fn is_for(image: &Image, name: &str, platform: &str) -> Result<()> {
    let wanted: oci::Platform =
        serde_json::from_str(platform).map_err(|e| Error::invalid(format!("failed to parse platform: {e}")))?;
    if wanted.os.is_empty() || wanted.architecture.is_empty() {
        return Err(Error::invalid("both OS and Architecture must be provided"));
    }
    let is = &image.config.platform;
    match wanted.rank(is) {
        Some(_) => Ok(()),
        None => Err(Error::new(
            http::StatusCode::NOT_FOUND,
            format!(
                "image with reference {name} was found but its platform ({is}) does not match the specified platform ({wanted})"
            ),
        )),
    }
}

fn image_config(config: &oci::image::ContainerConfig) -> ImageConfig {
    let keys = |map: &std::collections::BTreeMap<String, oci::image::Empty>| -> Map<Empty> {
        map.keys().map(|key| (key.clone(), Empty {})).collect()
    };
    ImageConfig {
        user: config.user.clone(),
        exposed_ports: keys(&config.exposed_ports),
        env: config.env.clone().into(),
        entrypoint: config.entrypoint.clone().unwrap_or_default().into(),
        cmd: config.cmd.clone().unwrap_or_default().into(),
        volumes: keys(&config.volumes),
        working_dir: config.working_dir.clone(),
        labels: config.labels.clone().into(),
        stop_signal: config.stop_signal.clone(),
        args_escaped: config.args_escaped,
        healthcheck: config.healthcheck.clone().and_then(|v| serde_json::from_value::<HealthConfig>(v).ok()),
        on_build: config.on_build.clone().into(),
        shell: config.shell.clone().unwrap_or_default().into(),
    }
}

/// `GET /images/{name}/history`. Blocks.
pub fn history(images: &Images, name: &str) -> Result<Vec<HistoryItem>> {
    let lines = images.history(name)?;
    Ok(lines
        .into_iter()
        .map(|line| HistoryItem {
            comment: line.comment,
            created: line.created,
            created_by: line.created_by,
            id: line.id,
            size: i64::try_from(line.size).unwrap_or(i64::MAX),
            tags: if line.tags.is_empty() { List::null() } else { line.tags.into() },
        })
        .collect())
}

/// A reference from a repository and a tag, each of which may be empty.
pub fn reference(repository: &str, tag: &str) -> Result<oci::Reference> {
    let text = match tag {
        "" => repository.to_owned(),
        digest if digest.contains(':') => format!("{repository}@{digest}"),
        tag => format!("{repository}:{tag}"),
    };
    text.parse().map_err(|e: oci::Error| Error::invalid(e.to_string()))
}

/// `POST /images/{name}/tag`. Blocks.
pub fn tag(images: &Images, events: &Events, name: &str, query: &Query) -> Result<()> {
    let target = reference(query.get("repo"), query.get("tag"))?.or_latest();
    images.tag(name, &target)?;
    let id = images.get(name)?.id;
    publish(events, "tag", id.as_str(), &target.familiar());
    Ok(())
}

/// `DELETE /images/{name}`. Blocks.
pub fn remove(images: &Images, events: &Events, users: Users, name: &str, query: &Query) -> Result<Vec<Removed>> {
    let image = images.get(name)?;
    for platform in query.all("platforms") {
        // The one that it has is all of it.
        is_for(&image, name, &platform)?;
    }
    let id = image.id;
    let done = images.remove(name, query.boolean("force"), users)?;
    Ok(report(events, id.as_str(), done))
}

fn report(events: &Events, id: &str, done: Vec<image::Removed>) -> Vec<Removed> {
    let mut list = Vec::new();
    for what in done {
        list.push(match what {
            image::Removed::Untagged(name) => {
                publish(events, "untag", id, id);
                Removed { untagged: Some(name), deleted: None }
            }
            image::Removed::Deleted(what) => {
                if what == id {
                    publish(events, "delete", id, id);
                }
                Removed { untagged: None, deleted: Some(what) }
            }
        });
    }
    list
}

/// Something happened to an image.
pub fn publish(events: &Events, action: &str, id: &str, name: &str) {
    let attributes = [("name".to_owned(), name.to_owned())].into_iter().collect();
    events.publish(Event::new("image", action, id, attributes, now_ns()));
}

/// `POST /images/prune`. Blocks.
pub fn prune(images: &Images, events: &Events, users: Users, query: &Query) -> Result<ImagesPruned> {
    let filters = query.filters(&["dangling", "label", "label!", "until"])?;
    let only_dangling = filters.boolean("dangling", true).map_err(|e| Error::invalid(e.0))?;
    let until = until(&filters)?;
    let mut pruned = ImagesPruned::default();
    for image in images.list() {
        let labels = &image.config.config.labels;
        let kept = (only_dangling && !image.repo_tags.is_empty())
            || until.is_some_and(|t| image.created >= t)
            || !filters.labels("label", labels)
            || (filters.contains("label!") && filters.labels("label!", labels))
            || !users(&image.id).is_empty();
        if kept {
            continue;
        }
        // One that came into use or went away meanwhile is simply left.
        if let Ok(done) = images.remove(image.id.as_str(), true, users) {
            pruned.images_deleted.extend(report(events, image.id.as_str(), done));
            pruned.space_reclaimed += image.size;
        }
    }
    let attributes = [("reclaimed".to_owned(), pruned.space_reclaimed.to_string())].into_iter().collect();
    events.publish(Event::new("image", "prune", "", attributes, now_ns()));
    Ok(pruned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_by_pattern() {
        for (pattern, name, want) in [
            ("debian", "debian:13", true),
            ("debian:13", "debian:13", true),
            ("deb*", "debian:13", true),
            ("debian:*", "debian:13", true),
            ("*", "a/b:1", false),
            ("*/*", "a/b:1", true),
            ("a/?", "a/b:1", true),
            ("127.0.0.1:5000/*", "127.0.0.1:5000/x:1", true),
            ("x", "127.0.0.1:5000/x:1", false),
            ("debian", "debian@sha256:00", true),
        ] {
            assert_eq!(reference_matches(pattern, name), want, "{pattern} {name}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(go_duration("24h"), Some(86_400));
        assert_eq!(go_duration("1h30m5s"), Some(5405));
        assert_eq!(go_duration(""), None);
        assert_eq!(go_duration("5x"), None);
        assert_eq!(go_duration("h"), None);
    }
}
