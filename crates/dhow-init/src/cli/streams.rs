//! What a process reads from and writes to: descriptors that were handed to this one, a console socket of the caller's,
//! or, in the foreground, this process's own streams, with a terminal or pipes between.

use super::{Error, Result};
use runtime::Stdio;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Pid, WaitOptions};
use rustix::termios::{LocalModes, OptionalActions, OutputModes, Termios};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const SIGCHLD: i32 = rustix::process::Signal::CHILD.as_raw();
const SIGWINCH: i32 = rustix::process::Signal::WINCH.as_raw();
const SIGURG: i32 = rustix::process::Signal::URG.as_raw();

/// Descriptors from 3 on that the command gets: those of socket activation, then those of `--preserve-fds`.
#[derive(Default)]
pub struct Inherited {
    pub fds: Vec<OwnedFd>,
    /// How many of them socket activation passed.
    pub listening: usize,
}

impl Inherited {
    /// Takes them, before this process opens anything.
    pub fn take(preserved: Result<Option<i64>>) -> Result<Inherited> {
        let preserved =
            usize::try_from(preserved?.unwrap_or(0)).map_err(|_| Error("preserve-fds is negative".into()))?;
        let number = |name: &str| std::env::var(name).ok()?.parse::<usize>().ok();
        let ours = number("LISTEN_PID") == Some(std::process::id() as usize);
        let listening = if ours { number("LISTEN_FDS").unwrap_or(0) } else { 0 };
        let mut fds = Vec::new();
        for n in 0..listening + preserved {
            let fd = i32::try_from(3 + n).map_err(|_| Error("preserve-fds is too large".into()))?;
            let of = n.saturating_sub(listening);
            let taken = sys::inherited::take(fd)
                .map_err(Error::io(format!("unable to stat preserved-fd {of} (of {preserved})")))?;
            fds.push(taken);
        }
        Ok(Inherited { fds, listening })
    }
}

/// The streams of this process, for a process that gets them as they are.
pub fn own() -> Stdio {
    let dup = |fd: BorrowedFd| rustix::io::fcntl_dupfd_cloexec(fd, 3).ok();
    Stdio {
        stdin: dup(rustix::stdio::stdin()),
        stdout: dup(rustix::stdio::stdout()),
        stderr: dup(rustix::stdio::stderr()),
    }
}

/// A connection to a socket of the caller's.
pub fn connect(path: &str) -> Result<OwnedFd> {
    let dial = || -> std::result::Result<OwnedFd, Errno> {
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(socket)
    };
    dial().map_err(Error::errno(format!("dial unix {path}: connect")))
}

/// Sends a descriptor with its name.
pub fn send(socket: BorrowedFd, name: &str, fd: BorrowedFd) -> Result<()> {
    sys::socket::send_with_fds(socket, name.as_bytes(), &[fd])
        .map(drop)
        .map_err(Error::errno(format!("send the descriptor of {name}")))
}

/// Refuses a terminal that nobody would have, and a console socket that nobody would be told about.
pub fn check_console(terminal: bool, detach: bool, console_socket: Option<&str>) -> Result<()> {
    match console_socket {
        None if detach && terminal => {
            Error::new("cannot allocate tty if runc will detach without setting console socket")
        }
        Some(_) if !detach || !terminal => {
            Error::new("cannot use console socket if runc will not detach or allocate tty")
        }
        _ => Ok(()),
    }
}

/// One direction of a stream.
struct Pump {
    from: Option<OwnedFd>,
    to: Option<OwnedFd>,
    /// What was read and is not yet written.
    pending: Vec<u8>,
    /// `to` is ours alone and does not block.
    queues: bool,
}

/// Adds a descriptor to those that are waited for; where it is among them.
fn add<'a>(fds: &mut Vec<PollFd<'a>>, fd: Option<&'a OwnedFd>, what: PollFlags) -> Option<usize> {
    fds.push(PollFd::from_borrowed_fd(fd?.as_fd(), what));
    Some(fds.len() - 1)
}

/// What a foreground command does while its process runs: passes streams and signals on.
pub struct Foreground {
    pumps: Vec<Pump>,
    signals: OwnedFd,
    /// The master of its terminal.
    master: Option<OwnedFd>,
    /// The caller's terminal, and how it was.
    host: Option<(OwnedFd, Termios)>,
}

impl Drop for Foreground {
    fn drop(&mut self) {
        if let Some((terminal, before)) = &self.host {
            let _ = rustix::termios::tcsetattr(terminal, OptionalActions::Now, before);
        }
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(Error::errno("pipe"))
}

fn never_blocks(fd: &OwnedFd) -> Result<()> {
    rustix::io::ioctl_fionbio(fd, true).map_err(Error::errno("set a stream to non-blocking"))
}

impl Foreground {
    /// Catches the signals that come from now on, and makes the streams of a process without a terminal: this process's
    /// own, but pipes in place of a terminal, which would be the container's to play with.
    pub fn prepare(terminal: bool) -> Result<(Foreground, Stdio)> {
        sys::signal::set_mask(sys::signal::Set::ALL).map_err(Error::errno("sigprocmask"))?;
        let signals = sys::signal::signalfd(sys::signal::Set::ALL).map_err(Error::errno("signalfd"))?;
        let mut foreground = Foreground { pumps: Vec::new(), signals, master: None, host: None };
        if terminal {
            return Ok((foreground, Stdio::default()));
        }
        let Stdio { mut stdin, mut stdout, mut stderr } = own();
        if stdin.as_ref().is_some_and(rustix::termios::isatty) {
            let (theirs, ours) = pipe()?;
            never_blocks(&ours)?;
            let from = stdin.replace(theirs);
            foreground.pumps.push(Pump { from, to: Some(ours), pending: Vec::new(), queues: true });
        }
        for stream in [&mut stdout, &mut stderr] {
            if stream.as_ref().is_some_and(rustix::termios::isatty) {
                let (ours, theirs) = pipe()?;
                never_blocks(&ours)?;
                let to = stream.replace(theirs);
                foreground.pumps.push(Pump { from: Some(ours), to, pending: Vec::new(), queues: false });
            }
        }
        Ok((foreground, Stdio { stdin, stdout, stderr }))
    }

    /// Joins the terminal of the process to that of the caller, if it has one.
    pub fn join(&mut self, master: OwnedFd) -> Result<()> {
        let failed = |what: &'static str| Error::errno(what);
        let Stdio { stdin, stdout, stderr } = own();
        let dup = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 3).map_err(failed("dup"));
        // What goes through the terminal of the caller is finished there.
        let mut inner = rustix::termios::tcgetattr(&master).map_err(failed("tcgetattr"))?;
        inner.output_modes &= !OutputModes::ONLCR;
        rustix::termios::tcsetattr(&master, OptionalActions::Now, &inner).map_err(failed("tcsetattr"))?;
        let host = [&stdin, &stdout, &stderr].into_iter().flatten().find(|fd| rustix::termios::isatty(fd));
        if let Some(host) = host {
            let before = rustix::termios::tcgetattr(host).map_err(failed("tcgetattr"))?;
            let mut raw = before.clone();
            raw.make_raw();
            raw.local_modes &= !LocalModes::TOSTOP;
            raw.output_modes |= OutputModes::OPOST;
            rustix::termios::tcsetattr(host, OptionalActions::Now, &raw).map_err(failed("tcsetattr"))?;
            self.host = Some((dup(host)?, before));
        }
        never_blocks(&master)?;
        self.pumps.push(Pump { from: stdin, to: Some(dup(&master)?), pending: Vec::new(), queues: true });
        self.pumps.push(Pump { from: Some(dup(&master)?), to: stdout, pending: Vec::new(), queues: false });
        self.master = Some(master);
        self.resize();
        Ok(())
    }

    fn resize(&self) {
        if let (Some(master), Some((host, _))) = (&self.master, &self.host)
            && let Ok(size) = rustix::termios::tcgetwinsize(host)
        {
            let _ = rustix::termios::tcsetwinsize(master, size);
        }
    }

    /// Serves the process `pid`, a child of this one, to its end, and returns its exit code.
    pub fn serve(&mut self, pid: i32) -> Result<i32> {
        loop {
            let mut code = None;
            while let Some(info) = sys::signal::read_signalfd(self.signals.as_fd()).map_err(Error::errno("signalfd"))? {
                match info.signal {
                    SIGCHLD => code = code.or(reap(pid)),
                    SIGWINCH => self.resize(),
                    SIGURG => {}
                    // It may have ended this very moment.
                    signal => drop(sys::process::kill(pid, signal)),
                }
            }
            if let Some(code) = code {
                // Everything it has written is there already, and nobody else is left to write.
                self.pumps.iter_mut().filter(|pump| !pump.queues).for_each(Pump::drain);
                return Ok(code);
            }
            self.turn()?;
        }
    }

    /// Waits until something can be done, and does it.
    fn turn(&mut self) -> Result<()> {
        let ready: Vec<(PollFlags, PollFlags)> = {
            let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
            let mut places = Vec::new();
            for pump in &self.pumps {
                let from = pump.from.as_ref().filter(|_| pump.pending.is_empty());
                let to = pump.to.as_ref().filter(|_| !pump.pending.is_empty());
                places.push((add(&mut fds, from, PollFlags::IN), add(&mut fds, to, PollFlags::OUT)));
            }
            match poll(&mut fds, None) {
                Err(Errno::INTR) => return Ok(()),
                other => other.map_err(Error::errno("poll"))?,
            };
            let of = |place: Option<usize>| place.map_or(PollFlags::empty(), |n| fds[n].revents());
            places.into_iter().map(|(from, to)| (of(from), of(to))).collect()
        };
        for (pump, (from, to)) in self.pumps.iter_mut().zip(ready) {
            if !from.is_empty() {
                pump.read();
            }
            if !to.is_empty() || !pump.queues {
                pump.write();
            }
        }
        Ok(())
    }
}

impl Pump {
    /// Reads once; false when there is nothing (yet, or any more).
    fn read(&mut self) -> bool {
        let Some(from) = &self.from else { return false };
        let mut bytes = [0; 32 << 10];
        match rustix::io::retry_on_intr(|| rustix::io::read(from, &mut bytes)) {
            Ok(n) if n > 0 => {
                self.pending.extend_from_slice(&bytes[..n]);
                true
            }
            Err(Errno::AGAIN) => false,
            // The other side has closed; a terminal says so with an error.
            Ok(_) | Err(_) => {
                self.from = None;
                if self.queues {
                    self.to = None;
                }
                false
            }
        }
    }

    fn write(&mut self) {
        while let Some(to) = self.to.as_ref().filter(|_| !self.pending.is_empty()) {
            match rustix::io::retry_on_intr(|| rustix::io::write(to, &self.pending)) {
                Ok(n) => drop(self.pending.drain(..n)),
                Err(Errno::AGAIN) if self.queues => return,
                Err(Errno::AGAIN) => {
                    // The caller's own descriptor, which the caller has made so.
                    let _ = poll(&mut [PollFd::new(to, PollFlags::OUT)], None);
                }
                // Nobody reads it any more: what comes is thrown away, so that the writer is not held up.
                Err(_) => self.to = None,
            }
        }
        if self.to.is_none() {
            self.pending.clear();
        }
    }

    fn drain(&mut self) {
        self.write();
        while self.read() {
            self.write();
        }
    }
}

/// Collects every child that has ended; the exit code once `pid` is among them.
fn reap(pid: i32) -> Option<i32> {
    let mut code = None;
    while let Ok(Some((ended, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if Pid::from_raw(pid) == Some(ended) {
            code = Some(match status.terminating_signal() {
                Some(signal) => 128 + signal,
                None => status.exit_status().unwrap_or(255),
            });
        }
    }
    code
}
