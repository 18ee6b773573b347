//! How containers end, and what becomes of them when those around them die.

use crate::world::{World, init_binary, wait_for_end, wait_until_gone};
use oci::runtime::{Memory, Resources};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use supervisor::log::STDOUT;
use supervisor::protocol::*;

#[test]
fn a_signal_ends_it_with_128_and_more() {
    let world = World::new();
    let running = world.start(&world.launch("kill -9 $$; sleep 1000"));
    // The first process of a pid namespace cannot kill itself: it is still there for us to do it.
    assert_eq!(world.request(&Request::Signal { exec: None, signal: 9 }), Reply::Ok);
    let record = running.wait();
    assert_eq!((record.code, record.signal), (137, Some(9)));
}

#[test]
fn a_command_that_is_not_there_leaves_nothing() {
    let world = World::new();
    let mut launch = world.launch("");
    launch.spec.process.as_mut().unwrap().args = vec!["no-such-command".into()];
    let failure = world.failure(&launch);
    assert_eq!(failure.kind, FailureKind::CommandNotFound);
    assert!(failure.text.contains("no-such-command"), "{}", failure.text);
    assert!(!world.run_dir().exists());
    assert!(!world.cgroup_is_left());
    assert!(!world.dir.join("state").join(EXIT_RECORD).exists());
}

#[test]
fn a_paused_container_stands_still_until_it_is_resumed() {
    let world = World::new();
    let mut launch = world.launch("while read x; do echo $x; done");
    (launch.open_stdin, launch.stdin_once) = (true, true);
    let (running, mut client) = world.start_attached(&mut launch);
    client.write("1\n");
    client.until("1\n");
    assert_eq!(world.request(&Request::Pause), Reply::Ok);
    client.write("2\n");
    let Reply::Pids(pids) = world.request(&Request::Processes) else { panic!() };
    assert_eq!(pids, [running.record.pid]);
    assert_eq!(client.said[0], "1\n");
    assert_eq!(world.request(&Request::Resume), Reply::Ok);
    client.until("2\n");
    client.end_of_input();
    assert_eq!(client.exit().code, 0);
    running.wait();
}

#[test]
fn want_of_memory_is_told() {
    let world = World::new();
    let mut launch = world.launch("x=xxxxxxxxxxxxxxxx; while true; do x=$x$x; done");
    let memory = Memory { limit: Some(16 << 20), swap: Some(16 << 20), ..Memory::default() };
    launch.spec.linux.as_mut().unwrap().resources = Some(Resources { memory: Some(memory), ..Resources::default() });
    let record = world.start(&launch).wait();
    assert_eq!((record.code, record.oom_killed), (137, true));
}

#[test]
fn what_shares_the_hosts_pids_is_ended_too() {
    let world = World::new();
    let mut launch = world.launch("setsid sleep 1000 & echo $!; exit 0");
    launch.spec.linux.as_mut().unwrap().namespaces.retain(|n| n.kind != "pid");
    let (running, mut client) = world.start_attached(&mut launch);
    assert_eq!(client.exit().code, 0);
    let left: i32 = client.said[0].trim().parse().unwrap();
    running.wait();
    wait_until_gone(left);
}

#[test]
fn the_init_process_forwards_signals_and_codes() {
    let world = World::new();
    let mut launch = world.launch("trap 'echo term; exit 9' TERM; echo up; while true; do sleep 0.01; done");
    launch.init = true;
    let (running, mut client) = world.start_attached(&mut launch);
    client.until("up\n");
    assert_eq!(world.request(&Request::Signal { exec: None, signal: 15 }), Reply::Ok);
    assert_eq!(client.exit().code, 9);
    assert_eq!(client.said[0], "up\nterm\n");
    running.wait();
}

#[test]
fn sigterm_to_the_supervisor_changes_nothing() {
    let world = World::new();
    let running = world.start(&world.launch("echo up; sleep 1000"));
    for signal in [1, 2, 15, 13] {
        sys::process::kill(running.record.supervisor, signal).unwrap();
    }
    assert_eq!(running.kill().code, 137);
}

/// Not a test of its own: the launching side of the next one, in a process that can be killed.
#[test]
fn launching_side() {
    let Ok(launch) = std::env::var("DHOW_TEST_LAUNCH") else { return };
    let launch: Launch = serde_json::from_str(&launch).unwrap();
    let (started, _control, _child) = supervisor::spawn(init_binary(), &launch, Vec::new()).unwrap();
    let Started::Ok(record) = started else { panic!("{started:?}") };
    println!("\nSTARTED {}", record.pid);
    // Killed from outside.
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

#[test]
fn the_death_of_the_launching_side_is_not_noticed() {
    let world = World::new();
    let launch = world.launch("while read x; do echo got $x; done; echo end; exit 6");
    let launch = Launch { open_stdin: true, stdin_once: true, ..launch };
    let mut side = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "end::launching_side", "--nocapture"])
        .env("DHOW_TEST_LAUNCH", serde_json::to_string(&launch).unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(side.stdout.take().unwrap()).lines();
    let started = lines.map(Result::unwrap).find(|line| line.starts_with("STARTED ")).unwrap();
    side.kill().unwrap();
    side.wait().unwrap();
    let watch = world.connect();
    std::io::Write::write_all(&mut &watch, b"\"watch\"\n").unwrap();
    let record: StartRecord =
        serde_json::from_slice(&std::fs::read(world.run_dir().join(START_RECORD)).unwrap()).unwrap();
    assert_eq!(started, format!("STARTED {}", record.pid));
    let mut client = world.attach(true);
    client.write("x\n");
    client.until("got x\n");
    client.end_of_input();
    assert_eq!(client.exit().code, 6);
    wait_for_end(&watch);
    assert_eq!(world.exit_record().code, 6);
    assert_eq!(world.log(STDOUT), "got x\nend\n");
    assert!(!world.cgroup_is_left());
    wait_until_gone(record.supervisor);
}

#[test]
fn the_death_of_the_supervisor_is_the_containers_and_reap_cleans_up() {
    let world = World::new();
    let mut running = world.start(&world.launch("setsid sleep 1000 & sleep 1000"));
    let pid = running.record.pid;
    running.kill_supervisor();
    wait_for_end(&running.control);
    wait_until_gone(pid);
    assert!(world.cgroup_is_left());
    let reap = Command::new(init_binary()).args(["reap", "--cgroup", &world.cgroup()]).status().unwrap();
    assert_eq!(reap.code(), Some(0));
    assert!(!world.cgroup_is_left());
    // A second time there is nothing to do.
    let reap = Command::new(init_binary()).args(["reap", "--cgroup", &world.cgroup()]).status().unwrap();
    assert_eq!(reap.code(), Some(0));
}
