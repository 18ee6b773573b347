//! A connection to systemd: its own socket, or that of a message bus it is on.

use super::message::{self, Call, ERROR, FIXED, Message, Nonsense, REPLY, SIGNAL, Value};
use crate::{Failure, FailureKind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// The longest line while the two make each other's acquaintance.
const MAX_LINE: usize = 4096;
/// So many signals are kept until somebody asks for one.
const MAX_SIGNALS: usize = 4096;
const BUS: &str = "org.freedesktop.DBus";
const TALK: &str = "cannot talk to systemd over D-Bus";

/// Why a call was not answered as it should be.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// The other side refused, with the name of the error and its sentence.
    Refused { name: String, text: String },
    /// It was not to be talked to.
    Failed(Failure),
}

impl Unanswered {
    /// For who cannot do without the answer.
    pub fn into_failure(self, what: &str) -> Failure {
        match self {
            Unanswered::Refused { name, text } => failed(what, if text.is_empty() { &name } else { &text }),
            Unanswered::Failed(failure) => failure,
        }
    }
}

/// It is not the kernel that refuses.
pub(super) fn failed(what: &str, why: &str) -> Failure {
    Failure { stage: "systemd".into(), kind: FailureKind::System, errno: 0, text: format!("{what}: {why}") }
}

impl From<Errno> for Unanswered {
    fn from(errno: Errno) -> Unanswered {
        Unanswered::Failed(Failure::system("systemd", TALK, errno))
    }
}

impl From<Nonsense> for Unanswered {
    fn from(nonsense: Nonsense) -> Unanswered {
        Unanswered::Failed(failed(TALK, &nonsense.to_string()))
    }
}

/// A connection, which is given up at its deadline.
pub(super) struct Bus {
    socket: OwnedFd,
    deadline: Instant,
    serial: u32,
    /// Those that came while something else was waited for.
    signals: Vec<Message>,
}

impl Bus {
    /// Connects. `shared` is a bus with others on it, where one must introduce oneself.
    pub fn connect(address: &SocketAddrUnix, shared: bool, patience: Duration) -> Result<Bus, Unanswered> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let mut bus = Bus { socket, deadline: Instant::now() + patience, serial: 0, signals: Vec::new() };
        // A full backlog answers at once: it is asked again until the deadline.
        loop {
            match rustix::net::connect(&bus.socket, address) {
                Err(Errno::AGAIN) if Instant::now() < bus.deadline => std::thread::sleep(Duration::from_millis(5)),
                other => break other?,
            }
        }
        bus.authenticate()?;
        if shared {
            bus.call(&Call {
                destination: BUS,
                path: "/org/freedesktop/DBus",
                interface: BUS,
                member: "Hello",
                body: &[],
            })?;
        }
        Ok(bus)
    }

    /// Has a shared bus send the signals that `rule` describes.
    pub fn listen(&mut self, rule: &str) -> Result<(), Unanswered> {
        let body = [Value::text(rule)];
        let call =
            Call { destination: BUS, path: "/org/freedesktop/DBus", interface: BUS, member: "AddMatch", body: &body };
        self.call(&call).map(drop)
    }

    /// SASL's EXTERNAL: who is who the kernel says. Without a number, which would be another in a user namespace.
    fn authenticate(&mut self) -> Result<(), Unanswered> {
        self.send(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        loop {
            let line = self.line()?;
            match line.split(|b| *b == b' ').next() {
                Some(b"OK") => return Ok(()),
                Some(b"DATA") => {}
                _ => return Err(Errno::ACCESS.into()),
            }
        }
    }

    fn line(&mut self) -> Result<Vec<u8>, Unanswered> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            if line.len() > MAX_LINE {
                return Err(Errno::PROTO.into());
            }
            let mut byte = [0];
            self.fill(&mut byte)?;
            line.push(byte[0]);
        }
        line.truncate(line.len() - 2);
        Ok(line)
    }

    fn wait(&self, events: PollFlags) -> Result<(), Errno> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(&self.socket, events)], Some(&left)))? {
            0 => Err(Errno::TIMEDOUT),
            _ => Ok(()),
        }
    }

    fn send(&mut self, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() {
            match rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT)?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Errno> {
        let mut filled = 0;
        while filled < bytes.len() {
            match rustix::net::recv(&self.socket, &mut bytes[filled..], RecvFlags::empty()) {
                Ok((0, _)) => return Err(Errno::CONNRESET),
                Ok((length, _)) => filled += length,
                Err(Errno::AGAIN) => self.wait(PollFlags::IN)?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<Message, Unanswered> {
        let mut fixed = [0; FIXED];
        self.fill(&mut fixed)?;
        let mut bytes = fixed.to_vec();
        bytes.resize(message::length(&fixed)?, 0);
        self.fill(&mut bytes[FIXED..])?;
        Ok(Message::parse(&bytes)?)
    }

    /// Calls and waits for the answer.
    pub fn call(&mut self, call: &Call) -> Result<Message, Unanswered> {
        self.serial += 1;
        let serial = self.serial;
        self.send(&call.marshal(serial))?;
        loop {
            let message = self.receive()?;
            match message.kind {
                REPLY if message.answers == Some(serial) => return Ok(message),
                ERROR if message.answers == Some(serial) => {
                    let text = match message.values().unwrap_or_default().into_iter().next() {
                        Some(Value::Text(text)) => text,
                        _ => String::new(),
                    };
                    return Err(Unanswered::Refused { name: message.error, text });
                }
                SIGNAL if self.signals.len() < MAX_SIGNALS => self.signals.push(message),
                _ => {}
            }
        }
    }

    /// The next signal, of those that have come meanwhile first.
    pub fn signal(&mut self) -> Result<Message, Unanswered> {
        if !self.signals.is_empty() {
            return Ok(self.signals.remove(0));
        }
        loop {
            let message = self.receive()?;
            if message.kind == SIGNAL {
                return Ok(message);
            }
        }
    }
}
