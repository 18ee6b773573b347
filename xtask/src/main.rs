//! The project's commands, without dependencies:
//!
//! ```text
//! cargo xtask test [FILTER…]   everything: packages, formatting, lints, unit tests, integration tests (README)
//! cargo xtask check            formatting and lints alone
//! cargo xtask packages         install what the tests need from Debian's packages
//! cargo xtask tools            prepare a docker CLI of version 28 or later for the tests; print its path
//! cargo xtask vm [--kvm] [--release=stable] [BOOT…]   boot a machine with cgroup v2 alone and check dhow in it
//! cargo xtask vm power [--cuts=30]   cut that machine's power in the middle of work, again and again
//! cargo xtask engines          compare Docker, Podman and containerd with our runtime in runc's place
//! cargo xtask bench [FLAG…]     measure beside other engines (BENCHMARKS.md)
//! ```

#[path = "../../bench/bench.rs"]
mod bench;
mod debian;
mod engines;
mod power;
mod vm;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

type Outcome = Result<(), String>;

/// What the integration tests run beside us, as Debian and Ubuntu name it.
const PACKAGES: [&str; 23] = [
    "busybox-static",
    "debootstrap",
    "skopeo",
    "umoci",
    "docker-registry",
    "nftables",
    "iproute2",
    "procps",
    "attr",
    "strace",
    "util-linux",
    "curl",
    "e2fsprogs",
    "ca-certificates",
    "openssl",
    "python3",
    "bzip2",
    "xz-utils",
    "zstd",
    "runc",
    "crun",
    "containerd",
    "podman",
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = args.split_first().map_or(("help", &[][..]), |(c, rest)| (c.as_str(), rest));
    let outcome = match command {
        "test" => packages().and_then(|()| check()).and_then(|()| test(rest)),
        "check" => check(),
        "packages" => packages(),
        "tools" => docker().map(|path| println!("{}", path.display())),
        "vm" => packages().and_then(|()| vm::vm(rest)),
        "engines" => packages().and_then(|()| engines::engines()),
        "bench" => bench::bench(rest),
        _ => {
            eprintln!("usage: cargo xtask test|check|packages|tools|vm|engines|bench");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("xtask {command}: {text}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &mut Command) -> Outcome {
    let shown = format!("{command:?}").replace('"', "");
    eprintln!("+ {shown}");
    let status = command.status().map_err(|e| format!("{shown}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{shown}: {status}")) }
}

fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    command.args(args);
    command
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

/// Where others ship it too, in packages that Debian's would drive out, a program that is there is enough.
fn in_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    ["runc", "crun", "containerd", "podman"].contains(&name)
        && std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

/// Packages that dpkg does not have yet.
fn missing() -> Vec<&'static str> {
    let has = |name: &&&str| {
        let out = Command::new("dpkg-query").args(["-W", "-f=${Status}", name]).stderr(Stdio::null()).output();
        out.is_ok_and(|o| o.stdout.ends_with(b" installed"))
    };
    PACKAGES.iter().filter(|p| !in_path(p) && !has(p)).copied().collect()
}

fn packages() -> Outcome {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root() {
        return Err(format!("these packages are needed: apt-get install {}", missing.join(" ")));
    }
    run(Command::new("apt-get").args(["update", "-q"]))?;
    let mut install = Command::new("apt-get");
    // The registry is run by the tests themselves: its service shall not start.
    install.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
    run(install.args(["install", "-yq", "--no-install-recommends"]).args(&missing))
}

fn check() -> Outcome {
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))?;
    let installed = cargo(&["deny", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !installed.is_ok_and(|s| s.success()) {
        if std::env::var_os("DHOW_TEST_NO_SKIP").is_none() {
            eprintln!("xtask check: SKIPPED, cargo-deny is not installed: cargo install --locked cargo-deny");
            return Ok(());
        }
        run(&mut cargo(&["install", "--locked", "--quiet", "cargo-deny"]))?;
    }
    run(&mut cargo(&["deny", "--log-level", "error", "check", "bans", "licenses", "sources"]))?;
    Ok(())
}

fn test(filter: &[String]) -> Outcome {
    if !is_root() {
        eprintln!("xtask test: not root: every test that needs the kernel is SKIPPED");
    }
    run(&mut cargo(&["build", "--quiet", "--package", "dhow"]))?;
    let docker = docker()?;
    let mut tests = cargo(&["test", "--workspace", "--quiet", "--no-fail-fast", "--"]);
    tests.args(filter);
    tests.env("DHOW_TEST_DOCKER", docker).env("DHOW_TEST_BIN", target_dir()?.join("dhow"));
    run(&mut tests)
}

/// Where cargo puts the development build of the binaries.
fn target_dir() -> Result<PathBuf, String> {
    // This very program lies there: <target>/<triple>/debug/xtask.
    let me = std::env::current_exe().map_err(|e| e.to_string())?;
    me.parent().map(Path::to_path_buf).ok_or_else(|| "no target directory".into())
}

/// The major version that `docker --version` prints.
fn major(docker: &Path) -> Option<u32> {
    let out = Command::new(docker).arg("--version").stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(out.stdout).ok()?;
    text.strip_prefix("Docker version ")?.split('.').next()?.parse().ok()
}

/// A docker CLI of version 28 or later: the machine's own, or Debian unstable's with the C library it needs, unpacked
/// below the target directory and started through its own loader.
fn docker() -> Result<PathBuf, String> {
    let own = ["/usr/local/bin/docker", "/usr/bin/docker"].map(PathBuf::from);
    if let Some(found) = own.into_iter().find(|p| major(p).is_some_and(|v| v >= 28)) {
        return Ok(found);
    }
    let dir = target_dir()?.join("test-tools");
    let wrapper = dir.join("docker");
    if major(&wrapper).is_some_and(|v| v >= 28) {
        return Ok(wrapper);
    }
    debian::unpack(&dir, "unstable", false, &["docker-cli", "libc6"])?;
    let script = r#"
        set -eu; dir=$1
        loader=$(find "$dir/root" -name 'ld-linux-*.so*' | head -n 1); libc=$(dirname "$(find "$dir/root" -name libc.so.6 | head -n 1)")
        printf '#!/bin/sh\nexec "%s" --library-path "%s" "%s" "$@"\n' "$loader" "$libc" "$dir/root/usr/bin/docker" >"$dir/docker"
        chmod +x "$dir/docker"
    "#;
    run(Command::new("sh").args(["-c", script, "sh"]).arg(&dir))?;
    match major(&wrapper) {
        Some(version) if version >= 28 => Ok(wrapper),
        found => Err(format!("{} is of version {found:?}, not 28 or later", wrapper.display())),
    }
}
