use crate::Case;
use crate::bench::*;
use oci::runtime::*;
use runtime::FailureKind;

pub const CASES: &[Case] = &[
    ("exit_codes", exit_codes),
    ("identity_of_the_first_process", identity_of_the_first_process),
    ("no_descriptor_leaks", no_descriptor_leaks),
    ("user_and_groups", user_and_groups),
    ("capability_sets", capability_sets),
    ("every_capability_there_is", every_capability_there_is),
    ("no_new_privileges_and_seccomp", no_new_privileges_and_seccomp),
    ("limits_and_scores", limits_and_scores),
    ("home_is_looked_up", home_is_looked_up),
    ("working_directories", working_directories),
    ("commands_that_are_not_there", commands_that_are_not_there),
    ("signals_are_as_at_birth", signals_are_as_at_birth),
    ("what_cannot_be_is_refused", what_cannot_be_is_refused),
    ("dropped_before_the_start_nothing_is_left", dropped_before_the_start_nothing_is_left),
    ("sysctl_of_a_namespace", sysctl_of_a_namespace),
];

fn exit_codes() {
    Bench::new(&["true"]).gives(0, "");
    Bench::new(&["/bin/false"]).gives(1, "");
    Bench::sh("exit 42").gives(42, "");
    Bench::sh("kill -9 $$; echo pid 1 ignores it").gives(0, "pid 1 ignores it\n");
}

fn identity_of_the_first_process() {
    Bench::sh("echo $$; hostname; cat /proc/1/comm; echo .").gives(0, "1\nbox\nsh\n.\n");
}

fn no_descriptor_leaks() {
    // 3 is ls's own.
    Bench::new(&["ls", "/proc/self/fd"]).gives(0, "0\n1\n2\n3\n");
    Bench::sh("ls -l /proc/1/fd/0 | cat | grep -c /dev/null; exec /bin/busybox readlink /proc/self/cwd")
        .gives(0, "1\n/\n");
}

fn user_and_groups() {
    let mut b = Bench::sh("id -u; id -g; id -G; umask; echo x > /dev/stdout; grep Cap /proc/self/status");
    b.process().user = User { uid: 1000, gid: 1001, umask: Some(0o27), additional_gids: vec![5, 70000] };
    b.process().args[2] =
        "id -u; id -g; id -G; umask; echo x > /dev/stdout; /bin/busybox grep CapEff /proc/self/status".into();
    b.gives(0, "1000\n1001\n1001 5 70000\n0027\nx\nCapEff:\t0000000000000000\n");
}

fn capability_sets() {
    let show = "/bin/busybox grep Cap /proc/self/status";
    let sets = |inh: &str, prm: &str, eff: &str, bnd: &str, amb: &str| {
        format!("CapInh:\t{inh}\nCapPrm:\t{prm}\nCapEff:\t{eff}\nCapBnd:\t{bnd}\nCapAmb:\t{amb}\n")
    };
    let (docker, zero) = ("00000000a80425fb", "0000000000000000");
    Bench::sh(show).gives(0, &sets(zero, docker, docker, docker, zero));
    let mut none = Bench::sh(show);
    none.process().capabilities = None;
    none.gives(0, &sets(zero, zero, zero, zero, zero));
    let mut ambient = Bench::sh(show);
    let one = strings(&["CAP_NET_BIND_SERVICE"]);
    ambient.process().user.uid = 1000;
    ambient.process().capabilities = Some(Capabilities {
        bounding: one.clone(),
        effective: one.clone(),
        inheritable: one.clone(),
        permitted: one.clone(),
        ambient: one,
    });
    let bind = "0000000000000400";
    ambient.gives(0, &sets(bind, bind, bind, bind, bind));
    let mut unknown = Bench::new(&["true"]);
    unknown.process().capabilities.as_mut().unwrap().bounding.push("CAP_EVERYTHING".into());
    assert!(unknown.refused().text.ends_with("unknown capability \"CAP_EVERYTHING\""));
}

fn every_capability_there_is() {
    // As --privileged: what this process itself lacks is not missed.
    let mut b = Bench::sh("/bin/busybox grep CapEff /proc/self/status; echo x > /sys/fs/cgroup/x; echo $?");
    let all: Vec<String> = runtime::capability_names().map(|name| format!("CAP_{name}")).collect();
    b.process().capabilities =
        Some(Capabilities { bounding: all.clone(), effective: all.clone(), permitted: all, ..Capabilities::default() });
    b.linux().masked_paths.clear();
    b.linux().readonly_paths.clear();
    b.spec.mounts.iter_mut().for_each(|m| m.options.retain(|o| o != "ro"));
    let own = sys::caps::capget().unwrap().permitted;
    let text = b.run().unwrap().text;
    assert!(text.starts_with(&format!("CapEff:\t{own:016x}\n")), "{text}");
}

fn no_new_privileges_and_seccomp() {
    let profile = Seccomp {
        default_action: "SCMP_ACT_ALLOW".into(),
        architectures: strings(&["SCMP_ARCH_X86_64"]),
        syscalls: vec![SyscallRule {
            names: strings(&["mkdir", "mkdirat"]),
            action: "SCMP_ACT_ERRNO".into(),
            errno_ret: Some(1),
            args: vec![],
        }],
        ..Seccomp::default()
    };
    let script = "/bin/busybox grep -E 'NoNewPrivs|Seccomp:' /proc/self/status; /bin/busybox mkdir /x 2>&1";
    for nnp in [false, true] {
        for uid in [0, 1000] {
            let mut b = Bench::sh(script);
            b.process().no_new_privileges = nnp;
            b.process().user.uid = uid;
            b.linux().seccomp = Some(profile.clone());
            let denied = "mkdir: can't create directory '/x': Operation not permitted";
            b.gives(1, &format!("NoNewPrivs:\t{}\nSeccomp:\t2\n{denied}\n", u8::from(nnp)));
        }
    }
}

fn limits_and_scores() {
    let mut b = Bench::sh("ulimit -n; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj");
    b.process().rlimits = vec![
        Rlimit { kind: "RLIMIT_NOFILE".into(), soft: 100, hard: 200 },
        Rlimit { kind: "RLIMIT_CORE".into(), soft: 0, hard: 0 },
    ];
    b.process().oom_score_adj = Some(500);
    b.gives(0, "100\n200\n0\n500\n");
    let mut nice = Bench::sh("/bin/busybox cut -d\" \" -f19 /proc/1/stat; /bin/busybox ionice -p 1");
    nice.process().scheduler = Some(Scheduler { policy: "SCHED_OTHER".into(), nice: 7, ..Scheduler::default() });
    nice.process().io_priority = Some(IoPriority { class: "IOPRIO_CLASS_IDLE".into(), priority: 0 });
    nice.gives(0, "7\nidle\n");
}

fn home_is_looked_up() {
    let home = |uid| {
        let mut b = Bench::new(&["sh", "-c", "echo $HOME"]);
        b.process().user.uid = uid;
        b
    };
    home(0).gives(0, "/root\n");
    home(1000).gives(0, "/home/u\n");
    home(7).gives(0, "/\n");
    let mut given = home(0);
    given.process().env.push("HOME=/given".into());
    given.gives(0, "/given\n");
    let fifo = home(0);
    std::fs::remove_file(fifo.root().join("etc/passwd")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, fifo.root().join("etc/passwd"), 0o644.into()).unwrap();
    fifo.gives(0, "/\n");
}

fn working_directories() {
    let at = |cwd: &str| {
        let mut b = Bench::sh("pwd; stat -c %a .");
        b.process().cwd = cwd.into();
        b
    };
    at("/new/deep").gives(0, "/new/deep\n755\n");
    at("/../../../over").gives(0, "/over\n755\n");
    let link = at("/work");
    std::os::unix::fs::symlink("/../../canary", link.root().join("work")).unwrap();
    link.gives(0, "/canary\n755\n");
    for number in [3, 4, 7, 8, 10, 12] {
        let failure = at(&format!("/proc/self/fd/{number}")).refused();
        assert_eq!(failure.stage, "cwd", "{failure:?}");
    }
    for magic in ["/proc/self/cwd", "/proc/1/root", "/proc/self/root/etc"] {
        let failure = at(magic).refused();
        assert_eq!(failure.stage, "cwd", "{failure:?}");
    }
    assert_eq!(at("/etc/passwd").refused().text, format!("{CREATE}mkdir /etc/passwd: not a directory"));
    assert_eq!(at("relative").refused().kind, FailureKind::Invalid);
}

const CREATE: &str = "OCI runtime create failed: unable to start container process: error during container init: ";

fn commands_that_are_not_there() {
    let of = |name: &str| {
        let b = Bench::new(&[name]);
        std::fs::write(b.root().join("plain"), "#!/bin/sh\n").unwrap();
        std::fs::write(b.root().join("script"), "#!/nosuch\n").unwrap();
        std::fs::write(b.root().join("data"), "\x7fnothing").unwrap();
        for name in ["script", "data"] {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(b.root().join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let failure = b.refused();
        assert_eq!(failure.stage, "exec");
        (failure.kind, failure.text.strip_prefix(CREATE).unwrap().to_string())
    };
    use FailureKind::{CommandNotFound, NotExecutable};
    assert_eq!(of("nosuch"), (CommandNotFound, "exec: \"nosuch\": executable file not found in $PATH".into()));
    assert_eq!(of("/x"), (CommandNotFound, "exec: \"/x\": stat /x: no such file or directory".into()));
    assert_eq!(of("/etc"), (NotExecutable, "exec: \"/etc\": is a directory".into()));
    assert_eq!(of("/plain"), (NotExecutable, "exec: \"/plain\": permission denied".into()));
    assert_eq!(of("/script"), (CommandNotFound, "exec /script: no such file or directory".into()));
    assert_eq!(of("/data"), (NotExecutable, "exec /data: exec format error".into()));
}

fn signals_are_as_at_birth() {
    Bench::new(&["/bin/busybox", "grep", "-E", "Sig(Blk|Ign|Cgt)", "/proc/self/status"])
        .gives(0, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nSigCgt:\t0000000000000000\n");
}

fn what_cannot_be_is_refused() {
    let refused = |change: fn(&mut Bench)| {
        let mut b = Bench::new(&["true"]);
        change(&mut b);
        let failure = b.refused();
        assert_eq!(failure.kind, FailureKind::Invalid, "{failure:?}");
        failure.text.strip_prefix("OCI runtime create failed: unable to start container process: ").unwrap().to_string()
    };
    assert_eq!(refused(|b| b.process().args.clear()), "args must not be empty");
    assert_eq!(refused(|b| b.process().env.push("x".into())), "invalid environment variable \"x\"");
    assert_eq!(refused(|b| b.linux().intel_rdt = Some(serde_json::json!({}))), "linux.intelRdt is not supported");
    assert_eq!(
        refused(|b| b.linux().namespaces.retain(|n| n.kind != "uts")),
        "unable to set hostname without a private UTS namespace"
    );
    assert_eq!(refused(|b| b.linux().namespaces.push(namespace("pid", ""))), "duplicated namespace \"pid\"");
    assert_eq!(refused(|b| b.linux().namespaces.push(namespace("x", ""))), "unknown namespace \"x\"");
    assert_eq!(refused(|b| b.linux().namespaces.retain(|n| n.kind != "mount")), "a mount namespace is needed");
    assert_eq!(
        refused(|b| b.spec.hooks = Some(Hooks { poststop: vec![Hook::default()], ..Hooks::default() })),
        "hooks are not supported of an engine's container"
    );
    assert_eq!(
        refused(|b| drop(b.linux().sysctl.insert("kernel.core_pattern".into(), "x".into()))),
        "sysctl \"kernel.core_pattern\" is not in a separate kernel namespace"
    );
}

fn dropped_before_the_start_nothing_is_left() {
    let b = Bench::new(&["true"]);
    let created = b.create_with(runtime::Stdio::default(), None).unwrap();
    let pid = created.pid();
    assert!(sys::process::start_time(pid).is_some());
    drop(created);
    assert_eq!(sys::process::start_time(pid), None);
    assert_eq!(b.run().unwrap().code, 0);
}

fn sysctl_of_a_namespace() {
    let mut b = Bench::new(&["cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start", "/proc/sys/kernel/msgmax"]);
    b.linux().sysctl.insert("net.ipv4.ip_unprivileged_port_start".into(), "7".into());
    b.linux().sysctl.insert("kernel/msgmax".into(), "9000".into());
    b.gives(0, "7\n9000\n");
    let mut host = Bench::new(&["true"]);
    host.linux().namespaces.iter_mut().find(|n| n.kind == "network").unwrap().path = "/proc/self/ns/net".into();
    host.linux().sysctl.insert("net.ipv4.ip_unprivileged_port_start".into(), "7".into());
    assert!(host.refused().text.ends_with("is not allowed in the host's network namespace"));
}
