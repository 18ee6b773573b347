//! Bad input: full disks, names, ports, requests of the wrong shape, slow clients. Each is a clear error with the right
//! code, the daemon lives, and nothing is left.

use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use tests::evil::{self, Evil};
use tests::tar::Tar;
use tests::{Engine, need_root, wait_for};

/// A disk that is full: an error that says so, nothing half-made, and all is well once there is room.
#[test]
fn no_space_left() {
    need_root!();
    let mut e = Engine::on_disk(64);
    e.import_busybox();
    let big = Tar::new().file("big", &vec![b'b'; 6 << 20]).end();
    let layer = big.clone();
    let server = Evil::start(&e.net, move |asked| evil::image(std::slice::from_ref(&layer)).answer(asked));
    let noise = "dd if=/dev/zero of=/fill bs=64k 2>/t/fill; seq 1 300000; echo over >/t/over; sleep 1d";
    e.dhow(["run", "-d", "--name", "full", "--tmpfs", "/t", "busybox", "sh", "-c", noise]).ok();
    // Its output has nowhere to go, and it goes on.
    wait_for("the container to go on on a full disk", || {
        (e.dhow(["exec", "full", "cat", "/t/over"]).out == "over\n").then_some(())
    });
    assert!(e.dhow(["exec", "full", "cat", "/t/fill"]).ok().contains("No space left on device"));
    let before = e.stored();
    let full = "no space left on device";
    e.import("big", &big).fails(1, full);
    e.dhow(["pull", "-q", &format!("{}/big", server.host)]).fails(1, full);
    let said = e.dhow(["run", "--rm", "--name", "second", "busybox", "true"]);
    assert!(said.code == 0 || said.code == 125 && said.err.contains(full), "{said:?}");
    let said = e.dhow(["volume", "create", "vol"]);
    assert!(said.code == 0 || said.code == 1 && said.err.contains(full), "{said:?}");
    e.dhow(["volume", "rm", "-f", "vol"]).ok();
    let left: Vec<_> =
        e.stored().into_iter().filter(|p| !before.contains(p) && !p.starts_with("layer/partial")).collect();
    assert_eq!(left, [""; 0]);
    assert_eq!(e.dhow(["ps", "-a", "--format", "{{.Names}} {{.State}}"]).ok(), "full running");
    // A daemon that starts on a full disk has all it had.
    e.kill9();
    e.run();
    assert_eq!(e.dhow(["ps", "-a", "--format", "{{.Names}} {{.State}}"]).ok(), "full running");
    e.dhow(["logs", "-n", "1", "full"]).ok();
    e.dhow(["stop", "-t", "0", "full"]).ok();
    e.dhow(["rm", "full"]).ok();
    wait_for("room", || (e.import("big", &big).code == 0).then_some(()));
    e.dhow(["pull", "-q", &format!("{}/big", server.host)]).ok();
    assert_eq!(e.dhow(["run", "--rm", "busybox", "echo", "again"]).ok(), "again");
    e.alive();
}

#[test]
fn names_ports_and_commands() {
    need_root!();
    let mut e = Engine::with_busybox();
    e.dhow(["run", "-d", "--name", "one", "-p", "127.0.0.1:8080:80", "busybox", "sleep", "1d"]).ok();
    let said = e
        .dhow(["create", "--name", "one", "busybox"])
        .fails(1, "Conflict. The container name \"/one\" is already in use by container");
    assert!(said.out.is_empty());
    let (code, _) = e.raw("POST", "/containers/create?name=one", b"{\"Image\":\"busybox\"}");
    assert_eq!(code, 409);
    e.dhow(["run", "--name", "two", "-p", "127.0.0.1:8080:80", "busybox", "true"])
        .fails(125, "port is already allocated");
    let mut taken = e.net.command("sh");
    taken.args(["-c", "exec busybox nc -l -p 8081"]).stdin(std::process::Stdio::piped());
    let mut taken = taken.spawn().unwrap();
    wait_for("the listener", || {
        let text = tests::said(e.net.command("ss").args(["-ltnH"])).ok();
        text.contains(":8081 ").then_some(())
    });
    let said = e.dhow(["run", "--name", "two", "-p", "127.0.0.1:8081:80", "busybox", "true"]);
    assert!(said.code == 125 && said.err.contains("address already in use"), "{said:?}");
    taken.kill().unwrap();
    taken.wait().unwrap();
    for port in ["0", "65536", "-1", "x", "80-79", "1-70000", "80/xyz", "127.0.0.1:99999:80", "999.0.0.1:80:80", "80:0"]
    {
        let said = e.dhow(["run", "--rm", "-p", port, "busybox", "true"]);
        assert!(said.code == 125 && !said.err.is_empty(), "{port}: {said:?}");
    }
    for (command, code, text) in [
        ("nonsense", 127, "executable file not found in $PATH"),
        ("/nonsense", 127, "no such file or directory"),
        ("/etc/passwd", 126, "permission denied"),
        ("/etc", 126, "is a directory"),
        ("./etc/passwd", 126, "permission denied"),
    ] {
        e.dhow(["run", "--rm", "busybox", command]).fails(code, text);
        let said = e.dhow(["exec", "one", command]);
        assert!(said.code == code && (said.out + &said.err).contains(text), "exec {command}: not {code} {text}");
        // Without --rm too nothing stays; of a container made by itself the failure is kept.
        let cidfile = e.dir.path().join("cid").display().to_string();
        e.dhow(["run", "--name", "bad", "--cidfile", &cidfile, "busybox", command]).fails(code, text);
        e.dhow(["run", "-d", "--name", "bad", "--cidfile", &cidfile, "busybox", command]).fails(code, text);
        assert_eq!(e.dhow(["ps", "-a", "--format", "{{.Names}}"]).ok(), "one");
        e.dhow(["create", "--name", "bad", "busybox", command]).ok();
        assert_eq!(e.dhow(["start", "bad"]).code, 1);
        assert_eq!(e.inspect("bad")["State"]["ExitCode"], code);
        assert_eq!(e.inspect("bad")["State"]["Status"], "created");
        e.dhow(["rm", "bad"]).ok();
    }
    for (flag, value) in [
        ("--memory", "1"),
        ("--memory", "-5"),
        ("--cpus", "10000"),
        ("--cpus", "-1"),
        ("--pids-limit", "x"),
        ("--cpuset-cpus", "99999"),
        ("--memory-swappiness", "101"),
        ("--oom-score-adj", "2000"),
        ("--shm-size", "-1"),
        ("--ulimit", "nofile=5:4"),
        ("--cpu-shares", "-1"),
    ] {
        let said = e.dhow(["run", "--rm", flag, value, "busybox", "true"]);
        assert!(said.code == 125 && !said.err.is_empty(), "{flag} {value}: {said:?}");
    }
    e.dhow(["rm", "-f", "one"]).ok();
    e.alive();
}

#[test]
fn bodies_of_the_wrong_shape() {
    need_root!();
    let mut e = Engine::with_busybox();
    e.dhow(["run", "-d", "--name", "cc", "busybox", "sleep", "1d"]).ok();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_object = format!("{{\"Labels\":{}1{}}}", "{\"a\":".repeat(50_000), "}".repeat(50_000));
    let mut bodies: Vec<(&str, Vec<u8>)> = Vec::new();
    let creates = [
        "",
        "{",
        "null",
        "[]",
        "5",
        "\"x\"",
        "{\"Image\":5}",
        "{\"Image\":[]}",
        "{\"Image\":\"busybox\",\"Cmd\":5}",
        "{\"Image\":\"busybox\",\"Cmd\":[1]}",
        "{\"Image\":\"busybox\",\"Env\":{}}",
        "{\"Image\":\"busybox\",\"Env\":[5]}",
        "{\"Image\":\"busybox\",\"Labels\":[]}",
        "{\"Image\":\"busybox\",\"Labels\":{\"a\":1}}",
        "{\"Image\":\"busybox\",\"HostConfig\":5}",
        "{\"Image\":\"busybox\",\"HostConfig\":{\"Memory\":\"1g\"}}",
        "{\"Image\":\"busybox\",\"HostConfig\":{\"Memory\":1e30}}",
        "{\"Image\":\"busybox\",\"HostConfig\":{\"Memory\":1.5}}",
        "{\"Image\":\"busybox\",\"HostConfig\":{\"Memory\":99999999999999999999}}",
        "{\"Image\":\"busybox\",\"HostConfig\":{\"Binds\":\"/a:/b\"}}",
        "{\"Image\":\"busybox\",\"HostConfig\":{\"Binds\":[\"\"]}}",
        "{\"Image\":\"busybox\",\"HostConfig\":{\"PortBindings\":[]}}",
        "{\"Image\":\"busybox\",\"HostConfig\":{\"PortBindings\":{\"x\":[{}]}}}",
        "{\"Image\":\"busybox\",\"HostConfig\":{\"RestartPolicy\":\"always\"}}",
        "{\"Image\":\"busybox\",\"HostConfig\":{\"Mounts\":[{\"Type\":\"x\",\"Target\":\"/a\"}]}}",
        "{\"Image\":\"busybox\",\"HostConfig\":{\"Mounts\":[{}]}}",
        "{\"Image\":\"busybox\",\"HostConfig\":{\"CapAdd\":\"ALL\"}}",
        "{\"Image\":\"busybox\",\"HostConfig\":{\"Devices\":[5]}}",
        "{\"Image\":\"busybox\",\"StopSignal\":\"NONSENSE\"}",
        "{\"Image\":\"busybox\",\"StopTimeout\":\"x\"}",
        "{\"Image\":\"busybox\"} trailing",
        "{\"Image\":\"busybox\",\"Tty\":1}",
        "{\"Image\":\"busybox\",\"Hostname\":\"a b\\n\"}",
        "{\"Image\":\"\\ud800\"}",
    ];
    bodies.extend(creates.iter().map(|b| ("/containers/create", b.as_bytes().to_vec())));
    bodies.push(("/containers/create", deep.clone().into_bytes()));
    bodies.push(("/containers/create", deep_object.into_bytes()));
    bodies.push(("/containers/create", b"\xff\xfe{\0}\0".to_vec()));
    bodies.push(("/containers/create", b"{\"Image\":\"\xff\xff\"}".to_vec()));
    let execs = [
        "",
        "{",
        "[]",
        "{\"Cmd\":5}",
        "{\"Cmd\":[]}",
        "{}",
        "{\"Cmd\":[{}]}",
        "{\"Cmd\":[\"x\"],\"Env\":5}",
        "{\"Cmd\":[\"x\"],\"ConsoleSize\":[1]}",
        "{\"Cmd\":[\"x\"],\"ConsoleSize\":\"x\"}",
        "{\"Cmd\":[\"x\"],\"Tty\":\"yes\"}",
    ];
    bodies.extend(execs.iter().map(|b| ("/containers/cc/exec", b.as_bytes().to_vec())));
    let updates = [
        "{",
        "[]",
        "{\"Memory\":\"x\"}",
        "{\"RestartPolicy\":5}",
        "{\"RestartPolicy\":{\"Name\":\"x\"}}",
        "{\"CpuShares\":{}}",
        "{\"Memory\":1}",
    ];
    bodies.extend(updates.iter().map(|b| ("/containers/cc/update", b.as_bytes().to_vec())));
    let others = [
        ("/volumes/create", "{\"Name\":5}"),
        ("/volumes/create", "{\"Name\":\"../x\"}"),
        ("/auth", "[]"),
        ("/containers/cc/wait?condition=x", ""),
        ("/containers/cc/resize?h=x&w=y", ""),
        ("/containers/cc/kill?signal=NONSENSE", ""),
    ];
    bodies.extend(others.iter().map(|(p, b)| (*p, b.as_bytes().to_vec())));
    let mut wrong = Vec::new();
    for (path, body) in &bodies {
        let (code, text) = e.raw("POST", path, body);
        let message = serde_json::from_str::<Value>(&text).ok().and_then(|v| Some(v["message"].as_str()?.to_owned()));
        if code != 400 || message.is_none_or(|m| m.is_empty()) {
            wrong.push(format!("{path} {}: {code} {text}", String::from_utf8_lossy(&body[..body.len().min(120)])));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    e.dhow(["rm", "-f", "cc"]).ok();
    e.alive();
}

/// Small random numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

fn change(value: &mut Value, dice: &mut Dice) {
    let odd = |dice: &mut Dice| {
        let all = [
            json!(null),
            json!(true),
            json!(-1),
            json!(0),
            json!(i64::MAX),
            json!(i64::MIN),
            json!(u64::MAX),
            json!(1.5),
            json!(""),
            json!("x"),
            json!("../../x"),
            json!("\u{0}"),
            json!("a\nb"),
            json!("/"),
            json!("a:b:c:d"),
            json!("\u{1f6a2}"),
            json!([]),
            json!({}),
            json!([null]),
            json!({"": null}),
            json!("y".repeat(10_000)),
        ];
        all[dice.below(all.len())].clone()
    };
    match value {
        Value::Object(map) if !map.is_empty() && dice.below(6) > 0 => {
            let at = dice.below(map.len());
            if let Some((_, inner)) = map.iter_mut().nth(at) {
                change(inner, dice);
            }
        }
        Value::Array(list) if !list.is_empty() && dice.below(4) > 0 => {
            let at = dice.below(list.len());
            change(&mut list[at], dice);
        }
        other => *other = odd(dice),
    }
}

/// A body in which much is said.
const SOUND: &str = r#"{
    "Image": "busybox", "Cmd": ["true"], "Entrypoint": ["sh", "-c"], "Env": ["A=b"], "Hostname": "h", "Domainname": "d",
    "User": "0", "WorkingDir": "/", "Labels": {"a": "b"}, "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/v": {}},
    "StopSignal": "TERM", "StopTimeout": 1, "Tty": false, "OpenStdin": false,
    "Healthcheck": {"Test": ["NONE"], "Interval": 0},
    "HostConfig": {
        "Binds": ["vol:/data:ro"], "Mounts": [{"Type": "tmpfs", "Target": "/tmp"}], "Memory": 67108864,
        "NanoCpus": 500000000, "PidsLimit": 50, "CpuShares": 512,
        "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "NetworkMode": "default", "CapAdd": ["NET_ADMIN"],
        "CapDrop": ["CHOWN"], "Dns": ["1.1.1.1"], "ExtraHosts": ["a:1.2.3.4"], "GroupAdd": ["1"],
        "IpcMode": "private", "PidMode": "", "OomScoreAdj": 0, "SecurityOpt": ["no-new-privileges"],
        "ShmSize": 1048576, "Sysctls": {"net.core.somaxconn": "100"}, "Tmpfs": {"/run": "size=1m"},
        "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}], "CgroupParent": "", "Init": true, "Runtime": "",
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}}, "AutoRemove": false, "ConsoleSize": [0, 0],
        "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/n", "CgroupPermissions": "rwm"}],
        "MaskedPaths": ["/proc/kcore"], "ReadonlyPaths": ["/proc/sys"], "ReadonlyRootfs": false
    },
    "NetworkingConfig": {"EndpointsConfig": {}}
}"#;

#[test]
fn three_hundred_wrong_creations() {
    need_root!();
    let mut e = Engine::with_busybox();
    let sound: Value = serde_json::from_str(SOUND).unwrap();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (mut made, mut wrong) = (Vec::new(), Vec::new());
    for round in 0..300 {
        let mut body = sound.clone();
        (0..=dice.below(3)).for_each(|_| change(&mut body, &mut dice));
        let mut bytes = body.to_string().into_bytes();
        if round % 10 == 0 {
            let at = dice.below(bytes.len());
            bytes[at] = dice.below(256) as u8;
        }
        let (code, text) = e.raw("POST", "/containers/create", &bytes);
        if ![201, 400, 404, 409, 501].contains(&code) {
            wrong.push(format!("{code} {text} of {}", String::from_utf8_lossy(&bytes)));
        }
        if code == 201 {
            made.push(text.split('"').nth(3).unwrap_or_default().to_owned());
        }
    }
    // What was created starts, or says why not.
    for id in &made {
        if wrong.len() < 5 && dice.below(4) == 0 {
            let (code, text) = e.raw("POST", &format!("/containers/{id}/start"), b"");
            if ![204, 400, 404, 409].contains(&code)
                && (code != 500 || text.len() < 20 || text.contains("its log says more"))
            {
                wrong.push(format!("start: {code} {text}"));
            }
            assert_eq!(e.raw("GET", &format!("/containers/{id}/json"), b"").0, 200);
        }
        assert_eq!(e.raw("DELETE", &format!("/containers/{id}?force=1&v=1"), b"").0, 204);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(made.len() > 10, "only {} of the bodies were sound", made.len());
    let volumes = e.dhow(["volume", "ls", "-q"]).ok();
    for name in volumes.lines() {
        e.dhow(["volume", "rm", name]).ok();
    }
    e.alive();
}

#[test]
fn slow_and_idle_clients_hinder_nobody() {
    need_root!();
    let mut e = Engine::with_busybox();
    let socket = e.dir.path().join("sock");
    let connect = || UnixStream::connect(&socket).unwrap();
    let idle: Vec<UnixStream> = (0..200).map(|_| connect()).collect();
    let mut slow: Vec<UnixStream> = (0..20).map(|_| connect()).collect();
    let begun = Instant::now();
    for stream in &mut slow {
        stream.write_all(b"GET /version HTTP/1.1\r\nHost: d\r\nX-Slow: ").unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    }
    let mut half = connect();
    half.write_all(b"POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"Image\":").unwrap();
    let at = Instant::now();
    assert_eq!(e.dhow(["run", "--rm", "busybox", "echo", "ok"]).ok(), "ok");
    assert!(at.elapsed() < Duration::from_secs(5), "{:?}", at.elapsed());
    for bytes in [
        &b"\0\0\0\0\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Length: -1\r\n\r\n",
        b"POST /containers/create HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /build HTTP/1.1\r\nHost: d\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let mut stream = connect();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.starts_with("HTTP/1.1 2") && !answer.starts_with("HTTP/1.1 500"), "{bytes:?}: {answer}");
    }
    // Headers that never end are given up; the connection is closed.
    for mut stream in slow {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("a connection whose headers never end is closed");
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    drop((idle, half));
    assert_eq!(e.dhow(["run", "--rm", "busybox", "echo", "ok"]).ok(), "ok");
    e.alive();
}
