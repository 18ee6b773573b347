//! Links hello without symbols: it travels inside the engine.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg-bins=-s");
}
