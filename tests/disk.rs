//! A disk without room, and one without inodes: what was asked for is refused with the reason, nothing is left of it, what
//! runs goes on, and what gives room back works.

use std::path::PathBuf;
use tests::{Engine, Registry, Said, busybox_tar, need_root, wait_for};

/// Takes the last of one thing from a disk, and gives it back.
struct Hog(Vec<PathBuf>);

impl Hog {
    /// All blocks, to the last byte that root may have.
    fn of_room(e: &Engine) -> Hog {
        let path = e.dir.path().join("data/hog");
        let mut file = std::fs::File::create(&path).unwrap();
        for size in [1 << 20, 4096, 1] {
            let piece = vec![1; size];
            while std::io::Write::write_all(&mut file, &piece).is_ok() {}
        }
        Hog(vec![path])
    }

    /// All inodes.
    fn of_inodes(e: &Engine) -> Hog {
        let dir = e.dir.path().join("data/hogs");
        std::fs::create_dir(&dir).unwrap();
        let mut n = 0;
        while std::fs::File::create(dir.join(n.to_string())).is_ok() {
            n += 1;
        }
        Hog(vec![dir])
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
        }
    }
}

#[track_caller]
fn refused(said: Said, what: &str) {
    let reason = said.err.contains("No space left on device") || said.err.contains("no space left on device");
    assert!(said.code != 0 && reason, "{what}: {said:?}");
}

fn full(disk: u64, fill: fn(&Engine) -> Hog) {
    let mut e = Engine::on_disk(disk);
    e.import_busybox();
    let registry = Registry::start(&e.net);
    let image = crate::steps::push(&e.net, &registry);
    let script = "n=0; while :; do n=$((n+1)); echo line $n; usleep 20000; done";
    e.dhow(["run", "-d", "--name", "talks", "busybox", "sh", "-c", script]).ok();
    e.dhow(["create", "--name", "down", "busybox", "sh", "-c", "echo x >/file && echo written"]).ok();
    e.dhow(["volume", "create", "kept"]).ok();
    let before = e.stored();
    let hog = fill(&e);

    refused(e.dhow(["create", "--name", "new", "busybox"]), "create");
    refused(e.dhow(["run", "--rm", "-v", "/new", "busybox", "true"]), "run");
    refused(e.dhow(["volume", "create", "new"]), "volume create");
    refused(e.dhow(["pull", &image]), "pull");
    refused(e.dhow(["import", busybox_tar().to_str().unwrap(), "new"]), "import");
    // A start may do without room, or say why not.
    let start = e.dhow(["start", "-a", "down"]);
    assert!(start.code == 0 || !start.err.is_empty(), "start: {start:?}");
    assert_eq!(e.dhow(["exec", "talks", "echo", "still"]).ok(), "still");
    assert_eq!(e.dhow(["logs", "-n", "1", "talks"]).code, 0);
    e.dhow(["ps", "-a"]).ok();
    e.dhow(["inspect", "talks"]).ok();
    // The beginning of a blob is kept for the next attempt.
    let left = e.stored().into_iter().filter(|p| !before.contains(p) && !p.starts_with("layer/partial"));
    assert_eq!(left.collect::<Vec<_>>(), [""; 0], "something is left of what was refused");
    e.dhow(["stop", "-t", "0", "talks"]).ok();
    assert_eq!(e.dhow(["wait", "talks"]).ok(), "137");
    // A daemon that finds it so starts, and what gives room back works.
    e.kill9();
    e.run();
    e.dhow(["rm", "down"]).ok();
    e.dhow(["volume", "rm", "kept"]).ok();
    drop(hog);
    // What could not be noted for want of room is noted now, by itself.
    wait_for("the engine to be as it should", || e.faults().is_empty().then_some(()));
    assert_eq!(e.dhow(["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "talks"]).ok(), "exited 137");
    for (at, line) in e.dhow(["logs", "talks"]).ok().lines().enumerate().take(5) {
        assert_eq!(line, format!("line {}", at + 1));
    }
    e.dhow(["pull", "-q", &image]).ok();
    assert_eq!(e.dhow(["run", "--rm", &image, "cat", "/two"]).ok(), "two");
    e.dhow(["create", "--name", "new", "busybox"]).ok();
    e.dhow(["rmi", &image]).ok();
    e.clean("at the end");
}

#[test]
fn without_room() {
    need_root!();
    full(64, Hog::of_room);
}

#[test]
fn without_inodes() {
    need_root!();
    full(64, Hog::of_inodes);
}
