//! systemd, which makes the cgroup of a container where it is asked to: a transient scope, over D-Bus.
//!
//! ```text
//! mod.rs         which systemd; making, changing and stopping scopes
//! bus.rs         a connection: who we are, calls, signals, all before a deadline
//! message.rs     the marshalled form of messages
//! properties.rs  limits of a container as properties of a scope
//! variant.rs     values of properties in annotations
//! ```
//!
//! A scope is that of a cgroup when it has the name and the slice which the cgroup's path says: nothing is noted. Who asks
//! is root, or an ordinary user with a systemd of the own, below whose cgroup all of its scopes are.

mod bus;
mod message;
mod properties;
mod variant;

use crate::Failure;
use bus::{Bus, Unanswered};
use message::{Call, Message};
use oci::Scope;
use rustix::net::SocketAddrUnix;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use message::Value;
pub(crate) use properties::{Property, annotated, resources};

const DESTINATION: &str = "org.freedesktop.systemd1";
const OBJECT: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
/// How long everything that one connection is for may take: systemd answers nobody while it reads all units anew.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether systemd is what manages this host.
pub(crate) fn runs() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Whether it is to be a user's own systemd: that of an ordinary user, who may also be root of a user namespace.
pub(crate) fn of_user() -> bool {
    let maps_all = || std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| map.contains("4294967295"));
    crate::create::rootless() || (!maps_all() && addresses_of_user().iter().any(|(path, _)| path.exists()))
}

/// The sockets of a user's systemd, the best first; whether others are on it too.
fn addresses_of_user() -> Vec<(PathBuf, bool)> {
    let dir = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let given = std::env::var("DBUS_SESSION_BUS_ADDRESS").unwrap_or_default();
    let session = given.split([';', ',']).find_map(|part| part.strip_prefix("unix:path="));
    let own = dir.iter().map(|dir| (dir.join("systemd/private"), false));
    let bus = dir.iter().map(|dir| (dir.join("bus"), true));
    own.chain(session.map(|path| (PathBuf::from(path), true))).chain(bus).collect()
}

/// A connection to systemd.
pub(crate) struct Systemd {
    bus: Bus,
    /// Below this are its cgroups.
    root: String,
}

/// What a job has come to.
enum Job {
    Done,
    Other(String),
}

impl Systemd {
    /// # Errors
    /// Where there is none.
    pub fn connect() -> Result<Systemd, Failure> {
        const SYSTEM: [(&str, bool); 2] = [("/run/systemd/private", false), ("/run/dbus/system_bus_socket", true)];
        if !runs() {
            let text = "systemd not running on this host, cannot use systemd cgroups manager: let cgroups be made directly (cgroupfs)";
            return Err(Failure::invalid("systemd", text.into()));
        }
        let user = of_user();
        let addresses = match user {
            true => addresses_of_user(),
            false => SYSTEM.map(|(path, shared)| (path.into(), shared)).into(),
        };
        let mut why = String::from("XDG_RUNTIME_DIR and DBUS_SESSION_BUS_ADDRESS are not set");
        for (path, shared) in addresses {
            let connected = SocketAddrUnix::new(&path)
                .map_err(Unanswered::from)
                .and_then(|address| Bus::connect(&address, shared, PATIENCE))
                .and_then(|bus| Systemd::begin(bus, shared, user));
            match connected {
                Ok(systemd) => return Ok(systemd),
                Err(error) => why = format!("{}: {}", path.display(), error.into_failure("it refuses").text),
            }
        }
        Err(bus::failed("cannot reach systemd", &why))
    }

    fn begin(mut bus: Bus, shared: bool, user: bool) -> Result<Systemd, Unanswered> {
        if shared {
            bus.listen(&format!("type='signal',sender='{DESTINATION}',interface='{MANAGER}',member='JobRemoved'"))?;
        }
        let mut systemd = Systemd { bus, root: String::new() };
        if user {
            systemd.root = systemd.property(OBJECT, MANAGER, "ControlGroup")?;
        }
        Ok(systemd)
    }

    /// Where the cgroup of a scope is.
    pub fn cgroup(&self, scope: &Scope) -> String {
        format!("{}{}", self.root.trim_end_matches('/'), scope.cgroup())
    }

    fn call(&mut self, member: &str, body: &[Value]) -> Result<Message, Unanswered> {
        self.bus.call(&Call { destination: DESTINATION, path: OBJECT, interface: MANAGER, member, body })
    }

    fn property(&mut self, path: &str, interface: &str, name: &str) -> Result<String, Unanswered> {
        let body = [Value::text(interface), Value::text(name)];
        let interface = "org.freedesktop.DBus.Properties";
        let answer = self.bus.call(&Call { destination: DESTINATION, path, interface, member: "Get", body: &body })?;
        match answer.values()?.into_iter().next() {
            Some(Value::Variant(inner)) => match *inner {
                Value::Text(text) => Ok(text),
                _ => Ok(String::new()),
            },
            _ => Ok(String::new()),
        }
    }

    /// Whether there is such a scope, in this slice.
    pub fn has(&mut self, scope: &Scope) -> Result<bool, Failure> {
        let what = format!("cannot find unit {}", scope.name);
        let unit = match self.call("GetUnit", &[Value::text(&scope.name)]) {
            Ok(answer) => answer.values(),
            Err(Unanswered::Refused { .. }) => return Ok(false),
            Err(error) => return Err(error.into_failure(&what)),
        };
        let Some(Value::Path(path)) = unit.unwrap_or_default().into_iter().next() else { return Ok(false) };
        match self.property(&path, "org.freedesktop.systemd1.Scope", "Slice") {
            Ok(slice) => Ok(slice == scope.slice),
            // It has gone meanwhile.
            Err(Unanswered::Refused { .. }) => Ok(false),
            Err(error) => Err(error.into_failure(&what)),
        }
    }

    /// Has it make a scope with process `pid` in it, and waits until it is there.
    pub fn start(&mut self, scope: &Scope, pid: i32, description: &str, rest: Vec<Property>) -> Result<(), Failure> {
        let what = format!("unable to start unit {:?}", scope.name);
        let truth = |name: &str, value: bool| (name.to_owned(), Value::Bool(value));
        let mut properties = vec![
            ("Description".into(), Value::text(description)),
            ("Slice".into(), Value::text(&scope.slice)),
            delegate(crate::create::unified()),
            ("PIDs".into(), Value::Array("u".into(), vec![Value::U32(pid.unsigned_abs())])),
            truth("MemoryAccounting", true),
            truth("CPUAccounting", true),
            truth(if crate::create::unified() { "IOAccounting" } else { "BlockIOAccounting" }, true),
            truth("TasksAccounting", true),
            // It is not ended before the engine when the host goes down.
            truth("DefaultDependencies", false),
            // One whose processes the kernel killed for want of memory has failed: nobody would ever reset it.
            ("CollectMode".into(), Value::text("inactive-or-failed")),
        ];
        properties.extend(rest);
        let none = Value::Array("(sa(sv))".into(), Vec::new());
        let body = [Value::text(&scope.name), Value::text("replace"), listed(properties), none];
        let answer = match self.call("StartTransientUnit", &body) {
            // Of an earlier container, whose processes have all ended.
            Err(Unanswered::Refused { name, .. }) if name.ends_with(".UnitExists") && self.has(scope)? => {
                self.stop(scope)?;
                self.call("StartTransientUnit", &body)
            }
            other => other,
        };
        match answer.and_then(|answer| self.job(&answer)) {
            Ok(Job::Done) => Ok(()),
            Ok(Job::Other(result)) => {
                let _ = self.call("ResetFailedUnit", &[Value::text(&scope.name)]);
                Err(bus::failed(&what, &format!("its job ended as {result:?}")))
            }
            Err(error) => Err(error.into_failure(&what)),
        }
    }

    /// Changes properties of a scope until it ends.
    pub fn set(&mut self, scope: &Scope, properties: Vec<Property>) -> Result<(), Failure> {
        let body = [Value::text(&scope.name), Value::Bool(true), listed(properties)];
        let what = format!("unable to set properties of unit {:?}", scope.name);
        self.call("SetUnitProperties", &body).map(drop).map_err(|error| error.into_failure(&what))
    }

    /// Has it move a process into a scope. A user's own systemd gets the system's to do what the user may not.
    pub fn attach(&mut self, scope: &Scope, pid: i32) -> Result<(), Failure> {
        let pids = Value::Array("u".into(), vec![Value::U32(pid.unsigned_abs())]);
        let what = format!("unable to move process {pid} into unit {:?}", scope.name);
        let body = [Value::text(&scope.name), Value::text(""), pids];
        self.call("AttachProcessesToUnit", &body).map(drop).map_err(|error| error.into_failure(&what))
    }

    /// Stops a scope and waits until it is no more, so that its name is free.
    pub fn stop(&mut self, scope: &Scope) -> Result<(), Failure> {
        let what = format!("unable to stop unit {:?}", scope.name);
        let name = Value::text(&scope.name);
        match self.call("StopUnit", &[name.clone(), Value::text("replace")]).and_then(|answer| self.job(&answer)) {
            // It may have gone by itself, as it does when its last process ends.
            Ok(_) | Err(Unanswered::Refused { .. }) => {}
            Err(error) => return Err(error.into_failure(&what)),
        }
        match self.call("ResetFailedUnit", &[name]) {
            Ok(_) | Err(Unanswered::Refused { .. }) => Ok(()),
            Err(error) => Err(error.into_failure(&what)),
        }
    }

    /// Waits until the job is done that `answer` names.
    fn job(&mut self, answer: &Message) -> Result<Job, Unanswered> {
        let Some(job @ Value::Path(_)) = answer.values()?.into_iter().next() else { return Ok(Job::Done) };
        loop {
            let signal = self.bus.signal()?;
            // On a bus anybody may say so.
            if signal.member != "JobRemoved" || signal.interface != MANAGER || signal.sender != answer.sender {
                continue;
            }
            // Number, job, unit, result.
            if let [_, removed, _, Value::Text(result)] = signal.values()?.as_slice()
                && *removed == job
            {
                return Ok(if result == "done" { Job::Done } else { Job::Other(result.clone()) });
            }
        }
    }
}

/// What is below the cgroup is ours alone, and so is every file of it that no property stands for. On v1 the devices are
/// left out: systemd would allow all of them again whenever it goes over the unit.
fn delegate(v2: bool) -> Property {
    if v2 {
        return ("Delegate".into(), Value::Bool(true));
    }
    let controllers = ["cpu", "cpuacct", "cpuset", "blkio", "memory", "pids"];
    ("DelegateControllers".into(), Value::Array("s".into(), controllers.map(Value::text).into()))
}

/// As a call has them.
fn listed(properties: Vec<Property>) -> Value {
    let pair = |(name, value)| Value::Struct(vec![Value::Text(name), Value::Variant(Box::new(value))]);
    Value::Array("(sv)".into(), properties.into_iter().map(pair).collect())
}
