use crate::Case;
use crate::bench::*;
use oci::runtime::Device;
use runtime::FailureKind;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;

pub const CASES: &[Case] = &[
    ("dev_has_dockers_nodes", dev_has_dockers_nodes),
    ("own_devices", own_devices),
    ("masked_and_readonly_paths", masked_and_readonly_paths),
    ("readonly_root", readonly_root),
    ("overlay_of_relative_layers", overlay_of_relative_layers),
    ("overlay_of_many_layers", overlay_of_many_layers),
    ("binds", binds),
    ("bind_attributes_and_propagation", bind_attributes_and_propagation),
    ("bare_or_among_the_hosts_mounts", bare_or_among_the_hosts_mounts),
    ("nothing_is_beneath_the_root", nothing_is_beneath_the_root),
    ("tmpfs_and_copy_up", tmpfs_and_copy_up),
    ("cgroup_is_the_containers_own", cgroup_is_the_containers_own),
    ("links_in_the_image_end_inside", links_in_the_image_end_inside),
    ("trusted_directories_may_not_be_links", trusted_directories_may_not_be_links),
    ("an_images_own_devices_are_covered", an_images_own_devices_are_covered),
    ("nothing_covers_procfs", nothing_covers_procfs),
    ("mounting_a_file_on_a_directory", mounting_a_file_on_a_directory),
    ("a_volume_raced_by_its_owner", a_volume_raced_by_its_owner),
    ("shared_volumes", shared_volumes),
    ("the_hosts_mounts_are_gone", the_hosts_mounts_are_gone),
];

fn dev_has_dockers_nodes() {
    let kcore = std::path::Path::new("/proc/kcore").exists();
    let core = if kcore { "'core' -> '/proc/kcore' symbolic link 0:0 777\n" } else { "" };
    Bench::sh("cd /dev; for n in *; do stat -c '%N %F %t:%T %a' $n; done").gives(
        0,
        &(core.to_string()
            + "'fd' -> '/proc/self/fd' symbolic link 0:0 777\n\
         full character special file 1:7 666\n\
         mqueue directory 0:0 1777\n\
         null character special file 1:3 666\n\
         'ptmx' -> 'pts/ptmx' symbolic link 0:0 777\n\
         pts directory 0:0 755\n\
         random character special file 1:8 666\n\
         shm directory 0:0 1777\n\
         'stderr' -> '/proc/self/fd/2' symbolic link 0:0 777\n\
         'stdin' -> '/proc/self/fd/0' symbolic link 0:0 777\n\
         'stdout' -> '/proc/self/fd/1' symbolic link 0:0 777\n\
         tty character special file 5:0 666\n\
         urandom character special file 1:9 666\n\
         zero character special file 1:5 666\n"),
    );
}

fn own_devices() {
    let mut b = Bench::sh("stat -c '%n %t:%T %a %u:%g' /dev/net/tun /dev/null /odd/fifo /dev/ptmx");
    let device = |path: &str, kind: &str, major, minor, mode, uid| Device {
        path: path.into(),
        kind: kind.into(),
        major,
        minor,
        file_mode: Some(mode),
        uid: Some(uid),
        gid: Some(uid),
    };
    b.linux().devices = vec![
        device("/dev/net/tun", "c", 10, 200, 0o600, 7),
        device("/dev/null", "c", 1, 3, 0o640, 0),
        device("/dev/null", "c", 1, 3, 0o600, 0),
        device("/dev/ptmx", "c", 5, 2, 0o666, 0),
        device("/odd/fifo", "p", 0, 0, 0o611, 0),
    ];
    b.gives(0, "/dev/net/tun a:c8 600 7:7\n/dev/null 1:3 640 0:0\n/odd/fifo 0:0 611 0:0\n/dev/ptmx 0:0 777 0:0\n");
}

fn masked_and_readonly_paths() {
    let script = "for p in interrupts kcore keys timer_list; do stat -c '%t:%T' /proc/$p; done; \
                  ls -A /proc/acpi /sys/firmware 2>&1 | /bin/busybox grep -v : | /bin/busybox grep .; \
                  echo 1 > /proc/sys/kernel/hostname; echo 1 > /sys/kernel/profiling";
    let out = Bench::sh(script).run().unwrap();
    let expected = "1:3\n1:3\n1:3\n1:3\n\
         sh: can't create /proc/sys/kernel/hostname: Read-only file system\n\
         sh: can't create /sys/kernel/profiling: Read-only file system\n";
    // Kernels without keyrings or timer_list have nothing to mask there.
    let present = |p: &&str| std::path::Path::new("/proc").join(p).exists();
    let missing = ["interrupts", "kcore", "keys", "timer_list"].iter().filter(|p| !present(p)).count();
    assert_eq!(missing, out.text.matches("No such file").count());
    let lines: String = out.text.lines().filter(|l| !l.contains("No such file")).map(|l| format!("{l}\n")).collect();
    assert_eq!(lines, expected.replacen("1:3\n", "", missing));
}

fn readonly_root() {
    let mut b = Bench::sh("echo x > /etc/x; echo y > /dev/shm/y; cat /dev/shm/y; ls -d /w");
    b.spec.root.as_mut().unwrap().readonly = true;
    b.process().cwd = "/w".into();
    b.gives(0, "sh: can't create /etc/x: Read-only file system\ny\n/w\n");
}

fn overlay_of_relative_layers() {
    let mut b = Bench::sh("cat /a /b /c; echo new > /a; echo changed > /b");
    for (directory, name) in [("l/1", "a"), ("l/2", "b"), ("l/3", "c")] {
        std::fs::create_dir_all(b.base.join(directory)).unwrap();
        std::fs::write(b.base.join(directory).join(name), format!("{name}\n")).unwrap();
    }
    for directory in ["u", "w"] {
        std::fs::create_dir_all(b.base.join(directory)).unwrap();
    }
    let options = ["lowerdir=l/3:l/2:l/1:root", "upperdir=u", "workdir=w", "volatile"];
    b.overlay = Some(mount("overlay", "overlay", "/", &options));
    b.spec.root = None;
    b.gives(0, "a\nb\nc\n");
    assert_eq!(std::fs::read_to_string(b.base.join("u/a")).unwrap(), "new\n");
    assert_eq!(std::fs::read_to_string(b.base.join("l/1/a")).unwrap(), "a\n");
    // Mounted nowhere on the host.
    assert!(!std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&b.id));
}

/// More than one string of fsconfig(2) can name.
fn overlay_of_many_layers() {
    let mut b = Bench::sh("cat /99 /0; cat /top; echo x > /x");
    let name = |n: usize| format!("layers/a-rather-long-name-of-a-layer-{n}");
    for n in 0..100 {
        std::fs::create_dir_all(b.base.join(name(n))).unwrap();
        std::fs::write(b.base.join(name(n)).join(n.to_string()), format!("{n}\n")).unwrap();
        std::fs::write(b.base.join(name(n)).join("top"), format!("of {n}\n")).unwrap();
    }
    // Read-only, so that all mount points must be there.
    for directory in ["proc", "dev", "sys"] {
        std::fs::create_dir(b.root().join(directory)).unwrap();
    }
    let lower: Vec<String> = (0..100).map(name).collect();
    let lower = format!("lowerdir={}:root", lower.join(":"));
    b.overlay = Some(mount("overlay", "overlay", "/", &[&lower, "ro"]));
    b.gives(1, "99\n0\nof 0\nsh: can't create /x: Read-only file system\n");
}

fn binds() {
    let mut b = Bench::sh("cat /vol/file /etc/one /deep/er/two; echo w > /vol/new; stat -c %F /deep/er/two");
    std::fs::create_dir(b.base.join("volume")).unwrap();
    std::fs::write(b.base.join("volume/file"), "content\n").unwrap();
    let at = |b: &Bench, path: &str| b.base.join(path).to_str().unwrap().to_string();
    b.mount("bind", &at(&b, "volume"), "/vol", &["rbind", "rprivate"]);
    b.mount("bind", &at(&b, "volume/file"), "/etc/one", &["rbind", "ro"]);
    b.mount("", &at(&b, "volume/file"), "/deep/er/two", &["bind"]);
    b.gives(0, "content\ncontent\ncontent\nregular file\n");
    assert_eq!(std::fs::read_to_string(b.base.join("volume/new")).unwrap(), "w\n");
    let mut missing = Bench::new(&["true"]);
    missing.mount("bind", "/nonexistent/source", "/vol", &["rbind"]);
    let failure = missing.refused();
    assert_eq!(failure.errno, 2);
    assert!(failure.text.contains("error mounting \"/nonexistent/source\" to rootfs at \"/vol\""), "{failure}");
}

fn bind_attributes_and_propagation() {
    let mut b = Bench::sh("echo x > /vol/x; /bin/busybox grep ' /vol ' /proc/self/mountinfo");
    std::fs::create_dir(b.base.join("volume")).unwrap();
    let source = b.base.join("volume").to_str().unwrap().to_string();
    b.mount("bind", &source, "/vol", &["rbind", "ro", "nosuid", "rnodev", "rnoexec", "noatime", "rprivate"]);
    let out = b.run().unwrap();
    let (error, line) = out.text.split_once('\n').unwrap();
    assert_eq!(error, "sh: can't create /vol/x: Read-only file system");
    assert_eq!(line.split(' ').nth(5), Some("ro,nosuid,nodev,noexec,noatime"));
    assert!(!line.contains("shared:") && !line.contains("master:"), "{line}");
}

fn tmpfs_and_copy_up() {
    let mut b = Bench::sh(
        "stat -f -c %T /tmp; stat -c %a /tmp /plain /up; cat /up/dir/file; stat -c '%a %u' /up/dir/file; stat -c %N /up/link; \
         echo x > /up/new; echo y > /ro/y",
    );
    std::fs::create_dir_all(b.root().join("up/dir")).unwrap();
    std::fs::write(b.root().join("up/dir/file"), "copied\n").unwrap();
    symlink("dir/file", b.root().join("up/link")).unwrap();
    use std::os::unix::fs::{PermissionsExt, chown};
    std::fs::set_permissions(b.root().join("tmp"), std::fs::Permissions::from_mode(0o1777)).unwrap();
    chown(b.root().join("up/dir/file"), Some(9), Some(9)).unwrap();
    std::fs::set_permissions(b.root().join("up/dir/file"), std::fs::Permissions::from_mode(0o4640)).unwrap();
    b.mount("tmpfs", "tmpfs", "/tmp", &["noexec", "nosuid", "nodev", "rprivate", "size=1m"]);
    b.mount("tmpfs", "tmpfs", "/plain", &["mode=700"]);
    b.mount("tmpfs", "tmpfs", "/up", &["tmpcopyup", "mode=711"]);
    b.mount("tmpfs", "tmpfs", "/ro", &["ro", "tmpcopyup"]);
    b.gives(
        1,
        "tmpfs\n1777\n700\n711\ncopied\n4640 9\n'/up/link' -> 'dir/file'\n\
         sh: can't create /ro/y: Read-only file system\n",
    );
    assert!(!b.root().join("up/new").exists());
}

fn cgroup_is_the_containers_own() {
    let b = Bench::sh(
        "cd /sys/fs/cgroup; if [ -d memory ]; then cat memory/cgroup.procs pids/cgroup.procs; else cat cgroup.procs; fi; \
         echo 1 > memory/cgroup.procs; ls -d memory/release_agent",
    );
    let out = b.run().unwrap();
    if std::path::Path::new("/sys/fs/cgroup/memory").exists() {
        assert_eq!(
            out.text,
            "1\n7\n1\n7\nsh: can't create memory/cgroup.procs: Read-only file system\n\
             ls: memory/release_agent: No such file or directory\n"
                .replace("7", out.text.lines().nth(1).unwrap())
        );
    }
    let mut private = Bench::sh("/bin/busybox cut -d: -f3 /proc/self/cgroup | /bin/busybox sort -u");
    private.linux().namespaces.push(namespace("cgroup", ""));
    let text = private.run().unwrap().text;
    assert!(text.starts_with("/\n"), "{text}");
}

fn links_in_the_image_end_inside() {
    // Absolute, climbing and magic links where something is mounted: all of it lands in the root, or is refused.
    for target in ["/canary", "../../../../../../canary", "/proc/../canary"] {
        let mut b = Bench::sh("ls /canary; cat /canary/sub/file");
        symlink(target, b.root().join("vol")).unwrap();
        std::fs::create_dir(b.base.join("source")).unwrap();
        std::fs::write(b.base.join("source/file"), "bound\n").unwrap();
        let source = b.base.join("source").to_str().unwrap().to_string();
        b.mount("bind", &source, "/vol/sub", &["rbind"]);
        b.gives(0, "sub\nbound\n");
    }
    for magic in ["/proc/self/root/canary", "/proc/1/root", "/proc/self/fd/3"] {
        let mut b = Bench::new(&["true"]);
        symlink(magic, b.root().join("vol")).unwrap();
        b.mount("tmpfs", "tmpfs", "/vol", &[]);
        let failure = b.refused();
        assert_eq!(failure.stage, "mount /vol", "{failure}");
    }
    // A dangling link for a file, as Ubuntu's resolv.conf.
    let mut b = Bench::sh("cat /etc/resolv.conf /run/resolve/stub");
    symlink("../run/resolve/stub", b.root().join("etc/resolv.conf")).unwrap();
    let source = b.base.join("canary/file").to_str().unwrap().to_string();
    b.mount("bind", &source, "/etc/resolv.conf", &["rbind", "ro"]);
    b.gives(0, "canarycanary");
}

fn trusted_directories_may_not_be_links() {
    for name in ["proc", "sys", "dev"] {
        for target in ["/../../canary", "tmp", "/tmp"] {
            let b = Bench::new(&["true"]);
            symlink(target, b.root().join(name)).unwrap();
            let failure = b.refused();
            assert_eq!((failure.errno, failure.stage), (20, format!("mount /{name}")), "{target}");
            assert!(failure.text.contains("not a directory"));
        }
        let file = Bench::new(&["true"]);
        std::fs::write(file.root().join(name), "").unwrap();
        assert_eq!(file.refused().errno, 20);
    }
}

fn an_images_own_devices_are_covered() {
    for terminal in [false, true] {
        let mut b = Bench::sh("stat -c '%F %t:%T' /dev/null /dev/ptmx");
        std::fs::create_dir_all(b.root().join("dev/pts")).unwrap();
        std::fs::write(b.root().join("dev/null"), "bait").unwrap();
        symlink("/../../canary/file", b.root().join("dev/console")).unwrap();
        symlink("/../../canary/file", b.root().join("dev/pts/0")).unwrap();
        symlink("/../../canary/file", b.root().join("dev/pts/ptmx")).unwrap();
        b.process().terminal = false;
        if !terminal {
            b.gives(0, "character special file 1:3\nsymbolic link 0:0\n");
        } else {
            b.process().terminal = true;
            let running = b.start(runtime::Stdio::default()).unwrap();
            assert_eq!(crate::join::read_terminal(&running), "character special file 1:3\r\nsymbolic link 0:0\r\n");
            wait(running.pidfd.as_fd());
            running.cgroup.remove().unwrap();
        }
        assert_eq!(std::fs::read(b.root().join("dev/null")).unwrap(), b"bait");
    }
}

fn nothing_covers_procfs() {
    for path in ["/proc/sys", "/proc/self/attr", "/proc/version", "/proc/self/fd", "/via"] {
        let mut b = Bench::new(&["true"]);
        symlink("/proc/sys", b.root().join("via")).unwrap();
        let bind = path == "/proc/version";
        let source = b.base.join("canary/file").to_str().unwrap().to_string();
        if bind {
            b.mount("bind", &source, path, &["bind"])
        } else {
            b.mount("tmpfs", "tmpfs", path, &[])
        };
        let failure = b.refused();
        assert_eq!((failure.kind, failure.stage), (FailureKind::Invalid, format!("mount {path}")));
    }
    // Nor may anything but a procfs stand in its place.
    for kind in ["tmpfs", "bind"] {
        let mut b = Bench::new(&["true"]);
        let source = b.base.join("canary").to_str().unwrap().to_string();
        b.spec.mounts[0] = mount(kind, &source, "/x/../proc", &[]);
        assert!(b.refused().text.ends_with("\"/proc\" cannot be mounted because it is not of type proc"));
    }
    let mut hosts = Bench::sh("test -d /proc/$PARENT && echo sees the host");
    hosts.spec.mounts[0] = mount("bind", "/proc", "/proc", &["rbind"]);
    hosts.process().env.push(format!("PARENT={}", std::process::id()));
    hosts.gives(0, "sees the host\n");
    let mut allowed = Bench::new(&["cat", "/proc/uptime"]);
    let source = allowed.base.join("canary/file").to_str().unwrap().to_string();
    allowed.mount("bind", &source, "/proc/uptime", &["bind"]);
    allowed.gives(0, "canary");
}

fn mounting_a_file_on_a_directory() {
    let mut b = Bench::new(&["true"]);
    let source = b.base.join("canary/file").to_str().unwrap().to_string();
    b.mount("bind", &source, "/etc", &["rbind"]);
    let failure = b.refused();
    assert!(
        failure.text.ends_with(
            "not a directory: Are you trying to mount a directory onto a file (or vice-versa)? \
             Check if the specified host path exists and is the expected type"
        ),
        "{failure}"
    );
}

fn the_hosts_mounts_are_gone() {
    for among_hosts in [false, true] {
        let mut b = Bench::sh("while read a b c root at rest; do echo $at; done < /proc/self/mountinfo");
        b.among_hosts = among_hosts;
        let text = b.run().unwrap().text;
        let places: Vec<&str> = text.lines().filter(|place| !place.starts_with("/sys/fs/cgroup/")).collect();
        assert_eq!(places[..5], ["/", "/proc", "/dev", "/dev/pts", "/sys"], "{text}");
        assert!(!text.contains("/mnt") && !text.contains("/tmp"), "{text}");
    }
}

/// Made in a namespace that never had the host's mounts a container is what it is in a copy of the host's.
fn bare_or_among_the_hosts_mounts() {
    use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change, unmount};
    let volume = std::env::temp_dir().join(format!("dhow-bare-{}", std::process::id()));
    std::fs::create_dir_all(&volume).unwrap();
    mount("tmpfs", &volume, "tmpfs", MountFlags::empty(), None).unwrap();
    mount_change(&volume, MountPropagationFlags::SHARED).unwrap();
    std::fs::create_dir(volume.join("sub")).unwrap();
    mount("tmpfs", volume.join("sub"), "tmpfs", MountFlags::empty(), None).unwrap();
    mount_change(volume.join("sub"), MountPropagationFlags::SHARED).unwrap();
    let look = |among_hosts: bool| {
        let mut b = Bench::sh(
            "while read a b c rest; do echo $rest; done < /proc/self/mountinfo; ls / /dev /sys/fs/cgroup; \
             /bin/busybox readlink /dev/core; /bin/busybox unshare -U true && echo its own users",
        );
        for (place, options) in [
            ("/none", &["rbind"][..]),
            ("/private", &["rbind", "rprivate"]),
            ("/one", &["bind", "private"]),
            ("/slave", &["rbind", "rslave"]),
            ("/shared", &["rbind", "rshared"]),
            ("/read", &["rbind", "ro"]),
        ] {
            b.mount("bind", volume.to_str().unwrap(), place, options);
        }
        b.among_hosts = among_hosts;
        let out = b.run().unwrap();
        let number = |word: &str| match word.split_once(':') {
            Some((kind @ ("shared" | "master"), _)) => format!("{kind}:"),
            _ => word.replace(&b.id, "ID"),
        };
        let line = |line: &str| line.split(' ').map(number).collect::<Vec<_>>().join(" ");
        let mut lines: Vec<String> = out.text.lines().map(line).collect();
        lines.sort_unstable();
        (out.code, lines)
    };
    let (bare, among) = (look(false), look(true));
    for place in ["sub", ""] {
        unmount(volume.join(place), rustix::mount::UnmountFlags::DETACH).unwrap();
    }
    std::fs::remove_dir(&volume).unwrap();
    assert_eq!(bare, among);
    assert!(bare.1.iter().any(|line| line == "its own users"), "{bare:?}");
    assert_eq!(bare.1.iter().filter(|line| line.contains("master:")).count(), 8, "{bare:?}");
}

fn nothing_is_beneath_the_root() {
    let b = Bench::new(&["sleep", "100"]);
    let running = b.start(runtime::Stdio::default()).unwrap();
    let namespace = std::fs::File::open(format!("/proc/{}/ns/mnt", running.pid)).unwrap();
    let beneath = match sys::clone3(0, None).unwrap() {
        sys::clone::Cloned::Child => {
            let enter = || sys::setns(namespace.as_fd(), sys::clone::flags::NEWNS).is_ok();
            let there = |path: &str| rustix::fs::access(path, rustix::fs::Access::EXISTS).is_ok();
            let ours = enter() && there("/bin/busybox") && there("/proc/1");
            let gone = rustix::mount::unmount("/", rustix::mount::UnmountFlags::DETACH).is_ok() && enter();
            let bare = !["/bin/busybox", "/proc/1", "/etc/passwd", "/sys/kernel"].into_iter().any(there);
            sys::process::exit_now(i32::from(ours) + 2 * i32::from(gone) + 4 * i32::from(bare))
        }
        sys::clone::Cloned::Parent { pidfd, .. } => wait(pidfd.as_fd()),
    };
    sys::process::pidfd_send_signal(running.pidfd.as_fd(), 9).unwrap();
    wait(running.pidfd.as_fd());
    running.cgroup.remove().unwrap();
    assert_eq!(beneath, 7);
}

/// A container exchanges a directory of its volume with a link to the outside, all the time, while others are started that
/// mount below that directory: whatever becomes of those, nothing reaches the outside.
fn a_volume_raced_by_its_owner() {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use std::sync::atomic::{AtomicBool, Ordering};
    let mut b = Bench::new(&["true"]);
    let volume = b.base.join("volume");
    std::fs::create_dir_all(volume.join("dir")).unwrap();
    symlink("/../../../../../..".to_string() + b.base.join("canary").to_str().unwrap(), volume.join("evil")).unwrap();
    b.mount("bind", volume.to_str().unwrap(), "/vol", &["rbind"]);
    b.mount("tmpfs", "tmpfs", "/vol/dir/sub", &[]);
    let stop = AtomicBool::new(false);
    // The racer is a process: this one must stay single-threaded.
    let racer = match sys::clone3(0, None).unwrap() {
        sys::clone::Cloned::Child => {
            let (dir, evil) = (volume.join("dir"), volume.join("evil"));
            sys::caps::set_pdeathsig(9).unwrap();
            while !stop.load(Ordering::Relaxed) {
                let _ = renameat_with(CWD, &dir, CWD, &evil, RenameFlags::EXCHANGE);
            }
            sys::process::exit_now(0)
        }
        sys::clone::Cloned::Parent { pidfd, .. } => pidfd,
    };
    let started = (0..100).filter(|_| b.run().is_ok()).count();
    sys::process::pidfd_send_signal(racer.as_fd(), 9).unwrap();
    wait(racer.as_fd());
    assert!(started > 0);
    assert!(!std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&b.id));
}

fn shared_volumes() {
    use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
    // In a mount namespace of this process's own from here on.
    sys::unshare(sys::clone::flags::NEWNS).unwrap();
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC).unwrap();
    for (kind, root, expected) in
        [("rshared", "rshared", "shared:"), ("rslave", "rslave", "master:"), ("rprivate", "", "-")]
    {
        let mut b = Bench::sh("/bin/busybox grep ' /vol ' /proc/self/mountinfo");
        let volume = b.base.join("volume");
        std::fs::create_dir(&volume).unwrap();
        mount("tmpfs", &volume, "tmpfs", MountFlags::empty(), None).unwrap();
        mount_change(&volume, MountPropagationFlags::SHARED).unwrap();
        b.mount("bind", volume.to_str().unwrap(), "/vol", &["rbind", kind]);
        b.linux().rootfs_propagation = root.into();
        let text = b.run().unwrap().text;
        rustix::mount::unmount(&volume, rustix::mount::UnmountFlags::DETACH).unwrap();
        assert!(text.split(' ').nth(6).unwrap().starts_with(expected), "{kind}: {text}");
    }
}
