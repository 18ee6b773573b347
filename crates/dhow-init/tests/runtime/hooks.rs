use crate::world::*;
use serde_json::{Value, json};

/// A hook that writes what it reads, and where it is, to `<dir>/<name>`.
fn recorder(world: &World, name: &str) -> Value {
    let file = world.dir.join(name).to_str().unwrap().to_owned();
    let script = format!(
        "cat > {file}; readlink /proc/self/ns/mnt > {file}.ns; echo x$A >> {file}.env; echo {name} >> {0}/order",
        world.dir.to_str().unwrap()
    );
    json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["A=1", "PATH=/bin:/usr/bin"]})
}

fn told(world: &World, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(world.dir.join(name)).expect(name)).unwrap()
}

fn read(world: &World, name: &str) -> String {
    std::fs::read_to_string(world.dir.join(name)).unwrap_or_default()
}

#[test]
fn each_runs_at_its_moment() {
    let mut world = World::sleeper();
    let names = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];
    let mut hooks: serde_json::Map<String, Value> =
        names.iter().map(|name| (name.to_string(), json!([recorder(&world, name)]))).collect();
    // In the container, of the container.
    let inside =
        json!({"path": "/bin/sh", "args": ["sh", "-c", "cat > /tmp/told; id -u > /tmp/uid"], "env": ["PATH=/bin"]});
    hooks.insert("startContainer".into(), json!([inside]));
    world.spec["hooks"] = Value::Object(hooks);
    world.spec["annotations"] = json!({"a": "b"});
    std::fs::create_dir_all(world.rootfs().join("tmp")).unwrap();

    world.does("create c").fine();
    let pid = world.state()["pid"].as_i64().unwrap();
    let bundle = world.dir.join("bundle");
    let state = |status: &str, pid: Option<i64>| {
        let mut state =
            json!({"ociVersion": "1.2.0", "id": "c", "status": status, "bundle": bundle, "annotations": {"a": "b"}});
        if let Some(pid) = pid {
            state["pid"] = json!(pid);
        }
        state
    };
    assert_eq!(told(&world, "prestart"), state("created", Some(pid)));
    assert_eq!(told(&world, "createRuntime"), state("creating", Some(pid)));
    // Its own number in its own pid namespace.
    assert_eq!(told(&world, "createContainer"), state("creating", Some(1)));
    assert_eq!(read(&world, "order"), "prestart\ncreateRuntime\ncreateContainer\n");
    assert_eq!(read(&world, "prestart.env"), "x1\n");
    let host = std::fs::read_link("/proc/self/ns/mnt").unwrap().to_str().unwrap().to_owned() + "\n";
    let own = std::fs::read_link(format!("/proc/{pid}/ns/mnt")).unwrap().to_str().unwrap().to_owned() + "\n";
    assert_eq!((read(&world, "prestart.ns"), read(&world, "createRuntime.ns")), (host.clone(), host.clone()));
    assert_eq!(read(&world, "createContainer.ns"), own);
    assert!(!world.rootfs().join("tmp/told").exists());

    world.does("start c").fine();
    assert_eq!(told(&world, "poststart"), state("running", Some(pid)));
    let inside: Value = serde_json::from_slice(&std::fs::read(world.rootfs().join("tmp/told")).unwrap()).unwrap();
    assert_eq!(inside, state("created", Some(1)));
    assert_eq!(std::fs::read_to_string(world.rootfs().join("tmp/uid")).unwrap(), "0\n");
    assert_eq!(read(&world, "poststop"), "");
    world.does("delete -f c").fine();
    assert_eq!(told(&world, "poststop"), state("stopped", None));
    assert_eq!((read(&world, "poststart.ns"), read(&world, "poststop.ns")), (host.clone(), host));
    world.is_empty();
}

#[test]
fn the_root_is_where_hooks_look_for_it() {
    // As those do that bring a device's libraries into a container: into its mount namespace, by the path of the bundle.
    let mut world = World::new(&["cat", "/etc/brought", "/etc/pwd"]);
    let root = world.rootfs().to_str().unwrap().to_owned();
    let script = format!("mount -t tmpfs none {root}/etc && echo yes > {root}/etc/brought && pwd > ./etc/pwd");
    world.spec["hooks"] = json!({"createContainer": [{"path": "/bin/sh", "args": ["sh", "-c", script],
        "env": ["PATH=/bin:/usr/bin:/sbin:/usr/sbin"]}]});
    assert_eq!(world.does("run c").fine(), format!("yes\n{root}\n"));
    assert!(!world.rootfs().join("etc/brought").exists());
    world.is_empty();
}

#[test]
fn one_that_fails_stops_the_container() {
    let failing = json!([{"path": "/bin/sh", "args": ["sh", "-c", "echo why; exit 3"], "env": ["PATH=/bin"]}]);
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let mut world = World::sleeper();
        world.spec["hooks"] = json!({kind: failing, "poststop": [recorder(&world, "poststop")]});
        let text = world.does("create c").refused(1);
        assert!(text.ends_with(&format!("error running {kind} hook #0: exit status 3, output: why")), "{text}");
        assert_eq!(told(&world, "poststop")["status"], "stopped");
        world.is_empty();
    }
    for kind in ["startContainer", "poststart"] {
        let mut world = World::sleeper();
        world.spec["hooks"] = json!({kind: failing});
        world.does("create c").fine();
        let text = world.does("start c").refused(1);
        assert!(text.contains(&format!("error running {kind} hook #0: exit status 3")), "{text}");
        world.until("stopped");
        world.does("delete c").fine();
        assert!(world.does("run c").refused(1).contains(kind));
        world.is_empty();
    }
}

#[test]
fn poststart_hooks_run_whatever_became_of_the_command() {
    let mut world = World::new(&["/bin/sh"]);
    let failing = json!([{"path": "/bin/false"}]);
    world.spec["hooks"] = json!({"startContainer": failing, "poststart": [recorder(&world, "poststart")]});
    world.does("create c").fine();
    let text = world.does("start c").refused(1);
    assert!(text.contains("error running startContainer hook #0: exit status 1"), "{text}");
    assert_eq!(
        (&told(&world, "poststart")["status"], read(&world, "order")),
        (&json!("stopped"), "poststart\n".into())
    );
    world.does("delete c").fine();
    world.is_empty();
}

#[test]
fn poststop_failing_is_told_by_who_deletes_and_leaves_nothing() {
    let mut world = World::new(&["true"]);
    let hooks = json!([recorder(&world, "first"), {"path": "/bin/false"}, recorder(&world, "third")]);
    world.spec["hooks"] = json!({"poststop": hooks});
    for line in ["delete c", "delete --force c"] {
        world.does("create c").fine();
        let text = world.does(line).refused(1);
        assert!(text.starts_with("error running poststop hook #1: exit status 1"), "{text}");
        world.is_empty();
    }
    // What ran has the exit code of what ran.
    let said = world.does("run c");
    assert_eq!(said.code, 0);
    assert!(said.err.contains("level=warning msg=\"error running poststop hook #1: exit status 1"), "{}", said.err);
    assert_eq!(read(&world, "order"), "first\n".repeat(3));
    world.is_empty();
}

#[test]
fn one_that_a_filter_ends() {
    let mut world = World::new(&["true"]);
    std::os::unix::fs::symlink("busybox", world.rootfs().join("bin/mkdir")).unwrap();
    world.spec["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL"}]});
    world.spec["process"]["rlimits"] = json!([{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]);
    world.spec["hooks"] = json!({"startContainer": [{"path": "/bin/mkdir", "args": ["mkdir", "/tmp/x"]}]});
    let text = world.does("run c").refused(1);
    assert!(text.contains("error running startContainer hook #0: signal: bad system call, output: "), "{text}");
    world.is_empty();
}

#[test]
fn one_that_takes_too_long_is_killed() {
    let mut world = World::sleeper();
    world.spec["hooks"] = json!({"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}]});
    let text = world.does("create c").refused(1);
    assert!(text.ends_with("error running createRuntime hook #0: hook ran past specified timeout of 1.0s"), "{text}");
    world.spec["hooks"] = json!({"createRuntime": [{"path": "/nosuch"}]});
    let text = world.does("create c").refused(1);
    assert!(
        text.ends_with("error running createRuntime hook #0: fork/exec /nosuch: no such file or directory"),
        "{text}"
    );
    world.is_empty();
}

#[test]
fn a_hook_has_no_descriptors_of_the_runtime() {
    let mut world = World::sleeper();
    let hook = |name: &str| {
        let file = world.dir.join(name).to_str().unwrap().to_owned();
        json!({"path": "/bin/sh", "args": ["sh", "-c", format!("ls /proc/self/fd > {file}")], "env": ["PATH=/bin:/usr/bin"]})
    };
    let names = ["prestart", "createContainer", "poststart"];
    world.spec["hooks"] = names.iter().map(|name| (name.to_string(), json!([hook(name)]))).collect();
    world.does("run -d c").fine();
    for name in names {
        // 3 is of ls itself.
        assert_eq!(read(&world, name), "0\n1\n2\n3\n", "{name}");
    }
}

#[test]
fn start_container_hooks_have_no_more_rights_than_the_command() {
    let mut world = World::sleeper();
    world.spec["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    world.spec["process"]["capabilities"] = json!({});
    world.spec["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]});
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(world.rootfs().join("tmp"), std::fs::Permissions::from_mode(0o777)).unwrap();
    let script = "id -u > /tmp/out; grep -E 'CapEff|Seccomp:' /proc/self/status >> /tmp/out";
    world.spec["hooks"] =
        json!({"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]}]});
    world.does("run -d c").fine();
    let out = std::fs::read_to_string(world.rootfs().join("tmp/out")).unwrap();
    assert_eq!(out, "1000\nCapEff:\t0000000000000000\nSeccomp:\t2\n");
}

#[test]
fn without_an_environment_a_hook_has_that_of_where_it_runs() {
    let mut world = World::new(&["true"]);
    world.spec["process"]["env"] = json!(["PATH=/bin", "ONE=command"]);
    let outside = world.dir.join("outside");
    let script = format!("echo $ONE > {}", outside.display());
    world.spec["hooks"] = json!({
        "createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}],
        "startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "echo $ONE $HOME > /tmp/inside"]}],
    });
    let (mut command, _) = world.command(&["run", "c"]);
    assert_eq!(wait(&mut command.env("ONE", "runtime").spawn().unwrap()), 0);
    assert_eq!(read(&world, "outside"), "runtime\n");
    assert_eq!(std::fs::read_to_string(world.rootfs().join("tmp/inside")).unwrap(), "command /\n");
}
