//! A bundle of the test's own, and how to run a command on it.

use serde_json::{Value, json};
use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Nothing in here takes longer unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What a command said.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    /// It did what was asked without a word of complaint.
    #[track_caller]
    pub fn fine(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{}", self.out);
        self.out
    }

    /// It refused with `code`, and this is why.
    #[track_caller]
    pub fn refused(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        let (_, message) = self.err.trim_end().split_once("level=error msg=").expect("an error in the log's form");
        serde_json::from_str(message).expect("a quoted message")
    }
}

/// A directory with a bundle, and a root for the runtime's state; gone with all its containers when the test ends.
pub struct World {
    pub dir: PathBuf,
    pub name: String,
    pub spec: Value,
    count: AtomicU32,
}

impl World {
    /// Whose container runs `args`.
    pub fn new(args: &[&str]) -> World {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        assert!(rustix::process::geteuid().is_root(), "containers need root: run the tests as root");
        let name = format!("dhow-rt-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(&name);
        let root = dir.join("bundle/rootfs");
        for directory in ["bin", "proc", "dev", "sys", "tmp", "etc"] {
            std::fs::create_dir_all(root.join(directory)).unwrap();
        }
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static is needed");
        let applets =
            "sh cat echo sleep true false ls id readlink stty kill test mount head touch stat grep tty env pwd";
        for applet in applets.split(' ') {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        let capabilities = ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID"];
        let spec = json!({
            "ociVersion": "1.2.0",
            "hostname": "box",
            "process": {
                "user": {"uid": 0, "gid": 0}, "args": args, "env": ["PATH=/bin"], "cwd": "/",
                "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            },
            "root": {"path": "rootfs"},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                 "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
            ],
            "linux": {
                "cgroupsPath": format!("/{name}"),
                "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"}],
            },
        });
        World { dir, name, spec, count: AtomicU32::new(0) }
    }

    /// Whose container runs `script`.
    pub fn sh(script: &str) -> World {
        World::new(&["/bin/sh", "-c", script])
    }

    /// Whose container waits for its end.
    pub fn sleeper() -> World {
        World::sh("trap 'exit 3' TERM; while :; do sleep 0.05; done")
    }

    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("bundle/rootfs")
    }

    pub fn state_root(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// The directory of the cgroup, of the hierarchy that every host has.
    pub fn cgroup(&self) -> PathBuf {
        let v1 = Path::new("/sys/fs/cgroup/devices");
        let root = if v1.exists() { v1 } else { Path::new("/sys/fs/cgroup") };
        root.join(&self.name)
    }

    /// The command `line`, in the bundle's directory, with its streams in files `<n>.out` and `<n>.err`.
    pub fn command(&self, line: &[&str]) -> (Command, PathBuf) {
        let spec = serde_json::to_vec(&self.spec).unwrap();
        std::fs::write(self.dir.join("bundle/config.json"), spec).unwrap();
        let n = self.count.fetch_add(1, Ordering::Relaxed);
        let (out, err) = (self.dir.join(format!("{n}.out")), self.dir.join(format!("{n}.err")));
        let mut command = Command::new(env!("CARGO_BIN_EXE_dhow-init"));
        command.args(["runtime", "--root"]).arg(self.state_root()).args(line).current_dir(self.dir.join("bundle"));
        command.stdin(Stdio::null()).stdout(File::create(&out).unwrap()).stderr(File::create(err).unwrap());
        (command, out)
    }

    /// Runs the command `line`.
    #[track_caller]
    pub fn run(&self, line: &[&str]) -> Said {
        let (mut command, out) = self.command(line);
        let code = wait(&mut command.spawn().unwrap());
        let read = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        Said { code, out: read(&out), err: read(&out.with_extension("err")) }
    }

    /// As [`World::run`], split at the spaces.
    #[track_caller]
    pub fn does(&self, line: &str) -> Said {
        self.run(&line.split(' ').collect::<Vec<_>>())
    }

    /// What `state` says of container `c`.
    #[track_caller]
    pub fn state(&self) -> Value {
        serde_json::from_str(&self.does("state c").fine()).unwrap()
    }

    /// Waits until `state` says so of container `c`.
    #[track_caller]
    pub fn until(&self, status: &str) {
        until(|| self.state()["status"] == status);
    }

    /// Nothing is left of any container.
    #[track_caller]
    pub fn is_empty(&self) {
        let left: Vec<_> = std::fs::read_dir(self.state_root()).into_iter().flatten().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
        assert!(!self.cgroup().exists(), "the cgroup is still there");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for entry in std::fs::read_dir(self.state_root()).into_iter().flatten().flatten() {
            let id = entry.file_name().to_string_lossy().into_owned();
            let _ = self.does(&format!("delete --force {id}"));
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// The exit code of `child`; 128 + n when signal n ended it.
#[track_caller]
pub fn wait(child: &mut Child) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("the command does not end");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until `condition` holds.
#[track_caller]
pub fn until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "it does not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether the process is there and has not ended.
pub fn alive(pid: i64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with(['Z', 'X']))
}
