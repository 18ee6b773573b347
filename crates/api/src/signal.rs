//! Signal names as Docker takes them: `KILL`, `SIGKILL`, `kill`, `9`, `RTMIN+3`.

/// Names and numbers on x86 and ARM Linux.
pub const NAMES: [(&str, i32); 36] = [
    ("ABRT", 6),
    ("ALRM", 14),
    ("BUS", 7),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("FPE", 8),
    ("HUP", 1),
    ("ILL", 4),
    ("INT", 2),
    ("IO", 29),
    ("IOT", 6),
    ("KILL", 9),
    ("PIPE", 13),
    ("POLL", 29),
    ("PROF", 27),
    ("PWR", 30),
    ("QUIT", 3),
    ("SEGV", 11),
    ("STKFLT", 16),
    ("STOP", 19),
    ("SYS", 31),
    ("TERM", 15),
    ("TRAP", 5),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("USR1", 10),
    ("USR2", 12),
    ("VTALRM", 26),
    ("WINCH", 28),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("RTMIN", 34),
    ("RTMAX", 64),
];

/// The number of a signal by name or number.
///
/// # Errors
/// `invalid signal: X`
pub fn parse(text: &str) -> Result<i32, String> {
    let wrong = || format!("invalid signal: {text}");
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=64).contains(&number) { Ok(number) } else { Err(wrong()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = NAMES.iter().find(|(n, _)| *n == name) {
        return Ok(*number);
    }
    let offset = |n: &str| n.parse::<i32>().ok().filter(|n| (1..=15).contains(n));
    if let Some(n) = name.strip_prefix("RTMIN+").and_then(offset) {
        return Ok(34 + n);
    }
    if let Some(n) = name.strip_prefix("RTMAX-").and_then(offset).filter(|n| *n <= 14) {
        return Ok(64 - n);
    }
    Err(wrong())
}

/// The name without `SIG`, if it has one.
pub fn name(number: i32) -> Option<&'static str> {
    NAMES.iter().find(|(name, n)| *n == number && !["CLD", "IOT", "POLL"].contains(name)).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_and_numbers() {
        for (text, want) in [
            ("KILL", Ok(9)),
            ("sigkill", Ok(9)),
            ("9", Ok(9)),
            ("RTMIN+3", Ok(37)),
            ("SIGRTMAX-1", Ok(63)),
            ("0", Err("invalid signal: 0".into())),
            ("65", Err("invalid signal: 65".into())),
            ("-1", Err("invalid signal: -1".into())),
            ("", Err("invalid signal: ".into())),
            ("NOPE", Err("invalid signal: NOPE".into())),
        ] {
            assert_eq!(super::parse(text), want, "{text}");
        }
        assert_eq!(super::name(6), Some("ABRT"));
    }
}
