//! Images: pull from a real registry, list, tag, remove, import.

use std::process::Command;
use tests::{Engine, Registry, TempDir, busybox_tar, need_root, said};

/// Pushes a busybox image with two layers as `name` into the registry; `format` is `oci` or `v2s2`.
fn push(e: &Engine, registry: &Registry, name: &str, format: &str) {
    let dir = TempDir::new();
    let script = r#"
        set -e; cd "$1"
        umoci init --layout l; umoci new --image l:x
        umoci unpack --rootless --image l:x b 2>/dev/null || umoci unpack --image l:x b
        tar -C b/rootfs -xf "$2"; umoci repack --image l:x b
        rm -rf b; umoci unpack --image l:x b
        rm b/rootfs/etc/group; echo two >b/rootfs/etc/two; mkdir -p b/rootfs/opt; chown 5:6 b/rootfs/etc/two; chmod 4711 b/rootfs/etc/two
        setfattr -n user.note -v hi b/rootfs/etc/two 2>/dev/null || true
        ln -s two b/rootfs/etc/link
        umoci repack --image l:x b; umoci config --image l:x --config.cmd sh --config.env GREETING=ahoy --author test
        "#;
    said(Command::new("sh").args(["-c", script, "sh"]).arg(dir.path()).arg(busybox_tar())).ok();
    let (from, to) =
        (format!("oci:{}:x", dir.path().join("l").display()), format!("docker://{}/{name}", registry.host));
    said(e.net.command("skopeo").args([
        "copy",
        "-q",
        "--insecure-policy",
        "--dest-tls-verify=false",
        "--format",
        format,
        &from,
        &to,
    ]))
    .ok();
}

#[test]
fn pull_run_and_compare_with_what_was_pushed() {
    need_root!();
    let e = Engine::start(&[]);
    let registry = Registry::start(&e.net);
    for format in ["oci", "v2s2"] {
        let name = format!("boat:{format}");
        push(&e, &registry, &name, format);
        let full = format!("{}/{name}", registry.host);
        let said = e.dhow(["pull", &full]);
        let out = said.clone().ok();
        assert!(out.starts_with(&format!("{format}: Pulling from boat\n")), "{out}");
        assert!(out.ends_with(&format!("Status: Downloaded newer image for {full}\n{full}")), "{out}");
        assert_eq!(e.dhow(["pull", "-q", &full]).ok(), full);
        assert!(e.dhow(["pull", &full]).ok().contains("Status: Image is up to date for"));
        let script = "echo $GREETING; [ -e /etc/group ] || echo whiteout; stat -c '%a %u:%g %h' /etc/two; cat /etc/link; wc -l </etc/passwd";
        let out = e.dhow(["run", "--rm", &full, "sh", "-c", script]).ok();
        assert_eq!(out, "ahoy\nwhiteout\n4711 5:6 1\ntwo\n3");
    }
    let by_digest = e.dhow(["images", "--digests", "--format", "{{.Repository}}@{{.Digest}}"]).ok();
    let one = by_digest.lines().find(|l| l.contains("boat@sha256:")).unwrap().to_owned();
    assert_eq!(e.dhow(["run", "--rm", &one, "echo", "ok"]).ok(), "ok");
}

#[test]
fn run_pulls_what_is_missing() {
    need_root!();
    let e = Engine::start(&[]);
    let registry = Registry::start(&e.net);
    push(&e, &registry, "auto:1", "oci");
    let full = format!("{}/auto:1", registry.host);
    e.dhow(["run", "--rm", "--pull", "never", &full, "true"]).fails(125, "No such image");
    let said = e.dhow(["run", "--rm", &full, "echo", "up"]);
    assert_eq!(said.out, "up\n");
    assert!(said.err.starts_with(&format!("Unable to find image '{full}' locally")), "{said:?}");
}

#[test]
fn tags_and_removal_follow_dockers_rules() {
    need_root!();
    let e = Engine::with_busybox();
    e.dhow(["tag", "busybox", "other:1"]).ok();
    let id = e.dhow(["images", "-q", "--no-trunc", "busybox"]).ok();
    assert_eq!(e.dhow(["images", "-q", "--no-trunc", "other"]).ok(), id);
    e.dhow(["rmi", &id]).fails(1, "must be forced");
    assert_eq!(e.dhow(["rmi", "other:1"]).ok(), "Untagged: other:1");
    e.dhow(["create", "--name", "user", "busybox"]).ok();
    e.dhow(["rmi", "busybox"]).fails(1, "conflict: unable to remove repository reference \"busybox\" (must force)");
    e.dhow(["rm", "user"]).ok();
    let out = e.dhow(["rmi", "busybox"]).ok();
    assert!(out.starts_with("Untagged: busybox:latest\nDeleted: sha256:"), "{out}");
    e.dhow(["rmi", "busybox"]).fails(1, "No such image: busybox");
    let layers = e.dir.path().join("data/layer");
    let used = said(Command::new("du").args(["-sk"]).arg(&layers)).ok();
    let kib: u64 = used.split_whitespace().next().unwrap().parse().unwrap();
    assert!(kib < 2000, "the layers of a removed image are still there: {used}");
}

#[test]
fn import_makes_an_image_of_a_template() {
    need_root!();
    let e = Engine::start(&[]);
    let tar = busybox_tar().to_str().unwrap();
    let id = e.dhow(["import", "-c", "CMD [\"echo\",\"default\"]", "-c", "ENV X=1", "-m", "note", tar, "t:1"]).ok();
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(e.dhow(["run", "--rm", "t:1"]).ok(), "default");
    assert_eq!(
        e.dhow(["image", "inspect", "--format", "{{.Id}} {{.Comment}} {{index .Config.Env 0}}", "t:1"]).ok(),
        format!("{id} note X=1")
    );
    let mut command = e.dhow_command(["import", "-", "stdin:1"]);
    let file = std::fs::File::open(tar).unwrap();
    assert!(command.stdin(file).output().unwrap().status.success());
    assert_eq!(e.dhow(["run", "--rm", "stdin:1", "echo", "hi"]).ok(), "hi");
}

#[test]
fn a_registry_that_fails_is_named() {
    need_root!();
    let e = Engine::start(&[]);
    e.dhow(["pull", "127.0.0.1:1/none"]).fails(1, "connection refused");
    let registry = Registry::start(&e.net);
    e.dhow(["pull", &format!("{}/none:1", registry.host)]).fails(1, "not found");
    e.dhow(["pull", "UPPER"]).fails(1, "must be lowercase");
    e.dhow(["run", "--rm", "a:b:c"]).fails(125, "invalid reference format");
}
