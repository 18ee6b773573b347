//! The sockets that requests come from.

use anyhow::{Context, Result, bail};
use rustix::fs::{Gid, Mode, chmod, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// A socket that listens, and the path to remove at the end.
pub struct Socket {
    /// Non-blocking.
    pub listener: UnixListener,
    /// Of a socket that this process made.
    pub path: Option<PathBuf>,
}

/// Opens every host of the configuration.
///
/// # Errors
/// When one cannot be had; the sockets made before it are removed again.
pub fn open(hosts: &[String], group: Option<&str>) -> Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    for host in hosts {
        let more = match host.split_once("://") {
            Some(("unix", path)) => unix(Path::new(path), group).map(|s| vec![s]),
            Some(("fd", name)) => inherited(name),
            _ => Err(anyhow::anyhow!("invalid bind address format: {host}")),
        };
        match more {
            Ok(more) => sockets.extend(more),
            Err(e) => {
                remove(&sockets);
                return Err(e.context(format!("failed to load listeners: {host}")));
            }
        }
    }
    Ok(sockets)
}

/// Removes the socket files of this process.
pub fn remove(sockets: &[Socket]) {
    for path in sockets.iter().filter_map(|s| s.path.as_ref()) {
        // Another daemon may have put its own in the place meanwhile; that one answers.
        if let Err(e) = std::fs::remove_file(path) {
            tracing::debug!("removing {}: {e}", path.display());
        }
    }
}

fn unix(path: &Path, group: Option<&str>) -> Result<Socket> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    }
    match UnixStream::connect(path) {
        Ok(_) => bail!("can't create unix socket {}: another engine answers there", path.display()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        // What is left of one that was killed.
        Err(_) => std::fs::remove_file(path).with_context(|| format!("can't create unix socket {}", path.display()))?,
    }
    // Nobody else may connect between bind and the change of mode. The process has one thread yet.
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path);
    rustix::process::umask(before);
    let listener = bound.with_context(|| format!("can't create unix socket {}", path.display()))?;
    let gid = match group {
        Some(name) => {
            Some(group_id(name).with_context(|| format!("could not change group {} to {name}", path.display()))?)
        }
        None => group_id("docker").or_else(|_| group_id("dhow")).ok(),
    };
    if let Some(gid) = gid {
        chown(path, None, Some(gid)).with_context(|| format!("changing the group of {}", path.display()))?;
    }
    chmod(path, Mode::from_raw_mode(0o660)).with_context(|| format!("changing the mode of {}", path.display()))?;
    listener.set_nonblocking(true)?;
    Ok(Socket { listener, path: Some(path.to_owned()) })
}

/// The number of a group by name or number.
fn group_id(name: &str) -> Result<Gid> {
    if let Ok(number) = name.parse::<u32>() {
        return Ok(Gid::from_raw(number));
    }
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let line = groups.lines().map(|l| l.split(':').collect::<Vec<_>>()).find(|f| f.first() == Some(&name));
    let number = line.and_then(|f| f.get(2).and_then(|n| n.parse().ok()));
    number.map(Gid::from_raw).ok_or_else(|| anyhow::anyhow!("group {name} not found"))
}

/// systemd's socket activation: descriptors from 3 on, if they are meant for this process.
fn inherited(name: &str) -> Result<Vec<Socket>> {
    let number = |key: &str| std::env::var(key).ok().and_then(|v| v.parse::<i32>().ok());
    let count = number("LISTEN_FDS").filter(|_| number("LISTEN_PID") == i32::try_from(std::process::id()).ok());
    let Some(count) = count.filter(|n| (1..=64).contains(n)) else {
        bail!("no sockets found via socket activation: make sure the service was started by systemd");
    };
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let names: Vec<&str> = names.split(':').collect();
    let mut sockets = Vec::new();
    for i in 0..count {
        let wanted = matches!(name, "" | "*") || names.get(i as usize) == Some(&name) || name.parse() == Ok(3 + i);
        if !wanted {
            continue;
        }
        let fd = sys::inherited::take(3 + i).context("taking a socket over from systemd")?;
        let listener = UnixListener::from(fd);
        if listener.local_addr().is_err() {
            bail!("the socket that systemd passed is not a unix socket");
        }
        listener.set_nonblocking(true)?;
        sockets.push(Socket { listener, path: None });
    }
    if sockets.is_empty() {
        bail!("no socket activation descriptor is named {name:?}");
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = std::env::temp_dir().join(format!("dhow-listen-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("s");
        drop(UnixListener::bind(&path).unwrap());
        let host = [format!("unix://{}", path.display())];
        let first = open(&host, Some("0")).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        let error = format!("{:#}", open(&host, None).err().unwrap());
        assert!(error.ends_with("another engine answers there"), "{error}");
        remove(&first);
        assert!(!path.exists());
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn fd_needs_systemd() {
        let error = format!("{:#}", open(&["fd://".into()], None).err().unwrap());
        assert!(error.contains("no sockets found via socket activation"), "{error}");
    }
}
