use super::create;
use crate::{flags, table};
use serde_json::{Value, json};
use std::ffi::OsString;

fn run(line: &[&str]) -> Result<Value, String> {
    let args: Vec<OsString> = line.iter().map(OsString::from).collect();
    let parsed = flags::parse(&[table::CONTAINER_RUN.flags], false, &args).map_err(|f| f.text)?;
    create(&parsed).map(|c| serde_json::to_value(c).unwrap())
}

/// Each line: flags before the image, where in the body, what stands there.
#[test]
fn flags_become_the_body() {
    let table: &[(&[&str], &str, Value)] = &[
        (&["-it"], "/Tty", json!(true)),
        (&["-it"], "/OpenStdin", json!(true)),
        (&["-i"], "/StdinOnce", json!(true)),
        (&[], "/AttachStdout", json!(true)),
        (&["-a", "stdin"], "/AttachStdout", json!(false)),
        (&["-e", "A=b", "--env=C="], "/Env", json!(["A=b", "C="])),
        (&["-h", "web"], "/Hostname", json!("web")),
        (&["-u", "1:2", "-w", "/x"], "/WorkingDir", json!("/x")),
        (&["--entrypoint="], "/Entrypoint", json!([""])),
        (&["-l", "a=b", "-l", "c"], "/Labels", json!({"a": "b", "c": ""})),
        (&["--stop-timeout", "0"], "/StopTimeout", json!(0)),
        (&["-v", "/d"], "/Volumes", json!({"/d": {}})),
        (&["-v", "data:/d:ro"], "/HostConfig/Binds", json!(["data:/d:ro"])),
        (&["-p", "8080:80"], "/HostConfig/PortBindings", json!({"80/tcp": [{"HostIp": "", "HostPort": "8080"}]})),
        (
            &["-p", "127.0.0.1::53/udp"],
            "/HostConfig/PortBindings",
            json!({"53/udp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}),
        ),
        (
            &["-p", "[::1]:1-2:3-4"],
            "/HostConfig/PortBindings",
            json!({"3/tcp": [{"HostIp": "::1", "HostPort": "1"}], "4/tcp": [{"HostIp": "::1", "HostPort": "2"}]}),
        ),
        (&["-p", "1-9:80"], "/HostConfig/PortBindings", json!({"80/tcp": [{"HostIp": "", "HostPort": "1-9"}]})),
        (&["--expose", "7-8"], "/ExposedPorts", json!({"7/tcp": {}, "8/tcp": {}})),
        (&["-m", "64m"], "/HostConfig/Memory", json!(67_108_864)),
        (&["--memory-swap", "-1"], "/HostConfig/MemorySwap", json!(-1)),
        (&["--cpus", "1.5"], "/HostConfig/NanoCpus", json!(1_500_000_000)),
        (&["--cpus", "1/2"], "/HostConfig/NanoCpus", json!(500_000_000)),
        (&["-c", "512"], "/HostConfig/CpuShares", json!(512)),
        (&["--pids-limit", "10"], "/HostConfig/PidsLimit", json!(10)),
        (
            &["--device-read-bps", "/dev/sda:1mb"],
            "/HostConfig/BlkioDeviceReadBps",
            json!([{"Path": "/dev/sda", "Rate": 1_048_576}]),
        ),
        (
            &["--device-write-iops", "/dev/sda:9"],
            "/HostConfig/BlkioDeviceWriteIOps",
            json!([{"Path": "/dev/sda", "Rate": 9}]),
        ),
        (
            &["--device", "/dev/fuse:rm"],
            "/HostConfig/Devices",
            json!([{"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse", "CgroupPermissions": "rm"}]),
        ),
        (&["--ulimit", "nofile=5:9"], "/HostConfig/Ulimits", json!([{"Name": "nofile", "Hard": 9, "Soft": 5}])),
        (&["--sysctl", "net.ipv4.ip_forward=1"], "/HostConfig/Sysctls", json!({"net.ipv4.ip_forward": "1"})),
        (
            &["--restart", "on-failure:3"],
            "/HostConfig/RestartPolicy",
            json!({"Name": "on-failure", "MaximumRetryCount": 3}),
        ),
        (&["--rm"], "/HostConfig/AutoRemove", json!(true)),
        (&["--net", "host"], "/HostConfig/NetworkMode", json!("host")),
        (
            &["--network", "name=n,ip=1.2.3.4"],
            "/NetworkingConfig/EndpointsConfig/n/IPAMConfig",
            json!({"IPv4Address": "1.2.3.4"}),
        ),
        (&["--tmpfs", "/t:size=1m"], "/HostConfig/Tmpfs", json!({"/t": "size=1m"})),
        (
            &["--mount", "type=bind,source=/a,target=/b,readonly"],
            "/HostConfig/Mounts",
            json!([{"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": true}]),
        ),
        (
            &["--mount", "type=tmpfs,dst=/b,tmpfs-size=1k,tmpfs-mode=700"],
            "/HostConfig/Mounts",
            json!([{"Type": "tmpfs", "Target": "/b", "TmpfsOptions": {"SizeBytes": 1024, "Mode": 448}}]),
        ),
        (&["--security-opt", "systempaths=unconfined"], "/HostConfig/MaskedPaths", json!([])),
        (&["--security-opt", "no-new-privileges"], "/HostConfig/SecurityOpt", json!(["no-new-privileges"])),
        (&["--add-host", "a=::1"], "/HostConfig/ExtraHosts", json!(["a:::1"])),
        (&["--pid", "container:x"], "/HostConfig/PidMode", json!("container:x")),
        (&["--init=false"], "/HostConfig/Init", json!(false)),
        (&["--shm-size", "1g"], "/HostConfig/ShmSize", json!(1_073_741_824)),
        (&["--gpus", "all"], "/HostConfig/DeviceRequests/0/Count", json!(-1)),
        (
            &["--health-cmd", "x", "--health-interval", "1m30s"],
            "/Healthcheck",
            json!({"Test": ["CMD-SHELL", "x"], "Interval": 90_000_000_000i64}),
        ),
        (&["--no-healthcheck"], "/Healthcheck", json!({"Test": ["NONE"]})),
        (&["--log-opt", "max-size=1m"], "/HostConfig/LogConfig", json!({"Type": "", "Config": {"max-size": "1m"}})),
    ];
    for (flags, pointer, want) in table {
        let mut line = flags.to_vec();
        line.extend(["image", "cmd", "-x"]);
        let body = run(&line).unwrap_or_else(|e| panic!("{flags:?}: {e}"));
        assert_eq!(body.pointer(pointer), Some(want), "{flags:?}");
        assert_eq!((&body["Image"], &body["Cmd"]), (&json!("image"), &json!(["cmd", "-x"])));
    }
}

#[test]
fn refusals_in_dockers_words() {
    for (flags, want) in [
        (&["--pid", "contariner:c1"][..], "--pid: invalid PID mode"),
        (&["--uts", "x"], "--uts: invalid UTS mode"),
        (&["--cgroupns", "x"], "--cgroupns: invalid CGROUP mode"),
        (&["--userns", "x"], "--userns: invalid USER mode"),
        (&["-p", "99999:1"], "invalid hostPort: 99999"),
        (&["-p", "1:x"], "invalid containerPort: x"),
        (&["-p", "x:1:2"], "invalid IP address: x"),
        (&["-p", "1-2:3-5"], "invalid ranges specified for container and host Ports: 3-5 and 1-2"),
        (&["-p", "1/foo"], "invalid proto: foo"),
        (&["--rm", "--restart", "always"], "conflicting options: cannot specify both --restart and --rm"),
        (&["--restart", ":3"], "invalid restart policy format: no policy provided before colon"),
        (&["--env-file", "/nope"], "open /nope: no such file or directory"),
        (&["--memory-swappiness", "101"], "invalid value: 101. Valid memory swappiness range is 0-100"),
        (&["-v", "a::b"], "invalid spec: a::b: empty section between colons"),
        (&["-v", "a:b:c:d"], "invalid spec: a:b:c:d: too many colons"),
        (
            &["--security-opt", "seccomp=/nope"],
            "opening seccomp profile (/nope) failed: open /nope: no such file or directory",
        ),
        (&["--log-driver", "none", "--log-opt", "a=b"], "invalid logging opts for driver none"),
        (&["-m", "x"], "invalid argument \"x\" for \"-m, --memory\" flag: invalid size: 'x'"),
        (&["-m", "1x"], "invalid argument \"1x\" for \"-m, --memory\" flag: invalid suffix: 'x'"),
        (&["--cpus", "x"], "invalid argument \"x\" for \"--cpus\" flag: failed to parse x as a rational number"),
        (&["--mount", "type=foo"], "invalid argument \"type=foo\" for \"--mount\" flag: target is required"),
        (
            &["--health-interval=5"],
            "invalid argument \"5\" for \"--health-interval\" flag: time: missing unit in duration \"5\"",
        ),
        (
            &["--blkio-weight=99999"],
            "invalid argument \"99999\" for \"--blkio-weight\" flag: strconv.ParseUint: parsing \"99999\": value out of range",
        ),
        (
            &["--detach=maybe"],
            "invalid argument \"maybe\" for \"-d, --detach\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
        ),
        (&["--nope"], "unknown flag: --nope"),
        (&["-Z"], "unknown shorthand flag: 'Z' in -Z"),
        (
            &["--cpu-count", "1"],
            "\"--cpu-count\" is only supported on a Docker daemon running on windows, but the Docker daemon is running on linux",
        ),
    ] {
        let mut line = flags.to_vec();
        line.push("image");
        assert_eq!(run(&line).unwrap_err(), want, "{flags:?}");
    }
}
