//! Reads `docker.txt`. The table is part of the program: a mistake in it stops the tests, so reading it cannot fail.

use super::{Conditional, equal, masked};
use oci::runtime::{SyscallArg, SyscallRule};
use std::sync::OnceLock;

const TEXT: &str = include_str!("docker.txt");

/// All rules of the table, in its order.
pub(super) fn rules() -> &'static [Conditional] {
    static RULES: OnceLock<Vec<Conditional>> = OnceLock::new();
    RULES.get_or_init(|| read(TEXT))
}

fn read(text: &str) -> Vec<Conditional> {
    let mut out: Vec<Conditional> = Vec::new();
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        match line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            Some(head) => out.push(section(head)),
            None => {
                if let Some(last) = out.last_mut() {
                    last.rule.names.extend(line.split_whitespace().map(str::to_owned));
                }
            }
        }
    }
    out
}

fn section(head: &str) -> Conditional {
    let mut c = Conditional {
        rule: SyscallRule::default(),
        with_caps: vec![],
        without_caps: vec![],
        arches: vec![],
        not_arches: vec![],
        min_kernel: None,
        max_kernel: None,
    };
    for word in head.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let list = || value.split(',').map(str::to_owned).collect::<Vec<_>>();
        match key {
            "allow" => c.rule.action = "SCMP_ACT_ALLOW".into(),
            "errno" => {
                c.rule.action = "SCMP_ACT_ERRNO".into();
                c.rule.errno_ret = Some(number(value) as u32);
            }
            "cap" => c.with_caps = list(),
            "nocap" => c.without_caps = list(),
            "arch" => c.arches = list(),
            "noarch" => c.not_arches = list(),
            "kernel" => c.min_kernel = super::kernel(value),
            arg => c.rule.args.push(argument(arg, number(value))),
        }
    }
    c
}

fn argument(text: &str, value: u64) -> SyscallArg {
    let text = text.strip_prefix("arg").unwrap_or_else(|| panic!("docker.txt: {text}"));
    match text.split_once('&') {
        Some((index, mask)) => masked(number(index) as u32, number(mask), value),
        None => equal(number(text) as u32, value),
    }
}

fn number(text: &str) -> u64 {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.unwrap_or_else(|_| panic!("docker.txt: {text}"))
}
