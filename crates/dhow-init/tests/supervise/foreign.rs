//! The same life under a foreign runtime. Needs runc (Debian package `runc`), in `PATH` or named by `DHOW_TEST_RUNC`;
//! where it is missing the tests say so and pass.

use crate::world::{Attached, World};
use std::path::PathBuf;
use supervisor::log::STDOUT;
use supervisor::protocol::*;

fn runc() -> Option<ForeignRuntime> {
    let named = std::env::var_os("DHOW_TEST_RUNC").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = named.or_else(|| std::env::split_paths(&path).map(|dir| dir.join("runc")).find(|file| file.exists()));
    if found.is_none() {
        eprintln!("SKIPPED: runc is not installed");
    }
    found.map(|path| ForeignRuntime { path, args: Vec::new() })
}

#[test]
fn output_code_and_log_are_the_same() {
    let Some(runc) = runc() else { return };
    let world = World::new();
    // With every signal blocked, as the supervisor is, it could not end itself.
    let mut launch = world.launch("cat; echo err >&2; sh -c 'kill -15 $$'; test $? = 143 && exit 3");
    launch.runtime = Some(runc);
    (launch.open_stdin, launch.stdin_once) = (true, true);
    let (running, mut client) = world.start_attached(&mut launch);
    client.write("in\n");
    client.end_of_input();
    assert_eq!(client.exit().code, 3);
    assert_eq!(client.said, ["in\n", "err\nTerminated\n"]);
    running.wait();
    assert_eq!(world.log(STDOUT), "in\n");
}

#[test]
fn terminals_execs_and_the_init_process_work() {
    let Some(runc) = runc() else { return };
    let world = World::new();
    let mut launch = world.launch("read x; stty size; sleep 1000");
    std::fs::create_dir(world.root().join("sbin")).unwrap();
    launch.runtime = Some(runc);
    launch.init = true;
    launch.open_stdin = true;
    launch.spec.process.as_mut().unwrap().terminal = true;
    let (running, mut client) = world.start_attached(&mut launch);
    assert_eq!(world.request(&Request::Resize { exec: None, height: 21, width: 43 }), Reply::Ok);
    client.write("\n");
    client.until("21 43\r\n");
    let mut process = world.launch("echo hi; exit 9").spec.process.unwrap();
    for terminal in [false, true] {
        process.terminal = terminal;
        let exec = Exec {
            id: "a".into(),
            process: process.clone(),
            seccomp: None,
            stdin: false,
            output: true,
            with_client: false,
        };
        let socket = world.connect();
        let reply = supervisor::request(&socket, &Request::Exec(Box::new(exec))).unwrap();
        assert!(matches!(reply, Reply::Pid(_)), "{reply:?}");
        let mut client = Attached::new(socket);
        assert_eq!(client.exec_exit(), 9);
        assert_eq!(client.said[0], if terminal { "hi\r\n" } else { "hi\n" });
    }
    assert_eq!(world.request(&Request::Pause), Reply::Ok);
    assert_eq!(world.request(&Request::Resume), Reply::Ok);
    assert_eq!(running.kill().code, 137);
}

#[test]
fn a_failed_start_leaves_nothing() {
    let Some(runc) = runc() else { return };
    let world = World::new();
    let mut launch = world.launch("");
    launch.runtime = Some(runc);
    launch.spec.process.as_mut().unwrap().args = vec!["/no/such".into()];
    assert_eq!(world.failure(&launch).kind, FailureKind::CommandNotFound);
    assert!(!world.run_dir().exists());
    assert!(!world.cgroup_is_left());
    launch.runtime = Some(ForeignRuntime { path: "/no/such/runtime".into(), args: Vec::new() });
    let failure = world.failure(&launch);
    assert_eq!(failure.errno, 2);
    assert!(failure.text.starts_with("cannot run /no/such/runtime: "), "{}", failure.text);
    assert!(!world.run_dir().exists());
}
