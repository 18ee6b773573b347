//! `system check`: a healthy engine is clean, and each kind of fault is named, mended, and named no more.

use std::path::{Path, PathBuf};
use std::process::Command;
use tests::{Engine, need_root, said, wait_for};

/// An ID that no container has.
const NOBODY: &str = "00000000000000000000000000000000000000000000000000000000000000aa";

fn write(path: impl AsRef<Path>, text: &str) {
    std::fs::write(&path, text).unwrap_or_else(|e| panic!("{}: {e}", path.as_ref().display()));
}

/// One that is running with a port, a volume and shared memory, one paused, one that has ended, one never started.
fn busy(e: &Engine) -> [String; 4] {
    let run = |args: &[&str]| e.dhow([&["run", "-d"], args].concat()).ok();
    let sleep = ["busybox", "sleep", "1d"];
    let up = run(&[&["--name", "up", "-p", "8080:80", "-v", "data:/d", "--ipc", "shareable"], &sleep[..]].concat());
    let paused = run(&[&["--name", "paused", "--network", "none"], &sleep[..]].concat());
    e.dhow(["pause", "paused"]).ok();
    let ended = e.dhow(["create", "--name", "ended", "busybox", "false"]).ok();
    e.dhow(["start", "-a", "ended"]).fails(1, "");
    let created = e.dhow(["create", "--name", "created", "busybox"]).ok();
    [up, paused, ended, created]
}

#[test]
fn an_engine_at_work_is_clean() {
    need_root!();
    let mut e = Engine::with_busybox();
    e.clean("at the beginning");
    busy(&e);
    std::thread::scope(|scope| {
        let e = &e;
        for at in 0..2 {
            scope.spawn(move || {
                for n in 0..6 {
                    let name = format!("w{at}-{n}");
                    e.dhow(["run", "--rm", "--name", &name, "-v", "/anonymous", "busybox", "true"]).ok();
                    e.dhow(["import", tests::busybox_tar().to_str().unwrap(), &name]).ok();
                    e.dhow(["rmi", &name]).ok();
                }
            });
        }
        (0..3).for_each(|_| e.clean("at work"));
    });
    e.clean("afterwards");
    e.check_at_rest(false).fails(2, "is in use by another daemon");
    e.dhow(["unpause", "paused"]).ok();
    e.stop();
    let said = e.check_at_rest(false);
    assert_eq!((said.code, said.out.as_str()), (0, ""), "{said:?}");
    e.run();
    e.clean("after a start");
}

/// A fault is made, named with `named`, mended, and gone.
#[track_caller]
fn mended(e: &Engine, path: &Path, named: &str) {
    let path = path.display().to_string();
    let told = |s: tests::Said| {
        let line = s.out.lines().find(|line| line.contains(&path) && line.contains(named));
        assert!(line.is_some(), "expected {named:?} of {path}: {s:?}");
    };
    told(e.check(false));
    told(e.check(true));
    e.clean(named);
}

#[test]
fn what_is_wrong_with_an_engine_at_work() {
    need_root!();
    let e = Engine::with_busybox();
    let [up, _, ended, created] = busy(&e);
    let (data, run) = (e.dir.path().join("data"), e.dir.path().join("run"));
    let container = |id: &str| data.join("container").join(id);

    std::fs::remove_file(run.join("network").join(format!("{up}.json"))).unwrap();
    mended(&e, &run.join("network").join(format!("{up}.json")), "No such file");
    write(run.join("network").join(format!("{NOBODY}.json")), "{}");
    mended(&e, &run.join("network").join(format!("{NOBODY}.json")), "nobody knows this lease");
    let ip = |args: &[&str]| said(e.net.command("ip").args(args)).ok();
    ip(&["link", "add", "vethlost", "type", "veth"]);
    ip(&["link", "set", "vethlost", "alias", &format!("dhow:dhow:{NOBODY}")]);
    mended(&e, Path::new("link/vethlost"), "no container has this device");

    write(container(&up).join("config.json"), "{");
    mended(&e, &container(&up).join("config.json"), "EOF while parsing");
    std::fs::remove_file(container(&ended).join("state.json")).unwrap();
    mended(&e, &container(&ended).join("state.json"), "it is not what the container does");
    write(container(&created).join("config.json.tmp"), "{");
    mended(&e, &container(&created).join("config.json.tmp"), "was cut off");
    write(container(&ended).join("exit.json"), "{");
    mended(&e, &container(&ended).join("exit.json"), "cannot be read");
    std::fs::create_dir(container(NOBODY)).unwrap();
    mended(&e, &container(NOBODY), "only half made or half removed");
    std::fs::create_dir(run.join("container").join(&ended)).unwrap();
    mended(&e, &run.join("container").join(&ended), "left of a run that is over");
    std::fs::create_dir(run.join("container").join(NOBODY)).unwrap();
    mended(&e, &run.join("container").join(NOBODY), "left of a container that nobody knows");
    std::fs::create_dir_all(run.join("container/shm").join(&ended)).unwrap();
    mended(&e, &run.join("container/shm").join(&ended), "shared memory");
    let cgroup = match Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        true => PathBuf::from("/sys/fs/cgroup/dhow").join(&ended),
        false => PathBuf::from("/sys/fs/cgroup/pids/dhow").join(&ended),
    };
    std::fs::create_dir(&cgroup).unwrap();
    mended(&e, &cgroup, "this cgroup is left of container");

    write(data.join("volume/data/volume.json"), "?");
    mended(&e, &data.join("volume/data"), "the record of this volume is unreadable");
    std::fs::create_dir_all(data.join("layer/rw").join(NOBODY).join("u")).unwrap();
    mended(&e, &data.join("layer/rw").join(NOBODY), "no record says");
    assert!(data.join(format!("layer/quarantine/rw-{NOBODY}.0/u")).exists(), "what was written is kept");
    write(data.join("image/repositories.json"), "{}");
    mended(&e, &data.join("image/repositories.json"), "missing field");
    write(data.join("engine-id"), "x");
    mended(&e, &data.join("engine-id"), "identifier");
    assert_eq!(e.dhow(["exec", "up", "echo", "still"]).ok(), "still");
}

#[test]
fn what_can_only_be_told() {
    need_root!();
    let e = Engine::with_busybox();
    let data = e.dir.path().join("data");
    e.dhow(["create", "--name", "cc", "-v", "gone:/d", "busybox"]).ok();
    std::fs::rename(data.join("volume/gone"), data.join("elsewhere")).unwrap();
    let told = |text: &str| {
        for repair in [false, true] {
            let said = e.check(repair);
            assert!(said.code == 1 && said.out.contains(text), "expected {text:?}: {said:?}");
        }
    };
    told("volume gone of container");
    std::fs::rename(data.join("elsewhere"), data.join("volume/gone")).unwrap();
    e.clean("the volume is back");
    // A file that is short.
    let find = Command::new("find").arg(data.join("layer/layers")).args(["-name", "busybox", "-size", "+0"]).output();
    let program = PathBuf::from(String::from_utf8(find.unwrap().stdout).unwrap().lines().next().unwrap());
    let whole = std::fs::read(&program).unwrap();
    std::fs::write(&program, &whole[1..]).unwrap();
    told("bytes of files where its record says");
    std::fs::write(&program, &whole).unwrap();
    e.clean("the file is whole");
    // A blob of the built-in image.
    let id = e.dhow(["image", "inspect", "-f", "{{.Id}}", "hello"]).ok();
    let blob = data.join("layer/blobs/sha256").join(id.strip_prefix("sha256:").unwrap());
    let mut bytes = std::fs::read(&blob).unwrap();
    bytes[0] ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    let said = e.check(true);
    assert!(said.code == 1 && said.out.contains("it is damaged: its digest is"), "{said:?}");
    assert!(!blob.exists(), "a damaged blob is put aside");
    told("blob");
    e.dhow(["rmi", "-f", "hello"]).ok();
    e.clean("the image is gone");
}

#[test]
fn what_is_wrong_with_an_engine_at_rest() {
    need_root!();
    let mut e = Engine::with_busybox();
    let id = e.dhow(["create", "--name", "cc", "busybox", "sh", "-c", "echo mine >/file"]).ok();
    e.dhow(["start", "-a", "cc"]).ok();
    e.dhow(["tag", "busybox", "other"]).ok();
    e.stop();
    let data = e.dir.path().join("data");
    let layers = data.join("layer/layers");
    let numbers = std::fs::read_dir(&layers).unwrap().flatten().map(|d| d.path()).collect::<Vec<_>>();
    let hello = e_layer(&numbers, "hello");
    write(data.join("container").join(&id).join("config.json"), "{");
    write(hello.join("meta.json"), "{");
    std::fs::create_dir_all(layers.join("77/d")).unwrap();
    std::fs::create_dir_all(data.join("volume/.new-x")).unwrap();
    write(e.dir.path().join("run/network").join(format!("{NOBODY}.json")), "?");
    let before = said(Command::new("find").arg(&data)).ok();
    let looked = e.check_at_rest(false);
    for text in [
        "the container's record is damaged",
        "its record is damaged",
        "its unpacking was cut off",
        "the making of this volume was cut off",
        &format!("{NOBODY}.json"),
        "is missing",
        "name hello:latest is that of image",
    ] {
        assert!(looked.code == 1 && looked.out.contains(text), "expected {text:?}: {looked:?}");
    }
    assert_eq!(said(Command::new("find").arg(&data)).ok(), before, "looking changes nothing");
    e.check_at_rest(true).ok();
    assert_eq!(e.check_at_rest(false).ok(), "");
    // What the container wrote is kept, however often the engine starts.
    let kept = data.join("layer/rw").join(&id).join("u/file");
    for _ in 0..2 {
        e.run();
        e.clean("after the repair");
        assert_eq!(e.dhow(["ps", "-aq"]).ok(), "");
        assert_eq!(std::fs::read_to_string(&kept).unwrap(), "mine\n");
        assert_eq!(e.dhow(["images", "-q", "hello"]).ok(), "");
        e.stop();
    }
    e.run();
}

/// The layer that has this file in its root.
fn e_layer(layers: &[PathBuf], file: &str) -> PathBuf {
    layers.iter().find(|l| l.join("d").join(file).exists()).unwrap().clone()
}

#[test]
fn a_container_that_runs_without_a_record_is_told_of_and_ended() {
    need_root!();
    let mut e = Engine::with_busybox();
    let id = e.dhow(["run", "-d", "-p", "8080:80", "busybox", "sleep", "1d"]).ok();
    let start = e.dir.path().join("run/container").join(&id).join("start.json");
    let pid = |key: &str| {
        let record: serde_json::Value = serde_json::from_slice(&std::fs::read(&start).unwrap()).unwrap();
        rustix::process::Pid::from_raw(record[key].as_i64().unwrap() as i32).unwrap()
    };
    let (first, supervisor) = (pid("pid"), pid("supervisor"));
    e.kill9();
    write(e.dir.path().join("data/container").join(&id).join("config.json"), "{");
    e.run();
    let run = start.parent().unwrap();
    mended(&e, run, &format!("its supervisor is process {}", supervisor.as_raw_nonzero()));
    wait_for("the end", || {
        [first, supervisor].iter().all(|p| rustix::process::test_kill_process(*p).is_err()).then_some(())
    });
    assert_eq!(tests::cgroups_of(&id), [] as [String; 0]);
    e.dhow(["run", "--rm", "-p", "8080:80", "busybox", "true"]).ok();
}
