//! The program of the image that dhow carries inside itself: it says what a process in a container sees.
//!
//! It reads what `/proc` and `/sys` show and nothing else; what is not there is said not to be there. It never fails.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;

fn main() {
    let mut text = String::new();
    greet(&mut text);
    identity(&mut text);
    namespaces(&mut text);
    limits(&mut text);
    privileges(&mut text);
    root(&mut text);
    // Nobody may be listening.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn line(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "  {name:<15}{value}");
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|content| content.trim().to_owned()).filter(|content| !content.is_empty())
}

/// The value of a line `name:\tvalue`.
fn field<'a>(content: &'a str, name: &str) -> Option<&'a str> {
    content.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn greet(text: &mut String) {
    text.push_str(concat!(
        "\n",
        "Hello from dhow!\n",
        "\n",
        "This program runs in a container: an ordinary process that has been shown a world of its own.\n",
        "It came out of the engine itself, so an image was found, a file system mounted, namespaces and a\n",
        "cgroup made, and the command executed. From the inside it looks like this:\n",
        "\n",
    ));
}

fn identity(text: &mut String) {
    let status = read("/proc/self/status").unwrap_or_default();
    let pid = std::process::id();
    let note = if pid == 1 { " (the first process of its pid namespace)" } else { "" };
    line(text, "pid", &format!("{pid}{note}"));
    let hostname = read("/proc/sys/kernel/hostname").or_else(|| read("/etc/hostname"));
    line(text, "hostname", &hostname.unwrap_or_else(|| "unknown".into()));
    // Real, effective, saved, file system: the effective one is what counts.
    let second = |name| field(&status, name).and_then(|ids| ids.split_whitespace().nth(1)).unwrap_or("unknown");
    line(text, "user", &format!("uid {}, gid {}", second("Uid"), second("Gid")));
    line(text, "kernel", &read("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".into()));
}

fn namespaces(text: &mut String) {
    let mut all = Vec::new();
    for name in ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"] {
        // The link reads `pid:[4026531836]`.
        let target = fs::read_link(format!("/proc/self/ns/{name}")).ok();
        let target = target.as_ref().and_then(|t| t.to_str());
        let number = target.and_then(|t| t.split_once('[')).map(|(_, n)| n.trim_end_matches(']'));
        all.push(format!("{name} {}", number.unwrap_or("unknown")));
    }
    line(text, "namespaces", &all[..4].join(", "));
    line(text, "", &all[4..].join(", "));
}

/// The first of some files that can be read: cgroup v2 as a container sees it, v1, and v1 by the name on the host.
fn limit(v2: &str, controller: &str, v1: &str) -> Option<String> {
    let own = read("/proc/self/cgroup").unwrap_or_default();
    let mut paths = vec![format!("/sys/fs/cgroup/{v2}"), format!("/sys/fs/cgroup/{controller}/{v1}")];
    for entry in own.lines() {
        let mut parts = entry.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        if controllers.is_empty() {
            paths.push(format!("/sys/fs/cgroup{path}/{v2}"));
        } else if controllers.split(',').any(|c| c == controller) {
            paths.push(format!("/sys/fs/cgroup/{controller}{path}/{v1}"));
        }
    }
    paths.iter().find_map(|path| read(path))
}

fn limits(text: &mut String) {
    let memory = match limit("memory.max", "memory", "memory.limit_in_bytes") {
        None => "unknown".into(),
        Some(value) => match value.parse::<u64>() {
            // v1 says "none" with the largest number of whole pages.
            Ok(bytes) if bytes < 1 << 60 => format!("{bytes} bytes ({} MiB)", bytes >> 20),
            _ => "none".into(),
        },
    };
    line(text, "memory limit", &memory);
    let pids = limit("pids.max", "pids", "pids.max").unwrap_or_else(|| "unknown".into());
    line(text, "pids limit", if pids == "max" { "none" } else { &pids });
    if let Some(cpu) = read("/sys/fs/cgroup/cpu.max").filter(|cpu| !cpu.starts_with("max")) {
        line(text, "cpu limit", &cpu.replace(' ', " of "));
    }
}

fn privileges(text: &mut String) {
    let status = read("/proc/self/status").unwrap_or_default();
    let count = |name| field(&status, name).and_then(|hex| u64::from_str_radix(hex, 16).ok()).map(u64::count_ones);
    let capabilities = match (count("CapEff"), count("CapBnd")) {
        (Some(effective), Some(bounding)) => format!("{effective} effective, {bounding} in the bounding set"),
        _ => "unknown".into(),
    };
    line(text, "capabilities", &capabilities);
    let seccomp = match field(&status, "Seccomp") {
        Some("0") => "off",
        Some("1") => "strict",
        Some("2") => "filter",
        _ => "unknown",
    };
    line(text, "seccomp", seccomp);
    let more = match field(&status, "NoNewPrivs") {
        Some("0") => "possible",
        Some("1") => "impossible",
        _ => "unknown",
    };
    line(text, "new privileges", more);
}

fn root(text: &mut String) {
    let mounts = read("/proc/self/mountinfo").unwrap_or_default();
    let mut described = "unknown".to_owned();
    for mount in mounts.lines() {
        // `36 35 98:0 /root /point options … - type source options`
        let Some((left, right)) = mount.split_once(" - ") else { continue };
        if left.split(' ').nth(4) != Some("/") {
            continue;
        }
        let mut right = right.split(' ');
        let kind = right.next().unwrap_or("unknown");
        let source = right.next().unwrap_or("unknown");
        let access = if left.split(' ').nth(5).is_some_and(|o| o.split(',').any(|o| o == "ro")) {
            "read-only"
        } else {
            "read-write"
        };
        described = format!("{kind} from {source}, {access}");
    }
    line(text, "root", &described);
    let mut names: Vec<String> = fs::read_dir("/")
        .map(|entries| entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    names.sort();
    if names.is_empty() {
        names.push("none".into());
    }
    line(text, "entries", &names.join(" "));
    text.push_str("\nTry next:  dhow run -it <image> sh\n\n");
}
