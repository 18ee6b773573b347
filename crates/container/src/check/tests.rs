use super::*;
use api::container::{PortBinding, Resources, Ulimit};
use api::{List, Map};

fn facts() -> Host {
    let cgroups = crate::host::Cgroups {
        memory: true,
        swap: true,
        reservation: true,
        swappiness: true,
        oom_kill_disable: true,
        cpu_shares: true,
        cpu_quota: true,
        cpuset: true,
        pids: true,
        blkio_weight: true,
        blkio_weight_device: true,
        blkio_throttle: true,
        ..Default::default()
    };
    Host {
        arch: "amd64".into(),
        kernel: (6, 1),
        cpus: 2,
        cpu_list: "0-1".into(),
        memory_nodes: "0".into(),
        capabilities: (1 << 41) - 1,
        cgroups,
        ..Host::default()
    }
}

fn refused(change: impl Fn(&mut ContainerConfig, &mut HostConfig)) -> String {
    let (mut config, mut host) = Default::default();
    change(&mut config, &mut host);
    create(&mut config, &mut host, &facts(), &|_| Ok(true)).expect_err("refused").to_string()
}

fn limit(change: impl Fn(&mut Resources)) -> String {
    refused(|_, h| change(&mut h.resources))
}

#[test]
fn limits_that_make_no_sense() {
    let gib = 1 << 30;
    assert_eq!(limit(|r| r.memory = 4 << 20), "Minimum memory limit allowed is 6MB");
    assert_eq!(limit(|r| r.memory = -5), "Minimum memory limit allowed is 6MB");
    assert_eq!(
        limit(|r| (r.memory, r.memory_swap) = (gib, gib / 2)),
        "Minimum memoryswap limit should be larger than memory limit, see usage"
    );
    assert_eq!(
        limit(|r| r.memory_swap = gib),
        "You should always set the Memory limit when using Memoryswap limit, see usage"
    );
    assert_eq!(
        limit(|r| (r.memory, r.memory_reservation) = (gib, 2 * gib)),
        "Minimum memory limit can not be less than memory reservation limit, see usage"
    );
    assert_eq!(
        limit(|r| r.memory_swappiness = Some(101)),
        "Invalid value: 101, valid memory swappiness range is 0-100"
    );
    assert_eq!(
        limit(|r| r.nano_cpus = 3_000_000_000),
        "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"
    );
    assert_eq!(
        limit(|r| r.cpuset_cpus = "0-7".into()),
        "Requested CPUs are not available - requested 0-7, available: 0-1"
    );
    assert_eq!(limit(|r| r.cpuset_cpus = "x".into()), "Invalid value x for cpuset cpus: invalid format: x");
    assert_eq!(
        limit(|r| r.cpu_period = 10),
        "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
    );
    assert_eq!(limit(|r| r.cpu_shares = -1), "invalid CPU shares (-1): value must be a positive integer");
    assert_eq!(limit(|r| r.blkio_weight = 5), "Range of blkio weight is from 10 to 1000");
    assert_eq!(
        limit(|r| r.ulimits = vec![Ulimit { name: "x".into(), hard: 1, soft: 1 }].into()),
        "invalid ulimit type: x"
    );
    assert_eq!(
        limit(|r| r.ulimits = vec![Ulimit { name: "nofile".into(), hard: 1, soft: 2 }].into()),
        "ulimit soft limit must be less than or equal to hard limit: soft: 2, hard: 1"
    );
}

#[test]
fn what_the_kernel_lacks_is_discarded_with_a_warning() {
    let mut host = HostConfig::default();
    host.resources.memory = 64 << 20;
    host.resources.pids_limit = Some(5);
    let bare = Host {
        cpus: 2,
        cpu_list: "0-1".into(),
        memory_nodes: "0".into(),
        capabilities: (1 << 41) - 1,
        ..Host::default()
    };
    let warnings = create(&mut ContainerConfig::default(), &mut host, &bare, &|_| Ok(true)).unwrap();
    assert_eq!(
        warnings,
        [
            "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.",
            "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.",
        ]
    );
    assert_eq!((host.resources.memory, host.resources.memory_swap, host.resources.pids_limit), (0, -1, None));
}

#[test]
fn modes() {
    assert_eq!(refused(|_, h| h.pid_mode = "contariner:c1".into()), "invalid PID mode: contariner:c1");
    assert_eq!(refused(|_, h| h.pid_mode = "container:".into()), "invalid PID mode: container:");
    assert_eq!(refused(|_, h| h.ipc_mode = "x".into()), "invalid IPC mode: x");
    assert_eq!(refused(|_, h| h.uts_mode = "x".into()), "invalid UTS mode: x");
    assert_eq!(refused(|_, h| h.cgroupns_mode = "x".into()), "invalid cgroup namespace mode: x");
    assert_eq!(refused(|_, h| h.userns_mode = "keep-id".into()), "invalid USER mode: keep-id");
    assert_eq!(refused(|_, h| h.network_mode = "mynet".into()), "network mynet not found");
    assert_eq!(
        refused(|c, h| (c.hostname, h.network_mode) = ("x".into(), "container:a".into())),
        "conflicting options: hostname and the network mode"
    );
    assert_eq!(
        refused(|c, h| (c.hostname, h.uts_mode) = ("x".into(), "host".into())),
        "conflicting options: hostname and the UTS mode"
    );
    let engine = |change: &dyn Fn(&mut crate::Options)| {
        let mut options = crate::Options::default();
        change(&mut options);
        options.check().map_err(|e| e.to_string())
    };
    assert_eq!(engine(&|_| {}), Ok(()));
    let opt = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into_iter().collect();
    assert_eq!(
        engine(&|o| o.log.config = opt("nosuch", "1")).unwrap_err(),
        "failed to set log opts: unknown log opt 'nosuch' for json-file log driver"
    );
    assert_eq!(engine(&|o| o.dns = vec!["x".into()]).unwrap_err(), "x is not an ip address");
    let ulimit = || api::container::Ulimit { name: "foo".into(), hard: 1, soft: 1 };
    assert_eq!(engine(&|o| o.defaults.ulimits = vec![ulimit()]).unwrap_err(), "invalid ulimit type: foo");
    assert!(engine(&|o| o.defaults.cgroup_parent = "../x".into()).unwrap_err().starts_with("invalid cgroup-parent"));
    assert!(refused(|_, h| h.resources.cgroup_parent = "../../x".into()).starts_with("invalid cgroup-parent"));
    let slice =
        |parent: &str| engine(&|o| (o.defaults.systemd_cgroup, o.defaults.cgroup_parent) = (true, parent.to_owned()));
    assert_eq!([slice(""), slice("a-b.slice")], [Ok(()), Ok(())]);
    for bad in ["/a", "a", ".slice", "a/b.slice", "a--b.slice"] {
        let words = "cgroup-parent for systemd cgroup should be a valid slice named as \"xxx.slice\"";
        assert_eq!(slice(bad).unwrap_err(), words, "{bad}");
    }
}

#[test]
fn restart_policies() {
    let get = |name: &str, n| {
        restart_policy(&RestartPolicy { name: name.into(), maximum_retry_count: n }).map_err(|e| e.to_string())
    };
    assert_eq!(get("", 0), Ok(Policy::No));
    assert_eq!(get("on-failure", 3), Ok(Policy::OnFailure(3)));
    assert_eq!(
        get("always", 3).unwrap_err(),
        "invalid restart policy: maximum retry count can only be used with 'on-failure'"
    );
    assert_eq!(
        get("sometimes", 0).unwrap_err(),
        "invalid restart policy: unknown policy 'sometimes'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
    );
    assert_eq!(
        refused(|_, h| (h.auto_remove, h.restart_policy.name) = (true, "always".into())),
        "can't create 'AutoRemove' container with restart policy"
    );
}

#[test]
fn ports() {
    assert_eq!(parse_port("80/udp").unwrap(), (80, Protocol::Udp));
    for bad in ["", "0", "0/tcp", "65536", "80/x", "+80", "80/", "a"] {
        assert_eq!(parse_port(bad).unwrap_err().to_string(), format!("invalid port specification: {bad:?}"));
    }
    assert_eq!(host_ports("").unwrap(), None);
    assert_eq!(host_ports("0").unwrap(), None);
    assert_eq!(host_ports("8000-8003").unwrap(), Some((8000, 8003)));
    for bad in ["65536", "2-1", "-1", "x", "1-"] {
        assert!(host_ports(bad).is_err(), "{bad}");
    }
    let bound: Map<List<PortBinding>> =
        [("80/tcp".to_owned(), List::from(vec![PortBinding { host_ip: String::new(), host_port: "70000".into() }]))]
            .into_iter()
            .collect();
    assert_eq!(refused(|_, h| h.port_bindings = bound.clone()), "invalid port specification: \"70000\"");
}

#[test]
fn security() {
    let parse = |o: &str| Security::parse(&[o.to_owned()], &facts()).map_err(|e| e.to_string());
    assert_eq!(parse("no-new-privileges").unwrap().no_new_privileges, Some(true));
    assert_eq!(parse("no-new-privileges=false").unwrap().no_new_privileges, Some(false));
    assert_eq!(parse("seccomp=unconfined").unwrap().seccomp, SeccompChoice::Unconfined);
    assert_eq!(parse("seccomp:unconfined").unwrap().seccomp, SeccompChoice::Unconfined);
    for bad in ["seccomp=", "apparmor=", "x=y", "no-new-privileges=maybe"] {
        assert_eq!(parse(bad).unwrap_err(), format!("invalid --security-opt 2: {bad:?}"));
    }
    assert_eq!(parse("whatever").unwrap_err(), "invalid --security-opt 1: \"whatever\"");
    assert_eq!(parse("apparmor=mine").unwrap_err(), "AppArmor is not enabled on this host: apparmor=mine");
    assert!(parse("seccomp={\"defaultAction\":\"X\"}").unwrap_err().starts_with("Decoding seccomp profile failed: "));
}

#[test]
fn sysctls_of_the_host_are_refused() {
    let sysctl = |k: &str, v: &str, net: &str| {
        refused(|_, h| {
            h.network_mode = net.into();
            h.sysctls = [(k.to_owned(), v.to_owned())].into_iter().collect();
        })
    };
    assert_eq!(
        sysctl("kernel.core_pattern", "|/x", ""),
        "sysctl \"kernel.core_pattern\" is not in a separate kernel namespace"
    );
    assert_eq!(
        sysctl("net.ipv4.ip_forward", "1", "host"),
        "sysctl \"net.ipv4.ip_forward\" not allowed in host network namespace"
    );
    assert_eq!(sysctl("net.a", "1\nkernel.x=2", ""), "invalid value \"1\\nkernel.x=2\" of sysctl \"net.a\"");
    assert_eq!(sysctl("net..a", "1", ""), "invalid sysctl \"net..a\"");
    assert_eq!(sysctl("kernel.shm_rmid_forced+x", "1", ""), "invalid sysctl \"kernel.shm_rmid_forced+x\"");
}

#[test]
fn unsupported_things_say_their_name() {
    assert_eq!(refused(|_, h| h.links = vec!["a:b".into()].into()), "links are not supported by this engine: --link");
    assert_eq!(
        refused(|c, _| c.working_dir = "a".into()),
        "the working directory 'a' is invalid, it needs to be an absolute path"
    );
    assert_eq!(refused(|c, _| c.env = vec!["=x".into()].into()), "invalid environment variable: =x");
    assert_eq!(refused(|c, _| c.stop_signal = "FOO".into()), "invalid signal: FOO");
    assert_eq!(refused(|_, h| h.extra_hosts = vec!["a".into()].into()), "bad format for add-host: \"a\"");
    assert_eq!(refused(|_, h| h.extra_hosts = vec!["a:x".into()].into()), "invalid IP address in add-host: \"x\"");
    assert_eq!(
        refused(|c, _| c.hostname = "h".repeat(65)),
        format!("hostname {:?} is too long (maximum 64 bytes)", "h".repeat(65))
    );
    assert_eq!(
        refused(|_, h| h.cap_add = vec!["nope".into()].into()),
        "invalid CapAdd: unknown capability: \"CAP_NOPE\""
    );
}
