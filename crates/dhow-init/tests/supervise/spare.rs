//! A supervisor that is kept ready is the same as one made for the launch.

use crate::world::{World, init_binary, wait_for_end, wait_until_gone};
use oci::runtime::Seccomp;
use serde_json::json;
use supervisor::Spawner;
use supervisor::protocol::{Launch, Started};

fn spawner() -> Spawner {
    Spawner::new(init_binary().into())
}

/// A filter under which `call` fails.
fn denied(call: &str) -> Option<Seccomp> {
    let filter = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": [call], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}],
    });
    Some(serde_json::from_value(filter).unwrap())
}

/// Runs to the end: what was said, and whether the one that waited did it.
fn run(spawner: &Spawner, world: &World, launch: Launch) -> (String, bool) {
    let waiting = spawner.waiting();
    let (started, control, mut child) = spawner.spawn(launch, Vec::new()).unwrap();
    let Started::Ok(record) = started else { panic!("not started: {started:?}") };
    wait_for_end(&control);
    child.wait().unwrap();
    assert_eq!(world.exit_record().started_ns, record.started_ns);
    (world.log(1), waiting == Some(record.supervisor as u32))
}

#[test]
fn it_has_the_filter_that_the_launch_asks_for() {
    let spawner = spawner();
    let of = |filter| {
        let world = World::new();
        let mut launch = world.launch("kill -0 $$ && echo may; test -d / && cat /proc/self/status");
        launch.spec.linux.as_mut().unwrap().seccomp = filter;
        let (said, by_waiting) = run(&spawner, &world, launch);
        (said.starts_with("may\n"), said.contains("Seccomp:\t2\n"), by_waiting)
    };
    assert_eq!(of(denied("kill")), (false, true, false), "nothing waited yet");
    spawner.refill();
    assert_eq!(of(denied("kill")), (false, true, true), "the filter was sent ahead");
    spawner.refill();
    assert_eq!(of(denied("mkdir")), (true, true, true), "another filter than the one sent ahead");
    spawner.refill();
    assert_eq!(of(None), (true, false, true), "no filter, though one was sent ahead");
    spawner.refill();
    assert_eq!(of(denied("kill")), (false, true, true));
}

#[test]
fn one_that_was_killed_is_replaced() {
    let spawner = spawner();
    spawner.refill();
    let pid = rustix::process::Pid::from_raw(spawner.waiting().unwrap() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    wait_until_gone(pid.as_raw_nonzero().get());
    let world = World::new();
    assert_eq!(run(&spawner, &world, world.launch("echo here")), ("here\n".into(), false));
}

#[test]
fn it_ends_with_its_spawner() {
    let spawner = spawner();
    spawner.refill();
    spawner.refill();
    let pid = spawner.waiting().unwrap();
    drop(spawner);
    wait_until_gone(pid as i32);
}
