//! `cp` and `export`: files in and out of a container's root.
//!
//! All of it happens in a process of its own, this very program run anew as `dhow archive`, which then joins the mount
//! namespace of a running container, or mounts the root of another one in a namespace of its own. That process runs
//! nothing and loads nothing after it has seen the container's files, gives up what it needs no more, and resolves
//! every path through descriptors (`RESOLVE_IN_ROOT`). A client that stalls stalls that process and nobody else.
//!
//! ```text
//! mod.rs      the engine's side
//! helper.rs   the process
//! root.rs     how it comes to the container's root
//! ```
//!
//! What passes: to the process a [`Request`] (4-byte big-endian length, JSON), then the archive, if one goes in; from it
//! one line of JSON, an [`Answer`], then the archive, if one comes out.

mod helper;
mod root;

pub use helper::main;

use crate::containers::{Container, Containers, Shared, lock};
use crate::error::{Error, Result, invalid, missing};
use crate::mounts::{Kind, MountPoint};
use crate::state::Phase;
use crate::view::View;
use api::container::PathStat;
use oci::runtime::Mount;
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest line of the process.
const MAX_ANSWER: usize = 1 << 20;
/// How long a start waits for a copy to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the process is to do.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    task: Task,
    root: Root,
    /// In the container.
    path: String,
    /// Destinations of the container's mounts, and whether they are writable.
    points: Vec<(String, bool)>,
    /// The root itself is.
    writable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Task {
    Stat,
    Get,
    Put {
        /// Refuse to replace a directory by something else, or the other way round.
        keep_types: bool,
        /// Give everything to this user and group.
        owner: Option<(u32, u32)>,
    },
}

/// How to come to the root.
#[derive(Debug, Serialize, Deserialize)]
enum Root {
    /// Join its mount namespace.
    Running { pid: i32, start: u64 },
    /// Mount it, and what belongs over it.
    Mounted { mount: Mount, base: PathBuf, over: Vec<Over> },
}

#[derive(Debug, Serialize, Deserialize)]
struct Over {
    source: String,
    destination: String,
    writable: bool,
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Stat(Box<PathStat>),
    Done,
    Failed(Why, String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Why {
    Missing,
    Invalid,
    System,
}

/// How to unpack.
#[derive(Debug, Clone, Copy, Default)]
pub struct Put {
    /// Docker's `noOverwriteDirNonDir`.
    pub keep_types: bool,
    /// Docker's `copyUIDGID`: everything belongs to the container's user.
    pub own: bool,
}

/// An archive that comes out of a container. Dropping it ends the process behind it.
pub struct Archive {
    child: Option<Child>,
    output: ChildStdout,
    _gate: Option<Gate>,
}

/// A copy is at work in a root that is not mounted otherwise: the container must not start meanwhile.
struct Gate(Arc<Container>);

impl Gate {
    fn enter(c: &Arc<Container>) -> Gate {
        *lock(&c.copies.0) += 1;
        Gate(c.clone())
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        *lock(&self.0.copies.0) -= 1;
        self.0.copies.1.notify_all();
    }
}

impl Container {
    /// Waits until no copy uses the root.
    pub(crate) fn wait_for_copies(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut copies = lock(&self.copies.0);
        while *copies > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Conflict(format!("files of container {} are being copied", self.id)));
            }
            copies = self.copies.1.wait_timeout(copies, left).unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        Ok(())
    }
}

impl Containers {
    /// What is at a path.
    ///
    /// # Errors
    /// `NotFound`: `Could not find the file …`.
    pub fn archive_stat(&self, name: &str, path: &str) -> Result<PathStat> {
        let c = self.shared.find(name)?;
        let (root, _gate) = self.shared.root_of(&c)?;
        let mut process = Process::start(&self.shared.request(&c, Task::Stat, root, path))?;
        drop(process.input.take());
        process.stat().map_err(|e| e.named(path, name))
    }

    /// What is at a path, packed.
    ///
    /// # Errors
    /// As [`Containers::archive_stat`].
    pub fn archive_get(&self, name: &str, path: &str) -> Result<(PathStat, Archive)> {
        let c = self.shared.find(name)?;
        let (root, gate) = self.shared.root_of(&c)?;
        let mut process = Process::start(&self.shared.request(&c, Task::Get, root, path))?;
        drop(process.input.take());
        let stat = process.stat().map_err(|e| e.named(path, name))?;
        self.shared.tell(&c, "archive-path", &[]);
        Ok((stat, process.archive(gate)?))
    }

    /// Unpacks what `content` gives into the directory at a path.
    ///
    /// # Errors
    /// `Invalid` when it is no directory, or read-only.
    pub fn archive_put(&self, name: &str, path: &str, how: Put, content: &mut dyn Read) -> Result<()> {
        let c = self.shared.find(name)?;
        let owner = if how.own { Some(self.shared.owner(&c)?) } else { None };
        let (root, _gate) = self.shared.root_of(&c)?;
        let task = Task::Put { keep_types: how.keep_types, owner };
        let mut process = Process::start(&self.shared.request(&c, task, root, path))?;
        if let Some(mut input) = process.input.take() {
            feed(content, &mut input)?;
        }
        process.answer().map_err(|e| e.named(path, name))?;
        self.shared.tell(&c, "extract-to-dir", &[]);
        Ok(())
    }

    /// The whole root file system, packed, without volumes.
    ///
    /// # Errors
    /// `NotFound`
    pub fn export(&self, name: &str) -> Result<Archive> {
        let c = self.shared.find(name)?;
        let (mount, base) = self.shared.rootfs(&c.id, false)?;
        // Read-only, the writable layer as the highest of all: the container may be running.
        let root = Root::Mounted { mount: read_only(mount), base, over: vec![] };
        let mut process = Process::start(&self.shared.request(&c, Task::Get, root, "/."))?;
        drop(process.input.take());
        process.stat().map_err(Refusal::plain)?;
        self.shared.tell(&c, "export", &[]);
        process.archive(None)
    }
}

/// The same files without a place to write.
fn read_only(mut mount: Mount) -> Mount {
    let upper = mount.options.iter().find_map(|o| o.strip_prefix("upperdir=").map(str::to_owned));
    mount.options.retain(|o| !o.starts_with("upperdir=") && !o.starts_with("workdir=") && o != "volatile");
    if let Some(upper) = upper {
        for option in &mut mount.options {
            if let Some(lower) = option.strip_prefix("lowerdir=") {
                *option = format!("lowerdir={upper}:{lower}");
            }
        }
    }
    mount.options.push("ro".into());
    mount
}

fn feed(content: &mut dyn Read, input: &mut ChildStdin) -> Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let n = match content.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::System(format!("reading the archive: {e}"))),
        };
        if input.write_all(&buffer[..n]).is_err() {
            // It has had enough: its answer says why.
            return Ok(());
        }
    }
}

/// What the process refused.
struct Refusal(Why, String);

impl Refusal {
    fn named(self, path: &str, container: &str) -> Error {
        match self.0 {
            Why::Missing => missing!("Could not find the file {path} in container {container}"),
            _ => self.plain(),
        }
    }

    fn plain(self) -> Error {
        match self.0 {
            Why::Missing => Error::NotFound(self.1),
            Why::Invalid => Error::Invalid(self.1),
            Why::System => Error::System(self.1),
        }
    }
}

struct Process {
    child: Option<Child>,
    input: Option<ChildStdin>,
    output: Option<ChildStdout>,
}

fn end(child: &mut Option<Child>) {
    if let Some(mut child) = child.take() {
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

impl Process {
    fn start(request: &Request) -> Result<Process> {
        let mut command = Command::new("/proc/self/exe");
        command.arg("archive").env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|e| Error::System(format!("starting the archive process: {e}")))?;
        let (mut input, output) = (child.stdin.take(), child.stdout.take());
        let body = serde_json::to_vec(request).map_err(|e| Error::System(e.to_string()))?;
        let length = u32::try_from(body.len()).map_err(|_| invalid!("the request is too long"))?;
        if let Some(input) = &mut input {
            // A process that cannot be written to has something to say about it.
            let _ = input.write_all(&length.to_be_bytes()).and_then(|()| input.write_all(&body));
        }
        Ok(Process { child: Some(child), input, output })
    }

    fn answer(&mut self) -> std::result::Result<Answer, Refusal> {
        let mut line = Vec::new();
        let mut byte = [0u8];
        while let Some(output) = &mut self.output {
            match output.read(&mut byte) {
                Ok(1) if byte[0] == b'\n' => break,
                Ok(1) if line.len() < MAX_ANSWER => line.push(byte[0]),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                _ => return Err(Refusal(Why::System, "the archive process ended without an answer".into())),
            }
        }
        match serde_json::from_slice(&line) {
            Ok(Answer::Failed(why, text)) => Err(Refusal(why, text)),
            Ok(answer) => Ok(answer),
            Err(e) => Err(Refusal(Why::System, format!("the archive process answered nonsense: {e}"))),
        }
    }

    fn stat(&mut self) -> std::result::Result<PathStat, Refusal> {
        match self.answer()? {
            Answer::Stat(stat) => Ok(*stat),
            other => Err(Refusal(Why::System, format!("the archive process answered {other:?}"))),
        }
    }

    fn archive(mut self, gate: Option<Gate>) -> Result<Archive> {
        let output = self.output.take().ok_or_else(|| Error::System("the archive process has no output".into()))?;
        Ok(Archive { child: self.child.take(), output, _gate: gate })
    }
}

impl Read for Archive {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.output.read(buffer)?;
        // The end of the pipe is the end of the archive only if the process says so.
        if n == 0
            && !buffer.is_empty()
            && let Some(mut child) = self.child.take()
            && !child.wait()?.success()
        {
            return Err(std::io::Error::other("the archive was cut off: some file could not be read"));
        }
        Ok(n)
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

impl Shared {
    fn request(&self, c: &Container, task: Task, root: Root, path: &str) -> Request {
        let record = c.record();
        let points = record.mounts.iter().map(|m| (m.destination.clone(), m.rw)).collect();
        Request { task, root, path: path.to_owned(), points, writable: !record.host_config.readonly_rootfs }
    }

    /// How to come to a container's root, and what keeps it from being started meanwhile.
    fn root_of(&self, c: &Arc<Container>) -> Result<(Root, Option<Gate>)> {
        let running = c.peek(|s| (s.phase == Phase::Running).then_some((s.pid, s.pid_start)));
        if let Some((pid, start)) = running {
            return Ok((Root::Running { pid, start }, None));
        }
        let _turn = c.turn_in_time()?;
        // It may have been started, or removed, before the turn came.
        let (pid, start, phase, removed) = c.peek(|s| (s.pid, s.pid_start, s.phase, s.removed || s.removing));
        if phase == Phase::Running {
            return Ok((Root::Running { pid, start }, None));
        }
        if removed || phase == Phase::Dead {
            return Err(crate::error::text::no_such_container(&c.id));
        }
        let gate = Gate::enter(c);
        let (mount, base) = self.rootfs(&c.id, false)?;
        let record = c.record();
        let points = record.mounts.iter().filter(|m| m.kind != Kind::Tmpfs);
        let over = points.map(|m| self.over(m)).collect::<Result<Vec<_>>>()?;
        Ok((Root::Mounted { mount, base, over }, Some(gate)))
    }

    fn over(&self, point: &MountPoint) -> Result<Over> {
        let mut source = point.source.clone();
        if point.kind == Kind::Volume {
            source = self.rooms.volumes.mountpoint(&point.name)?.to_string_lossy().into_owned();
            if !point.subpath.is_empty() {
                source = format!("{source}/{}", point.subpath);
            }
        }
        Ok(Over { source, destination: point.destination.clone(), writable: point.rw })
    }

    /// As whom the container runs.
    fn owner(&self, c: &Container) -> Result<(u32, u32)> {
        let (rootfs, base) = self.rootfs(&c.id, false)?;
        let account = crate::start::account(&rootfs, &base, &c.record())?;
        Ok((account.uid, account.gid))
    }

    /// Fills a volume with what the image has at its place, if it has something there and the volume is empty.
    pub(crate) fn copy_up(&self, id: &str, point: &MountPoint) -> Result<()> {
        let (rootfs, base) = self.rootfs(id, false)?;
        let view = View::open(&rootfs, &base).map_err(Error::io("open layers below", &base))?;
        let found = view
            .directory(&point.destination)
            .map_err(|e| Error::System(format!("looking up {} in the image: {e}", point.destination)))?;
        if let Some(directory) = found {
            self.rooms.volumes.copy_up(&point.name, std::os::fd::AsFd::as_fd(&directory))?;
        }
        Ok(())
    }
}
