//! Moments as Docker's tables print them.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fmt::Write;

/// Go's `time.Unix(s, 0).String()` in the local zone: `2006-01-02 15:04:05 -0700 MST`.
pub fn local(seconds: i64) -> String {
    match Timestamp::from_second(seconds) {
        Ok(moment) => moment.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string(),
        Err(_) => seconds.to_string(),
    }
}

/// RFC 3339 in the local zone: `2006-01-02T15:04:05-07:00`.
pub fn rfc3339_local(seconds: i64) -> String {
    match Timestamp::from_second(seconds) {
        Ok(moment) => {
            let zoned = moment.to_zoned(TimeZone::system());
            match zoned.offset().is_zero() {
                true => zoned.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                false => zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
            }
        }
        Err(_) => seconds.to_string(),
    }
}

/// Nanoseconds since the epoch in the local zone with all nine digits: the form of `events`.
pub fn nanos_local(nanos: i64) -> String {
    match Timestamp::from_nanosecond(i128::from(nanos)) {
        Ok(moment) => {
            let zoned = moment.to_zoned(TimeZone::system());
            match zoned.offset().is_zero() {
                true => zoned.strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string(),
                false => zoned.strftime("%Y-%m-%dT%H:%M:%S.%9f%:z").to_string(),
            }
        }
        Err(_) => nanos.to_string(),
    }
}

/// Go's `time.ANSIC`: `Mon Jan _2 15:04:05 2006`, of an RFC 3339 moment.
pub fn ansic(rfc3339: &str) -> String {
    match rfc3339.parse::<Timestamp>() {
        Ok(moment) => moment.to_zoned(TimeZone::UTC).strftime("%a %b %e %H:%M:%S %Y").to_string(),
        Err(_) => rfc3339.to_string(),
    }
}

/// Go's `time.Time.String()`: `2006-01-02 15:04:05.999999999 -0700 MST`, of an RFC 3339 moment, in its own offset.
pub fn long(rfc3339: &str) -> String {
    let Ok(moment) = rfc3339.parse::<Timestamp>() else { return rfc3339.to_string() };
    match rfc3339.ends_with('Z') {
        true => moment.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S%.f +0000 UTC").to_string(),
        false => {
            let (date_time, offset) = rfc3339.split_at(rfc3339.len().saturating_sub(6));
            let offset = offset.replace(':', "");
            format!("{} {offset} {offset}", date_time.replace('T', " "))
        }
    }
}

/// `1m30s`: Go's `time.Duration.String()`.
pub fn duration(nanos: i64) -> String {
    let (sign, n) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    let fraction = |whole: u64, unit: u64, name: &str| {
        let digits = unit.ilog10() as usize;
        let text = format!("{}.{:0digits$}", whole / unit, whole % unit);
        format!("{sign}{}{name}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    match n {
        0 => "0s".into(),
        1..1_000 => format!("{sign}{n}ns"),
        1_000..1_000_000 => fraction(n, 1_000, "µs"),
        1_000_000..1_000_000_000 => fraction(n, 1_000_000, "ms"),
        _ => {
            let (minutes, rest) = (n / 60_000_000_000, n % 60_000_000_000);
            let seconds = fraction(rest, 1_000_000_000, "s");
            let seconds = seconds.trim_start_matches('-');
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}"),
                (0, m) => format!("{sign}{m}m{seconds}"),
                (h, m) => format!("{sign}{h}h{m}m{seconds}"),
            }
        }
    }
}

/// Seconds since the epoch of an RFC 3339 moment.
pub fn seconds(rfc3339: &str) -> Option<i64> {
    rfc3339.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

/// `3 minutes ago`
pub fn ago(seconds: i64) -> String {
    let now = Timestamp::now().as_second();
    // Long enough for all of them: a list has many.
    let mut out = String::with_capacity(32);
    let _ = write!(out, "{} ago", api::units::human_duration(now - seconds));
    out
}

/// What `--since` and `--until` mean to the daemon: seconds with nine decimals. Durations count back from now.
pub fn moment(text: &str, now: Timestamp) -> Result<String, String> {
    if let Ok(nanos) = crate::options::values::duration(text) {
        let at = now.as_nanosecond() - i128::from(nanos);
        return Ok(format!("{}.{:09}", at.div_euclid(1_000_000_000), at.rem_euclid(1_000_000_000)));
    }
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') && !text.is_empty() {
        return Ok(text.into());
    }
    let stamp = |moment: Timestamp| {
        let nanos = moment.as_nanosecond();
        format!("{}.{:09}", nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000))
    };
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(stamp(moment));
    }
    for form in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H", "%Y-%m-%d"] {
        let date_time = match form {
            "%Y-%m-%dT%H" => jiff::civil::DateTime::strptime("%Y-%m-%dT%H:%M", format!("{text}:00")),
            "%Y-%m-%d" => jiff::civil::DateTime::strptime("%Y-%m-%dT%H:%M", format!("{text}T00:00")),
            form => jiff::civil::DateTime::strptime(form, text),
        };
        if let Ok(zoned) = date_time.and_then(|d| d.to_zoned(TimeZone::system())) {
            return Ok(stamp(zoned.timestamp()));
        }
    }
    Err(format!("failed to parse value as time or duration: {}", crate::flags::quote(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let now = Timestamp::from_second(1000).unwrap();
        assert_eq!(moment("10s", now).unwrap(), "990.000000000");
        assert_eq!(moment("1234", now).unwrap(), "1234");
        assert_eq!(moment("1234.5", now).unwrap(), "1234.5");
        assert_eq!(moment("2020-01-01T00:00:00Z", now).unwrap(), "1577836800.000000000");
        assert_eq!(moment("2020-01-01T00:00:00.25+01:00", now).unwrap(), "1577833200.250000000");
        assert!(moment("yesterday", now).is_err());
        assert_eq!(long("2025-05-30T12:07:14.25Z"), "2025-05-30 12:07:14.25 +0000 UTC");
        assert_eq!(long("2025-05-30T12:07:14+02:00"), "2025-05-30 12:07:14 +0200 +0200");
        assert_eq!(long("0001-01-01T00:00:00Z"), "0001-01-01 00:00:00 +0000 UTC");
        for (nanos, want) in [
            (0, "0s"),
            (999, "999ns"),
            (1_500, "1.5µs"),
            (-2_000_000, "-2ms"),
            (30_000_000_000, "30s"),
            (90_500_000_000, "1m30.5s"),
            (3_600_000_000_000, "1h0m0s"),
        ] {
            assert_eq!(duration(nanos), want);
        }
        assert_eq!(ansic("2025-05-30T12:07:14Z"), "Fri May 30 12:07:14 2025");
    }
}
