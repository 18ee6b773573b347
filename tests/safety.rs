//! What an image or a container's program may try, and must never reach. The numbers are those of the threat model's
//! classes: rootfs assembly, descriptors, the runtime's own program, cgroups, sysctls, capabilities, users, seccomp, labels.

use std::process::Command;
use std::time::{Duration, Instant};
use tests::{Canary, Engine, TempDir, busybox_tar, dhow_bin, image, need_root, program, said};

fn sha256(path: &std::path::Path) -> String {
    tests::evil::digest(&std::fs::read(path).unwrap())
}

fn host(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// A4: what the runtime writes in /proc goes to the kernel or nowhere.
#[test]
fn nothing_is_mounted_over_parts_of_proc() {
    need_root!();
    let mut e = Engine::with_busybox();
    let canary = Canary::new();
    image(&e, "linked", |t| t.symlink("attr", "/proc/self/attr").symlink("sysctl", "/proc/sys"));
    let core_pattern = host("/proc/sys/kernel/core_pattern");
    let (dir, file) = (canary.path().to_owned(), format!("{}/file", canary.path()));
    for (image, args) in [
        ("busybox", ["--tmpfs", "/proc/self/attr"]),
        ("busybox", ["--tmpfs", "/proc/sys"]),
        ("busybox", ["--tmpfs", "/proc/sys/kernel"]),
        ("busybox", ["--tmpfs", "/proc"]),
        ("busybox", ["--tmpfs", "/tmp/../proc/self/fd"]),
        ("busybox", ["-v", &format!("{file}:/proc/self/attr/exec")]),
        ("busybox", ["-v", &format!("{file}:/proc/version")]),
        ("busybox", ["-v", &format!("{file}:/proc/sys/kernel/core_pattern")]),
        ("busybox", ["-v", &format!("{dir}:/proc")]),
        ("busybox", ["-v", &format!("{dir}:/proc/self/fd")]),
        ("busybox", ["-v", "vol:/proc/sys"]),
        ("linked", ["--tmpfs", "/attr"]),
        ("linked", ["-v", &format!("{dir}:/sysctl")]),
    ] {
        let said = e.dhow(["run", "--rm", args[0], args[1], image, "true"]);
        let refused = said.err.contains("inside /proc") || said.err.contains("not of type proc");
        assert!((125..=127).contains(&said.code) && refused, "{image} {args:?}: {said:?}");
        canary.check(args[1]);
    }
    e.dhow(["volume", "rm", "-f", "vol"]).ok();
    assert_eq!(host("/proc/sys/kernel/core_pattern"), core_pattern);
    let args = ["run", "--rm", "-v", &format!("{file}:/proc/meminfo:ro"), "busybox", "cat", "/proc/meminfo"];
    assert_eq!(e.dhow(args).ok(), "alive", "what lxcfs does stays possible");
    e.alive();
}

/// A5: no descriptor of the host's leads out, neither as a working directory nor left open.
#[test]
fn descriptors_lead_nowhere() {
    need_root!();
    let mut e = Engine::with_busybox();
    image(&e, "linked", |t| t.symlink("out", "/proc/self/fd/8").symlink("cwd", "/proc/1/cwd"));
    e.dhow(["run", "-d", "--name", "cc", "linked", "sleep", "1d"]).ok();
    let mut places: Vec<String> = (3..20).map(|n| format!("/proc/self/fd/{n}")).collect();
    places.extend(["/proc/self/cwd", "/proc/1/cwd", "/out", "/cwd"].map(str::to_owned));
    for place in &places {
        // Through links of /proc there is no way; what has no link there is a directory that cannot be made.
        for args in [&["run", "--rm", "-w", place, "linked", "pwd"][..], &["exec", "-w", place, "cc", "pwd"]] {
            let said = e.dhow(args);
            // An exec that cannot begin says so on its own output; what would be a path begins a line.
            let text = said.out.clone() + &said.err;
            assert!(said.code != 0 && !said.out.starts_with('/') && text.contains("OCI runtime"), "{args:?}: {said:?}");
        }
    }
    let count = "ls -1 /proc/self/fd | wc -l; ls -1 /proc/self/fd | head -n 3 | xargs";
    for flags in [
        &["run", "--rm", "busybox"][..],
        &["run", "--rm", "-i", "busybox"],
        &["run", "--rm", "--init", "busybox"],
        &["exec", "cc"],
        &["exec", "-i", "cc"],
    ] {
        // ls's own is the fourth.
        assert_eq!(e.dhow(flags.iter().copied().chain(["sh", "-c", count])).ok(), "4\n0 1 2", "{flags:?}");
    }
    assert_eq!(e.dhow(["exec", "cc", "ls", "/proc/1/fd"]).ok(), "0\n1\n2");
    e.dhow(["rm", "-f", "cc"]).ok();
    e.alive();
}

/// A6: the program that runs beneath containers cannot be written through any of its names.
#[test]
fn the_runtimes_own_program_cannot_be_changed() {
    need_root!();
    let mut e = Engine::with_busybox();
    let init = e.dir.path().join("run/dhow-init");
    let before = sha256(&init);
    let engine = sha256(&dhow_bin());
    // The link is followed by whoever is about to become the container's program: that is dhow-init itself.
    let said = e.dhow(["run", "--rm", "--entrypoint", "/proc/self/exe", "busybox"]);
    assert!(said.code != 0 && said.err.contains("usage: dhow-init"), "{said:?}");
    let write = "(echo x >/proc/1/exe) 2>&1; exec 3</proc/1/exe; (echo x >/proc/self/fd/3) 2>&1; (echo x >>/proc/1/exe) 2>&1; \
                 chmod 777 /proc/1/exe 2>&1; sha256sum </proc/1/exe";
    let itself = ["--entrypoint", "/proc/self/exe", "busybox", "init", "--", "sleep", "1d"];
    for args in [&itself[..], &["--init", "busybox", "sleep", "1d"]] {
        e.dhow(["run", "-d", "--name", "cc"].iter().chain(args)).ok();
        let out = e.dhow(["exec", "cc", "sh", "-c", write]).ok();
        assert!(out.contains(before.strip_prefix("sha256:").unwrap()), "PID 1 is not dhow-init: {out}");
        // What truncates nothing hears first that the file is busy.
        let refused = out.matches("Read-only file system").count();
        assert!(refused >= 3 && refused + out.matches("Text file busy").count() == 4, "{out}");
        e.dhow(["rm", "-f", "cc"]).ok();
    }
    // The moment of an exec: whoever enters is the runtime's program until execve.
    e.dhow([
        "run",
        "-d",
        "--name",
        "cc",
        "busybox",
        "sh",
        "-c",
        "while :; do for p in /proc/[0-9]*; do (echo x >$p/exe); done; done 2>/dev/null",
    ])
    .ok();
    for _ in 0..20 {
        e.dhow(["exec", "cc", "true"]).ok();
    }
    e.dhow(["rm", "-f", "cc"]).ok();
    assert_eq!((sha256(&init), sha256(&dhow_bin())), (before, engine));
    assert_eq!(e.dhow(["run", "--rm", "busybox", "echo", "still"]).ok(), "still");
    e.alive();
}

/// A6: nothing that lies in an image is executed to serve a command of the host's.
#[test]
fn an_images_programs_serve_nobody() {
    need_root!();
    let mut e = Engine::start(&[]);
    let script = b"#!/bin/sh\necho ran >/marker\n";
    let names =
        ["xz", "unxz", "unpigz", "pigz", "gzip", "gunzip", "bzip2", "zstd", "tar", "nsenter", "ps", "chown", "getent"];
    let libraries = ["usr/lib/libnss_files.so.2", "lib/x86_64-linux-gnu/libnss_compat.so.2", "etc/nsswitch.conf"];
    let paths = names.iter().map(|name| format!("usr/bin/{name}")).chain(libraries.map(str::to_owned));
    image(&e, "bait", |t| {
        paths.fold(t, |t, path| {
            let mut h = tests::tar::header(path.as_bytes(), b'0', script.len() as u64, b"");
            h[100..108].copy_from_slice(b"0000755\0");
            tests::tar::sum(&mut h);
            t.raw(&h).raw(script)
        })
    });
    e.dhow(["run", "-d", "--name", "cc", "bait", "sleep", "1d"]).ok();
    let dir = TempDir::new();
    std::fs::write(dir.path().join("f"), "content").unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    e.dhow(["cp", &at("f"), "cc:/f"]).ok();
    e.dhow(["cp", "cc:/f", &at("back")]).ok();
    assert_eq!(std::fs::read_to_string(at("back")).unwrap(), "content");
    e.dhow(["top", "cc"]).ok();
    e.dhow(["export", "-o", &at("export.tar"), "cc"]).ok();
    said(
        Command::new("sh")
            .args([
                "-c",
                "cd \"$1\" && tar -cf a.tar f && gzip -k a.tar && bzip2 -k a.tar && xz -k a.tar && zstd -q a.tar",
                "sh",
            ])
            .arg(dir.path()),
    )
    .ok();
    for kind in ["", ".gz", ".bz2", ".xz", ".zst"] {
        let body = std::fs::read(at(&format!("a.tar{kind}"))).unwrap();
        let (code, text) = e.raw("PUT", "/containers/cc/archive?path=/tmp", &body);
        assert_eq!(code, 200, "a.tar{kind}: {text}");
        assert_eq!(e.dhow(["exec", "cc", "sh", "-c", "cat /tmp/f && rm /tmp/f"]).ok(), "content", "a.tar{kind}");
    }
    e.dhow(["exec", "cc", "ls", "/marker"]).fails(1, "No such file");
    e.dhow(["rm", "-f", "cc"]).ok();
    assert!(!std::path::Path::new("/marker").exists());
    e.alive();
}

/// A7: cgroups and devices.
#[test]
fn cgroups_and_devices_hold() {
    need_root!();
    let mut e = Engine::with_busybox();
    for parent in ["../../x", "/../x", "a/../../b", "..", "/a/b/../../.."] {
        let body = serde_json::json!({"Image": "busybox", "HostConfig": {"CgroupParent": parent}}).to_string();
        let (code, text) = e.raw("POST", "/containers/create", body.as_bytes());
        assert_eq!(code, 400, "{parent}: {text}");
    }
    for node in ["c 1 1", "c 1 2", "c 10 229", "c 10 237", "b 7 0", "b 8 0", "b 254 0", "c 10 200"] {
        let said = e.dhow([
            "run",
            "--rm",
            "busybox",
            "sh",
            "-c",
            &format!("mknod /n {node} && dd if=/n of=/dev/null bs=1 count=1"),
        ]);
        let tun = node == "c 10 200" && said.code != 0;
        assert!(tun || said.code == 1 && said.err.contains("Operation not permitted"), "{node}: {said:?}");
    }
    let attack = "find /sys/fs/cgroup -name cgroup.procs -o -name release_agent -o -name notify_on_release -o -name devices.allow \
                  | while read f; do (echo 0 >$f) 2>/dev/null && echo \"wrote $f\"; done; \
                  mount -t cgroup -o devices x /mnt 2>/dev/null && echo mounted; mkdir /sys/fs/cgroup/x 2>/dev/null && echo made; echo end";
    assert_eq!(e.dhow(["run", "--rm", "busybox", "sh", "-c", attack]).ok(), "end");
    e.alive();
}

/// A8: a kernel parameter is a namespace's or is refused.
#[test]
fn kernel_parameters_of_the_host_stay() {
    need_root!();
    let mut e = Engine::with_busybox();
    let files = ["kernel/core_pattern", "kernel/shmmax", "kernel/panic", "vm/overcommit_memory", "kernel/domainname"];
    let all = || files.map(|f| host(&format!("/proc/sys/{f}")));
    let before = all();
    for args in [
        &["--sysctl", "kernel.core_pattern=|/bin/sh"][..],
        &["--sysctl", "vm.overcommit_memory=1"],
        &["--sysctl", "net/../kernel/core_pattern=x"],
        &["--sysctl", "net.ipv4.ip_forward=1\n+x"],
        &["--sysctl", "net.ipv4.ip_forward=0", "--network", "host"],
        &["--sysctl", "kernel.shmmax=1", "--ipc", "host"],
        &["--sysctl", "kernel.domainname=x", "--uts", "host"],
        &["--sysctl", "kernel.shm_rmid_forced"],
        &["--sysctl", "=1"],
    ] {
        let said = e.dhow(["run", "--rm"].iter().chain(args).chain(&["busybox", "true"]));
        assert!(said.code == 125 && !said.err.is_empty(), "{args:?}: {said:?}");
    }
    assert_eq!(all(), before);
    e.alive();
}

/// A9: rights of every way in.
#[test]
fn rights_of_an_exec() {
    need_root!();
    let mut e = Engine::with_busybox();
    let own = host("/proc/self/status");
    let full = own.lines().find_map(|l| l.strip_prefix("CapBnd:\t")).unwrap().to_owned();
    let (none, default) = ("0".repeat(16), "00000000a80425fb".to_owned());
    e.dhow(["run", "-d", "--name", "cc", "busybox", "sleep", "1d"]).ok();
    e.dhow(["run", "-d", "--name", "few", "--cap-drop", "ALL", "--cap-add", "CHOWN", "busybox", "sleep", "1d"]).ok();
    e.dhow(["run", "-d", "--name", "alice", "-u", "alice", "busybox", "sleep", "1d"]).ok();
    let chown = format!("{:016x}", 1);
    for (args, sets) in [
        (&["cc"][..], [&none, &default, &default, &default, &none]),
        (&["-u", "alice", "cc"], [&none, &none, &none, &default, &none]),
        (&["-u", "0:2000", "cc"], [&none, &default, &default, &default, &none]),
        (&["--privileged", "cc"], [&none, &full, &full, &full, &none]),
        (&["few"], [&none, &chown, &chown, &chown, &none]),
        (&["-u", "alice", "few"], [&none, &none, &none, &chown, &none]),
        (&["alice"], [&none, &none, &none, &default, &none]),
        (&["-u", "0", "alice"], [&none, &default, &default, &default, &none]),
    ] {
        let script = "grep ^Cap /proc/self/status | cut -f 2 | xargs";
        let out = e.dhow(["exec"].iter().chain(args).chain(&["sh", "-c", script])).ok();
        assert_eq!(out.split(' ').collect::<Vec<_>>(), sets, "exec {args:?}");
        let out = e.dhow(["exec"].iter().chain(args).chain(&["grep", "Seccomp:", "/proc/self/status"])).ok();
        if args[0] != "--privileged" {
            assert_eq!(out, "Seccomp:\t2", "exec {args:?}");
        }
    }
    e.dhow(["rm", "-f", "cc", "few", "alice"]).ok();
    e.alive();
}

/// A10: who a text means is exact, or an error.
#[test]
fn users_are_exact() {
    need_root!();
    let mut e = Engine::start(&[]);
    let passwd = b"root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n7:x:0:0::/evil:/bin/sh\n\
                   big:x:4294967296:0::/:\nneg:x:-1:0::/:\nplus:x:+0:0::/:\nempty:x::::/:\nhex:x:0x0:0::/:\n:x:0:0::/:\n";
    let group = b"root:x:0:\nalice:x:1000:\ncrew:x:2000:alice\nbig:x:4294967296:alice\nneg:x:-1:alice\n8:x:0:\n";
    image(&e, "users", |t| t.file("etc/passwd", passwd).file("etc/group", group));
    e.dhow(["run", "-d", "--name", "cc", "users", "sleep", "1d"]).ok();
    let max = "2147483647";
    let good = [
        ("0", "0 0 0"),
        ("root", "0 0 0"),
        ("alice", "1000 1000 1000 2000"),
        ("1000", "1000 1000 1000 2000"),
        ("1000:0", "1000 0 0"),
        ("alice:crew", "1000 2000 2000"),
        ("alice:2000", "1000 2000 2000"),
        ("0:8", "0 8 8"),
        ("7", "7 0 0"),
        ("1000:1000", "1000 1000 1000"),
        ("12345", "12345 0 0"),
        (max, "2147483647 0 0"),
        ("5:2147483647", "5 2147483647 2147483647"),
    ];
    let bad = [
        "2147483648",
        "4294967295",
        "4294967296",
        "18446744073709551616",
        "99999999999999999999999999",
        "-1",
        "+0",
        "0x0",
        "0.0",
        "1e3",
        " 0",
        "0 ",
        "root ",
        "ROOT",
        "a:b:c",
        "0:0:0",
        "nobody",
        "big",
        "neg",
        "plus",
        "empty",
        "hex",
        "\u{660}",
        "ro\u{f6}t",
        "root\n",
        "root\nalice",
        "root:x",
        "alice:big",
        "alice:neg",
        "1000:4294967296",
        "1000:-1",
        "1000:+0",
        "/",
        "*",
        "../root",
        "#",
        "x:x:0:0",
    ];
    let script = "echo $(id -u) $(id -g) $(id -G)";
    for (user, want) in good {
        assert_eq!(e.dhow(["exec", "-u", user, "cc", "sh", "-c", script]).ok(), want, "exec -u {user:?}");
    }
    for (user, want) in &good[..6] {
        assert_eq!(e.dhow(["run", "--rm", "-u", user, "users", "sh", "-c", script]).ok(), *want, "run -u {user:?}");
    }
    for user in bad.into_iter().chain(["root\u{0}", "\u{0}"]) {
        let body = serde_json::json!({"Image": "users", "User": user, "Cmd": ["id"]}).to_string();
        let (code, text) = e.raw("POST", "/containers/create?name=bad", body.as_bytes());
        let (code, text) = if code == 201 { e.raw("POST", "/containers/bad/start", b"") } else { (code, text) };
        assert!(code == 400, "{user:?}: {code} {text}");
        e.raw("DELETE", "/containers/bad?force=1", b"");
        let body = serde_json::json!({"User": user, "Cmd": ["id"]}).to_string();
        let (code, text) = e.raw("POST", "/containers/cc/exec", body.as_bytes());
        if code == 201 {
            let id = text.split('"').nth(3).unwrap_or_default().to_owned();
            let (code, text) = e.raw("POST", &format!("/exec/{id}/start"), b"{\"Detach\":false}");
            assert!(code == 400 || code == 200 && !text.contains("uid="), "exec as {user:?}: {code} {text}");
            assert!(!text.contains("uid=0"), "exec as {user:?}: {code} {text}");
        } else {
            assert_eq!(code, 400, "exec as {user:?}: {text}");
        }
    }
    // Nothing of the environment finds its way into the image's files.
    let args =
        ["run", "--rm", "-u", "4242", "-e", "HOME=/x:/bin/sh\nevil:x:0:0::/:/bin/sh", "users", "cat", "/etc/passwd"];
    assert_eq!(e.dhow(args).ok().as_bytes(), passwd.strip_suffix(b"\n").unwrap());
    e.dhow(["rm", "-f", "cc"]).ok();
    e.alive();
}

/// A10: files of users that are none, or have no end.
#[test]
fn user_files_are_read_with_a_limit() {
    need_root!();
    let mut e = Engine::start(&[]);
    let dir = TempDir::new();
    let sparse = dir.path().join("sparse.tar");
    let script = "cd \"$1\" && mkdir etc && truncate -s 1G etc/passwd && truncate -s 1G etc/group && tar -S --format=pax -cf sparse.tar etc";
    said(Command::new("sh").args(["-c", script, "sh"]).arg(dir.path())).ok();
    let sparse = std::fs::read(sparse).unwrap();
    let fifo = |name: &str| tests::tar::header(name.as_bytes(), b'6', 0, b"");
    image(&e, "fifo", |t| t.raw(&fifo("etc/passwd")).raw(&fifo("etc/group")));
    image(&e, "sparse", |t| t.with(&sparse));
    image(&e, "away", |t| t.symlink("etc/passwd", "/proc/self/environ").symlink("etc/group", "/dev/zero"));
    let rss = |e: &Engine| {
        let status = host(&format!("/proc/{}/status", e.pid()));
        status.lines().find_map(|l| l.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<u64>().ok()).unwrap()
    };
    let before = rss(&e);
    for name in ["fifo", "sparse", "away"] {
        for user in ["alice", "alice:crew", "0:crew"] {
            let begun = Instant::now();
            let said = e.dhow(["run", "--rm", "-u", user, name, "id"]);
            assert!(said.code == 125 && !said.err.is_empty(), "{name} {user}: {said:?}");
            assert!(begun.elapsed() < Duration::from_secs(3), "{name} {user} took {:?}", begun.elapsed());
        }
        let begun = Instant::now();
        let said = e.dhow(["run", "--rm", name, "echo", "ok"]);
        assert!(said.code == 125 || said.out == "ok\n", "{name}: {said:?}");
        assert!(begun.elapsed() < Duration::from_secs(3), "{name} took {:?}", begun.elapsed());
    }
    assert!(rss(&e) < before + (16 << 10), "the daemon grew from {before} KiB to {} KiB", rss(&e));
    e.alive();
}

/// Says for each way into the kernel what came of it, as `name errno`.
const PROBE: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>
static void say(const char *name, long r) { printf("%s %d\n", name, r < 0 ? errno : 0); }
#ifdef __x86_64__
static long old(long number, long b, long c, long d) {
    long r;
    __asm__ volatile("int $0x80" : "=a"(r) : "a"(number), "b"(b), "cc"(c), "d"(d) : "memory", "r8", "r9", "r10", "r11");
    r = (int)r;
    if (r < 0) { errno = -r; return -1; }
    return r;
}
#endif
int main(void) {
    static const unsigned long high[] = {0, 1ul << 32, 1ul << 63, 0xfffffffful << 32};
    say("inet", syscall(SYS_socket, 2, 1, 0));
    say("unix", syscall(SYS_socket, 1, 1, 0));
    for (int i = 0; i < 4; i++) {
        say("vsock", syscall(SYS_socket, 40 | high[i], 1, 0));
        say("alg", syscall(SYS_socket, 38 | high[i], 5, 0));
        say("vsock", syscall(SYS_socket, 40 | high[i], 1 | high[i], high[i]));
    }
    say("io_uring", syscall(425, 1, 0));
    say("keyctl", syscall(SYS_keyctl, 0, -3, 0));
    say("add_key", syscall(SYS_add_key, "user", "k", "v", 1, -3));
    say("unshare", unshare(CLONE_NEWUSER));
    say("unshare", unshare(CLONE_NEWNS));
    say("unshare", syscall(SYS_unshare, CLONE_NEWUSER | high[1]));
    say("clone", syscall(SYS_clone, CLONE_NEWUSER | 17, 0, 0, 0, 0));
    say("clone3", syscall(435, 0, 0));
    say("mount", mount("x", "/mnt", "tmpfs", 0, ""));
    say("fsopen", syscall(430, "tmpfs", 0));
    say("open_tree", syscall(428, -100, "/", 1));
    say("bpf", syscall(321, 0, 0, 0));
    say("userfaultfd", syscall(SYS_userfaultfd, 0));
    say("kexec", syscall(SYS_kexec_load, 0, 0, 0, 0));
    say("init_module", syscall(SYS_init_module, 0, 0, 0));
    say("pivot_root", syscall(SYS_pivot_root, "/", "/"));
    say("perf", syscall(SYS_perf_event_open, 0, 0, 0, 0, 0));
    say("reboot", syscall(SYS_reboot, 0, 0, 0, 0));
    say("swapoff", syscall(SYS_swapoff, "/x"));
    say("handle", syscall(SYS_open_by_handle_at, -1, 0, 0));
#ifdef __x86_64__
    uint32_t *a = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    for (int family = 38; family <= 40; family += 2) {
        a[0] = family; a[1] = family == 38 ? 5 : 1; a[2] = 0;
        say("socketcall", old(102, 1, (long)a, 0));
        say("i386-socket", old(359, family, a[1], 0));
        say("x32-socket", syscall(0x40000000 | 41, family, a[1], 0));
    }
    say("i386-unshare", old(310, CLONE_NEWUSER, 0, 0));
    say("i386-mount", old(21, 0, 0, 0));
    say("i386-keyctl", old(288, 0, -3, 0));
#endif
    return 0;
}
"#;

/// A15: the filter has no hole at the side.
#[test]
fn the_filter_has_no_hole() {
    need_root!();
    let mut e = Engine::with_busybox();
    let dir = TempDir::new();
    let bind = format!("{}:/probe:ro", program(&dir, "probe", PROBE));
    e.dhow(["run", "-d", "--name", "cc", "-v", &bind, "busybox", "sleep", "1d"]).ok();
    for args in [
        &["run", "--rm", "-v", &bind, "busybox", "/probe"][..],
        &["run", "--rm", "-u", "1000", "-v", &bind, "busybox", "/probe"],
        &["exec", "cc", "/probe"],
    ] {
        let out = e.dhow(args).ok();
        assert!(out.lines().count() > 30, "{out}");
        for line in out.lines() {
            let (name, errno) = line.split_once(' ').unwrap();
            let want: &[&str] = match name {
                "inet" | "unix" => &["0"],
                "clone3" => &["38"],
                _ if name.starts_with("i386") || name.starts_with("x32") || name == "socketcall" => &["1", "38"],
                _ => &["1"],
            };
            assert!(want.contains(&errno), "{args:?}: {line}, not {want:?}\n{out}");
        }
    }
    e.dhow(["rm", "-f", "cc"]).ok();
    for option in ["seccomp=", "seccomp=/nowhere/at/all"] {
        let said = e.dhow(["run", "--rm", "--security-opt", option, "busybox", "true"]);
        assert!(said.code == 125, "{option}: {said:?}");
    }
    let body = br#"{"Image":"busybox","HostConfig":{"SecurityOpt":["seccomp="]}}"#;
    assert_eq!(e.raw("POST", "/containers/create", body).0, 400);
    e.alive();
}

/// A17: metadata of an image is data.
#[test]
fn labels_and_environment_give_no_orders() {
    need_root!();
    let dir = TempDir::new();
    let recorder = dir.path().join("recorder");
    let script = r#"#!/bin/sh
for a; do [ "$last" = --bundle ] || [ "$last" = -b ] && cp "$a/config.json" "$(dirname "$0")/config.json"; last=$a; done
exit 1
"#;
    std::fs::write(&recorder, script).unwrap();
    said(Command::new("chmod").arg("755").arg(&recorder)).ok();
    let mut e = Engine::start(&["--add-runtime", &format!("recorder={}", recorder.display())]);
    let tar = busybox_tar().to_str().unwrap();
    let keys = [
        "containerd.io/restart.status",
        "containerd.io/restart.loguri",
        "io.containerd.runc.v2.group",
        "io.podman.annotations.privileged",
        "io.podman.annotations.seccomp",
        "io.podman.annotations.init",
        "io.kubernetes.cri-o.Devices",
        "io.kubernetes.cri-o.userns-mode",
        "io.kubernetes.cri.container-type",
        "run.oci.hooks.stderr",
        "run.oci.handler",
        "run.oci.keep_original_groups",
        "run.oci.systemd.subgroup",
        "cdi.k8s.io/x",
        "io.systemd.manager",
        "org.systemd.property.ExecStart",
        "com.docker.security.privileged",
        "org.criu.config",
        "io.container.manager",
        "security.alpha.kubernetes.io/unsafe-sysctls",
        "module.wasm.image/variant",
        "dhow.privileged",
    ];
    let prefixes = [
        "containerd.io/",
        "io.containerd.",
        "io.podman.annotations.",
        "io.podman.",
        "io.kubernetes.cri-o.",
        "io.kubernetes.cri.",
        "io.kubernetes.pod.",
        "run.oci.",
        "cdi.k8s.io/",
        "io.systemd.",
        "org.systemd.property.",
        "com.docker.",
        "com.docker.security.",
        "com.nvidia.",
        "org.criu.",
        "module.wasm.image/",
        "org.opencontainers.image.",
        "dhow.",
    ];
    let words = [
        "privileged",
        "seccomp",
        "apparmor",
        "label",
        "devices",
        "mounts",
        "hooks",
        "capabilities",
        "userns",
        "network",
        "pid",
        "ipc",
        "runtime",
        "restart",
        "log",
        "init",
        "cgroup",
    ];
    let generated = prefixes.iter().flat_map(|prefix| words.map(|word| format!("{prefix}{word}")));
    let keys: Vec<String> = keys.iter().map(|k| (*k).to_owned()).chain(generated).collect();
    assert!(keys.len() >= 300);
    let mut labelled: Vec<String> = vec!["import".into()];
    for key in &keys {
        labelled.extend(["-c".into(), format!("LABEL {key}=true")]);
    }
    labelled.extend([tar.to_owned(), "labelled".into()]);
    e.dhow(["import", tar, "plain"]).ok();
    e.dhow(&labelled).ok();
    let config = |image: &str| {
        let _ = std::fs::remove_file(dir.path().join("config.json"));
        let said =
            e.dhow(["run", "--rm", "--runtime", "recorder", "--network", "host", "--hostname", "h", image, "true"]);
        assert_ne!(said.code, 0);
        let text = std::fs::read_to_string(dir.path().join("config.json")).unwrap_or_else(|_| panic!("{said:?}"));
        let id = text.split(|c: char| !c.is_ascii_hexdigit()).find(|w| w.len() == 64).unwrap_or("none").to_owned();
        // Of the writable layer's place and its lower layers only the numbers differ.
        text.replace(&id, "ID")
    };
    let (plain, with_labels) = (config("plain"), config("labelled"));
    let spec = |text: &str| {
        let mut spec: serde_json::Value = serde_json::from_str(text).unwrap();
        spec["root"] = serde_json::Value::Null;
        spec
    };
    assert_eq!(spec(&plain), spec(&with_labels));
    let text = e.dhow(["image", "inspect", "labelled"]).ok();
    for key in &keys {
        assert!(text.contains(&format!("\"{key}\": \"true\"")), "{key} is not in {text}");
        assert!(!with_labels.contains(key.as_str()), "{key} is in the runtime's configuration");
    }
    // The host's environment is not the container's, whatever an image names.
    for name in ["PATH_SENTINEL", "*", "A*", "DHOW_SENTINEL"] {
        let body = serde_json::json!({"Image": "plain", "Env": [name], "Cmd": ["env"]}).to_string();
        let (code, text) = e.raw("POST", "/containers/create?name=env", body.as_bytes());
        assert!([201, 400].contains(&code), "{name}: {code} {text}");
        if code == 201 {
            let out = e.dhow(["start", "-a", "env"]);
            assert!(!out.out.contains("DOCKER_HOST") && !out.out.contains("CARGO"), "{out:?}");
            e.dhow(["rm", "-f", "env"]).ok();
        }
    }
    e.alive();
}

/// A18: a volume begins with what the image has at its place, nothing else.
#[test]
fn volumes_begin_with_the_images_files_only() {
    need_root!();
    let mut e = Engine::start(&[]);
    let canary = Canary::new();
    image(&e, "base", |t| {
        t.symlink("abs", canary.path())
            .symlink("up", "../../../../../../../tmp")
            .symlink("self", "/proc/self/root")
            .dir("own/")
            .file("own/f", b"mine")
            .symlink("own/link", canary.path())
    });
    let up = format!("/../../../..{}", canary.path());
    let places = [
        "/abs",
        "/up",
        "/self",
        "/proc/self/root",
        "/proc/1/root/tmp",
        &up,
        "/own/../../..",
        "/own/link",
        "/own/../own",
    ];
    for place in places {
        let body = serde_json::json!({"Image": "base", "Volumes": {place: {}}, "Cmd": ["sh", "-c", "find / -name file -path '*dhow-*' 2>/dev/null; echo end"]});
        let (code, text) = e.raw("POST", "/containers/create?name=v", body.to_string().as_bytes());
        assert!([201, 400].contains(&code), "{place}: {code} {text}");
        if code == 201 {
            let said = e.dhow(["start", "-a", "v"]);
            assert!(said.code != 0 || said.out == "end\n", "{place}: {said:?}");
            // Written through the volume, it stays in the volume.
            e.dhow(["cp", busybox_tar().to_str().unwrap(), &format!("v:{place}/written")]);
            e.dhow(["rm", "-f", "-v", "v"]).ok();
        }
        canary.check(place);
    }
    let script = "cat /own/f; echo; readlink /own/link";
    assert_eq!(
        e.dhow(["run", "--rm", "-v", "/own", "base", "sh", "-c", script]).ok(),
        format!("mine\n{}", canary.path())
    );
    assert_eq!(e.dhow(["volume", "ls", "-q"]).ok(), "");
    e.alive();
}
