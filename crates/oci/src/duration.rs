//! Durations as Go's `time.ParseDuration` reads them: `10m`, `1h30m`, `1.5s`, `-2us`, `0`. Health checks, filters and flags
//! are written so.

/// What is wrong with one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong<'a> {
    /// No duration at all, or one of more than 292 years.
    Invalid,
    /// A number without a unit.
    NoUnit,
    /// A unit that is none.
    Unit(&'a str),
}

/// In nanoseconds.
///
/// # Errors
/// What Go would say is wrong with it.
pub fn parse(text: &str) -> Result<i64, Wrong<'_>> {
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(Wrong::Invalid);
    }
    let mut total = 0f64;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(number);
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let number: f64 = number.parse().map_err(|_| Wrong::Invalid)?;
        let scale = match unit {
            "" => return Err(Wrong::NoUnit),
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            other => return Err(Wrong::Unit(other)),
        };
        total += number * scale;
        rest = after;
    }
    if total >= i64::MAX as f64 {
        return Err(Wrong::Invalid);
    }
    Ok(if negative { -(total as i64) } else { total as i64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_reads_them() {
        for (text, ns) in [
            ("10m", Ok(600_000_000_000)),
            ("1h30m", Ok(5_400_000_000_000)),
            ("1.5s", Ok(1_500_000_000)),
            ("-2us", Ok(-2_000)),
            ("+3µs", Ok(3_000)),
            ("0", Ok(0)),
            ("5", Err(Wrong::NoUnit)),
            ("x", Err(Wrong::Invalid)),
            ("", Err(Wrong::Invalid)),
            ("-", Err(Wrong::Invalid)),
            ("1d", Err(Wrong::Unit("d"))),
            ("9999999h", Err(Wrong::Invalid)),
        ] {
            assert_eq!(parse(text), ns, "{text}");
        }
    }
}
