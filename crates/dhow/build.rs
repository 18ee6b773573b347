//! Builds the two static programs that this one carries inside itself, `dhow-init` and `hello`, with the same cargo and
//! into a target directory of their own, where they stay warm. `DHOW_INIT` and `DHOW_HELLO` name ready ones instead.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The rooms that end up in one of the two.
const ROOMS: [&str; 6] = ["dhow-init", "runtime", "supervisor", "oci", "sys", "hello"];

fn main() {
    fixed();
    let crates = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("..");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    for room in ROOMS {
        println!("cargo::rerun-if-changed={}", crates.join(room).join("src").display());
        println!("cargo::rerun-if-changed={}", crates.join(room).join("Cargo.toml").display());
    }
    println!("cargo::rerun-if-changed={}", crates.join("../Cargo.toml").display());
    println!("cargo::rerun-if-changed={}", crates.join("../Cargo.lock").display());
    let given = ["DHOW_INIT", "DHOW_HELLO"].map(|name| {
        println!("cargo::rerun-if-env-changed={name}");
        env::var_os(name).map(PathBuf::from)
    });
    let built = if given.iter().any(Option::is_none) { Some(build(&crates, &out)) } else { None };
    for (name, ready) in ["dhow-init", "hello"].into_iter().zip(given) {
        // What is built here is newer than this script's start: cargo would take it for changed and build all again.
        if let Some(program) = &ready {
            println!("cargo::rerun-if-changed={}", program.display());
        }
        let program = ready.unwrap_or_else(|| built.as_ref().expect("built above").join(name));
        let copy = out.join(name);
        // Unchanged bytes keep their time stamp, so that this program is linked again only when it must.
        let fresh = fs::read(&program).unwrap_or_else(|e| panic!("reading {}: {e}", program.display()));
        if fs::read(&copy).ok().as_ref() != Some(&fresh) {
            fs::write(&copy, fresh).unwrap_or_else(|e| panic!("writing {}: {e}", copy.display()));
        }
    }
}

/// Links at a fixed address. A static program relocates itself at each start, which here means twenty thousand words in
/// a hundred pages: half of the time that `dhow ps` takes. Stack, heap and mappings stay where the kernel rolls them.
fn fixed() {
    let of = |name: &str| env::var(name).unwrap_or_default();
    let is_static = of("CARGO_CFG_TARGET_FEATURE").split(',').any(|f| f == "crt-static");
    if is_static && of("CARGO_CFG_TARGET_ENV") == "gnu" {
        println!("cargo::rustc-link-arg-bins=-no-pie");
        println!("cargo::rustc-link-arg-bins=-static");
    }
}

/// The variable and the name of a GNU cross linker, where the target is another machine and none is configured.
fn cross_linker(target: &str) -> Option<(String, String)> {
    let cross = env::var("HOST").is_ok_and(|host| host != target);
    if !cross || !target.ends_with("-linux-gnu") || env::var_os("RUSTC_LINKER").is_some() {
        return None;
    }
    let name = format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_"));
    let arch = target.split('-').next()?;
    Some((name, format!("{arch}-linux-gnu-gcc")))
}

/// Returns the directory with the two programs.
fn build(crates: &Path, out: &Path) -> PathBuf {
    let target = env::var("TARGET").expect("cargo sets it");
    let quick = env::var("PROFILE").is_ok_and(|p| p == "debug");
    // OUT_DIR is <target>/<profile>/build/<package>/out.
    let nested = out.ancestors().nth(3).unwrap_or(out).join("nested");
    let mut cargo = Command::new(env::var_os("CARGO").expect("cargo sets it"));
    cargo
        .args(["build", "--release", "--package", "dhow-init", "--package", "hello", "--target", &target])
        .arg("--target-dir")
        .arg(&nested)
        .arg("--manifest-path")
        .arg(crates.join("../Cargo.toml"));
    // The steps at which tests have it die.
    cargo.env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", if quick { "true" } else { "false" });
    // With --target given, flags are for the programs alone and not for build scripts and macros.
    cargo.env("RUSTFLAGS", "-C target-feature=+crt-static -C relocation-model=static");
    cargo.env("CARGO_PROFILE_RELEASE_PANIC", "abort");
    cargo.env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
    cargo.env("CARGO_PROFILE_RELEASE_DEBUG", "none");
    cargo.env("CARGO_PROFILE_RELEASE_LTO", if quick { "off" } else { "fat" });
    cargo.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", if quick { "16" } else { "1" });
    // What the outer cargo, or clippy, set for this package.
    for name in ["CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_BUILD_RUSTFLAGS", "RUSTC_WORKSPACE_WRAPPER"] {
        cargo.env_remove(name);
    }
    if let Some((name, linker)) = cross_linker(&target) {
        cargo.env(name, linker);
    }
    let status = cargo.status().unwrap_or_else(|e| panic!("running cargo: {e}"));
    assert!(
        status.success(),
        "building the static programs that dhow carries failed (on a GNU system libc6-dev must be installed)"
    );
    nested.join(target).join("release")
}
