//! The profile `strict`: what it takes away, what it leaves, how it is asked for, and how one gets a piece back.

use tests::{Engine, TempDir, need_root, program};

/// Says of each thing by its name whether it can be done.
const TRY: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
static void say(const char *name, long result) { printf("%s=%s ", name, result < 0 ? "no" : "yes"); }
int main(void) {
    const struct { const char *name; int family, type, protocol; } sockets[] = {
        {"unix", AF_UNIX, SOCK_STREAM, 0}, {"inet", AF_INET, SOCK_STREAM, 0}, {"inet6", AF_INET6, SOCK_DGRAM, 0},
        {"ping", AF_INET, SOCK_DGRAM, 1}, {"route", AF_NETLINK, SOCK_RAW, 0}, {"audit", AF_NETLINK, SOCK_RAW, 9},
        {"uevent", AF_NETLINK, SOCK_RAW, 15}, {"raw", AF_INET, SOCK_RAW, 1}, {"packet", AF_PACKET, SOCK_DGRAM, 0},
        {"vsock", AF_VSOCK, SOCK_STREAM, 0}, {"alg", 38, SOCK_SEQPACKET, 0}, {"bluetooth", 31, SOCK_RAW, 1}};
    for (unsigned i = 0; i < sizeof sockets / sizeof *sockets; i++)
        say(sockets[i].name, socket(sockets[i].family, sockets[i].type, sockets[i].protocol));
    say("packet64", syscall(SYS_socket, AF_PACKET | 1l << 32, SOCK_DGRAM, 0));
    say("secret", syscall(447, 0));
    pid_t child = fork();
    if (child == 0) { pause(); _exit(0); }
    say("ptrace", ptrace(PTRACE_ATTACH, child, 0, 0));
    char byte; struct iovec one = {&byte, 1}, from = {&byte, 1};
    say("read", process_vm_readv(child, &one, 1, &from, 1, 0));
    printf("\n");
    return 0;
}
"#;

#[test]
fn what_strict_takes_and_leaves() {
    need_root!();
    let mut e = Engine::with_busybox();
    let dir = TempDir::new();
    let attempt = format!("{}:/try:ro", program(&dir, "try", TRY));
    let run = |more: &[&str], command: &[&str]| {
        let first = ["run", "--rm", "-v", &attempt, "--security-opt", "profile=strict"];
        e.dhow(first.iter().chain(more).chain(&["busybox"]).chain(command)).ok()
    };
    let status = "grep -E '^(Cap|Seccomp:|NoNewPrivs)' /proc/self/status | cut -f 2 | xargs; ulimit -n; ulimit -c";
    let rights = "0000000000000000 00000000800004fb 00000000800004fb 00000000800004fb 0000000000000000 1 2";
    assert_eq!(run(&[], &["sh", "-c", status]), format!("{rights}\n1024\n0"));
    let tried = run(&[], &["/try"]);
    let (yes, no): (Vec<_>, Vec<_>) = tried.split_whitespace().partition(|t| t.ends_with("=yes"));
    assert_eq!(yes, ["unix", "inet", "inet6", "ping", "route"].map(|n| format!("{n}=yes")), "{no:?}");
    for (option, gained) in [
        (["--cap-add", "NET_RAW"], &["raw=yes", "packet=yes"][..]),
        (["--cap-add", "SYS_PTRACE"], &["ptrace=yes", "read=yes"]),
        (["--cap-add", "NET_ADMIN"], &["audit=yes", "uevent=yes"]),
    ] {
        let tried = run(&option, &["/try"]);
        assert!(gained.iter().all(|g| tried.split(' ').any(|t| t == *g)), "{option:?}: {tried}");
    }
    // What is hidden reads empty; what programs need of /proc and /sys does not.
    let hidden = "for p in /proc/kallsyms /proc/modules /proc/config.gz /sys/module /sys/class/dmi /sys/fs/bpf /sys/kernel/debug; do \
                  if [ -d $p ]; then ls -A $p; else cat $p; fi; done 2>/dev/null; wc -l </proc/cpuinfo; wc -l </proc/meminfo";
    let lines: Vec<usize> = run(&[], &["sh", "-c", hidden]).lines().map(|l| l.parse().expect("empty")).collect();
    assert!(lines.len() == 2 && lines.iter().all(|n| *n > 0), "{lines:?}");
    assert!(run(&[], &["ip", "-o", "addr"]).contains("eth0"));
    assert_eq!(run(&["--pids-limit", "7"], &["sh", "-c", "ulimit -n"]), "1024");
    assert_eq!(run(&["--ulimit", "nofile=99:99"], &["sh", "-c", "ulimit -n"]), "99");
    assert_eq!(
        run(&["--security-opt", "no-new-privileges=false"], &["grep", "NoNewPrivs", "/proc/self/status"]),
        "NoNewPrivs:\t0"
    );
    // Whoever comes later has no more.
    e.dhow(["run", "-d", "--name", "cc", "-v", &attempt, "--security-opt", "profile=strict", "busybox", "sleep", "1d"])
        .ok();
    assert_eq!(e.dhow(["exec", "cc", "sh", "-c", status]).ok(), format!("{rights}\n1024\n0"));
    assert_eq!(e.dhow(["exec", "cc", "/try"]).ok().matches("=yes").count(), 5);
    let inspect = e.inspect("cc");
    assert_eq!(inspect["HostConfig"]["SecurityOpt"], serde_json::json!(["profile=strict"]));
    assert_eq!(inspect["HostConfig"]["PidsLimit"], 512);
    assert_eq!(inspect["HostConfig"]["CgroupnsMode"], "private");
    e.dhow(["run", "--privileged", "--security-opt", "profile=strict", "busybox"]).fails(125, "conflicting options");
    e.dhow(["run", "--security-opt", "profile=loose", "busybox"]).fails(125, "unknown security profile \"loose\"");
    e.dhow(["rm", "-f", "cc"]).ok();
    e.alive();
}

#[test]
fn strict_can_be_the_default() {
    need_root!();
    let e = Engine::start(&["--security-profile", "strict"]);
    e.import_busybox();
    let nnp = |more: &[&str]| {
        let command = ["busybox", "sh", "-c", "grep NoNewPrivs /proc/self/status | cut -f 2"];
        e.dhow(["run", "--rm"].iter().chain(more).chain(&command)).ok()
    };
    assert_eq!(nnp(&[]), "1");
    assert_eq!(nnp(&["--security-opt", "profile=docker"]), "0");
    assert_eq!(nnp(&["--privileged"]), "0");
    e.dhow(["create", "--name", "cc", "busybox"]).ok();
    assert_eq!(e.inspect("cc")["HostConfig"]["SecurityOpt"], serde_json::json!(["profile=strict"]));
    assert!(e.dhow(["info"]).ok().contains("  security\n   Profile: strict\n"));
    let said = tests::said(std::process::Command::new(tests::dhow_bin()).args([
        "daemon",
        "--security-profile",
        "loose",
        "--validate",
    ]));
    assert!(said.code != 0 && said.err.contains("loose"), "{said:?}");
}
