//! Log drivers and their options, and what is told when memory is wanting.

use std::path::Path;
use tests::{Engine, need_root, wait_for};

#[test]
fn local_and_json_logs_say_the_same() {
    need_root!();
    let e = Engine::with_busybox();
    let script = "seq 1 3000; printf rest";
    let want: String = (1..=3000).map(|n| format!("{n}\n")).collect::<String>() + "rest";
    for driver in ["json-file", "local"] {
        e.dhow(["run", "--name", driver, "--log-driver", driver, "busybox", "sh", "-c", script]).ok();
        assert!(e.dhow(["logs", driver]).out == want, "{driver}");
        assert!(e.docker(["logs", driver]).out == want, "{driver}");
        assert_eq!(e.dhow(["logs", "--tail", "3", driver]).out, "2999\n3000\nrest");
        assert_eq!(e.dhow(["logs", "--tail", "0", driver]).out, "");
    }
    assert_eq!(e.inspect("local")["LogPath"], "");
    e.dhow([
        "run",
        "-d",
        "--name",
        "ff",
        "--log-driver",
        "local",
        "busybox",
        "sh",
        "-c",
        "echo 1; usleep 100000; echo 2",
    ])
    .ok();
    assert_eq!(e.dhow(["logs", "-f", "ff"]).out, "1\n2\n");
    let drivers = e.dhow(["info", "--format", "{{.Plugins.Log}}"]).ok();
    assert_eq!(drivers, "[json-file local none]");
}

#[test]
fn rotated_files_are_compressed_and_read_again() {
    need_root!();
    let e = Engine::with_busybox();
    let script = "seq 1 3000; while ! [ -e /end ]; do usleep 20000; done; seq 3001 3100";
    let options = ["max-size=100k", "max-file=9", "compress=true"].map(|o| format!("--log-opt={o}"));
    e.dhow(["run", "-d", "--name", "zz", &options[0], &options[1], &options[2], "busybox", "sh", "-c", script]).ok();
    let path = e.inspect("zz")["LogPath"].as_str().unwrap().to_owned();
    wait_for("a compressed file", || Path::new(&format!("{path}.1.gz")).exists().then_some(()));
    e.dhow(["exec", "zz", "touch", "/end"]).ok();
    e.dhow(["wait", "zz"]).ok();
    let want: Vec<String> = (1..=3100).map(|n| n.to_string()).collect();
    assert!(e.dhow(["logs", "zz"]).ok() == want.join("\n"));
    for tail in [1, 100, 1000, 3000] {
        assert!(e.dhow(["logs", "--tail", &tail.to_string(), "zz"]).ok() == want[3100 - tail..].join("\n"), "{tail}");
    }
    e.dhow(["rm", "zz"]).ok();
    assert!(!Path::new(&path).parent().unwrap().exists());
}

#[test]
fn records_say_what_the_options_name() {
    need_root!();
    let e = Engine::with_busybox();
    for driver in ["json-file", "local"] {
        e.dhow([
            "run",
            "--name",
            driver,
            "--log-driver",
            driver,
            "--label",
            "com.a=1",
            "--label",
            "b=x y",
            "-e",
            "V=2",
            "--log-opt",
            "labels-regex=^com",
            "--log-opt",
            "labels=b",
            "--log-opt",
            "env=V,PATH0",
            "--log-opt",
            "tag={{.Name}}",
            "busybox",
            "echo",
            "hi",
        ])
        .ok();
        let said = e.dhow(["logs", "--details", driver]).ok();
        assert_eq!(said, format!("V=2,b=x+y,com.a=1,tag={driver} hi"));
        assert_eq!(e.dhow(["logs", driver]).ok(), "hi");
    }
    let text = std::fs::read_to_string(e.inspect("json-file")["LogPath"].as_str().unwrap()).unwrap();
    let head = r#"{"log":"hi\n","stream":"stdout","attrs":{"V":"2","b":"x y","com.a":"1","tag":"json-file"},"time":""#;
    assert!(text.starts_with(head), "{text}");
}

#[test]
fn a_log_that_nobody_waits_for_has_every_line_there_was_room_for() {
    need_root!();
    let e = Engine::with_busybox();
    let options = ["mode=non-blocking", "max-buffer-size=16m"].map(|o| format!("--log-opt={o}"));
    e.dhow(["run", "--name", "nn", &options[0], &options[1], "busybox", "seq", "1", "5000"]).ok();
    let want: Vec<String> = (1..=5000).map(|n| n.to_string()).collect();
    assert!(e.dhow(["logs", "nn"]).ok() == want.join("\n"));
}

#[test]
fn what_is_no_driver_or_option_is_refused_in_dockers_words() {
    need_root!();
    let e = Engine::with_busybox();
    let cases: [(&[&str], &str); 4] = [
        (&["--log-driver", "journald"], "logger: no log driver named 'journald' is registered"),
        (&["--log-driver", "local", "--log-opt", "x=1"], "unknown log opt 'x' for log driver local"),
        (&["--log-opt", "mode=x"], "logger: logging mode not supported: x"),
        (&["--log-opt", "max-size=x"], "invalid size: 'x'"),
    ];
    for (options, text) in cases {
        let mut all = vec!["create"];
        all.extend(options);
        all.push("busybox");
        e.dhow(all).fails(1, text);
    }
    e.dhow(["run", "--name", "none", "--log-driver", "none", "busybox", "echo", "hi"]).ok();
    e.dhow(["logs", "none"]).fails(1, "configured logging driver does not support reading");
}

#[test]
fn want_of_memory_is_an_event_while_the_container_runs() {
    need_root!();
    let e = Engine::with_busybox();
    e.dhow(["run", "-d", "--name", "oo", "-m", "16m", "--memory-swap", "16m", "busybox", "sleep", "1d"]).ok();
    let greedy = "head -c 40000000 /dev/zero | tail -c 40000000 >/dev/null";
    e.dhow(["exec", "oo", "sh", "-c", greedy]);
    wait_for("the flag", || (e.inspect("oo")["State"]["OOMKilled"] == true).then_some(()));
    assert_eq!(e.inspect("oo")["State"]["Running"], true);
    let events = e.dhow(["events", "--since", "1h", "--until", "0s", "--format", "{{.Action}}"]).ok();
    assert!(events.lines().any(|action| action == "oom"), "{events}");
    assert!(!events.lines().any(|action| action == "die"), "{events}");
    e.dhow(["rm", "-f", "oo"]).ok();
}
