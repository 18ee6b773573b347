//! What the integration tests share: engines of their own in network namespaces of their own, real clients, real images.
//!
//! An [`Engine`] is a daemon with data, run directory, socket and network namespace below one temporary directory. When it
//! is dropped everything it made must be gone; what is left fails the test.

pub mod evil;
pub mod fuse;
pub mod tar;

use std::ffi::OsStr;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long anything may take that is expected to happen.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Runs the rest of the test only as root; says so loudly otherwise, and fails where CI forbids skipping.
#[macro_export]
macro_rules! need_root {
    () => {
        if !rustix::process::geteuid().is_root() {
            assert!(std::env::var_os("DHOW_TEST_NO_SKIP").is_none(), "this test needs root");
            eprintln!("SKIPPED, needs root: {}:{}", file!(), line!());
            return;
        }
    };
}

/// What a client printed, and its exit code.
#[derive(Clone, PartialEq, Eq)]
pub struct Said {
    /// Exit code; 128 + n after a signal.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Debug for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "exit code {}\n--- stdout\n{}\n--- stderr\n{}", self.code, self.out, self.err)
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        use std::os::unix::process::ExitStatusExt;
        let code = output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0));
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Said { code, out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Said {
    /// Standard output without the last newline; fails the test unless the exit code is 0.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out.trim_end_matches('\n').to_owned()
    }

    /// Fails the test unless the exit code is `code` and standard error contains `text`.
    #[track_caller]
    pub fn fails(self, code: i32, text: &str) -> Said {
        assert!(self.code == code && self.err.contains(text), "expected exit code {code} and {text:?}; got {self:?}");
        self
    }
}

/// Runs a command with no input.
pub fn said(command: &mut Command) -> Said {
    command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?}: {e}")).into()
}

/// Waits until `ready` answers, and fails the test when it does not within [`DEADLINE`].
#[track_caller]
pub fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {DEADLINE:?} for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The binary under test.
pub fn dhow_bin() -> PathBuf {
    std::env::var_os("DHOW_TEST_BIN").map(PathBuf::from).unwrap_or_else(|| {
        // <target>/<triple>/debug/deps/all-… → <target>/<triple>/debug/dhow
        let me = std::env::current_exe().expect("current_exe");
        me.parent().and_then(Path::parent).expect("target directory").join("dhow")
    })
}

/// A docker CLI of version 28 or later.
pub fn docker_bin() -> PathBuf {
    std::env::var_os("DHOW_TEST_DOCKER").map_or_else(|| "docker".into(), PathBuf::from)
}

/// A directory that is gone after the test.
pub struct TempDir(PathBuf);

impl TempDir {
    /// A new directory below the system's temporary one; short, as socket paths are limited to 108 bytes.
    pub fn new() -> TempDir {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("dhow-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("temporary directory");
        TempDir(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Default for TempDir {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Files that nobody may touch.
pub struct Canary(TempDir);

impl Canary {
    /// A directory with a file `file` in it.
    pub fn new() -> Canary {
        let dir = TempDir::new();
        std::fs::write(dir.path().join("file"), "alive").expect("canary");
        Canary(dir)
    }

    /// Where it is.
    pub fn path(&self) -> &str {
        self.0.path().to_str().expect("utf-8")
    }

    /// Fails the test unless all is as it was.
    #[track_caller]
    pub fn check(&self, what: &str) {
        use std::os::unix::fs::MetadataExt;
        let names: Vec<_> = std::fs::read_dir(self.path()).expect("canary").flatten().map(|e| e.file_name()).collect();
        assert_eq!(names, ["file"], "{what} reached the host");
        let file = self.0.path().join("file");
        assert_eq!(std::fs::read_to_string(&file).expect("canary"), "alive", "{what} wrote to the host");
        let stat = std::fs::symlink_metadata(&file).expect("canary");
        assert_eq!((stat.mode(), stat.uid(), stat.gid(), stat.nlink()), (0o100_644, 0, 0, 1), "{what}");
        let stat = std::fs::symlink_metadata(self.path()).expect("canary");
        assert_eq!((stat.mode(), stat.uid(), stat.gid()), (0o40_755, 0, 0), "{what}");
    }
}

impl Default for Canary {
    fn default() -> Self {
        Self::new()
    }
}

/// A network namespace with its loopback up, held by a sleeping process.
pub struct NetNs(Child);

impl NetNs {
    /// Makes one.
    pub fn new() -> NetNs {
        let child = Command::new("unshare")
            .args(["--net", "sh", "-c", "ip link set lo up && echo up && exec sleep infinity"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut holder = NetNs(child);
        let mut line = [0; 3];
        use std::io::Read;
        holder.0.stdout.as_mut().expect("piped").read_exact(&mut line).expect("network namespace");
        holder
    }

    /// A command inside it.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("-t").arg(self.0.id().to_string()).arg("-n").arg("--").arg(program);
        command
    }

    /// PID of a process in it.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Default for NetNs {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for NetNs {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A daemon of the test's own.
pub struct Engine {
    /// Data below `data`, run directory `run`, socket `sock`, log `daemon.log`.
    pub dir: TempDir,
    /// The namespace of its networks.
    pub net: NetNs,
    daemon: Option<Child>,
    binary: PathBuf,
    flags: Vec<String>,
    apart: bool,
    disk: Option<Disk>,
}

/// A small file system of its own.
struct Disk(PathBuf);

impl Drop for Disk {
    fn drop(&mut self) {
        // The namespace of a process that is just ending may still hold it.
        let gone = || (said(Command::new("umount").arg(&self.0)).code == 0).then_some(());
        let deadline = Instant::now() + Duration::from_secs(5);
        while gone().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Whether an engine answers. That somebody listens is not enough: a child that the last one was just making has its socket
/// too until it executes its program.
fn pinged(socket: &Path) -> Option<()> {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(socket).ok()?;
    stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.starts_with("HTTP/1.1 200").then_some(())
}

impl Engine {
    /// Starts a daemon with `flags` added.
    pub fn start(flags: &[&str]) -> Engine {
        let mut engine = Engine::new(flags);
        engine.run();
        engine
    }

    /// As [`Engine::start`], in a mount namespace where a machine with both versions of control groups has only the first.
    pub fn apart(flags: &[&str]) -> Engine {
        let mut engine = Engine::new(flags);
        engine.apart = true;
        engine.run();
        engine
    }

    fn new(flags: &[&str]) -> Engine {
        let flags = flags.iter().map(|f| f.to_string()).collect();
        let (dir, net, binary) = (TempDir::new(), NetNs::new(), dhow_bin());
        Engine { dir, net, daemon: None, binary, flags, apart: false, disk: None }
    }

    /// A daemon whose data is on a disk of so many MiB.
    pub fn on_disk(mebibytes: u64) -> Engine {
        let dir = TempDir::new();
        let (image, data) = (dir.path().join("disk"), dir.path().join("data"));
        std::fs::create_dir(&data).expect("data");
        std::fs::File::create(&image).and_then(|f| f.set_len(mebibytes << 20)).expect("disk");
        said(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image)).ok();
        said(Command::new("mount").args(["-o", "loop"]).args([&image, &data])).ok();
        let mut engine = Engine::new(&[]);
        (engine.dir, engine.disk) = (dir, Some(Disk(data)));
        engine.run();
        engine
    }

    /// A daemon that has the image `busybox`.
    pub fn with_busybox() -> Engine {
        let engine = Engine::start(&[]);
        engine.import_busybox();
        engine
    }

    /// Imports the image `busybox`: a static busybox with its applets as links.
    pub fn import_busybox(&self) {
        self.dhow(["import", "-c", "CMD [\"sh\"]", busybox_tar().to_str().expect("utf-8"), "busybox:latest"]).ok();
    }

    /// Starts the daemon (again) and waits until it answers.
    pub fn run(&mut self) {
        self.run_with(&[]);
    }

    /// The same, with variables of the environment.
    pub fn run_with(&mut self, environment: &[(&str, &str)]) {
        let dir = self.dir.path();
        let log = std::fs::File::options().create(true).append(true).open(dir.join("daemon.log")).expect("daemon.log");
        let mut command = self.net.command(if self.apart { Path::new("unshare") } else { &self.binary });
        if self.apart {
            let script = "umount /sys/fs/cgroup/unified 2>/dev/null; exec \"$@\"";
            command.args(["--mount", "sh", "-c", script, "sh"]).arg(&self.binary);
        }
        command.arg("daemon").arg("--data-root").arg(dir.join("data")).arg("--exec-root").arg(dir.join("run"));
        command.arg("--pidfile").arg(dir.join("pid")).arg("-H").arg(self.host()).args(&self.flags);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("log")).stderr(log);
        command.envs(environment.iter().copied());
        self.daemon = Some(command.spawn().expect("daemon"));
        let socket = dir.join("sock");
        wait_for("the daemon to answer", || {
            if let Some(status) = self.daemon.as_mut().and_then(|d| d.try_wait().ok().flatten()) {
                panic!("the daemon ended with {status}:\n{}", self.log());
            }
            pinged(&socket)
        });
    }

    /// From its next start on the daemon is this program.
    pub fn become_program(&mut self, binary: &Path) {
        self.binary = binary.to_owned();
    }

    /// `unix://…`
    pub fn host(&self) -> String {
        format!("unix://{}", self.dir.path().join("sock").display())
    }

    /// `system check`, with `--repair` or without.
    pub fn check(&self, repair: bool) -> Said {
        self.dhow(["system", "check", "--repair"].into_iter().take(if repair { 3 } else { 2 }))
    }

    /// The same of the engine when its daemon does not run.
    pub fn check_at_rest(&self, repair: bool) -> Said {
        let dir = self.dir.path();
        let mut command = self.net.command(dhow_bin());
        command.args(["daemon", "--check"]).args(repair.then_some("--repair"));
        command.arg("--data-root").arg(dir.join("data")).arg("--exec-root").arg(dir.join("run"));
        said(command.args(&self.flags))
    }

    /// What it finds wrong, one line each. The engines of tests have one parent of cgroups: what another test may have left
    /// there is not told.
    #[track_caller]
    pub fn faults(&self) -> Vec<String> {
        let said = self.check(false);
        assert!(said.code == 1 || said.code == 0 && said.out.is_empty(), "{said:?}");
        assert_eq!(said.err, "");
        let others = "no process is in this cgroup, and no container has it";
        said.out.lines().filter(|line| !line.ends_with(others)).map(str::to_owned).collect()
    }

    /// Fails the test unless the engine finds nothing wrong with its state.
    #[track_caller]
    pub fn clean(&self, when: &str) {
        let faults = self.faults();
        assert!(faults.is_empty(), "{when}: {faults:#?}\n{}", self.log());
    }

    /// What the daemon has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("daemon.log")).unwrap_or_default()
    }

    /// PID of the daemon. (`nsenter` executes it in its own place.)
    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("running").id()
    }

    /// Waits until the daemon has been killed by itself.
    #[track_caller]
    pub fn died(&mut self, why: &str) {
        use std::os::unix::process::ExitStatusExt;
        let mut daemon = self.daemon.take().expect("running");
        let status = wait_for(&format!("the daemon to die at {why}"), || daemon.try_wait().expect("wait"));
        assert_eq!(status.signal(), Some(9), "{why}: {status}");
    }

    /// kill -9 of the daemon; its containers go on.
    pub fn kill9(&mut self) {
        let mut daemon = self.daemon.take().expect("running");
        daemon.kill().expect("kill");
        daemon.wait().expect("wait");
    }

    /// A polite end of the daemon; its containers go on.
    pub fn stop(&mut self) {
        let mut daemon = self.daemon.take().expect("running");
        let pid = rustix::process::Pid::from_child(&daemon);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("kill");
        let status = daemon.wait().expect("wait");
        assert!(status.success(), "the daemon ended with {status}:\n{}", self.log());
    }

    /// Our own client against it.
    pub fn dhow<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Said {
        said(&mut self.dhow_command(args))
    }

    /// Our own client against it, to be run by the test.
    pub fn dhow_command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        self.client(dhow_bin(), args)
    }

    /// The real docker CLI against it.
    pub fn docker<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Said {
        said(&mut self.client(docker_bin(), args))
    }

    fn client<S: AsRef<OsStr>>(&self, program: PathBuf, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(program);
        command.env("DOCKER_HOST", self.host()).env("DOCKER_CONFIG", self.dir.path().join("client"));
        command.env_remove("DOCKER_CONTEXT").args(args);
        command
    }

    /// The API by hand: `GET`, `POST` …, a path and a JSON body; status and body.
    pub fn api(&self, method: &str, path: &str, body: Option<&str>) -> (u16, String) {
        let mut command = Command::new("curl");
        command.args(["-sS", "-X", method, "-w", "\n%{http_code}", "--unix-socket"]).arg(self.dir.path().join("sock"));
        if let Some(body) = body {
            command.args(["-H", "Content-Type: application/json", "-d", body]);
        }
        if method == "HEAD" {
            command.arg("-I");
        }
        let out = said(command.arg(format!("http://d{path}"))).ok();
        let (body, code) = out.rsplit_once('\n').unwrap_or(("", &out));
        (code.parse().expect("status"), body.to_owned())
    }

    /// The API by hand, any bytes; a connection of its own, without a client between. Status 0: closed without an answer.
    pub fn raw(&self, method: &str, path: &str, body: &[u8]) -> (u16, String) {
        use std::io::{Read, Write};
        let mut stream = std::os::unix::net::UnixStream::connect(self.dir.path().join("sock")).expect("connect");
        stream.set_read_timeout(Some(DEADLINE)).expect("timeout");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        // The daemon may answer before it has read all.
        let _ = stream.write_all(&[head.as_bytes(), body].concat());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        (status, answer.split_once("\r\n\r\n").map_or_else(String::new, |(_, body)| body.to_owned()))
    }

    /// Imports an archive from memory.
    pub fn import(&self, name: &str, archive: &[u8]) -> Said {
        let path = self.dir.path().join(format!("{name}.tar"));
        std::fs::write(&path, archive).expect("archive");
        let said = self.dhow(["import", path.to_str().expect("utf-8"), name]);
        let _ = std::fs::remove_file(&path);
        said
    }

    /// [`Engine::stored`] once a new daemon has put there what it carries.
    pub fn stored_at_first(&self) -> Vec<String> {
        wait_for("the stores", || {
            let record = self.dir.path().join("data/image/repositories.json");
            (record.exists() && self.dhow(["images", "-q"]).code == 0).then_some(())
        });
        self.stored()
    }

    /// What the stores of images and layers hold, as sorted paths: the same before and after whatever fails.
    pub fn stored(&self) -> Vec<String> {
        let root = self.dir.path().join("data");
        let mut all = Vec::new();
        let rooms = ["layer/layers", "layer/blobs/sha256", "layer/blobs/sha512", "layer/partial", "layer/quarantine"];
        for room in rooms.into_iter().chain(["layer/rw", "image/record", "image/quarantine", "container", "volume"]) {
            let names = std::fs::read_dir(root.join(room)).into_iter().flatten().flatten();
            all.extend(names.map(|e| format!("{room}/{}", e.file_name().to_string_lossy())));
        }
        all.sort();
        all
    }

    /// Fails the test unless the daemon is the same process as ever, answers, and has no container.
    #[track_caller]
    pub fn alive(&mut self) {
        let ended = self.daemon.as_mut().and_then(|d| d.try_wait().ok().flatten());
        assert!(ended.is_none(), "the daemon ended with {ended:?}:\n{}", self.log());
        assert_eq!(self.dhow(["ps", "-aq"]).ok(), "");
        assert!(!self.log().contains("panicked"), "{}", self.log());
    }

    /// `inspect` of a container, as JSON.
    pub fn inspect(&self, name: &str) -> serde_json::Value {
        let text = self.dhow(["inspect", name]).ok();
        let mut all: Vec<serde_json::Value> = serde_json::from_str(&text).expect("inspect prints JSON");
        all.remove(0)
    }

    /// Removes every container and says what is left of them in the kernel and on disk: nothing, unless there is a bug.
    pub fn leftovers(&mut self) -> Vec<String> {
        if self.daemon.is_none() {
            self.run();
        }
        let ids = self.dhow(["ps", "-aq", "--no-trunc"]).ok();
        for id in ids.lines() {
            self.dhow(["rm", "-f", "-v", id]);
        }
        let mut left = Vec::new();
        let containers = |path: &str| {
            let dir = self.dir.path().join(path);
            let names = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
            names.filter(|p| p.is_dir() && p.file_name().is_some_and(|n| n.len() == 64)).collect::<Vec<_>>()
        };
        left.extend(containers("data/container").iter().map(|p| format!("{}", p.display())));
        let gone = |check: &dyn Fn() -> Vec<String>| {
            // Namespaces and cgroups go a moment after the last process.
            let deadline = Instant::now() + Duration::from_secs(5);
            loop {
                let found = check();
                if found.is_empty() || Instant::now() > deadline {
                    return found;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        left.extend(gone(&|| containers("run/container").iter().map(|p| format!("{}", p.display())).collect()));
        left.extend(gone(&|| {
            let links = said(self.net.command("ip").args(["-o", "link"])).ok();
            // What is kept ready for the next container is nobody's, and goes within a second.
            let owned = links.lines().filter(|l| !l.ends_with(":ready"));
            owned.filter(|l| l.contains("veth") || l.contains("@if")).map(str::to_owned).collect()
        }));
        left.extend(gone(&|| ids.lines().flat_map(cgroups_of).collect()));
        left
    }
}

/// Cgroups that bear a container's ID.
pub fn cgroups_of(id: &str) -> Vec<String> {
    let roots = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|e| e.path());
    roots
        .chain([PathBuf::from("/sys/fs/cgroup")])
        .map(|root| root.join("dhow").join(id))
        .filter(|p| p.exists())
        .map(|p| p.display().to_string())
        .collect()
}

impl Drop for Engine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail = log.lines().rev().take(40).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n");
            eprintln!("--- the daemon's log\n{tail}");
        }
        let left = if std::thread::panicking() && self.daemon.is_none() { vec![] } else { self.leftovers() };
        if let Some(mut daemon) = self.daemon.take() {
            let pid = rustix::process::Pid::from_child(&daemon);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let _ = daemon.wait();
        }
        self.disk = None;
        if !std::thread::panicking() {
            assert!(left.is_empty(), "left behind: {left:#?}\n{}", self.log());
        }
    }
}

/// A tar of a root file system with a static busybox; made once per test run.
pub fn busybox_tar() -> &'static Path {
    static TAR: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    TAR.get_or_init(|| {
        let dir = TempDir::new();
        let script = r#"
            set -e; cd "$1"; mkdir -p root/bin root/etc root/tmp root/root root/proc root/sys root/dev root/usr root/var
            chmod 1777 root/tmp; cp "$(command -v busybox)" root/bin/busybox
            root/bin/busybox --list | while read -r a; do [ "$a" = busybox ] || ln root/bin/busybox "root/bin/$a"; done
            echo 'root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
alice:x:1000:1000::/home/alice:/bin/sh' >root/etc/passwd
            echo 'root:x:0:
daemon:x:1:
alice:x:1000:
crew:x:2000:alice' >root/etc/group
            tar -C root --owner=0 --group=0 --numeric-owner -cf "$2" ."#;
        // Beside the test program, where `cargo clean` finds it; another run may be making the same one.
        let here = std::env::current_exe().unwrap();
        let own = here.with_file_name(format!("busybox-{}.tar", std::process::id()));
        let said = said(Command::new("sh").args(["-c", script, "sh"]).arg(dir.path()).arg(&own));
        assert_eq!(said.code, 0, "{said:?}");
        let tar = here.with_file_name("busybox.tar");
        std::fs::rename(own, &tar).unwrap();
        tar
    })
}

/// A busybox image with more entries after busybox's own.
pub fn image(e: &Engine, name: &str, more: impl FnOnce(tar::Tar) -> tar::Tar) {
    let busybox = std::fs::read(busybox_tar()).expect("busybox");
    e.import(name, &more(tar::Tar::new().with(&busybox)).end()).ok();
}

/// A program for containers, made by the C compiler; static. Its path.
pub fn program(dir: &TempDir, name: &str, source: &str) -> String {
    let (from, to) = (dir.path().join(format!("{name}.c")), dir.path().join(name));
    std::fs::write(&from, source).expect("source");
    said(Command::new("cc").args(["-O1", "-static", "-o"]).arg(&to).arg(&from)).ok();
    to.display().to_string()
}

/// Debian's docker-registry on a free port of a network namespace.
pub struct Registry {
    child: Child,
    dir: TempDir,
    /// `127.0.0.1:<port>`
    pub host: String,
}

impl Registry {
    /// Starts one in the namespace of `net`.
    pub fn start(net: &NetNs) -> Registry {
        let dir = TempDir::new();
        let host = "127.0.0.1:5000".to_owned();
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\nhttp: {{addr: \"{host}\"}}\nlog: {{level: error}}\n",
            dir.path().join("data").display()
        );
        std::fs::write(dir.path().join("config.yml"), config).expect("config");
        let log = std::fs::File::create(dir.path().join("log")).expect("log");
        let child = net
            .command("docker-registry")
            .arg("serve")
            .arg(dir.path().join("config.yml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("log"))
            .stderr(log)
            .spawn()
            .expect("docker-registry");
        let registry = Registry { child, dir, host };
        wait_for("docker-registry", || {
            let code = said(net.command("curl").args(["-fsS", &format!("http://{}/v2/", registry.host)])).code;
            (code == 0).then_some(())
        });
        registry
    }

    /// Where its files are.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
