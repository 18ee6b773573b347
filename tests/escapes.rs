//! Races and links: what a container's program does to its own files while the engine works on them, and what an image
//! puts where the engine mounts. Whatever happens inside, nothing outside is touched. `DHOW_TEST_RACES` multiplies the
//! rounds.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tests::evil::{self, Evil};
use tests::tar::{Tar, header};
use tests::{Canary, Engine, TempDir, busybox_tar, image, need_root, program, said, wait_for};

/// Rounds of a race.
fn rounds(few: usize) -> usize {
    few * std::env::var("DHOW_TEST_RACES").ok().and_then(|n| n.parse::<usize>().ok()).unwrap_or(1)
}

/// Exchanges each pair of its arguments, for ever.
const EXCHANGE: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
int main(int n, char **a) {
    for (int i = 1; i + 1 < n; i += 2)
        if (renameat2(AT_FDCWD, a[i], AT_FDCWD, a[i + 1], RENAME_EXCHANGE)) { perror(a[i]); return 1; }
    puts("begun"); fflush(stdout);
    for (;;)
        for (int i = 1; i + 1 < n; i += 2) renameat2(AT_FDCWD, a[i], AT_FDCWD, a[i + 1], RENAME_EXCHANGE);
}
"#;

/// Makes as many directories, each in the one before.
const DEEP: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
int main(int n, char **a) {
    for (int i = 2; i < n; i++) {
        if (chdir(a[i])) { perror(a[i]); return 1; }
        for (int d = atoi(a[1]); d > 0; d--) if (mkdir("d", 0755) || chdir("d")) { perror("d"); return 1; }
    }
    return 0;
}
"#;

fn begun(e: &Engine, name: &str) {
    wait_for("the race to begin", || (e.dhow(["logs", name]).out == "begun\n").then_some(()));
}

fn mounts() -> String {
    std::fs::read_to_string("/proc/self/mountinfo").unwrap()
}

/// A1, A3: links where the engine mounts and makes directories.
#[test]
fn links_where_the_engine_mounts() {
    need_root!();
    let mut e = Engine::start(&[]);
    let canary = Canary::new();
    let up = format!("../../../../../../..{}", canary.path());
    let forms = [canary.path(), up.as_str(), "/proc/self/root", "/proc/1/cwd", "/proc/self/fd/7"];
    let volume = TempDir::new();
    std::fs::write(volume.path().join("marker"), "volume").unwrap();
    let bind = |to: &str| format!("{}:{to}", volume.path().display());
    for (n, form) in forms.iter().enumerate() {
        let magic = form.starts_with("/proc");
        let name = format!("linked{n}");
        image(&e, &name, |t| t.symlink("place", form).symlink("mtab", form).symlink("home", form));
        // What is mounted there lands inside, or is refused with the place's name.
        for args in [
            ["-v", &bind("/place")],
            ["-v", &bind("/place/new")],
            ["-v", "vol:/place/vol"],
            ["--tmpfs", "/place/tmp"],
            ["-w", "/place/work"],
            ["-w", "/home"],
        ] {
            let ran =
                e.dhow(["run", "--rm", args[0], args[1], &name, "sh", "-c", "cat /place/file 2>&1; pwd >/dev/null"]);
            assert!(!ran.out.contains("alive"), "{form} {args:?}: {ran:?}");
            let place = args[1].rsplit(':').next().unwrap();
            let inside = ran.code == 0 || ran.code == 1;
            let refused = (125..=127).contains(&ran.code) && ran.err.contains(place);
            assert!(if magic { refused } else { inside || refused }, "{form} {args:?}: {ran:?}");
            canary.check(form);
        }
        if n > 2 {
            continue;
        }
        // The three files that the engine mounts itself.
        for file in ["etc/hosts", "etc/hostname", "etc/resolv.conf"] {
            let target = if magic { (*form).to_owned() } else { format!("{form}/file") };
            image(&e, "files", |t| t.symlink(file, &target));
            let ran = e.dhow(["run", "--rm", "files", "sh", "-c", &format!("echo x >>/{file}; cat /{file}")]);
            assert!(!ran.out.contains("alive") && (ran.code == 0 || ran.err.contains(file)), "{file}: {ran:?}");
            canary.check(file);
        }
        for dir in ["proc", "sys", "dev", "etc"] {
            let tar = Tar::new().with(&std::fs::read(busybox_tar()).unwrap());
            let said = e.import("trusted", &tar.symlink(dir, form).end());
            let ran = if said.code == 0 { e.dhow(["run", "--rm", "trusted", "cat", "/etc/hosts"]) } else { said };
            // Nothing is taken from there: /etc is just a directory of the image, the others must be none but themselves.
            let refused = ran.code == 125 && ran.err.contains(&format!("/{dir}"));
            assert!(refused || dir == "etc" && !ran.out.contains("alive"), "{dir} -> {form}: {ran:?}");
            canary.check(dir);
        }
    }
    assert_eq!(std::fs::read_to_string(volume.path().join("marker")).unwrap(), "volume");
    e.dhow(["volume", "rm", "-f", "vol"]).ok();
    e.alive();
}

/// A2, A4: an image's own /dev, whatever is in it.
#[test]
fn an_images_devices_are_not_used() {
    need_root!();
    let mut e = Engine::start(&[]);
    let canary = Canary::new();
    let file = format!("{}/file", canary.path());
    let names = ["dev/null", "dev/console", "dev/tty", "dev/pts/0", "dev/ptmx", "dev/pts/ptmx"];
    for kind in ["link", "fifo", "file", "device", "directory"] {
        let name = format!("dev-{kind}");
        image(&e, &name, |t| {
            names.iter().fold(t.dir("dev/").dir("dev/pts/"), |t, name| match kind {
                "link" => t.symlink(name, &file),
                "fifo" => t.raw(&header(name.as_bytes(), b'6', 0, b"")),
                "file" => t.file(name, b"bait"),
                "device" => t.node(name, b'3', 1, 8),
                _ => t.dir(&format!("{name}/")),
            })
        });
        let script =
            "stat -c '%n %t:%T' /dev/null /dev/tty; [ ! -e /proc/kcore ] || wc -c </proc/kcore; wc -c </proc/keys";
        for flags in [&["run", "--rm"][..], &["run", "--rm", "-t"], &["run", "--rm", "--init"]] {
            let ran = e.dhow(flags.iter().copied().chain([&name, "sh", "-c", script]));
            let out = ran.out.replace('\r', "");
            assert!(out.starts_with("/dev/null 1:3\n/dev/tty 5:0\n0\n"), "{kind} {flags:?}: {ran:?}");
            assert_eq!(out.replace("0\n", ""), "/dev/null 1:3\n/dev/tty 5:", "{kind} {flags:?}");
            canary.check(kind);
        }
    }
    // Nor is anything put over what the kernel reads and writes.
    for name in ["/proc/sysrq-trigger", "/proc/self/attr/current", "/proc/1/uid_map"] {
        let said = e.dhow(["run", "--rm", "-v", &format!("{file}:{name}"), "dev-file", "true"]);
        let there = std::path::Path::new(name).exists();
        assert!((125..=127).contains(&said.code) && (!there || said.err.contains("inside /proc")), "{name}: {said:?}");
        canary.check(name);
    }
    e.alive();
}

/// A1: two containers share a volume; one exchanges a directory with a link to the outside while others begin that mount
/// below it.
#[test]
fn a_shared_volume_is_raced_by_its_owner() {
    need_root!();
    let mut e = Engine::with_busybox();
    let (canary, dir) = (Canary::new(), TempDir::new());
    let exchange = format!("{}:/exchange:ro", program(&dir, "exchange", EXCHANGE));
    let make =
        format!("mkdir -p /vol/dir/sub && ln -s {} /vol/link && exec /exchange /vol/dir /vol/link", canary.path());
    e.dhow(["run", "-d", "--name", "racer", "-v", "shared:/vol", "-v", &exchange, "busybox", "sh", "-c", &make]).ok();
    begun(&e, "racer");
    let bait = TempDir::new();
    std::fs::write(bait.path().join("bait"), "bait").unwrap();
    let below = format!("{}:/vol/dir/file", bait.path().join("bait").display());
    let host = mounts();
    let mut started = 0;
    for n in 0..rounds(50) {
        let more =
            [["--tmpfs", "/vol/dir/sub"], ["-v", &below], ["-v", "other:/vol/dir/new"], ["-w", "/vol/dir/deep"]][n % 4];
        let ran = e.dhow(["run", "--rm", "-v", "shared:/vol", more[0], more[1], "busybox", "cat", "/vol/dir/file"]);
        assert!(!ran.out.contains("alive"), "{more:?}: {ran:?}");
        started += usize::from(ran.code < 125);
        let explained = ran.code < 125 || ran.err.contains("OCI runtime");
        assert!(explained, "{more:?}: {ran:?}");
    }
    assert!(started > 0);
    canary.check("a start");
    assert_eq!(mounts(), host);
    e.dhow(["rm", "-f", "racer"]).ok();
    e.dhow(["volume", "rm", "-f", "shared", "other"]).ok();
    e.alive();
}

/// C1: copies in and out while the paths change under them.
#[test]
fn copies_are_raced_by_the_container() {
    need_root!();
    let mut e = Engine::start(&[]);
    let (canary, dir) = (Canary::new(), TempDir::new());
    let exchange = format!("{}:/exchange:ro", program(&dir, "exchange", EXCHANGE));
    image(&e, "raced", |t| t.dir("run/").symlink("var/run", "/run"));
    // Made by the container itself: overlayfs exchanges no directory of a lower layer.
    let place = canary.path();
    let make = format!(
        "mkdir -p /a/sub && echo inside | tee /a/file /f >/v/file && ln -s {place} /b && ln -s {place}/file /g && exec /exchange /a /b /f /g"
    );
    e.dhow(["run", "-d", "--name", "cc", "-v", "vol:/v", "-v", &exchange, "raced", "sh", "-c", &make]).ok();
    begun(&e, "cc");
    let upload = Tar::new().file("new", b"evil").dir("sub/").file("sub/deep", b"evil").end();
    let paths = ["/a", "/a/", "/a/.", "/a/file", "/a/sub", "/f", "/b/file", "/b", "/v", "/var/run"];
    let (mut good, mut bad) = (0, 0);
    let mut ask = |method: &str, n: usize| {
        let path = paths[n % paths.len()];
        let body = if method == "PUT" { &upload[..] } else { b"" };
        let (code, text) = e.raw(method, &format!("/containers/cc/archive?path={path}"), body);
        assert!(!text.contains("alive"), "{method} {path} gave what is outside");
        assert!([200, 400, 403, 404, 500].contains(&code) && !text.contains("panic"), "{method} {path}: {code} {text}");
        *if code == 200 { &mut good } else { &mut bad } += 1;
    };
    let methods = ["GET", "PUT", "HEAD"];
    (0..rounds(120)).for_each(|n| ask(methods[n % 3], n / 3));
    e.dhow(["pause", "cc"]).ok();
    (0..rounds(30)).for_each(|n| ask(methods[n % 3], n / 3));
    e.dhow(["unpause", "cc"]).ok();
    e.dhow(["stop", "-t", "0", "cc"]).ok();
    (0..rounds(30)).for_each(|n| ask(methods[n % 3], n / 3));
    assert!(good > bad, "{good} good, {bad} bad");
    canary.check("a copy");
    // What has always worked: /var/run is a link to /run.
    let (code, text) = e.raw("PUT", "/containers/cc/archive?path=/var/run", &Tar::new().file("pid", b"1").end());
    assert_eq!(code, 200, "{text}");
    assert!(e.raw("GET", "/containers/cc/archive?path=/run/pid", b"").1.contains("pid"));
    e.dhow(["rm", "-f", "-v", "cc"]).ok();
    e.dhow(["volume", "rm", "-f", "vol"]).ok();
    e.alive();
}

/// C1: an upload that stalls holds up nobody.
#[test]
fn a_stalled_upload_holds_up_nobody() {
    use std::io::Write;
    need_root!();
    let mut e = Engine::with_busybox();
    e.dhow(["run", "-d", "--name", "cc", "busybox", "sleep", "1d"]).ok();
    let mut upload = std::os::unix::net::UnixStream::connect(e.dir.path().join("sock")).unwrap();
    let head = "PUT /containers/cc/archive?path=/tmp HTTP/1.1\r\nHost: d\r\nContent-Type: application/x-tar\r\nContent-Length: 1000000\r\n\r\n";
    upload.write_all(head.as_bytes()).unwrap();
    upload.write_all(&Tar::new().file("first", b"1").raw(&header(b"second", b'0', 900_000, b"")).cut()).unwrap();
    wait_for("the first file", || (e.dhow(["exec", "cc", "cat", "/tmp/first"]).out == "1").then_some(()));
    let at = Instant::now();
    e.dhow(["stop", "-t", "0", "cc"]).ok();
    assert!(at.elapsed() < Duration::from_secs(1), "stop took {:?}", at.elapsed());
    e.dhow(["start", "cc"]).ok();
    e.dhow(["rm", "-f", "cc"]).ok();
    drop(upload);
    e.alive();
}

/// B7: someone who still has a removed directory open exchanges its parts while they are being removed.
#[test]
fn removals_are_raced() {
    use rustix::fs::{Mode, OFlags, RenameFlags, open, renameat_with};
    need_root!();
    let mut e = Engine::with_busybox();
    let canary = Canary::new();
    let data = e.dir.path().join("data");
    let fill = |at: &std::path::Path| {
        for name in ["dir/sub", "dir/more", "other"] {
            std::fs::create_dir_all(at.join(name)).unwrap();
            (0..20).for_each(|n| std::fs::write(at.join(name).join(n.to_string()), "x").unwrap());
        }
        std::os::unix::fs::symlink(canary.path(), at.join("link")).unwrap();
        std::os::unix::fs::symlink(canary.path(), at.join("dir/link")).unwrap();
        open(at, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
    };
    let upper = |id: &str| data.join("layer/rw").join(id).join("u");
    for n in 0..rounds(60) {
        let id = e.raw("POST", "/containers/create", br#"{"Image":"busybox","Volumes":{"/v":{}}}"#).1;
        let id = id.split('"').nth(3).unwrap().to_owned();
        let volume = e.inspect(&id)["Mounts"][0]["Source"].as_str().unwrap().to_owned();
        let open = [fill(&upper(&id)), fill(std::path::Path::new(&volume))];
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for dir in &open {
                let stop = &stop;
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let _ = renameat_with(dir, "dir", dir, "link", RenameFlags::EXCHANGE);
                        let _ = renameat_with(dir, "other", dir, "dir/link", RenameFlags::EXCHANGE);
                    }
                });
            }
            let (code, text) = e.raw("DELETE", &format!("/containers/{id}?v=1"), b"");
            stop.store(true, Ordering::Relaxed);
            assert!(code == 204 || text.contains("message"), "{n}: {code} {text}");
        });
        canary.check("rm -v");
    }
    e.dhow(["volume", "prune", "-f"]).ok();
    // Whatever the race left half removed goes at the next start at the latest.
    e.stop();
    e.run();
    wait_for("the rest to go", || {
        let left = said(Command::new("find").arg(&data).args(["-path", "*dir/more*"])).ok();
        left.is_empty().then_some(())
    });
    canary.check("the start");
    e.alive();
}

/// B7: a program may make trees of any depth. They are looked at, packed and removed as others are.
#[test]
fn very_deep_trees() {
    need_root!();
    let mut e = Engine::with_busybox();
    let dir = TempDir::new();
    let deep = format!("{}:/deep:ro", program(&dir, "deep", DEEP));
    e.dhow(["run", "--name", "cc", "-v", "vol:/v", "-v", &deep, "busybox", "/deep", "1200", "/v", "/tmp"]).ok();
    for args in [&["diff", "cc"][..], &["ps", "-a", "-s"], &["system", "df", "-v"], &["inspect", "-s", "cc"]] {
        let said = e.dhow(args);
        assert!(said.code == 0 || !said.err.is_empty(), "{args:?}: {said:?}");
        e.dhow(["version"]).ok();
    }
    for args in
        [["export", "-o", "/dev/null", "cc"], ["cp", "-q", "cc:/tmp", "/dev/null"], ["cp", "-q", "cc:/v", "/dev/null"]]
    {
        let said = e.dhow(args);
        assert!(said.code == 0 || !said.err.is_empty(), "{args:?}: {said:?}");
    }
    e.dhow(["rm", "cc"]).ok();
    // Deep in an archive, below a volume of the image: copied, or refused in words.
    let long = format!("deep/{}f", "d/".repeat(450));
    image(&e, "deep", |t| t.pax(&[("path", long.as_bytes())]).file("f", b"x"));
    let ran = e.dhow(["run", "--rm", "-v", "/deep", "deep", "true"]);
    assert!(ran.code == 0 || ran.code == 125 && ran.err.contains("copy"), "{ran:?}");
    e.dhow(["create", "--name", "other", "deep", "true"]).ok();
    e.dhow(["diff", "other"]).ok();
    e.dhow(["rm", "-v", "other"]).ok();
    e.dhow(["rmi", "deep"]).ok();
    // Half removed by a daemon that died, it does not keep the next from starting.
    assert_eq!(e.dhow(["volume", "ls", "-q"]).ok(), "vol");
    let volumes = e.dir.path().join("data/volume");
    e.stop();
    std::fs::rename(volumes.join("vol"), volumes.join(".gone-0")).unwrap();
    e.run();
    wait_for("the rest to go", || (!volumes.join(".gone-0").exists()).then_some(()));
    e.alive();
}

/// A17: what an image says of its environment is what the container gets, to the letter, and nothing of the host's.
#[test]
fn an_images_environment_is_data() {
    need_root!();
    let mut e = Engine::start(&[]);
    let base = std::fs::read(busybox_tar()).unwrap();
    let env =
        ["FOO", "*", "A*", "=x", "PLAIN=1", "TWICE=1", "TWICE=2", "NL=a\nb", "HOME=/x\nevil:x:0:0", "DOCKER_HOST", ""];
    let config = serde_json::json!({"architecture": "amd64", "os": "linux", "config": {"Env": env, "Cmd": ["env"]},
        "rootfs": {"type": "layers", "diff_ids": [evil::digest(&base)]}});
    let parts = evil::with_config(config, &[base]);
    let server = Evil::start(&e.net, move |asked| parts.answer(asked));
    let name = format!("{}/env", server.host);
    e.dhow(["pull", "-q", &name]).ok();
    let inspected: serde_json::Value = serde_json::from_str(&e.dhow(["image", "inspect", &name]).ok()).unwrap();
    assert_eq!(inspected[0]["Config"]["Env"], serde_json::json!(env));
    let ran = e.dhow(["run", "--rm", &name]);
    let host: Vec<String> = std::env::vars().filter(|(_, v)| v.len() > 3).map(|(k, v)| format!("{k}={v}")).collect();
    let allowed = ["PATH=", "HOSTNAME=", "HOME=", "TERM="];
    for line in ran.out.lines() {
        let own = allowed.iter().any(|name| line.starts_with(name));
        assert!(own || !host.iter().any(|h| h == line), "{line} is the host's: {ran:?}");
        assert!(!line.starts_with("DOCKER_HOST") && !line.starts_with("FOO="), "{ran:?}");
    }
    assert!(ran.code == 125 && !ran.err.is_empty() || ran.out.contains("PLAIN=1\n"), "{ran:?}");
    e.alive();
}
