use crate::world::*;
use serde_json::{Value, json};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, chown};

fn map(container: u32, host: u32, size: u32) -> Value {
    json!([{"containerID": container, "hostID": host, "size": size}])
}

#[test]
fn an_idmapped_mount_shows_other_owners() {
    let mut world = World::sh("stat -c %u:%g /data/f; touch /data/new; stat -c %u:%g /data/new");
    let data = world.dir.join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("f"), "").unwrap();
    for path in [&data, &data.join("f")] {
        chown(path, Some(1000), Some(1001)).unwrap();
    }
    world.spec["mounts"].as_array_mut().unwrap().push(json!({
        "destination": "/data", "type": "bind", "source": data, "options": ["bind", "idmap"],
        "uidMappings": map(1000, 0, 1), "gidMappings": map(1001, 0, 1),
    }));
    let said = world.does("run c");
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "0:0\n0:0\n", ""));
    let new = std::fs::metadata(data.join("new")).unwrap();
    assert_eq!((new.uid(), new.gid()), (1000, 1001));
    world.is_empty();

    world.spec["mounts"][3]["gidMappings"] = json!([]);
    let text = world.does("run c").refused(1);
    assert!(text.ends_with("idmapped mount at \"/data\": uidMappings and gidMappings are needed both"), "{text}");
    world.spec["mounts"][3] = json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["idmap"]});
    let text = world.does("run c").refused(1);
    assert!(text.ends_with("idmapped mount at \"/data\": only a bind can have uidMappings and gidMappings"), "{text}");
}

#[test]
fn a_user_namespace_with_idmapped_mounts() {
    let mut world = World::sh("id -u; stat -c %u:%g /data; cat /proc/self/uid_map; touch /data/new && echo made");
    // Where root of the container could not go by itself.
    let data = world.dir.join("closed/data");
    std::fs::create_dir_all(&data).unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(world.dir.join("closed"), std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::create_dir(world.rootfs().join("data")).unwrap();
    let linux = &mut world.spec["linux"];
    linux["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    linux["uidMappings"] = map(0, 100_000, 65536);
    linux["gidMappings"] = map(0, 100_000, 65536);
    // Those of the container, as no others are named.
    world.spec["mounts"]
        .as_array_mut()
        .unwrap()
        .push(json!({"destination": "/data", "type": "bind", "source": data, "options": ["rbind", "ridmap"]}));
    let said = world.does("run c");
    let lines: Vec<String> = said.out.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines, ["0", "0:0", "0 100000 65536", "made"], "{said:?}");
    // What root of the container makes is on the disk as root's.
    assert_eq!(std::fs::metadata(data.join("new")).unwrap().uid(), 0);
    world.is_empty();
}

#[test]
fn a_seccomp_listener_gets_the_notifications() {
    let mut world = World::sh("touch /tmp/x; mkdir /tmp/d 2>/dev/null || echo refused; echo done");
    std::os::unix::fs::symlink("busybox", world.rootfs().join("bin/mkdir")).unwrap();
    let path = world.dir.join("listener");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    world.spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "listenerMetadata": "meta",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}],
    });
    world.does("create c").fine();
    let pid = world.state()["pid"].as_i64().unwrap();
    // Before the command can begin.
    let (socket, _) = listener.accept().unwrap();
    let mut packet = vec![0; 4096];
    let (n, fds) = sys::socket::recv_with_fds(socket.as_fd(), &mut packet).unwrap();
    let told: Value = serde_json::from_slice(&packet[..n]).unwrap();
    assert_eq!(fds.len(), 1);
    assert_eq!((&told["fds"], &told["metadata"], &told["pid"]), (&json!(["seccompFd"]), &json!("meta"), &json!(pid)));
    assert_eq!((&told["state"]["id"], &told["state"]["bundle"]), (&json!("c"), &json!(world.dir.join("bundle"))));
    // Nobody answers: when the listener is gone, the kernel says ENOSYS.
    world.does("start c").fine();
    assert!(alive(pid));
    drop(fds);
    world.until("stopped");
    world.does("delete c").fine();
    world.is_empty();
}

#[test]
fn what_a_listener_needs() {
    let refused = |seccomp: Value| {
        let mut world = World::new(&["true"]);
        world.spec["linux"]["seccomp"] = seccomp;
        world.does("create c").refused(1).replace("dhow create failed: unable to start container process: ", "")
    };
    let rule = |name: &str| json!([{"names": [name], "action": "SCMP_ACT_NOTIFY"}]);
    assert_eq!(
        refused(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rule("mkdir")})),
        "seccomp: SCMP_ACT_NOTIFY needs a listenerPath"
    );
    assert_eq!(
        refused(json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/x"})),
        "seccomp: SCMP_ACT_NOTIFY cannot be used as default action"
    );
    for name in ["sendmsg", "write"] {
        assert_eq!(
            refused(json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x", "syscalls": rule(name)})),
            format!("seccomp: SCMP_ACT_NOTIFY cannot be used for the {name} syscall")
        );
    }
    assert_eq!(
        refused(json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"})),
        "seccomp: listenerMetadata needs a listenerPath"
    );
    // One that nothing is for stands idle.
    let mut world = World::new(&["true"]);
    world.spec["linux"]["seccomp"] =
        json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nosuch", "listenerMetadata": "x"});
    world.does("run c").fine();
}

#[test]
fn a_listener_that_is_not_there_stops_the_start() {
    let mut world = World::sleeper();
    world.spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nosuch/listener",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
    });
    let text = world.does("create c").refused(1);
    assert!(
        text.ends_with("failed to connect with seccomp agent /nosuch/listener: no such file or directory"),
        "{text}"
    );
    world.is_empty();
}

#[test]
fn personality_and_seccomp_flags() {
    let mut world = World::sh("busybox uname -m; grep Seccomp: /proc/self/status");
    world.spec["linux"]["personality"] = json!({"domain": "LINUX32"});
    world.spec["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"]});
    let machine = if cfg!(target_arch = "x86_64") { "i686" } else { "armv8l" };
    assert_eq!(world.does("run c").fine(), format!("{machine}\nSeccomp:\t2\n"));
}

#[test]
fn without_pivot_root() {
    let world = World::sh("ls /; ls /..");
    let shown = world.does("run --no-pivot c").fine();
    assert_eq!(shown, "bin\ndev\netc\nproc\nsys\ntmp\n".repeat(2));
    world.is_empty();
    // Nor does it get at a procfs without the container's masks by users of its own.
    let mut world = World::new(&["busybox", "unshare", "-mrpf", "mount", "-t", "proc", "none", "/proc"]);
    world.spec["linux"]["maskedPaths"] = json!(["/proc/meminfo"]);
    let capabilities = json!(["CAP_SETFCAP", "CAP_SETUID", "CAP_SETGID"]);
    world.spec["process"]["capabilities"] =
        json!({"bounding": capabilities, "effective": capabilities, "permitted": capabilities});
    for line in ["run c", "run --no-pivot c"] {
        let said = world.does(line);
        assert_eq!((said.code, said.err.contains("ermission")), (1, true), "{line}: {said:?}");
    }
    world.is_empty();
}

#[test]
fn a_keyring_of_its_own_or_the_callers() {
    // The file shows the keyrings of other containers too: so each has a name of its own here.
    let mut world = World::new(&["grep", "-c", "", "/proc/keys"]);
    for (option, name, count) in [(None, "own", "1\n"), (Some("--no-new-keyring"), "callers", "0\n")] {
        let id = format!("{name}-{}", world.name);
        world.spec["process"]["args"][2] = json!(format!("_ses.{id}"));
        let line: Vec<&str> = ["run"].into_iter().chain(option).chain([id.as_str()]).collect();
        assert_eq!(world.run(&line).out, count, "{name}");
    }
}

#[test]
fn an_exec_has_the_cpu_affinity_that_it_asks_for() {
    let mut world = World::sleeper();
    world.spec["process"]["execCPUAffinity"] = json!({"initial": "0", "final": "0"});
    world.does("run -d c").fine();
    assert_eq!(
        world.run(&["exec", "c", "grep", "Cpus_allowed_list", "/proc/self/status"]).fine(),
        "Cpus_allowed_list:\t0\n"
    );
}

#[test]
fn a_user_namespace_of_another_container_is_joined() {
    let first = {
        let mut world = World::sleeper();
        let linux = &mut world.spec["linux"];
        linux["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        linux["uidMappings"] = map(0, 100_000, 65536);
        linux["gidMappings"] = map(0, 200_000, 65536);
        world.does("run -d c").fine();
        world
    };
    let pid = first.state()["pid"].as_i64().unwrap();
    let user = format!("/proc/{pid}/ns/user");
    // With namespaces of its own, which belong to that user namespace, and the other's network.
    let script = "id -u; echo $$; readlink /proc/self/ns/user; cat /proc/self/gid_map; cat /proc/sys/kernel/hostname";
    let mut world = World::sh(script);
    world.spec["linux"]["namespaces"] = json!([{"type": "pid"}, {"type": "mount"}, {"type": "uts"}, {"type": "ipc"},
        {"type": "user", "path": user}, {"type": "network", "path": format!("/proc/{pid}/ns/net")}]);
    let said = world.does("run c");
    let lines: Vec<String> = said.out.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let namespace = std::fs::read_link(&user).unwrap().to_str().unwrap().to_owned();
    assert_eq!(lines, ["0", "1", namespace.as_str(), "0 200000 65536", "box"], "{said:?}");
    world.is_empty();

    // A network of the host's users, over which that user namespace gives no right.
    let network = world.dir.join("network");
    std::fs::write(&network, "").unwrap();
    let script = "mount --bind /proc/self/ns/net \"$1\"";
    let made = std::process::Command::new("unshare")
        .args(["--net", "sh", "-c", script, "sh", network.to_str().unwrap()])
        .status();
    assert!(made.unwrap().success());
    world.spec["process"]["args"] = json!(["readlink", "/proc/self/ns/net"]);
    world.spec["linux"]["namespaces"][5]["path"] = json!(network);
    let said = world.does("run c");
    let number = std::fs::metadata(&network).unwrap().ino();
    assert!(std::process::Command::new("umount").arg(&network).status().unwrap().success());
    assert_eq!(said.fine(), format!("net:[{number}]\n"));
    world.spec["linux"]["namespaces"][5]["path"] = json!(format!("/proc/{pid}/ns/net"));
    world.spec["process"]["args"] = json!(["sleep", "1000"]);
    world.does("run -d c").fine();
    assert_eq!(world.does("exec c id -u").fine(), "0\n");
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.state()["pid"])).unwrap();
    assert!(status.contains("Uid:\t100000\t"), "{status}");
    world.does("delete -f c").fine();
    world.is_empty();
}

#[test]
fn network_devices_move_in_with_their_addresses() {
    // The host's side is a network namespace of the test's own.
    let mut world = World::sh("busybox ip -o addr show dev inside0; busybox ip link show inside0 | grep -c UP");
    let ip = |script: &str| {
        let name = &world.name;
        let line = script.replace("NS", name);
        assert!(std::process::Command::new("/bin/sh").args(["-c", &line]).status().unwrap().success(), "{line}");
    };
    ip(
        "ip netns add NS && ip -n NS link add outside0 type veth peer name peer0 && ip -n NS addr add 10.99.7.3/24 dev outside0 \
        && ip -n NS addr add fd99::3/64 dev outside0 nodad && ip -n NS link set outside0 up",
    );
    world.spec["linux"]["netDevices"] = json!({"outside0": {"name": "inside0"}});
    let (command, out) = world.command(&["run", "c"]);
    // `ip netns exec` would take the cgroups away.
    let mut child = std::process::Command::new("nsenter")
        .arg(format!("--net=/run/netns/{}", world.name))
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(world.dir.join("bundle"))
        .stdin(std::process::Stdio::null())
        .stdout(std::fs::File::create(&out).unwrap())
        .stderr(std::fs::File::create(out.with_extension("err")).unwrap())
        .spawn()
        .unwrap();
    let code = wait(&mut child);
    let said = std::fs::read_to_string(&out).unwrap() + &std::fs::read_to_string(out.with_extension("err")).unwrap();
    ip("ip netns del NS");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("inet 10.99.7.3/24") && said.contains("inet6 fd99::3/64"), "{said}");
    assert_eq!(said.lines().last(), Some("1"), "{said}");

    world.spec["linux"]["netDevices"] = json!({"nosuch0": {}});
    let text = world.does("run c").refused(1);
    assert!(text.ends_with("move network device \"nosuch0\" as \"nosuch0\": link not found: no such device"), "{text}");
    world.is_empty();
}

#[test]
fn what_nobody_here_could_enforce_is_left_out_with_a_warning() {
    let mut world = World::new(&["cat", "/etc/file"]);
    std::fs::write(world.dir.join("file"), "seen").unwrap();
    let source = world.dir.join("file").display().to_string();
    world.spec["mounts"].as_array_mut().unwrap().push(json!(
        {"destination": "/etc/file", "type": "bind", "source": source, "options": ["bind", "ro", "mode=755", "size=1k"]}
    ));
    world.spec["linux"]["resources"] = json!({"devices": [
        {"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwa"},
    ]});
    let mut warned = vec!["mode=755", "size=1k", "rwa"];
    if !std::path::Path::new("/sys/module/apparmor").exists() {
        world.spec["process"]["apparmorProfile"] = json!("some-profile");
        warned.push("some-profile");
    }
    if !std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        world.spec["process"]["selinuxLabel"] = json!("a:b:c:s0");
        world.spec["linux"]["mountLabel"] = json!("d:e:f:s0");
        warned.extend(["a:b:c:s0", "d:e:f:s0"]);
    }
    let said = world.does("run c");
    assert_eq!((said.code, said.out.as_str()), (0, "seen"), "{said:?}");
    assert_eq!(said.err.lines().count(), warned.len(), "{said:?}");
    for word in warned {
        let line = said.err.lines().find(|line| line.contains(word)).unwrap_or_else(|| panic!("no {word} in {said:?}"));
        let why = if word == "rwa" { "there are only r, w and m" } else { "has no effect" };
        assert!(line.contains("level=warning") && line.contains(why), "{line}");
    }
    // Nothing is left out of what asks for nothing, and a rule for no way at all is none.
    let mut world = World::new(&["true"]);
    if !std::path::Path::new("/sys/module/apparmor").exists() {
        world.spec["process"]["apparmorProfile"] = json!("unconfined");
    }
    (world.spec["process"]["selinuxLabel"], world.spec["linux"]["mountLabel"]) = (json!(""), json!(""));
    world.does("run c").fine();
    world.spec["linux"]["resources"] = json!({"devices": [{"allow": true, "type": "c", "access": "x"}]});
    assert!(world.does("run c").refused(1).ends_with("the access is not of r, w and m"));
    world.is_empty();
}

#[test]
fn capabilities_that_cannot_be_given_are_left_out_with_a_warning() {
    let mut world = World::new(&["grep", "CapEff", "/proc/self/status"]);
    let names = json!(["CAP_CHOWN", "CAP_OF_TOMORROW"]);
    world.spec["process"]["capabilities"] = json!({"bounding": names, "effective": names, "permitted": names});
    let said = world.does("run c");
    assert_eq!((said.code, said.out.as_str()), (0, "CapEff:\t0000000000000001\n"), "{said:?}");
    assert!(said.err.contains("level=warning msg=\"ignoring unknown or unavailable capabilities: [CAP_OF_TOMORROW]\""));
}

#[test]
fn what_joins_has_the_personality_and_the_last_variable_of_a_name() {
    let mut world = World::sleeper();
    std::os::unix::fs::symlink("busybox", world.rootfs().join("bin/uname")).unwrap();
    world.spec["linux"]["personality"] = json!({"domain": "LINUX32"});
    world.spec["process"]["env"] = json!(["A=1", "PATH=/bin", "A=2"]);
    world.does("create c").fine();
    world.does("start c").fine();
    assert_eq!(world.run(&["exec", "c", "sh", "-c", "echo $A"]).fine(), "2\n");
    assert_eq!(world.run(&["exec", "-e", "HOME=", "c", "sh", "-c", "echo $HOME"]).fine(), "/\n");
    assert_eq!(world.run(&["exec", "-e", "A=3", "c", "env"]).fine(), "PATH=/bin\nA=3\nHOME=/\n");
    if cfg!(target_arch = "x86_64") {
        assert_eq!(world.run(&["exec", "c", "uname", "-m"]).fine(), "i686\n");
    }
}

#[test]
fn mounts_are_listed_in_their_order() {
    let mut world = World::new(&["cat", "/proc/self/mountinfo"]);
    let source = world.dir.display().to_string();
    for n in 0..4 {
        let to = format!("/tmp/{n}");
        world.spec["mounts"].as_array_mut().unwrap().push(match n % 2 {
            0 => json!({"destination": to, "type": "tmpfs", "source": "tmpfs", "options": ["size=4k"]}),
            _ => json!({"destination": to, "source": source, "options": ["bind", "shared"]}),
        });
    }
    let out = world.does("run c").fine();
    let places: Vec<&str> =
        out.lines().filter_map(|l| l.split(' ').nth(4)).filter(|p| p.starts_with("/tmp/")).collect();
    assert_eq!(places, ["/tmp/0", "/tmp/1", "/tmp/2", "/tmp/3"]);
    let shared = out.lines().filter(|l| l.contains(" /tmp/") && l.contains(" shared:")).count();
    assert_eq!(shared, 2, "{out}");
}

#[test]
fn a_bind_has_the_attributes_that_are_asked_for() {
    use std::process::Command;
    // On the host it is mounted with some of its own.
    let mut world = World::new(&["grep", " /data ", "/proc/self/mountinfo"]);
    let data = world.dir.join("data");
    std::fs::create_dir(&data).unwrap();
    let host = |program: &str, options: &[&str]| {
        assert!(Command::new(program).args(options).arg(&data).status().unwrap().success(), "{program}");
    };
    host("mount", &["-t", "tmpfs", "none"]);
    host("mount", &["-o", "remount,bind,ro,nodev,noexec,noatime"]);
    world.spec["mounts"].as_array_mut().unwrap().push(json!({"destination": "/data", "source": data}));
    let options = |world: &mut World, options: &[&str]| {
        world.spec["mounts"][3]["options"] = json!(["bind"]);
        world.spec["mounts"][3]["options"].as_array_mut().unwrap().extend(options.iter().map(|o| json!(o)));
        let said = world.does("run c");
        if said.code == 0 { said.out.split(' ').nth(5).unwrap().to_owned() } else { said.refused(1) }
    };
    let mut shown = Vec::new();
    for given in [&[][..], &["rprivate"], &["nosuid"], &["rw", "norelatime"], &["nodiratime"], &["strictatime", "rro"]]
    {
        shown.push(options(&mut world, given));
    }
    // With users of its own a container is held to what the host's has.
    chown(world.dir.join("bundle"), Some(100_000), Some(100_000)).unwrap();
    world.spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    world.spec["linux"]["uidMappings"] = map(0, 100_000, 65_536);
    world.spec["linux"]["gidMappings"] = map(0, 100_000, 65_536);
    let mut held = Vec::new();
    for given in [&["nosuid"][..], &["noatime"], &["rw"], &["relatime"]] {
        held.push(options(&mut world, given));
    }
    host("umount", &[]);
    let all = "ro,nodev,noexec,noatime";
    assert_eq!(shown, [all, all, "rw,nosuid,noatime", "rw,noatime", "rw,nodiratime,relatime", "ro"]);
    assert_eq!(held[..2], ["ro,nosuid,nodev,noexec,noatime", all]);
    for refused in &held[2..] {
        assert!(refused.ends_with("to rootfs at \"/data\": mount_setattr: operation not permitted"), "{refused}");
    }
}

#[test]
fn what_is_read_only_is_so_when_all_is_mounted() {
    let mut world = World::sh("grep -E ' (/dev|/tmp) ' /proc/self/mountinfo; cat /tmp/below/file");
    let below = world.dir.join("below");
    std::fs::create_dir(&below).unwrap();
    std::fs::write(below.join("file"), "seen\n").unwrap();
    world.spec["mounts"][1]["options"] = json!(["nosuid", "mode=755", "ro"]);
    world.spec["mounts"].as_array_mut().unwrap().extend([
        json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["ro"]}),
        json!({"destination": "/tmp/below", "source": below, "options": ["bind"]}),
    ]);
    let out = world.does("run c").fine();
    let attributes: Vec<&str> = out.lines().filter_map(|line| line.split(' ').nth(5)).collect();
    assert_eq!(attributes, ["ro,nosuid,relatime", "ro,relatime"], "{out}");
    assert!(out.ends_with("\nseen\n"), "{out}");
}

#[test]
fn a_remount_changes_what_is_mounted_there() {
    let mut world = World::new(&["cat", "/proc/self/mountinfo"]);
    let data = world.dir.join("data");
    std::fs::create_dir(&data).unwrap();
    let bind =
        json!({"destination": "/data", "type": "bind", "source": data, "options": ["bind", "nosuid", "noatime"]});
    let mounts = world.spec["mounts"].as_array_mut().unwrap();
    mounts.extend([
        bind.clone(),
        json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nodev", "size=8k"]}),
        // The mount alone: what is not asked for is taken away, but for access times of which nothing is said.
        json!({"destination": "/data", "type": "bind", "source": data, "options": ["remount", "bind", "ro"]}),
        // And the file system.
        json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["remount", "ro", "noexec", "size=64k"]}),
        json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["remount", "ro", "strictatime"]}),
    ]);
    let out = world.does("run c").fine();
    let of = |place: &str| -> (String, String) {
        let lines: Vec<&str> = out.lines().filter(|line| line.split(' ').nth(4) == Some(place)).collect();
        assert_eq!(lines.len(), 1, "{place} in {out}");
        (lines[0].split(' ').nth(5).unwrap().into(), lines[0].rsplit(' ').next().unwrap().into())
    };
    assert_eq!(of("/data").0, "ro,noatime");
    let (mount, file_system) = of("/tmp");
    assert_eq!(mount, "ro,noexec,relatime");
    assert!(file_system.starts_with("ro,") && file_system.contains("size=64k"), "{file_system}");
    let (mount, file_system) = of("/dev");
    assert_eq!((mount.as_str(), file_system.starts_with("ro")), ("ro", true), "{file_system}");
    std::fs::write(data.join("file"), "the host's is as it was").unwrap();

    // Nothing is mounted there.
    world.spec["mounts"] =
        json!([world.spec["mounts"][0], {"destination": "/tmp", "options": ["remount", "bind", "ro"]}]);
    let text = world.does("run c").refused(1);
    assert!(text.ends_with("to rootfs at \"/tmp\": remount: mount_setattr: invalid argument"), "{text}");
    world.is_empty();
}

#[test]
fn a_bind_of_what_the_container_has_mounted_itself() {
    let mut world = World::new(&["cat", "/tmp/copy/below/file"]);
    let (data, root) = (world.dir.join("data"), world.rootfs());
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("file"), "seen\n").unwrap();
    world.spec["mounts"].as_array_mut().unwrap().extend([
        json!({"destination": "/etc/first", "type": "tmpfs", "source": "tmpfs"}),
        json!({"destination": "/etc/first/below", "source": data, "options": ["bind"]}),
        // By the host's paths, where nobody on the host sees it.
        json!({"destination": root.join("tmp/copy"), "source": root.join("etc/first"), "options": ["rbind"]}),
    ]);
    assert_eq!(world.does("run c").fine(), "seen\n");
    assert!(!root.join("etc/first/below").exists() && root.join("tmp/copy").exists());
    // A link of the image leads nowhere else.
    std::os::unix::fs::symlink("/../../data", root.join("etc/link")).unwrap();
    world.spec["mounts"][5]["source"] = json!(root.join("etc/link"));
    let text = world.does("run c").refused(1);
    assert!(text.ends_with("/rootfs/etc/link\": no such file or directory"), "{text}");
    world.is_empty();
}

#[test]
fn clocks_of_a_container_with_its_own_users() {
    let mut world = World::new(&["cat", "/proc/self/timens_offsets"]);
    for name in ["user", "time"] {
        world.spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": name}));
    }
    world.spec["linux"]["uidMappings"] = map(0, 100_000, 65_536);
    world.spec["linux"]["gidMappings"] = map(0, 100_000, 65_536);
    world.spec["linux"]["timeOffsets"] = json!({"boottime": {"secs": 1337}});
    chown(world.dir.join("bundle"), Some(100_000), Some(100_000)).unwrap();
    let out = world.does("run c").fine();
    let of = |clock: &str| {
        out.lines().find(|l| l.starts_with(clock)).map(|l| l.split_whitespace().nth(1).map(str::to_owned))
    };
    assert_eq!(of("boottime"), Some(Some("1337".into())), "{out}");
}

#[test]
fn proc_is_no_link() {
    let world = World::new(&["true"]);
    std::fs::remove_dir(world.rootfs().join("proc")).unwrap();
    std::os::unix::fs::symlink("tmp", world.rootfs().join("proc")).unwrap();
    let text = world.does("run c").refused(1);
    assert!(text.contains("filesystem \"proc\" must be mounted on ordinary directory"), "{text}");
}

#[test]
fn what_its_maker_is_bound_to_does_not_bind_it() {
    let world = World::sleeper();
    let own = rustix::thread::sched_getaffinity(None).unwrap();
    if own.count() < 2 {
        eprintln!("SKIPPED, needs two CPUs");
        return;
    }
    let bound = |line: &[&str]| {
        let (inner, _) = world.command(line);
        let mut command = std::process::Command::new("taskset");
        command.args(["-c", "0"]).arg(inner.get_program()).args(inner.get_args());
        command.current_dir(world.dir.join("bundle")).stdin(std::process::Stdio::null());
        // A file: the container keeps what `create` writes to.
        let out = world.dir.join("bound");
        command.stdout(std::fs::File::create(&out).unwrap());
        assert_eq!(wait(&mut command.spawn().unwrap()), 0, "{line:?}");
        std::fs::read_to_string(out).unwrap()
    };
    bound(&["create", "c"]);
    bound(&["start", "c"]);
    let pid = rustix::process::Pid::from_raw(world.state()["pid"].as_i64().unwrap() as i32);
    let count = |set: rustix::thread::CpuSet| (0..rustix::thread::CpuSet::MAX_CPU).filter(|n| set.is_set(*n)).count();
    assert!(count(rustix::thread::sched_getaffinity(pid).unwrap()) >= own.count() as usize);
    let list = bound(&["exec", "c", "grep", "Cpus_allowed_list", "/proc/self/status"]);
    assert_ne!(list, "Cpus_allowed_list:\t0\n");
}

#[test]
fn a_deadline_needs_every_cpu() {
    if rustix::thread::sched_getaffinity(None).unwrap().count() < 2 {
        eprintln!("SKIPPED, needs two CPUs");
        return;
    }
    let mut world = World::new(&["true"]);
    world.spec["linux"]["resources"] = json!({"cpu": {"cpus": "0"}});
    world.spec["process"]["scheduler"] =
        json!({"policy": "SCHED_DEADLINE", "runtime": 42_000, "deadline": 1_000_000, "period": 1_000_000});
    let text = world.does("run c").refused(1);
    assert!(text.contains("process scheduler can't be used together with AllowedCPUs"), "{text}");
    world.is_empty();
}

#[test]
fn a_tmpfs_has_the_mode_of_what_it_covers_or_is_for_everybody() {
    let mut world = World::new(&["stat", "-c", "%a", "/etc", "/tmp/new", "/tmp/own"]);
    let mounts = world.spec["mounts"].as_array_mut().unwrap();
    for (place, options) in [("/etc", json!([])), ("/tmp/new", json!([])), ("/tmp/own", json!(["mode=700"]))] {
        mounts.push(json!({"destination": place, "type": "tmpfs", "source": "tmpfs", "options": options}));
    }
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(world.rootfs().join("etc"), std::fs::Permissions::from_mode(0o711)).unwrap();
    assert_eq!(world.does("run c").fine(), "711\n1777\n700\n");
}
