//! logs, attach, exec.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use tests::{Engine, need_root, wait_for};

#[test]
fn logs_keep_every_line_and_their_order() {
    need_root!();
    let e = Engine::with_busybox();
    e.dhow(["run", "--name", "ll", "busybox", "sh", "-c", "seq 1 20000"]).ok();
    let want: String = (1..=20000).map(|n| format!("{n}\n")).collect();
    assert!(e.dhow(["logs", "ll"]).out == want);
    assert_eq!(e.dhow(["logs", "--tail", "2", "ll"]).ok(), "19999\n20000");
    assert_eq!(e.dhow(["logs", "--tail", "0", "ll"]).ok(), "");
    let stamped = e.dhow(["logs", "-t", "--tail", "1", "ll"]).ok();
    let (time, line) = stamped.split_once(' ').unwrap();
    assert!(time.len() >= 20 && time.ends_with('Z') && line == "20000", "{stamped}");
    assert_eq!(e.dhow(["logs", "--since", "1h", "--tail", "1", "ll"]).ok(), "20000");
    assert_eq!(e.dhow(["logs", "--until", "1h", "ll"]).ok(), "");
    assert!(e.docker(["logs", "ll"]).out == want);
}

#[test]
fn followed_logs_end_with_the_container() {
    need_root!();
    let e = Engine::with_busybox();
    e.dhow([
        "run",
        "-d",
        "--name",
        "ll",
        "busybox",
        "sh",
        "-c",
        "echo first; read x </dev/zero & for n in 1 2 3; do usleep 50000; echo $n; done; echo err >&2",
    ])
    .ok();
    let said = e.dhow(["logs", "-f", "ll"]);
    assert_eq!((said.out.as_str(), said.err.as_str()), ("first\n1\n2\n3\n", "err\n"));
}

#[test]
fn rotation_keeps_as_many_files_as_asked() {
    need_root!();
    let e = Engine::with_busybox();
    e.dhow([
        "run",
        "--name",
        "rr",
        "--log-opt",
        "max-size=20k",
        "--log-opt",
        "max-file=3",
        "busybox",
        "seq",
        "1",
        "3000",
    ])
    .ok();
    let out = e.dhow(["logs", "rr"]).ok();
    let numbers: Vec<u32> = out.lines().map(|l| l.parse().unwrap()).collect();
    assert_eq!(*numbers.last().unwrap(), 3000);
    assert!(numbers.windows(2).all(|w| w[1] == w[0] + 1), "a line is lost or doubled");
    let path = e.inspect("rr")["LogPath"].as_str().unwrap().to_owned();
    let files: Vec<bool> =
        ["", ".1", ".2", ".3"].iter().map(|s| std::path::Path::new(&format!("{path}{s}")).exists()).collect();
    assert_eq!(files, [true, true, true, false]);
}

#[test]
fn exec_runs_inside() {
    need_root!();
    let e = Engine::with_busybox();
    e.dhow(["run", "-d", "--name", "xx", "-e", "A=1", "busybox", "sleep", "1d"]).ok();
    let said = e.dhow(["exec", "-e", "B=2", "xx", "sh", "-c", "echo $A$B; echo err >&2; exit 4"]);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (4, "12\n", "err\n"));
    assert_eq!(e.dhow(["exec", "-u", "alice", "-w", "/tmp", "xx", "sh", "-c", "id -un; pwd"]).ok(), "alice\n/tmp");
    // As Docker's, the text comes on the stream that is open by then.
    let said = e.dhow(["exec", "xx", "nosuch"]);
    assert!(said.code == 127 && said.out.contains("exec: \"nosuch\": executable file not found in $PATH"), "{said:?}");
    let same = "for n in mnt net pid ipc uts; do readlink /proc/self/ns/$n; done";
    let one = e.dhow(["exec", "xx", "sh", "-c", same]).ok();
    let init = e.dhow(["exec", "xx", "sh", "-c", &same.replace("self", "1")]).ok();
    assert_eq!(one, init);
    let mut command = e.dhow_command(["exec", "-i", "xx", "wc", "-c"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&[b'x'; 100_000]).unwrap();
    assert_eq!(String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim(), "100000");
    e.dhow(["exec", "-d", "xx", "touch", "/detached"]).ok();
    wait_for("the detached exec", || (e.dhow(["exec", "xx", "ls", "/detached"]).code == 0).then_some(()));
    e.dhow(["stop", "-t", "0", "xx"]).ok();
    e.dhow(["exec", "xx", "true"]).fails(1, "is not running");
}

#[test]
fn attach_joins_a_running_container() {
    need_root!();
    let e = Engine::with_busybox();
    e.dhow([
        "run",
        "-d",
        "-i",
        "--name",
        "at",
        "busybox",
        "sh",
        "-c",
        "while read l; do [ $l != end ] || exit 0; echo got $l; done",
    ])
    .ok();
    let mut command = e.dhow_command(["attach", "at"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for word in ["one", "two"] {
        writeln!(stdin, "{word}").unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), format!("got {word}"));
    }
    writeln!(stdin, "end").unwrap();
    assert!(child.wait().unwrap().success());
    wait_for("the end", || (e.inspect("at")["State"]["Status"] == "exited").then_some(()));
    assert_eq!(e.dhow(["logs", "at"]).ok(), "got one\ngot two");
}

#[test]
fn top_lists_the_processes() {
    need_root!();
    let e = Engine::with_busybox();
    e.dhow(["run", "-d", "--name", "pp", "busybox", "sleep", "12345"]).ok();
    let out = e.dhow(["top", "pp"]).ok();
    assert!(out.lines().count() == 2 && out.contains("sleep 12345") && out.starts_with("UID"), "{out}");
}
