//! Debian's packages without installing them: they are unpacked below the target directory.

use crate::{Outcome, run};
use std::path::Path;
use std::process::Command;

/// Sets `mirror`: the Debian mirror of this machine, or the one for everybody.
pub const MIRROR: &str = r#"
    mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -oE '(https?|mirror)[^ ]*/debian/?( |$)' | head -n 1 | tr -d ' ')
    mirror=${mirror:-http://deb.debian.org/debian}
"#;

/// Unpacks packages of a Debian release into `<dir>/root`, with everything that they depend on when `closure` is set.
/// What works in it must be started through the loader that lies there.
pub fn unpack(dir: &Path, release: &str, closure: bool, packages: &[&str]) -> Outcome {
    let script = r#"
        set -eu; dir=$1 release=$2 closure=$3; shift 3
        rm -rf "$dir/apt"; mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial" "$dir/root"
        # Ubuntu has not got Debian's keys.
        keys=/usr/share/keyrings/debian-archive-keyring.gpg; trust=trusted=yes; [ ! -e "$keys" ] || trust=signed-by=$keys
        echo "deb [$trust] $mirror $release main" >"$dir/apt/sources.list"
        : >"$dir/apt/status"
        # A frozen mirror is as good.
        o="-o Acquire::Check-Valid-Until=false -o Dir::Etc::sourcelist=$dir/apt/sources.list -o Dir::Etc::sourceparts=- -o Dir::State::lists=$dir/apt/lists -o Dir::Cache=$dir/apt/cache -o APT::Sandbox::User=root"
        apt-get $o update -q; cd "$dir/apt"
        if [ "$closure" = true ]; then
            apt-get $o -o Dir::State::status="$dir/apt/status" install -yq --download-only --no-install-recommends "$@"
            mv cache/archives/*.deb .
        else
            apt-get $o download "$@"
        fi
        for deb in *.deb; do dpkg-deb -x "$deb" "$dir/root"; done
        rm -rf "$dir/apt"
    "#;
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{MIRROR}{script}"), "sh"]).arg(dir).args([release, &closure.to_string()]);
    run(command.args(packages))
}
