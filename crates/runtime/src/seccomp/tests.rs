//! The compiled program, interpreted here, against the profile read naively.

use super::*;
use oci::runtime::SyscallArg;
use proptest::prelude::*;

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;

/// Runs a program as the kernel would.
fn run(program: &[u64], number: u32, arch: u32, args: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend(number.to_ne_bytes());
    data.extend(arch.to_ne_bytes());
    data.extend(0u64.to_ne_bytes());
    for a in args {
        data.extend(a.to_ne_bytes());
    }
    let (mut pc, mut acc) = (0usize, 0u32);
    loop {
        let bytes = program[pc].to_ne_bytes();
        let code = u16::from_ne_bytes([bytes[0], bytes[1]]);
        let (jt, jf) = (bytes[2] as usize, bytes[3] as usize);
        let k = u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        pc += 1;
        let mut jump = |holds: bool| pc += if holds { jt } else { jf };
        match code {
            0x20 => acc = u32::from_ne_bytes(data[k as usize..k as usize + 4].try_into().unwrap()),
            0x54 => acc &= k,
            0x15 => jump(acc == k),
            0x25 => jump(acc > k),
            0x35 => jump(acc >= k),
            0x05 => pc += k as usize,
            0x06 => return k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn rule(names: &[&str], action: &str, args: &[(u32, u64, u64, &str)]) -> SyscallRule {
    SyscallRule {
        names: names.iter().map(|n| n.to_string()).collect(),
        action: action.into(),
        errno_ret: None,
        args: args
            .iter()
            .map(|&(index, value, two, op)| SyscallArg {
                index,
                value,
                value_two: Some(two),
                op: format!("SCMP_CMP_{op}"),
            })
            .collect(),
    }
}

fn profile(default: &str, rules: Vec<SyscallRule>) -> Seccomp {
    Seccomp {
        default_action: default.into(),
        architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"].map(String::from).into(),
        syscalls: rules,
        ..Seccomp::default()
    }
}

#[test]
fn the_table_is_sorted_and_right_in_places() {
    assert!(syscalls::TABLE.windows(2).all(|w| w[0].0 < w[1].0));
    for (name, numbers) in [("openat", [257, 257, 295, 56, 322, 56]), ("clone3", [435; 6])] {
        assert_eq!((0..6).map(|c| number(name, c).unwrap()).collect::<Vec<_>>(), numbers);
    }
    assert_eq!((number("socketcall", 0), number("socketcall", 2), number("nonsense", 0)), (Some(-1), Some(102), None));
}

#[test]
fn each_architecture_has_its_own_numbers() {
    let f = compile(&profile("SCMP_ACT_ERRNO", vec![rule(&["read", "openat"], "SCMP_ACT_ALLOW", &[])])).unwrap();
    let run = |number, arch| run(&f.program, number, arch, [0; 6]);
    assert_eq!(run(0, X86_64), RET_ALLOW);
    assert_eq!(run(257, X86_64), RET_ALLOW);
    assert_eq!(run(1, X86_64), RET_ERRNO | 1);
    assert_eq!(run(258, X86_64), RET_ERRNO | ENOSYS, "newer than the profile");
    assert_eq!(run(3, I386), RET_ALLOW);
    assert_eq!(run(0, I386), RET_ERRNO | 1);
    assert_eq!(run(X32_BIT, X86_64), RET_ALLOW);
    assert_eq!(run(X32_BIT | 1, X86_64), RET_ERRNO | 1);
    assert_eq!(run(0, 0xc000_00b7), RET_KILL_PROCESS);
}

#[test]
fn bits_the_kernel_ignores_change_nothing() {
    let f =
        compile(&profile("SCMP_ACT_ERRNO", vec![rule(&["socket"], "SCMP_ACT_ALLOW", &[(0, 40, 0, "NE")])])).unwrap();
    for high in [0u64, 1 << 32, 0xffff_ffff << 32] {
        assert_eq!(run(&f.program, 41, X86_64, [40 | high, 0, 0, 0, 0, 0]), RET_ERRNO | 1);
        assert_eq!(run(&f.program, 41, X86_64, [2 | high, 0, 0, 0, 0, 0]), RET_ALLOW);
    }
}

#[test]
fn what_is_unknown_is_refused() {
    let ok = profile("SCMP_ACT_ALLOW", vec![]);
    for (what, bad) in [
        ("unknown action", Seccomp { default_action: "SCMP_ACT_WHAT".into(), ..ok.clone() }),
        ("architecture", Seccomp { architectures: vec!["SCMP_ARCH_VAX".into()], ..ok.clone() }),
        ("unknown flag", Seccomp { flags: vec!["SECCOMP_FILTER_FLAG_X".into()], ..ok.clone() }),
        ("unknown system call", profile("SCMP_ACT_ALLOW", vec![rule(&["nonsense"], "SCMP_ACT_ERRNO", &[])])),
        ("unknown operator", profile("SCMP_ACT_ALLOW", vec![rule(&["read"], "SCMP_ACT_ERRNO", &[(0, 0, 0, "X")])])),
        ("six", profile("SCMP_ACT_ALLOW", vec![rule(&["read"], "SCMP_ACT_ERRNO", &[(6, 0, 0, "EQ")])])),
    ] {
        let failure = compile(&bad).unwrap_err();
        assert!(failure.text.contains(what), "{what}: {}", failure.text);
    }
    assert!(compile(&profile("SCMP_ACT_ERRNO", vec![rule(&["nonsense"], "SCMP_ACT_ALLOW", &[])])).is_ok());
}

/// The profile read as its definition says: the first rule that matches.
fn naive(profile: &Seccomp, number: u32, args: [u64; 6]) -> u32 {
    for rule in &profile.syscalls {
        for name in &rule.names {
            if super::number(name, 0) != Some(number as i32) {
                continue;
            }
            let narrow = narrow_args(name);
            let one = |a: &SyscallArg| {
                let mask = if narrow & (1 << a.index) != 0 { 0xffff_ffff } else { u64::MAX };
                let (arg, value, two) = (args[a.index as usize] & mask, a.value & mask, a.value_two.unwrap() & mask);
                match a.op.trim_start_matches("SCMP_CMP_") {
                    "NE" => arg != value,
                    "LT" => arg < value,
                    "LE" => arg <= value,
                    "EQ" => arg == value,
                    "GE" => arg >= value,
                    "GT" => arg > value,
                    "MASKED_EQ" => arg & value == two,
                    other => panic!("{other}"),
                }
            };
            let indices: std::collections::BTreeSet<u32> = rule.args.iter().map(|a| a.index).collect();
            let twice = indices.len() < rule.args.len();
            if if twice { rule.args.iter().any(one) } else { rule.args.iter().all(one) } {
                return action(&rule.action, rule.errno_ret).unwrap();
            }
        }
    }
    RET_LOG
}

#[test]
fn one_of_several_values_of_an_argument_is_enough() {
    let allowed = rule(&["kill"], "SCMP_ACT_ALLOW", &[(0, 100, 0, "EQ"), (0, 9001, 0, "EQ"), (1, 9, 0, "EQ")]);
    let both = rule(&["tkill"], "SCMP_ACT_ALLOW", &[(0, 100, 0, "EQ"), (1, 9, 0, "EQ")]);
    let filter = compile(&profile("SCMP_ACT_LOG", vec![allowed, both])).unwrap();
    let of = |name: &str, args: [u64; 2]| {
        run(&filter.program, number(name, 0).unwrap() as u32, X86_64, [args[0], args[1], 0, 0, 0, 0])
    };
    for args in [[100, 0], [9001, 0], [7, 9]] {
        assert_eq!(of("kill", args), RET_ALLOW, "{args:?}");
    }
    assert_eq!(of("kill", [7, 0]), RET_LOG);
    assert_eq!((of("tkill", [100, 9]), of("tkill", [100, 0])), (RET_ALLOW, RET_LOG));
}

/// Values near each other and near the 32-bit edge, so that comparisons are close.
fn value() -> impl Strategy<Value = u64> {
    prop_oneof![0..4u64, 0xffff_fffe..0x1_0000_0002u64, any::<u64>(), (0..3u64).prop_map(|h| h << 32 | 2)]
}

fn any_rule() -> impl Strategy<Value = SyscallRule> {
    let names =
        prop::sample::subsequence(vec!["read", "write", "socket", "ioctl", "clone", "openat", "mseal", "bpf"], 1..4);
    let op = prop::sample::select(vec!["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"]);
    let args = prop::collection::vec((0..6u32, value(), value(), op), 0..4);
    let act = prop::sample::select(vec!["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_TRAP", "SCMP_ACT_KILL_PROCESS"]);
    (names, act, args).prop_map(|(names, act, args)| rule(&names, act, &args))
}

proptest! {
    #[test]
    fn the_program_decides_as_the_profile_says(
        rules in prop::collection::vec(any_rule(), 0..12),
        calls in prop::collection::vec((prop::sample::select(vec![0u32, 1, 2, 41, 16, 56, 257, 462, 321, 500]), prop::array::uniform6(value())), 20),
    ) {
        let profile = profile("SCMP_ACT_LOG", rules);
        let filter = compile(&profile).unwrap();
        for (number, args) in calls {
            prop_assert_eq!(run(&filter.program, number, X86_64, args), naive(&profile, number, args), "call {} {:?}", number, args);
        }
    }
}
