use super::*;
use crate::host::Cgroups;

fn facts() -> Host {
    Host {
        arch: "amd64".into(),
        kernel: (6, 1),
        cpus: 4,
        cpu_list: "0-3".into(),
        memory_nodes: "0".into(),
        capabilities: (1 << 41) - 1,
        thermal: vec!["/sys/devices/system/cpu/cpu0/thermal_throttle".into()],
        cgroups: Cgroups::default(),
        ..Host::default()
    }
}

struct Case {
    config: ContainerConfig,
    host: HostConfig,
    mounts: Vec<Mount>,
    joined: Joined,
    devices: Vec<(Device, String)>,
    defaults: Defaults,
}

fn case() -> Case {
    let mut host = HostConfig {
        shm_size: 64 << 20,
        ipc_mode: "private".into(),
        cgroupns_mode: "private".into(),
        ..HostConfig::default()
    };
    host.network_mode = "bridge".into();
    Case {
        config: ContainerConfig {
            hostname: "0123456789ab".into(),
            env: vec!["LANG=C".into()].into(),
            ..ContainerConfig::default()
        },
        host,
        mounts: vec![],
        joined: Joined::default(),
        devices: vec![],
        defaults: Defaults::default(),
    }
}

fn generate(case: Case) -> Spec {
    let account = Account { uid: 0, gid: 0, groups: vec![0, 10], home: "/root".into() };
    let facts = facts();
    spec(Input {
        id: "0123456789ab",
        config: &case.config,
        host: &case.host,
        args: &["sh".to_owned(), "-c".to_owned(), "true".to_owned()],
        hostname: &case.config.hostname,
        account: &account,
        mounts: case.mounts,
        joined: case.joined,
        devices: case.devices,
        block_io: None,
        facts: &facts,
        defaults: &case.defaults,
    })
    .unwrap()
}

/// Compares with the committed file; `UPDATE_GOLDEN=1` writes it.
fn golden(name: &str, case: Case) {
    let mut text = serde_json::to_string_pretty(&generate(case)).unwrap();
    text.push('\n');
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/spec/golden").join(format!("{name}.json"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap();
    assert!(wanted == text, "{} differs; UPDATE_GOLDEN=1 writes it anew:\n{text}", path.display());
}

#[test]
fn a_plain_container() {
    golden("default", case());
}

#[test]
fn a_privileged_one() {
    let mut c = case();
    c.host.privileged = true;
    let kvm = Device {
        path: "/dev/kvm".into(),
        kind: "c".into(),
        major: 10,
        minor: 232,
        file_mode: Some(0o600),
        uid: Some(0),
        gid: Some(0),
    };
    c.devices = vec![(kvm, "rwm".into())];
    golden("privileged", c);
}

#[test]
fn one_with_everything() {
    let mut c = case();
    let h = &mut c.host;
    h.cap_add = vec!["net_admin".into()].into();
    h.cap_drop = vec!["MKNOD".into()].into();
    h.security_opt = vec!["no-new-privileges".into(), "seccomp=unconfined".into()].into();
    h.readonly_rootfs = true;
    h.oom_score_adj = 500;
    h.sysctls = [("net.ipv4.ip_forward".to_owned(), "1".to_owned())].into_iter().collect();
    h.annotations = [("com.example/a".to_owned(), "b".to_owned())].into_iter().collect();
    h.console_size = [24, 80];
    let r = &mut h.resources;
    (r.memory, r.memory_swap, r.memory_reservation, r.memory_swappiness) = (256 << 20, -1, 64 << 20, Some(10));
    (r.nano_cpus, r.cpu_shares, r.cpuset_cpus) = (1_500_000_000, 512, "0,2".into());
    r.pids_limit = Some(100);
    r.cgroup_parent = "/slice/mine".into();
    r.device_cgroup_rules = vec!["c 42:* rmw".into()].into();
    r.ulimits = vec![Ulimit { name: "nofile".into(), hard: -1, soft: 1024 }].into();
    c.defaults.ulimits =
        vec![Ulimit { name: "nofile".into(), hard: 1, soft: 1 }, Ulimit { name: "core".into(), hard: 0, soft: 0 }];
    c.config.tty = true;
    c.config.working_dir = "/w".into();
    let fuse = Device {
        path: "/dev/fuse".into(),
        kind: "c".into(),
        major: 10,
        minor: 229,
        file_mode: Some(0o666),
        uid: Some(0),
        gid: Some(0),
    };
    c.devices = vec![(fuse, "rw".into())];
    let point = crate::mounts::parse_bind("/src:/data:ro,rslave", "").unwrap();
    c.mounts = vec![bind_mount(&point, "/src")];
    golden("everything", c);
}

#[test]
fn shared_namespaces() {
    let mut c = case();
    c.host.network_mode = "host".into();
    c.host.pid_mode = "container:x".into();
    c.host.ipc_mode = "host".into();
    c.host.uts_mode = "host".into();
    c.host.cgroupns_mode = "host".into();
    c.joined.pid = Some("/proc/1/fd/7".into());
    let s = generate(c);
    let linux = s.linux.unwrap();
    let names: Vec<_> = linux.namespaces.iter().map(|n| (n.kind.as_str(), n.path.as_str())).collect();
    assert_eq!(names, [("mount", ""), ("pid", "/proc/1/fd/7")]);
    assert_eq!((s.hostname.as_str(), linux.sysctl.len()), ("", 0));
}

#[test]
fn own_mounts_take_the_place_of_defaults() {
    let mut c = case();
    let shm = crate::mounts::parse_bind("/x:/dev/shm", "").unwrap();
    c.mounts = vec![bind_mount(&shm, "/x")];
    let s = generate(c);
    let shm: Vec<_> = s.mounts.iter().filter(|m| m.destination == "/dev/shm").collect();
    assert_eq!((shm.len(), shm[0].kind.as_str()), (1, "bind"));
    let mut c = case();
    let dev = crate::mounts::parse_bind("/dev:/dev", "").unwrap();
    c.mounts = vec![bind_mount(&dev, "/dev")];
    assert!(!generate(c).mounts.iter().any(|m| m.destination.starts_with("/dev/")));
    let mut c = case();
    c.host.ipc_mode = "none".into();
    assert!(!generate(c).mounts.iter().any(|m| m.destination == "/dev/shm"));
}

#[test]
fn masks_can_be_changed() {
    let mut c = case();
    c.host.masked_paths = api::List::empty();
    c.host.readonly_paths = vec!["/proc/x".to_owned()].into();
    let linux = generate(c).linux.unwrap();
    assert_eq!((linux.masked_paths.len(), linux.readonly_paths), (0, vec!["/proc/x".to_owned()]));
}

#[test]
fn environments() {
    let config = |env: &[&str], tty| ContainerConfig {
        env: env.iter().map(|e| e.to_string()).collect(),
        tty,
        ..ContainerConfig::default()
    };
    assert_eq!(
        environment(&config(&["PATH=/x", "A=1", "A=2", "HOSTNAME", "HOME=/h"], true), "h", "/root"),
        ["PATH=/x", "TERM=xterm", "A=2", "HOME=/h"]
    );
    assert_eq!(environment(&config(&["HOME="], false), "h", "/r")[2..], ["HOME=/r"]);
}

#[test]
fn device_rules() {
    for bad in
        ["", "c", "c 1:3", "x 1:3 r", "c 1 r", "c 1:3 rwmr", "c 1:3 x", "c -1:3 r", "c 1:3  r", "c 99999999999:1 r"]
    {
        assert_eq!(device_rule(bad).unwrap_err().to_string(), format!("invalid device cgroup rule format: '{bad}'"));
    }
    let r = device_rule("b 8:* r").unwrap();
    assert_eq!((r.allow, r.kind.as_str(), r.major, r.minor, r.access.as_str()), (true, "b", Some(8), None, "r"));
}

#[test]
fn control_group_paths() {
    let defaults =
        |systemd_cgroup, parent: &str| Defaults { systemd_cgroup, cgroup_parent: parent.into(), ..Defaults::default() };
    let direct = |asked, parent| cgroup("x", asked, &defaults(false, parent));
    assert_eq!(direct("", ""), "/dhow/x");
    assert_eq!(direct("a/b", "/c"), "/a/b/x");
    assert_eq!(direct("", "/c"), "/c/x");
    assert_eq!(direct("/../..", ""), "/x");
    let scope = |asked, parent| {
        let defaults = defaults(true, parent);
        (cgroups_path("x", asked, &defaults), cgroup("x", asked, &defaults))
    };
    let pair = |asked: &str, path: &str| (asked.to_owned(), path.to_owned());
    assert_eq!(scope("", ""), pair("system.slice:dhow:x", "/system.slice/dhow-x.scope"));
    assert_eq!(scope("a-b.slice", "c.slice"), pair("a-b.slice:dhow:x", "/a.slice/a-b.slice/dhow-x.scope"));
    assert_eq!(scope("", "c.slice"), pair("c.slice:dhow:x", "/c.slice/dhow-x.scope"));
    // Made when the engine made them itself.
    assert_eq!(scope("/a", ""), pair("/a:dhow:x", ""));
}
