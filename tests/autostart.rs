//! A client whose engine does not run starts it. Each test is a little machine: a process, mount and network namespace
//! with empty `/run`, `/var/lib` and `/var/log`, all of which is gone with its first process.

use std::process::Command;
use tests::{Said, dhow_bin, need_root, said};

/// Runs a shell script on a machine of its own, where `$D` is the binary under test.
fn machine(script: &str) -> Said {
    let begin = "for d in /run /var/lib /var/log; do mount -t tmpfs tmpfs $d || exit 99; done; ip link set lo up;";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]);
    command.arg(format!("{begin}{script}")).env("D", dhow_bin()).env("DOCKER_CONFIG", "/run/client");
    for name in ["DHOW_HOST", "DOCKER_HOST", "DOCKER_CONTEXT"] {
        command.env_remove(name);
    }
    said(&mut command)
}

/// Prints how many engines there are.
const ENGINES: &str = "; n=0; for c in /proc/[0-9]*/cmdline; do \
     tr '\\0' ' ' <$c 2>/dev/null | grep -q '/dhow daemon *$' && n=$((n+1)); done; echo engines=$n";

#[test]
fn the_first_command_starts_the_engine() {
    need_root!();
    let said = machine(&format!("$D run --rm hello && $D version -f '{{{{.Server.Version}}}}'{ENGINES}"));
    assert_eq!(said.err, "", "{said:?}");
    let out = said.ok();
    let last: Vec<&str> = out.lines().rev().take(2).collect();
    assert_eq!(last[0], "engines=1", "{out}");
    assert!(out.lines().count() > 2 && !last[1].is_empty(), "{out}");
}

#[test]
fn clients_at_once_start_one_engine() {
    need_root!();
    let clients = "for i in 1 2 3 4; do ($D ps -q; echo code=$?) & p=\"$p $!\"; done; wait $p";
    let said = machine(&format!("{clients}{ENGINES}"));
    assert_eq!(
        (said.code, said.out.as_str(), said.err.as_str()),
        (0, "code=0\ncode=0\ncode=0\ncode=0\nengines=1\n", "")
    );
}

#[test]
fn the_engine_outlives_its_client_and_starts_again() {
    need_root!();
    let script = "$D ps -q && kill -9 $(cat /run/dhow.pid) && while kill -0 $(cat /run/dhow.pid) 2>/dev/null; do :; done; \
         $D ps -q";
    let said = machine(&format!("{script}{ENGINES}"));
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "engines=1\n", ""));
}

#[test]
fn an_engine_that_cannot_start_is_quoted() {
    need_root!();
    let begin = "the engine did not start: it ended with exit status: 1; the end of its log:\n";
    // the second one fails after it has begun to listen
    for why in ["touch /var/lib/dhow", "mkdir -p /var/lib/dhow/network; touch /var/lib/dhow/image"] {
        let said = machine(&format!("echo earlier >/var/log/dhow.log; {why}; $D ps"));
        assert!(said.code == 1 && said.out.is_empty() && said.err.starts_with(begin), "{why}: {said:?}");
        assert!(said.err.contains("/var/lib/dhow") && !said.err.contains("earlier"), "{why}: {said:?}");
    }
}

#[test]
fn a_chosen_endpoint_is_not_started() {
    need_root!();
    let said = machine(&format!("$D -H unix:///run/other.sock ps{ENGINES}"));
    let words = "Cannot connect to the Docker daemon at unix:///run/other.sock. Is the docker daemon running?\n";
    assert_eq!((said.out.as_str(), said.err.as_str()), ("engines=0\n", words));
}

/// Climbs out of a root that was mounted upon another, rather than put in its place; says what it finds there.
const CLIMB: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
int main(void) {
    int root = open("/", O_PATH | O_DIRECTORY);
    if (root < 0 || mkdir("/below", 0700) || chroot("/below") || fchdir(root)) { perror("climb"); return 1; }
    int out = 0;
    for (int n = 0; n < 64; n++) {
        if (access("machine", F_OK) == 0 || access("chroot", F_OK) == 0) out = 1;
        if (chdir("..")) { perror(".."); return 1; }
    }
    printf("out %d\n", out);
    return 0;
}
"#;

#[test]
fn a_chroot_is_a_machine() {
    need_root!();
    let dir = tests::TempDir::new();
    std::fs::write(dir.path().join("climb.c"), CLIMB).expect("climb.c");
    let at = |name: &str| dir.path().join(name).display().to_string();
    said(Command::new("cc").args(["-O1", "-static", "-o", &at("climb"), &at("climb.c")])).ok();
    // Shared, as systemd makes it: nothing of a container may come to be mounted outside.
    let script = format!(
        "set -e; m={}; mount --make-rshared /; touch $m/machine; mkdir -p $m/r; cd $m/r; touch chroot
         mkdir bin proc sys dev tmp run etc var var/lib var/log
         cp $D bin/dhow; cp $(command -v busybox) {} bin; ln -s busybox bin/sh; ln -s busybox bin/cat
         mount -t proc proc proc; mount -t sysfs sysfs sys; mount --rbind /sys/fs/cgroup sys/fs/cgroup
         mount --rbind /dev dev; mount -t tmpfs tmpfs var/lib; mount -t tmpfs tmpfs run; before=$(wc -l </proc/self/mountinfo)
         cp {} var/lib/busybox.tar
         chroot . /bin/climb; rmdir below
         dhow() {{ chroot . /bin/dhow \"$@\"; }}
         dhow import var/lib/busybox.tar busybox >run/id
         dhow run -v /bin:/from:ro busybox /from/climb
         dhow run -v /:/all:ro busybox sh -c 'ls /all | tr \"\\n\" \" \"; touch /made'
         last=$(dhow ps -lq); dhow cp $last:/etc/group - | grep -c crew; dhow cp bin/cat $last:/made; dhow rm $last >run/id
         echo $((before - $(wc -l </proc/self/mountinfo)))",
        dir.path().display(),
        at("climb"),
        tests::busybox_tar().display()
    );
    let said = machine(&script);
    assert_eq!(
        (said.err.as_str(), said.out.as_str()),
        ("", "out 1\nout 0\nbin chroot dev etc proc run sys tmp var 1\n0\n"),
        "{said:?}"
    );
}
