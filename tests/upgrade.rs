//! The daemon is stopped, killed, and replaced by another build under load: containers, their output, their ends and
//! those who ask notice as little as can be.

use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tests::{DEADLINE, Engine, TempDir, dhow_bin, need_root, program, wait_for};

/// Counts aloud, a hundred times a second, and ends with the code it was given when it is asked to.
const TALK: &str = r#"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
static volatile int end;
static void on_term(int s) { (void)s; end = 1; }
int main(int argc, char **argv) {
    struct timespec pause = {0, 10000000};
    long n = 0;
    (void)argc;
    signal(SIGTERM, on_term);
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (!end) { printf("%ld\n", ++n); nanosleep(&pause, NULL); }
    printf("end\n");
    return atoi(argv[1]);
}
"#;

/// How long the socket may be silent while a daemon is replaced, on a machine that has nothing else to do.
const SILENCE: Duration = Duration::from_secs(1);
/// The same while other tests run.
const BUSY: Duration = Duration::from_secs(3);

/// A hundred requests a second, each on a connection of its own; the longest time without an answer.
struct Askers {
    end: Arc<AtomicBool>,
    answered: Arc<AtomicU32>,
    thread: std::thread::JoinHandle<Duration>,
}

impl Askers {
    fn start(socket: PathBuf) -> Askers {
        let (end, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (ended, count) = (end.clone(), answered.clone());
        let thread = std::thread::spawn(move || {
            let paths = ["/_ping", "/containers/json?all=1", "/containers/talk0/json", "/version", "/info"];
            let (mut silence, mut last) = (Duration::ZERO, Instant::now());
            for path in paths.iter().cycle() {
                if ended.load(Ordering::Relaxed) {
                    return silence;
                }
                let next = Instant::now() + Duration::from_millis(10);
                if ask(&socket, path) {
                    silence = silence.max(last.elapsed());
                    last = Instant::now();
                    count.fetch_add(1, Ordering::Relaxed);
                }
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            unreachable!("it goes round")
        });
        Askers { end, answered, thread }
    }

    /// Waits until so many more have been answered.
    fn go_on(&self, more: u32) {
        let until = self.answered.load(Ordering::Relaxed) + more;
        wait_for("answers", || (self.answered.load(Ordering::Relaxed) >= until).then_some(()));
    }

    fn stop(self) -> Duration {
        self.end.store(true, Ordering::Relaxed);
        self.thread.join().expect("asker")
    }
}

/// Whether one request got its whole answer.
fn ask(socket: &Path, path: &str) -> bool {
    let Ok(mut stream) = UnixStream::connect(socket) else { return false };
    let _ = stream.set_read_timeout(Some(DEADLINE));
    let request = format!("GET {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::new();
    stream.write_all(request.as_bytes()).is_ok()
        && stream.read_to_end(&mut answer).is_ok()
        && answer.starts_with(b"HTTP/1.1 200 ")
}

/// The same program, but of another version; so is the `dhow-init` that it carries.
fn other_build(dir: &TempDir) -> PathBuf {
    let mut bytes = std::fs::read(dhow_bin()).expect("dhow");
    let (own, other) = (env!("CARGO_PKG_VERSION").as_bytes(), b"0.9.9");
    assert_eq!(own.len(), other.len());
    let mut found = 0;
    for at in 0..bytes.len() - own.len() {
        if &bytes[at..at + own.len()] == own {
            bytes[at..at + own.len()].copy_from_slice(other);
            found += 1;
        }
    }
    assert!(found > 1, "its version stands in the daemon and in dhow-init");
    let path = dir.path().join("dhow");
    std::fs::write(&path, bytes).expect("copy");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("mode");
    path
}

/// PID and start of each talker.
fn lives(e: &Engine, count: usize) -> Vec<(i64, String)> {
    let names = (0..count).map(|n| format!("talk{n}"));
    let text = e.dhow(["inspect".to_owned()].into_iter().chain(names)).ok();
    let all: Vec<serde_json::Value> = serde_json::from_str(&text).expect("inspect prints JSON");
    let life = |c: &serde_json::Value| {
        assert_eq!(c["State"]["Status"], "running");
        (c["State"]["Pid"].as_i64().expect("pid"), c["State"]["StartedAt"].to_string())
    };
    all.iter().map(life).collect()
}

/// Clients that watch, each in its own way.
fn watchers(e: &Engine) -> Vec<Child> {
    let watch = |args: &[&str]| {
        let mut command = e.dhow_command(args);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("client")
    };
    vec![
        watch(&["attach", "--sig-proxy=false", "talk0"]),
        watch(&["logs", "-f", "talk1"]),
        watch(&["exec", "talk2", "/talk", "0"]),
        watch(&["events"]),
        watch(&["wait", "talk3"]),
        watch(&["stats", "talk0"]),
    ]
}

#[test]
fn a_daemon_is_replaced_under_load() {
    need_root!();
    let asked: Option<usize> = std::env::var("DHOW_TEST_UPGRADE").ok().and_then(|n| n.parse().ok());
    let (count, longest) = asked.map_or((8, BUSY), |count| (count, SILENCE));
    let mut e = Engine::with_busybox();
    let dir = TempDir::new();
    let (own, other) = (dhow_bin(), other_build(&dir));
    let talk = format!("{}:/talk:ro", program(&dir, "talk", TALK));
    let run = |e: &Engine, name: &str, code: usize| {
        e.dhow(["run", "-d", "--name", name, "-v", &talk, "busybox", "/talk", &code.to_string()]).ok();
    };
    (0..count.max(4)).for_each(|n| run(&e, &format!("talk{n}"), n));
    let before = lives(&e, count.max(4));
    e.dhow(["exec", "-d", "talk0", "/talk", "0"]).ok();
    for (round, (politely, binary)) in [(true, &own), (false, &other), (true, &other), (false, &own)].iter().enumerate()
    {
        let (mortal, code) = (format!("mortal{round}"), 10 + round);
        run(&e, &mortal, code);
        let pid = Pid::from_raw(e.inspect(&mortal)["State"]["Pid"].as_i64().expect("pid") as i32).expect("pid");
        let mut clients = watchers(&e);
        let askers = Askers::start(e.dir.path().join("sock"));
        askers.go_on(30);
        // A stop that is under way is not left in the middle, and holds up nobody.
        let stubborn = format!("stubborn{round}");
        e.dhow(["run", "-d", "--name", &stubborn, "busybox", "sleep", "1d"]).ok();
        let signals =
            e.dhow_command(["events", "--filter", "event=kill"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut signals = signals.expect("events");
        let mut stop = e
            .dhow_command(["stop", "-t", "1", &stubborn])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("stop");
        let mut said = [0];
        signals.stdout.as_mut().expect("piped").read_exact(&mut said).expect("an event");
        clients.push(signals);
        let begin = Instant::now();
        if *politely {
            e.stop()
        } else {
            e.kill9()
        }
        let gone = begin.elapsed();
        let stopped = wait_for("stop to end", || stop.try_wait().expect("wait"));
        assert_eq!(stopped.success(), *politely, "round {round}");
        // One ends while nobody looks.
        kill_process(pid, Signal::TERM).expect("kill");
        wait_for("its end", || rustix::process::test_kill_process(pid).is_err().then_some(()));
        e.become_program(binary);
        let begin = Instant::now();
        e.run();
        assert_eq!(e.api("GET", "/_ping", None).0, 200);
        let back = begin.elapsed();
        assert_eq!(lives(&e, before.len()), before, "round {round}");
        let state = e.inspect(&mortal)["State"].clone();
        assert_eq!((state["Status"].as_str(), state["ExitCode"].as_u64()), (Some("exited"), Some(code as u64)));
        assert_eq!(e.dhow(["exec", "talk0", "echo", "well"]).ok(), "well");
        let version = if *binary == &other { "0.9.9" } else { env!("CARGO_PKG_VERSION") };
        assert!(e.api("GET", "/version", None).1.contains(&format!("\"Version\":\"{version}\"")));
        askers.go_on(30);
        let silence = askers.stop();
        e.clean(&format!("round {round}"));
        println!("round {round}: gone in {gone:?}, back in {back:?}, silent for {silence:?}");
        assert!(back < longest && silence < longest, "round {round}: back in {back:?}, silent for {silence:?}");
        for client in &mut clients {
            wait_for("a client to be told", || client.try_wait().expect("wait"));
        }
    }
    // The exec that began before all this is there yet, and so is every line and every exit code.
    assert_eq!(e.dhow(["exec", "talk0", "pidof", "talk"]).ok().split(' ').count(), 2);
    for n in 0..before.len() {
        let name = format!("talk{n}");
        e.dhow(["stop", &name]).ok();
        assert_eq!(e.inspect(&name)["State"]["ExitCode"], n);
    }
    let mortals = (0..4).map(|round| format!("mortal{round}"));
    for name in (0..before.len()).map(|n| format!("talk{n}")).chain(mortals) {
        let log = e.dhow(["logs", &name]).ok();
        let mut lines = log.lines();
        assert_eq!(lines.next_back(), Some("end"), "{name}");
        for (at, line) in lines.enumerate() {
            assert_eq!(line, (at + 1).to_string(), "{name}: a line is lost or doubled");
        }
    }
}
