//! What is kept of a container: `<root>/<id>/` with
//!
//! ```text
//! lock          held by the command that changes the container
//! state.json    what it takes to find the container again
//! config.json   the configuration it was made with
//! start         the socket on which its process waits for the start, and which ends with the waiting
//! ```

use super::{Error, Global, Result, bundle};
use oci::runtime::Spec;
use runtime::cgroup::Cgroup;
use runtime::hooks::Told;
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// `state.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Saved {
    pub id: String,
    pub oci_version: String,
    pub bundle: PathBuf,
    pub rootfs: PathBuf,
    pub annotations: BTreeMap<String, String>,
    pub created: String,
    /// Where its cgroup is.
    pub cgroup: String,
    /// 0 until there is one.
    pub pid: i32,
    /// With the number it names a process that no other will ever be.
    pub start_time: u64,
    /// `CLONE_NEW*` of every namespace that is not the host's.
    pub namespaces: u64,
    /// It has the session keyring of who made it.
    pub keeps_keyring: bool,
    /// The command that makes it, and when that was started.
    pub maker: (i32, u64),
    /// `create` is done but for the last step.
    pub complete: bool,
    /// Of one in the host's mount namespace: the mount that its root file system lay in before.
    #[serde(default)]
    pub mounted_on: Option<u64>,
}

/// What is said of a container that is not there, or no longer.
pub const GONE: &str = "container does not exist";

/// How a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

/// One container's directory.
pub struct Container {
    pub saved: Saved,
    path: PathBuf,
    dir: OwnedFd,
}

/// The right to change a container, as long as it lives.
pub struct Lock(#[allow(dead_code)] OwnedFd);

/// Letters, digits, `_`, `+`, `-` and `.`; but neither of the two names that every directory has.
pub fn check_id(id: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
    match id {
        "" => Error::new("container id cannot be empty"),
        "." | ".." => Error::new("invalid container ID format"),
        id if id.len() > 1024 || !id.chars().all(good) => Error::new("invalid container ID format"),
        _ => Ok(()),
    }
}

/// Takes the lock of the container in `dir`; `None` when somebody else has it and `wait` is not set.
///
/// It is made only together with the directory: made again by one who waits, it would keep the directory from being removed.
fn lock(dir: &OwnedFd, wait: bool, make: bool) -> Result<Option<Lock>> {
    let made = if make { OFlags::CREATE } else { OFlags::empty() };
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | made;
    let file = match rustix::fs::openat(dir, "lock", flags, Mode::from_raw_mode(0o600)) {
        Err(Errno::NOENT) => return Error::new(GONE),
        other => other.map_err(Error::errno("open the lock"))?,
    };
    // Of the process, not of the descriptor: what this process clones does not hold it.
    let how = if wait { FlockOperation::LockExclusive } else { FlockOperation::NonBlockingLockExclusive };
    match rustix::io::retry_on_intr(|| rustix::fs::fcntl_lock(&file, how)) {
        Ok(()) => Ok(Some(Lock(file))),
        Err(Errno::AGAIN | Errno::ACCESS) if !wait => Ok(None),
        Err(e) => Err(Error::errno("lock the container")(e)),
    }
}

fn open_dir(path: &std::path::Path) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

impl Container {
    /// Makes the directory of a container that is about to be made.
    pub fn reserve(global: &Global, saved: Saved, spec: &Spec) -> Result<(Container, Lock)> {
        check_id(&saved.id)?;
        let root = &global.root;
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), 0o711);
        builder.create(root).map_err(Error::io(format!("mkdir {}", root.display())))?;
        let path = root.join(&saved.id);
        match rustix::fs::mkdirat(CWD, &path, Mode::from_raw_mode(0o700)) {
            Err(Errno::EXIST) => return Error::new("container with given ID already exists"),
            other => other.map_err(Error::errno(format!("mkdir {}", path.display())))?,
        }
        let dir = open_dir(&path).map_err(Error::errno(format!("open {}", path.display())))?;
        let container = Container { saved, path, dir };
        // Nobody else can have it: it is of this moment. Somebody who removes it by force makes the next steps fail.
        let lock = lock(&container.dir, true, true)?.ok_or_else(|| Error("lock the container".into()))?;
        let write = || {
            container.write("config.json", &serde_json::to_vec(spec).unwrap_or_default())?;
            container.save()
        };
        match write() {
            Ok(()) => Ok((container, lock)),
            Err(error) => {
                container.remove_dir()?;
                Err(error)
            }
        }
    }

    /// The container `id`; `None` when there is none.
    pub fn find(global: &Global, id: &str) -> Result<Option<Container>> {
        check_id(id)?;
        let path = global.root.join(id);
        let dir = match open_dir(&path) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            other => other.map_err(Error::errno(format!("open {}", path.display())))?,
        };
        let file = path.join("state.json");
        match std::fs::read(&file) {
            Ok(text) => {
                let saved = serde_json::from_slice(&text).map_err(|e| Error(format!("{}: {e}", file.display())))?;
                Ok(Some(Container { saved, path, dir }))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io(format!("read {}", file.display()))(e)),
        }
    }

    /// The container that a command names.
    pub fn load(global: &Global, id: &str) -> Result<Container> {
        Container::find(global, id)?.ok_or_else(|| Error(GONE.into()))
    }

    /// As [`Container::load`], with its lock.
    pub fn load_locked(global: &Global, id: &str) -> Result<(Container, Lock)> {
        loop {
            let container = Container::load(global, id)?;
            let lock = container.lock()?;
            // It may have changed, or gone, or be another one, while we waited.
            let now = Container::load(global, id)?;
            let inode = |dir: &OwnedFd| rustix::fs::fstat(dir).map(|stat| stat.st_ino);
            if inode(&now.dir) == inode(&container.dir) {
                return Ok((now, lock));
            }
        }
    }

    /// The lock, if nobody has it.
    pub fn try_lock(&self) -> Result<Option<Lock>> {
        lock(&self.dir, false, false)
    }

    /// The lock, once nobody else has it any more.
    pub fn lock(&self) -> Result<Lock> {
        lock(&self.dir, true, false)?.ok_or_else(|| Error("lock the container".into()))
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let failed = |e| Error::errno(format!("write {}", self.path.join(name).display()))(e);
        let new = format!(".{name}");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&self.dir, &new, flags, Mode::from_raw_mode(0o600)).map_err(failed)?;
        let mut rest = content;
        while !rest.is_empty() {
            rest = &rest[rustix::io::write(&file, rest).map_err(failed)?..];
        }
        rustix::fs::renameat(&self.dir, &new, &self.dir, name).map_err(failed)
    }

    /// Writes `state.json`.
    pub fn save(&self) -> Result<()> {
        self.write("state.json", &serde_json::to_vec(&self.saved).unwrap_or_default())
    }

    /// The configuration.
    pub fn spec(&self) -> Result<Spec> {
        bundle::read(&self.path.join("config.json"))
    }

    /// Keeps a configuration that was changed.
    pub fn save_spec(&self, spec: &Spec) -> Result<()> {
        self.write("config.json", &serde_json::to_vec(spec).unwrap_or_default())
    }

    fn gate_address(&self) -> Result<SocketAddrUnix> {
        // By descriptor: the path may be longer than an address.
        SocketAddrUnix::new(format!("/proc/self/fd/{}/start", self.dir.as_raw_fd())).map_err(Error::errno("address"))
    }

    /// The socket on which the container's process will wait.
    pub fn make_gate(&self) -> Result<OwnedFd> {
        let failed = |what: &'static str| Error::errno(format!("{what} {}/start", self.path.display()));
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(failed("socket"))?;
        rustix::net::bind(&socket, &self.gate_address()?).map_err(failed("bind"))?;
        rustix::net::listen(&socket, 128).map_err(failed("listen on"))?;
        Ok(socket)
    }

    /// A connection to the process that waits for its start; `None` when none waits.
    pub fn knock(&self) -> Result<Option<OwnedFd>> {
        let failed = |what: &'static str| Error::errno(format!("{what} {}/start", self.path.display()));
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(failed("socket"))?;
        match rustix::net::connect(&socket, &self.gate_address()?) {
            Ok(()) => Ok(Some(socket)),
            Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(None),
            Err(e) => Err(failed("connect to")(e)),
        }
    }

    /// After the start nobody needs to knock to know.
    pub fn remove_gate(&self) {
        let _ = rustix::fs::unlinkat(&self.dir, "start", AtFlags::empty());
    }

    /// Its first process, if that is alive.
    pub fn process(&self) -> Option<OwnedFd> {
        let pid = Pid::from_raw(self.saved.pid)?;
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // Looked at after the descriptor is there: it is of the process that is looked at, or of one that has ended.
        (alive(self.saved.pid) == Some(self.saved.start_time)).then_some(pidfd)
    }

    /// The command that makes it, if that is still at it.
    pub fn maker(&self) -> Option<OwnedFd> {
        let (pid, start) = self.saved.maker;
        let pidfd = rustix::process::pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        (!self.saved.complete && alive(pid) == Some(start)).then_some(pidfd)
    }

    /// Its cgroup, if it still has one.
    pub fn cgroup(&self) -> Option<Cgroup> {
        Cgroup::open(&self.saved.cgroup).ok()
    }

    /// How it is; `held` is its lock, if this process has it.
    pub fn status(&self, held: Option<&Lock>) -> Result<Status> {
        let alive = self.process().is_some();
        if !self.saved.complete {
            // Whoever makes it holds the lock; the process dies with who makes it.
            // A second lock of this process would end with the first one.
            let made = held.is_none() && self.try_lock()?.is_none();
            return Ok(if made { Status::Creating } else { Status::Stopped });
        }
        if !alive {
            return Ok(Status::Stopped);
        }
        if self.cgroup().is_some_and(|cgroup| cgroup.is_frozen()) {
            return Ok(Status::Paused);
        }
        Ok(if self.knock()?.is_some() { Status::Created } else { Status::Running })
    }

    /// What hooks are told of it.
    pub fn told(&self) -> Told {
        Told {
            version: self.saved.oci_version.clone(),
            id: self.saved.id.clone(),
            bundle: self.saved.bundle.clone(),
            annotations: self.saved.annotations.clone(),
        }
    }

    /// Takes away what it has mounted in the host's mount namespace.
    pub fn unmount(&self) {
        if let Some(before) = self.saved.mounted_on {
            runtime::unmount_root(&self.saved.rootfs, before);
        }
    }

    /// Removes the directory: the container is no more.
    pub fn remove_dir(&self) -> Result<()> {
        remove_dir(&self.path)
    }
}

/// Removes a container's directory, of which there may be only a part.
pub fn remove_dir(path: &std::path::Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format!("unable to remove container state dir {}", path.display()))(e))
        }
        _ => Ok(()),
    }
}

/// When the process `pid` started, if it has not ended.
fn alive(pid: i32) -> Option<u64> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.iter().rposition(|b| *b == b')')? + 1;
    let mut fields = std::str::from_utf8(&stat[after_name..]).ok()?.split_ascii_whitespace();
    match fields.next()? {
        "Z" | "X" | "x" => None,
        _ => fields.nth(18)?.parse().ok(),
    }
}

/// This moment by UTC: to the second, and to the nanosecond.
pub fn now() -> (String, String) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (date, time) = civil(since.as_secs());
    let fraction = format!("{:09}", since.subsec_nanos());
    let fraction = fraction.trim_end_matches('0');
    let nanos = if fraction.is_empty() { String::new() } else { format!(".{fraction}") };
    (format!("{date}T{time}Z"), format!("{date}T{time}{nanos}Z"))
}

fn civil(seconds: u64) -> (String, String) {
    // Years begin in March here: then February's length is the end of the year's.
    let days = seconds / 86400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let second = seconds % 86400;
    (
        format!("{:04}-{month:02}-{day:02}", era * 400 + year + next),
        format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        for good in ["a", "A_b+c-d.e", "...", "0"] {
            assert_eq!(check_id(good), Ok(()));
        }
        for bad in [".", "..", "a/b", "a b", "é", "a\n", "../x", "/"] {
            assert_eq!(check_id(bad), Error::new("invalid container ID format"), "{bad:?}");
        }
        assert_eq!(check_id(""), Error::new("container id cannot be empty"));
    }

    #[test]
    fn dates() {
        let of = |seconds| civil(seconds);
        let pair = |date: &str, time: &str| (date.to_string(), time.to_string());
        assert_eq!(of(0), pair("1970-01-01", "00:00:00"));
        assert_eq!(of(951_782_399), pair("2000-02-28", "23:59:59"));
        assert_eq!(of(951_782_400), pair("2000-02-29", "00:00:00"));
        assert_eq!(of(1_795_255_463), pair("2026-11-21", "10:04:23"));
    }

    #[test]
    fn a_process_that_has_ended_is_not_alive() {
        let own = std::process::id() as i32;
        assert_eq!(alive(own), sys::process::start_time(own));
        let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
        let pid = child.id() as i32;
        let fd = rustix::process::pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
        use rustix::event::{PollFd, PollFlags, poll};
        poll(&mut [PollFd::new(&fd, PollFlags::IN)], None).unwrap();
        assert_eq!(alive(pid), None);
        child.wait().unwrap();
        assert_eq!(alive(pid), None);
    }
}
