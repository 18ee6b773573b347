use crate::world::*;
use serde_json::{Value, json};

#[test]
fn what_is_not_there() {
    let world = World::new(&["true"]);
    for line in ["state c", "start c", "kill c", "delete c", "ps c", "pause c", "resume c", "update c", "events c"] {
        assert_eq!(world.does(line).refused(1), "container does not exist", "{line}");
    }
    assert_eq!(world.does("exec c true").refused(255), "exec failed: container does not exist");
    assert_eq!(world.does("delete --force c").fine(), "");
    assert_eq!(
        world.does("create --bundle /nosuch c").refused(1),
        "dhow create failed: chdir /nosuch: no such file or directory"
    );
    assert_eq!(
        world.does("create --bundle .. c").refused(1),
        "dhow create failed: JSON specification file config.json not found"
    );
    world.is_empty();
}

#[test]
fn names_that_are_none() {
    let world = World::new(&["true"]);
    for id in ["..", ".", "a/b", "a b", "../x", "é"] {
        assert_eq!(world.run(&["create", id]).refused(1), "dhow create failed: invalid container ID format", "{id}");
        assert_eq!(world.run(&["state", id]).refused(1), "invalid container ID format", "{id}");
        assert_eq!(world.run(&["delete", "--force", id]).refused(1), "invalid container ID format", "{id}");
    }
    assert_eq!(world.run(&["state", ""]).refused(1), "container id cannot be empty");
    let said = world.does("--root / state c");
    assert_eq!((said.code, said.err.trim_end()), (1, "Option --root argument should not be set to /"));
}

#[test]
fn a_second_of_the_same_name() {
    let world = World::sleeper();
    world.does("create c").fine();
    let before = world.state();
    assert_eq!(world.does("create c").refused(1), "dhow create failed: container with given ID already exists");
    assert_eq!(world.does("run c").refused(1), "dhow run failed: container with given ID already exists");
    assert_eq!(world.state(), before);
    // Another name, but the same cgroup.
    assert!(world.does("create d").refused(1).contains("container's cgroup is not empty: 1 process(es) found in "));
    assert_eq!(world.state(), before);
    assert_eq!(world.does("list -q").fine(), "c\n");
}

#[test]
fn what_a_container_is_not_in_the_state_for() {
    let world = World::sleeper();
    world.does("run -d c").fine();
    assert_eq!(world.does("start c").refused(1), "cannot start an already running container");
    assert_eq!(world.does("delete c").refused(1), "cannot delete container c that is not stopped: running");
    assert_eq!(world.does("kill c NOSUCH").refused(1), "unknown signal \"NOSUCH\"");
    world.does("pause c").fine();
    assert_eq!(world.does("start c").refused(1), "cannot start a container in the paused state");
    assert_eq!(world.does("delete c").refused(1), "cannot delete container c that is not stopped: paused");
    world.does("resume c").fine();
    world.does("kill c KILL").fine();
    world.until("stopped");
    assert_eq!(world.does("start c").refused(1), "cannot start a container that has stopped");
    assert_eq!(world.does("exec c true").refused(255), "exec failed: cannot exec in a stopped container");
    assert_eq!(world.does("kill c").refused(1), "container not running");
    world.does("kill --all c").fine();
    assert_eq!(world.does("resume c").refused(1), "container not paused");
}

#[test]
fn commands_that_are_not_there() {
    let failed = "unable to start container process: error during container init: ";
    for (args, text) in [
        (json!(["nosuch"]), "exec: \"nosuch\": executable file not found in $PATH"),
        (json!(["/nosuch"]), "exec: \"/nosuch\": stat /nosuch: no such file or directory"),
        (json!(["/etc"]), "exec: \"/etc\": is a directory"),
    ] {
        let mut world = World::new(&[]);
        world.spec["process"]["args"] = args;
        assert_eq!(world.does("create c").refused(1), format!("dhow create failed: {failed}{text}"));
        assert_eq!(world.does("run c").refused(1), format!("dhow run failed: {failed}{text}"));
        world.is_empty();
    }
    let world = World::sleeper();
    world.does("run -d c").fine();
    assert_eq!(
        world.does("exec c nosuch").refused(255),
        "exec failed: unable to start container process: exec: \"nosuch\": executable file not found in $PATH"
    );
    assert_eq!(world.does("exec c").refused(255), "exec failed: exec args cannot be empty");
    assert_eq!(world.does("exec -u x c id").refused(255), "exec failed: bad uid: \"x\" is not a number");
}

#[test]
fn start_tells_why_the_command_was_not_executed() {
    let world = World::new(&["/bin/script"]);
    let path = world.rootfs().join("bin/script");
    std::fs::write(&path, "#!/nosuch\n").unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    world.does("create c").fine();
    let text =
        "unable to start container process: error during container init: exec /bin/script: no such file or directory";
    assert_eq!(world.does("start c").refused(1), text);
    world.until("stopped");
    world.does("delete c").fine();
    world.is_empty();
}

#[test]
fn configurations_that_cannot_be() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 8] = [
        (|s| s["process"]["args"] = json!([]), "args must not be empty"),
        (|s| s["process"]["cwd"] = json!(""), "Cwd property must not be empty"),
        (|s| s["process"]["cwd"] = json!("x"), "Cwd must be an absolute path"),
        (|s| s["root"] = json!(null), "root must be specified"),
        (|s| s["linux"] = json!(null), "config.json has no linux section"),
        (
            |s| s["process"]["terminal"] = json!(true),
            "cannot allocate tty if runc will detach without setting console socket",
        ),
        (
            |s| s["linux"]["intelRdt"] = json!({"closID": "x"}),
            "unable to start container process: linux.intelRdt is not supported",
        ),
        (
            |s| s["hooks"] = json!({"poststop": [{"path": "x"}]}),
            "unable to start container process: poststop hook \"x\" is not an absolute path",
        ),
    ];
    for (change, text) in cases {
        let mut world = World::new(&["true"]);
        change(&mut world.spec);
        assert_eq!(world.does("create c").refused(1), format!("dhow create failed: {text}"));
        world.is_empty();
    }
    let mut world = World::new(&["true"]);
    world.spec["process"] = json!(null);
    assert_eq!(world.does("run c").refused(1), "dhow run failed: process property must not be empty");
    let mut world = World::new(&["true"]);
    world.spec["root"]["path"] = json!("nosuch");
    assert!(world.does("create c").refused(1).starts_with("dhow create failed: invalid rootfs: "));
    let world = World::new(&["true"]);
    assert_eq!(
        world.does("create --console-socket x c").refused(1),
        "dhow create failed: cannot use console socket if runc will not detach or allocate tty"
    );
    for command in ["checkpoint c", "restore c"] {
        assert!(world.does(command).refused(1).contains("is not supported"), "{command}");
    }
    world.is_empty();
}

#[test]
fn the_log_is_told_in_the_form_that_was_asked_for() {
    let world = World::new(&["true"]);
    let log = world.dir.join("log");
    let said = world.run(&["--log", log.to_str().unwrap(), "--log-format", "json", "state", "c"]);
    assert_eq!((said.code, said.err.as_str()), (1, "container does not exist\n"));
    let line: Value = serde_json::from_str(&std::fs::read_to_string(&log).unwrap()).unwrap();
    assert_eq!((&line["level"], &line["msg"]), (&json!("error"), &json!("container does not exist")));
    let said = world.run(&["--log", log.to_str().unwrap(), "delete", "c"]);
    assert_eq!((said.code, said.err.as_str()), (1, "container does not exist\n"));
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.lines().nth(1).unwrap().ends_with("level=error msg=\"container does not exist\""), "{text}");
    let said = world.does("--log-format xml state c");
    assert_eq!((said.code, said.err.as_str()), (1, "invalid log-format: xml\n"));
}

#[test]
fn a_command_line_that_is_none() {
    let world = World::new(&["true"]);
    for (line, text) in [
        ("nosuch", "No help topic for 'nosuch'"),
        ("state", "dhow-init runtime: \"state\" requires exactly 1 argument(s)"),
        ("state --nosuch c", "flag provided but not defined: -nosuch"),
    ] {
        let said = world.does(line);
        assert_eq!((said.code, said.err.trim_end()), (1, text), "{line}");
        assert!(said.out.starts_with("Incorrect Usage."), "{line}");
    }
    let version = world.does("--version").fine();
    assert!(version.starts_with("dhow-init runtime version ") && version.ends_with("\nspec: 1.3.0\n"), "{version}");
    assert!(version.lines().nth(1).unwrap().starts_with("commit: "), "{version}");
    assert!(world.does("help").fine().contains("   create "));
    assert!(world.does("exec --help").fine().contains("--ignore-paused"));
}

#[test]
fn what_kernels_no_longer_limit_is_left_out_with_a_warning() {
    let mut world = World::new(&["true"]);
    world.spec["linux"]["resources"] = json!({"memory": {"limit": 64 << 20, "kernel": 32 << 20, "kernelTCP": 1 << 20}});
    let said = world.does("run c");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.err.ends_with("level=warning msg=\"Kernel memory settings are ignored and will be removed\"\n"),
        "{said:?}"
    );
    world.is_empty();
}

#[test]
fn scopes_that_cannot_be() {
    let mut world = World::new(&["true"]);
    for (path, why) in [
        (
            "/dhow/x",
            "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"/dhow/x\" instead",
        ),
        ("a/b.slice:dhow:x", "invalid name of a systemd unit: a/b.slice"),
        ("a.scope:dhow:x", "invalid slice name: a.scope"),
    ] {
        world.spec["linux"]["cgroupsPath"] = json!(path);
        assert_eq!(world.does("--systemd-cgroup create c").refused(1), format!("dhow create failed: {why}"));
    }
    world.spec["linux"]["cgroupsPath"] = json!("system.slice:dhow:x");
    world.spec["annotations"] = json!({"org.systemd.property.TimeoutStopSec": "soon"});
    assert_eq!(
        world.does("--systemd-cgroup create c").refused(1),
        "dhow create failed: annotation org.systemd.property.TimeoutStopSec=soon: the value is not in GVariant's text format"
    );
    world.spec["annotations"] = json!({});
    // Where systemd is what runs the machine the scope would be made: `cargo xtask vm systemd` has that.
    if !std::path::Path::new("/run/systemd/system").exists() {
        assert_eq!(
            world.does("--systemd-cgroup create c").refused(1),
            "dhow create failed: systemd not running on this host, cannot use systemd cgroups manager: let cgroups be made \
             directly (cgroupfs)"
        );
    }
    world.is_empty();
}
