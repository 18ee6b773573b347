use crate::world::*;
use serde_json::json;
use std::process::Child;

/// A `create` that hangs in a hook of the moment `kind`.
fn hanging(kind: &str) -> (World, Child) {
    let mut world = World::sleeper();
    let mark = world.dir.join("mark").to_str().unwrap().to_owned();
    let script = format!("touch {mark}; exec sleep 1000");
    world.spec["hooks"] =
        json!({kind: [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}]});
    let child = world.command(&["create", "c"]).0.spawn().unwrap();
    until(|| world.dir.join("mark").exists());
    (world, child)
}

#[test]
fn a_create_that_is_killed_leaves_what_delete_removes() {
    for kind in ["prestart", "createRuntime"] {
        let (world, mut child) = hanging(kind);
        assert_eq!(world.state()["status"], "creating");
        let pid = world.state()["pid"].as_i64().unwrap();
        let children = children(child.id());
        assert!(children.contains(&pid) && children.len() == 2 && alive(pid));
        child.kill().unwrap();
        child.wait().unwrap();
        // The process that it made goes with it, and so does the hook.
        until(|| !children.iter().any(|pid| alive(*pid)));
        world.until("stopped");
        assert_eq!(world.does("start c").refused(1), "cannot start a container that has stopped");
        assert_eq!(world.does("create c").refused(1), "dhow create failed: container with given ID already exists");
        world.does("delete --force c").fine();
        world.is_empty();
    }
}

/// The processes whose parent is `create`: the container's and the hook's.
fn children(create: u32) -> Vec<i64> {
    let text = std::fs::read_to_string(format!("/proc/{create}/task/{create}/children")).unwrap();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

#[test]
fn delete_force_ends_a_create_that_hangs() {
    for (kind, code) in [("prestart", 128 + 9), ("createContainer", 1)] {
        let (world, mut child) = hanging(kind);
        let children = children(child.id());
        assert_eq!(world.does("delete --force c").fine(), "");
        assert_eq!(wait(&mut child), code, "{kind}");
        world.is_empty();
        until(|| !children.iter().any(|pid| alive(*pid)));
    }
}

#[test]
fn a_create_killed_at_any_moment() {
    let world = World::sleeper();
    let mut left = [0; 2];
    for n in 0..60u64 {
        let mut child = world.command(&["create", "c"]).0.spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_micros(n * 400));
        child.kill().unwrap();
        child.wait().unwrap();
        let there = world.state_root().join("c").exists();
        left[usize::from(there)] += 1;
        world.does("delete --force c").fine();
        world.is_empty();
    }
    assert!(left[1] > 0, "none was caught");
}

#[test]
fn commands_at_once() {
    let world = World::sleeper();
    // One of many makes it.
    let mut all: Vec<Child> = (0..8).map(|_| world.command(&["create", "c"]).0.spawn().unwrap()).collect();
    let codes: Vec<i32> = all.iter_mut().map(wait).collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert_eq!(world.state()["status"], "created");
    // One of many starts it.
    let mut all: Vec<Child> = (0..8).map(|_| world.command(&["start", "c"]).0.spawn().unwrap()).collect();
    let codes: Vec<i32> = all.iter_mut().map(wait).collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    let mut all: Vec<Child> = (0..8).map(|_| world.command(&["exec", "c", "true"]).0.spawn().unwrap()).collect();
    assert_eq!(all.iter_mut().map(wait).collect::<Vec<_>>(), [0; 8]);
    // All of many remove it.
    let mut all: Vec<Child> = (0..8).map(|_| world.command(&["delete", "-f", "c"]).0.spawn().unwrap()).collect();
    let codes: Vec<i32> = all.iter_mut().map(wait).collect();
    assert_eq!(codes, [0; 8]);
    world.is_empty();
}

#[test]
fn a_directory_without_a_state_is_removed_by_force() {
    let world = World::sleeper();
    std::fs::create_dir_all(world.state_root().join("c")).unwrap();
    assert_eq!(world.does("state c").refused(1), "container does not exist");
    world.does("delete --force c").fine();
    world.is_empty();
}

#[test]
fn a_pid_that_has_become_another_process_is_left_alone() {
    let world = World::sleeper();
    world.does("create c").fine();
    let file = world.state_root().join("c/state.json");
    let mut state: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let pid = state["pid"].as_i64().unwrap();
    let mut other = std::process::Command::new("/bin/sleep").arg("1000").spawn().unwrap();
    state["pid"] = json!(other.id());
    state["startTime"] = json!(state["startTime"].as_u64().unwrap() - 1);
    std::fs::write(&file, state.to_string()).unwrap();
    assert_eq!(world.state()["status"], "stopped");
    assert_eq!(world.does("kill c KILL").refused(1), "container not running");
    world.does("delete -f c").fine();
    assert!(alive(i64::from(other.id())) && !alive(pid));
    other.kill().unwrap();
    other.wait().unwrap();
    world.is_empty();
}
