//! More processes in a running container.

use crate::world::{Attached, World};
use oci::runtime::Process;
use supervisor::protocol::*;

fn process(world: &World, script: &str) -> Process {
    let mut process = world.launch(script).spec.process.unwrap();
    process.env.push("FROM=exec".into());
    process
}

fn exec(world: &World, id: &str, script: &str, change: impl FnOnce(&mut Exec)) -> (i32, Attached) {
    let mut exec = Exec {
        id: id.into(),
        process: process(world, script),
        seccomp: None,
        stdin: false,
        output: true,
        with_client: false,
    };
    change(&mut exec);
    let socket = world.connect();
    match supervisor::request(&socket, &Request::Exec(Box::new(exec))).unwrap() {
        Reply::Pid(pid) => (pid, Attached::new(socket)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_exec_runs_in_the_container_and_tells_its_end() {
    let world = World::new();
    let running = world.start(&world.launch("sleep 1000"));
    let (pid, mut client) = exec(&world, "a", "echo $FROM; id -u >&2; test -e /bin/busybox && exit 5", |_| {});
    assert_eq!(client.exec_exit(), 5);
    assert_eq!(client.said, ["exec\n", "0\n"]);
    assert!(pid > 0);
    // What an exec says is not the container's.
    assert_eq!(world.log(1), "");
    running.kill();
}

#[test]
fn an_exec_has_its_own_stdin_and_terminal() {
    let world = World::new();
    let running = world.start(&world.launch("sleep 1000"));
    let (_, mut client) = exec(&world, "a", "cat; exit 4", |exec| exec.stdin = true);
    client.write("in\n");
    client.until("in\n");
    client.end_of_input();
    assert_eq!(client.exec_exit(), 4);
    let (_, mut client) = exec(&world, "b", "read x; stty size", |exec| {
        exec.stdin = true;
        exec.process.terminal = true;
    });
    assert_eq!(world.request(&Request::Resize { exec: Some("b".into()), height: 12, width: 34 }), Reply::Ok);
    client.write("\n");
    assert_eq!(client.exec_exit(), 0);
    assert_eq!(client.said[0], "\r\n12 34\r\n");
    running.kill();
}

#[test]
fn an_exec_that_cannot_be_executed_says_why() {
    let world = World::new();
    let running = world.start(&world.launch("sleep 1000"));
    let mut process = process(&world, "");
    process.args = vec!["/no/such".into()];
    let request = Exec { id: "a".into(), process, seccomp: None, stdin: false, output: true, with_client: false };
    let reply = world.request(&Request::Exec(Box::new(request)));
    let Reply::Failed(failure) = reply else { panic!("{reply:?}") };
    assert_eq!(failure.kind, FailureKind::CommandNotFound);
    running.kill();
}

#[test]
fn signals_reach_an_exec_by_its_id_and_end_it_with_128_and_more() {
    let world = World::new();
    let running = world.start(&world.launch("sleep 1000"));
    let (_, mut client) = exec(&world, "a", "echo up; exec sleep 1000", |_| {});
    client.until("up\n");
    assert_eq!(world.request(&Request::Signal { exec: Some("a".into()), signal: 15 }), Reply::Ok);
    assert_eq!(client.exec_exit(), 143);
    let reply = world.request(&Request::Signal { exec: Some("a".into()), signal: 15 });
    assert!(matches!(reply, Reply::Failed(_)), "{reply:?}");
    running.kill();
}

#[test]
fn an_exec_that_leaves_a_process_behind_ends_all_the_same() {
    let world = World::new();
    let running = world.start(&world.launch("sleep 1000"));
    let (_, mut client) = exec(&world, "a", "sleep 1000 & echo done", |_| {});
    assert_eq!(client.exec_exit(), 0);
    assert_eq!(client.said[0], "done\n");
    let Reply::Pids(pids) = world.request(&Request::Processes) else { panic!() };
    assert_eq!(pids.len(), 2);
    running.kill();
}

#[test]
fn many_execs_leave_memory_and_descriptors_as_they_were() {
    let world = World::new();
    let running = world.start(&world.launch("sleep 1000"));
    let supervisor = running.record.supervisor;
    let descriptors = || std::fs::read_dir(format!("/proc/{supervisor}/fd")).unwrap().count();
    let resident = || -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{supervisor}/status")).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let burst = |count: usize| {
        for _ in 0..count {
            let mut clients: Vec<_> = (0..4).map(|n| exec(&world, &format!("e{n}"), "echo x", |_| {}).1).collect();
            for client in &mut clients {
                assert_eq!(client.exec_exit(), 0);
                assert_eq!(client.said[0], "x\n");
            }
        }
    };
    // On demand many more: DHOW_TEST_EXECS=100000.
    let wanted = std::env::var("DHOW_TEST_EXECS").ok().and_then(|n| n.parse().ok()).unwrap_or(300usize);
    burst(10);
    let (fds_before, memory_before) = (descriptors(), resident());
    burst(wanted.div_ceil(4));
    assert_eq!(descriptors(), fds_before);
    assert!(resident() <= memory_before + 64, "{} KiB after {memory_before}", resident());
    // When it is quiet it gives back even that.
    let deadline = std::time::Instant::now() + crate::world::PATIENCE;
    while resident() > memory_before {
        assert!(std::time::Instant::now() < deadline, "{} KiB stay, it was {memory_before}", resident());
        std::thread::yield_now();
    }
    running.kill();
}

#[test]
fn the_end_of_the_container_is_the_end_of_its_execs() {
    let world = World::new();
    let running = world.start(&world.launch("sleep 1000"));
    let (_, mut client) = exec(&world, "a", "echo up; exec sleep 1000", |_| {});
    client.until("up\n");
    assert_eq!(running.kill().code, 137);
    assert_eq!(client.exec_exit(), 137);
}
