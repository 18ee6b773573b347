//! From an empty process to a running container.

use super::client::{Client, Role};
use super::finish::{clear_run_dir, write_record};
use super::process::Held;
use super::server::{Server, add_client};
use super::sink::Sink;
use super::stdio::{Ends, Wanted, pipes, terminal};
use super::{Ahead, Runtime, Stdio, failure, refusal};
use crate::connect::socket_path;
use crate::log::time;
use crate::protocol::{
    AHEAD, EXIT_RECORD, Failure, Launch, MAX_MESSAGE, PassedFd, START_RECORD, StartRecord, Started, VERSION,
};
use oci::runtime::Seccomp;
use rustix::fs::Mode;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use sys::step::{Step, reached};

/// What the kernel should kill last.
const OOM_SCORE_ADJ: &str = "-900";

/// The life of a supervisor: receives a launch over descriptor 0, starts the container and stays with it to its end.
///
/// `prepare` is called before there is a launch, with the filter that it will probably have; `choose` gives the runtime
/// that the launch asks for.
pub fn run(
    prepare: &mut dyn FnMut(Option<&Seccomp>),
    choose: &mut dyn FnMut(&Launch) -> Box<dyn Runtime>,
) -> io::Result<()> {
    let signals = become_supervisor()?;
    prepare(None);
    // The daemon may die at any moment from here on. Before the launch is whole there is nothing to do; after that the
    // container is started and found again through `start.json` and the socket.
    let Some((launch, fds)) = receive(prepare)? else { return Ok(()) };
    reached(Step::SuperviseLaunch);
    let mut runtime = choose(&launch);
    match boot(launch, fds, runtime.as_mut(), signals) {
        Ok(mut server) => {
            tell(&Started::Ok(server.started.clone()));
            reached(Step::SuperviseAnswered);
            server.serve()
        }
        Err(failure) => {
            tell(&Started::Failed(failure));
            Ok(())
        }
    }
}

/// Leaves everything of the daemon behind.
fn become_supervisor() -> io::Result<OwnedFd> {
    sys::own::close_from(3)?;
    // Fails only for a process that leads a group already, for instance under a debugger.
    let _ = rustix::process::setsid();
    // Executed by way of a descriptor it would be called by that one's number.
    rustix::thread::set_name(c"dhow-init")?;
    sys::signal::default_all();
    // All are blocked: a supervisor outlives SIGTERM, SIGHUP and writes to pipes without readers. Children get theirs back.
    sys::signal::set_mask(sys::signal::Set::ALL)?;
    let signals = sys::signal::signalfd(sys::signal::Set::of(&[rustix::process::Signal::CHILD.as_raw()]))?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    rustix::process::chdir("/")?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    Ok(signals)
}

/// Receives the launch; `None` when the daemon has gone before it was whole.
fn receive(prepare: &mut dyn FnMut(Option<&Seccomp>)) -> io::Result<Option<(Launch, Vec<OwnedFd>)>> {
    let socket = rustix::stdio::stdin();
    let mut bytes = vec![0; 64 << 10];
    let mut filled = 0;
    let mut fds = Vec::new();
    let mut ahead: Option<Seccomp> = None;
    loop {
        let (length, received) = sys::socket::recv_with_fds(socket, &mut bytes[filled..])?;
        fds.extend(received);
        filled += length;
        if length == 0 {
            return Ok(None);
        }
        while filled >= 4 {
            let head = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            let body = (head & !AHEAD) as usize;
            if body > MAX_MESSAGE {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the launch is too long"));
            }
            if filled < 4 + body {
                bytes.resize(bytes.len().max(4 + body), 0);
                break;
            }
            if head & AHEAD == 0 {
                let mut launch: Launch = serde_json::from_slice(&bytes[4..4 + body])?;
                if launch.filter_ahead
                    && let Some(linux) = &mut launch.spec.linux
                {
                    let lost = || io::Error::new(io::ErrorKind::InvalidData, "no filter came before the launch");
                    linux.seccomp = Some(ahead.ok_or_else(lost)?);
                }
                return Ok(Some((launch, fds)));
            }
            let filter = serde_json::from_slice(&bytes[4..4 + body])?;
            prepare(Some(&filter));
            ahead = Some(filter);
            bytes.copy_within(4 + body..filled, 0);
            filled -= 4 + body;
        }
    }
}

/// The one answer. The daemon may not be there to hear it.
fn tell(started: &Started) {
    let mut line = serde_json::to_vec(started).unwrap_or_default();
    line.push(b'\n');
    let mut sent = 0;
    while sent < line.len() {
        match rustix::net::send(rustix::stdio::stdin(), &line[sent..], SendFlags::NOSIGNAL) {
            Ok(length) => sent += length,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// What the passed descriptors are.
#[derive(Default)]
struct Passed {
    ahead: Ahead,
    ports: Vec<OwnedFd>,
    clients: Vec<Option<Client>>,
}

fn sort(kinds: &[PassedFd], fds: Vec<OwnedFd>) -> Result<Passed, Failure> {
    if kinds.len() != fds.len() {
        return Err(refusal("launch", "not as many descriptors as announced"));
    }
    let mut passed = Passed::default();
    for (kind, fd) in kinds.iter().zip(fds) {
        match *kind {
            PassedFd::NetworkNamespace => passed.ahead.netns = Some(fd),
            PassedFd::Sysfs => passed.ahead.sysfs = Some(fd),
            PassedFd::BareMounts => passed.ahead.bare = Some(fd),
            PassedFd::Port => passed.ports.push(fd),
            PassedFd::Attach { stdin, stdout, stderr } => {
                let role = Role::Attach { stdin, stdout, stderr };
                add_client(&mut passed.clients, Client::new(fd, role));
            }
        }
    }
    Ok(passed)
}

/// Undoes what has been made if the start fails half way.
struct RunDir<'a> {
    path: &'a Path,
    keep: bool,
}

impl Drop for RunDir<'_> {
    fn drop(&mut self) {
        if !self.keep {
            clear_run_dir(self.path);
        }
    }
}

fn boot(
    mut launch: Launch,
    fds: Vec<OwnedFd>,
    runtime: &mut dyn Runtime,
    signals: OwnedFd,
) -> Result<Server<'_>, Failure> {
    if launch.version != VERSION {
        return Err(refusal("launch", &format!("version {} of the protocol is not spoken here", launch.version)));
    }
    let passed = sort(&launch.fds, fds)?;
    let oom_score_adj = protect(&mut launch);
    let log = Sink::open(&launch.log).map_err(|e| failure("log", e))?;
    make_run_dir(&launch.run_dir).map_err(|e| failure("run directory", e))?;
    reached(Step::SuperviseDirectory);
    let mut run_dir = RunDir { path: &launch.run_dir, keep: false };
    let listener = listen(&launch.run_dir).map_err(|e| failure("control socket", e))?;
    reached(Step::SuperviseSocket);
    let Some(process) = &launch.spec.process else { return Err(refusal("launch", "the spec has no process")) };
    let is_terminal = process.terminal;
    let (stdio, ends) = if is_terminal {
        (Stdio::default(), Ends::default())
    } else {
        let wanted = Wanted { stdin: launch.open_stdin, output: true };
        pipes(wanted, &process.user).map_err(|e| failure("pipes", e))?
    };
    let pid = runtime.create(&launch, stdio, passed.ahead)?;
    reached(Step::SuperviseCreated);
    // The record of an earlier run: gone, so that nobody takes it for this one's, and so that the new one replaces
    // nothing (replacing makes the file system flush).
    let _ = rustix::fs::unlink(launch.state_dir.join(EXIT_RECORD));
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let started = StartRecord {
        version: VERSION,
        pid,
        start_time: sys::process::start_time(pid).unwrap_or(0),
        supervisor: own,
        supervisor_start_time: sys::process::start_time(own).unwrap_or(0),
        started_ns: time::now_ns() as u64,
        cgroup: launch.cgroup(),
    };
    // Before the command runs: from its first instruction on a new daemon finds the way here.
    if let Err(error) = write_record(&launch.run_dir, START_RECORD, &started) {
        let _ = runtime.kill_all();
        let _ = runtime.remove();
        return Err(failure("start record", error));
    }
    reached(Step::SuperviseRecord);
    let mut running = runtime.start()?;
    reached(Step::SuperviseRunning);
    let ends = match running.terminal.take() {
        Some(master) => terminal(master, launch.open_stdin).map_err(|e| failure("terminal", e))?,
        None => ends,
    };
    run_dir.keep = true;
    drop(run_dir);
    let namespaces = launch.spec.linux.as_ref().map(|l| l.namespaces.as_slice()).unwrap_or_default();
    let shares_pids = !namespaces.iter().any(|n| n.kind == "pid" && n.path.is_empty());
    Ok(Server {
        runtime,
        state_dir: launch.state_dir,
        run_dir: launch.run_dir,
        stdin_once: launch.stdin_once,
        shares_pids,
        oom_score_adj,
        started,
        finished_ns: 0,
        log,
        listener: Some(listener),
        signals,
        ports: passed.ports,
        clients: passed.clients,
        held: vec![Some(Held::new(String::new(), running, ends, is_terminal))],
        exiting: None,
        oom: None,
        oom_kills: 0,
        buffer: Vec::new(),
        used: false,
    })
}

/// Makes the kernel spare the supervisor, not the container: it keeps the score that the daemon had, unless the spec
/// says otherwise.
fn protect(launch: &mut Launch) -> Option<i32> {
    const FILE: &str = "/proc/self/oom_score_adj";
    let process = launch.spec.process.as_mut()?;
    if process.oom_score_adj.is_none() {
        let before = std::fs::read_to_string(FILE).ok().and_then(|text| text.trim().parse().ok());
        // Refused without CAP_SYS_RESOURCE; then nothing changes for anybody.
        if std::fs::write(FILE, OOM_SCORE_ADJ).is_ok() {
            process.oom_score_adj = before;
        }
    } else {
        let _ = std::fs::write(FILE, OOM_SCORE_ADJ);
    }
    process.oom_score_adj
}

/// Makes the directory, or takes over what a supervisor that was killed left there.
fn make_run_dir(path: &Path) -> io::Result<()> {
    let mode = Mode::from_raw_mode(0o700);
    match rustix::fs::mkdir(path, mode) {
        Ok(()) => return Ok(()),
        Err(rustix::io::Errno::EXIST) => {}
        Err(rustix::io::Errno::NOENT) => {
            std::fs::create_dir_all(path)?;
        }
        Err(errno) => return Err(errno.into()),
    }
    rustix::fs::chmod(path, mode)?;
    let _ = rustix::fs::unlink(path.join(START_RECORD));
    let _ = rustix::fs::unlink(path.join(EXIT_RECORD));
    Ok(())
}

fn listen(run_dir: &Path) -> io::Result<OwnedFd> {
    let (path, _directory) = socket_path(run_dir)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // The mode of a socket is the mode of its file; set before, it is never wider.
    rustix::fs::fchmod(&socket, Mode::from_raw_mode(0o600))?;
    let address = SocketAddrUnix::new(&path)?;
    match rustix::net::bind(&socket, &address) {
        Err(rustix::io::Errno::ADDRINUSE) => {
            rustix::fs::unlink(&path)?;
            rustix::net::bind(&socket, &address)?;
        }
        result => result?,
    }
    rustix::net::listen(socket.as_fd(), 128)?;
    Ok(socket)
}
