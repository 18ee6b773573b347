//! `dhow`: the client, and with `dhow daemon` the engine. Called as `docker` it is Docker's client.
//!
//! It carries `dhow-init`, which runs beneath every container, and the program of the built-in image `hello`: one file
//! to install, and the two always fit together.

use std::process::ExitCode;

static INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/dhow-init"));
static HELLO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hello"));

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    let args: Vec<_> = args.collect();
    match args.first().and_then(|first| first.to_str()) {
        Some("daemon") => daemon::main(&args[1..], daemon::Carried { init: INIT, hello: HELLO }),
        // The engine runs itself under this name, confined to one root file system.
        Some("archive") => daemon::archive(&args[1..]),
        _ => client::main(name, args),
    }
}
