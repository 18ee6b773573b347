//! `cargo xtask engines`: Docker, Podman and containerd of Debian unstable with our runtime in runc's place.
//!
//! ```text
//! <target>/<triple>/debug/engines/tree/   Debian with them, made by debootstrap
//! xtask/engines/tree.sh     makes it, and enters it
//!               inside.sh   starts the engines, and compares what they say under runc and under dhow
//!               drill.sh    the life of containers, step by step
//! ```
//!
//! `ENGINES_TREE` names a tree that has those packages already.

use crate::{Outcome, cargo, debian, is_root, run, target_dir};
use std::path::Path;
use std::process::Command;

/// Fails where a step says anything else, or ends with another code, than under runc.
pub fn engines() -> Outcome {
    if !is_root() {
        return Err("debootstrap needs root".into());
    }
    run(&mut cargo(&["build", "--quiet", "--package", "dhow-init"]))?;
    let dir = target_dir()?.join("engines");
    std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("engines/tree.sh");
    let mut command = Command::new("sh");
    let line = format!("{}exec bash \"$1\" \"$2\" \"$mirror\" \"$3\"", debian::MIRROR);
    command.args(["-c", &line, "sh"]).arg(script).arg(dir).arg(target_dir()?.join("dhow-init"));
    run(&mut command)
}
