//! What can be seen and reached from beside: of the host from within a container, of the engine by others on the host,
//! and by clients that go away. The numbers are those of the threat model's classes.

use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use tests::tar::Tar;
use tests::{Engine, Said, busybox_tar, image, need_root, said, wait_for};

/// A11: however long everything together is, it arrives whole, and the namespaces are those that were asked for.
#[test]
fn long_requests_arrive_whole() {
    need_root!();
    let mut e = Engine::with_busybox();
    let long = "s".repeat(200);
    let mut args = vec!["run".to_owned(), "--rm".into(), "--network".into(), "none".into()];
    for n in 0..400 {
        let source = e.dir.path().join(format!("{n}-{long}"));
        std::fs::write(&source, n.to_string()).unwrap();
        args.extend([
            "-v".into(),
            format!("{}:/m/{n}-{long}:ro", source.display()),
            "-e".into(),
            format!("V{n}={long}"),
        ]);
    }
    let script = "cat /m/*-* | wc -c; env | grep -c ^V; for n in pid net mnt ipc; do readlink /proc/self/ns/$n; done";
    args.extend(["busybox", "sh", "-c", script].map(String::from));
    let out = e.dhow(&args).ok();
    let mut lines = out.lines();
    let digits: usize = (0..400).map(|n: u32| n.to_string().len()).sum();
    assert_eq!((lines.next(), lines.next()), (Some(digits.to_string().as_str()), Some("400")));
    for (line, kind) in lines.zip(["pid", "net", "mnt", "ipc"]) {
        assert!(line.starts_with(kind), "{line}");
        assert_ne!(line, std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string());
    }
    e.alive();
}

/// A command as the host's user 65534, who is nobody, has nothing, and sits where nothing is.
fn nobody(args: &[&str]) -> Said {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]).args(args);
    said(command.current_dir("/"))
}

/// A12: other users of the host get at nothing below the engine's directories, least of all at a file that makes them root.
#[test]
fn the_engines_files_are_its_own() {
    need_root!();
    let mut e = Engine::start(&[]);
    let busybox = std::fs::read(busybox_tar()).unwrap();
    e.import("busybox", &Tar::new().with(&busybox).mode("bin/su1d", 0o4755, b"#!/bin/sh\nid -u\n").end()).ok();
    e.dhow(["volume", "create", "vol"]).ok();
    let args = ["run", "-d", "--name", "cc", "-v", "vol:/vol", "busybox", "sh", "-c"];
    let script = "cp /bin/busybox /vol/suid; cp /bin/busybox /suid; chmod 6755 /vol/suid /suid; exec sleep 1d";
    e.dhow(args.iter().copied().chain([script])).ok();
    wait_for("the files", || (e.dhow(["exec", "cc", "test", "-u", "/suid"]).code == 0).then_some(()));
    let found = said(Command::new("find").arg(e.dir.path()).args(["-perm", "-4000", "-type", "f"])).ok();
    assert!(found.lines().count() >= 3, "as root they are found: {found}");
    for file in found.lines() {
        let ran = nobody(&[file, "id", "-u"]);
        assert!(ran.code != 0 && !ran.out.starts_with('0'), "{file}: {ran:?}");
        assert_ne!(nobody(&["test", "-e", file]).code, 0, "{file} can be seen");
    }
    for (root, rooms) in
        [("data", &["layer", "image", "container", "volume", "network"][..]), ("run", &["container", "network"])]
    {
        let root = e.dir.path().join(root);
        assert_ne!(nobody(&["ls", root.to_str().unwrap()]).code, 0, "{} can be listed", root.display());
        for room in rooms {
            let room = root.join(room);
            // What is not there yet is not open either.
            let listed = nobody(&["ls", room.to_str().unwrap()]);
            assert_ne!(listed.code, 0, "{} can be listed", room.display());
        }
    }
    // Not even with the name in hand: records, logs, sockets.
    let files =
        said(Command::new("find").arg(e.dir.path().join("data/container")).arg(e.dir.path().join("run/container")));
    for file in files.ok().lines().filter(|f| !Path::new(f).is_dir()) {
        assert_ne!(nobody(&["cat", file]).code, 0, "{file} can be read");
    }
    e.dhow(["rm", "-f", "cc"]).ok();
    e.dhow(["volume", "rm", "vol"]).ok();
    e.alive();
}

/// A13: our sockets are files that only root may connect to; a container in the host's network sees none of them.
#[test]
fn sockets_are_files_of_root() {
    need_root!();
    let mut e = Engine::with_busybox();
    let id = e.dhow(["run", "-d", "--name", "cc", "busybox", "sleep", "1d"]).ok();
    let out = e.dhow(["run", "--rm", "--network", "host", "busybox", "cat", "/proc/net/unix"]).ok();
    let marks = [e.dir.path().to_str().unwrap(), "dhow"];
    let abstracts = out.lines().filter_map(|l| l.split(' ').next_back()).filter(|name| name.starts_with('@'));
    let ours: Vec<_> = abstracts.filter(|name| marks.iter().any(|mark| name.contains(mark))).collect();
    assert_eq!(ours, [] as [&str; 0]);
    let socket = e.dir.path().join("run/container").join(&id).join("sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    for socket in [socket, e.dir.path().join("sock")] {
        let script = "use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un($ARGV[0])) or die $!";
        let ran = nobody(&["perl", "-e", script, socket.to_str().unwrap()]);
        assert!(ran.code != 0 && ran.err.contains("Permission denied"), "{}: {ran:?}", socket.display());
    }
    e.dhow(["rm", "-f", "cc"]).ok();
    e.alive();
}

/// A14: what tells too much of the host reads empty, what would change it cannot be written.
#[test]
fn masks_are_whole() {
    need_root!();
    let mut e = Engine::with_busybox();
    let masked = "/proc/asound /proc/acpi /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list \
                  /proc/timer_stats /proc/sched_debug /proc/scsi /sys/firmware /sys/devices/virtual/powercap \
                  /sys/devices/system/cpu/cpu*/thermal_throttle";
    let script = format!(
        "for p in {masked}; do [ -e $p ] || continue; if [ -d $p ]; then ls -A $p; else cat $p; fi; done 2>/dev/null; echo end"
    );
    let read_only = "for p in bus fs irq sys sysrq-trigger; do [ -d /proc/$p ] && p=$p/$(ls /proc/$p | head -n 1); \
                     ( : >>/proc/$p ) 2>/dev/null && [ -f /proc/$p ] && echo wrote $p; done; echo end";
    for way in [&["run", "--rm", "busybox"][..], &["exec", "cc"]] {
        if way[0] == "exec" {
            e.dhow(["run", "-d", "--name", "cc", "busybox", "sleep", "1d"]).ok();
        }
        for script in [script.as_str(), read_only] {
            assert_eq!(e.dhow(way.iter().copied().chain(["sh", "-c", script])).ok(), "end", "{way:?}");
        }
    }
    e.dhow(["rm", "-f", "cc"]).ok();
    e.alive();
}

/// A15, A16: a profile that is empty, missing or no profile is an error and never no profile; there are no checkpoints.
#[test]
fn profiles_fail_closed_and_checkpoints_are_none() {
    need_root!();
    let mut e = Engine::with_busybox();
    for option in
        ["seccomp=", "seccomp={}", "seccomp=[]", "seccomp=docker-default", "apparmor=", "apparmor=none-such", "seccomp"]
    {
        let body = serde_json::json!({"Image": "busybox", "HostConfig": {"SecurityOpt": [option]}}).to_string();
        let (code, text) = e.raw("POST", "/containers/create", body.as_bytes());
        assert_eq!(code, 400, "{option}: {text}");
    }
    e.dhow(["run", "--security-opt", "seccomp=/none/such.json", "busybox"]).fails(125, "/none/such.json");
    e.dhow(["run", "-d", "--name", "cc", "busybox", "sleep", "1d"]).ok();
    for (method, path) in [
        ("POST", "/containers/cc/checkpoints"),
        ("GET", "/containers/cc/checkpoints"),
        ("DELETE", "/containers/cc/checkpoints/one"),
    ] {
        let (code, text) = e.raw(method, path, b"{}");
        assert!(code == 501 && text.contains("checkpoint"), "{method} {path}: {code} {text}");
    }
    e.dhow(["create", "--name", "not-begun", "busybox"]).ok();
    let (code, text) = e.raw("POST", "/containers/not-begun/start?checkpoint=one", b"");
    assert!(code >= 400 && text.contains("checkpoint"), "{code} {text}");
    // An image that says it is one is an image.
    let labels = "LABEL org.criu.checkpoint.container.name=x io.podman.annotations.checkpoint.name=x";
    let tar = busybox_tar().to_str().unwrap();
    e.dhow(["import", "-c", labels, tar, "criu"]).ok();
    image(&e, "dump", |t| t.file("checkpoint/inventory.img", b"x").file("config.dump", b"{\"privileged\":true}"));
    for name in ["criu", "dump"] {
        let status = "grep -E '^(CapEff|Seccomp:|NoNewPrivs)' /proc/self/status | cut -f 2 | xargs";
        assert_eq!(e.dhow(["run", "--rm", name, "sh", "-c", status]).ok(), "00000000a80425fb 0 2");
    }
    e.dhow(["rm", "-f", "cc", "not-begun"]).ok();
    e.alive();
}

/// Resident KiB and descriptors of a process.
fn weight(pid: u32) -> (u64, usize) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("alive");
    let resident = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("VmRSS");
    let resident = resident.trim().trim_end_matches(" kB").parse().expect("a number");
    (resident, std::fs::read_dir(format!("/proc/{pid}/fd")).expect("fd").count())
}

/// H2: clients that go away at any moment, or do not read, leave nothing behind in the daemon or the supervisor.
#[test]
fn clients_that_vanish_leave_nothing() {
    need_root!();
    let rounds: u32 = std::env::var("DHOW_TEST_VANISH").ok().and_then(|n| n.parse().ok()).unwrap_or(120);
    let mut e = Engine::with_busybox();
    let id = e
        .dhow(["run", "-d", "-i", "--name", "cc", "busybox", "sh", "-c", "while :; do echo line; usleep 20000; done"])
        .ok();
    let record = e.dir.path().join("run/container").join(&id).join("start.json");
    let record: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(record).unwrap()).unwrap();
    let supervisor = record["supervisor"].as_u64().unwrap() as u32;
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut vanish = |args: &[&str]| {
        (seed, _) = seed.overflowing_mul(6_364_136_223_846_793_005);
        seed ^= seed >> 29;
        let mut command = e.dhow_command(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_micros(seed % 25_000));
        child.kill().unwrap();
        child.wait().unwrap();
    };
    let ways: [&[&str]; 5] = [
        &["attach", "cc"],
        &["exec", "-i", "cc", "cat"],
        &["exec", "cc", "sh", "-c", "yes | head -n 200000"],
        &["exec", "-t", "cc", "sh", "-c", "yes | head -n 20000"],
        &["logs", "-f", "cc"],
    ];
    // What is made once is made before the measure.
    ways.iter().for_each(|args| vanish(args));
    let mut reader = e.dhow_command(["exec", "cc", "yes"]).stdout(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_child(&reader);
    let settled = |what: &str, of: (usize, usize)| {
        wait_for(what, || (weight(e.pid()).1 <= of.0 && weight(supervisor).1 <= of.1).then_some(()));
    };
    kill_process(pid, Signal::STOP).unwrap();
    let before = (weight(e.pid()), weight(supervisor));
    for round in 0..rounds {
        vanish(ways[round as usize % ways.len()]);
    }
    // A few descriptors may be on their way yet; memory of many is not.
    settled("the descriptors to go", (before.0.1 + 2, before.1.1));
    let after = (weight(e.pid()), weight(supervisor));
    assert!(after.0.0 < before.0.0 + (32 << 10), "the daemon: {before:?} {after:?}");
    assert!(after.1.0 < before.1.0 + 1024, "the supervisor: {before:?} {after:?}");
    e.clean("after clients have vanished");
    reader.kill().unwrap();
    reader.wait().unwrap();
    // Nobody reads and writes to nobody any more.
    wait_for("the execs to end", || {
        (e.dhow(["top", "cc", "-o", "pid,comm"]).ok().matches("cat").count() == 0).then_some(())
    });
    e.dhow(["rm", "-f", "cc"]).ok();
    e.alive();
}
