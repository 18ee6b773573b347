//! From a method and a path to a route. Image names contain slashes, so a route is a first segment, a name of any
//! length, and a known last segment.

use crate::error::Error;
use http::Method;

/// One endpoint, with the names from its path.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Route {
    Ping,
    Version,
    Info,
    Events,
    DiskUsage,
    Check,
    Auth,
    ContainerCreate,
    ContainerList,
    ContainerPrune,
    ContainerInspect(String),
    ContainerTop(String),
    ContainerLogs(String),
    ContainerChanges(String),
    ContainerExport(String),
    ContainerStats(String),
    ContainerResize(String),
    ContainerStart(String),
    ContainerStop(String),
    ContainerRestart(String),
    ContainerKill(String),
    ContainerUpdate(String),
    ContainerRename(String),
    ContainerPause(String),
    ContainerUnpause(String),
    ContainerAttach(String),
    ContainerWait(String),
    ContainerRemove(String),
    ArchiveStat(String),
    ArchiveGet(String),
    ArchivePut(String),
    ExecCreate(String),
    ExecStart(String),
    ExecResize(String),
    ExecInspect(String),
    ImageList,
    ImageCreate,
    ImagePrune,
    ImageInspect(String),
    ImageHistory(String),
    ImageTag(String),
    ImageRemove(String),
    NetworkList,
    NetworkInspect(String),
    VolumeList,
    VolumeCreate,
    VolumePrune,
    VolumeInspect(String),
    VolumeRemove(String),
    /// There are none.
    PluginList,
    PluginInspect(String),
    Options,
    /// A door of Docker's that this version does not have: what a client is told.
    Absent(&'static str),
    /// Swarm: only a manager answers.
    Swarm,
}

/// Major and minor.
pub type Version = (u32, u32);

/// The version of the API a request asked for, and the rest of its path.
///
/// # Errors
/// 400, in dockerd's words, when the version is not served.
pub fn version(path: &str) -> Result<(Option<Version>, &str), Error> {
    let Some((prefix, rest)) = path.strip_prefix("/v").and_then(|p| p.split_once('/')) else { return Ok((None, path)) };
    if prefix.is_empty() || !prefix.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Ok((None, path));
    }
    let asked = number(prefix);
    let (min, max) = (number(api::MIN_VERSION), number(api::VERSION));
    if asked < min {
        return Err(Error::invalid(format!(
            "client version {prefix} is too old. Minimum supported API version is {}, please upgrade your client to a newer version",
            api::MIN_VERSION
        )));
    }
    if asked > max {
        return Err(Error::invalid(format!(
            "client version {prefix} is too new. Maximum supported API version is {}",
            api::VERSION
        )));
    }
    Ok((Some(asked), &path[path.len() - rest.len() - 1..]))
}

fn number(version: &str) -> (u32, u32) {
    let mut parts = version.split('.').map(|p| p.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// The route of `path`, which is percent-decoded and without its version.
///
/// # Errors
/// 404 `page not found`, also for a known path with another method.
pub fn route(method: &Method, path: &str) -> Result<Route, Error> {
    let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    let verb = method.as_str();
    if verb == "OPTIONS" {
        return Ok(Route::Options);
    }
    let found = match segments.as_slice() {
        [] => None,
        ["containers", rest @ ..] => container(verb, rest),
        ["exec", rest @ ..] => exec(verb, rest),
        ["images", rest @ ..] => image(verb, rest),
        ["networks", rest @ ..] => network(verb, rest),
        ["volumes", rest @ ..] => volume(verb, rest),
        [first, rest @ ..] => system(verb, first, rest),
    };
    found.ok_or_else(Error::page_not_found)
}

fn container(verb: &str, segments: &[&str]) -> Option<Route> {
    let (name, action) = match segments {
        ["create"] if verb == "POST" => return Some(Route::ContainerCreate),
        ["json"] if verb == "GET" => return Some(Route::ContainerList),
        ["prune"] if verb == "POST" => return Some(Route::ContainerPrune),
        [_, "attach", "ws"] if verb == "GET" => return Some(Route::Absent("attach over a WebSocket")),
        [_, "checkpoints", ..] => return Some(Route::Absent("checkpoint")),
        [name] if verb == "DELETE" => return Some(Route::ContainerRemove((*name).to_owned())),
        [name, action] => ((*name).to_owned(), *action),
        _ => return None,
    };
    Some(match (verb, action) {
        ("GET", "json") => Route::ContainerInspect(name),
        ("GET", "top") => Route::ContainerTop(name),
        ("GET", "logs") => Route::ContainerLogs(name),
        ("GET", "changes") => Route::ContainerChanges(name),
        ("GET", "export") => Route::ContainerExport(name),
        ("GET", "stats") => Route::ContainerStats(name),
        ("POST", "resize") => Route::ContainerResize(name),
        ("POST", "start") => Route::ContainerStart(name),
        ("POST", "stop") => Route::ContainerStop(name),
        ("POST", "restart") => Route::ContainerRestart(name),
        ("POST", "kill") => Route::ContainerKill(name),
        ("POST", "update") => Route::ContainerUpdate(name),
        ("POST", "rename") => Route::ContainerRename(name),
        ("POST", "pause") => Route::ContainerPause(name),
        ("POST", "unpause") => Route::ContainerUnpause(name),
        ("POST", "attach") => Route::ContainerAttach(name),
        ("POST", "wait") => Route::ContainerWait(name),
        ("POST", "exec") => Route::ExecCreate(name),
        ("HEAD", "archive") => Route::ArchiveStat(name),
        ("GET", "archive") => Route::ArchiveGet(name),
        ("PUT", "archive") => Route::ArchivePut(name),
        _ => return None,
    })
}

fn exec(verb: &str, segments: &[&str]) -> Option<Route> {
    Some(match (verb, segments) {
        ("POST", [id, "start"]) => Route::ExecStart((*id).to_owned()),
        ("POST", [id, "resize"]) => Route::ExecResize((*id).to_owned()),
        ("GET", [id, "json"]) => Route::ExecInspect((*id).to_owned()),
        _ => return None,
    })
}

fn image(verb: &str, segments: &[&str]) -> Option<Route> {
    match (verb, segments) {
        ("GET", ["json"]) => return Some(Route::ImageList),
        ("GET", ["search"]) => return Some(Route::Absent("searching a registry")),
        ("GET", ["get"]) => return Some(Route::Absent("save")),
        ("POST", ["create"]) => return Some(Route::ImageCreate),
        ("POST", ["load"]) => return Some(Route::Absent("load")),
        ("POST", ["prune"]) => return Some(Route::ImagePrune),
        ("DELETE", [_, ..]) => return Some(Route::ImageRemove(segments.join("/"))),
        _ => {}
    }
    let (last, name) = segments.split_last()?;
    if name.is_empty() {
        return None;
    }
    let name = name.join("/");
    Some(match (verb, *last) {
        ("GET", "json") => Route::ImageInspect(name),
        ("GET", "history") => Route::ImageHistory(name),
        ("GET", "get") => Route::Absent("save"),
        ("POST", "tag") => Route::ImageTag(name),
        ("POST", "push") => Route::Absent("push"),
        _ => return None,
    })
}

fn network(verb: &str, segments: &[&str]) -> Option<Route> {
    Some(match (verb, segments) {
        ("GET", []) => Route::NetworkList,
        ("POST", ["create"]) => Route::Absent("network create"),
        ("POST", ["prune"]) => Route::Absent("network prune"),
        ("GET", [name]) => Route::NetworkInspect((*name).to_owned()),
        ("DELETE", [_]) => Route::Absent("network rm"),
        ("POST", [_, "connect"]) => Route::Absent("network connect"),
        ("POST", [_, "disconnect"]) => Route::Absent("network disconnect"),
        _ => return None,
    })
}

fn volume(verb: &str, segments: &[&str]) -> Option<Route> {
    Some(match (verb, segments) {
        ("GET", []) => Route::VolumeList,
        ("POST", ["create"]) => Route::VolumeCreate,
        ("POST", ["prune"]) => Route::VolumePrune,
        ("GET", [name]) => Route::VolumeInspect((*name).to_owned()),
        ("DELETE", [name]) => Route::VolumeRemove((*name).to_owned()),
        ("PUT", [_]) => Route::Swarm,
        _ => return None,
    })
}

fn system(verb: &str, first: &str, rest: &[&str]) -> Option<Route> {
    Some(match (verb, first, rest) {
        ("GET" | "HEAD", "_ping", []) => Route::Ping,
        ("GET", "version", []) => Route::Version,
        ("GET", "info", []) => Route::Info,
        ("GET", "events", []) => Route::Events,
        ("GET", "system", ["df"]) => Route::DiskUsage,
        ("POST", "system", ["check"]) => Route::Check,
        ("POST", "auth", []) => Route::Auth,
        ("POST", "commit", []) => Route::Absent("commit"),
        ("POST", "build", []) | ("POST", "build", ["prune" | "cancel"]) => Route::Absent("build"),
        ("POST", "session" | "grpc", []) => Route::Absent("BuildKit"),
        ("GET", "distribution", [_, .., "json"]) => Route::Absent("manifest inspect"),
        ("GET", "plugins", []) => Route::PluginList,
        ("GET", "plugins", [name @ .., "json"]) => Route::PluginInspect(name.join("/")),
        (_, "plugins", _) => Route::Absent("plugin"),
        (_, "swarm" | "nodes" | "services" | "tasks" | "secrets" | "configs", _) => Route::Swarm,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> Option<Route> {
        route(&Method::GET, path).ok()
    }

    #[test]
    fn names_with_slashes() {
        let name = "127.0.0.1:5000/a/b:json";
        assert_eq!(get(&format!("/images/{name}/json")), Some(Route::ImageInspect(name.into())));
        assert_eq!(get(&format!("/images/{name}/history")), Some(Route::ImageHistory(name.into())));
        assert_eq!(route(&Method::DELETE, &format!("/images/{name}")).ok(), Some(Route::ImageRemove(name.into())));
        assert_eq!(route(&Method::POST, "/images/a/b/tag").ok(), Some(Route::ImageTag("a/b".into())));
        assert_eq!(get("/images/json"), Some(Route::ImageList));
        assert_eq!(get("/images/json/json"), Some(Route::ImageInspect("json".into())));
        assert_eq!(get("/containers/a/b/json"), None);
    }

    #[test]
    fn the_table() {
        for (method, path, want) in [
            ("GET", "/_ping", Some(Route::Ping)),
            ("HEAD", "/_ping", Some(Route::Ping)),
            ("POST", "/_ping", None),
            ("GET", "/containers/json", Some(Route::ContainerList)),
            ("GET", "/containers/json/json", Some(Route::ContainerInspect("json".into()))),
            ("POST", "/containers/c/wait", Some(Route::ContainerWait("c".into()))),
            ("GET", "/containers/c/wait", None),
            ("HEAD", "/containers/c/archive", Some(Route::ArchiveStat("c".into()))),
            ("PUT", "/containers/c/archive", Some(Route::ArchivePut("c".into()))),
            ("DELETE", "/containers/c", Some(Route::ContainerRemove("c".into()))),
            ("POST", "/exec/e/start", Some(Route::ExecStart("e".into()))),
            ("GET", "/networks/", Some(Route::NetworkList)),
            ("GET", "/volumes/v", Some(Route::VolumeInspect("v".into()))),
            ("GET", "/system/df", Some(Route::DiskUsage)),
            ("POST", "/system/check", Some(Route::Check)),
            ("GET", "/system/check", None),
            ("POST", "/swarm/init", Some(Route::Swarm)),
            ("POST", "/build", Some(Route::Absent("build"))),
            ("OPTIONS", "/anything", Some(Route::Options)),
            ("GET", "/", None),
            ("GET", "/nope", None),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(route(&method, path).ok(), want, "{method} {path}");
        }
    }

    #[test]
    fn versions() {
        assert_eq!(version("/v1.51/info").unwrap(), (Some((1, 51)), "/info"));
        assert_eq!(version("/v1.24/images/v1.2/json").unwrap(), (Some((1, 24)), "/images/v1.2/json"));
        assert_eq!(version("/info").unwrap(), (None, "/info"));
        assert_eq!(version("/version").unwrap(), (None, "/version"));
        assert_eq!(version("/volumes/x").unwrap(), (None, "/volumes/x"));
        assert_eq!(
            version("/v1.99/info").unwrap_err().message,
            "client version 1.99 is too new. Maximum supported API version is 1.51"
        );
        assert_eq!(
            version("/v1.9/info").unwrap_err().message,
            "client version 1.9 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"
        );
    }
}
