//! A container that is stuck holds nobody else: one whose volume hangs, one whose reader is stopped, one that forks
//! without end.

use rustix::process::{Pid, Signal, kill_process};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tests::fuse::Hanging;
use tests::{Engine, Said, need_root, wait_for};

/// What anybody may have to wait for anything that has nothing to do with the stuck ones.
const AT_ONCE: Duration = Duration::from_secs(1);
/// The same where the machine itself had something else to do for a moment: so long, and only so many times.
const STALLED: Duration = Duration::from_secs(4);
const STALLS: u32 = 2;
static SLOW: AtomicU32 = AtomicU32::new(0);

/// A command that must be quick.
#[track_caller]
fn quick(e: &Engine, args: &[&str]) -> String {
    let begin = Instant::now();
    let said = e.dhow(args);
    let took = begin.elapsed();
    let slow = if took > AT_ONCE { SLOW.fetch_add(1, Ordering::Relaxed) + 1 } else { 0 };
    assert!(took < STALLED && slow <= STALLS, "{args:?} took {took:?}: {said:?}");
    said.ok()
}

/// Everything that concerns others.
fn others(e: &Engine) {
    quick(e, &["ps", "-a"]);
    quick(e, &["inspect", "other"]);
    quick(e, &["events", "--since", "1h", "--until", "0s"]);
    quick(e, &["info"]);
    quick(e, &["exec", "other", "true"]);
    quick(e, &["stop", "-t", "0", "other"]);
    quick(e, &["rm", "other"]);
    assert_eq!(quick(e, &["run", "--rm", "busybox", "echo", "well"]), "well");
    quick(e, &["run", "-d", "--name", "other", "busybox", "sleep", "1d"]);
}

/// Runs a command beside the test.
fn aside(e: &Engine, args: &[&str]) -> std::thread::JoinHandle<(Said, Duration)> {
    let mut command = e.dhow_command(args);
    let begin = Instant::now();
    std::thread::spawn(move || (tests::said(&mut command), begin.elapsed()))
}

#[test]
fn a_stuck_container_holds_nobody() {
    need_root!();
    let mut e = Engine::with_busybox();
    let fuse = Hanging::mount(&e.dir.path().join("fuse"));
    let volume = format!("{}:/vol", fuse.path());
    quick(&e, &["run", "-d", "--name", "other", "busybox", "sleep", "1d"]);
    // Its process is in D state: not even SIGKILL ends it.
    e.dhow(["run", "-d", "--name", "stuck", "-v", &volume, "busybox", "cat", "/vol/hang1"]).ok();
    e.dhow(["run", "-d", "--name", "stuck-too", "-v", &volume, "busybox", "sh", "-c", "cat /vol/hang2; exit 5"]).ok();
    e.dhow([
        "run",
        "-d",
        "--name",
        "bomb",
        "--pids-limit",
        "32",
        "busybox",
        "sh",
        "-c",
        "f() { f | f & }; f; exec sleep 1d",
    ])
    .ok();
    e.dhow(["run", "-d", "--name", "half", "-v", &volume, "busybox", "sleep", "1d"]).ok();
    e.dhow(["run", "-d", "--name", "talker", "busybox", "sleep", "1d"]).ok();
    let mut reader = e.dhow_command(["exec", "talker", "yes"]).stdout(Stdio::piped()).spawn().expect("exec");
    let its_pid = Pid::from_child(&reader);
    kill_process(its_pid, Signal::STOP).expect("stop");
    // Two that the next engine starts, one of which it cannot.
    let file = format!("{}/hang3:/file", fuse.path());
    e.dhow(["run", "-d", "--name", "tied", "--restart", "always", "-v", &file, "busybox", "sleep", "1d"]).ok();
    e.dhow(["run", "-d", "--name", "free", "--restart", "always", "busybox", "sleep", "1d"]).ok();
    e.dhow(["stop", "-t", "0", "tied", "free"]).ok();
    wait_for("the volume to hang", || (fuse.waiting() >= 2).then_some(()));
    others(&e);
    // Now nobody who as much as looks at a path of the volume comes back.
    fuse.fall_silent();
    let before = fuse.waiting();
    let below = |n: u8| format!("{}/below{n}", fuse.path());
    let copy = aside(&e, &["cp", "half:/vol/below1", "/nowhere"]);
    // What is asked of the stuck ones takes its time, and ends.
    let bind = format!("{}:/vol", below(2));
    let mount = format!("type=bind,src={},dst=/vol", below(3));
    let asked = [
        (vec!["run", "-d", "--name", "hung", "-v", &bind, "busybox", "true"], "has not answered for 10s"),
        (vec!["create", "--mount", &mount, "busybox"], "has not answered for 10s"),
        (vec!["exec", "-w", "/vol/below4", "half", "true"], "waits in the kernel for a file system"),
        (vec!["stop", "-t", "0", "stuck"], "(cat) waits in the kernel for a file system or a device"),
        (vec!["rm", "-f", "stuck-too"], "(cat) waits in the kernel for a file system or a device"),
        (vec!["pause", "stuck"], "cannot freeze cgroup"),
    ];
    let asked = asked.map(|(args, says)| (aside(&e, &args), says));
    wait_for("four more to hang", || (fuse.waiting() >= before + 4).then_some(()));
    others(&e);
    assert_eq!(quick(&e, &["exec", "talker", "echo", "still"]), "still");
    let removed = aside(&e, &["rm", "-f", "hung"]);
    for (asked, says) in asked {
        let (said, took) = asked.join().expect("thread");
        assert!(
            said.code != 0 && (said.err.contains(says) || said.out.contains(says)),
            "expected {says:?} after {took:?}: {said:?}"
        );
        assert!(took < Duration::from_secs(30), "it took {took:?}: {said:?}");
    }
    removed.join().expect("thread").0.ok();
    // One whose own process has nothing to do with the volume is as well as ever.
    assert_eq!(quick(&e, &["exec", "half", "echo", "well"]), "well");
    others(&e);
    e.kill9();
    let begin = Instant::now();
    e.run();
    let running = quick(&e, &["ps", "--format", "{{.Names}}"]);
    for name in ["other", "stuck", "stuck-too", "bomb", "half", "talker"] {
        assert!(running.lines().any(|line| line == name), "{name}: {running}");
    }
    assert!(begin.elapsed() < STALLED, "the daemon was up after {:?}", begin.elapsed());
    wait_for("the one that can be started", || (e.inspect("free")["State"]["Running"] == true).then_some(()));
    assert!(begin.elapsed() < 2 * STALLED, "it was up after {:?}", begin.elapsed());
    assert_eq!(e.inspect("tied")["State"]["Running"], false);
    others(&e);
    // A polite end is no slower.
    let begin = Instant::now();
    e.stop();
    e.run();
    assert!(begin.elapsed() < 2 * STALLED, "the daemon was replaced after {:?}", begin.elapsed());
    drop(fuse);
    // What was asked for has its effect as soon as the kernel lets it.
    wait_for("the end of the stuck ones", || {
        let ended = |name: &str| e.inspect(name)["State"]["Status"] == "exited";
        (ended("stuck") && ended("stuck-too")).then_some(())
    });
    assert_ne!(copy.join().expect("thread").0.code, 0);
    e.clean("at the end");
    assert_eq!(e.inspect("stuck")["State"]["ExitCode"], 137);
    e.dhow(["rm", "stuck", "stuck-too"]).ok();
    kill_process(its_pid, Signal::CONT).expect("continue");
    let _ = reader.kill();
    let _ = reader.wait();
}
