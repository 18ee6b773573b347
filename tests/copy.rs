//! `cp` in and out of running and stopped containers.

use tests::{Engine, TempDir, need_root};

#[test]
fn files_and_directories_go_both_ways() {
    need_root!();
    let e = Engine::with_busybox();
    e.dhow([
        "run",
        "-d",
        "--name",
        "run",
        "busybox",
        "sh",
        "-c",
        "echo inside >/f; mkdir -p /d/e; echo deep >/d/e/g; ln -s /etc/passwd /l; touch /ready; sleep 1d",
    ])
    .ok();
    tests::wait_for("the files", || (e.dhow(["exec", "run", "ls", "/ready"]).code == 0).then_some(()));
    e.dhow(["create", "--name", "still", "busybox", "cat", "/up/h", "/up/k/m"]).ok();
    let dir = TempDir::new();
    let at = |name: &str| dir.path().join(name).display().to_string();
    e.dhow(["cp", "run:/f", &at("f")]).ok();
    assert_eq!(std::fs::read_to_string(at("f")).unwrap(), "inside\n");
    e.dhow(["cp", "run:/d", &at("d")]).ok();
    assert_eq!(std::fs::read_to_string(at("d/e/g")).unwrap(), "deep\n");
    e.dhow(["cp", "run:/l", &at("l")]).ok();
    assert_eq!(std::fs::read_link(at("l")).unwrap().to_str(), Some("/etc/passwd"));
    std::fs::create_dir_all(dir.path().join("up/k")).unwrap();
    std::fs::write(at("up/h"), "one\n").unwrap();
    std::fs::write(at("up/k/m"), "two\n").unwrap();
    e.dhow(["cp", &at("up"), "still:/up"]).ok();
    assert_eq!(e.dhow(["start", "-a", "still"]).ok(), "one\ntwo");
    e.dhow(["cp", &at("up/h"), "run:/tmp/"]).ok();
    assert_eq!(e.dhow(["exec", "run", "cat", "/tmp/h"]).ok(), "one");
    e.dhow(["cp", "run:/none", &at("x")]).fails(1, "Could not find the file /none in container run");
    e.docker(["cp", "run:/f", &at("by-docker")]).ok();
    assert_eq!(std::fs::read_to_string(at("by-docker")).unwrap(), "inside\n");
}
