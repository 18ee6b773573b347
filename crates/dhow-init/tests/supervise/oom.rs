//! Want of memory is told at the moment it kills, while the container runs on.

use crate::world::World;
use oci::runtime::{Memory, Resources};
use std::io::Read;
use supervisor::protocol::*;

/// Takes twenty mebibytes in one process that is nobody's first.
const GREEDY: &str = "head -c 20000000 /dev/zero | tail -c 20000000 >/dev/null";

fn limited(world: &World, script: &str) -> Launch {
    let mut launch = world.launch(script);
    let memory = Memory { limit: Some(8 << 20), swap: Some(8 << 20), ..Memory::default() };
    launch.spec.linux.as_mut().unwrap().resources = Some(Resources { memory: Some(memory), ..Resources::default() });
    launch
}

/// Waits for one word of the supervisor on its silent connection.
fn told(mut socket: &std::os::unix::net::UnixStream) {
    socket.set_read_timeout(Some(crate::world::PATIENCE)).unwrap();
    let mut byte = [0];
    socket.read_exact(&mut byte).expect("nothing is told");
    assert_eq!(byte[0], OOM);
}

#[test]
fn a_process_that_is_killed_is_told_of_while_the_container_goes_on() {
    let world = World::new();
    let running = world.start(&limited(&world, &format!("{GREEDY}; echo $? >&2; exec sleep 1000")));
    told(&running.control);
    let record = running.kill();
    assert!(record.oom_killed);
    assert_eq!(record.signal, Some(9));
}

#[test]
fn an_exec_that_is_killed_is_told_of_to_whoever_watches() {
    let world = World::new();
    let running = world.start(&limited(&world, "exec sleep 1000"));
    let watch = world.connect();
    std::io::Write::write_all(&mut &watch, b"\"watch\"\n").unwrap();
    let process = world.launch(&format!("{GREEDY}; exit 7")).spec.process.unwrap();
    let exec = Exec { id: "a".into(), process, seccomp: None, stdin: false, output: true, with_client: false };
    let socket = world.connect();
    let reply = supervisor::request(&socket, &Request::Exec(Box::new(exec))).unwrap();
    assert!(matches!(reply, Reply::Pid(_)), "{reply:?}");
    told(&running.control);
    told(&watch);
    assert!(running.kill().oom_killed);
}

#[test]
fn nothing_is_told_of_a_container_that_has_enough() {
    let world = World::new();
    let running = world.start(&limited(&world, "true"));
    assert!(!running.wait().oom_killed);
}
