//! Containers under other OCI runtimes, runc and crun as Debian has them.

use std::process::{Command, Stdio};
use tests::{Engine, Said, need_root, wait_for};

/// Where a program is; says so loudly when it is missing, and fails where CI forbids skipping.
pub fn installed(name: &str) -> Option<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file());
    if found.is_none() {
        assert!(std::env::var_os("DHOW_TEST_NO_SKIP").is_none(), "this test needs {name}");
        eprintln!("SKIPPED, needs {name}");
    }
    found.map(|path| path.display().to_string())
}

/// A daemon whose default runtime is `name`, so that nothing but the setting says so.
fn engine(name: &str, path: &str) -> Engine {
    // crun refuses the hybrid of both versions of control groups.
    let flags = [format!("--add-runtime={name}={path}"), format!("--default-runtime={name}")];
    let engine = Engine::apart(&flags.each_ref().map(String::as_str));
    engine.import_busybox();
    engine
}

fn terminal(e: &Engine, words: &str) -> Said {
    let line = format!("stty rows 40 cols 100; {} -H {} {words}", tests::dhow_bin().display(), e.host());
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("script");
    // The end of the input would be typed, and echoed.
    let _open = child.stdin.take();
    child.wait_with_output().expect("script").into()
}

/// What a container does, in one life.
fn life(e: &mut Engine, runtime: &str) {
    let info: serde_json::Value = serde_json::from_str(&e.dhow(["info", "--format", "json"]).ok()).unwrap();
    assert_eq!(info["DefaultRuntime"], runtime);
    let cat = e.dhow_command(["run", "--rm", "-i", "busybox", "sh", "-c", "cat; echo err >&2; exit 3"]);
    let said = with_input(cat, "in");
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (3, "in", "err\n"));

    let script = "trap 'echo bye; exit 5' TERM; n=0; while :; do n=$((n+1)); echo $n; usleep 10000; done";
    let id =
        e.dhow(["run", "-d", "--name", "long", "-m", "64m", "--pids-limit", "50", "busybox", "sh", "-c", script]).ok();
    let state = e.inspect("long");
    assert_eq!((&state["HostConfig"]["Runtime"], &state["State"]["Status"]), (&runtime.into(), &"running".into()));
    let limit = |v1: &str, v2: &str| {
        let path = [format!("/sys/fs/cgroup/{v1}"), format!("/sys/fs/cgroup/dhow/{id}/{v2}")]
            .map(|p| p.replace("ID", &format!("dhow/{id}")))
            .into_iter()
            .find(|p| std::path::Path::new(p).exists())
            .unwrap_or_else(|| panic!("no {v1} nor {v2}"));
        std::fs::read_to_string(path).unwrap().trim().to_owned()
    };
    let limits = || {
        let pids = limit("pids/ID/pids.max", "pids.max");
        (limit("memory/ID/memory.limit_in_bytes", "memory.max"), pids)
    };
    assert_eq!(limits(), ((64 << 20).to_string(), "50".into()));
    e.dhow(["update", "-m", "50m", "--memory-swap", "100m", "--pids-limit", "40", "long"]).ok();
    assert_eq!(limits(), ((50 << 20).to_string(), "40".into()));

    assert_eq!(
        e.dhow(["exec", "-u", "1000", "-w", "/tmp", "-e", "X=y", "long", "sh", "-c", "id -u; pwd; echo $X"]).ok(),
        "1000\n/tmp\ny"
    );
    assert_eq!(e.dhow(["exec", "long", "sh", "-c", "exit 7"]).code, 7);
    assert_eq!(e.dhow(["exec", "long", "nosuch"]).code, 127);
    assert_eq!(with_input(e.dhow_command(["exec", "-i", "long", "cat"]), "through").out, "through");
    // Neither of them gives an added process its terminal's size: that comes from the engine, a moment later.
    let words = "exec -it long sh -c 'tty; while s=$(stty size 2>&1); [ \"$s\" != \"40 100\" ]; do usleep 1000; done; echo $s; exit 4'";
    let said = terminal(e, words);
    assert_eq!((said.code, said.out.replace('\r', "").as_str()), (4, "/dev/pts/0\n40 100\n"), "{said:?}");
    let said = terminal(e, "run --rm -it busybox sh -c 'tty; stty size'");
    assert_eq!(said.out.replace('\r', ""), "/dev/pts/0\n40 100\n", "{said:?}");

    e.dhow(["pause", "long"]).ok();
    assert_eq!(e.dhow(["ps", "--format", "{{.State}}"]).ok(), "paused");
    e.dhow(["unpause", "long"]).ok();
    let top = e.dhow(["top", "long"]).ok();
    assert!(top.contains("usleep") || top.contains("while"), "{top}");

    // The daemon dies; the container, its output and an exec go on.
    e.kill9();
    e.run();
    assert_eq!(e.inspect("long")["State"]["Pid"], state["State"]["Pid"]);
    assert_eq!(e.dhow(["exec", "long", "echo", "still"]).ok(), "still");
    e.dhow(["stop", "long"]).ok();
    let state = &e.inspect("long")["State"];
    assert_eq!((&state["Status"], &state["ExitCode"]), (&"exited".into(), &5.into()));
    let lines = e.dhow(["logs", "long"]).ok();
    let (counted, bye) = lines.rsplit_once('\n').unwrap();
    assert_eq!(bye, "bye");
    assert!(counted.lines().enumerate().all(|(at, line)| line == (at + 1).to_string()), "a line is lost or doubled");
    e.dhow(["start", "long"]).ok();
    e.dhow(["kill", "-s", "KILL", "long"]).ok();
    assert_eq!(e.dhow(["wait", "long"]).ok(), "137");
    e.dhow(["rm", "long"]).ok();
    assert_eq!(tests::cgroups_of(&id), [] as [String; 0]);
}

/// What a client says that reads `text`.
pub fn with_input(mut command: Command, text: &str) -> Said {
    use std::io::Write;
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("client");
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("input");
    child.wait_with_output().expect("client").into()
}

/// What goes wrong, and the rarer options.
fn corners(e: &Engine) {
    let eat = "x=$(head -c 1000000 /dev/zero | tr '\\0' x); while :; do x=$x$x; done";
    assert_eq!(e.dhow(["run", "--name", "oo", "-m", "20m", "busybox", "sh", "-c", eat]).code, 137);
    assert_eq!(e.inspect("oo")["State"]["OOMKilled"], true);
    let said = e.dhow(["run", "--rm", "busybox", "nosuch"]);
    assert!(said.err.contains("OCI runtime create failed") && said.err.contains("not found in $PATH"), "{said:?}");
    let init = e.dhow(["run", "--rm", "--init", "busybox", "ps"]).ok();
    assert!(
        init.lines().nth(1).is_some_and(|l| l.contains("1 root") && l.ends_with("docker-init init -- ps")),
        "{init}"
    );
    let capabilities = |path: &str| {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().find(|l| l.starts_with("CapEff")).unwrap().to_owned()
    };
    let privileged = e.dhow(["run", "--rm", "--privileged", "busybox", "grep", "CapEff", "/proc/self/status"]).ok();
    assert_eq!(privileged, capabilities("/proc/self/status"), "what the engine has, and not more");
    let words = ["--network", "none", "--read-only", "--ulimit", "nofile=100", "--shm-size", "1m", "--tmpfs", "/t"];
    let script = "ulimit -n; df -k /dev/shm | awk 'END{print $2}'; touch /t/x && echo t; touch /x || echo ro";
    let run = [&["run", "--rm"], &words[..], &["busybox", "sh", "-c", script]].concat();
    assert_eq!(e.dhow(run).ok(), "100\n1024\nt\nro");
    e.dhow([
        "run",
        "-d",
        "--name",
        "hh",
        "--health-cmd",
        "true",
        "--health-interval",
        "100ms",
        "busybox",
        "sleep",
        "1d",
    ])
    .ok();
    wait_for("the health check", || (e.inspect("hh")["State"]["Health"]["Status"] == "healthy").then_some(()));
    // Its supervisor dies: nothing of the container is left, and it can be started again.
    let id = e.inspect("hh")["Id"].as_str().unwrap().to_owned();
    let record = std::fs::read_to_string(e.dir.path().join("run/container").join(&id).join("start.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    let pid = |key: &str| rustix::process::Pid::from_raw(record[key].as_i64().unwrap() as i32).unwrap();
    rustix::process::kill_process(pid("supervisor"), rustix::process::Signal::KILL).unwrap();
    wait_for("the state", || (e.inspect("hh")["State"]["Status"] == "exited").then_some(()));
    wait_for("the process to be gone", || rustix::process::test_kill_process(pid("pid")).is_err().then_some(()));
    assert_eq!(tests::cgroups_of(&id), [] as [String; 0]);
    e.dhow(["start", "hh"]).ok();
}

#[test]
fn runc_runs_containers() {
    need_root!();
    let Some(path) = installed("runc") else { return };
    let mut e = engine("runc", &path);
    life(&mut e, "runc");
    corners(&e);
}

#[test]
fn crun_runs_containers() {
    need_root!();
    let Some(path) = installed("crun") else { return };
    let mut e = engine("crun", &path);
    life(&mut e, "crun");
    corners(&e);
}

#[test]
fn runtimes_are_registered_as_with_dockerd() {
    need_root!();
    let Some(path) = installed("runc") else { return };
    let e = Engine::start(&[]);
    e.import_busybox();
    // Docker's own needs no registration; it is used only when it is named.
    assert_eq!(e.dhow(["run", "--runtime", "runc", "--name", "one", "busybox", "echo", "hi"]).ok(), "hi");
    assert_eq!(e.inspect("one")["HostConfig"]["Runtime"], "runc");
    e.dhow(["create", "--name", "two", "busybox"]).ok();
    assert_eq!(e.inspect("two")["HostConfig"]["Runtime"], "dhow");
    e.dhow(["run", "--rm", "--runtime", "nosuch", "busybox"]).fails(125, "unknown or invalid runtime name: nosuch");
    // With arguments of its own, from daemon.json.
    let file = e.dir.path().join("daemon.json");
    let config = serde_json::json!({
        "runtimes": {"loud": {"path": path, "runtimeArgs": ["--debug"]}, "gone": {"path": "/no/such/runtime"}},
        "default-runtime": "loud",
    });
    std::fs::write(&file, config.to_string()).unwrap();
    let e = Engine::start(&["--config-file", file.to_str().unwrap()]);
    e.import_busybox();
    assert_eq!(e.dhow(["run", "--rm", "busybox", "echo", "hi"]).ok(), "hi");
    let info: serde_json::Value = serde_json::from_str(&e.dhow(["info", "--format", "json"]).ok()).unwrap();
    assert_eq!(info["Runtimes"]["loud"], serde_json::json!({"path": path, "runtimeArgs": ["--debug"]}));
    let said = e.dhow(["run", "--rm", "--runtime", "gone", "busybox"]);
    assert!(said.code == 127 && said.err.contains("cannot run /no/such/runtime"), "{said:?}");
}

#[test]
fn what_the_engine_does_not_have_it_does_not_promise() {
    need_root!();
    let own = rustix::thread::capabilities(None).unwrap().effective;
    let e = Engine::with_busybox();
    for (bit, name) in [
        (rustix::thread::CapabilitySet::SYS_RESOURCE, "SYS_RESOURCE"),
        (rustix::thread::CapabilitySet::SYS_TIME, "SYS_TIME"),
    ] {
        let said = e.dhow(["run", "--rm", "--cap-add", name, "busybox", "true"]);
        if own.contains(bit) {
            said.ok();
        } else {
            said.fails(
                125,
                &format!("not supported by your kernel or not available in the current environment: \"CAP_{name}\""),
            );
        }
    }
}
