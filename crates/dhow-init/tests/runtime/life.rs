use crate::world::*;
use serde_json::{Value, json};
use std::path::Path;

#[test]
fn run_gives_the_commands_exit_code() {
    for (script, code) in [("exit 0", 0), ("exit 42", 42), ("kill -9 $$; exit 5", 5)] {
        let world = World::sh(script);
        assert_eq!(world.does("run c").code, code, "{script}");
        world.is_empty();
    }
    let mut world = World::sh("echo $$; hostname; kill -TERM $$; echo no");
    world.spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "pid");
    let said = world.does("run c");
    assert_eq!((said.code, said.out.lines().count()), (128 + 15, 2));
    world.is_empty();
}

#[test]
fn from_create_to_delete() {
    let mut world = World::sleeper();
    world.spec["annotations"] = json!({"a": "1"});
    assert_eq!(world.does("create c --pid-file ../pid").fine(), "");
    let state = world.state();
    let pid = state["pid"].as_i64().unwrap();
    assert_eq!(std::fs::read_to_string(world.dir.join("pid")).unwrap(), pid.to_string());
    let bundle = world.dir.join("bundle").to_str().unwrap().to_owned();
    let created = state["created"].as_str().unwrap();
    assert!(created.starts_with("20") && created.ends_with('Z'));
    assert_eq!(
        state,
        json!({"ociVersion": "1.2.0", "id": "c", "pid": pid, "status": "created", "bundle": bundle,
            "rootfs": format!("{bundle}/rootfs"), "created": created, "annotations": {"a": "1"}, "owner": ""})
    );
    assert_eq!(std::fs::read_link(format!("/proc/{pid}/root")).unwrap().to_str(), Some("/"));
    // Asking does not start it, however often.
    (0..20).for_each(|_| assert_eq!(world.state()["status"], "created"));

    assert_eq!(world.does("start c").fine(), "");
    assert_eq!(world.state()["status"], "running");
    assert_eq!(world.state()["pid"], pid);
    assert_eq!(world.does("kill c").fine(), "");
    world.until("stopped");
    assert_eq!(world.state()["pid"], 0);
    assert_eq!(world.does("delete c").fine(), "");
    world.is_empty();
}

#[test]
fn a_container_outlives_run_detach() {
    let world = World::sleeper();
    assert_eq!(world.does("run -d --pid-file ../pid c").fine(), "");
    assert_eq!(world.state()["status"], "running");
    assert_eq!(world.does("delete -f c").fine(), "");
    world.is_empty();
}

#[test]
fn keep_leaves_the_state() {
    let world = World::sh("exit 4");
    assert_eq!(world.does("run --keep c").code, 4);
    assert_eq!(world.state()["status"], "stopped");
    world.does("delete c").fine();
    world.is_empty();
}

#[test]
fn a_created_container_can_be_killed_and_deleted() {
    let world = World::sleeper();
    for end in ["kill c TERM", "kill c 9", "kill --all c KILL"] {
        world.does("create c").fine();
        assert_eq!(world.does(end).fine(), "", "{end}");
        world.until("stopped");
        world.does("delete c").fine();
    }
    world.does("create c").fine();
    world.does("delete c").fine();
    world.is_empty();
}

#[test]
fn exec_in_every_way() {
    let world = World::sleeper();
    world.does("run -d c").fine();
    assert_eq!(world.run(&["exec", "c", "/bin/sh", "-c", "echo $A; exit 9"]).code, 9);
    let line =
        ["exec", "-e", "A=1", "--cwd", "/etc", "-u", "7:8", "-g", "9", "c", "sh", "-c", "echo $A; pwd; id -u; id -G"];
    assert_eq!(world.run(&line).fine(), "1\n/etc\n7\n8 9\n");
    // The kernel's own bounding set may be smaller; this one is in every.
    let caps = world.run(&["exec", "--cap", "CAP_NET_RAW", "c", "grep", "CapEff", "/proc/self/status"]).fine();
    assert_eq!(caps, "CapEff:\t00000000000020e1\n");
    assert_eq!(world.run(&["exec", "c", "readlink", "/proc/self/cwd"]).fine(), "/\n");

    std::fs::write(
        world.dir.join("process.json"),
        json!({"args": ["id", "-u"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 5, "gid": 5}}).to_string(),
    )
    .unwrap();
    assert_eq!(world.does("exec --process ../process.json c").fine(), "5\n");

    world.does("exec -d --pid-file ../exec.pid c sleep 100").fine();
    let pid: i64 = std::fs::read_to_string(world.dir.join("exec.pid")).unwrap().parse().unwrap();
    assert!(alive(pid));
    let pids: Vec<i64> = serde_json::from_str(&world.does("ps --format json c").fine()).unwrap();
    assert!(pids.contains(&pid) && pids.contains(&world.state()["pid"].as_i64().unwrap()));
    world.does("delete -f c").fine();
    assert!(!alive(pid));
    world.is_empty();
}

#[test]
fn exec_in_a_cgroup_below() {
    let world = World::sleeper();
    world.does("run -d c").fine();
    let v1 = Path::new("/sys/fs/cgroup/devices").exists();
    std::fs::create_dir(world.cgroup().join("sub")).unwrap();
    let line = |cgroup: &str| world.run(&["exec", "--cgroup", cgroup, "c", "grep", ":", "/proc/self/cgroup"]);
    let named = if v1 { "devices:sub" } else { "sub" };
    assert!(line(named).fine().contains(&format!("/{}/sub\n", world.name)));
    assert!(!line("/").fine().contains("/sub\n"));
    let failed =
        format!("exec failed: error adding pid to /{}/nosuch/cgroup.procs: no such file or directory", world.name);
    assert_eq!(line("nosuch").refused(255), failed);
    assert_eq!(line("..").refused(255), "exec failed: .. is not a sub cgroup path");
    assert_eq!(line("nosuch:sub").refused(255), "exec failed: unknown controller nosuch in SubCgroupPaths");
    // Of all controllers alike.
    if v1 {
        assert!(line("devices:nosuch").refused(255).ends_with("/nosuch/cgroup.procs: no such file or directory"));
        for controller in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            let own = controller.path().join(&world.name);
            if own.exists() {
                std::fs::create_dir_all(own.join("sub")).unwrap();
                // Nobody can be in one that has none of them.
                for file in ["cpuset.cpus", "cpuset.mems"].into_iter().filter(|file| own.join(file).exists()) {
                    let value = std::fs::read(own.join(file)).unwrap();
                    std::fs::write(own.join("sub").join(file), value).unwrap();
                }
            }
        }
        let shown = line("sub").fine();
        assert!(shown.matches(&format!("/{}/sub\n", world.name)).count() > 1, "{shown}");
    }
    world.does("delete -f c").fine();
    world.is_empty();
}

#[test]
fn exec_into_a_created_container() {
    let world = World::sleeper();
    world.does("create c").fine();
    assert_eq!(world.run(&["exec", "c", "cat", "/proc/sys/kernel/hostname"]).fine(), "box\n");
    assert_eq!(world.state()["status"], "created");
}

#[test]
fn pause_stops_and_resume_lets_go_on() {
    let world = World::sleeper();
    world.does("run -d c").fine();
    world.does("pause c").fine();
    assert_eq!(world.state()["status"], "paused");
    assert_eq!(
        world.does("exec c true").refused(255),
        "exec failed: cannot exec in a paused container (use --ignore-paused to override)"
    );
    world.does("resume c").fine();
    assert_eq!(world.state()["status"], "running");
    assert_eq!(world.does("resume c").refused(1), "container not paused");
    world.does("exec c true").fine();
    // What is frozen ends too.
    world.does("pause c").fine();
    world.does("kill c KILL").fine();
    world.until("stopped");
    assert_eq!(world.does("pause c").refused(1), "container not running");
    world.does("delete c").fine();
    world.is_empty();
}

#[test]
fn list_shows_every_container() {
    let world = World::sleeper();
    assert_eq!(world.does("list").code, 1, "a --root that is not there");
    world.does("run -d c").fine();
    assert_eq!(world.does("list -q").fine(), "c\n");
    let table = world.does("list").fine();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    assert_eq!((rows[1][0], rows[1][2], rows[1][5], rows.len()), ("c", "running", "root", 2));
    let json: Value = serde_json::from_str(&world.does("list --format json").fine()).unwrap();
    assert_eq!(
        (&json[0]["id"], &json[0]["status"], &json[0]["owner"]),
        (&json!("c"), &json!("running"), &json!("root"))
    );
    world.does("delete --force c").fine();
    assert_eq!(world.does("list -f json").fine(), "null\n");
}

#[test]
fn ps_shows_the_containers_processes() {
    let world = World::sleeper();
    world.does("run -d c").fine();
    let shown = world.does("ps c").fine();
    assert!(shown.lines().next().unwrap().split_whitespace().any(|title| title == "PID"), "{shown}");
    assert!(shown.contains("trap 'exit 3' TERM"), "{shown}");
    let pid = world.state()["pid"].to_string();
    assert_eq!(world.does("ps c -o pid,comm").fine().lines().filter(|l| l.trim_start().starts_with(&pid)).count(), 1);
}

fn limit(world: &World, v1: &str, v2: &str) -> String {
    let path = match std::path::Path::new("/sys/fs/cgroup/memory").exists() {
        true => format!("/sys/fs/cgroup/{}", v1.replace("NAME", &world.name)),
        false => format!("/sys/fs/cgroup/{}/{v2}", world.name),
    };
    std::fs::read_to_string(path).unwrap().trim().into()
}

#[test]
fn update_changes_limits() {
    let mut world = World::sleeper();
    world.spec["linux"]["resources"] = json!({"memory": {"limit": 64 << 20}, "pids": {"limit": 100}});
    world.does("run -d c").fine();
    let memory = |world: &World| limit(world, "memory/NAME/memory.limit_in_bytes", "memory.max");
    let pids = |world: &World| limit(world, "pids/NAME/pids.max", "pids.max");
    assert_eq!((memory(&world), pids(&world)), ((64 << 20).to_string(), "100".into()));
    world.does("update --memory 128m --pids-limit 50 c").fine();
    assert_eq!((memory(&world), pids(&world)), ((128 << 20).to_string(), "50".into()));

    let (mut command, _) = world.command(&["update", "--resources", "-", "c"]);
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    use std::io::Write;
    child.stdin.take().unwrap().write_all(br#"{"memory": {"limit": 33554432}, "cpu": {"shares": 100}}"#).unwrap();
    assert_eq!(wait(&mut child), 0);
    assert_eq!((memory(&world), pids(&world)), ((32 << 20).to_string(), "50".into()));
    assert_eq!(world.does("update --memory x c").refused(1), "invalid value for memory: \"x\"");
    assert_eq!(
        world.does("update --l3-cache-schema x c").refused(1),
        "--l3-cache-schema is not supported: Intel RDT is not enabled"
    );
}

#[test]
fn update_shortens_realtime_and_its_period_at_once() {
    let mut world = World::sleeper();
    // Where there is such a thing, and nobody else has all of it.
    let probe = Path::new("/sys/fs/cgroup/cpu").join(format!("{}-probe", world.name));
    let there = probe.with_file_name("cpu.rt_period_us").exists() && std::fs::create_dir(&probe).is_ok();
    let free = there && std::fs::write(probe.join("cpu.rt_runtime_us"), "50000").is_ok();
    let _ = std::fs::remove_dir(&probe);
    if !free {
        eprintln!("SKIPPED, needs cgroup v1 with real-time scheduling of groups, and some time to give");
        return;
    }
    world.spec["linux"]["resources"] = json!({"cpu": {"realtimePeriod": 1_000_000, "realtimeRuntime": 50_000}});
    world.does("run -d c").fine();
    world.does("update --cpu-rt-period 10000 --cpu-rt-runtime 300 c").fine();
    let of =
        |file: &str| std::fs::read_to_string(Path::new("/sys/fs/cgroup/cpu").join(&world.name).join(file)).unwrap();
    assert_eq!((of("cpu.rt_period_us").as_str(), of("cpu.rt_runtime_us").as_str()), ("10000\n", "300\n"));
}

#[test]
fn events_tell_of_usage() {
    let world = World::sleeper();
    world.does("run -d c").fine();
    let event: Value = serde_json::from_str(&world.does("events --stats c").fine()).unwrap();
    assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!("c")));
    assert!(event["data"]["pids"]["current"].as_u64().unwrap() >= 1, "{event}");
    assert!(event["data"]["memory"]["usage"]["usage"].as_u64().unwrap() > 0, "{event}");
    // They end with the container.
    let (mut command, out) = world.command(&["events", "--interval", "20ms", "c"]);
    let mut child = command.spawn().unwrap();
    until(|| std::fs::read_to_string(&out).unwrap().lines().count() >= 2);
    world.does("kill c KILL").fine();
    assert_eq!(wait(&mut child), 0);
    assert_eq!(world.does("events c").refused(1), "container with id c is not running");
    assert_eq!(world.does("events --interval 0s c").refused(1), "duration interval must be greater than 0");
}

#[test]
fn spec_writes_what_run_can_run() {
    let world = World::new(&["true"]);
    let bundle = world.dir.join("other");
    std::fs::create_dir(&bundle).unwrap();
    world.does("spec --bundle ../other").fine();
    let path = bundle.join("config.json");
    let mut spec: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!((&spec["process"]["args"], &spec["process"]["terminal"]), (&json!(["sh"]), &json!(true)));
    spec["process"]["terminal"] = json!(false);
    spec["process"]["args"] = json!(["/bin/echo", "hello"]);
    spec["linux"]["cgroupsPath"] = json!(format!("/{}", world.name));
    std::fs::rename(world.rootfs(), bundle.join("rootfs")).unwrap();
    std::fs::write(&path, spec.to_string()).unwrap();
    assert_eq!(world.does("run --bundle ../other c").fine(), "hello\n");
    assert_eq!(world.does("spec -b ../other").refused(1), "File ../other/config.json exists. Remove it first");
    world.is_empty();
}

#[test]
fn features_name_what_there_is() {
    let world = World::new(&["true"]);
    let features: Value = serde_json::from_str(&world.does("features").fine()).unwrap();
    assert_eq!((&features["ociVersionMin"], &features["ociVersionMax"]), (&json!("1.0.0"), &json!("1.3.0")));
    let options = features["mountOptions"].as_array().unwrap();
    for option in ["bind", "rro", "idmap", "ridmap", "rslave", "tmpcopyup", "nosymfollow"] {
        assert!(options.contains(&json!(option)), "{option}");
    }
    assert_eq!(features["hooks"].as_array().unwrap().len(), 6);
    assert!(features["linux"]["capabilities"].as_array().unwrap().contains(&json!("CAP_SYS_ADMIN")));
    assert_eq!(features["linux"]["seccomp"]["enabled"], true);
}

#[test]
fn the_program_cannot_be_written_to_from_inside() {
    let world = World::sleeper();
    world.does("create c").fine();
    let pid = world.state()["pid"].as_i64().unwrap();
    let refused = std::fs::OpenOptions::new().write(true).open(format!("/proc/{pid}/exe")).unwrap_err();
    // Read-only, or busy as the copy in memory that a kernel without such mounts makes it.
    assert!(matches!(refused.raw_os_error(), Some(30 | 26 | 1)), "{refused}");
}

#[test]
fn a_link_of_its_name_is_the_runtime_alone() {
    for (name, who) in [("dhow-runtime", "dhow"), ("runc", "runc")] {
        let world = World::new(&["true"]);
        let link = world.dir.join(name);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_dhow-init"), &link).unwrap();
        let by_link = |line: &[&str]| {
            let (command, out) = world.command(line);
            let mut by_link = std::process::Command::new(&link);
            by_link.args(command.get_args().skip(1)).current_dir(world.dir.join("bundle"));
            let file = |path: &Path| std::fs::File::create(path).unwrap();
            by_link.stdout(file(&out)).stderr(file(&out.with_extension("err")));
            let code = wait(&mut by_link.spawn().unwrap());
            let read = |path: &Path| std::fs::read_to_string(path).unwrap();
            Said { code, out: read(&out), err: read(&out.with_extension("err")) }
        };
        by_link(&["run", "c"]).fine();
        world.is_empty();
        // And it calls itself so.
        assert!(by_link(&["run", "--bundle", "/nosuch", "c"]).refused(1).starts_with(&format!("{who} run failed: ")));
        assert!(by_link(&["--version"]).fine().starts_with(&format!("{name} version ")));
        assert!(by_link(&["delete", "-h"]).fine().starts_with(&format!("NAME:\n   {name} delete - ")));
    }
}

#[test]
fn without_a_mount_namespace_everything_is_mounted_at_its_place_and_taken_away_again() {
    let mut world = World::sleeper();
    world.spec["linux"]["namespaces"] = json!([{"type": "pid"}]);
    world.spec.as_object_mut().unwrap().remove("hostname");
    let ours = world.rootfs().display().to_string();
    let mounts = || {
        let all = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        all.lines().filter_map(|line| line.split(' ').nth(4)).filter(|at| at.starts_with(ours.as_str())).count()
    };
    world.does("create c").fine();
    world.does("start c").fine();
    assert_eq!(mounts(), 4);
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/mnt")).unwrap();
    assert_eq!(namespace(&world.state()["pid"].to_string()), namespace("self"));
    // Its root is its own, and that of what joins it.
    assert_eq!(world.run(&["exec", "c", "ls", "/"]).fine(), "bin\ndev\netc\nproc\nsys\ntmp\n");
    assert_eq!(world.run(&["exec", "c", "readlink", "/proc/1/root"]).fine(), "/\n");
    world.does("delete --force c").fine();
    assert_eq!(mounts(), 0);
    world.is_empty();
    world.spec["process"]["args"] = json!(["/no/such"]);
    world.does("run c").refused(1);
    assert_eq!(mounts(), 0);
    world.is_empty();
    world.spec["root"]["path"] = json!("/");
    let why = world.does("run c").refused(1);
    assert!(why.ends_with("without a mount namespace the root file system must be a directory of its own"), "{why}");
}

#[test]
fn a_container_without_a_process_is_made_and_ends_when_it_starts() {
    let mut world = World::new(&[]);
    world.spec.as_object_mut().unwrap().remove("process");
    world.does("create c").fine();
    assert_eq!(world.state()["status"], "created");
    world.does("start c").fine();
    world.until("stopped");
    assert_eq!(world.run(&["exec", "c", "true"]).refused(255), "exec failed: cannot exec in a stopped container");
    world.does("delete c").fine();
    world.is_empty();
}

#[test]
fn killed_and_deleted_in_one_breath() {
    for _ in 0..10 {
        let world = World::sleeper();
        world.does("run -d c").fine();
        world.does("kill c KILL").fine();
        world.does("delete c").fine();
        world.is_empty();
    }
}

#[test]
fn killing_reaches_those_who_outlive_the_first_process() {
    let mut world = World::sleeper();
    world.spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "pid");
    world.does("run -d c").fine();
    world.does("exec -d c sleep 1000").fine();
    let first = world.state()["pid"].as_i64().unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(first as i32).unwrap(), rustix::process::Signal::KILL)
        .unwrap();
    world.until("stopped");
    let left = || std::fs::read_to_string(world.cgroup().join("cgroup.procs")).unwrap();
    until(|| left().lines().count() == 1);
    world.does("kill c KILL").fine();
    until(|| left().is_empty());
    assert_eq!(world.does("kill c KILL").refused(1), "container not running");
    world.does("delete c").fine();
    world.is_empty();
}
