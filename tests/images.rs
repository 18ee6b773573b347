//! Images: pull from a real registry, list, tag, remove, import.

use std::path::Path;
use std::process::{Command, Stdio};
use tests::{Engine, Registry, Said, TempDir, busybox_tar, need_root, said, wait_for};

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
    upload(e, registry, &dir, name, format);
}

/// Copies the image `x` of the layout `l` in `dir` into the registry.
fn upload(e: &Engine, registry: &Registry, dir: &TempDir, name: &str, format: &str) {
    let (from, to) =
        (format!("oci:{}:x", dir.path().join("l").display()), format!("docker://{}/{name}", registry.host));
    let words = ["copy", "-q", "--insecure-policy", "--dest-tls-verify=false", "--format", format, &from, &to];
    said(e.net.command("skopeo").args(words)).ok();
}

/// Pushes busybox with two layers of bytes that do not compress on top, big enough to be caught in the middle.
fn push_large(e: &Engine, registry: &Registry, name: &str) {
    let dir = TempDir::new();
    let script = r#"
        set -e; cd "$1"; umoci init --layout l; umoci new --image l:x; umoci raw add-layer --image l:x "$2"
        for n in 1 2; do
            head -c 64M /dev/urandom >"bytes$n"; tar --owner=0 --group=0 -cf layer.tar "bytes$n"
            umoci raw add-layer --image l:x layer.tar; rm layer.tar
        done
        umoci config --image l:x --config.cmd sh"#;
    said(Command::new("sh").args(["-c", script, "sh"]).arg(dir.path()).arg(busybox_tar())).ok();
    upload(e, registry, &dir, name, "oci");
}

/// The blobs that the registry has given away: digest, status, bytes of the body.
fn given(registry: &Registry) -> Vec<(String, u16, u64)> {
    let log = std::fs::read_to_string(registry.path().join("log")).unwrap();
    let one = |line: &str| {
        let (_, request) = line.split_once("\"GET /v2/")?;
        let (path, rest) = request.split_once(" HTTP/1.1\" ")?;
        let mut numbers = rest.split(' ');
        let digest = path.split_once("/blobs/")?.1.to_owned();
        Some((digest, numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    };
    log.lines().filter_map(one).collect()
}

/// The beginnings of blobs that an engine keeps to go on with: digest and size.
fn beginnings(e: &Engine) -> Vec<(String, u64)> {
    let dir = std::fs::read_dir(e.dir.path().join("data/layer/partial"));
    let entries = dir.into_iter().flatten().flatten();
    let one = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?.replacen('-', ":", 1);
        Some((name, entry.metadata().ok()?.len()))
    };
    entries.filter_map(one).collect()
}

#[test]
fn a_pull_goes_on_where_a_killed_daemon_stopped() {
    need_root!();
    let mut e = Engine::start(&[]);
    let registry = Registry::start(&e.net);
    push_large(&e, &registry, "large:1");
    let full = format!("{}/large:1", registry.host);
    let mut command = e.dhow_command(["pull", &full]);
    let mut client = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("the download to be under way", || beginnings(&e).iter().any(|(_, size)| *size > 4 << 20).then_some(()));
    e.kill9();
    assert!(!client.wait().unwrap().success());
    let kept: Vec<_> = beginnings(&e).into_iter().filter(|(name, _)| !name.ends_with(".whole")).collect();
    assert!(kept.iter().any(|(_, size)| *size > 4 << 20), "caught too late: {kept:?}");
    // What the registry was still sending is logged when it notices that nobody is there.
    let before = given(&registry).len();
    e.run();
    e.dhow(["pull", &full]).ok();
    let sizes = sizes(&e, &registry, "large");
    let resumed: Vec<_> = given(&registry).into_iter().skip(before).filter(|(_, status, _)| *status == 206).collect();
    assert!(!resumed.is_empty(), "{:?}", given(&registry));
    for (digest, _, bytes) in resumed {
        let (_, offset) = kept.iter().find(|(name, _)| *name == digest).expect("only what was begun is gone on with");
        assert_eq!(bytes + offset, sizes[&digest], "only the rest is fetched");
    }
    let script = "ls -l /bytes1 /bytes2 | awk '{print $5}'";
    assert_eq!(e.dhow(["run", "--rm", &full, "sh", "-c", script]).ok(), "67108864\n67108864");
    assert_eq!(beginnings(&e).iter().filter(|(name, _)| !name.ends_with(".whole")).count(), 0);
}

/// Sizes of the layers of an image in the registry.
fn sizes(e: &Engine, registry: &Registry, name: &str) -> std::collections::HashMap<String, u64> {
    let url = format!("http://{}/v2/{name}/manifests/1", registry.host);
    let accept = "Accept: application/vnd.oci.image.manifest.v1+json";
    let text = said(e.net.command("curl").args(["-fsS", "-H", accept, &url])).ok();
    let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers.map(|l| (l["digest"].as_str().unwrap().to_owned(), l["size"].as_u64().unwrap())).collect()
}

#[test]
fn two_clients_share_one_download() {
    need_root!();
    let e = Engine::start(&[]);
    let registry = Registry::start(&e.net);
    push_large(&e, &registry, "large:1");
    let full = format!("{}/large:1", registry.host);
    let clients = [0, 1].map(|_| {
        let mut command = e.dhow_command(["pull", &full]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    });
    let docker = e.docker(["pull", &full]).ok();
    assert!(docker.starts_with("1: Pulling from large\n"), "{docker}");
    for client in clients {
        let out = Said::from(client.wait_with_output().unwrap()).ok();
        assert!(out.ends_with(&full), "{out}");
    }
    let mut digests: Vec<_> = given(&registry).into_iter().map(|(digest, ..)| digest).collect();
    digests.sort();
    let all = digests.len();
    digests.dedup();
    assert_eq!((digests.len(), all), (4, 4), "the configuration and three layers, once each: {digests:?}");
    e.dhow(["rmi", &full]).ok();
    // Removed trees leave in the background.
    let layers = e.dir.path().join("data/layer");
    wait_for("the space to be free", || {
        let used = said(Command::new("du").args(["-sk"]).arg(&layers)).out;
        used.split_whitespace().next()?.parse::<u64>().ok().filter(|kib| *kib < 2000)
    });
}

/// What there is to know of every file in `t` below a root, by the host's own tools.
fn listing(root: &Path) -> String {
    let script = r#"
        cd "$1" || exit 1; export LC_ALL=C
        find t -type d -printf '%p d %m %U:%G %T@\n' | sort
        find t ! -type d -printf '%p %y %m %U:%G %T@ %n %s %l\n' | sort
        find t \( -type b -o -type c \) -exec stat -c '%n %t,%T' {} + | sort
        find t -type f -exec sha256sum {} + | sort
        find t | sort | while read -r f; do getfattr -h -d -m - "$f" 2>/dev/null; done; true"#;
    said(Command::new("sh").args(["-c", script, "sh"]).arg(root)).ok()
}

#[test]
fn a_pulled_tree_is_what_another_unpacker_makes_of_it() {
    need_root!();
    let e = Engine::start(&[]);
    let registry = Registry::start(&e.net);
    let dir = TempDir::new();
    let script = r#"
        set -e; cd "$1"; umoci init --layout l; umoci new --image l:x; umoci raw add-layer --image l:x "$2"
        add() { tar --xattrs --xattrs-include='*' --format=posix --numeric-owner --sort=name -cf layer.tar -C "$1" .; umoci raw add-layer --image l:x layer.tar; }
        mkdir -p one/t/opaque/below one/t/goes/deep one/t/merged one/t/kind one/t/sticky; cd one/t
        echo a >opaque/a; echo b >opaque/below/b; echo c >goes/deep/c; echo d >goes-too; echo e >merged/e; echo f >kind/f
        echo twin >twin1; ln twin1 twin2; ln -s twin1 link; ln -s /no/where dangling; mkfifo -m 600 pipe; mknod -m 640 null c 1 3; mknod -m 660 disk b 7 9
        chmod 1777 sticky; echo su >su; chown 3:4 su; chmod 6755 su; echo group >sticky/g; chown 0:100 merged; chmod 2775 merged
        n=$(printf '%0120d' 7); mkdir -p "$n/$n"; echo long >"$n/$n/$n"; echo ü >"grün ☂"; : >empty; echo solo >solo
        truncate -s 1M holes; printf x | dd of=holes bs=1 seek=500000 conv=notrunc status=none
        echo x >attributes; setfattr -n user.note -v hi attributes; setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 attributes
        touch -d '2001-02-03 04:05:06.789' twin1; touch -h -d 1999-01-01 link; touch -d 2010-10-10 goes merged empty; cd ../..; add one
        mkdir -p two/t/opaque two/t/merged; cd two/t; : >.wh.goes; : >.wh.goes-too; : >opaque/.wh..wh..opq; echo new >opaque/new
        chmod 750 opaque; chown 0:100 merged; chmod 2775 merged; echo two >merged/two; echo 'a file now' >kind; chmod 400 kind; cd ../..; add two
        mkdir -p three/t/goes three/t/merged; cd three/t; echo again >goes/again; : >merged/.wh.e; mkdir solo; echo in >solo/in
        touch -d 2020-02-02 goes/again goes; cd ../..; add three
        umoci config --image l:x --config.cmd sh; umoci unpack --image l:x unpacked"#;
    said(Command::new("sh").args(["-c", script, "sh"]).arg(dir.path()).arg(busybox_tar())).ok();
    let full = format!("{}/tree:1", registry.host);
    for format in ["oci", "v2s2"] {
        upload(&e, &registry, &dir, "tree:1", format);
        e.dhow(["pull", "-q", &full]).ok();
        e.dhow(["run", "-d", "--name", format, &full, "sleep", "1000"]).ok();
        let pid = e.inspect(format)["State"]["Pid"].as_i64().unwrap();
        let (ours, theirs) =
            (listing(Path::new(&format!("/proc/{pid}/root"))), listing(&dir.path().join("unpacked/rootfs")));
        assert!(theirs.lines().count() > 35, "{theirs}");
        for (ours, theirs) in ours.lines().zip(theirs.lines()) {
            assert_eq!(ours, theirs);
        }
        assert_eq!(ours.lines().count(), theirs.lines().count());
        e.dhow(["rm", "-f", format]).ok();
        e.dhow(["rmi", &full]).ok();
    }
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
    // Removed trees leave in the background.
    let layers = e.dir.path().join("data/layer");
    wait_for("the space to be free", || {
        let used = said(Command::new("du").args(["-sk"]).arg(&layers)).out;
        used.split_whitespace().next()?.parse::<u64>().ok().filter(|kib| *kib < 2000)
    });
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
fn templates_are_imported_however_they_are_packed() {
    need_root!();
    let e = Engine::start(&[]);
    let dir = TempDir::new();
    let plain = e.dhow(["import", busybox_tar().to_str().unwrap(), "plain"]).ok();
    let layers = |image: &str| e.dhow(["image", "inspect", "-f", "{{.RootFS.Layers}}", image]).ok();
    let wanted = layers(&plain);
    for tool in ["gzip", "bzip2", "xz", "zstd"] {
        let packed = dir.path().join(tool);
        let out = std::fs::File::create(&packed).unwrap();
        let mut command = Command::new(tool);
        assert!(command.args(["-1", "-c"]).arg(busybox_tar()).stdout(out).status().unwrap().success());
        e.dhow(["import", packed.to_str().unwrap(), tool]).ok();
        assert_eq!(layers(tool), wanted, "{tool}");
        let torn = dir.path().join(format!("{tool}.torn"));
        let bytes = std::fs::read(&packed).unwrap();
        std::fs::write(&torn, &bytes[..bytes.len() / 2]).unwrap();
        let failed = e.dhow(["import", torn.to_str().unwrap(), "torn"]);
        assert!(failed.code == 1 && !failed.err.is_empty(), "{tool}: {failed:?}");
        e.dhow(["image", "inspect", "torn"]).fails(1, "No such image");
    }
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
