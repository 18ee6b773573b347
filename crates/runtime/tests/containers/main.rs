//! Containers made for real: as root, in directories and cgroups of their own, with busybox as their image.
//!
//! ```text
//! main.rs     runs the cases one after the other in this one thread; arguments select by name;
//!             `--time N` measures N starts of `true` instead
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
    if let Some(at) = std::env::args().position(|arg| arg == "--time") {
        return time(std::env::args().nth(at + 1).and_then(|n| n.parse().ok()).unwrap_or(100));
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

/// Prints the median times of create, start, the end and the removal, in microseconds.
fn time(runs: usize) {
    use std::os::fd::AsFd;
    use std::time::Instant;
    let mut b = bench::Bench::new(&["true"]);
    for directory in ["u", "w"] {
        std::fs::create_dir_all(b.base.join(directory)).unwrap();
    }
    let options = ["lowerdir=root:canary", "upperdir=u", "workdir=w"];
    b.overlay = Some(bench::mount("overlay", "overlay", "/", &options));
    let mut columns = [(); 4].map(|()| Vec::new());
    for _ in 0..runs {
        let times = [(); 4].map(|()| std::cell::Cell::new(0));
        let begin = Instant::now();
        let created = b.create_with(runtime::Stdio::default(), None).unwrap();
        times[0].set(begin.elapsed().as_micros());
        let running = created.start().unwrap();
        times[1].set(begin.elapsed().as_micros());
        bench::wait(running.pidfd.as_fd());
        times[2].set(begin.elapsed().as_micros());
        running.cgroup.remove().unwrap();
        times[3].set(begin.elapsed().as_micros());
        columns.iter_mut().zip(times).for_each(|(column, time)| column.push(time.get()));
    }
    for (name, column) in ["created", "started", "ended", "removed"].iter().zip(&mut columns) {
        column.sort();
        println!("{name} median {} min {} max {} us", column[runs / 2], column[0], column[runs - 1]);
    }
}
