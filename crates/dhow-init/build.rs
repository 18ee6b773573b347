//! Links dhow-init at a fixed address and without symbols: one of it runs for every container, and pages that need no
//! relocation stay shared between them all.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is_static_glibc = std::env::var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("gnu")
        && std::env::var("CARGO_CFG_TARGET_FEATURE").is_ok_and(|features| features.contains("crt-static"));
    if is_static_glibc {
        for argument in ["-no-pie", "-static", "-s"] {
            println!("cargo:rustc-link-arg-bins={argument}");
        }
    }
}
