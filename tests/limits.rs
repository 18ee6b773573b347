//! Resource limits reach the kernel, and what the kernel does about them reaches the user.

use tests::{Engine, need_root};

#[test]
fn an_oom_kill_is_reported_as_one() {
    need_root!();
    let e = Engine::with_busybox();
    let eat = "x=$(head -c 1000000 /dev/zero | tr '\\0' x); while :; do x=$x$x; done";
    assert_eq!(e.dhow(["run", "--name", "oo", "-m", "20m", "busybox", "sh", "-c", eat]).code, 137);
    let state = &e.inspect("oo")["State"];
    assert_eq!((state["OOMKilled"].as_bool(), state["ExitCode"].as_i64()), (Some(true), Some(137)));
}

#[test]
fn limits_reach_the_cgroup() {
    need_root!();
    let e = Engine::with_busybox();
    let id = e
        .dhow([
            "run",
            "-d",
            "-m",
            "64m",
            "--cpus",
            "0.5",
            "--cpu-shares",
            "512",
            "--pids-limit",
            "33",
            "--cpuset-cpus",
            "0",
            "busybox",
            "sleep",
            "1d",
        ])
        .ok();
    let read = |v1: &str, v2: &str| {
        let v1 = v1.replace("ID", &format!("dhow/{id}"));
        let path = if std::path::Path::new(&v1).exists() { v1 } else { format!("/sys/fs/cgroup/dhow/{id}/{v2}") };
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}")).trim().to_owned()
    };
    assert_eq!(read("/sys/fs/cgroup/memory/ID/memory.limit_in_bytes", "memory.max"), (64 << 20).to_string());
    assert_eq!(read("/sys/fs/cgroup/pids/ID/pids.max", "pids.max"), "33");
    assert!(["50000", "50000 100000"].contains(&read("/sys/fs/cgroup/cpu/ID/cpu.cfs_quota_us", "cpu.max").as_str()));
    assert!(["512", "20"].contains(&read("/sys/fs/cgroup/cpu/ID/cpu.shares", "cpu.weight").as_str()));
    assert_eq!(read("/sys/fs/cgroup/cpuset/ID/cpuset.cpus", "cpuset.cpus"), "0");
}

#[test]
fn a_fork_bomb_stays_in_its_limit() {
    need_root!();
    let e = Engine::with_busybox();
    let said = e.dhow([
        "run",
        "--rm",
        "--pids-limit",
        "10",
        "busybox",
        "sh",
        "-c",
        "for n in $(seq 50); do sleep 5 & done; echo unreachable",
    ]);
    assert!(said.err.contains("can't fork"), "{said:?}");
}

#[test]
fn limits_that_make_no_sense_are_refused_by_name() {
    need_root!();
    let e = Engine::with_busybox();
    for (flags, text) in [
        (&["-m", "1m"][..], "Minimum memory limit allowed is 6MB"),
        (&["-m", "64m", "--memory-swap", "32m"], "Minimum memoryswap limit should be larger than memory limit"),
        (&["--cpus", "1000"], "range of CPUs is from"),
        (&["--cpuset-cpus", "77"], "Requested CPUs are not available"),
        (&["--shm-size", "-1"], "invalid"),
        (&["--ulimit", "nofile=200:100"], "ulimit"),
    ] {
        let mut all = vec!["run", "--rm"];
        all.extend(flags);
        all.extend(["busybox", "true"]);
        e.dhow(all).fails(125, text);
    }
    assert_eq!(e.dhow(["ps", "-aq"]).ok(), "");
}
