//! state, list, ps.

use super::options::Given;
use super::state::{Container, Status};
use super::{Error, Global, Result, control};
use serde::Serialize;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What `state` and `list` print of a container.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    oci_version: String,
    id: String,
    pid: i32,
    status: &'static str,
    bundle: String,
    rootfs: String,
    created: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    owner: String,
}

fn shown(container: Container, owner: String) -> Result<Shown> {
    let status = container.status(None)?;
    let saved = container.saved;
    Ok(Shown {
        oci_version: saved.oci_version,
        id: saved.id,
        pid: if status == Status::Stopped { 0 } else { saved.pid },
        status: status.name(),
        bundle: saved.bundle.to_string_lossy().into(),
        rootfs: saved.rootfs.to_string_lossy().into(),
        created: saved.created,
        annotations: saved.annotations,
        owner,
    })
}

fn print(text: &str) -> Result<()> {
    use std::io::Write;
    std::io::stdout().write_all(text.as_bytes()).map_err(Error::io("write to standard output"))
}

/// `state`
pub fn state(global: &Global, given: &Given) -> Result<i32> {
    let shown = shown(Container::load(global, given.id()?)?, String::new())?;
    print(&serde_json::to_string_pretty(&shown).unwrap_or_default())?;
    Ok(0)
}

fn all(global: &Global) -> Result<Vec<Shown>> {
    let entries = match std::fs::read_dir(&global.root) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !global.root_given => return Ok(Vec::new()),
        other => other.map_err(Error::io(format!("open {}", global.root.display())))?,
    };
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(meta) = entry.metadata() else { continue };
        if !meta.is_dir() {
            continue;
        }
        let one = Container::load(global, &name).and_then(|container| shown(container, owner(&passwd, meta.uid())));
        match one {
            Ok(shown) => found.push(shown),
            Err(Error(text)) => eprintln!("load container {name}: {text}"),
        }
    }
    found.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(found)
}

/// The name of the host's user `uid`, or `#uid`.
fn owner(passwd: &str, uid: u32) -> String {
    let of = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    };
    passwd.lines().find_map(of).unwrap_or_else(|| format!("#{uid}"))
}

/// `list`
pub fn list(global: &Global, given: &Given) -> Result<i32> {
    let all = all(global)?;
    if given.is("quiet") {
        print(&all.iter().map(|one| format!("{}\n", one.id)).collect::<String>())?;
        return Ok(0);
    }
    match given.value("format").unwrap_or("table") {
        "json" if all.is_empty() => print("null\n")?,
        "json" => print(&format!("{}\n", serde_json::to_string(&all).unwrap_or_default()))?,
        "table" => {
            let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
            let row = |s: &Shown| {
                [s.id.clone(), s.pid.to_string(), s.status.into(), s.bundle.clone(), s.created.clone(), s.owner.clone()]
            };
            print(&table(std::iter::once(head).chain(all.iter().map(row)).collect()))?;
        }
        _ => return Error::new("invalid format option"),
    }
    Ok(0)
}

/// Columns at least 12 wide and 3 apart.
fn table(rows: Vec<[String; 6]>) -> String {
    let width = |n: usize| rows.iter().map(|row| row[n].chars().count() + 3).max().unwrap_or(0).max(12);
    let widths: [usize; 6] = std::array::from_fn(width);
    let line = |row: &[String; 6]| {
        let cells =
            row.iter().enumerate().map(|(n, cell)| if n == 5 { cell.clone() } else { format!("{cell:0$}", widths[n]) });
        format!("{}\n", cells.collect::<String>())
    };
    rows.iter().map(line).collect()
}

/// `ps`
pub fn processes(global: &Global, given: &Given) -> Result<i32> {
    let container = Container::load(global, given.id()?)?;
    let pids = control::cgroup(&container)?.pids();
    match given.value("format").unwrap_or("table") {
        "json" => {
            print(&format!("{}\n", serde_json::to_string(&pids).unwrap_or_default()))?;
            return Ok(0);
        }
        "table" => {}
        _ => return Error::new("invalid format option"),
    }
    let options = &given.arguments[1..];
    let default = ["-ef".to_string()];
    // The host's own: it is told nothing that the container could choose.
    let output = std::process::Command::new("ps")
        .args(if options.is_empty() { &default } else { options })
        .output()
        .map_err(Error::io("ps"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Error::new(format!("ps: {}: {}{text}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    let mut lines = text.lines();
    let head = lines.next().unwrap_or_default();
    let Some(column) = head.split_whitespace().position(|title| title == "PID") else {
        return Error::new("couldn't find PID field in ps output");
    };
    let mut shown = format!("{head}\n");
    for line in lines.filter(|line| !line.is_empty()) {
        let pid = line.split_whitespace().nth(column).and_then(|field| field.parse::<i32>().ok());
        if pid.is_some_and(|pid| pids.contains(&pid)) {
            shown.push_str(line);
            shown.push('\n');
        }
    }
    print(&shown)?;
    Ok(0)
}

/// Writes a JSON document with an indent of four.
pub fn pretty(value: &impl Serialize) -> Result<String> {
    let mut text = Vec::new();
    let format = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, format);
    value.serialize(&mut serializer).map_err(|e| Error(e.to_string()))?;
    text.push(b'\n');
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Writes to standard output.
pub fn out(text: &str) -> Result<()> {
    print(text)
}

/// Whether the host has cgroup v2 and nothing else.
pub fn unified() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nu:x:1000:1000::/:\n";
        assert_eq!([0, 1000, 7].map(|uid| owner(passwd, uid)), ["root", "u", "#7"]);
    }

    #[test]
    fn columns() {
        let row = |a: &str, b: &str| [a, b, "c", "d", "e", "f"].map(str::to_owned);
        assert_eq!(
            table(vec![row("a", "b"), row("a-long-identifier", "b")]),
            "a                   b           c           d           e           f\n\
             a-long-identifier   b           c           d           e           f\n"
        );
    }
}
