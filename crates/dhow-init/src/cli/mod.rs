//! `dhow-init runtime`: an OCI runtime with runc's command line, for engines that start one by its path.
//!
//! ```text
//! mod.rs       global options, which command, how an error is told
//! options.rs   the command line
//! log.rs       --log, --log-format
//! state.rs     what is kept of a container below --root, and how it is found out how the container is
//! bundle.rs    config.json
//! lenient.rs   what of it is left out with a warning
//! create.rs    create, run, start
//! exec.rs      exec
//! streams.rs   console sockets, and the streams of what runs in the foreground
//! control.rs   kill, delete, pause, resume
//! update.rs    update
//! show.rs      state, list, ps
//! features.rs  features
//! events.rs    events
//! example.rs   spec
//! ```
//!
//! Invariants
//! - A container is its directory `<root>/<id>`, which `create` makes and `delete` removes last: what a crash leaves has
//!   one, and `delete --force` ends and removes everything that belongs to it.
//! - Commands that change a container hold its lock; those that look or signal do not wait for it.
//! - The process that `create` leaves dies with `create` until the state says how to find it.
//!
//! None of this runs in a supervisor.

mod bundle;
mod control;
mod create;
mod events;
mod example;
mod exec;
mod features;
mod lenient;
mod log;
mod options;
mod show;
mod state;
mod streams;
mod update;

use log::Log;
use options::{Command, Given};
use rustix::fs::{MemfdFlags, SealFlags};
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What went wrong, as the sentence for the user.
#[derive(Debug, PartialEq, Eq)]
pub struct Error(pub String);

type Result<T> = std::result::Result<T, Error>;

impl From<runtime::Failure> for Error {
    fn from(failure: runtime::Failure) -> Error {
        // The caller is the engine, and says this itself.
        let text = failure.text.strip_prefix("OCI runtime create failed: ").unwrap_or(&failure.text);
        Error(text.into())
    }
}

impl Error {
    fn new<T>(text: impl Into<String>) -> Result<T> {
        Err(Error(text.into()))
    }

    /// `what` failed with an error of the system.
    fn io(what: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> Error {
        move |e| {
            let why = e.to_string();
            let why = why.split(" (os error").next().unwrap_or(&why).to_lowercase();
            Error(format!("{what}: {why}"))
        }
    }

    /// The same for the kernel's own.
    fn errno(what: impl std::fmt::Display) -> impl FnOnce(rustix::io::Errno) -> Error {
        move |e| Error::io(what)(e.into())
    }
}

/// What it calls itself without a link.
pub const NAME: &str = "dhow-init runtime";

/// Names of links under which the program is this alone, and calls itself so.
pub const LINKS: [&str; 2] = ["dhow-runtime", "runc"];

/// What holds for every command.
pub struct Global {
    /// What it was called as, in front of what it says.
    name: &'static str,
    root: PathBuf,
    /// It was named by `--root`.
    root_given: bool,
    log: Log,
    /// systemd is to make the cgroup.
    systemd: bool,
}

impl Global {
    /// `error` of a command that makes containers.
    fn failed(&self, command: &str) -> impl Fn(Error) -> Error {
        let who = if self.name == "runc" { "runc" } else { "dhow" };
        let what = format!("{who} {command} failed");
        move |Error(text)| Error(format!("{what}: {text}"))
    }
}

/// Runs one command and returns its exit code; `name` is what the program was called as.
pub fn run(name: &'static str, arguments: &[OsString]) -> i32 {
    let Some(words) = arguments.iter().map(|a| a.to_str().map(str::to_owned)).collect::<Option<Vec<String>>>() else {
        eprintln!("{name}: an argument is not UTF-8");
        return 1;
    };
    let parsed = options::parse(name, &words);
    let (global, command) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            println!("Incorrect Usage.\n\n{}", options::usage(name, None));
            eprintln!("{}", error.0);
            return 1;
        }
    };
    match command {
        Command::Help(command) => {
            println!("{}", options::usage(name, command));
            0
        }
        Command::Version => {
            let version = env!("CARGO_PKG_VERSION");
            // Engines look for all three lines.
            let commit = option_env!("DHOW_COMMIT").unwrap_or(version);
            println!("{name} version {version}\ncommit: {commit}\nspec: {}", features::SPEC);
            0
        }
        Command::Named(command, given) => {
            if ["create", "run", "exec"].contains(&command)
                && let Err(error) = seclude(name, arguments)
            {
                eprintln!("{}", error.0);
                return 1;
            }
            // Descriptors that were handed to this process first: nothing of its own may take their numbers.
            let inherited = streams::Inherited::take(given.number("preserve-fds"));
            let global = match begin(name, &global) {
                Ok(global) => global,
                Err(error) => {
                    eprintln!("{}", error.0);
                    return 1;
                }
            };
            global.log.debug(&format!("{command} {:?} below {}", given.arguments, global.root.display()));
            if std::env::var_os("NOTIFY_SOCKET").is_some() && ["create", "run"].contains(&command) {
                global.log.warn("NOTIFY_SOCKET is not passed on to the container");
            }
            let done = inherited.and_then(|inherited| dispatch(command, &global, &given, inherited));
            done.unwrap_or_else(|error| {
                global.log.error(&error.0);
                if command == "exec" { 255 } else { 1 }
            })
        }
    }
}

/// Executes this program again by a file that nobody can write to: what runs in a container may reach it by
/// `/proc/<pid>/exe`. Comes back when it is so already.
fn seclude(name: &str, arguments: &[OsString]) -> Result<()> {
    use rustix::fs::StatVfsMountFlags;
    let own = File::open("/proc/self/exe").map_err(Error::io("open /proc/self/exe"))?;
    let sealed = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    let there = rustix::fs::fstatvfs(&own).is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::RDONLY))
        || rustix::fs::fcntl_get_seals(&own).is_ok_and(|seals| seals.contains(sealed));
    if there {
        return Ok(());
    }
    let copy = match runtime::read_only(own.as_fd()) {
        Ok(mount) => mount,
        // Without the rights to make a mount: a copy in memory.
        Err(_) => {
            let memory = rustix::fs::memfd_create("dhow-init", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
                .map_err(Error::errno("memfd_create"))?;
            std::io::copy(&mut &own, &mut File::from(memory.try_clone().map_err(Error::io("dup"))?))
                .map_err(Error::io("copy /proc/self/exe"))?;
            rustix::fs::fcntl_add_seals(&memory, sealed).map_err(Error::errno("seal a copy of this program"))?;
            memory
        }
    };
    let text = |s: &OsStr| CString::new(s.as_bytes()).map_err(|_| Error("an argument contains a NUL".into()));
    let called: &[&str] = if name == NAME { &["dhow-init", "runtime"] } else { &[name] };
    let words = called.iter().map(OsStr::new).chain(arguments.iter().map(OsString::as_os_str));
    let env = std::env::vars_os().map(|(name, value)| {
        let mut variable = name;
        variable.push("=");
        variable.push(value);
        text(&variable)
    });
    let command = sys::process::Command::new(words.map(text).collect::<Result<_>>()?, env.collect::<Result<_>>()?);
    Err(Error::errno("execute this program again")(command.execveat(copy.as_fd())))
}

fn begin(name: &'static str, given: &Given) -> Result<Global> {
    let log = Log::open(given.value("log"), given.value("log-format"), given.is("debug"))?;
    if let Some(rootless) = given.value("rootless")
        && !["true", "false", "auto", "", "1", "0"].contains(&rootless.to_lowercase().as_str())
    {
        return Error::new(format!("invalid value {rootless:?} for --rootless"));
    }
    let default = || match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(dir) if !rustix::process::geteuid().is_root() => PathBuf::from(dir).join("dhow-runtime"),
        _ => PathBuf::from("/run/dhow-runtime"),
    };
    let root = match given.value("root") {
        Some(root) => std::path::absolute(root).map_err(|_| Error("--root must not be empty".into()))?,
        None => default(),
    };
    if root.components().all(|part| !matches!(part, std::path::Component::Normal(_))) {
        return Error::new("Option --root argument should not be set to /");
    }
    Ok(Global { name, root, root_given: given.value("root").is_some(), log, systemd: given.is("systemd-cgroup") })
}

fn dispatch(name: &str, global: &Global, given: &Given, inherited: streams::Inherited) -> Result<i32> {
    match name {
        "create" => create::create(global, given, inherited),
        "run" => create::run(global, given, inherited),
        "start" => create::start(global, given),
        "exec" => exec::exec(global, given, inherited),
        "state" => show::state(global, given),
        "list" => show::list(global, given),
        "ps" => show::processes(global, given),
        "kill" => control::kill(global, given),
        "delete" => control::delete(global, given),
        "pause" => control::pause(global, given),
        "resume" => control::resume(global, given),
        "update" => update::update(global, given),
        "features" => features::print(),
        "events" => events::print(global, given),
        "spec" => example::write(given),
        other => Error::new(format!(
            "{other} is not supported: a checkpoint brings its own mounts, capabilities and logs, which cannot be checked"
        )),
    }
}
