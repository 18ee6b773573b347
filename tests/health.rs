//! Health checks: what probes find, who hears of it, and what a probe that hangs cannot do.

use serde_json::Value;
use std::time::{Duration, Instant};
use tests::{Engine, need_root, wait_for};

fn status(e: &Engine, name: &str) -> String {
    e.inspect(name)["State"]["Health"]["Status"].as_str().unwrap_or_default().to_owned()
}

fn until(e: &Engine, name: &str, wanted: &str) -> Value {
    wait_for(&format!("{name} is {wanted}"), || (status(e, name) == wanted).then(|| e.inspect(name)["State"].clone()))
}

fn shown(e: &Engine, name: &str) -> String {
    e.dhow(["ps", "-a", "--filter", &format!("name={name}"), "--format", "{{.Status}}"]).ok()
}

fn names(e: &Engine, filter: &str) -> String {
    e.dhow(["ps", "-a", "--filter", filter, "--format", "{{.Names}}"]).ok()
}

#[test]
fn a_container_becomes_healthy_and_unhealthy() {
    need_root!();
    let e = Engine::with_busybox();
    let run = ["run", "-d", "--name", "web", "--health-cmd", "echo seen; test -e /up", "--health-interval", "50ms"];
    e.dhow(run.iter().chain(&["--health-retries", "2", "busybox", "sleep", "1d"])).ok();
    e.dhow(["run", "-d", "--name", "slow", "--health-cmd", "true", "busybox", "sleep", "1d"]).ok();
    e.dhow(["run", "-d", "--name", "plain", "busybox", "sleep", "1d"]).ok();
    assert_eq!(status(&e, "slow"), "starting");
    assert!(shown(&e, "slow").ends_with(" (health: starting)"), "{}", shown(&e, "slow"));
    let unhealthy = until(&e, "web", "unhealthy");
    assert!(unhealthy["Health"]["FailingStreak"].as_i64() >= Some(2), "{unhealthy}");
    assert!(shown(&e, "web").ends_with(" (unhealthy)"));
    e.dhow(["exec", "web", "touch", "/up"]).ok();
    let healthy = until(&e, "web", "healthy");
    assert_eq!(healthy["Health"]["FailingStreak"], 0);
    let log = healthy["Health"]["Log"].as_array().unwrap();
    let last = &log[log.len() - 1];
    assert_eq!((&last["ExitCode"], last["Output"].as_str()), (&Value::from(0), Some("seen\n")), "{healthy}");
    assert!(last["Start"].as_str() < last["End"].as_str(), "{last}");
    assert!(shown(&e, "web").ends_with(" (healthy)"));
    assert_eq!(names(&e, "health=healthy"), "web");
    assert_eq!(names(&e, "health=starting"), "slow");
    assert_eq!(names(&e, "health=none"), "plain");
    assert_eq!(e.docker(["ps", "--filter", "health=healthy", "--format", "{{.Names}}"]).ok(), "web");
    assert_eq!(e.docker(["inspect", "-f", "{{.State.Health.Status}}", "web"]).ok(), "healthy");
    assert!(e.inspect("plain")["State"].get("Health").is_none());
    assert!(!shown(&e, "plain").contains('('));
    // No more than five are kept.
    wait_for("five probes", || {
        let state = e.inspect("web")["State"]["Health"].clone();
        let log = state["Log"].as_array().unwrap().clone();
        (log.iter().all(|o| o["ExitCode"] == 0)).then(|| assert_eq!(log.len(), 5))
    });
    e.dhow(["stop", "-t", "0", "web"]).ok();
    // As with Docker, nobody knows that it is well any more.
    assert_eq!(status(&e, "web"), "unhealthy");
    assert!(shown(&e, "web").starts_with("Exited (137)"));
    let events = e.dhow(["events", "--since", "1h", "--until", "0s", "--filter", "container=web"]);
    let events = events.ok();
    for wanted in [
        "exec_create: /bin/sh -c echo seen; test -e /up",
        "exec_start: /bin/sh -c echo seen; test -e /up",
        "exec_die",
        "health_status: healthy",
        "health_status: unhealthy",
    ] {
        assert!(events.contains(wanted), "{wanted}");
    }
    assert_eq!(events.matches("health_status: healthy").count(), 1);
    assert_eq!(events.matches("health_status: unhealthy").count(), 1);
    // Started again it begins anew.
    e.dhow(["start", "web"]).ok();
    assert!(matches!(status(&e, "web").as_str(), "starting" | "healthy"));
    until(&e, "web", "healthy");
}

#[test]
fn a_probe_that_hangs_is_killed_and_holds_nothing_up() {
    need_root!();
    let e = Engine::with_busybox();
    let flags = ["--health-interval", "20ms", "--health-timeout", "300ms", "--health-retries", "1"];
    let run = ["run", "-d", "--name", "stuck", "--health-cmd", "echo first; sleep 4321; true"];
    e.dhow(run.iter().chain(&flags).chain(&["busybox", "sleep", "1d"])).ok();
    let state = until(&e, "stuck", "unhealthy");
    let log = &state["Health"]["Log"][0];
    assert_eq!(log["ExitCode"], -1);
    assert_eq!(log["Output"], "Health check exceeded timeout (300ms): first\n");
    // What it had begun has died with it: never more than one probe.
    let mut most = 0;
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        most = most.max(e.dhow(["top", "stuck"]).ok().matches("sleep 4321").count());
    }
    // The shell's own line names it too.
    assert!(most <= 2, "{most}");
    let begun = Instant::now();
    e.dhow(["rm", "-f", "stuck"]).ok();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // Not even for one that would run for ever.
    e.dhow([
        "run",
        "-d",
        "--name",
        "ever",
        "--health-cmd",
        "sleep 4323; true",
        "--health-interval",
        "1ms",
        "busybox",
        "sleep",
        "1d",
    ])
    .ok();
    wait_for("a probe", || e.dhow(["top", "ever"]).ok().contains("sleep 4323").then_some(()));
    let begun = Instant::now();
    for verb in
        [&["pause", "ever"][..], &["unpause", "ever"], &["restart", "-t", "0", "ever"], &["stop", "-t", "0", "ever"]]
    {
        e.dhow(verb).ok();
    }
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn probes_of_every_kind() {
    need_root!();
    let e = Engine::with_busybox();
    let create = |name: &str, health: &str| {
        let body = format!(
            r#"{{"Image":"busybox","Cmd":["sleep","1d"],"Env":["A=b"],"User":"7","WorkingDir":"/tmp","Healthcheck":{health}}}"#
        );
        let (code, text) = e.api("POST", &format!("/containers/create?name={name}"), Some(&body));
        if code == 201 {
            e.dhow(["start", name]).ok();
        }
        (code, text)
    };
    let quick = r#""Interval":20000000,"Retries":1"#;
    create("words", &format!(r#"{{"Test":["CMD","sh","-c","echo $A; id -u; pwd; echo err >&2"],{quick}}}"#));
    create("absent", &format!(r#"{{"Test":["CMD","nosuch"],{quick}}}"#));
    create("long", &format!(r#"{{"Test":["CMD-SHELL","yes | head -c 100000"],{quick}}}"#));
    create("none", &format!(r#"{{"Test":["NONE"],{quick}}}"#));
    create("empty", &format!(r#"{{"Test":["CMD"],{quick}}}"#));
    let output = |name: &str| e.inspect(name)["State"]["Health"]["Log"][0]["Output"].as_str().unwrap().to_owned();
    until(&e, "words", "healthy");
    let mut lines: Vec<String> = output("words").lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["/tmp", "7", "b", "err"]);
    let absent = until(&e, "absent", "unhealthy");
    assert_eq!(absent["Health"]["Log"][0]["ExitCode"], -1);
    assert_eq!(
        output("absent"),
        "OCI runtime exec failed: exec failed: unable to start container process: exec: \"nosuch\": executable file not found in $PATH: unknown"
    );
    until(&e, "long", "healthy");
    assert_eq!((output("long").len(), &output("long")[4090..]), (4099, "y\ny\ny\n..."), "{}", output("long").len());
    assert!(e.inspect("none")["State"].get("Health").is_none());
    until(&e, "empty", "unhealthy");
    for (health, why) in [
        (r#"{"Interval":1}"#, "Interval in Healthcheck cannot be less than 1ms"),
        (r#"{"Timeout":-5}"#, "Timeout in Healthcheck cannot be less than 1ms"),
        (r#"{"StartPeriod":5}"#, "StartPeriod in Healthcheck cannot be less than 1ms"),
        (r#"{"StartInterval":5}"#, "StartInterval in Healthcheck cannot be less than 1ms"),
        (r#"{"Retries":-1}"#, "Retries in Healthcheck cannot be negative"),
    ] {
        let (code, text) = create("refused", health);
        assert_eq!((code, text.contains(why)), (400, true), "{health}: {text}");
    }
    let both = e.docker(["create", "--no-healthcheck", "--health-cmd", "x", "busybox"]);
    assert!(both.err.contains("--no-healthcheck conflicts with --health-* options"));
    e.dhow(["create", "--no-healthcheck", "--health-cmd", "x", "busybox"])
        .fails(125, "--no-healthcheck conflicts with --health-* options");
    e.docker([
        "run",
        "-d",
        "--name",
        "dd",
        "--health-cmd",
        "true",
        "--health-interval",
        "1ms",
        "busybox",
        "sleep",
        "1d",
    ])
    .ok();
    until(&e, "dd", "healthy");
}

#[test]
fn failures_while_it_starts_do_not_count() {
    need_root!();
    let e = Engine::with_busybox();
    let flags = ["--health-start-period", "1h", "--health-start-interval", "20ms", "--health-interval", "1h"];
    let run = ["run", "-d", "--name", "boots", "--health-retries", "1", "--health-cmd", "test -e /up"];
    e.dhow(run.iter().chain(&flags).chain(&["busybox", "sleep", "1d"])).ok();
    wait_for("five failures", || (e.inspect("boots")["State"]["Health"]["Log"].as_array()?.len() == 5).then_some(()));
    let health = e.inspect("boots")["State"]["Health"].clone();
    assert_eq!((health["Status"].as_str(), &health["FailingStreak"]), (Some("starting"), &Value::from(0)));
    e.dhow(["exec", "boots", "touch", "/up"]).ok();
    until(&e, "boots", "healthy");
    // Frozen, it is not probed; thawed, it is again: what it was does not come back by itself.
    e.dhow(["pause", "boots"]).ok();
    assert_eq!(status(&e, "boots"), "unhealthy");
    assert!(shown(&e, "boots").ends_with("(Paused)"));
    e.dhow(["unpause", "boots"]).ok();
    assert!(shown(&e, "boots").ends_with("(unhealthy)"));
}

#[test]
fn probing_outlives_the_daemon() {
    need_root!();
    let mut e = Engine::with_busybox();
    let run = ["run", "-d", "--health-interval", "50ms", "--health-retries", "1"];
    e.dhow(run.iter().chain(&["--name", "ill", "--health-cmd", "false", "busybox", "sleep", "1d"])).ok();
    e.dhow(run.iter().chain(&["--name", "well", "--health-cmd", "echo x >> /n", "busybox", "sleep", "1d"])).ok();
    e.dhow(run.iter().chain(&["--name", "hung", "--health-cmd", "sleep 4322; true", "busybox", "sleep", "1d"])).ok();
    e.dhow([
        "run",
        "-d",
        "--name",
        "rare",
        "--health-cmd",
        "true",
        "--health-start-interval",
        "10ms",
        "--health-start-period",
        "1h",
        "--health-interval",
        "1h",
        "busybox",
        "sleep",
        "1d",
    ])
    .ok();
    until(&e, "ill", "unhealthy");
    until(&e, "well", "healthy");
    let log = until(&e, "rare", "healthy")["Health"]["Log"].clone();
    wait_for("the probe that hangs", || e.dhow(["top", "hung"]).ok().contains("sleep 4322").then_some(()));
    e.kill9();
    e.run();
    // Kept as it was, until the next probe.
    assert_eq!((status(&e, "rare").as_str(), &e.inspect("rare")["State"]["Health"]["Log"]), ("healthy", &log));
    assert_eq!((status(&e, "ill").as_str(), status(&e, "well").as_str()), ("unhealthy", "healthy"));
    let lines = || e.dhow(["exec", "well", "cat", "/n"]).ok().len();
    let before = lines();
    wait_for("another probe", || (lines() > before).then_some(()));
    e.dhow(["exec", "ill", "true"]).ok();
    // The one that hung died with the daemon that had started it.
    wait_for("one probe at most", || (e.dhow(["top", "hung"]).ok().matches("sleep 4322").count() <= 2).then_some(()));
    e.dhow(["kill", "well"]).ok();
    e.kill9();
    e.run();
    assert_eq!(status(&e, "well"), "unhealthy");
    assert_eq!(e.leftovers(), Vec::<String>::new());
}

#[test]
fn an_image_brings_its_own() {
    need_root!();
    let e = Engine::with_busybox();
    let tar = e.dir.path().join("b.tar");
    std::fs::write(&tar, std::fs::read(tests::busybox_tar()).unwrap()).unwrap();
    let change = "HEALTHCHECK --interval=20ms --retries=1 CMD test -e /etc";
    e.dhow(["import", "--change", change, "--change", "CMD sleep 1d", tar.to_str().unwrap(), "own"]).ok();
    e.dhow(["run", "-d", "--name", "own-a", "own"]).ok();
    until(&e, "own-a", "healthy");
    e.dhow(["run", "-d", "--name", "own-b", "--health-cmd", "false", "own"]).ok();
    until(&e, "own-b", "unhealthy");
    let test = e.inspect("own-b")["Config"]["Healthcheck"].to_string();
    assert_eq!(test, r#"{"Interval":20000000,"Retries":1,"Test":["CMD-SHELL","false"]}"#);
    e.dhow(["run", "-d", "--name", "own-c", "--no-healthcheck", "own"]).ok();
    assert!(e.inspect("own-c")["State"].get("Health").is_none());
}

#[test]
fn a_thousand_probes_take_no_memory() {
    need_root!();
    let e = Engine::with_busybox();
    let resident = || {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", e.pid())).unwrap();
        text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4
    };
    let counter = |name: &str| e.dhow(["exec", name, "sh", "-c", "wc -c < /n"]).ok().parse::<u64>().unwrap();
    for n in ["p1", "p2", "p3", "p4"] {
        e.dhow([
            "run",
            "-d",
            "--name",
            n,
            "--health-cmd",
            "echo -n x >> /n",
            "--health-interval",
            "1ms",
            "busybox",
            "sleep",
            "1d",
        ])
        .ok();
    }
    wait_for("the first probes", || (counter("p1") > 50).then_some(()));
    let (before, threads) = (resident(), |pid: u32| std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().count());
    let first = counter("p1");
    wait_for("more", || (counter("p1") > first + 250).then_some(()));
    let after = resident();
    assert!(after < before + 6 * 1024, "from {before} to {after} KiB");
    assert!(threads(e.pid()) < 60, "{}", threads(e.pid()));
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", e.pid())).unwrap().count();
    assert!(descriptors < 120, "{descriptors}");
}
