//! Output to the log and to clients, stdin from them, terminals.

use crate::world::{PATIENCE, World, wait_for_end};
use std::io::{Read, Write};
use supervisor::log::{STDERR, STDOUT};
use supervisor::protocol::*;

#[test]
fn output_reaches_the_log_and_a_client_that_was_attached_before() {
    let world = World::new();
    let mut launch = world.launch("echo out; echo err >&2; echo -n tail; exit 3");
    let (running, mut client) = world.start_attached(&mut launch);
    let record = client.exit();
    assert_eq!((record.code, record.signal, record.oom_killed), (3, None, false));
    assert_eq!(client.said, ["out\ntail", "err\n"]);
    assert_eq!(running.wait(), record);
    assert_eq!(world.log(STDOUT), "out\ntail");
    assert_eq!(world.log(STDERR), "err\n");
}

#[test]
fn stdin_ends_with_the_first_client_that_leaves() {
    let world = World::new();
    let mut launch = world.launch("cat; echo end");
    (launch.open_stdin, launch.stdin_once) = (true, true);
    let (running, mut client) = world.start_attached(&mut launch);
    client.write("hello\n");
    client.until("hello\n");
    client.end_of_input();
    assert_eq!(client.exit().code, 0);
    assert_eq!(client.said[0], "hello\nend\n");
    running.wait();
}

#[test]
fn a_lot_of_stdin_arrives_whole_though_its_sender_has_gone() {
    let world = World::new();
    let mut launch = world.launch("head -c 3 >/dev/null; dd bs=4k 2>/dev/null | tail -c 3; test $? = 0");
    (launch.open_stdin, launch.stdin_once) = (true, true);
    let running = world.start(&launch);
    let mut watcher = world.attach(false);
    let mut client = world.attach(true);
    client.write(&"x".repeat(1_000_000));
    client.write("end");
    drop(client);
    assert_eq!(watcher.exit().code, 0);
    assert_eq!(watcher.said[0], "end");
    running.wait();
}

#[test]
fn an_open_stdin_outlives_its_clients() {
    let world = World::new();
    let mut launch = world.launch("while read line; do echo got $line; test $line = stop && break; done");
    launch.open_stdin = true;
    let running = world.start(&launch);
    let mut watcher = world.attach(false);
    for word in ["one", "two", "stop"] {
        let mut client = world.attach(true);
        client.write(&format!("{word}\n"));
        client.end_of_input();
        watcher.until(&format!("got {word}\n"));
    }
    assert_eq!(watcher.exit().code, 0);
    running.wait();
}

#[test]
fn a_terminal_has_one_stream_and_the_size_it_is_given() {
    let world = World::new();
    let mut launch = world.launch("read x; stty size; echo err >&2; exit 7");
    launch.open_stdin = true;
    launch.spec.process.as_mut().unwrap().terminal = true;
    let (running, mut client) = world.start_attached(&mut launch);
    assert_eq!(world.request(&Request::Resize { exec: None, height: 33, width: 101 }), Reply::Ok);
    client.write("go\n");
    assert_eq!(client.exit().code, 7);
    assert_eq!(client.said, ["go\r\n33 101\r\nerr\r\n", ""]);
    assert_eq!(running.wait().code, 7);
    assert_eq!(world.log(STDOUT), "go\r\n33 101\r\nerr\r\n");
}

#[test]
fn resizing_what_is_no_terminal_is_refused() {
    let world = World::new();
    let running = world.start(&world.launch("sleep 1000"));
    let reply = world.request(&Request::Resize { exec: None, height: 1, width: 1 });
    let Reply::Failed(failure) = reply else { panic!("{reply:?}") };
    assert_eq!(failure.text, "the process has no terminal");
    running.kill();
}

#[test]
fn a_client_that_reads_slowly_loses_nothing() {
    let world = World::new();
    let mut launch = world.launch("seq 1 200000");
    let (running, mut client) = world.start_attached(&mut launch);
    // Nothing is read until the supervisor must have stopped reading, too: the log has begun and does not grow.
    let mut file = loop {
        if let Ok(file) = std::fs::File::open(world.log_path()) {
            break file;
        }
    };
    let mut first = [0; 1];
    while file.read(&mut first).unwrap() == 0 {
        std::thread::yield_now();
    }
    assert_eq!(client.exit().code, 0);
    let expected: String = (1..=200_000).map(|n| format!("{n}\n")).collect();
    assert!(client.said[0] == expected);
    running.wait();
    assert!(world.log(STDOUT) == expected);
}

#[test]
fn the_end_is_told_before_a_slow_client_has_everything() {
    let world = World::new();
    let mut launch = world.launch("seq 1 60000");
    let (running, mut client) = world.start_attached(&mut launch);
    wait_for_end(&running.control);
    assert_eq!(world.exit_record().code, 0);
    assert!(!world.cgroup_is_left());
    assert_eq!(client.exit().code, 0);
    let expected: String = (1..=60_000).map(|n| format!("{n}\n")).collect();
    assert!(client.said[0] == expected);
    running.wait();
}

#[test]
fn nonsense_on_the_socket_is_answered_and_harms_nobody() {
    let world = World::new();
    let running = world.start(&world.launch("sleep 1000"));
    for nonsense in ["{}\n", "\n", "\"attach\"\n", "{\"exec\":{}}\n", "\u{0}\u{0}\n"] {
        let mut socket = world.connect();
        socket.write_all(nonsense.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.read_to_string(&mut answer).unwrap();
        assert!(matches!(serde_json::from_str(&answer).unwrap(), Reply::Failed(_)), "{answer}");
    }
    // Half a request, and gone.
    world.connect().write_all(b"{\"att").unwrap();
    assert_eq!(running.kill().code, 137);
}
