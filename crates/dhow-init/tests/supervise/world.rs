//! A container of the test's own, and everything it takes to talk to it.

use oci::runtime::Mount;
use serde_json::json;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use supervisor::log::{Format, Query, Reader, Record};
use supervisor::protocol::*;

/// Nothing in here takes longer unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn init_binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_dhow-init"))
}

/// A directory with a root file system; gone with everything in it when the test ends.
pub struct World {
    pub dir: PathBuf,
    pub name: String,
}

impl World {
    pub fn new() -> World {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        assert!(rustix::process::geteuid().is_root(), "containers need root: run the tests as root");
        let name = format!("dhow-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(&name);
        let root = dir.join("root");
        for directory in ["bin", "proc", "dev", "sys", "tmp", "etc"] {
            std::fs::create_dir_all(root.join(directory)).unwrap();
        }
        std::fs::create_dir(dir.join("state")).unwrap();
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static is needed");
        for applet in "sh cat echo sleep stty true false kill dd head seq id ls setsid tail yes test".split(' ') {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        World { dir, name }
    }

    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    pub fn log_path(&self) -> PathBuf {
        self.dir.join("state/json.log")
    }

    pub fn run_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    pub fn cgroup(&self) -> String {
        format!("/{}", self.name)
    }

    /// What starts `sh -c script`.
    pub fn launch(&self, script: &str) -> Launch {
        let capabilities = ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID"];
        let spec = json!({
            "ociVersion": "1.3.0",
            "hostname": "box",
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": ["/bin/sh", "-c", script],
                "env": ["PATH=/bin"],
                "cwd": "/",
                "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            },
            "root": {"path": ""},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                 "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                 "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
            ],
            "linux": {
                "cgroupsPath": self.cgroup(),
                "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"}],
            },
        });
        Launch {
            version: VERSION,
            id: format!("{:0>64}", self.name.replace(|c: char| !c.is_ascii_digit(), "")),
            state_dir: self.dir.join("state"),
            run_dir: self.run_dir(),
            spec: serde_json::from_value(spec).unwrap(),
            rootfs: Some(Mount {
                destination: "/".into(),
                kind: "bind".into(),
                source: self.root().to_str().unwrap().into(),
                options: vec!["rbind".into()],
                ..Mount::default()
            }),
            rootfs_base: self.dir.clone(),
            open_stdin: false,
            stdin_once: false,
            log: Log::JsonFile(LogFile::new(self.log_path())),
            runtime: None,
            systemd_cgroup: false,
            init: false,
            filter_ahead: false,
            fds: Vec::new(),
        }
    }

    /// Starts it; panics with the failure when it does not.
    pub fn start(&self, launch: &Launch) -> Running<'_> {
        self.start_with(launch, Vec::new())
    }

    fn start_with(&self, launch: &Launch, fds: Vec<OwnedFd>) -> Running<'_> {
        let (started, control, child) = supervisor::spawn(init_binary(), launch, fds).unwrap();
        match started {
            Started::Ok(record) => Running { world: self, record, control, child: Some(child) },
            Started::Failed(failure) => panic!("not started: {failure:?}"),
        }
    }

    /// Starts it with a client attached before the first byte.
    pub fn start_attached(&self, launch: &mut Launch) -> (Running<'_>, Attached) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        launch.fds.push(PassedFd::Attach { stdin: launch.open_stdin, stdout: true, stderr: true });
        let running = self.start_with(launch, vec![theirs.into()]);
        (running, Attached::new(ours))
    }

    /// How the start fails.
    pub fn failure(&self, launch: &Launch) -> Failure {
        match supervisor::spawn(init_binary(), launch, Vec::new()).unwrap().0 {
            Started::Failed(failure) => failure,
            Started::Ok(record) => panic!("started: {record:?}"),
        }
    }

    /// The whole log of one stream.
    pub fn log(&self, stream: u8) -> String {
        let mut reader = Reader::open(&self.log_path(), Format::Json, Query::default()).unwrap();
        let (mut text, mut record) = (Vec::new(), Record::default());
        while reader.next(&mut record).unwrap() {
            if record.stream == stream {
                text.extend_from_slice(&record.line);
            }
        }
        String::from_utf8(text).unwrap()
    }

    pub fn exit_record(&self) -> ExitRecord {
        serde_json::from_slice(&std::fs::read(self.dir.join("state").join(EXIT_RECORD)).unwrap()).unwrap()
    }

    /// Whether a cgroup of the container is left in any hierarchy.
    pub fn cgroup_is_left(&self) -> bool {
        let below = |dir: &Path| dir.join(&self.name).exists();
        let root = Path::new("/sys/fs/cgroup");
        below(root) || std::fs::read_dir(root).unwrap().flatten().any(|entry| below(&entry.path()))
    }

    pub fn connect(&self) -> UnixStream {
        let socket = supervisor::connect(&self.run_dir()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    pub fn request(&self, request: &Request) -> Reply {
        supervisor::request(&self.connect(), request).unwrap()
    }

    pub fn attach(&self, stdin: bool) -> Attached {
        let socket = self.connect();
        let reply = supervisor::request(&socket, &Request::Attach { stdin, stdout: true, stderr: true }).unwrap();
        assert_eq!(reply, Reply::Ok);
        Attached::new(socket)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A started container; killed when a test leaves it.
pub struct Running<'w> {
    pub world: &'w World,
    pub record: StartRecord,
    pub control: UnixStream,
    child: Option<Child>,
}

impl Running<'_> {
    /// Waits for the end, as a daemon does, and checks that nothing but the record is left.
    pub fn wait(mut self) -> ExitRecord {
        wait_for_end(&self.control);
        self.child.take().unwrap().wait().unwrap();
        assert!(!self.world.run_dir().exists());
        assert!(!self.world.cgroup_is_left());
        let record = self.world.exit_record();
        assert_eq!(record.started_ns, self.record.started_ns);
        assert!(record.finished_ns >= record.started_ns);
        record
    }

    pub fn kill(self) -> ExitRecord {
        assert_eq!(self.world.request(&Request::Signal { exec: None, signal: 9 }), Reply::Ok);
        self.wait()
    }

    /// The supervisor dies as by the kernel's hand.
    pub fn kill_supervisor(&mut self) {
        let child = self.child.as_mut().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
            let mut reap = std::process::Command::new(init_binary());
            let _ = reap.args(["reap", "--cgroup", &self.world.cgroup()]).status();
        }
    }
}

/// Waits until a socket ends on which nothing is said but that memory was wanting.
pub fn wait_for_end(mut socket: &UnixStream) {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut said = Vec::new();
    socket.read_to_end(&mut said).unwrap();
    assert!(said.iter().all(|byte| *byte == OOM), "{said:?}");
}

/// Waits until a process, anyone's, has ended.
pub fn wait_until_gone(pid: i32) {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    let Ok(pidfd) = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()) else { return };
    let mut fds = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    let timeout = rustix::event::Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut fds, Some(&timeout)).unwrap(), 1, "process {pid} lives on");
}

/// The client's end of an attach or an exec.
pub struct Attached {
    pub socket: UnixStream,
    payload: Vec<u8>,
    /// What has come: stdout, stderr.
    pub said: [String; 2],
}

impl Attached {
    pub fn new(socket: UnixStream) -> Attached {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Attached { socket, payload: Vec::new(), said: Default::default() }
    }

    pub fn write(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).unwrap();
    }

    pub fn end_of_input(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Reads one frame; the payload of the last one.
    fn frame(&mut self) -> Option<Vec<u8>> {
        let kind = supervisor::read_frame(&mut self.socket, &mut self.payload).unwrap().expect("no last frame");
        if kind == frame::EXIT {
            return Some(self.payload.clone());
        }
        self.said[usize::from(kind) - 1] += std::str::from_utf8(&self.payload).unwrap();
        None
    }

    /// Reads until stdout ends with `text`.
    pub fn until(&mut self, text: &str) {
        while !self.said[0].ends_with(text) {
            assert_eq!(self.frame(), None, "ended after {:?}", self.said);
        }
    }

    /// Reads until stderr ends with `text`.
    pub fn until_err(&mut self, text: &str) {
        while !self.said[1].ends_with(text) {
            assert_eq!(self.frame(), None, "ended after {:?}", self.said[1]);
        }
    }

    /// Reads what is there, if anything is, without waiting for more.
    pub fn drink(&mut self) {
        let mut fds = [rustix::event::PollFd::new(&self.socket, rustix::event::PollFlags::IN)];
        let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        if rustix::event::poll(&mut fds, Some(&timeout)).unwrap() > 0 {
            assert_eq!(self.frame(), None, "ended");
        }
    }

    /// Reads to the end; the container's record.
    pub fn exit(&mut self) -> ExitRecord {
        serde_json::from_slice(&self.last()).unwrap()
    }

    /// Reads to the end; the exec's code.
    pub fn exec_exit(&mut self) -> i32 {
        serde_json::from_slice::<ExecExit>(&self.last()).unwrap().code
    }

    fn last(&mut self) -> Vec<u8> {
        let last = loop {
            if let Some(last) = self.frame() {
                break last;
            }
        };
        assert_eq!(supervisor::read_frame(&mut self.socket, &mut self.payload).unwrap(), None);
        last
    }
}
