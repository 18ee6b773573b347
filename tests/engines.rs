//! The runtime in other engines' hands: containerd and Podman as Debian has them. (`cargo xtask engines` does the same, and
//! more, with newer ones.)

use crate::runtimes::{installed, with_input};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tests::{Engine, Said, need_root, said, wait_for};

/// The runtime as it is shipped, under the name of its link, and a root file system.
struct Parts {
    engine: Engine,
    runtime: String,
    rootfs: String,
}

impl Parts {
    fn new() -> Parts {
        let engine = Engine::start(&[]);
        let dir = engine.dir.path();
        let runtime = dir.join("dhow-runtime");
        std::os::unix::fs::symlink(dir.join("run/dhow-init"), &runtime).unwrap();
        let rootfs = dir.join("rootfs");
        std::fs::create_dir(&rootfs).unwrap();
        said(Command::new("tar").arg("-C").arg(&rootfs).arg("-xf").arg(tests::busybox_tar())).ok();
        let text = |path: PathBuf| path.display().to_string();
        Parts { runtime: text(runtime), rootfs: text(rootfs), engine }
    }

    fn dir(&self) -> &Path {
        self.engine.dir.path()
    }
}

/// A group of cgroups that nothing may be left in.
struct Group(String);

impl Group {
    fn new(engine: &str) -> Group {
        Group(format!("dhow-test-{engine}-{}", std::process::id()))
    }

    fn dirs(&self) -> Vec<PathBuf> {
        let roots = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|e| e.path());
        let all = roots.chain([PathBuf::from("/sys/fs/cgroup")]).map(|root| root.join(&self.0));
        all.filter(|dir| dir.exists()).collect()
    }

    /// One file of one container's cgroup, by its name on v1 and on v2.
    fn read(&self, v1: (&str, &str), v2: &str, id: &str) -> String {
        let (controller, file) = v1;
        let old = Path::new("/sys/fs/cgroup").join(controller).join(&self.0).join(id).join(file);
        let new = Path::new("/sys/fs/cgroup").join(&self.0).join(id).join(v2);
        let path = if old.exists() { old } else { new };
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim().to_owned()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let left: Vec<PathBuf> = self.dirs().into_iter().filter(|dir| std::fs::remove_dir(dir).is_err()).collect();
        assert!(std::thread::panicking() || left.is_empty(), "cgroups are left: {left:?}");
    }
}

/// A containerd of the test's own.
struct Containerd {
    child: Child,
    socket: String,
    namespace: String,
}

impl Containerd {
    fn start(parts: &Parts, namespace: &str) -> Containerd {
        let dir = parts.dir().display().to_string();
        let config = format!(
            "version = 2\nroot = \"{dir}/c/root\"\nstate = \"{dir}/c/state\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n\
             [grpc]\naddress = \"{dir}/c/sock\"\n"
        );
        std::fs::create_dir(format!("{dir}/c")).unwrap();
        std::fs::write(format!("{dir}/c/config.toml"), config).unwrap();
        let log = std::fs::File::create(format!("{dir}/c/log")).unwrap();
        let mut command = parts.engine.net.command("containerd");
        command.arg("--config").arg(format!("{dir}/c/config.toml"));
        let child = command.stdout(Stdio::null()).stderr(log).spawn().expect("containerd");
        let containerd = Containerd { child, socket: format!("{dir}/c/sock"), namespace: namespace.into() };
        wait_for("containerd", || (containerd.ctr(&["version"]).code == 0).then_some(()));
        containerd
    }

    fn ctr(&self, words: &[&str]) -> Said {
        said(Command::new("ctr").args(["-a", &self.socket, "-n", &self.namespace]).args(words))
    }

    fn status(&self) -> String {
        let list = self.ctr(&["task", "ls"]).ok();
        list.lines().nth(1).and_then(|line| line.split_whitespace().nth(2)).unwrap_or("none").to_owned()
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ =
            rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

const LOOP: &str = "trap 'exit 5' TERM; while :; do sleep 0.1; done";
const EAT: &str = "x=$(head -c 1000000 /dev/zero | tr '\\0' x); while :; do x=$x$x; done";

#[test]
fn containerd_runs_containers_on_it() {
    need_root!();
    if installed("containerd").is_none() || installed("ctr").is_none() {
        return;
    }
    let parts = Parts::new();
    let group = Group::new("containerd");
    let c = Containerd::start(&parts, &group.0);
    let run = |words: &[&str], id: &str, args: &[&str]| {
        let runtime = ["run", "--runc-binary", &parts.runtime, "--rootfs"];
        c.ctr(&[&runtime[..], words, &[&parts.rootfs, id], args].concat())
    };
    let said = run(&["--rm"], "one", &["/bin/sh", "-c", "echo hi; exit 3"]);
    assert_eq!((said.code, said.out.as_str()), (3, "hi\n"), "{said:?}");
    assert_eq!(run(&["--rm", "--memory-limit", "20000000"], "eats", &["/bin/sh", "-c", EAT]).code, 137);
    let said = run(&["--rm", "--read-only"], "gone", &["/bin/nosuch"]);
    assert!(said.code == 1 && said.err.contains("OCI runtime create failed"), "{said:?}");

    run(&["-d", "--memory-limit", "50003968"], "two", &["/bin/sh", "-c", LOOP]).ok();
    assert_eq!(group.read(("memory", "memory.limit_in_bytes"), "memory.max", "two"), "50003968");
    assert_eq!(c.status(), "RUNNING");
    let exec = |id: &str, script: &str| c.ctr(&["task", "exec", "--exec-id", id, "two", "/bin/sh", "-c", script]);
    let said = exec("a", "id -u; exit 7");
    assert_eq!((said.code, said.out.as_str()), (7, "0\n"), "{said:?}");
    c.ctr(&["task", "pause", "two"]).ok();
    assert_eq!(c.status(), "PAUSED");
    c.ctr(&["task", "resume", "two"]).ok();
    assert!(c.ctr(&["task", "ps", "two"]).ok().lines().count() >= 2);
    c.ctr(&["task", "kill", "-s", "TERM", "two"]).ok();
    wait_for("the end", || (c.status() == "STOPPED").then_some(()));
    let said = c.ctr(&["task", "rm", "two"]);
    assert!(said.err.contains("non-zero exit code 5"), "{said:?}");
    c.ctr(&["container", "rm", "two"]).ok();
    assert_eq!(c.ctr(&["container", "ls", "-q"]).ok(), "");
}

#[test]
fn podman_runs_containers_on_it() {
    need_root!();
    if installed("podman").is_none() {
        return;
    }
    let parts = Parts::new();
    let group = Group::new("podman");
    let dir = parts.dir().display().to_string();
    let command = |words: &[&str]| {
        let mut command = parts.engine.net.command("unshare");
        // As crun it refuses both versions of control groups at once.
        let script = "umount /sys/fs/cgroup/unified 2>/dev/null; exec podman \"$@\"";
        command.args(["--mount", "sh", "-c", script, "podman"]);
        command.args(["--root", &format!("{dir}/p/root"), "--runroot", &format!("{dir}/p/run")]);
        command.args(["--tmpdir", &format!("{dir}/p/tmp"), "--storage-driver", "vfs", "--events-backend", "file"]);
        command.args(["--cgroup-manager", "cgroupfs", "--runtime", &parts.runtime]).args(words);
        command
    };
    let podman = |words: &[&str]| said(&mut command(words));
    let parent = format!("/{}", group.0);
    let run = |words: &[&str], script: &str| {
        let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];
        let place = ["--network", "none", "--cgroups", "no-conmon", "--cgroup-parent", &parent];
        let rest = ["--rootfs", &parts.rootfs, "/bin/sh", "-c", script];
        podman(&[&["run"], &limits[..], &place, words, &rest].concat())
    };
    let said = run(&["--rm"], "echo hi; exit 3");
    assert_eq!((said.code, said.out.as_str()), (3, "hi\n"), "{said:?}");
    run(&["-d", "--name", "two", "--memory", "64m", "--pids-limit", "50"], LOOP).ok();
    let id = podman(&["inspect", "--format", "{{.Id}}", "two"]).ok();
    assert_eq!(group.read(("pids", "pids.max"), "pids.max", &format!("libpod-{id}")), "50");
    let said = podman(&["exec", "-u", "1000", "two", "sh", "-c", "id -u; exit 7"]);
    assert_eq!((said.code, said.out.as_str()), (7, "1000\n"), "{said:?}");
    assert_eq!(with_input(command(&["exec", "-i", "two", "cat"]), "through").out, "through");
    assert!(podman(&["top", "two", "args"]).ok().contains("trap"));
    podman(&["pause", "two"]).ok();
    let state = || podman(&["inspect", "--format", "{{.State.Status}}", "two"]).ok();
    assert_eq!(state(), "paused");
    podman(&["unpause", "two"]).ok();
    assert_eq!(state(), "running");
    podman(&["stop", "two"]).ok();
    assert_eq!(podman(&["inspect", "--format", "{{.State.ExitCode}}", "two"]).ok(), "5");
    podman(&["rm", "two"]).ok();
    assert_eq!(run(&["--name", "eats", "--memory", "20m"], EAT).code, 137);
    podman(&["rm", "eats"]).ok();
    assert_eq!(podman(&["ps", "-aq"]).ok(), "");
}
