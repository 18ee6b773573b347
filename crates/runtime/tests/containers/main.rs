//! Containers made for real: as root, in directories and cgroups of their own, with busybox as their image.
//!
//! ```text
//! main.rs     runs the cases one after the other in this one thread; arguments select by name
//! bench.rs    a container as an engine would make it, and how to run it
//! process.rs  exit codes, user, capabilities, environment, failures
//! files.rs    mounts, /dev, masks, hostile root file systems
//! join.rs     exec, terminals, shared namespaces
//! ```

mod bench;
mod files;
mod join;
mod process;

/// A case by its name.
type Case = (&'static str, fn());

fn main() {
    if !rustix::process::geteuid().is_root() || !std::path::Path::new("/bin/busybox").exists() {
        eprintln!("SKIPPED: these tests need root and a static /bin/busybox");
        std::process::exit(if std::env::var_os("CI").is_some() { 1 } else { 0 });
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let mut failed = Vec::new();
    let mut passed = 0;
    for (name, case) in [process::CASES, files::CASES, join::CASES].concat() {
        if !wanted.is_empty() && !wanted.iter().any(|w| name.contains(w.as_str())) {
            continue;
        }
        match std::panic::catch_unwind(case) {
            Ok(()) => passed += 1,
            Err(_) => failed.push(name),
        }
        println!("test {name} ... {}", if failed.last() == Some(&name) { "FAILED" } else { "ok" });
    }
    println!("\n{passed} passed; {} failed {failed:?}", failed.len());
    std::process::exit(if failed.is_empty() { 0 } else { 1 });
}
