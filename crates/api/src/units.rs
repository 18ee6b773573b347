//! Sizes and durations as Docker's users write and read them.

use std::fmt;

/// Reads `64m`, `1.5GiB`, `1024`: powers of 1024, as memory is given.
///
/// # Errors
/// `invalid size: '…'`
pub fn parse_ram(text: &str) -> Result<i64, String> {
    parse(text, 1024.0)
}

/// Reads `10m`, `1.5GB`: powers of 1000, as disk space is given.
///
/// # Errors
/// `invalid size: '…'`
pub fn parse_size(text: &str) -> Result<i64, String> {
    parse(text, 1000.0)
}

fn parse(text: &str, base: f64) -> Result<i64, String> {
    let wrong = || format!("invalid size: '{text}'");
    let end = text.rfind(|c: char| c.is_ascii_digit() || c == '.').ok_or_else(wrong)? + 1;
    let (number, suffix) = text.split_at(end);
    let suffix = suffix.strip_prefix(' ').unwrap_or(suffix).to_ascii_lowercase();
    if !number.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Err(wrong());
    }
    let value: f64 = number.parse().map_err(|_| wrong())?;
    let power = match suffix.as_bytes() {
        [] | [b'b'] => 0,
        [letter] | [letter, b'b'] | [letter, b'i', b'b'] => {
            b"kmgtp".iter().position(|x| x == letter).ok_or_else(wrong)? as i32 + 1
        }
        _ => return Err(wrong()),
    };
    let bytes = value * base.powi(power);
    // 2^63 as a float: anything below converts exactly or by truncation
    if bytes >= 9_223_372_036_854_775_808.0 { Err(wrong()) } else { Ok(bytes as i64) }
}

/// `1.23MB`: four significant digits, powers of 1000. What `docker images` shows is this with three.
pub fn human_size(bytes: f64) -> String {
    human_size_with(bytes, 4)
}

/// Powers of 1000 with so many significant digits.
pub fn human_size_with(bytes: f64, digits: usize) -> String {
    scaled(bytes, 1000.0, digits, &["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"])
}

/// `1.234MiB`: four significant digits, powers of 1024.
pub fn bytes_size(bytes: f64) -> String {
    scaled(bytes, 1024.0, 4, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"])
}

fn scaled(mut value: f64, base: f64, digits: usize, units: &[&str]) -> String {
    let mut unit = 0;
    while value >= base && unit < units.len() - 1 {
        value /= base;
        unit += 1;
    }
    format!("{}{}", general(value, digits), units[unit])
}

/// C's `%.Ng`.
fn general(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let scientific = format!("{:.*e}", digits - 1, value);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |s: &str| {
        if s.contains('.') { s.trim_end_matches('0').trim_end_matches('.').to_owned() } else { s.to_owned() }
    };
    if exponent < -4 || exponent >= digits as i32 {
        format!("{}e{}{:02}", trim(mantissa), if exponent < 0 { '-' } else { '+' }, exponent.abs())
    } else {
        let decimals = usize::try_from(digits as i32 - 1 - exponent).unwrap_or(0);
        trim(&format!("{value:.decimals$}"))
    }
}

/// `About a minute`, `3 hours`, `2 weeks`: as `docker ps` speaks of ages.
pub fn human_duration(seconds: i64) -> impl fmt::Display {
    HumanDuration(seconds)
}

struct HumanDuration(i64);

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0;
        let minutes = seconds / 60;
        let hours = (seconds as f64 / 3600.0).round() as i64;
        let (number, unit) = match seconds {
            s if s < 1 => return f.write_str("Less than a second"),
            1 => return f.write_str("1 second"),
            s if s < 60 => (s, "seconds"),
            _ if minutes == 1 => return f.write_str("About a minute"),
            _ if minutes < 60 => (minutes, "minutes"),
            _ if hours == 1 => return f.write_str("About an hour"),
            _ if hours < 48 => (hours, "hours"),
            _ if hours < 24 * 7 * 2 => (hours / 24, "days"),
            _ if hours < 24 * 30 * 2 => (hours / 24 / 7, "weeks"),
            _ if hours < 24 * 365 * 2 => (hours / 24 / 30, "months"),
            s => (s / 3600 / 24 / 365, "years"),
        };
        write!(f, "{number} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read() {
        for (text, want) in [
            ("0", Some(0)),
            ("32", Some(32)),
            ("32b", Some(32)),
            ("1k", Some(1024)),
            ("1KiB", Some(1024)),
            ("1.5 m", Some(1_572_864)),
            ("4gb", Some(4 << 30)),
            ("", None),
            ("-1", None),
            ("m", None),
            ("1x", None),
            ("1kk", None),
            ("9999999p", None),
        ] {
            assert_eq!(parse_ram(text).ok(), want, "{text}");
        }
        assert_eq!(parse_size("1.5MB").unwrap(), 1_500_000);
        assert_eq!(parse_ram("x"), Err("invalid size: 'x'".into()));
    }

    #[test]
    fn sizes_shown() {
        assert_eq!(human_size(0.0), "0B");
        assert_eq!(human_size(1000.0), "1kB");
        assert_eq!(human_size_with(116_528_000.0, 3), "117MB");
        assert_eq!(human_size(1_234_567.0), "1.235MB");
        assert_eq!(human_size(999.0), "999B");
        assert_eq!(bytes_size(1_572_864.0), "1.5MiB");
        assert_eq!(bytes_size(1023.0), "1023B");
    }

    #[test]
    fn ages() {
        for (seconds, want) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5400, "2 hours"),
            (172_799, "2 days"),
            (172_800, "2 days"),
            (14 * 86400, "2 weeks"),
            (60 * 86400, "2 months"),
            (730 * 86400, "2 years"),
        ] {
            assert_eq!(human_duration(seconds).to_string(), want, "{seconds}");
        }
    }
}
