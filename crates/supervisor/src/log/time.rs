//! RFC 3339 in UTC with nanoseconds, as Go writes it.

const SECOND: i64 = 1_000_000_000;

/// Nanoseconds since the epoch, now.
pub fn now_ns() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    now.tv_sec * SECOND + now.tv_nsec
}

/// Days since 1970-01-01 → year, month, day of the proleptic Gregorian calendar.
fn civil(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted + 2) / 5 + 1) as u32;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Year, month, day → days since 1970-01-01.
fn days(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted = i64::from(if month > 2 { month - 3 } else { month + 9 });
    let day_of_year = (153 * shifted + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Writes times; remembers the last second it wrote.
#[derive(Debug, Default)]
pub struct Formatter {
    second: Option<i64>,
    text: [u8; 20],
}

impl Formatter {
    /// Appends `2026-11-21T05:41:00` and leaves fraction and zone to the caller.
    fn prefix(&mut self, second: i64, out: &mut Vec<u8>) {
        if self.second != Some(second) {
            let (year, month, day) = civil(second.div_euclid(86_400));
            let rest = second.rem_euclid(86_400) as u32;
            let mut text = *b"0000-00-00T00:00:00.";
            let mut put = |at: usize, digits: usize, mut value: u32| {
                for i in (at..at + digits).rev() {
                    text[i] = b'0' + (value % 10) as u8;
                    value /= 10;
                }
            };
            put(0, 4, year.clamp(0, 9999) as u32);
            put(5, 2, month);
            put(8, 2, day);
            put(11, 2, rest / 3600);
            put(14, 2, rest / 60 % 60);
            put(17, 2, rest % 60);
            self.text = text;
            self.second = Some(second);
        }
        out.extend_from_slice(&self.text[..19]);
    }

    /// Appends the time with a fraction without trailing zeros (Go's `RFC3339Nano`): the form in the file.
    pub fn short(&mut self, ns: i64, out: &mut Vec<u8>) {
        self.prefix(ns.div_euclid(SECOND), out);
        let fraction = ns.rem_euclid(SECOND) as u32;
        if fraction != 0 {
            let digits = fraction_digits(fraction);
            let length = 10 - digits.iter().rev().take_while(|d| **d == b'0').count();
            out.extend_from_slice(&digits[..length]);
        }
        out.push(b'Z');
    }

    /// Appends the time with all nine digits of its fraction: the form of `logs --timestamps`.
    pub fn fixed(&mut self, ns: i64, out: &mut Vec<u8>) {
        self.prefix(ns.div_euclid(SECOND), out);
        out.extend_from_slice(&fraction_digits(ns.rem_euclid(SECOND) as u32));
        out.push(b'Z');
    }
}

/// `.123456789`
fn fraction_digits(mut fraction: u32) -> [u8; 10] {
    let mut digits = *b".000000000";
    for digit in digits[1..].iter_mut().rev() {
        *digit = b'0' + (fraction % 10) as u8;
        fraction /= 10;
    }
    digits
}

/// Reads an RFC 3339 time, with `Z` or a numeric offset; `None` when it is not one.
pub fn parse(text: &[u8]) -> Option<i64> {
    let number = |from: usize, to: usize| -> Option<u32> {
        let mut value = 0u32;
        for &byte in text.get(from..to)? {
            if !byte.is_ascii_digit() {
                return None;
            }
            value = value * 10 + u32::from(byte - b'0');
        }
        Some(value)
    };
    let punctuation = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if punctuation.iter().any(|(at, byte)| text.get(*at) != Some(byte)) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut seconds = days(i64::from(year), month, day) * 86_400 + i64::from(hour * 3600 + minute * 60 + second);
    let mut at = 19;
    let mut fraction = 0i64;
    if text.get(at) == Some(&b'.') {
        let digits = text[at + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 || digits > 9 {
            return None;
        }
        fraction = i64::from(number(at + 1, at + 1 + digits)?) * 10i64.pow(9 - digits as u32);
        at += 1 + digits;
    }
    match text.get(at)? {
        b'Z' if text.len() == at + 1 => {}
        sign @ (b'+' | b'-') if text.len() == at + 6 && text[at + 3] == b':' => {
            let offset = i64::from(number(at + 1, at + 3)? * 3600 + number(at + 4, at + 6)? * 60);
            seconds += if *sign == b'-' { offset } else { -offset };
        }
        _ => return None,
    }
    seconds.checked_mul(SECOND)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(ns: i64) -> String {
        let mut out = Vec::new();
        Formatter::default().short(ns, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn writes_as_go_does() {
        assert_eq!(short(0), "1970-01-01T00:00:00Z");
        assert_eq!(short(1_795_239_660_123_456_789), "2026-11-21T05:41:00.123456789Z");
        assert_eq!(short(1_795_239_660_120_000_000), "2026-11-21T05:41:00.12Z");
        assert_eq!(short(951_782_400_000_000_001), "2000-02-29T00:00:00.000000001Z");
        let mut out = Vec::new();
        Formatter::default().fixed(1_795_239_660_120_000_000, &mut out);
        assert_eq!(out, b"2026-11-21T05:41:00.120000000Z");
    }

    #[test]
    fn reads_offsets_and_refuses_nonsense() {
        assert_eq!(parse(b"2026-11-21T05:41:00.12Z"), Some(1_795_239_660_120_000_000));
        assert_eq!(parse(b"2026-11-21T07:41:00.12+02:00"), Some(1_795_239_660_120_000_000));
        for bad in ["", "2026-11-21", "2026-13-21T05:41:00Z", "2026-11-21T05:41:00", "2026-11-21T05:41:00.Z"] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn round_trip(ns in 0i64..i64::MAX) {
            proptest::prop_assert_eq!(parse(short(ns).as_bytes()), Some(ns));
        }
    }
}
