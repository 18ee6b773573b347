//! The shape of the code: imports between rooms, where `unsafe` may stand, the size of files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("workspace").to_path_buf()
}

/// `| crate | what | imports |` rows of the table in ARCHITECTURE.md.
fn table() -> BTreeMap<String, Vec<String>> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let rows = text.lines().filter(|l| l.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let name = cells[0].trim_matches('`').to_owned();
        let without_notes =
            cells[2].split('(').map(|p| p.split_once(')').map_or(p, |(_, rest)| rest)).collect::<String>();
        (name, without_notes.split_whitespace().filter(|w| *w != "none").map(str::to_owned).collect())
    })
    .collect()
}

fn dependencies(manifest: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(manifest).expect("Cargo.toml");
    let mut section = "";
    let mut out = Vec::new();
    for line in text.lines() {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
        } else if section == "dependencies"
            && let Some(name) = line.split(['.', '=', ' ']).next().filter(|n| !n.is_empty() && !n.starts_with('#'))
        {
            out.push(name.to_owned());
        }
    }
    out
}

fn crates() -> Vec<(String, PathBuf)> {
    let dirs = std::fs::read_dir(root().join("crates")).expect("crates").flatten();
    let mut all: Vec<_> = dirs.map(|e| (e.file_name().to_string_lossy().into_owned(), e.path())).collect();
    all.sort();
    all
}

#[test]
fn imports_follow_the_table() {
    let table = table();
    let crates = crates();
    let mut wrong = Vec::new();
    for (name, path) in &crates {
        let Some(allowed) = table.get(name) else {
            wrong.push(format!("{name} is not in the table of ARCHITECTURE.md"));
            continue;
        };
        let ours = |d: &String| crates.iter().any(|(c, _)| c == d);
        for dependency in dependencies(&path.join("Cargo.toml")).into_iter().filter(ours) {
            if !allowed.contains(&dependency) {
                wrong.push(format!("{name} imports {dependency}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(table.len(), crates.len(), "the table names a crate that is not there");
}

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

#[test]
fn unsafe_stands_in_sys_alone() {
    for (name, path) in crates() {
        let manifest = std::fs::read_to_string(path.join("Cargo.toml")).expect("Cargo.toml");
        if name != "sys" {
            assert!(manifest.contains("[lints]\nworkspace = true"), "{name} does not forbid unsafe code");
        }
    }
}

#[test]
fn files_stay_readable() {
    let mut all = Vec::new();
    sources(&root().join("crates"), &mut all);
    let long: Vec<String> = all
        .iter()
        .filter_map(|path| {
            let text = std::fs::read_to_string(path).ok()?;
            let code = text.split("#[cfg(test)]").next().unwrap_or("").lines().filter(|l| !l.trim().is_empty()).count();
            (code > 700).then(|| format!("{} has {code} lines of code", path.display()))
        })
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}
