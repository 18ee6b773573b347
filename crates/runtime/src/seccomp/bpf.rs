//! Classic BPF as seccomp(2) uses it: the instructions needed, and tests of a call's arguments.

/// Offset of the call's number in `struct seccomp_data`.
pub(super) const NUMBER: u32 = 0;
/// Offset of the architecture.
pub(super) const ARCH: u32 = 4;
/// Offset of the first argument.
const ARGS: u32 = 16;

pub(super) const JEQ: u16 = 0x15;
pub(super) const JGT: u16 = 0x25;
pub(super) const JGE: u16 = 0x35;
const JA: u16 = 0x05;
const LD_ABS: u16 = 0x20;
const AND: u16 = 0x54;
const RET: u16 = 0x06;

/// `struct sock_filter`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Insn {
    code: u16,
    jt: u8,
    jf: u8,
    k: u32,
}

impl Insn {
    fn plain(code: u16, k: u32) -> Insn {
        Insn { code, jt: 0, jf: 0, k }
    }
    pub(super) fn load(offset: u32) -> Insn {
        Insn::plain(LD_ABS, offset)
    }
    pub(super) fn and(mask: u32) -> Insn {
        Insn::plain(AND, mask)
    }
    pub(super) fn ret(action: u32) -> Insn {
        Insn::plain(RET, action)
    }
    pub(super) fn jump(skip: u32) -> Insn {
        Insn::plain(JA, skip)
    }
    pub(super) fn jump_if(code: u16, k: u32, jt: u8, jf: u8) -> Insn {
        Insn { code, jt, jf, k }
    }
    pub(super) fn returns(self) -> Option<u32> {
        (self.code == RET).then_some(self.k)
    }
    /// The eight bytes in memory order of this machine.
    pub(super) fn encode(self) -> u64 {
        let mut bytes = [0; 8];
        bytes[..2].copy_from_slice(&self.code.to_ne_bytes());
        (bytes[2], bytes[3]) = (self.jt, self.jf);
        bytes[4..].copy_from_slice(&self.k.to_ne_bytes());
        u64::from_ne_bytes(bytes)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Ne,
    Lt,
    Le,
    Eq,
    Ge,
    Gt,
    /// `argument & value == second`
    MaskedEq,
}

/// One comparison of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Test {
    pub(super) index: u8,
    pub(super) op: Op,
    pub(super) value: u64,
    pub(super) second: u64,
    /// The kernel looks at the low 32 bits alone.
    pub(super) narrow: bool,
}

/// Where a branch of a test goes.
#[derive(Clone, Copy, PartialEq)]
enum To {
    /// The next instruction.
    Next,
    /// The test holds.
    Pass,
    /// It does not.
    Fail,
}

struct Step {
    insn: Insn,
    jt: To,
    jf: To,
}

fn straight(insn: Insn) -> Step {
    Step { insn, jt: To::Next, jf: To::Next }
}

fn branch(code: u16, k: u32, jt: To, jf: To) -> Step {
    Step { insn: Insn::jump_if(code, k, 0, 0), jt, jf }
}

impl Test {
    fn steps(self) -> Vec<Step> {
        let at = ARGS + 8 * u32::from(self.index);
        let (low_at, high_at) = if cfg!(target_endian = "little") { (at, at + 4) } else { (at + 4, at) };
        let (low, high) = (self.value as u32, (self.value >> 32) as u32);
        let mut steps = Vec::new();
        // For an order, the high halves decide unless equal; `Lt` and `Le` are the opposites of `Ge` and `Gt`.
        let (pass, fail, compare) = match self.op {
            Op::Eq => (To::Pass, To::Fail, JEQ),
            Op::Ne => (To::Fail, To::Pass, JEQ),
            Op::Gt => (To::Pass, To::Fail, JGT),
            Op::Le => (To::Fail, To::Pass, JGT),
            Op::Ge => (To::Pass, To::Fail, JGE),
            Op::Lt => (To::Fail, To::Pass, JGE),
            Op::MaskedEq => {
                let (second_low, second_high) = (self.second as u32, (self.second >> 32) as u32);
                if !self.narrow {
                    steps.push(straight(Insn::load(high_at)));
                    steps.push(straight(Insn::and(high)));
                    steps.push(branch(JEQ, second_high, To::Next, To::Fail));
                }
                steps.push(straight(Insn::load(low_at)));
                steps.push(straight(Insn::and(low)));
                steps.push(branch(JEQ, second_low, To::Pass, To::Fail));
                return steps;
            }
        };
        if !self.narrow {
            steps.push(straight(Insn::load(high_at)));
            if compare != JEQ {
                steps.push(branch(JGT, high, pass, To::Next));
            }
            steps.push(branch(JEQ, high, To::Next, fail));
        }
        steps.push(straight(Insn::load(low_at)));
        steps.push(branch(compare, low, pass, fail));
        steps
    }
}

/// All tests of a rule must hold for its action; rules in order; then `last`.
pub(super) fn decide(rules: &[(Vec<Test>, u32)], last: u32) -> Vec<Insn> {
    let mut out = Vec::new();
    for (tests, action) in rules {
        let all: Vec<Vec<Step>> = tests.iter().map(|t| t.steps()).collect();
        // Six tests of six steps: every distance fits a byte.
        let total: usize = all.iter().map(Vec::len).sum();
        let mut here = 0;
        for steps in all {
            let end = here + steps.len();
            for step in steps {
                let distance = |to: To| match to {
                    To::Next => 0,
                    To::Pass => (end - here - 1) as u8,
                    // Over the return of this rule.
                    To::Fail => (total - here) as u8,
                };
                out.push(Insn { jt: distance(step.jt), jf: distance(step.jf), ..step.insn });
                here += 1;
            }
        }
        out.push(Insn::ret(*action));
    }
    out.push(Insn::ret(last));
    out
}
