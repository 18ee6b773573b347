//! Hooks (runtime-spec, config.md#posix-platform-hooks): programs of the configuration that run at moments of a container's
//! life, with its state on their standard input.

use crate::Failure;
use oci::runtime::Hook;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SeekFrom};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};
use serde::Serialize;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use sys::process::Command;

/// How much of what a failed hook printed is told.
const MAX_SHOWN: usize = 4096;

/// What a hook is told of its container, but for what changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// `ociVersion` of the configuration.
    pub version: String,
    /// The container.
    pub id: String,
    /// Where its configuration lies.
    pub bundle: PathBuf,
    /// The configuration's annotations.
    pub annotations: BTreeMap<String, String>,
}

/// runtime-spec, runtime.md#state
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct State<'a> {
    oci_version: &'a str,
    id: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    bundle: &'a std::path::Path,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

impl Told {
    /// The state as JSON.
    pub fn state(&self, status: &str, pid: Option<i32>) -> Vec<u8> {
        let Told { version, id, bundle, annotations } = self;
        serde_json::to_vec(&State { oci_version: version, id, status, pid, bundle, annotations }).unwrap_or_default()
    }
}

/// Runs `hooks`, which are of the kind `name`, one after the other. One without an environment of its own has this process's.
///
/// # Errors
/// The first that cannot be executed, ends otherwise than with 0, or takes longer than it may; the later ones are not run.
/// The calling process must have one thread.
pub fn run(name: &str, hooks: &[Hook], state: &[u8]) -> Result<(), Failure> {
    run_as(name, hooks, state, None, || Ok(()))
}

/// As [`run`]; `prepare` is called in each hook's process before it is executed, and `env` is for those that have none.
pub(crate) fn run_as(
    name: &str,
    hooks: &[Hook],
    state: &[u8],
    env: Option<&[CString]>,
    prepare: impl Fn() -> Result<(), Errno>,
) -> Result<(), Failure> {
    for (n, hook) in hooks.iter().enumerate() {
        one(hook, state, env, &prepare).map_err(|why| Failure {
            stage: "hooks".into(),
            kind: crate::FailureKind::System,
            errno: 0,
            text: format!("error running {name} hook #{n}: {why}"),
        })?;
    }
    Ok(())
}

/// Checks what can be checked beforehand.
pub(crate) fn check(name: &str, hooks: &[Hook]) -> Result<(), Failure> {
    for hook in hooks {
        let invalid = |why: &str| Err(Failure::invalid("hooks", format!("{name} hook {:?} {why}", hook.path)));
        if !hook.path.is_absolute() {
            return invalid("is not an absolute path");
        }
        if hook.timeout.is_some_and(|seconds| seconds <= 0) {
            return invalid("has a timeout that is not greater than zero");
        }
    }
    Ok(())
}

fn words(strings: &[String]) -> Result<Vec<CString>, String> {
    strings.iter().map(|s| CString::new(s.as_str()).map_err(|_| format!("{s:?} contains a NUL"))).collect()
}

fn said(e: Errno) -> String {
    Failure::system("hooks", "", e).text.trim_start_matches(": ").into()
}

/// This process's environment.
fn own_environment() -> Vec<CString> {
    let one = |(name, value): (OsString, OsString)| [name.as_bytes(), b"=", value.as_bytes()].concat();
    std::env::vars_os().map(one).filter_map(|variable| CString::new(variable).ok()).collect()
}

fn one(
    hook: &Hook,
    state: &[u8],
    env: Option<&[CString]>,
    prepare: &impl Fn() -> Result<(), Errno>,
) -> Result<(), String> {
    let path = CString::new(hook.path.as_os_str().as_bytes()).map_err(|_| "its path contains a NUL".to_string())?;
    let mut args = words(&hook.args)?;
    if args.is_empty() {
        args.push(path.clone());
    }
    let env = match hook.env.as_slice() {
        [] => env.map_or_else(own_environment, <[CString]>::to_vec),
        own => words(own)?,
    };
    let command = Command::new(args, env);
    // A file has no reader that can go away, and no writer that can wait.
    let stdin = file("state", state).map_err(said)?;
    let output = file("output", b"").map_err(said)?;
    let failed = file("failed", b"").map_err(said)?;
    let deadline = hook.timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds.unsigned_abs()));

    let Some(pid) = sys::own::fork().map_err(said)? else {
        let attempt = || -> Result<Infallible, Errno> {
            // It does not outlive who waits for it; what else this process was told is none of the hook's.
            sys::caps::set_pdeathsig(libc::SIGKILL)?;
            sys::signal::set_mask(sys::signal::Set::default())?;
            rustix::stdio::dup2_stdin(&stdin)?;
            rustix::stdio::dup2_stdout(&output)?;
            rustix::stdio::dup2_stderr(&output)?;
            sys::process::cloexec_from(3)?;
            prepare()?;
            Err(command.execve(&path))
        };
        let Err(e) = attempt();
        let _ = rustix::io::write(&failed, e.raw_os_error().to_string().as_bytes());
        sys::process::exit_now(127)
    };
    let code = wait(pid, deadline).map_err(said)?.ok_or_else(|| {
        let seconds = hook.timeout.unwrap_or(0);
        format!("hook ran past specified timeout of {seconds}.0s")
    })?;
    if let Ok(errno) = read(&failed).parse::<i32>() {
        return Err(format!("fork/exec {}: {}", hook.path.display(), said(Errno::from_raw_os_error(errno))));
    }
    match code {
        Ok(0) => Ok(()),
        Ok(code) => Err(format!("exit status {code}, {}", shown(&output))),
        Err(signal) => Err(format!("signal: {}, {}", death(signal), shown(&output))),
    }
}

/// How it is called that `signal` ends a process.
fn death(signal: i32) -> std::borrow::Cow<'static, str> {
    match signal {
        libc::SIGHUP => "hangup".into(),
        libc::SIGILL => "illegal instruction".into(),
        libc::SIGTRAP => "trace/breakpoint trap".into(),
        libc::SIGABRT => "aborted".into(),
        libc::SIGBUS => "bus error".into(),
        libc::SIGFPE => "floating point exception".into(),
        libc::SIGKILL => "killed".into(),
        libc::SIGSEGV => "segmentation fault".into(),
        libc::SIGTERM => "terminated".into(),
        libc::SIGSYS => "bad system call".into(),
        other => format!("signal {other}").into(),
    }
}

fn shown(output: &OwnedFd) -> String {
    format!("output: {}", read(output).trim_end())
}

fn file(name: &str, content: &[u8]) -> Result<OwnedFd, Errno> {
    let file = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC)?;
    let mut rest = content;
    while !rest.is_empty() {
        rest = &rest[rustix::io::write(&file, rest)?..];
    }
    rustix::fs::seek(&file, SeekFrom::Start(0))?;
    Ok(file)
}

fn read(file: &OwnedFd) -> String {
    let mut bytes = vec![0; MAX_SHOWN];
    let n = rustix::io::pread(file, &mut bytes[..], 0).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..n]).into_owned()
}

/// Waits for the end of a child: its exit code or its signal, or `None` when it had to be killed at `deadline`.
fn wait(pid: i32, deadline: Option<Instant>) -> Result<Option<Result<i32, i32>>, Errno> {
    let pidfd = rustix::process::pidfd_open(Pid::from_raw(pid).ok_or(Errno::SRCH)?, PidfdFlags::empty())?;
    let mut in_time = true;
    if let Some(deadline) = deadline {
        let mut fds = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            match poll(&mut fds, Some(&timeout)) {
                Err(Errno::INTR) => continue,
                Ok(0) => {
                    in_time = false;
                    let _ = sys::process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
                    break;
                }
                other => other.map(drop)?,
            }
            break;
        }
    }
    let ended =
        rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED))?;
    let Some(status) = ended.filter(|_| in_time) else { return Ok(None) };
    Ok(Some(match status.exit_status() {
        Some(code) => Ok(code),
        None => Err(status.terminating_signal().unwrap_or(0)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_that_hooks_read() {
        let mut told = Told { version: "1.2.0".into(), id: "c".into(), bundle: "/b".into(), ..Told::default() };
        let text = |told: &Told, pid| String::from_utf8(told.state("creating", pid)).unwrap();
        assert_eq!(
            text(&told, Some(7)),
            r#"{"ociVersion":"1.2.0","id":"c","status":"creating","pid":7,"bundle":"/b"}"#
        );
        told.annotations.insert("k".into(), "v".into());
        assert_eq!(
            text(&told, None),
            r#"{"ociVersion":"1.2.0","id":"c","status":"creating","bundle":"/b","annotations":{"k":"v"}}"#
        );
    }

    #[test]
    fn what_a_hook_may_be() {
        let hook = |path: &str, timeout| Hook { path: path.into(), timeout, ..Hook::default() };
        assert!(check("poststop", &[hook("/bin/true", Some(1)), hook("/x", None)]).is_ok());
        let text = |hook| check("poststop", &[hook]).unwrap_err().text;
        assert_eq!(text(hook("bin/true", None)), "poststop hook \"bin/true\" is not an absolute path");
        assert_eq!(text(hook("/x", Some(0))), "poststop hook \"/x\" has a timeout that is not greater than zero");
    }
}
