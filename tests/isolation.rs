//! What a container may do by default, what it may not, and what the operator opens.

use tests::{Engine, need_root};

fn sh(e: &Engine, args: &[&str], script: &str) -> String {
    let mut all = vec!["run", "--rm"];
    all.extend(args);
    all.extend(["busybox", "sh", "-c", script]);
    e.dhow(all).ok()
}

#[test]
fn defaults_are_dockers() {
    need_root!();
    let e = Engine::with_busybox();
    let status = sh(&e, &[], "grep -E '^(Cap|Seccomp:|NoNewPrivs)' /proc/self/status");
    let want = "CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\nNoNewPrivs:\t0\nSeccomp:\t2";
    assert_eq!(status, want);
    assert_eq!(sh(&e, &[], "ls -1 /proc/self/fd | sort -n | head -n 3 | xargs; ls /proc/self/fd | wc -l"), "0 1 2\n4");
    for path in ["/proc/kcore", "/proc/timer_list", "/proc/keys"] {
        assert_eq!(sh(&e, &[], &format!("[ -e {path} ] && cat {path} | wc -c || echo 0")), "0", "{path}");
    }
    assert_eq!(e.dhow(["run", "--rm", "busybox", "sh", "-c", "echo x >/proc/sys/kernel/domainname"]).code, 1);
    assert_eq!(e.dhow(["run", "--rm", "busybox", "mount", "-t", "tmpfs", "x", "/mnt"]).code, 1);
    let core = if std::path::Path::new("/proc/kcore").exists() { "core " } else { "" };
    let devices = "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero";
    assert_eq!(sh(&e, &[], "ls /dev | xargs"), format!("{core}{devices}"));
    let e_perm = e.dhow(["run", "--rm", "busybox", "sh", "-c", "mknod /x b 7 0 && cat /x"]);
    assert!(e_perm.err.contains("Operation not permitted"), "{e_perm:?}");
}

#[test]
fn capabilities_and_privileged() {
    need_root!();
    let e = Engine::with_busybox();
    let bounding = |args: &[&str]| sh(&e, args, "grep CapBnd /proc/self/status | cut -f 2");
    assert_eq!(bounding(&["--cap-drop", "ALL"]), "0000000000000000");
    assert_eq!(bounding(&["--cap-drop", "ALL", "--cap-add", "NET_ADMIN"]), "0000000000001000");
    assert_eq!(bounding(&["--cap-drop", "CAP_CHOWN"]), "00000000a80425fa");
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find_map(|l| l.strip_prefix("CapBnd:\t")).unwrap().to_owned();
    assert_eq!(bounding(&["--privileged"]), own);
    assert_eq!(
        sh(
            &e,
            &["--privileged"],
            "grep Seccomp: /proc/self/status; mkdir /m; mount -t tmpfs x /m && echo mounted; [ -e /dev/loop-control ] && echo devices"
        ),
        "Seccomp:\t0\nmounted\ndevices"
    );
    e.dhow(["run", "--rm", "--cap-add", "NONSENSE", "busybox"]).fails(125, "NONSENSE");
}

#[test]
fn security_options() {
    need_root!();
    let e = Engine::with_busybox();
    assert_eq!(sh(&e, &["--security-opt", "seccomp=unconfined"], "grep Seccomp: /proc/self/status"), "Seccomp:\t0");
    assert_eq!(sh(&e, &["--security-opt", "no-new-privileges"], "grep NoNewPrivs /proc/self/status"), "NoNewPrivs:\t1");
    let profile = e.dir.path().join("seccomp.json");
    std::fs::write(&profile, r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":5}]}"#).unwrap();
    let option = format!("seccomp={}", profile.display());
    let said = e.dhow(["run", "--rm", "--security-opt", &option, "busybox", "mkdir", "/x"]);
    assert!(said.code == 1 && said.err.contains("Input/output error"), "{said:?}");
    e.dhow(["run", "--rm", "--security-opt", "nonsense=1", "busybox"]).fails(125, "nonsense");
}

#[test]
fn namespaces_open_where_asked() {
    need_root!();
    let e = Engine::with_busybox();
    let host = |ns: &str| std::fs::read_link(format!("/proc/self/ns/{ns}")).unwrap().display().to_string();
    let own = |args: &[&str], ns: &str| sh(&e, args, &format!("readlink /proc/self/ns/{ns}"));
    for (ns, flag) in [("pid", "--pid=host"), ("ipc", "--ipc=host"), ("uts", "--uts=host")] {
        assert_ne!(own(&[], ns), host(ns));
        assert_eq!(own(&[flag], ns), host(ns), "{flag}");
    }
    e.dhow(["run", "-d", "--name", "nn", "busybox", "sleep", "1d"]).ok();
    let inside = |ns: &str| e.dhow(["exec", "nn", "readlink", &format!("/proc/1/ns/{ns}")]).ok();
    for (ns, flag) in [("pid", "--pid=container:nn"), ("net", "--network=container:nn")] {
        assert_eq!(own(&[flag], ns), inside(ns), "{flag}");
    }
    let daemon_net = std::fs::read_link(format!("/proc/{}/ns/net", e.net.pid())).unwrap().display().to_string();
    assert_eq!(own(&["--network=host"], "net"), daemon_net);
    assert_eq!(sh(&e, &["--network=none"], "ip -o link | wc -l"), "1");
}

#[test]
fn devices_sysctls_and_ulimits() {
    need_root!();
    let e = Engine::with_busybox();
    assert_eq!(sh(&e, &["--device", "/dev/null:/dev/mine:rw"], "echo x >/dev/mine && ls -l /dev/mine | cut -c 1"), "c");
    assert_eq!(sh(&e, &["--sysctl", "net.ipv4.ip_forward=1"], "cat /proc/sys/net/ipv4/ip_forward"), "1");
    e.dhow(["run", "--rm", "--sysctl", "kernel.panic=1", "busybox"]).fails(125, "kernel.panic");
    assert_eq!(sh(&e, &["--ulimit", "nofile=100:200"], "ulimit -n; ulimit -Hn"), "100\n200");
    e.dhow(["run", "-d", "--name", "cc", "--ulimit", "nofile=100:200", "busybox", "sleep", "1d"]).ok();
    assert_eq!(e.dhow(["exec", "cc", "sh", "-c", "ulimit -n; ulimit -Hn"]).ok(), "100\n200");
}

/// A rootfs whose `/proc`, `/dev` … are links to somewhere else must never move a mount there (THREATS A1-A3).
#[test]
fn hostile_root_file_systems_stay_inside() {
    need_root!();
    let e = Engine::with_busybox();
    let canary = tests::TempDir::new();
    std::fs::write(canary.path().join("file"), "alive").unwrap();
    let dir = tests::TempDir::new();
    for (at, name) in ["proc", "sys", "dev", "etc", "work"].iter().enumerate() {
        for (way, target) in
            [canary.path().display().to_string(), "../../../../../../tmp".into(), "/proc/1/root".into()]
                .iter()
                .enumerate()
        {
            let root = dir.path().join(format!("{name}{way}"));
            let script = r#"set -e; mkdir -p "$1/bin"; cp "$(command -v busybox)" "$1/bin/busybox"; ln "$1/bin/busybox" "$1/bin/true"
                ln -s "$3" "$1/$2"; tar -C "$1" -cf "$1.tar" ."#;
            tests::said(
                std::process::Command::new("sh").args(["-c", script, "sh"]).arg(&root).args([name, target.as_str()]),
            )
            .ok();
            let image = format!("evil{at}{way}");
            e.dhow(["import", &format!("{}.tar", root.display()), &image]).ok();
            let said = e.dhow(["run", "--rm", "-w", "/work", "-v", "/work/vol", &image, "true"]);
            assert!(
                said.code == 0 || said.code == 125 || said.code == 126 || said.code == 127,
                "{name} -> {target}: {said:?}"
            );
            let names: Vec<_> = std::fs::read_dir(canary.path()).unwrap().flatten().map(|e| e.file_name()).collect();
            assert_eq!(names, ["file"], "{name} -> {target} reached the host: {said:?}");
        }
    }
    assert_eq!(std::fs::read_to_string(canary.path().join("file")).unwrap(), "alive");
}
