//! The session that explains containers in every course, to the letter.

use std::process::Command;
use tests::{Engine, need_root, said};

#[test]
fn two_containers_the_host_and_a_shared_pid_namespace() {
    need_root!();
    let e = Engine::with_busybox();
    for name in ["c1", "c2"] {
        e.dhow(["run", "--name", name, "-d", "busybox", "sh", "-c", "sleep 1d"]).ok();
    }
    let sees = |name: &str| {
        let out = e.dhow(["exec", name, "ps", "aux"]).ok();
        out.lines().filter(|l| l.contains("sleep 1d") && !l.contains("ps aux")).count()
    };
    // Each sees its own shell (or the sleep it became) and nothing of the other.
    let alone = sees("c1");
    assert_eq!(sees("c2"), alone);
    let on_host = said(Command::new("ps").args(["-eo", "pid,args"])).ok();
    for name in ["c1", "c2"] {
        let pid = e.inspect(name)["State"]["Pid"].to_string();
        let line = on_host.lines().find(|l| l.split_whitespace().next() == Some(&pid));
        assert!(line.is_some_and(|l| l.contains("sleep 1d")), "{name} is {pid}: {line:?}");
    }
    e.dhow(["rm", "c2", "--force"]).ok();
    e.dhow(["run", "--name", "c2", "--pid=container:c1", "-d", "busybox", "sh", "-c", "sleep 1d"]).ok();
    assert_eq!((sees("c1"), sees("c2")), (2 * alone, 2 * alone));
    e.dhow(["run", "--pid=contariner:c1", "busybox", "true"]).fails(125, "--pid: invalid PID mode");
    assert_eq!(e.docker(["run", "--pid=contariner:c1", "busybox", "true"]).code, 125);
}

#[test]
fn writes_land_in_the_containers_own_layer() {
    need_root!();
    let e = Engine::with_busybox();
    e.dhow(["run", "--name", "ww", "busybox", "sh", "-c", "echo mine >/etc/passwd; rm /etc/group; mkdir /new"]).ok();
    let other = e.dhow(["run", "--rm", "busybox", "sh", "-c", "head -n 1 /etc/passwd; wc -l </etc/group; ls -d /new"]);
    assert_eq!(other.out, "root:x:0:0:root:/root:/bin/sh\n4\n");
    let diff = e.dhow(["diff", "ww"]).ok();
    for line in ["C /etc", "C /etc/passwd", "D /etc/group", "A /new"] {
        assert!(diff.lines().any(|l| l == line), "{line} is missing in\n{diff}");
    }
    // Started again, it finds what it wrote.
    e.dhow(["run", "--name", "again", "busybox", "sh", "-c", "cat /f 2>/dev/null; echo written >/f"]).ok();
    assert_eq!(e.dhow(["start", "-a", "again"]).ok(), "written");
}
