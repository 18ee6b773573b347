//! The device policy of a container: which device nodes it may open and make.
//!
//! Rules apply in order and later ones win; before the first one nothing is allowed, and after the last one come the
//! devices that every container has. An empty list therefore allows just those.

use super::openat;
use crate::Failure;
use oci::runtime::DeviceRule;
use rustix::fs::{Mode, OFlags};
use std::os::fd::{AsFd, BorrowedFd};

/// A rule with its parts checked. `None` is every number.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rule {
    allow: bool,
    /// `a`, `b` or `c`
    kind: u8,
    major: Option<u32>,
    minor: Option<u32>,
    /// Of [`MKNOD`], [`READ`], [`WRITE`].
    access: u32,
}

const MKNOD: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 4;
const ALL: u32 = MKNOD | READ | WRITE;

/// What every container may use (config-linux.md#default-devices): any node may be made, these opened.
const DEFAULTS: [(u8, Option<u32>, Option<u32>, u32); 11] = [
    (b'c', None, None, MKNOD),
    (b'b', None, None, MKNOD),
    (b'c', Some(1), Some(3), ALL),
    (b'c', Some(1), Some(5), ALL),
    (b'c', Some(1), Some(7), ALL),
    (b'c', Some(1), Some(8), ALL),
    (b'c', Some(1), Some(9), ALL),
    (b'c', Some(5), Some(0), ALL),
    (b'c', Some(5), Some(1), ALL),
    (b'c', Some(5), Some(2), ALL),
    (b'c', Some(136), None, ALL),
];

fn parse(rule: &DeviceRule) -> Result<Rule, Failure> {
    let bad = |what: &str| Failure::invalid("cgroup devices", format!("device rule {rule:?}: {what}"));
    let kind = match rule.kind.as_str() {
        "" | "a" => b'a',
        "b" => b'b',
        "c" | "u" => b'c',
        _ => return Err(bad("the type is not a, b or c")),
    };
    let number = |n: Option<i64>| match n {
        None | Some(-1) => Ok(None),
        Some(n) => u32::try_from(n).map(Some).map_err(|_| bad("the number is out of range")),
    };
    let access = rule.access.chars().try_fold(0, |all, c| match c {
        'r' => Ok(all | READ),
        'w' => Ok(all | WRITE),
        'm' => Ok(all | MKNOD),
        _ => Err(bad("the access is not of r, w and m")),
    })?;
    // Without an access the rule is about all of them, as for runc.
    let access = if access == 0 { ALL } else { access };
    Ok(Rule { allow: rule.allow, kind, major: number(rule.major)?, minor: number(rule.minor)?, access })
}

/// The whole policy: the given rules, then the defaults; only what comes after the last rule about everything.
fn policy(rules: &[DeviceRule]) -> Result<Vec<Rule>, Failure> {
    let rules = rules.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let everything = |r: &Rule| r.kind == b'a' && r.major.is_none() && r.minor.is_none() && r.access == ALL;
    let deny_all = Rule { allow: false, kind: b'a', major: None, minor: None, access: ALL };
    let start = rules.iter().rposition(everything);
    let mut out = vec![start.map_or(deny_all, |at| rules[at])];
    out.extend(&rules[start.map_or(0, |at| at + 1)..]);
    if !(out.len() == 1 && out[0].allow) {
        out.extend(DEFAULTS.map(|(kind, major, minor, access)| Rule { allow: true, kind, major, minor, access }));
    }
    Ok(out)
}

impl Rule {
    /// A line for `devices.allow` and `devices.deny`.
    fn line(&self) -> String {
        let number = |n: Option<u32>| n.map_or("*".into(), |n| n.to_string());
        let mut line = format!("{} {}:{} ", self.kind as char, number(self.major), number(self.minor));
        for (bit, letter) in [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')] {
            if self.access & bit != 0 {
                line.push(letter);
            }
        }
        line
    }
}

/// v1: each rule is one write.
pub(super) fn allow_v1(dir: BorrowedFd, rules: &[DeviceRule]) -> Result<(), Failure> {
    let open = |file: &str| {
        openat(dir, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Failure::system("cgroup devices", file, errno))
    };
    let (allow, deny) = (open("devices.allow")?, open("devices.deny")?);
    for rule in policy(rules)? {
        let file = if rule.allow { &allow } else { &deny };
        let line = rule.line();
        // "a" alone resets the list; v1 refuses it with numbers.
        let line = if rule.kind == b'a' { "a" } else { line.as_str() };
        rustix::io::write(file, line.as_bytes())
            .map_err(|errno| Failure::system("cgroup devices", &format!("device rule {line:?}"), errno))?;
    }
    Ok(())
}

/// v2: the policy as a program that the kernel asks at every open and mknod.
pub(super) fn allow_v2(dir: BorrowedFd, rules: &[DeviceRule]) -> Result<(), Failure> {
    let program = program(&policy(rules)?);
    let fail = |errno| Failure::system("cgroup devices", "cannot attach the device policy", errno);
    let loaded = sys::bpf::load_cgroup_device(&program).map_err(fail)?;
    // bpf(2) refuses an O_PATH descriptor.
    let target = openat(dir, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(fail)?;
    sys::bpf::attach_cgroup_device(target.as_fd(), loaded.as_fd(), sys::bpf::ALLOW_MULTI, None).map_err(fail)
}

/// eBPF: registers r2 type, r3 access, r4 major, r5 minor; r1 is the context, r0 the answer.
fn program(policy: &[Rule]) -> Vec<u64> {
    let insn = |op: u8, dst: u8, src: u8, off: i16, imm: i32| {
        u64::from(op) | u64::from(dst | src << 4) << 8 | u64::from(off as u16) << 16 | u64::from(imm as u32) << 32
    };
    const LOAD: u8 = 0x61; // dst = *(u32 *)(src + off)
    const AND: u8 = 0x54; // 32-bit dst &= imm
    const SHIFT: u8 = 0x74; // 32-bit dst >>= imm
    const COPY: u8 = 0xbc; // 32-bit dst = src
    const NE: u8 = 0x56; // 32-bit: jump if dst != imm
    const EQ: u8 = 0x16;
    const SET: u8 = 0xb7;
    const EXIT: u8 = 0x95;
    let mut out = vec![
        insn(LOAD, 2, 1, 0, 0),
        insn(COPY, 3, 2, 0, 0),
        insn(AND, 2, 0, 0, 0xffff),
        insn(SHIFT, 3, 0, 0, 16),
        insn(LOAD, 4, 1, 4, 0),
        insn(LOAD, 5, 1, 8, 0),
    ];
    // The last rule that matches decides: so it is asked first.
    for rule in policy.iter().rev() {
        let mut tests: Vec<(u8, u8, i32)> = Vec::new();
        match rule.kind {
            b'b' => tests.push((NE, 2, 1)),
            b'c' => tests.push((NE, 2, 2)),
            _ => {}
        }
        tests.extend(rule.major.map(|n| (NE, 4, n as i32)));
        tests.extend(rule.minor.map(|n| (NE, 5, n as i32)));
        // What jumps over the rest of a rule: tests, the access test of three, the two of the answer.
        let access = if rule.access == ALL { 0 } else { 3 };
        let total = tests.len() + access + 2;
        for (at, (op, reg, value)) in tests.iter().enumerate() {
            out.push(insn(*op, *reg, 0, (total - at - 1) as i16, *value));
        }
        if access != 0 {
            // An allowing rule must cover all that is asked; a denying one applies when it covers any of it.
            let (mask, op) = if rule.allow { (!rule.access & ALL, NE) } else { (rule.access, EQ) };
            out.push(insn(COPY, 1, 3, 0, 0));
            out.push(insn(AND, 1, 0, 0, mask as i32));
            out.push(insn(op, 1, 0, 2, 0));
        }
        out.push(insn(SET, 0, 0, 0, i32::from(rule.allow)));
        out.push(insn(EXIT, 0, 0, 0, 0));
    }
    out.push(insn(SET, 0, 0, 0, 0));
    out.push(insn(EXIT, 0, 0, 0, 0));
    // Whatever follows a rule about everything can never be reached, and the verifier refuses dead code.
    if policy.first().is_some_and(|r| r.kind == b'a' && r.access == ALL && r.major.is_none() && r.minor.is_none()) {
        out.truncate(out.len() - 2);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(allow: bool, kind: &str, numbers: (i64, i64), access: &str) -> DeviceRule {
        DeviceRule { allow, kind: kind.into(), major: Some(numbers.0), minor: Some(numbers.1), access: access.into() }
    }

    #[test]
    fn an_empty_list_denies_all_but_the_defaults() {
        let p = policy(&[]).unwrap();
        assert_eq!((p[0].allow, p[0].line().as_str(), p.len()), (false, "a *:* rwm", 12));
    }

    #[test]
    fn privileged_is_one_rule() {
        let p = policy(&[rule(false, "a", (-1, -1), "rwm"), rule(true, "a", (-1, -1), "rwm")]).unwrap();
        assert_eq!(p, [Rule { allow: true, kind: b'a', major: None, minor: None, access: ALL }]);
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [rule(true, "x", (1, 1), "r"), rule(true, "c", (-2, 1), "r"), rule(true, "c", (1, 1), "rx")] {
            assert_eq!(policy(&[bad]).unwrap_err().kind, crate::FailureKind::Invalid);
        }
    }

    /// Runs the program as the kernel would, on (type, access, major, minor).
    fn ask(program: &[u64], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let mut r = [0u32; 11];
        let mut pc = 0;
        loop {
            let i = program[pc];
            let (op, dst, src) = (i as u8, (i >> 8 & 15) as usize, (i >> 12 & 15) as usize);
            let (off, imm) = ((i >> 16) as i16, (i >> 32) as u32);
            pc += 1;
            match op {
                0x61 => r[dst] = [access << 16 | kind, major, minor][off as usize / 4],
                0x54 => r[dst] &= imm,
                0x74 => r[dst] >>= imm,
                0xbc => r[dst] = r[src],
                0x56 => pc += if r[dst] != imm { off as usize } else { 0 },
                0x16 => pc += if r[dst] == imm { off as usize } else { 0 },
                0xb7 => r[dst] = imm,
                0x95 => return r[0] != 0,
                other => panic!("{other:#x}"),
            }
        }
    }

    #[test]
    fn the_program_decides_as_the_rules_say() {
        let rules = [rule(true, "c", (10, 200), "rw"), rule(true, "b", (8, -1), "r"), rule(false, "c", (1, 9), "w")];
        let policy = policy(&rules).unwrap();
        let program = program(&policy);
        for kind in [1, 2] {
            for (major, minor) in [(1, 3), (1, 9), (10, 200), (10, 229), (8, 0), (136, 7)] {
                for access in 1..8 {
                    let matches = |r: &&Rule| {
                        (r.kind == b'a' || (r.kind == b'b') == (kind == 1))
                            && r.major.is_none_or(|m| m == major)
                            && r.minor.is_none_or(|m| m == minor)
                            && if r.allow { access & !r.access == 0 } else { access & r.access != 0 }
                    };
                    let want = policy.iter().rev().find(matches).is_some_and(|r| r.allow);
                    assert_eq!(ask(&program, kind, access, major, minor), want, "{kind} {major}:{minor} {access}");
                }
            }
        }
    }

    #[test]
    fn the_kernel_takes_the_program() {
        if rustix::process::geteuid().is_root() {
            for rules in [vec![], vec![rule(true, "a", (-1, -1), "rwm")], vec![rule(true, "c", (10, 200), "r")]] {
                sys::bpf::load_cgroup_device(&program(&policy(&rules).unwrap())).unwrap();
            }
        }
    }
}
