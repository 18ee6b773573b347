//! Seccomp: a profile of runtime-spec (config-linux.md#seccomp) compiled to the classic BPF that seccomp(2) takes.
//!
//! ```text
//! syscalls.rs   names and numbers per architecture
//! bpf.rs        the instruction set and one argument test
//! mod.rs        profile → rules per number → a search tree per architecture
//! ```
//!
//! The program branches on the architecture, then finds the call's number in a balanced tree of ranges: about eight
//! comparisons, and only number and architecture are looked at, so that kernels from 5.11 cache the verdict of every call
//! without argument tests. Rules for one call are tried in the order of the profile; the first that matches decides.
//!
//! Two ways in which this differs from libseccomp, both to close holes:
//! - arguments that the kernel takes as 32-bit are compared as 32-bit, so bits that the kernel ignores cannot make a
//!   different value of them (`socket(40 | 1 << 32)`);
//! - a rule that forbids a call of an unknown name is an error when the default is to allow, instead of being skipped.
//!
//! As in runc, calls newer than any that the profile knows get `ENOSYS` where the default is an errno, so that libraries
//! fall back instead of giving up.

mod bpf;
mod syscalls;

use crate::{Failure, FailureKind};
use bpf::{Insn, Op, Test};
use oci::runtime::{Seccomp, SyscallRule};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// A compiled profile, ready for seccomp(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Each element one `struct sock_filter` as it lies in memory.
    pub program: Vec<u64>,
    /// `SECCOMP_FILTER_FLAG_*` of the profile.
    pub flags: u32,
    /// The profile has a rule that notifies: it needs a listener.
    pub notifies: bool,
}

/// What the filter answers: `SECCOMP_RET_*` with its data.
type Action = u32;

const RET_KILL_PROCESS: Action = 0x8000_0000;
const RET_KILL_THREAD: Action = 0;
const RET_TRAP: Action = 0x0003_0000;
const RET_ERRNO: Action = 0x0005_0000;
const RET_USER_NOTIF: Action = 0x7fc0_0000;
const RET_TRACE: Action = 0x7ff0_0000;
const RET_LOG: Action = 0x7ffc_0000;
const RET_ALLOW: Action = 0x7fff_0000;
/// Set in the numbers of x32 calls.
const X32_BIT: u32 = 0x4000_0000;
const ENOSYS: u32 = 38;
/// `BPF_MAXINSNS`
const MAX_PROGRAM: usize = 4096;

fn invalid(text: String) -> Failure {
    Failure { stage: "seccomp".into(), kind: FailureKind::Invalid, errno: 0, text }
}

/// The kernel's idea of an architecture: `AUDIT_ARCH_*` and the column of the table of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Arch {
    audit: u32,
    column: usize,
    x32: bool,
}

fn arch(name: &str) -> Result<Arch, Failure> {
    let (audit, column, x32) = match name {
        "SCMP_ARCH_X86_64" => (0xc000_003e, 0, false),
        "SCMP_ARCH_X32" => (0xc000_003e, 1, true),
        "SCMP_ARCH_X86" => (0x4000_0003, 2, false),
        "SCMP_ARCH_AARCH64" => (0xc000_00b7, 3, false),
        "SCMP_ARCH_ARM" => (0x4000_0028, 4, false),
        "SCMP_ARCH_RISCV64" => (0xc000_00f3, 5, false),
        other => return Err(invalid(format!("seccomp: architecture {other:?} is not supported by this runtime"))),
    };
    Ok(Arch { audit, column, x32 })
}

fn native() -> Option<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Some("SCMP_ARCH_X86_64"),
        "x86" => Some("SCMP_ARCH_X86"),
        "aarch64" => Some("SCMP_ARCH_AARCH64"),
        "arm" => Some("SCMP_ARCH_ARM"),
        "riscv64" => Some("SCMP_ARCH_RISCV64"),
        _ => None,
    }
}

fn action(name: &str, errno: Option<u32>) -> Result<Action, Failure> {
    let data = errno.unwrap_or(1);
    if data > 4095 {
        return Err(invalid(format!("seccomp: errnoRet {data} is not an errno")));
    }
    let plain = match name {
        "SCMP_ACT_ERRNO" => return Ok(RET_ERRNO | data),
        "SCMP_ACT_TRACE" => return Ok(RET_TRACE | data),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => RET_KILL_THREAD,
        "SCMP_ACT_KILL_PROCESS" => RET_KILL_PROCESS,
        "SCMP_ACT_TRAP" => RET_TRAP,
        "SCMP_ACT_NOTIFY" => RET_USER_NOTIF,
        "SCMP_ACT_LOG" => RET_LOG,
        "SCMP_ACT_ALLOW" => RET_ALLOW,
        other => return Err(invalid(format!("seccomp: unknown action {other:?}"))),
    };
    match errno {
        Some(_) => Err(invalid(format!("seccomp: errnoRet has no meaning for {name}"))),
        None => Ok(plain),
    }
}

/// The flags of a profile, and what seccomp(2) calls them.
pub const FLAGS: [(&str, u32); 4] = [
    ("SECCOMP_FILTER_FLAG_TSYNC", 1),
    ("SECCOMP_FILTER_FLAG_LOG", 1 << 1),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", 1 << 2),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", WAIT_KILLABLE),
];
/// Has a meaning only for a filter with a listener.
const WAIT_KILLABLE: u32 = 1 << 5;
const TSYNC: u32 = 1;

fn flags(names: &[String]) -> Result<u32, Failure> {
    names.iter().try_fold(0, |all, name| match FLAGS.iter().find(|(known, _)| known == name) {
        Some((_, bit)) => Ok(all | bit),
        None => Err(invalid(format!("seccomp: unknown flag {name:?}"))),
    })
}

fn number(name: &str, column: usize) -> Option<i32> {
    let at = syscalls::TABLE.binary_search_by(|(n, _)| (*n).cmp(name)).ok()?;
    Some(syscalls::TABLE[at].1[column])
}

/// Arguments that the kernel declares as 32-bit, as a bit set; only those that profiles are known to test.
fn narrow_args(name: &str) -> u8 {
    match name {
        "socket" | "socketpair" => 0b0000_0111,
        "personality" | "prctl" | "futex_waitv" | "bpf" | "kcmp" => 0b0000_0001,
        "ioctl" | "fcntl" | "fcntl64" => 0b0000_0011,
        "setsockopt" | "getsockopt" => 0b0000_0111,
        "kill" | "tkill" => 0b0000_0011,
        _ => 0,
    }
}

/// What is decided for one call: tests in order, then an answer without condition.
#[derive(Debug, Clone, PartialEq, Default)]
struct Verdict {
    tests: Vec<(Vec<Test>, Action)>,
    last: Option<Action>,
}

fn tests(rule: &SyscallRule, narrow: u8) -> Result<Vec<Test>, Failure> {
    rule.args
        .iter()
        .map(|arg| {
            if arg.index > 5 {
                return Err(invalid(format!(
                    "seccomp: argument {} of {}: a call has six",
                    arg.index,
                    rule.names.join(",")
                )));
            }
            let op = match arg.op.as_str() {
                "SCMP_CMP_NE" => Op::Ne,
                "SCMP_CMP_LT" => Op::Lt,
                "SCMP_CMP_LE" => Op::Le,
                "SCMP_CMP_EQ" => Op::Eq,
                "SCMP_CMP_GE" => Op::Ge,
                "SCMP_CMP_GT" => Op::Gt,
                "SCMP_CMP_MASKED_EQ" => Op::MaskedEq,
                other => return Err(invalid(format!("seccomp: unknown operator {other:?}"))),
            };
            let second = arg.value_two.unwrap_or(0);
            Ok(Test { index: arg.index as u8, op, value: arg.value, second, narrow: narrow & (1 << arg.index) != 0 })
        })
        .collect()
}

/// Whether any of `tests` is enough, and not only all of them: so it is in runc where two look at one argument, as profiles
/// from before there were more rules for a call than one have it.
fn alternatives(tests: &[Test]) -> bool {
    tests.iter().enumerate().any(|(n, test)| tests[..n].iter().any(|other| other.index == test.index))
}

/// The verdict for every number of one architecture that the profile names, and the highest number it knows.
fn verdicts(profile: &Seccomp, column: usize, default: Action) -> Result<(BTreeMap<u32, Verdict>, u32), Failure> {
    let mut out: BTreeMap<u32, Verdict> = BTreeMap::new();
    let mut highest = 0;
    for rule in &profile.syscalls {
        let action = action(&rule.action, rule.errno_ret)?;
        for name in &rule.names {
            let number = match number(name, column) {
                Some(-1) => continue,
                Some(number) => number as u32,
                None if action != default && [RET_ALLOW, RET_LOG].contains(&default) => {
                    return Err(invalid(format!("seccomp: unknown system call {name:?} in a rule that forbids it")));
                }
                None => continue,
            };
            highest = highest.max(number);
            let verdict = out.entry(number).or_default();
            if verdict.last.is_some() {
                continue;
            }
            let tests = tests(rule, narrow_args(name))?;
            if tests.is_empty() {
                verdict.last = Some(action);
            } else if alternatives(&tests) {
                verdict.tests.extend(tests.into_iter().map(|test| (vec![test], action)));
            } else {
                verdict.tests.push((tests, action));
            }
        }
    }
    Ok((out, highest))
}

/// Consecutive numbers with one answer, from `start` to the next range's start.
struct Range<'a> {
    start: u32,
    answer: Answer<'a>,
}

#[derive(Clone, Copy, PartialEq)]
enum Answer<'a> {
    Plain(Action),
    Tests(&'a Verdict),
}

fn ranges(verdicts: &BTreeMap<u32, Verdict>, default: Action, beyond: Option<u32>) -> Vec<Range<'_>> {
    let mut out: Vec<Range> = vec![Range { start: 0, answer: Answer::Plain(default) }];
    let mut push = |start: u32, answer| {
        match out.last_mut() {
            Some(last) if last.start == start => last.answer = answer,
            Some(last) if last.answer == answer => return,
            _ => out.push(Range { start, answer }),
        }
        // Replacing an answer can make the last two ranges one.
        if let [.., a, b] = out.as_slice()
            && a.answer == b.answer
        {
            out.pop();
        }
    };
    for (&number, verdict) in verdicts {
        let answer = match verdict {
            Verdict { tests, last } if tests.is_empty() => Answer::Plain(last.unwrap_or(default)),
            with_tests => Answer::Tests(with_tests),
        };
        push(number, answer);
        push(number + 1, Answer::Plain(default));
    }
    if let Some(beyond) = beyond {
        push(beyond, Answer::Plain(RET_ERRNO | ENOSYS));
    }
    out
}

/// A balanced tree over `ranges`; the accumulator holds the number. Every path ends in a return.
fn tree(ranges: &[Range], default: Action) -> Vec<Insn> {
    if let [range] = ranges {
        return match range.answer {
            Answer::Plain(action) => vec![Insn::ret(action)],
            Answer::Tests(verdict) => bpf::decide(&verdict.tests, verdict.last.unwrap_or(default)),
        };
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let (below, above) = (tree(low, default), tree(high, default));
    let mut out = Vec::with_capacity(below.len() + above.len() + 2);
    match u8::try_from(below.len()) {
        Ok(short) => out.push(Insn::jump_if(bpf::JGE, high[0].start, short, 0)),
        Err(_) => {
            out.push(Insn::jump_if(bpf::JGE, high[0].start, 0, 1));
            out.push(Insn::jump(below.len() as u32));
        }
    }
    out.extend(below);
    out.extend(above);
    out
}

/// The last filter that was compiled ahead, with its profile.
static AHEAD: Mutex<Option<(Seccomp, Filter)>> = Mutex::new(None);

/// Compiles a profile for the next [`take`] of it.
pub(crate) fn prepare(profile: &Seccomp) {
    if let Ok(filter) = compile(profile) {
        *AHEAD.lock().unwrap_or_else(PoisonError::into_inner) = Some((profile.clone(), filter));
    }
}

/// As [`compile`], by what [`prepare`] has done; that is used up.
pub(crate) fn take(profile: &Seccomp) -> Result<Filter, Failure> {
    match AHEAD.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some((of, filter)) if of == *profile => Ok(filter),
        _ => compile(profile),
    }
}

/// Compiles a profile.
///
/// # Errors
/// `Invalid` when it names an action, operator, flag or architecture that is unknown, or is too large for the kernel.
pub fn compile(profile: &Seccomp) -> Result<Filter, Failure> {
    let flags = flags(&profile.flags)?;
    let default_errno = match profile.default_action.as_str() {
        "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE" => profile.default_errno_ret,
        _ => None,
    };
    let default = action(&profile.default_action, default_errno)?;
    let mut arches = profile.architectures.iter().map(|name| arch(name)).collect::<Result<Vec<_>, _>>()?;
    if let Some(native) = native() {
        let native = arch(native)?;
        if !arches.contains(&native) {
            arches.insert(0, native);
        }
    }
    let section = |arch: &Arch| -> Result<Vec<Insn>, Failure> {
        let (verdicts, highest) = verdicts(profile, arch.column, default)?;
        let beyond = (default & 0xffff_0000 == RET_ERRNO).then_some(highest + 1);
        Ok(tree(&ranges(&verdicts, default, beyond), default))
    };

    let mut code = vec![Insn::load(bpf::ARCH)];
    let x32 = arches.iter().find(|a| a.x32).copied();
    for arch in arches.iter().filter(|a| !a.x32) {
        let mut body = vec![Insn::load(bpf::NUMBER)];
        if arch.audit == 0xc000_003e {
            // Same audit number, another table: x32 calls carry a bit.
            let other = match &x32 {
                Some(x32) => {
                    let mut other = vec![Insn::and(!X32_BIT)];
                    other.extend(section(x32)?);
                    other
                }
                None => vec![Insn::ret(RET_KILL_PROCESS)],
            };
            body.push(Insn::jump_if(bpf::JGE, X32_BIT, 0, 1));
            let native = section(arch)?;
            body.push(Insn::jump(native.len() as u32));
            body.extend(native);
            body.extend(other);
        } else {
            body.extend(section(arch)?);
        }
        code.push(Insn::jump_if(bpf::JEQ, arch.audit, 1, 0));
        code.push(Insn::jump(body.len() as u32));
        code.extend(body);
    }
    code.push(Insn::ret(RET_KILL_PROCESS));
    if code.len() > MAX_PROGRAM {
        return Err(invalid(format!(
            "seccomp: the profile needs {} instructions, the kernel takes {MAX_PROGRAM}",
            code.len()
        )));
    }
    let notifies = code.iter().any(|i| i.returns() == Some(RET_USER_NOTIF));
    if !notifies && flags & WAIT_KILLABLE != 0 {
        return Err(invalid(
            "seccomp: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs a rule with SCMP_ACT_NOTIFY".into(),
        ));
    }
    // There is one thread to synchronize, and a filter with a listener cannot have the flag.
    let flags = if notifies { flags & !TSYNC } else { flags };
    Ok(Filter { program: code.iter().map(|i| i.encode()).collect(), flags, notifies })
}

#[cfg(test)]
mod tests;
