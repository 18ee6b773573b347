//! Bad input: Docker's words, the right code, and not a trace left.

use tests::{Engine, need_root};

#[test]
fn what_is_wrong_is_named() {
    need_root!();
    let e = Engine::with_busybox();
    for (args, code, text) in [
        (&["run", "--nonsense", "busybox"][..], 125, "unknown flag: --nonsense"),
        (&["run"], 1, "requires at least 1 argument"),
        (&["nonsense"], 1, "unknown command: dhow nonsense"),
        (&["start", "nobody"], 1, "No such container: nobody"),
        (&["stop", "nobody"], 1, "No such container: nobody"),
        (&["logs", "nobody"], 1, "No such container: nobody"),
        (&["exec", "nobody", "true"], 1, "No such container: nobody"),
        (&["rmi", "nothing"], 1, "No such image: nothing"),
        (&["run", "-v", "/nowhere/at/all:/x:nonsense", "busybox"], 125, "invalid mode: nonsense"),
        (
            &["run", "--mount", "type=bind,src=/nowhere/at/all,dst=/x", "busybox"],
            125,
            "bind source path does not exist: /nowhere/at/all",
        ),
        (
            &["run", "-w", "relative", "busybox"],
            125,
            "the working directory 'relative' is invalid, it needs to be an absolute path",
        ),
        (
            &["run", "-u", "nosuchuser", "busybox"],
            125,
            "unable to find user nosuchuser: no matching entries in passwd file",
        ),
        (&["run", "-u", "4294967296", "busybox"], 125, "uids and gids must be in range 0-2147483647"),
        (&["run", "-p", "0.0.0.0:99999:80", "busybox"], 125, "99999"),
        (&["run", "--network", "container:nobody", "busybox"], 125, "No such container: nobody"),
        (&["run", "--network", "nosuchnet", "busybox"], 125, "network nosuchnet not found"),
        (&["create", "--restart", "sometimes", "busybox"], 1, "invalid restart policy"),
        (&["kill", "-s", "NONSENSE", "x"], 1, ""),
        (&["run", "--log-driver", "nonsense", "busybox"], 125, "nonsense"),
    ] {
        // Without --rm a container that could not be started stays, as Docker's does.
        let rm = args.first().filter(|a| **a == "run" && args.len() > 1).map(|_| "--rm");
        e.dhow(args[..1].iter().copied().chain(rm).chain(args[1..].iter().copied())).fails(code, text);
    }
    assert_eq!(e.dhow(["ps", "-aq"]).ok(), "");
}

#[test]
fn the_api_refuses_what_it_must() {
    need_root!();
    let e = Engine::with_busybox();
    assert_eq!(e.api("GET", "/nonsense", None), (404, "{\"message\":\"page not found\"}\n".into()));
    let (code, body) = e.api("GET", "/v1.99/info", None);
    assert!(code == 400 && body.contains("client version 1.99 is too new"), "{body}");
    let (code, body) = e.api("GET", "/v1.12/info", None);
    assert!(code == 400 && body.contains("client version 1.12 is too old"), "{body}");
    assert_eq!(e.api("POST", "/containers/create", Some("{nonsense")).0, 400);
    assert_eq!(e.api("POST", "/containers/create", Some(r#"{"Image":5}"#)).0, 400);
    assert_eq!(e.api("POST", "/containers/create", Some("{}")).0, 400);
    assert_eq!(e.api("POST", "/containers/none/start", None).0, 404);
    let (code, body) = e.api("GET", "/containers/json?filters=%7B%22nonsense%22%3A%5B%22x%22%5D%7D", None);
    assert!(code == 400 && body.contains("invalid filter"), "{body}");
    // A gigabyte of JSON is refused, not read.
    let script = format!(
        "head -c 1073741824 /dev/zero | curl -sS -o /dev/null -w '%{{http_code}}' --unix-socket {} -H 'Content-Type: application/json' -T - -X POST http://d/containers/create",
        e.dir.path().join("sock").display()
    );
    let before = rss(e.pid());
    let said = tests::said(std::process::Command::new("sh").args(["-c", &script]));
    assert!(["400", "413"].contains(&said.out.as_str()), "{said:?}");
    assert!(rss(e.pid()) < before + 32_768, "the daemon grew from {before} KiB to {} KiB", rss(e.pid()));
}

fn rss(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|l| l.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok()).unwrap()
}
