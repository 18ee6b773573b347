//! The same words: what a command prints, and its exit code, by our client and by the unmodified docker CLI, both against
//! the same daemon. What they may differ in is not in these tables: their own versions, and what this version refuses.

use tests::{Engine, Said, need_root};

/// Commands that are wrong in some way, and some beside them that are not.
const WRONG: &str = include_str!("words/wrong.txt");

/// Flags of `create`, which must come to the same container.
const REQUESTS: &str = include_str!("words/requests.txt");

/// Words of a line; double quotes hold together, a backslash takes the meaning from one.
fn words(line: &str) -> Vec<String> {
    let (mut all, mut word, mut inside, mut any) = (Vec::new(), String::new(), false, false);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => word.extend(chars.next()),
            '"' => (inside, any) = (!inside, true),
            ' ' if !inside => {
                if any || !word.is_empty() {
                    all.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => word.push(c),
        }
    }
    if any || !word.is_empty() {
        all.push(word);
    }
    all
}

/// What Debian's docker says, which is linked with an older library for ports than Docker's own, and what that says.
const OLDER: [(&str, &str); 8] = [
    ("Invalid ip address :80: address :80:: too many colons in address", "invalid IP address: :80"),
    ("Invalid ip address", "invalid IP address"),
    ("Invalid containerPort", "invalid containerPort"),
    ("Invalid hostPort", "invalid hostPort"),
    ("Invalid proto", "invalid proto"),
    ("Invalid ranges", "invalid ranges"),
    ("Invalid range specified for the Port", "invalid range specified for port"),
    ("No port specified", "no port specified"),
];

/// Without what is another in each run: IDs, addresses of pointers, seconds, and what a client calls itself. Without
/// what is another in each docker: its complaints about telemetry, and how many containers an image has (from 28.3 on).
fn normal(text: &str) -> String {
    let lines = text.split_inclusive('\n').filter(|line| !line.contains("msg=\"otel error\""));
    let text = lines.map(without_containers).collect::<String>();
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        let end = rest[at..].find(|c: char| !c.is_ascii_hexdigit()).map_or(rest.len(), |n| at + n);
        out.push_str(&rest[..at]);
        let pointer = end - at >= 8 && out.ends_with("0x");
        let age = rest[end..].starts_with(" second");
        out.push_str(if [12, 64].contains(&(end - at)) || pointer || age { "ID" } else { &rest[at..end] });
        rest = &rest[end..];
    }
    out.push_str(rest);
    OLDER.iter().fold(out.replace("dhow", "docker"), |out, (older, now)| out.replace(older, now))
}

/// Without `"Containers":"3",`.
fn without_containers(line: &str) -> String {
    match line.split_once("\"Containers\":\"") {
        Some((before, after)) => format!("{before}{}", after.split_once("\",").map_or(after, |(_, rest)| rest)),
        None => line.to_owned(),
    }
}

/// A daemon with the containers that the tables speak of.
fn engine() -> Engine {
    let e = Engine::start(&[]);
    let tar = tests::busybox_tar().to_str().expect("utf-8");
    let changes = ["-c", "CMD [\"sh\"]", "-c", "ENV A=b", "-c", "EXPOSE 81/udp", "-c", "VOLUME /iv", "-c", "LABEL x=y"];
    e.dhow(["import"].into_iter().chain(changes).chain([tar, "busybox:latest"])).ok();
    let line = "run -d --name same -p 8001:80 -v vol:/v --tmpfs /tt --label a=b -e K=v --restart on-failure:3 -m 64m \
                --memory-swap 64m --add-host h:1.2.3.4 --ulimit nofile=64 busybox sleep 1d";
    e.dhow(words(line)).ok();
    e.dhow(["create", "--name", "made", "--network", "none", "busybox", "echo", "<a&b>"]).ok();
    e.dhow(["run", "--name", "done", "busybox", "sh", "-c", "echo out; echo err >&2; touch /new"]).ok();
    e
}

/// Fails the test with every difference there was.
#[track_caller]
fn none(all: Vec<String>) {
    assert!(all.is_empty(), "{} differences:\n{}", all.len(), all.join("\n"));
}

/// Each client in turn.
fn by_both(e: &Engine, args: &[String], after: impl Fn()) -> (Said, Said) {
    let ours = e.dhow(args);
    after();
    let theirs = e.docker(args);
    after();
    (ours, theirs)
}

#[test]
fn of_what_is_wrong() {
    need_root!();
    let e = engine();
    let mut differences = Vec::new();
    for line in WRONG.lines().filter(|l| !l.is_empty()) {
        let args = words(line);
        let clean = || {
            // what a refused start leaves, and what was meant to be refused
            if matches!(args[0].as_str(), "run" | "create") {
                let left = e.dhow(["ps", "-aq", "--filter", "ancestor=busybox", "--filter", "since=done"]).out;
                if !left.is_empty() {
                    e.dhow(["rm", "-fv"].into_iter().chain(left.lines()));
                }
            }
        };
        let same = |(ours, theirs): &(Said, Said)| {
            ours.code == theirs.code
                && normal(&ours.out) == normal(&theirs.out)
                && normal(&ours.err) == normal(&theirs.err)
        };
        let mut said = by_both(&e, &args, clean);
        if !same(&said) {
            // a second may have passed between the two, and some of them show ages
            said = by_both(&e, &args, clean);
        }
        if !same(&said) {
            let text = format!("== {line}\n-- ours: {:?}\n-- docker's: {:?}\n", said.0, said.1);
            differences.push(text);
        }
    }
    none(differences);
}

/// Docker's client says it as the answers come; ours in the order asked for.
#[test]
fn of_many_that_are_not_there() {
    need_root!();
    let e = Engine::start(&[]);
    let names: Vec<String> = (0..30).map(|n| format!("nobody{n}")).collect();
    let args: Vec<&str> = ["rm", "-fv"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let (ours, theirs) = (e.dhow(&args), e.docker(&args));
    let wanted: String =
        names.iter().map(|n| format!("Error response from daemon: No such container: {n}\n")).collect();
    assert_eq!((ours.code, ours.out.as_str(), ours.err.as_str()), (0, "", wanted.as_str()));
    let sorted = |text: &str| {
        let mut lines: Vec<String> = normal(text).lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!((theirs.code, theirs.out.as_str()), (0, ""));
    assert_eq!(sorted(&theirs.err), sorted(&wanted));
}

#[test]
fn of_what_is_asked_for() {
    need_root!();
    let e = engine();
    let mut differences = Vec::new();
    for line in REQUESTS.lines().filter(|l| !l.is_empty()) {
        let args: Vec<String> = words(&format!("create --name n {line} busybox sleep 1"));
        let made = |docker: bool| {
            let said = if docker { e.docker(&args) } else { e.dhow(&args) };
            let shown =
                "{{json .HostConfig}} {{json .Config}} {{json .NetworkSettings}} {{json .Mounts}} {{.Path}} {{.Args}}";
            let shown = e.dhow(["inspect", "-f", shown, "n"]).out;
            e.dhow(["rm", "-fv", "n"]);
            (said.code, normal(&said.out), normal(&said.err), normal(&shown))
        };
        let (ours, theirs) = (made(false), made(true));
        if ours != theirs {
            differences.push(format!("== {line}\n-- ours: {ours:?}\n-- docker's: {theirs:?}\n"));
        }
    }
    none(differences);
}

/// Every path into a document: `.State.Pid`.
fn paths(value: &serde_json::Value, before: &str, all: &mut Vec<String>) {
    let Some(object) = value.as_object() else { return };
    for (key, value) in object {
        if key.starts_with(|c: char| c.is_ascii_uppercase()) && key.bytes().all(|b| b.is_ascii_alphanumeric()) {
            let path = format!("{before}.{key}");
            paths(value, &path, all);
            all.push(path);
        }
    }
}

#[test]
fn of_every_field_in_a_template() {
    need_root!();
    let e = engine();
    let mut differences = Vec::new();
    let things =
        [("container", "same"), ("container", "made"), ("image", "busybox"), ("network", "bridge"), ("volume", "vol")];
    let mut all = Vec::new();
    for (kind, name) in things {
        let text = e.dhow([kind, "inspect", name]).ok();
        let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let mut fields = vec![".".to_owned()];
        paths(&document[0], "", &mut fields);
        // one template for all would end at its first failure, and one for each takes long
        for some in fields.chunks(6) {
            for form in ["{{F}}", "{{json F}}", "{{if F}}y{{else}}n{{end}}", "{{print F}}"] {
                let template: Vec<String> = some.iter().map(|f| form.replace('F', f)).collect();
                all.push(words(&format!("{kind} inspect {name} -f")).into_iter().chain([template.join("|")]).collect());
            }
        }
    }
    let info: serde_json::Value = serde_json::from_str(&e.docker(["info", "-f", "json"]).ok()).expect("JSON");
    let fields = info.as_object().expect("an object").keys().filter(|k| {
        ![
            "ClientInfo",
            "NFd",
            "NGoroutines",
            "SystemTime",
            "CpuCfsPeriod",
            "CpuCfsQuota",
            "HttpProxy",
            "HttpsProxy",
            "RegistryConfig",
        ]
        .contains(&k.as_str())
    });
    let fields: Vec<String> = fields.map(|f| format!("{{{{.{f}}}}} {{{{json .{f}}}}}")).collect();
    all.push(vec!["info".to_owned(), "-f".into(), fields.join("|")]);
    all.push(words(
        "version -f {{.Server}}|{{json .Server}}|{{.Server.APIVersion}}|{{range .Server.Components}}{{.Name}}{{end}}",
    ));
    for args in &all {
        let (ours, theirs) = by_both(&e, args, || {});
        if (ours.code, normal(&ours.out), normal(&ours.err)) != (theirs.code, normal(&theirs.out), normal(&theirs.err))
        {
            differences.push(format!("== {args:?}\n-- ours: {ours:?}\n-- docker's: {theirs:?}\n"));
        }
    }
    none(differences);
}

#[test]
fn a_terminal_is_not_given_orders() {
    need_root!();
    let e = Engine::with_busybox();
    const ORDER: &str = "\u{1b}]0;x\u{7}\u{1b}[31m";
    let label = format!("k={ORDER}");
    e.dhow([
        "run",
        "-d",
        "--name",
        "evil",
        "--label",
        &label,
        "busybox",
        "sh",
        "-c",
        "printf '\\033[1mloud\\n'; sleep 1d",
    ])
    .ok();
    let on_a_terminal = |line: &str| {
        let command = format!("{} {line}", tests::dhow_bin().display());
        let mut script = std::process::Command::new("script");
        script.env("DOCKER_HOST", e.host()).args(["-qec", &command, "/dev/null"]);
        tests::said(&mut script).out
    };
    for line in [
        "ps --format '{{.Labels}}'".to_owned(),
        "inspect -f '{{.Config.Labels}}' evil".into(),
        "events --since 1m --until 0s".into(),
        format!("rm '{ORDER}'"),
        format!("ps '--{ORDER}'"),
    ] {
        let shown = on_a_terminal(&line);
        assert!(!shown.contains(['\u{1b}', '\u{7}']) && shown.contains("\\x1b]0;x"), "{line}: {shown:?}");
    }
    // what a container itself says is passed on as it is
    tests::wait_for("the output", || e.dhow(["logs", "evil"]).out.contains("loud").then_some(()));
    assert!(on_a_terminal("logs evil").contains("\u{1b}[1mloud"));
    // and so is all of it where no terminal is
    assert!(e.dhow(["ps", "--format", "{{.Labels}}"]).ok().contains(&label));
}
