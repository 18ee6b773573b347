//! The N-th call of a system call fails while something is done, in the daemon and in the supervisors it starts: what was
//! asked for is done or refused with a reason, nothing is half made, and the next attempt works.
//!
//! CI takes a sample; `DHOW_TEST_INJECT=1000` takes a larger one, `DHOW_TEST_SEED` another one.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tests::{DEADLINE, Engine, Registry, Said, dhow_bin, need_root, wait_for};

const VERBS: [&str; 6] = ["create", "start", "exec", "stop", "rm", "pull"];
const ERRORS: [&str; 7] = ["ENOSPC", "EIO", "EMFILE", "ENOMEM", "EINTR", "EAGAIN", "EPERM"];
/// Calls that change something or make a descriptor, by the greatest N that is tried. Without write(2), by which threads
/// also wake one another, which no kernel refuses: disks without room are real in `disk.rs`.
const CALLS: [(&str, u64); 33] = [
    ("openat", 12),
    ("openat2", 4),
    ("writev", 3),
    ("pwrite64", 4),
    ("mkdir", 3),
    ("mkdirat", 4),
    ("rename", 4),
    ("renameat", 4),
    ("renameat2", 2),
    ("unlink", 4),
    ("unlinkat", 6),
    ("rmdir", 2),
    ("symlinkat", 1),
    ("fchmodat", 2),
    ("fsync", 2),
    ("syncfs", 2),
    ("ftruncate", 1),
    ("socket", 3),
    ("socketpair", 1),
    ("bind", 2),
    ("connect", 1),
    ("sendto", 6),
    ("sendmsg", 2),
    ("recvfrom", 6),
    ("clone3", 3),
    ("pidfd_open", 2),
    ("mount", 2),
    ("fsopen", 2),
    ("fsmount", 2),
    ("move_mount", 3),
    ("open_tree", 3),
    ("getdents64", 2),
    ("setns", 2),
];

/// Numbers that look random, and the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// strace on a process and all that it starts.
struct Strace(Child);

impl Strace {
    fn attach(pid: u32, call: &str, error: &str, nth: u64) -> Strace {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-p", &pid.to_string()]);
        command.args(["-e", &format!("inject={call}:error={error}:when={nth}")]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("strace");
        let traced = |task: std::fs::DirEntry| {
            let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
            !status.contains("TracerPid:\t0\n")
        };
        wait_for("strace", || {
            let mut tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
            tasks.all(traced).then_some(())
        });
        Strace(child)
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // It lets go of what it traces.
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), rustix::process::Signal::TERM);
        // One that does not manage to is ended: the kernel lets go then.
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a client, which must end.
fn client(e: &Engine, args: &[&str], case: &str) -> Said {
    let mut command = e.dhow_command(args);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("client");
    let pid = rustix::process::Pid::from_child(&child);
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || send.send(child.wait_with_output().expect("client")));
    match receive.recv_timeout(DEADLINE) {
        Ok(output) => output.into(),
        Err(_) => {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            panic!("{case}: {} hangs\n{}", dhow_bin().display(), e.log());
        }
    }
}

#[test]
fn a_system_call_fails() {
    need_root!();
    let (cases, seed) = (number("DHOW_TEST_INJECT", 300), number("DHOW_TEST_SEED", 0x9e37_79b9_7f4a_7c15));
    let mut dice = Dice(seed.max(1));
    let mut e = Engine::with_busybox();
    let registry = Registry::start(&e.net);
    let image = crate::steps::push(&e.net, &registry);
    e.dhow(["run", "-d", "--name", "witness", "busybox", "sleep", "1d"]).ok();
    let daemon = e.pid();
    for round in 0..cases {
        let (call, most) = dice.pick(&CALLS);
        let (verb, mut error, nth) = (dice.pick(&VERBS), dice.pick(&ERRORS), dice.below(most) + 1);
        if error == "EAGAIN" && ["sendto", "recvfrom", "sendmsg", "write", "writev"].contains(&call) {
            // No kernel says so of a socket without saying later that it is ready, which is what is then waited for.
            error = "EIO";
        }
        let case = format!("{round}: {verb}, {call} number {nth} fails with {error}");
        one(&e, &image, verb, &case, || Strace::attach(daemon, call, error, nth));
        assert!(!e.log().contains("panicked"), "{case}\n{}", e.log());
    }
    assert_eq!(e.dhow(["exec", "witness", "echo", "still"]).ok(), "still");
    // All that is left of refusals is gone with the daemon, too.
    e.stop();
    e.run();
    e.clean("after a start");
}

fn one(e: &Engine, image: &str, verb: &str, case: &str, attach: impl FnOnce() -> Strace) {
    let create = ["create", "--name", "victim", "-p", "8080:80", "-v", "/etc", "busybox", "sleep", "1d"];
    let before: &[&str] = match verb {
        "start" | "rm" => &create,
        "stop" => &["run", "-d", "--name", "victim", "-p", "8080:80", "busybox", "sleep", "1d"],
        _ => &["version"],
    };
    e.dhow(before).ok();
    let act: &[&str] = match verb {
        "create" => &create,
        "start" => &["start", "victim"],
        "exec" => &["exec", "witness", "echo", "said"],
        "stop" => &["stop", "-t", "1", "victim"],
        "rm" => &["rm", "-v", "victim"],
        _ => &["pull", image],
    };
    let strace = attach();
    let said = client(e, act, case);
    drop(strace);
    // As with Docker, the reason why an exec failed comes the way of its output.
    let reason = format!("{}{}", said.err, said.out);
    assert!(said.code == 0 || !reason.trim().is_empty(), "{case}: no reason: {said:?}");
    // What still goes on is given a moment: an image's record, a device.
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let faults = e.faults();
        if faults.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "{case}: {said:?}\n{faults:#?}\n{}", e.log());
    }
    let again = |args: &[&str]| {
        let again = client(e, args, case);
        assert_eq!(again.code, 0, "{case}: the first time {said:?}, and then {again:?}\n{}", e.log());
        again.out
    };
    let status = || Some(e.dhow(["inspect", "victim"])).filter(|said| said.code == 0);
    match verb {
        // The answer itself may have been lost.
        "create" if said.code != 0 && status().is_none() => drop(again(&create)),
        "start" if said.code != 0 => drop(again(&["start", "victim"])),
        "exec" => assert_eq!(again(&["exec", "witness", "echo", "said"]), "said\n", "{case}"),
        "stop" => drop(again(&["stop", "-t", "0", "victim"])),
        "rm" if said.code != 0 && status().is_some() => drop(again(&["rm", "-v", "victim"])),
        "pull" => {
            again(&["pull", image]);
            assert_eq!(again(&["run", "--rm", image, "cat", "/two"]), "two\n", "{case}");
            again(&["rmi", image]);
        }
        _ => {}
    }
    if ["create", "start", "stop"].contains(&verb) {
        again(&["rm", "-f", "-v", "victim"]);
    }
    e.clean(case);
}
