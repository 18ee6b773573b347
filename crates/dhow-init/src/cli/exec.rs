//! exec: one more process in a container.

use super::options::Given;
use super::state::{Container, Status};
use super::streams::{self, Foreground, Inherited};
use super::{Error, Global, Result, bundle, control, create, lenient};
use oci::runtime::{Process, Spec};
use runtime::{Detached, Running, Stdio};
use std::os::fd::AsFd;
use std::path::Path;

/// `exec`
pub fn exec(global: &Global, given: &Given, inherited: Inherited) -> Result<i32> {
    one(global, given, inherited).map_err(|Error(text)| Error(format!("exec failed: {text}")))
}

fn one(global: &Global, given: &Given, inherited: Inherited) -> Result<i32> {
    let container = Container::load(global, given.id()?)?;
    match container.status(None)? {
        Status::Stopped => return Error::new("cannot exec in a stopped container"),
        Status::Creating => return Error::new("cannot exec in a container that is being created"),
        Status::Paused if !given.is("ignore-paused") => {
            return Error::new("cannot exec in a paused container (use --ignore-paused to override)");
        }
        _ => {}
    }
    let spec = container.spec()?;
    let mut process = process(given, &spec)?;
    lenient::process(global, &mut process, spec.linux.as_ref());
    if let Some(mask) = process.exec_cpu_affinity.as_ref().and_then(|affinity| cpu_mask(&affinity.initial)) {
        // In the words that those look for who check it.
        global.log.debug(&format!("nsexec[{}]: affinity: {mask:#x}", std::process::id()));
    }
    if inherited.listening > 0 {
        process.env.push(format!("LISTEN_FDS={}", inherited.listening));
    }
    let detach = given.is("detach");
    let console = given.value("console-socket");
    streams::check_console(process.terminal, detach, console)?;
    let console = console.map(streams::connect).transpose()?;
    let pidfd_socket = given.value("pidfd-socket").map(streams::connect).transpose()?;

    let gone = || Error("cannot exec in a stopped container".into());
    let pidfd = container.process().ok_or_else(gone)?;
    let cgroup = control::cgroup_or_none(&container)?.below(&sub_cgroups(given)?)?;
    let saved = &container.saved;
    let target = Running::attach(&saved.id, (saved.pid, pidfd), saved.namespaces, cgroup, spec.linux.as_ref())?;
    let seccomp = spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref());
    let detached = Detached { preserved: inherited.fds, keeps_keyring: saved.keeps_keyring, ..Detached::default() };

    let (mut foreground, stdio) = match (detach, process.terminal) {
        (false, terminal) => {
            let (foreground, stdio) = Foreground::prepare(terminal)?;
            (Some(foreground), stdio)
        }
        (true, true) => (None, Stdio::default()),
        (true, false) => (None, streams::own()),
    };
    let executed = runtime::exec_detached(&target, &process, seccomp, stdio, &detached)?;
    let handed = || -> Result<i32> {
        if let Some(master) = executed.terminal {
            match (&console, &mut foreground) {
                (Some(console), _) => streams::send(console.as_fd(), "/dev/ptmx", master.as_fd())?,
                (None, Some(foreground)) => foreground.join(master)?,
                (None, None) => {}
            }
        }
        if let Some(socket) = &pidfd_socket {
            streams::send(socket.as_fd(), "pidfd", executed.pidfd.as_fd())?;
        }
        if let Some(path) = given.value("pid-file") {
            create::write_pid(&create::absolute(path)?, executed.pid)?;
        }
        foreground.as_mut().map_or(Ok(0), |foreground| foreground.serve(executed.pid))
    };
    handed().inspect_err(|_| {
        let _ = sys::process::pidfd_send_signal(executed.pidfd.as_fd(), 9);
    })
}

/// The first 128 CPUs of a list, a bit for each.
fn cpu_mask(list: &str) -> Option<u128> {
    let mut mask = 0u128;
    for range in list.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first..=last.min(127)).for_each(|cpu| mask |= 1 << cpu);
    }
    (mask != 0).then_some(mask)
}

/// The process of `--process`, or the container's own with what the command line changes.
fn process(given: &Given, spec: &Spec) -> Result<Process> {
    if let Some(path) = given.value("process").filter(|path| !path.is_empty()) {
        let mut process: Process = bundle::read(Path::new(path))?;
        bundle::check(Some(&process))?;
        // By the file a terminal is asked for, or by the command line.
        process.terminal |= given.is("tty");
        return Ok(process);
    }
    let Some(mut process) = spec.process.clone() else { return Error::new("process property must not be empty") };
    let Some((_, args)) = given.arguments.split_first().filter(|(_, args)| !args.is_empty()) else {
        return Error::new("exec args cannot be empty");
    };
    process.args = args.to_vec();
    if let Some(cwd) = given.value("cwd").filter(|cwd| !cwd.is_empty()) {
        process.cwd = cwd.into();
    }
    if let Some(profile) = given.value("apparmor").filter(|profile| !profile.is_empty()) {
        process.apparmor_profile = Some(profile.into());
    }
    if let Some(label) = given.value("process-label").filter(|label| !label.is_empty()) {
        process.selinux_label = Some(label.into());
    }
    for name in given.values("cap") {
        let sets = process.capabilities.get_or_insert_default();
        let inherits = !sets.inheritable.is_empty();
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            set.push(name.into());
        }
        if inherits {
            sets.ambient.push(name.into());
        }
    }
    process.env.extend(given.values("env").map(str::to_owned));
    process.terminal = given.is("tty");
    if given.value("no-new-privs").is_some() {
        process.no_new_privileges = given.is("no-new-privs");
    }
    if let Some(user) = given.value("user").filter(|user| !user.is_empty()) {
        let (uid, gid) = user.split_once(':').map_or((user, None), |(uid, gid)| (uid, Some(gid)));
        let number = |what: &str, text: &str| -> Result<u32> {
            let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let parsed = text.parse().ok().filter(|_| plain);
            parsed.ok_or_else(|| Error(format!("bad {what}: {text:?} is not a number")))
        };
        if let Some(gid) = gid {
            process.user.gid = number("gid", gid)?;
        }
        process.user.uid = number("uid", uid)?;
    }
    for gid in given.values("additional-gids") {
        let bad = || Error(format!("additional-gids must be a positive number {gid}"));
        process.user.additional_gids.push(gid.parse().map_err(|_| bad())?);
    }
    bundle::check(Some(&process))?;
    Ok(process)
}

/// `--cgroup`: a path below the container's cgroup, on v1 per controller.
fn sub_cgroups(given: &Given) -> Result<Vec<(String, String)>> {
    let all: Vec<&str> = given.values("cgroup").collect();
    let mut paths: Vec<(String, String)> = Vec::new();
    for one in &all {
        let Some((controllers, path)) = one.split_once(':') else {
            if all.len() != 1 {
                return Error::new(format!("invalid --cgroup argument: {one} (missing <controller>: prefix)"));
            }
            return Ok(vec![(String::new(), (*one).into())]);
        };
        for controller in controllers.split(',') {
            if controller.is_empty() {
                return Error::new(format!("invalid --cgroup argument: {one} (empty <controller> prefix)"));
            }
            if paths.iter().any(|(name, _)| name == controller) {
                return Error::new(format!(
                    "invalid --cgroup argument(s): controller {controller} specified multiple times"
                ));
            }
            paths.push((controller.into(), path.into()));
        }
    }
    Ok(paths)
}
