//! The daemon, or a supervisor, dies by SIGKILL at every named step of create, start, exec, attach, stop, rm and pull.
//! After each the next start finds nothing wrong, the container is wholly there or wholly not, and the verb works.

use std::process::{Child, Stdio};
use sys::step::{Step, VARIABLE};
use tests::{Engine, NetNs, Registry, busybox_tar, need_root, said, wait_for};

/// What a verb is done to.
const NAME: &str = "victim";
const PORT: &str = "8080:80";

fn steps(verb: &str) -> Vec<&'static str> {
    let of_verb = |name: &&str| name.split('.').next() == Some(verb);
    Step::ALL.iter().map(|s| s.name()).filter(of_verb).collect()
}

/// A client, whose answer nobody waits for.
fn client(e: &Engine, args: &[&str]) -> Child {
    let mut command = e.dhow_command(args);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("client")
}

/// Has the daemon die at `step` of what `args` ask for, and starts the next one.
fn die(e: &mut Engine, step: &str, args: &[&str]) {
    e.stop();
    e.run_with(&[(VARIABLE, step)]);
    let mut client = client(e, args);
    e.died(step);
    wait_for("the client to end", || client.try_wait().unwrap());
    e.run();
    e.clean(step);
}

fn status(e: &Engine, name: &str) -> Option<String> {
    let said = e.dhow(["inspect", "-f", "{{.State.Status}}", name]);
    (said.code == 0).then(|| said.out.trim().to_owned())
}

/// A container that runs is the very process that it was, and one that has ended says how.
fn alive(e: &Engine, step: &str) {
    assert_eq!(e.dhow(["exec", "witness", "echo", "still"]).ok(), "still", "{step}");
}

fn engine() -> Engine {
    let e = Engine::with_busybox();
    e.dhow(["run", "-d", "--name", "witness", "busybox", "sleep", "1d"]).ok();
    e
}

const CREATE: [&str; 11] =
    ["create", "--name", NAME, "-p", PORT, "--ipc", "shareable", "-v", "/etc", "busybox", "sleep"];

fn create(e: &Engine) {
    e.dhow([&CREATE[..], &["1d"]].concat()).ok();
}

#[test]
fn the_daemon_dies_while_it_creates_and_removes() {
    need_root!();
    let mut e = engine();
    for step in steps("create") {
        die(&mut e, step, &[&CREATE[..], &["1d"]].concat());
        // Whole or not at all; the name is its own, or free.
        match status(&e, NAME) {
            Some(status) => assert_eq!(status, "created", "{step}"),
            None => create(&e),
        }
        e.dhow(["start", NAME]).ok();
        assert_eq!(e.dhow(["exec", NAME, "head", "-n", "1", "/etc/group"]).ok(), "root:x:0:", "{step}");
        e.dhow(["rm", "-f", "-v", NAME]).ok();
        alive(&e, step);
    }
    for step in steps("remove") {
        create(&e);
        die(&mut e, step, &["rm", "-v", NAME]);
        if status(&e, NAME).is_some() {
            e.dhow(["rm", "-v", NAME]).ok();
        }
        create(&e);
        e.dhow(["rm", "-v", NAME]).ok();
        alive(&e, step);
        e.clean(step);
    }
}

#[test]
fn the_daemon_dies_while_it_starts() {
    need_root!();
    let mut e = engine();
    for step in steps("start") {
        create(&e);
        die(&mut e, step, &["start", NAME]);
        let status = status(&e, NAME).expect("it was there before");
        assert!(["created", "running"].contains(&status.as_str()), "{step}: {status}");
        if status == "created" {
            e.dhow(["start", NAME]).ok();
        }
        assert_eq!(e.dhow(["exec", NAME, "cat", "/proc/1/comm"]).ok(), "sleep", "{step}");
        e.dhow(["stop", "-t", "0", NAME]).ok();
        assert_eq!(e.dhow(["wait", NAME]).ok(), "137", "{step}");
        e.clean(step);
        e.dhow(["rm", "-v", NAME]).ok();
        alive(&e, step);
    }
}

#[test]
fn the_daemon_dies_while_a_container_ends() {
    need_root!();
    let mut e = engine();
    create(&e);
    for step in [steps("stop"), steps("end")].concat() {
        e.dhow(["start", NAME]).ok();
        die(&mut e, step, &["stop", "-t", "0", NAME]);
        if status(&e, NAME).as_deref() == Some("running") {
            e.dhow(["stop", "-t", "0", NAME]).ok();
        }
        assert_eq!(e.dhow(["wait", NAME]).ok(), "137", "{step}");
        alive(&e, step);
    }
    e.dhow(["rm", "-v", NAME]).ok();
    for step in [steps("exec"), steps("attach")].concat() {
        let verb = ["exec", "witness", "sleep", "1d"];
        die(&mut e, step, if step.starts_with("exec") { &verb } else { &["attach", "--sig-proxy=false", "witness"] });
        alive(&e, step);
        let sleeps =
            e.dhow(["exec", "witness", "sh", "-c", "for p in $(pidof sleep); do [ $p = 1 ] || kill -9 $p; done"]);
        assert_eq!(sleeps.code, 0, "{step}: {sleeps:?}");
    }
}

#[test]
fn the_daemon_dies_while_it_pulls() {
    need_root!();
    let mut e = engine();
    let registry = Registry::start(&e.net);
    let name = push(&e.net, &registry);
    for step in steps("pull") {
        die(&mut e, step, &["pull", &name]);
        assert_eq!(e.dhow(["pull", "-q", &name]).ok(), name, "{step}");
        assert_eq!(e.dhow(["run", "--rm", &name, "cat", "/two"]).ok(), "two", "{step}");
        e.clean(step);
        e.dhow(["rmi", &name]).ok();
        alive(&e, step);
        e.clean(step);
    }
}

/// An image with two layers.
pub fn push(net: &NetNs, registry: &Registry) -> String {
    let dir = tests::TempDir::new();
    let script = r#"
        set -e; cd "$1"; umoci init --layout l; umoci new --image l:x; umoci raw add-layer --image l:x "$2"
        echo two >two; tar --owner=0 --group=0 -cf layer.tar two; umoci raw add-layer --image l:x layer.tar
        umoci config --image l:x --config.cmd sh"#;
    said(std::process::Command::new("sh").args(["-c", script, "sh"]).arg(dir.path()).arg(busybox_tar())).ok();
    let name = format!("{}/two:1", registry.host);
    let (from, to) = (format!("oci:{}:x", dir.path().join("l").display()), format!("docker://{name}"));
    said(net.command("skopeo").args(["copy", "-q", "--insecure-policy", "--dest-tls-verify=false", &from, &to])).ok();
    name
}

/// The supervisor dies; the daemon lives, and says how the container ended.
#[test]
fn a_supervisor_dies_at_every_step() {
    need_root!();
    let mut e = engine();
    for step in steps("supervise") {
        e.stop();
        e.run_with(&[(VARIABLE, step)]);
        create(&e);
        let started = e.dhow(["start", NAME]).code == 0;
        if started {
            e.dhow(["exec", NAME, "true"]);
            e.dhow(["stop", "-t", "0", NAME]);
        }
        wait_for("the end", || (status(&e, NAME)? != "running").then_some(()));
        let code = e.dhow(["inspect", "-f", "{{.State.ExitCode}}", NAME]).ok();
        // Of a start that came to nothing, or of a command that was killed, by us or with its supervisor.
        assert!(code == "137" || !started && code == "128", "{step}: {code}");
        e.clean(step);
        e.dhow(["rm", "-v", NAME]).ok();
        e.stop();
        e.run();
        e.clean(step);
        let again = e.dhow(["run", "--rm", "-p", PORT, "busybox", "echo", "again"]).ok();
        assert_eq!(again, "again", "{step}");
        alive(&e, step);
    }
}

/// Supervisors die at random moments of their containers' lives: the exit code is honest, all is given back, and the
/// restart policy acts. `DHOW_TEST_SUPERVISOR_KILLS` says how many.
#[test]
fn supervisors_die_at_random_moments() {
    need_root!();
    let kills: u32 = std::env::var("DHOW_TEST_SUPERVISOR_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let e = engine();
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    for kill in 0..kills {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let again = kill % 2 == 1;
        // It ends by itself at about the time at which its supervisor may be killed.
        let command = ["busybox", "sh", "-c", "usleep 30000; exit 7"];
        let policy = if again { ["--restart", "on-failure:1"] } else { ["--restart", "no"] };
        let id = e.dhow([&["create", "--name", NAME, "-p", PORT, "-v", "/d"][..], &policy, &command].concat()).ok();
        let mut starting = client(&e, &["start", NAME]);
        std::thread::sleep(std::time::Duration::from_micros(seed % 80_000));
        let record = e.dir.path().join("run/container").join(&id).join("start.json");
        let read = std::fs::read(&record).ok();
        let record = read.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
        let pid = record.and_then(|r| rustix::process::Pid::from_raw(r["supervisor"].as_i64()? as i32));
        // It may be over already, or not have begun.
        let killed = pid.is_some_and(|p| rustix::process::kill_process(p, rustix::process::Signal::KILL).is_ok());
        wait_for("the client to end", || starting.try_wait().unwrap());
        let state = |what: &str| e.dhow(["inspect", "-f", &format!("{{{{{what}}}}}"), NAME]).ok();
        wait_for("the end", || {
            let over = ["exited", "created"].contains(&state(".State.Status").as_str());
            over.then_some(())
        });
        let (code, restarts) = (state(".State.ExitCode"), state(".RestartCount"));
        let case = format!("kill {kill} ({killed}): exit code {code}, {restarts} restarts");
        // Its own, or that of a killed one, or of one whose start was cut off.
        assert!(code == "7" || killed && ["137", "128"].contains(&code.as_str()), "{case}");
        assert!(restarts == if again { "1" } else { "0" } || code == "128", "{case}");
        e.clean(&case);
        assert_eq!(tests::cgroups_of(&id), [] as [String; 0], "{case}");
        e.dhow(["rm", "-v", NAME]).ok();
    }
    assert_eq!(e.dhow(["volume", "ls", "-q"]).ok(), "");
    e.dhow(["run", "--rm", "-p", PORT, "busybox", "true"]).ok();
    alive(&e, "at the end");
}
