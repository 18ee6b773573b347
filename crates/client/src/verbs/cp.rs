//! cp

use super::image::read_stream;
use super::lifecycle::path as container_path;
use crate::archive::{self, Unpack};
use crate::engine::{Ask, Engine, next_piece};
use crate::failure::{Failure, Result, describe};
use crate::flags::{Parsed, quote};
use crate::options::values::clean;
use crate::output;
use api::container::{PathStat, go_mode};
use bytes::Bytes;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// `CONTAINER:PATH`, or a path of this machine.
fn split(arg: &str) -> (Option<&str>, &str) {
    if arg.starts_with('/') || arg.starts_with('.') {
        return (None, arg);
    }
    match arg.split_once(':') {
        Some((container, path)) if !container.contains('/') && !container.starts_with('.') => (Some(container), path),
        _ => (None, arg),
    }
}

/// `cp`
pub async fn cp(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let (source, target) = (flags.args[0].as_str(), flags.args[1].as_str());
    if source.is_empty() {
        return Err(Failure::new("source can not be empty"));
    }
    if target.is_empty() {
        return Err(Failure::new("destination can not be empty"));
    }
    match (split(source), split(target)) {
        ((Some(_), _), (Some(_), _)) => Err(Failure::new("copying between containers is not supported")),
        ((Some(container), path), (None, local)) => from(engine, flags, container, path, local).await,
        ((None, local), (Some(container), path)) => to(engine, flags, container, local, path).await,
        ((None, _), (None, _)) => Err(Failure::new("must specify at least one container source")),
    }
}

/// Whether a path says that it is a directory.
fn asserts_directory(path: &str) -> bool {
    path.ends_with('/') || path == "." || path.ends_with("/.")
}

/// The last component; `.` when the path means the contents of a directory.
fn base(path: &str) -> String {
    if path == "." || path.ends_with("/.") {
        return ".".into();
    }
    clean(path).rsplit('/').next().unwrap_or("").to_string()
}

fn absolute(path: &str) -> String {
    let rooted = if path.starts_with('/') { path.to_string() } else { format!("/{path}") };
    let kept = if rooted.ends_with("/.") {
        "/."
    } else if rooted.ends_with('/') && rooted != "/" {
        "/"
    } else {
        ""
    };
    let cleaned = clean(&rooted);
    if cleaned == "/" { format!("/{}", kept.trim_start_matches('/')) } else { format!("{cleaned}{kept}") }
}

async fn stat(engine: &Engine<'_>, container: &str, path: &str) -> Result<PathStat> {
    let ask = Ask::head(format!("{}/archive", container_path(container))).query("path", path);
    let response = engine.send(ask).await.map_err(|failure| match failure.is_not_found() {
        // a HEAD carries no message
        true => Failure {
            text: format!("Error response from daemon: Could not find the file {path} in container {container}"),
            ..failure
        },
        false => failure,
    })?;
    header(&response)
}

fn header<B>(response: &http::Response<B>) -> Result<PathStat> {
    let value = response.headers().get("X-Docker-Container-Path-Stat").and_then(|v| v.to_str().ok());
    value
        .and_then(PathStat::from_header)
        .ok_or_else(|| Failure::new("unable to get resource stat from response: the engine sent none that can be read"))
}

/// What a link of a container leads to, as a path in it.
fn follow(path: &str, stat: &PathStat) -> String {
    match stat.link_target.starts_with('/') {
        true => stat.link_target.clone(),
        false => {
            let parent = clean(path).rsplit_once('/').map_or(String::new(), |(p, _)| p.to_string());
            clean(&format!("{parent}/{}", stat.link_target))
        }
    }
}

fn is(stat: &PathStat, bit: u32) -> bool {
    stat.mode & bit != 0
}

async fn from(engine: &Engine<'_>, flags: &Parsed, container: &str, source: &str, target: &str) -> Result<()> {
    let mut source = absolute(source);
    if flags.is("follow-link") {
        let found = stat(engine, container, &source).await?;
        if is(&found, go_mode::SYMLINK) {
            source = follow(&source, &found);
        }
    }
    let ask = Ask::get(format!("{}/archive", container_path(container))).query("path", source.clone());
    let response = engine.send(ask).await?;
    let found = header(&response)?;
    let mut body = response.into_body();
    if target == "-" {
        if output::is_terminal() {
            return Err(Failure::new("cowardly refusing to write a tar archive to a terminal"));
        }
        while let Some(piece) = next_piece(&mut body).await? {
            output::raw(&piece)?;
        }
        return Ok(());
    }
    let (root, rename) = local_target(target, &source, is(&found, go_mode::DIR))?;
    let how = Unpack { rename, owners: flags.is("archive") };
    let (sender, receiver) = std::sync::mpsc::sync_channel::<std::io::Result<Bytes>>(8);
    let unpacked =
        tokio::task::spawn_blocking(move || archive::unpack(Pieces { receiver, now: Bytes::new() }, &root, &how));
    loop {
        let piece = match next_piece(&mut body).await {
            Ok(None) => break,
            Ok(Some(piece)) => Ok(piece),
            Err(failure) => Err(std::io::Error::other(failure.text)),
        };
        let failed = piece.is_err();
        // blocks when the disk is slower than the engine, which is all there is to wait for
        if sender.send(piece).is_err() || failed {
            break;
        }
    }
    drop(sender);
    let size = unpacked.await.map_err(|e| Failure::new(e.to_string()))??;
    said(flags, size, &clean_local(target));
    Ok(())
}

/// Where to unpack, and what the first component becomes.
fn local_target(target: &str, source: &str, source_is_directory: bool) -> Result<(PathBuf, Option<Vec<u8>>)> {
    let path = Path::new(target);
    let name = base(source);
    if let Ok(meta) = path.metadata() {
        if meta.is_dir() {
            return Ok((path.to_path_buf(), None));
        }
        if source_is_directory {
            return Err(Failure::new("cannot copy directory"));
        }
        if asserts_directory(target) {
            return Err(Failure::new("not a directory"));
        }
    } else {
        let cleaned = clean_local(target);
        let parent = Path::new(&cleaned).parent().filter(|p| !p.as_os_str().is_empty() && !p.exists());
        if let Some(parent) = parent {
            let parent = quote(&parent.to_string_lossy());
            return Err(Failure::new(format!("invalid output path: directory {parent} does not exist")));
        }
        if asserts_directory(target) && !source_is_directory {
            return Err(Failure::new("no such directory"));
        }
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    if !parent.is_dir() {
        let shown = clean_local(&parent.to_string_lossy());
        return Err(Failure::new(format!("invalid output path: directory {} does not exist", quote(&shown))));
    }
    let last = path.file_name().ok_or_else(|| Failure::new("invalid output path"))?;
    if name == "." {
        // the contents of a directory: the archive has no first component of its own
        std::fs::create_dir(path).map_err(|e| Failure::new(format!("mkdir {target}: {}", describe(&e))))?;
        return Ok((path.to_path_buf(), None));
    }
    Ok((parent, Some(last.as_bytes().to_vec())))
}

fn clean_local(path: &str) -> String {
    match std::path::absolute(path) {
        Ok(path) => path.to_string_lossy().trim_end_matches('/').to_string(),
        Err(_) => path.into(),
    }
}

async fn to(engine: &Engine<'_>, flags: &Parsed, container: &str, source: &str, target: &str) -> Result<()> {
    let mut target_path = absolute(target);
    let mut found = match stat(engine, container, &target_path).await {
        Ok(found) => Some(found),
        Err(failure) if failure.is_not_found() => {
            // a missing container and a missing file are both 404: the first cannot be copied to
            engine.tell(Ask::get(format!("{}/json", container_path(container)))).await?;
            None
        }
        Err(failure) => return Err(failure),
    };
    if let Some(link) = found.as_ref().filter(|f| is(f, go_mode::SYMLINK)) {
        target_path = follow(&target_path, link);
        found = match stat(engine, container, &target_path).await {
            Err(failure) if failure.is_not_found() => None,
            other => Some(other?),
        };
    }
    let target_is_directory = found.as_ref().is_some_and(|f| is(f, go_mode::DIR));
    let put = |directory: String| {
        Ask::put(format!("{}/archive", container_path(container)))
            .query("path", directory)
            .query("noOverwriteDirNonDir", "true")
            .query("copyUIDGID", if flags.is("archive") { "true" } else { "false" })
    };
    if source == "-" {
        if !target_is_directory {
            return Err(Failure::new(format!("destination \"{container}:{target}\" must be a directory")));
        }
        engine.send_stream(put(target_path), "application/x-tar", read_stream(std::io::stdin())).await?;
        return Ok(());
    }
    let looks = flags.is("follow-link") || asserts_directory(source);
    let path = PathBuf::from(source);
    let meta = if looks { path.metadata() } else { path.symlink_metadata() };
    let meta = meta.map_err(|e| Failure::new(format!("lstat {}: {}", clean_local(source), describe(&e))))?;
    if asserts_directory(source) && !meta.is_dir() {
        return Err(Failure::new("not a directory"));
    }
    let own = match base(source) {
        name if name == ".." || name.is_empty() => {
            path.canonicalize()?.file_name().map_or_else(|| ".".to_string(), |n| n.to_string_lossy().into_owned())
        }
        name => name,
    };
    let (directory, name) = match &found {
        _ if target_is_directory => (target_path.clone(), own),
        Some(_) if meta.is_dir() => return Err(Failure::new("cannot copy directory")),
        Some(_) if asserts_directory(target) => return Err(Failure::new("not a directory")),
        None if asserts_directory(target) && !meta.is_dir() => return Err(Failure::new("no such directory")),
        _ => {
            let target = clean(&target_path);
            let (parent, last) = target.rsplit_once('/').unwrap_or(("", &target));
            (if parent.is_empty() { "/".into() } else { parent.to_string() }, last.to_string())
        }
    };
    let size = send(engine, put(directory), path, name, looks).await?;
    said(flags, size, &format!("{container}:{target}"));
    Ok(())
}

/// Packs on a thread of its own while the engine takes what is packed.
async fn send(engine: &Engine<'_>, ask: Ask, source: PathBuf, name: String, follow: bool) -> Result<u64> {
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<std::io::Result<Bytes>>(4);
    let count = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = count.clone();
    let packing = std::thread::spawn(move || {
        let mut out = Channel { sender: sender.clone(), buffer: Vec::new(), count: counted };
        let packed = archive::write(&source, Path::new(&name), follow, &mut out);
        if let Err(e) = packed {
            let text = format!("{}: {}", source.display(), describe(&e));
            let _ = sender.blocking_send(Err(std::io::Error::other(text.clone())));
            return Err(Failure::new(text));
        }
        Ok(())
    });
    let body = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    let sent = engine.send_stream(ask, "application/x-tar", body).await;
    let packed = packing.join().map_err(|_| Failure::new("packing failed"))?;
    // a stopped engine breaks the packer's pipe: what the engine says comes first
    sent?;
    packed?;
    Ok(count.load(std::sync::atomic::Ordering::Relaxed))
}

struct Channel {
    sender: tokio::sync::mpsc::Sender<std::io::Result<Bytes>>,
    buffer: Vec<u8>,
    count: std::sync::Arc<std::sync::atomic::AtomicU64>,
}

impl std::io::Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        self.count.fetch_add(bytes.len() as u64, std::sync::atomic::Ordering::Relaxed);
        if self.buffer.len() >= 128 * 1024 {
            self.flush()?;
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        let bytes = Bytes::from(std::mem::take(&mut self.buffer));
        if bytes.is_empty() {
            return Ok(());
        }
        self.sender.blocking_send(Ok(bytes)).map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }
}

struct Pieces {
    receiver: std::sync::mpsc::Receiver<std::io::Result<Bytes>>,
    now: Bytes,
}

impl std::io::Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.now.is_empty() {
            match self.receiver.recv() {
                Ok(piece) => self.now = piece?,
                Err(_) => return Ok(0),
            }
        }
        let n = buffer.len().min(self.now.len());
        buffer[..n].copy_from_slice(&self.now.split_to(n));
        Ok(n)
    }
}

fn said(flags: &Parsed, size: u64, target: &str) {
    if !flags.is("quiet") && rustix::termios::isatty(rustix::stdio::stderr()) {
        output::complain(&format!("Successfully copied {} to {target}", api::units::human_size_with(size as f64, 3)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        assert_eq!(split("c:/a"), (Some("c"), "/a"));
        assert_eq!(split("./c:/a"), (None, "./c:/a"));
        assert_eq!(split("/c:/a"), (None, "/c:/a"));
        assert_eq!(split("a/b:c"), (None, "a/b:c"));
        assert_eq!(base("/a/b/"), "b");
        assert_eq!(base("/a/."), ".");
        assert_eq!(absolute("a/b/."), "/a/b/.");
        assert_eq!(absolute("/a/"), "/a/");
        assert_eq!(absolute("."), "/.");
    }
}
