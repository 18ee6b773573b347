//! kill -9 of the daemon: containers, their output and exit codes go on.

use tests::{Engine, need_root, wait_for};

#[test]
fn containers_outlive_the_daemon() {
    need_root!();
    let mut e = Engine::with_busybox();
    e.dhow([
        "run",
        "-d",
        "--name",
        "long",
        "busybox",
        "sh",
        "-c",
        "n=0; while :; do n=$((n+1)); echo $n; usleep 10000; done",
    ])
    .ok();
    e.dhow(["run", "-d", "--name", "short", "busybox", "sh", "-c", "usleep 300000; echo bye; exit 6"]).ok();
    e.dhow(["run", "-d", "--name", "rm", "--rm", "busybox", "usleep", "300000"]).ok();
    let before = e.inspect("long");
    e.kill9();
    // `short` ends while there is no daemon.
    let record = e.dir.path().join("data/container");
    wait_for("the exit record", || {
        let ended = std::fs::read_dir(&record).ok()?.flatten().filter(|d| d.path().join("exit.json").exists()).count();
        (ended == 2).then_some(())
    });
    e.run();
    let after = e.inspect("long");
    assert_eq!(
        (&after["State"]["Pid"], &after["State"]["StartedAt"], after["State"]["Status"].as_str()),
        (&before["State"]["Pid"], &before["State"]["StartedAt"], Some("running"))
    );
    assert_eq!(e.dhow(["wait", "short"]).ok(), "6");
    assert_eq!(e.dhow(["logs", "short"]).ok(), "bye");
    wait_for("the automatic removal", || (e.dhow(["inspect", "rm"]).code == 1).then_some(()));
    assert_eq!(e.dhow(["exec", "long", "echo", "still"]).ok(), "still");
    e.dhow(["stop", "-t", "0", "long"]).ok();
    let lines = e.dhow(["logs", "long"]).ok();
    for (at, line) in lines.lines().enumerate() {
        assert_eq!(line, (at + 1).to_string(), "a line is lost or doubled");
    }
}

#[test]
fn restart_policies_survive_the_daemon() {
    need_root!();
    let mut e = Engine::with_busybox();
    e.dhow(["run", "-d", "--name", "always", "--restart", "always", "busybox", "sleep", "1d"]).ok();
    e.dhow(["run", "-d", "--name", "stopped", "--restart", "unless-stopped", "busybox", "sleep", "1d"]).ok();
    e.dhow(["stop", "-t", "0", "stopped"]).ok();
    let pid = e.inspect("always")["State"]["Pid"].as_i64().unwrap() as i32;
    e.kill9();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
    e.run();
    wait_for("the restart", || {
        let now = e.inspect("always");
        (now["State"]["Status"] == "running" && now["State"]["Pid"] != pid).then_some(())
    });
    assert_eq!(e.inspect("stopped")["State"]["Status"], "exited");
}

#[test]
fn a_killed_supervisor_takes_its_container_along_and_is_noticed() {
    need_root!();
    let e = Engine::with_busybox();
    let id = e.dhow(["run", "-d", "--name", "ss", "busybox", "sleep", "1d"]).ok();
    let record = std::fs::read_to_string(e.dir.path().join("run/container").join(&id).join("start.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    let pid = |key: &str| rustix::process::Pid::from_raw(record[key].as_i64().unwrap() as i32).unwrap();
    rustix::process::kill_process(pid("supervisor"), rustix::process::Signal::KILL).unwrap();
    wait_for("the state", || (e.inspect("ss")["State"]["Status"] == "exited").then_some(()));
    wait_for("the process to be gone", || rustix::process::test_kill_process(pid("pid")).is_err().then_some(()));
    assert_eq!(tests::cgroups_of(&id), [] as [String; 0]);
    e.dhow(["start", "ss"]).ok();
}

/// kill -9 at random moments of mixed work; afterwards nothing is half there (THREATS I1, I2, I3, I5).
#[test]
fn kill_9_at_random_moments() {
    need_root!();
    let rounds: u32 = std::env::var("DHOW_TEST_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(50);
    let mut e = Engine::with_busybox();
    e.dhow([
        "run",
        "-d",
        "--name",
        "witness",
        "busybox",
        "sh",
        "-c",
        "n=0; while :; do n=$((n+1)); echo $n; usleep 5000; done",
    ])
    .ok();
    let witness = e.inspect("witness")["State"]["Pid"].clone();
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    for round in 0..rounds {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let mut work: Vec<std::process::Child> = Vec::new();
        for (at, args) in [
            vec!["run".to_owned(), "--rm".into(), "busybox".into(), "true".into()],
            vec![
                "run".into(),
                "-d".into(),
                "--name".into(),
                format!("k{round}"),
                "-p".into(),
                format!("{}:80", 20_000 + round),
                "busybox".into(),
                "sleep".into(),
                "1d".into(),
            ],
            vec!["exec".into(), "witness".into(), "true".into()],
            vec!["rm".into(), "-f".into(), format!("k{}", round.wrapping_sub(1))],
        ]
        .into_iter()
        .enumerate()
        {
            let mut command = e.dhow_command(args);
            command
                .stdin(std::process::Stdio::null())
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null());
            work.push(command.spawn().unwrap_or_else(|e| panic!("{at}: {e}")));
        }
        std::thread::sleep(std::time::Duration::from_micros(seed % 60_000));
        e.kill9();
        for mut child in work {
            // Clients get an error, they do not hang.
            wait_for("a client to end", || child.try_wait().unwrap());
        }
        e.run();
        let now = e.inspect("witness");
        assert_eq!(
            (&now["State"]["Pid"], now["State"]["Status"].as_str()),
            (&witness, Some("running")),
            "round {round}"
        );
        e.clean(&format!("round {round}"));
        // The name of this round is either wholly there or free.
        let name = format!("k{round}");
        match e.dhow(["inspect", &name]).code {
            0 => drop(e.dhow(["rm", "-f", &name]).ok()),
            _ => drop(e.dhow(["create", "--name", &name, "busybox"]).ok()),
        }
        e.dhow(["rm", "-f", &name]);
    }
    e.dhow(["stop", "-t", "0", "witness"]).ok();
    for (at, line) in e.dhow(["logs", "witness"]).ok().lines().enumerate() {
        assert_eq!(line, (at + 1).to_string(), "a line is lost or doubled");
    }
}
