//! `stats`: what containers use, by the API and both clients.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use tests::{Engine, need_root};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn samples_in_dockers_form() {
    need_root!();
    let e = Engine::with_busybox();
    let busy = "while :; do :; done & dd if=/dev/zero of=/dev/shm/x bs=1M count=20 2>/dev/null; wait";
    e.dhow(["run", "-d", "--name", "busy", "-m", "128m", "--pids-limit", "50", "busybox", "sh", "-c", busy]).ok();
    e.dhow(["run", "-d", "--name", "alone", "--network", "none", "busybox", "sleep", "1d"]).ok();
    e.dhow(["create", "--name", "still", "busybox", "true"]).ok();
    e.dhow(["exec", "busy", "sh", "-c", "until test -s /dev/shm/x; do usleep 1000; done"]).ok();
    let get = |name: &str, query: &str| {
        let (code, text) = e.api("GET", &format!("/containers/{name}/stats?{query}"), None);
        (code, json(&text))
    };
    let (code, two) = get("busy", "stream=false");
    assert_eq!((code, two["name"].as_str()), (200, Some("/busy")), "{two}");
    assert!(two["preread"].as_str() < two["read"].as_str() && !two["preread"].as_str().unwrap().starts_with("0001"));
    let number =
        |v: &Value, path: &str| v.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{path}: {v}"));
    let used = number(&two, "/cpu_stats/cpu_usage/total_usage") - number(&two, "/precpu_stats/cpu_usage/total_usage");
    let all = number(&two, "/cpu_stats/system_cpu_usage") - number(&two, "/precpu_stats/system_cpu_usage");
    assert!(used > 20_000_000 && used < all * 2, "{used} of {all}");
    assert_eq!(number(&two, "/memory_stats/limit"), 128 << 20);
    assert!((20 << 20..128 << 20).contains(&number(&two, "/memory_stats/usage")), "{two}");
    assert!(two["memory_stats"]["stats"]["pgfault"].as_u64() > Some(0));
    assert!((2..=50).contains(&number(&two, "/pids_stats/current")));
    assert_eq!(number(&two, "/pids_stats/limit"), 50);
    assert!(number(&two, "/cpu_stats/online_cpus") >= 1);
    assert_eq!(two["networks"].as_object().unwrap().keys().collect::<Vec<_>>(), ["eth0"]);
    // As with Docker, nothing of the loopback.
    assert!(get("alone", "stream=0&one-shot=1").1.get("networks").is_none());
    let (_, one) = get("busy", "stream=0&one-shot=1");
    assert!(one["preread"].as_str().unwrap().starts_with("0001-01-01"), "{one}");
    assert_eq!(one["precpu_stats"]["cpu_usage"]["total_usage"], 0);
    let (_, still) = get("still", "stream=0");
    assert_eq!(
        (still["read"].as_str(), &still["pids_stats"], &still["memory_stats"]),
        (Some("0001-01-01T00:00:00Z"), &json("{}"), &json("{}"))
    );
    assert_eq!(e.api("GET", "/containers/nobody/stats", None).0, 404);
    let (code, both) = e.api("GET", "/containers/busy/stats?stream=1&one-shot=1", None);
    assert_eq!((code, both.contains("cannot have stream=true and one-shot=true")), (400, true), "{both}");
}

#[test]
fn both_clients_show_them() {
    need_root!();
    let e = Engine::with_busybox();
    e.dhow(["run", "-d", "--name", "one", "-m", "64m", "busybox", "sleep", "1d"]).ok();
    let id = e.dhow(["run", "-d", "--name", "two", "--network", "none", "busybox", "sleep", "1d"]).ok();
    e.dhow(["create", "--name", "still", "busybox", "true"]).ok();
    // What moves between two looks is left out.
    let format = "{{.Container}} {{.Name}} {{.ID}} {{.PIDs}} {{.CPUPerc}}";
    for args in [
        &["stats", "--no-stream", "--format", format, "one", "two"][..],
        &["stats", "--no-stream", "--no-trunc", "--format", format, "two"],
        &["stats", "--no-stream", "--format", "{{.MemUsage}} {{.NetIO}}", "still"],
        &["stats", "--no-stream", "still"],
        &["stats", "--no-stream", "--format", "table {{.Name}}\t{{.PIDs}}", "two"],
        &["stats", "--no-stream", "--format", "{{.Nope}}", "two"],
        &["stats", "--no-stream", "nobody"],
    ] {
        let (ours, theirs) = (e.dhow(args), e.docker(args));
        assert_eq!((&ours.out, ours.code), (&theirs.out, theirs.code), "{args:?}: {ours:?} {theirs:?}");
    }
    let rows = |said: String| {
        let mut rows: Vec<String> = said.lines().map(str::to_owned).collect();
        rows.sort();
        rows
    };
    for all in [&["--format", "{{.Name}}"][..], &["-a", "--format", "{{.Name}}"]] {
        let args: Vec<&str> = [&["stats", "--no-stream"][..], all].concat();
        let ours = rows(e.dhow(&args).ok());
        assert_eq!(ours, rows(e.docker(&args).ok()), "{args:?}");
        assert_eq!(ours.len(), if all.contains(&"-a") { 3 } else { 2 });
    }
    let json_line = e.dhow(["stats", "--no-stream", "--format", "json", "two"]).ok();
    assert_eq!(json(&json_line)["ID"], id[..12]);
    assert!(e.dhow(["stats", "--no-stream", "one"]).ok().contains(" / 64MiB"));
}

#[test]
fn a_stream_goes_on_until_the_container_has_gone() {
    need_root!();
    let e = Engine::with_busybox();
    e.dhow(["run", "-d", "--name", "one", "busybox", "sleep", "1d"]).ok();
    let mut curl = std::process::Command::new("curl");
    curl.args(["-sN", "--unix-socket", e.host().trim_start_matches("unix://"), "http://d/v1.48/containers/one/stats"]);
    let mut child = curl.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || lines.next().map(|l| json(&l.unwrap()));
    let first = next().unwrap();
    assert_eq!(first["preread"], "0001-01-01T00:00:00Z");
    let second = next().unwrap();
    assert_eq!((&second["preread"], &second["precpu_stats"]), (&first["read"], &first["cpu_stats"]));
    e.dhow(["stop", "-t", "0", "one"]).ok();
    while next().unwrap()["read"] != "0001-01-01T00:00:00Z" {}
    e.dhow(["rm", "one"]).ok();
    while next().is_some() {}
    assert!(child.wait().unwrap().success());
}
