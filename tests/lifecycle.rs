//! create, start, stop, kill, restart, rename, wait, rm, ps, and restart policies.

use tests::{Engine, need_root, wait_for};

#[test]
fn states_follow_the_commands() {
    need_root!();
    let e = Engine::with_busybox();
    let state = |name: &str| e.inspect(name)["State"]["Status"].as_str().unwrap().to_owned();
    e.dhow(["create", "--name", "cc", "busybox", "sleep", "1d"]).ok();
    assert_eq!(state("cc"), "created");
    assert_eq!(e.dhow(["ps", "-q"]).ok(), "");
    assert_eq!(e.dhow(["start", "cc"]).ok(), "cc");
    assert_eq!(state("cc"), "running");
    assert_eq!(e.dhow(["stop", "-t", "0", "cc"]).ok(), "cc");
    assert_eq!((state("cc").as_str(), e.inspect("cc")["State"]["ExitCode"].as_i64()), ("exited", Some(137)));
    e.dhow(["restart", "-t", "0", "cc"]).ok();
    assert_eq!(state("cc"), "running");
    e.dhow(["pause", "cc"]).ok();
    assert_eq!(state("cc"), "paused");
    e.dhow(["unpause", "cc"]).ok();
    e.dhow(["rename", "cc", "dd"]).ok();
    assert_eq!(e.dhow(["ps", "--format", "{{.Names}}"]).ok(), "dd");
    e.dhow(["rm", "dd"]).fails(1, "container is running");
    e.dhow(["kill", "dd"]).ok();
    assert_eq!(e.dhow(["wait", "dd"]).ok(), "137");
    e.dhow(["rm", "dd"]).ok();
    e.dhow(["inspect", "dd"]).fails(1, "No such object: dd");
}

#[test]
fn stop_sends_the_stop_signal_and_then_kills() {
    need_root!();
    let e = Engine::with_busybox();
    let trap = "trap 'exit 3' USR1; echo ready; while :; do usleep 20000; done";
    e.dhow(["run", "-d", "--name", "ss", "--stop-signal", "USR1", "busybox", "sh", "-c", trap]).ok();
    wait_for("the trap", || (e.dhow(["logs", "ss"]).ok() == "ready").then_some(()));
    e.dhow(["stop", "ss"]).ok();
    assert_eq!(e.dhow(["wait", "ss"]).ok(), "3");
    e.dhow([
        "run",
        "-d",
        "--name",
        "tt",
        "busybox",
        "sh",
        "-c",
        "trap '' TERM; echo ready; while :; do usleep 20000; done",
    ])
    .ok();
    wait_for("the trap", || (e.dhow(["logs", "tt"]).ok() == "ready").then_some(()));
    e.dhow(["stop", "-t", "1", "tt"]).ok();
    assert_eq!(e.dhow(["wait", "tt"]).ok(), "137");
}

#[test]
fn names_are_unique_and_ids_can_be_short() {
    need_root!();
    let e = Engine::with_busybox();
    let id = e.dhow(["create", "--name", "one", "busybox"]).ok();
    assert_eq!(id.len(), 64);
    e.dhow(["create", "--name", "one", "busybox"])
        .fails(1, &format!("Conflict. The container name \"/one\" is already in use by container \"{id}\""));
    assert_eq!(e.inspect(&id[..8])["Id"].as_str(), Some(id.as_str()));
    e.dhow(["create", "--name", "/bad name", "busybox"]).fails(1, "Invalid container name");
    assert_eq!(
        e.dhow(["ps", "-a", "--filter", "name=one", "--format", "{{.ID}} {{.Image}} {{.Status}}"]).ok(),
        format!("{} busybox Created", &id[..12])
    );
    assert_eq!(e.dhow(["ps", "-aq", "--filter", "status=running"]).ok(), "");
}

#[test]
fn lists_are_of_this_moment() {
    need_root!();
    let e = Engine::with_busybox();
    let shown = || {
        let list = e.dhow(["ps", "-a", "--format", "{{.Names}} {{.Image}} {{.State}}"]).ok();
        let table = e.dhow(["ps", "-a"]).ok();
        for line in list.lines() {
            let [name, image, state] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let row = table.lines().find(|row| row.ends_with(name)).unwrap_or_else(|| panic!("{table} lacks {name}"));
            let status = match state {
                "created" => "Created",
                "paused" => "(Paused)",
                "running" => "Up ",
                _ => "Exited (",
            };
            assert!(row.contains(image) && row.contains(status), "{row} is not {line}");
        }
        assert_eq!(table.lines().count(), list.lines().count() + 1);
        list
    };
    assert_eq!(shown(), "");
    e.dhow(["create", "--name", "one", "busybox", "sleep", "1d"]).ok();
    assert_eq!(shown(), "one busybox created");
    e.dhow(["start", "one"]).ok();
    assert_eq!(shown(), "one busybox running");
    e.dhow(["pause", "one"]).ok();
    assert_eq!(shown(), "one busybox paused");
    e.dhow(["unpause", "one"]).ok();
    e.dhow(["rename", "one", "two"]).ok();
    assert_eq!(shown(), "two busybox running");
    // The name of its image is another's from here on, and then its own again.
    let id = e.inspect("two")["Image"].as_str().unwrap()["sha256:".len()..][..12].to_owned();
    e.dhow(["tag", "busybox", "kept"]).ok();
    e.dhow(["import", "-m", "another", tests::busybox_tar().to_str().unwrap(), "busybox"]).ok();
    assert_eq!(shown(), format!("two {id} running"));
    e.dhow(["tag", "kept", "busybox"]).ok();
    assert_eq!(shown(), "two busybox running");
    e.dhow(["kill", "two"]).ok();
    e.dhow(["wait", "two"]).ok();
    assert_eq!(shown(), "two busybox exited");
    e.dhow(["rm", "two"]).ok();
    assert_eq!(shown(), "");
}

#[test]
fn restart_policies_act() {
    need_root!();
    let e = Engine::with_busybox();
    e.dhow(["run", "-d", "--name", "ff", "--restart", "on-failure:2", "busybox", "false"]).ok();
    wait_for("two restarts", || {
        let i = e.inspect("ff");
        (i["RestartCount"] == 2 && i["State"]["Status"] == "exited").then_some(())
    });
    e.dhow(["run", "-d", "--name", "aa", "--restart", "always", "busybox", "sh", "-c", "echo up; usleep 100000"]).ok();
    wait_for("a restart", || (e.dhow(["logs", "aa"]).ok().lines().count() >= 2).then_some(()));
    e.dhow(["stop", "-t", "0", "aa"]).ok();
    let stopped = e.inspect("aa");
    assert_eq!(
        (stopped["State"]["Status"].as_str(), stopped["State"]["Restarting"].as_bool()),
        (Some("exited"), Some(false))
    );
    e.dhow(["run", "--rm", "--restart", "always", "busybox"]).fails(125, "conflicting options");
}

#[test]
fn wait_and_events_tell_the_story() {
    need_root!();
    let e = Engine::with_busybox();
    e.dhow(["run", "--name", "ev", "busybox", "sh", "-c", "exit 5"]);
    e.dhow(["rm", "ev"]).ok();
    let out =
        e.dhow(["events", "--since", "1h", "--until", "0s", "--filter", "container=ev", "--format", "{{.Action}}"]);
    let story: Vec<&str> = out.out.lines().collect();
    assert_eq!(story, ["create", "attach", "start", "die", "destroy"], "{out:?}");
}

#[test]
fn many_at_once() {
    need_root!();
    let e = Engine::with_busybox();
    std::thread::scope(|s| {
        for worker in 0..4 {
            let e = &e;
            s.spawn(move || {
                for n in 0..5 {
                    let said = e.dhow(["run", "--rm", "busybox", "echo", &format!("{worker}.{n}")]);
                    assert_eq!(said.clone().ok(), format!("{worker}.{n}"), "{said:?}");
                }
            });
        }
    });
    assert_eq!(e.dhow(["ps", "-aq"]).ok(), "");
}
