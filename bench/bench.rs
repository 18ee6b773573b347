//! Times the same work with us and with other engines, in turn, in one run, and prints medians and ratios.
//!
//! ```text
//! cargo xtask bench [--engine NAME=COMMAND]… [--image REF] [--pull REF]… [--runs N] [--only CASE] [--disk DIR] [--bin DHOW]
//!             [--runtime NAME=COMMAND]… [--density N] [--execs N] [--log-lines N]
//! ```
//!
//! Ours is the release build, or `--bin`, with a daemon of its own, its data on an ext4 image that is made and loop-mounted for the run
//! (or below `--disk`). COMMAND is a docker-like command line, split at blanks. A figure is the wall time of a whole client
//! process from spawn to exit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

struct Engine {
    name: String,
    words: Vec<String>,
}

/// One kind of work: what is run before each timed run, what is timed, what is run at the end.
struct Case {
    name: &'static str,
    once: &'static [&'static str],
    before: &'static [&'static str],
    timed: &'static str,
    after: &'static [&'static str],
}

/// `IMG` stands for the image. The commands are those that Docker and Podman both have.
const CASES: &[Case] = &[
    Case { name: "version", once: &[], before: &[], timed: "version", after: &[] },
    Case { name: "run --rm true, bridge", once: &[], before: &[], timed: "run --rm IMG true", after: &[] },
    Case { name: "run --rm true, none", once: &[], before: &[], timed: "run --rm --network none IMG true", after: &[] },
    Case { name: "run --rm true, host", once: &[], before: &[], timed: "run --rm --network host IMG true", after: &[] },
    Case {
        name: "run -d",
        once: &[],
        before: &["rm -f bench"],
        timed: "run -d --name bench --stop-timeout 0 IMG sleep 1000",
        after: &["rm -f bench"],
    },
    Case {
        name: "run -d -p",
        once: &[],
        before: &["rm -f bench"],
        timed: "run -d --name bench -p 127.0.0.1::80 --stop-timeout 0 IMG sleep 1000",
        after: &["rm -f bench"],
    },
    Case {
        name: "create",
        once: &[],
        before: &["rm -f bench"],
        timed: "create --name bench --stop-timeout 0 IMG sleep 1000",
        after: &["rm -f bench"],
    },
    Case {
        name: "start",
        once: &[],
        before: &["rm -f bench", "create --name bench --stop-timeout 0 IMG sleep 1000"],
        timed: "start bench",
        after: &["rm -f bench"],
    },
    Case {
        name: "stop -t 0",
        once: &["create --name bench --stop-timeout 0 IMG sleep 1000"],
        before: &["start bench"],
        timed: "stop -t 0 bench",
        after: &["rm -f bench"],
    },
    Case {
        name: "rm -f of a running one",
        once: &[],
        before: &["run -d --name bench --stop-timeout 0 IMG sleep 1000"],
        timed: "rm -f bench",
        after: &[],
    },
    Case {
        name: "exec true",
        once: &["run -d --name bench --stop-timeout 0 IMG sleep 1000"],
        before: &[],
        timed: "exec bench true",
        after: &[],
    },
    Case { name: "inspect", once: &[], before: &[], timed: "inspect bench", after: &[] },
    Case { name: "ps", once: &[], before: &[], timed: "ps", after: &["rm -f bench"] },
];

struct Options {
    engines: Vec<Engine>,
    runtimes: Vec<Engine>,
    image: String,
    pulls: Vec<String>,
    runs: usize,
    only: Option<String>,
    disk: Option<PathBuf>,
    density: usize,
    execs: usize,
    log_lines: usize,
    bin: Option<PathBuf>,
}

fn options(args: &[String]) -> Result<Options, String> {
    let mut o = Options {
        engines: vec![],
        runtimes: vec![],
        image: "busybox".into(),
        pulls: vec![],
        runs: 15,
        only: None,
        disk: None,
        density: 0,
        execs: 0,
        log_lines: 0,
        bin: None,
    };
    let mut args = args.iter();
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        let number = || value.parse::<usize>().map_err(|e| format!("{flag} {value}: {e}"));
        match flag.as_str() {
            "--engine" => o.engines.push(Engine::new(value)?),
            "--runtime" => o.runtimes.push(Engine::new(value)?),
            "--image" => o.image = value.clone(),
            "--pull" => o.pulls.push(value.clone()),
            "--runs" => o.runs = number()?,
            "--only" => o.only = Some(value.clone()),
            "--disk" => o.disk = Some(value.into()),
            "--density" => o.density = number()?,
            "--execs" => o.execs = number()?,
            "--log-lines" => o.log_lines = number()?,
            "--bin" => o.bin = Some(value.into()),
            _ => return Err(format!("unknown flag {flag}")),
        }
    }
    Ok(o)
}

impl Engine {
    fn new(text: &str) -> Result<Engine, String> {
        let (name, words) = text.split_once('=').ok_or_else(|| format!("{text}: NAME=COMMAND is wanted"))?;
        Ok(Engine { name: name.into(), words: words.split_whitespace().map(str::to_owned).collect() })
    }

    fn command(&self, line: &str, image: &str) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).args(line.split_whitespace().map(|w| if w == "IMG" { image } else { w }));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn run(&self, line: &str, image: &str) -> bool {
        self.command(line, image).status().is_ok_and(|s| s.success())
    }

    /// Milliseconds, or nothing when it failed.
    fn time(&self, line: &str, image: &str) -> Option<f64> {
        let mut command = self.command(line, image);
        let start = Instant::now();
        let status = command.status();
        let took = start.elapsed();
        status.is_ok_and(|s| s.success()).then_some(took.as_secs_f64() * 1e3)
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The daemon under measurement; everything it made is taken down with it.
struct Ours {
    daemon: Child,
    dir: PathBuf,
    mounted: bool,
    bin: PathBuf,
}

impl Ours {
    fn start(disk: Option<&Path>, bin: PathBuf) -> Result<Ours, String> {
        let (dir, mounted) = match disk {
            Some(disk) => (disk.join("dhow-bench"), false),
            None => (std::env::temp_dir().join(format!("dhow-bench-{}", std::process::id())), true),
        };
        std::fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
        if mounted {
            let image = dir.with_extension("ext4");
            crate::run(Command::new("truncate").args(["-s", "20G"]).arg(&image))?;
            crate::run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
            crate::run(Command::new("mount").args(["-o", "loop"]).args([&image, &dir]))?;
        }
        let host = format!("unix://{}/sock", dir.display());
        let log = std::fs::File::create(dir.join("log")).map_err(|e| e.to_string())?;
        let daemon = Command::new(&bin)
            .args(["daemon", "-H", &host, "--data-root"])
            .arg(dir.join("data"))
            .arg("--exec-root")
            .arg(dir.join("run"))
            .arg("--pidfile")
            .arg(dir.join("pid"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(|e| e.to_string())?)
            .stderr(log)
            .spawn()
            .map_err(|e| format!("{}: {e}", bin.display()))?;
        let ours = Ours { daemon, dir, mounted, bin };
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::os::unix::net::UnixStream::connect(ours.dir.join("sock")).is_err() {
            if Instant::now() > deadline {
                return Err(format!("the daemon does not answer: see {}/log", ours.dir.display()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(ours)
    }

    fn engine(&self) -> Engine {
        let host = format!("unix://{}/sock", self.dir.display());
        Engine { name: "dhow".into(), words: vec![self.bin.display().to_string(), "-H".into(), host] }
    }

    /// KiB of PSS of the daemon, and of all its supervisors together with their number.
    fn memory(&self) -> (u64, u64, u64) {
        let mut supervisors = (0, 0);
        let parent = format!("PPid:\t{}\n", self.daemon.id());
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let status = std::fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            if status.starts_with("Name:\tdhow-init\n") && status.contains(&parent) {
                supervisors.0 += pss(&entry.path());
                supervisors.1 += 1;
            }
        }
        (pss(&PathBuf::from(format!("/proc/{}", self.daemon.id()))), supervisors.0, supervisors.1)
    }
}

fn pss(proc: &Path) -> u64 {
    let text = std::fs::read_to_string(proc.join("smaps_rollup")).unwrap_or_default();
    text.lines().find_map(|l| l.strip_prefix("Pss:")?.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

impl Drop for Ours {
    fn drop(&mut self) {
        let engine = self.engine();
        let ids = Command::new(&engine.words[0]).args(&engine.words[1..]).args(["ps", "-aq"]).output();
        for id in String::from_utf8(ids.map(|o| o.stdout).unwrap_or_default()).unwrap_or_default().lines() {
            engine.run(&format!("rm -f {id}"), "");
        }
        let _ = Command::new("kill").arg(self.daemon.id().to_string()).status();
        let _ = self.daemon.wait();
        if self.mounted {
            let _ = Command::new("umount").arg(&self.dir).status();
            let _ = std::fs::remove_file(self.dir.with_extension("ext4"));
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

struct Table {
    engines: Vec<String>,
}

impl Table {
    fn head(&self) {
        let others = self.engines[1..].iter().map(|e| format!(" {}/{e} |", self.engines[0])).collect::<String>();
        let names = self.engines.iter().map(|e| format!(" {e} |")).collect::<String>();
        println!("| work |{names}{others}");
        println!("|---|{}", "---|".repeat(self.engines.len() * 2 - 1));
    }

    fn row(&self, name: &str, unit: &str, values: &BTreeMap<String, Option<f64>>) {
        let get = |e: &String| values.get(e).copied().flatten();
        let cells = self
            .engines
            .iter()
            .map(|e| get(e).map_or(" - |".into(), |v| format!(" {v:.*}{unit} |", if v < 10.0 { 2 } else { 1 })))
            .collect::<String>();
        let ours = get(&self.engines[0]);
        let ratios = self.engines[1..].iter().map(|e| match (ours, get(e)) {
            (Some(a), Some(b)) => format!(" 1/{:.1} |", b / a),
            _ => " - |".into(),
        });
        println!("| {name} |{cells}{}", ratios.collect::<String>());
    }
}

/// Runs every case with every engine in turn.
pub fn bench(args: &[String]) -> Result<(), String> {
    let options = options(args)?;
    let bin = match options.bin {
        Some(ready) => ready,
        None => {
            crate::run(&mut crate::cargo(&["build", "--release", "--quiet", "--package", "dhow"]))?;
            crate::target_dir()?.parent().ok_or("no target directory")?.join("release/dhow")
        }
    };
    let ours = Ours::start(options.disk.as_deref(), bin)?;
    std::thread::sleep(Duration::from_secs(1));
    let idle = ours.memory().0;
    let own = ours.engine();
    let tar = busybox(&ours.dir)?;
    if !own.run(&format!("import {} {}", tar.display(), options.image), "") {
        return Err("import of the image failed".into());
    }
    let mut engines = vec![own];
    engines.extend(options.engines);
    for engine in &engines[1..] {
        if !engine.run(&format!("image inspect {}", options.image), "") {
            // Peers may see another root file system: hand the image over by standard input.
            let file = std::fs::File::open(&tar).map_err(|e| e.to_string())?;
            let done = engine.command(&format!("import - {}", options.image), "").stdin(file).status();
            if !done.is_ok_and(|s| s.success()) {
                return Err(format!("{}: import of the image failed", engine.name));
            }
        }
    }
    let table = Table { engines: engines.iter().map(|e| e.name.clone()).collect() };
    let wanted = |name: &str| options.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    table.head();
    for case in CASES {
        if wanted(case.name) || !case.once.is_empty() || !case.after.is_empty() {
            let measured = measure(case, &engines, &options.image, if wanted(case.name) { options.runs } else { 0 });
            if wanted(case.name) {
                table.row(case.name, " ms", &measured);
            }
        }
    }
    if !options.runtimes.is_empty() {
        runtime_alone(&ours, &tar, options.runtimes, options.runs)?;
    }
    for image in &options.pulls {
        pull(&table, &engines, image, options.runs.div_ceil(3));
    }
    if options.execs > 0 {
        execs(&table, &engines, &options.image, options.execs);
    }
    if options.log_lines > 0 {
        log(&table, &engines, &options.image, options.log_lines, options.runs.div_ceil(3));
    }
    println!("| daemon idle, PSS | {idle} KiB |");
    if options.density > 0 {
        density(&table, &engines, &ours, &options.image, options.density);
    }
    Ok(())
}

fn measure(case: &Case, engines: &[Engine], image: &str, runs: usize) -> BTreeMap<String, Option<f64>> {
    let mut times: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for engine in engines {
        for line in case.once {
            engine.run(line, image);
        }
    }
    // The first round warms up.
    for round in 0..=runs {
        for engine in engines.iter().filter(|_| runs > 0) {
            for line in case.before {
                engine.run(line, image);
            }
            if let Some(ms) = engine.time(case.timed, image)
                && round > 0
            {
                times.entry(engine.name.clone()).or_default().push(ms);
            }
        }
    }
    for engine in engines {
        for line in case.after {
            engine.run(line, image);
        }
    }
    times.into_iter().map(|(name, values)| (name, median(values))).collect()
}

/// OCI runtimes by their command line, each on the same bundle.
fn runtime_alone(ours: &Ours, tar: &Path, others: Vec<Engine>, runs: usize) -> Result<(), String> {
    let bundle = ours.dir.join("bundle");
    std::fs::create_dir_all(bundle.join("rootfs")).map_err(|e| e.to_string())?;
    crate::run(Command::new("tar").arg("-C").arg(bundle.join("rootfs")).arg("-xf").arg(tar))?;
    let init = ours.dir.join("run/dhow-init").display().to_string();
    crate::run(Command::new(&init).args(["runtime", "spec", "--bundle"]).arg(&bundle))?;
    let config = bundle.join("config.json");
    let text = std::fs::read_to_string(&config).map_err(|e| format!("{}: {e}", config.display()))?;
    let text = text.replacen("\"terminal\": true", "\"terminal\": false", 1).replacen("\"sh\"", "\"true\"", 1);
    std::fs::write(&config, text).map_err(|e| e.to_string())?;
    let mut runtimes = vec![Engine { name: "dhow-init".into(), words: vec![init, "runtime".into()] }];
    runtimes.extend(others);
    let mut times: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for round in 0..=runs {
        for runtime in &runtimes {
            let line = format!("run --bundle {} bench-{}-{round}", bundle.display(), std::process::id());
            let took = runtime.time(&line, "").ok_or_else(|| format!("{}: {line} failed", runtime.name))?;
            if round > 0 {
                times.entry(runtime.name.clone()).or_default().push(took);
            }
        }
    }
    println!();
    let table = Table { engines: runtimes.into_iter().map(|r| r.name).collect() };
    table.head();
    let medians = times.into_iter().map(|(name, values)| (name, median(values))).collect();
    table.row("runtime alone: run of true", " ms", &medians);
    Ok(())
}

fn pull(table: &Table, engines: &[Engine], image: &str, runs: usize) {
    let (mut pulls, mut removals): (BTreeMap<String, Vec<f64>>, BTreeMap<String, Vec<f64>>) = Default::default();
    for round in 0..=runs {
        for engine in engines {
            engine.run(&format!("rmi -f {image}"), "");
            let _ = Command::new("sync").status();
            let pulled = engine.time(&format!("pull -q {image}"), "");
            let _ = Command::new("sync").status();
            let removed = engine.time(&format!("rmi -f {image}"), "");
            if round > 0 {
                pulls.entry(engine.name.clone()).or_default().extend(pulled);
                removals.entry(engine.name.clone()).or_default().extend(removed);
            }
        }
    }
    let medians = |all: BTreeMap<String, Vec<f64>>| all.into_iter().map(|(n, v)| (n, median(v))).collect();
    table.row(&format!("pull {image}"), " ms", &medians(pulls));
    table.row(&format!("rmi {image}"), " ms", &medians(removals));
}

/// Many processes added to one container, one after the other.
fn execs(table: &Table, engines: &[Engine], image: &str, count: usize) {
    let mut times = BTreeMap::new();
    for engine in engines {
        engine.run("run -d --name bench --stop-timeout 0 IMG sleep 100000", image);
        let all: Option<f64> = (0..count).map(|_| engine.time("exec bench true", image)).sum();
        times.insert(engine.name.clone(), all);
        engine.run("rm -f bench", image);
    }
    table.row(&format!("{count} × exec true, in a row"), " ms", &times);
}

/// A container that writes `lines` lines of 100 bytes as fast as it can, and reading them back.
fn log(table: &Table, engines: &[Engine], image: &str, lines: usize, runs: usize) {
    let (mut written, mut read): (BTreeMap<String, Vec<f64>>, BTreeMap<String, Vec<f64>>) = Default::default();
    let line = "0123456789".repeat(10).split_off(1);
    // Command lines here are split at blanks.
    let write = format!("run -d --name bench IMG sh -c yes_{line}|head_-n_{lines}").replace('_', "${IFS}");
    for _ in 0..runs {
        for engine in engines {
            let both = [write.as_str(), "wait bench"].map(|line| engine.time(line, image));
            written.entry(engine.name.clone()).or_default().extend(both.into_iter().sum::<Option<f64>>());
            read.entry(engine.name.clone()).or_default().extend(engine.time("logs bench", image));
            engine.run("rm -f bench", image);
        }
    }
    let medians = |all: BTreeMap<String, Vec<f64>>| all.into_iter().map(|(n, v)| (n, median(v))).collect();
    table.row(&format!("{lines} lines of 100 bytes, until the end"), " ms", &medians(written));
    table.row(&format!("{lines} lines of 100 bytes, logs"), " ms", &medians(read));
}

/// How many clients are at work at once when many containers are made together.
const AT_ONCE: usize = 8;

/// The same work beside one container and beside `count`, and what they take.
fn density(table: &Table, engines: &[Engine], ours: &Ours, image: &str, count: usize) {
    let mut rows: Vec<(String, BTreeMap<String, Option<f64>>)> = Vec::new();
    let mut note =
        |row: String, engine: &Engine, value: Option<f64>| match rows.iter_mut().find(|(name, _)| *name == row) {
            Some((_, values)) => drop(values.insert(engine.name.clone(), value)),
            None => rows.push((row, [(engine.name.clone(), value)].into())),
        };
    let beside = [("run --rm IMG true", 25), ("ps", 101)];
    let make = |n: usize| format!("run -d --name den{n} --stop-timeout 0 IMG sleep 100000");
    let names: String = (0..count).map(|n| format!(" den{n}")).collect();
    for engine in engines {
        // One more, and not one after the other: what the one before has left to the background is done.
        let once_more = |line: &str| {
            std::thread::sleep(Duration::from_millis(50));
            engine.time(line, image)
        };
        let repeat = |(line, times)| median((0..times).filter_map(|_| once_more(line)).collect());
        // What is beside, and not what making it has left the disk to do.
        let settle = || {
            let _ = Command::new("sync").status();
            std::thread::sleep(Duration::from_secs(2));
        };
        let mut one_by_one = Some(0.0);
        for n in 0..count {
            one_by_one = one_by_one.zip(engine.time(&make(n), image)).map(|(all, one)| all + one);
            if n == 0 {
                settle();
                for work in beside {
                    note(format!("{}, with 1 up", work.0), engine, repeat(work));
                }
            }
        }
        note(format!("{count} × run -d, one by one"), engine, one_by_one);
        settle();
        for work in beside {
            note(format!("{}, with {count} up", work.0), engine, repeat(work));
        }
        if engine.name == "dhow" {
            let (daemon, supervisors, n) = ours.memory();
            println!("| daemon with {count} up, PSS | {daemon} KiB |");
            println!("| supervisor with {count} up, PSS | {} KiB |", supervisors / n.max(1));
        }
        note(format!("rm -f of {count}"), engine, engine.time(&format!("rm -f{names}"), image));
        let next = AtomicUsize::new(0);
        let begin = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    let numbers = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)));
                    numbers
                        .take_while(|n| *n < count)
                        .for_each(|n| assert!(engine.run(&make(n), image), "{}: run -d", engine.name));
                });
            }
        });
        note(format!("{count} × run -d, {AT_ONCE} at a time"), engine, Some(begin.elapsed().as_secs_f64() * 1e3));
        engine.run(&format!("rm -f{names}"), image);
    }
    for (name, values) in rows {
        table.row(&name.replace("IMG ", ""), " ms", &values);
    }
}

/// A root file system with a static busybox.
fn busybox(dir: &Path) -> Result<PathBuf, String> {
    let tar = dir.join("busybox.tar");
    let script = r#"set -e; r=$(mktemp -d); mkdir -p "$r/bin" "$r/etc" "$r/tmp"; cp "$(command -v busybox)" "$r/bin/busybox"
        "$r/bin/busybox" --list | while read -r a; do [ "$a" = busybox ] || ln "$r/bin/busybox" "$r/bin/$a"; done
        echo root:x:0:0:root:/root:/bin/sh >"$r/etc/passwd"; tar -C "$r" -cf "$1" .; rm -rf "$r""#;
    crate::run(Command::new("sh").args(["-c", script, "sh"]).arg(&tar))?;
    Ok(tar)
}
