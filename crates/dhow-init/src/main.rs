//! The static binary beneath every container.
//!
//! ```text
//! main.rs      dhow-init supervise | init -- CMD… | reap --cgroup PATH | look [--make] -- PATH | runtime … | --version
//! builtin.rs   supervise: the Runtime over the runtime crate, by function call
//! cli/         runtime: an OCI runtime with runc's command line
//! init.rs      init: PID 1 of a container that was started with --init
//! ```
//!
//! It is single-threaded, as `clone` demands, and must stay small: one of it runs for every container. What it must
//! never know: images, names, networks, HTTP, and any library that starts threads.

mod builtin;
mod cli;
mod init;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use supervisor::protocol::Launch;
use supervisor::serve::Runtime;

const USAGE: &str = "usage: dhow-init supervise          start one container; the engine's socket is descriptor 0
       dhow-init init -- COMMAND …  be the first process of a container
       dhow-init reap --cgroup PATH end what a killed supervisor left behind
       dhow-init look [--make] -- PATH   say whether a path of the host is there
       dhow-init runtime …          be an OCI runtime, as runc is one; also by a link named dhow-runtime or runc
       dhow-init --version";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    // By a link of such a name it can be put where an engine wants a runtime's path.
    let name = arguments.next().unwrap_or_default();
    let name = Path::new(&name).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if let Some(name) = cli::LINKS.into_iter().find(|link| *link == name) {
        let arguments: Vec<OsString> = arguments.collect();
        return ExitCode::from(u8::try_from(cli::run(name, &arguments)).unwrap_or(255));
    }
    let verb = arguments.next().unwrap_or_default();
    let rest: Vec<OsString> = arguments.collect();
    let done = match (verb.to_str(), rest.as_slice()) {
        (Some("supervise"), []) => supervise(),
        (Some("init"), [dashes, command @ ..]) if dashes == "--" => init::run(command),
        (Some("reap"), [option, path]) if option == "--cgroup" => reap(&path.to_string_lossy()),
        (Some("look"), [dashes, path]) if dashes == "--" => look(path.as_ref(), false),
        (Some("look"), [make, dashes, path]) if make == "--make" && dashes == "--" => look(path.as_ref(), true),
        (Some("runtime"), arguments) => {
            return ExitCode::from(u8::try_from(cli::run(cli::NAME, arguments)).unwrap_or(255));
        }
        (Some("--version"), []) => {
            println!("dhow-init {}", env!("CARGO_PKG_VERSION"));
            Ok(0)
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(125);
        }
    };
    match done {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(255)),
        Err(error) => {
            eprintln!("dhow-init: {error}");
            ExitCode::from(125)
        }
    }
}

fn supervise() -> std::io::Result<i32> {
    let mut choose = |launch: &Launch| -> Box<dyn Runtime> {
        match &launch.runtime {
            Some(program) => Box::new(supervisor::foreign::Command::new(program.clone(), launch)),
            None => Box::new(builtin::Builtin::default()),
        }
    };
    supervisor::serve::run(&mut runtime::prepare, &mut choose)?;
    Ok(0)
}

/// Kills what is left in the cgroup and removes it.
fn reap(path: &str) -> std::io::Result<i32> {
    let failed = |failure: runtime::Failure| std::io::Error::other(failure.text);
    match runtime::cgroup::Cgroup::open(path) {
        Ok(cgroup) => {
            cgroup.kill_all();
            cgroup.remove().map_err(failed)?;
        }
        // One that is not there has been cleaned up already, but for a scope that may have failed with it.
        Err(_) => runtime::cgroup::release(path).map_err(failed)?,
    }
    Ok(0)
}

/// Whether `path` is there: 0, or 2 if it is not. With `make` it is made a directory. What else goes wrong is printed: 1.
///
/// The engine has this done here because a dead file system would never let it go.
fn look(path: &Path, make: bool) -> std::io::Result<i32> {
    let shown = path.display();
    match std::fs::metadata(path) {
        Ok(_) => Ok(0),
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            print!("stat {shown}: {e}");
            Ok(1)
        }
        Err(_) if !make => Ok(2),
        Err(_) => match std::fs::create_dir_all(path) {
            Ok(()) => Ok(0),
            Err(e) => {
                print!("error while creating mount source path '{shown}': mkdir {shown}: {e}");
                Ok(1)
            }
        },
    }
}
