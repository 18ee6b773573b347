use crate::Case;
use crate::bench::*;
use oci::runtime::*;
use runtime::{FailureKind, Running, Stdio, exec};
use rustix::io::Errno;
use std::io::Read;
use std::os::fd::AsFd;

pub const CASES: &[Case] = &[
    ("exec_joins_the_container", exec_joins_the_container),
    ("exec_failures", exec_failures),
    ("exec_leaks_nothing", exec_leaks_nothing),
    ("terminals", terminals),
    ("shared_namespaces", shared_namespaces),
    ("host_pid_namespace", host_pid_namespace),
    ("network_namespace_by_descriptor", network_namespace_by_descriptor),
    ("user_namespace", user_namespace),
    ("time_namespace", time_namespace),
    ("in_container_init", in_container_init),
];

/// A container that waits to be killed.
fn waiting() -> (Bench, Live) {
    let b = Bench::new(&["sleep", "1000"]);
    let running = b.start(Stdio::default()).unwrap();
    (b, Live(running))
}

fn process(args: &[&str]) -> Process {
    let set = strings(&CAPABILITIES);
    let capabilities =
        Capabilities { bounding: set.clone(), effective: set.clone(), permitted: set, ..Capabilities::default() };
    Process {
        args: strings(args),
        env: strings(&["PATH=/bin"]),
        cwd: "/".into(),
        capabilities: Some(capabilities),
        ..Process::default()
    }
}

fn execute(running: &Running, process: &Process) -> Out {
    let (mut reader, stdio) = captured();
    let executed = exec(running, process, None, stdio).unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    Out { code: wait(executed.pidfd.as_fd()), text }
}

/// Everything up to the hang-up.
pub fn read_terminal(running: &Running) -> String {
    read_master(running.terminal.as_ref().unwrap())
}

fn read_master(master: &std::os::fd::OwnedFd) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match rustix::io::read(master, &mut buffer) {
            Ok(0) | Err(Errno::IO) => return String::from_utf8(text).unwrap(),
            Ok(n) => text.extend_from_slice(&buffer[..n]),
            Err(e) => panic!("{e}"),
        }
    }
}

fn exec_joins_the_container() {
    let (_b, running) = waiting();
    let show = "hostname; cat /proc/1/comm; id -u; pwd; cat /proc/self/oom_score_adj; echo $HOME; \
                /bin/busybox grep -E 'Cap(Inh|Eff|Amb)' /proc/self/status";
    let mut process = process(&["sh", "-c", show]);
    process.oom_score_adj = Some(300);
    process.cwd = "/etc".into();
    process.user.uid = 1000;
    let zero = "0000000000000000";
    let text = format!("box\nsleep\n1000\n/etc\n300\n/home/u\nCapInh:\t{zero}\nCapEff:\t{zero}\nCapAmb:\t{zero}\n");
    assert_eq!(execute(&running, &process), Out { code: 0, text });
    let mut three = process.clone();
    three.args = strings(&["sh", "-c", "exit 3"]);
    for _ in 0..3 {
        assert_eq!(execute(&running, &three).code, 3);
    }
    // It is in the container's cgroup, and dies with the container.
    let sleeper = exec(&running, &self::process(&["sleep", "1000"]), None, Stdio::default()).unwrap();
    let mut pids = running.cgroup.pids();
    pids.sort();
    let mut expected = [running.pid, sleeper.pid];
    expected.sort();
    assert_eq!(pids, expected);
    sys::process::pidfd_send_signal(running.pidfd.as_fd(), 9).unwrap();
    assert_eq!(wait(sleeper.pidfd.as_fd()), 128 + 9);
    drop(running);
    // This process is still where it was.
    Bench::new(&["true"]).gives(0, "");
}

fn exec_failures() {
    let (b, running) = waiting();
    let failure = |process: &Process| {
        let failure = exec(&running, process, None, Stdio::default()).unwrap_err();
        let prefix = "OCI runtime exec failed: exec failed: unable to start container process: ";
        (failure.kind, failure.text.strip_prefix(prefix).unwrap().to_string())
    };
    let not_found = "exec: \"nosuch\": executable file not found in $PATH".to_string();
    assert_eq!(failure(&process(&["nosuch"])), (FailureKind::CommandNotFound, not_found));
    let denied = "exec: \"/etc/passwd\": permission denied".to_string();
    assert_eq!(failure(&process(&["/etc/passwd"])), (FailureKind::NotExecutable, denied));
    std::os::unix::fs::symlink("/proc/self/fd/3", b.root().join("evil")).unwrap();
    for cwd in ["/nosuch", "/proc/self/fd/3", "/proc/self/fd/7", "/evil", "/proc/1/cwd", "/etc/passwd"] {
        let (kind, text) = failure(&Process { cwd: cwd.into(), ..process(&["true"]) });
        assert_eq!(kind, FailureKind::System);
        assert!(text.starts_with(&format!("chdir to cwd ({cwd:?}) set in config.json failed: ")), "{text}");
    }
    assert_eq!(running.cgroup.pids(), [running.pid]);
    drop(running);
}

fn exec_leaks_nothing() {
    let (_b, running) = waiting();
    let out = execute(&running, &process(&["ls", "/proc/self/fd"]));
    assert_eq!(out, Out { code: 0, text: "0\n1\n2\n3\n".into() });
    drop(running);
}

fn terminals() {
    let mut b = Bench::sh(
        "tty; stty size; stat -c '%t:%T' /dev/console; echo x > /dev/console; echo in > /dev/tty; id -u; stat -c %u /dev/pts/0",
    );
    b.process().terminal = true;
    b.process().console_size = Some(ConsoleSize { height: 31, width: 97 });
    b.process().user.uid = 1000;
    let running = b.start(Stdio::default()).unwrap();
    assert_eq!(read_terminal(&running), "/dev/pts/0\r\n31 97\r\n88:0\r\nx\r\nin\r\n1000\r\n1000\r\n");
    assert_eq!(wait(running.pidfd.as_fd()), 0);
    running.cgroup.remove().unwrap();

    let (_b, running) = waiting();
    let mut process = process(&["sh", "-c", "tty; stty size; exit 5"]);
    process.terminal = true;
    process.console_size = Some(ConsoleSize { height: 10, width: 20 });
    let executed = exec(&running, &process, None, Stdio::default()).unwrap();
    assert_eq!(read_master(executed.terminal.as_ref().unwrap()), "/dev/pts/0\r\n10 20\r\n");
    assert_eq!(wait(executed.pidfd.as_fd()), 5);
    drop(running);
}

fn shared_namespaces() {
    let (_first, running) = waiting();
    let mut b = Bench::sh("cat /proc/1/comm; hostname; test $$ != 1 && echo not first");
    for (kind, name) in [("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
        let own = b.linux().namespaces.iter_mut().find(|n| n.kind == kind).unwrap();
        own.path = format!("/proc/{}/ns/{name}", running.pid);
    }
    b.spec.hostname = "renamed".into();
    b.gives(0, "sleep\nrenamed\nnot first\n");
    drop(running);
    Bench::new(&["true"]).gives(0, "");
}

fn host_pid_namespace() {
    let mut b = Bench::sh("echo $$ > /pid; test -d /proc/$PARENT && echo sees the host");
    b.linux().namespaces.retain(|n| n.kind != "pid");
    b.process().env.push(format!("PARENT={}", std::process::id()));
    b.gives(0, "sees the host\n");
    assert!(std::fs::read_to_string(b.root().join("pid")).unwrap().trim().parse::<i32>().unwrap() > 1);
}

fn network_namespace_by_descriptor() {
    let (_first, running) = waiting();
    let netns = std::fs::File::open(format!("/proc/{}/ns/net", running.pid)).unwrap();
    let b = Bench::new(&["/bin/busybox", "readlink", "/proc/self/ns/net"]);
    let (mut reader, stdio) = captured();
    let second = b.create_with(stdio, Some(netns.as_fd())).unwrap().start().unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    let link = std::fs::read_link(format!("/proc/{}/ns/net", running.pid)).unwrap();
    assert_eq!(text.trim_end(), link.to_str().unwrap());
    assert_eq!(wait(second.pidfd.as_fd()), 0);
    second.cgroup.remove().unwrap();
    drop(running);
}

fn user_namespace() {
    let mut b = Bench::sh("id -u; cat /proc/self/uid_map; stat -c '%t:%T' /dev/null; echo x > /dev/null && echo wrote");
    let map = |host| vec![IdMapping { container_id: 0, host_id: host, size: 65536 }];
    b.linux().namespaces.push(namespace("user", ""));
    b.linux().uid_mappings = map(100_000);
    b.linux().gid_mappings = map(100_000);
    for path in ["", "bin", "etc", "tmp"] {
        std::os::unix::fs::chown(b.root().join(path), Some(100_000), Some(100_000)).unwrap();
    }
    let out = b.run().unwrap();
    assert_eq!(out.text, "0\n         0     100000      65536\n1:3\nwrote\n");
    b.process().args = strings(&["sleep", "1000"]);
    let running = Live(b.start(Stdio::default()).unwrap());
    assert_eq!(execute(&running, &process(&["id", "-u"])).text, "0\n");
    let uid = std::fs::read_to_string(format!("/proc/{}/status", running.pid)).unwrap();
    assert!(uid.contains("Uid:\t100000\t"), "{uid}");
    drop(running);
}

fn time_namespace() {
    let mut b = Bench::new(&["cat", "/proc/uptime"]);
    b.linux().namespaces.push(namespace("time", ""));
    b.linux().time_offsets.insert("boottime".into(), TimeOffset { secs: 1_000_000_000, nanosecs: 0 });
    let text = b.run().unwrap().text;
    let seconds: f64 = text.split(' ').next().unwrap().parse().unwrap();
    assert!(seconds > 1e9, "{text}");
}

fn in_container_init() {
    let b = Bench::new(&["echo", "hi"]);
    std::os::unix::fs::symlink("busybox", b.root().join("bin/echo")).unwrap();
    // Stands in for dhow-init: busybox says `init: applet not found` for the arguments `dhow-init init -- echo hi`.
    let init = std::fs::File::open("/bin/busybox").unwrap();
    let (mut reader, stdio) = captured();
    let running = runtime::create(runtime::Create {
        id: &b.id,
        spec: &b.spec,
        rootfs: None,
        rootfs_base: &b.base,
        cgroup: &b.place(),
        stdio,
        netns: None,
        sysfs: None,
        bare: Some(bare()),
        init: Some(init.as_fd()),
        detached: None,
    })
    .unwrap()
    .start()
    .unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "dhow-init: applet not found\n");
    wait(running.pidfd.as_fd());
    running.cgroup.remove().unwrap();
}
