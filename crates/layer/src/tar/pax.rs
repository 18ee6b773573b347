//! The records of a PAX extended header: `length key=value\n` (POSIX.1-2001, pax(1)).

use super::header::{id, invalid};
use super::reader::Time;
use crate::error::Result;

/// What an extended header says of the next entry. A key that no reader gives a meaning to is skipped.
#[derive(Debug, Default)]
pub struct Records {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mtime: Option<Time>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub sparse: Sparse,
}

/// `GNU.sparse.*`, of the versions 0.0, 0.1 and 1.0.
#[derive(Debug, Default)]
pub struct Sparse {
    pub name: Option<Vec<u8>>,
    pub major: Option<u64>,
    pub minor: Option<u64>,
    /// `size` of 0.x.
    pub size: Option<u64>,
    /// `realsize` of 1.0.
    pub real_size: Option<u64>,
    pub blocks: Option<u64>,
    /// The ranges of 0.0 and 0.1, in turn offset and length.
    pub map: Option<Vec<u64>>,
}

impl Sparse {
    pub fn is_some(&self) -> bool {
        self.major.is_some()
            || self.minor.is_some()
            || self.size.is_some()
            || self.real_size.is_some()
            || self.blocks.is_some()
            || self.map.is_some()
            || self.name.is_some()
    }
}

/// Linux's own bounds (xattr(7)).
const XATTR_NAME: usize = 255;
const XATTR_VALUE: usize = 64 << 10;

impl Records {
    /// Reads a local header (`x`). `ranges` bounds the map of a sparse file.
    pub fn parse(data: &[u8], ranges: usize) -> Result<Records> {
        let mut records = Records::default();
        each(data, |key, value| records.take(key, value, ranges))?;
        let sparse = &records.sparse;
        if sparse.map.as_ref().is_some_and(|m| !m.len().is_multiple_of(2)) {
            return Err(invalid("sparse map has an offset without a length"));
        }
        Ok(records)
    }

    fn take(&mut self, key: &[u8], value: &[u8], ranges: usize) -> Result<()> {
        match key {
            b"path" => once(&mut self.path, text(value)?, key),
            b"linkpath" => once(&mut self.link, text(value)?, key),
            b"size" => once(&mut self.size, decimal(value)?, key),
            b"uid" => once(&mut self.uid, id(decimal(value)?, "uid")?, key),
            b"gid" => once(&mut self.gid, id(decimal(value)?, "gid")?, key),
            b"mtime" => once(&mut self.mtime, time(value)?, key),
            b"hdrcharset" => match value {
                b"BINARY" | b"ISO-IR 10646 2000 UTF-8" => Ok(()),
                _ => Err(invalid("names in an unknown character set")),
            },
            b"SCHILY.realsize" => Err(invalid("sparse file of the star program, which others read differently")),
            b"GNU.dumpdir" | b"GNU.volume.size" | b"GNU.volume.offset" => {
                Err(invalid("part of a dump of several volumes"))
            }
            _ => match (key.strip_prefix(b"SCHILY.xattr."), key.strip_prefix(b"GNU.sparse.")) {
                (Some(name), _) => self.xattr(name, value),
                (_, Some(key)) => self.sparse.take(key, value, ranges),
                _ => Ok(()),
            },
        }
    }

    fn xattr(&mut self, name: &[u8], value: &[u8]) -> Result<()> {
        if name.is_empty() || name.len() > XATTR_NAME || name.contains(&0) || value.len() > XATTR_VALUE {
            return Err(invalid("extended attribute has an impossible name or size"));
        }
        // One header is limited in bytes, so this stays cheap for every honest archive; the bound keeps it so for others.
        if self.xattrs.len() >= 1000 {
            return Err(invalid("more than 1000 extended attributes of one file"));
        }
        if self.xattrs.iter().any(|(known, _)| known == name) {
            return Err(invalid("extended attribute is given twice"));
        }
        self.xattrs.push((name.to_vec(), value.to_vec()));
        Ok(())
    }
}

impl Sparse {
    fn take(&mut self, key: &[u8], value: &[u8], ranges: usize) -> Result<()> {
        match key {
            b"name" => once(&mut self.name, text(value)?, key),
            b"major" => once(&mut self.major, decimal(value)?, key),
            b"minor" => once(&mut self.minor, decimal(value)?, key),
            b"size" => once(&mut self.size, decimal(value)?, key),
            b"realsize" => once(&mut self.real_size, decimal(value)?, key),
            b"numblocks" => once(&mut self.blocks, decimal(value)?, key),
            b"map" => {
                let numbers = value.split(|b| *b == b',').filter(|n| !(n.is_empty() && value.is_empty()));
                let map: Vec<u64> = numbers.take(2 * ranges + 1).map(decimal).collect::<Result<_>>()?;
                if map.len() > 2 * ranges {
                    return Err(invalid("sparse map has too many ranges"));
                }
                once(&mut self.map, map, key)
            }
            b"offset" | b"numbytes" => {
                let map = self.map.get_or_insert_default();
                if map.len() >= 2 * ranges || map.len().is_multiple_of(2) != (key == b"offset") {
                    return Err(invalid("sparse map is malformed"));
                }
                map.push(decimal(value)?);
                Ok(())
            }
            _ => Err(invalid("sparse file in an unknown form")),
        }
    }
}

/// Reads a global header (`g`): allowed, because git and others leave a comment there, if it changes no entry. Readers
/// differ on whether its values count.
pub fn global(data: &[u8]) -> Result<()> {
    each(data, |key, _| match key {
        b"path" | b"linkpath" | b"size" | b"uid" | b"gid" | b"mtime" | b"hdrcharset" => {
            Err(invalid(format!("global header sets {}", String::from_utf8_lossy(key))))
        }
        _ if key.starts_with(b"SCHILY.") || key.starts_with(b"GNU.") => {
            Err(invalid("global header sets attributes of every file"))
        }
        _ => Ok(()),
    })
}

fn each<'d>(mut data: &'d [u8], mut take: impl FnMut(&'d [u8], &'d [u8]) -> Result<()>) -> Result<()> {
    let malformed = || invalid("extended header is malformed");
    while !data.is_empty() {
        // The length counts itself; 20 digits are more than any that fits.
        let digits = data.iter().take(20).position(|b| *b == b' ').ok_or_else(malformed)?;
        let (number, _) = data.split_at(digits);
        if number.first() == Some(&b'0') {
            return Err(malformed());
        }
        let len = usize::try_from(decimal(number).map_err(|_| malformed())?).map_err(|_| malformed())?;
        let record = data.get(digits + 1..len).ok_or_else(malformed)?;
        let (last, record) = record.split_last().ok_or_else(malformed)?;
        let equals = record.iter().position(|b| *b == b'=').ok_or_else(malformed)?;
        let (key, value) = (record.get(..equals).unwrap_or_default(), record.get(equals + 1..).unwrap_or_default());
        if *last != b'\n' || key.is_empty() || key.contains(&0) || key.contains(&b'\n') {
            return Err(malformed());
        }
        take(key, value)?;
        data = data.get(len..).ok_or_else(malformed)?;
    }
    Ok(())
}

fn once<T>(slot: &mut Option<T>, value: T, key: &[u8]) -> Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(invalid(format!("extended header gives {} twice", String::from_utf8_lossy(key)))),
    }
}

fn text(value: &[u8]) -> Result<Vec<u8>> {
    if value.is_empty() || value.contains(&0) {
        return Err(invalid("extended header has an empty name, or one with a NUL"));
    }
    Ok(value.to_vec())
}

/// Digits only.
pub fn decimal(text: &[u8]) -> Result<u64> {
    let mut value = 0u64;
    for digit in text {
        let next = match digit {
            b'0'..=b'9' => value.checked_mul(10).and_then(|v| v.checked_add(u64::from(digit - b'0'))),
            _ => None,
        };
        value = next.ok_or_else(|| invalid("extended header has a malformed number"))?;
    }
    // The kernel's sizes are signed.
    if text.is_empty() || value > i64::MAX as u64 {
        return Err(invalid("extended header has a malformed number"));
    }
    Ok(value)
}

/// `[-]seconds[.fraction]`; digits below a nanosecond are dropped, towards the past.
fn time(value: &[u8]) -> Result<Time> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let mut parts = value.splitn(2, |b| *b == b'.');
    let whole = decimal(parts.next().unwrap_or_default())? as i64;
    let mut nanos = 0u32;
    if let Some(fraction) = parts.next() {
        let bad = || invalid("extended header has a malformed time");
        if fraction.len() > 64 || !fraction.iter().all(u8::is_ascii_digit) {
            return Err(bad());
        }
        for place in 0..9 {
            nanos = nanos * 10 + u32::from(fraction.get(place).map_or(0, |d| d - b'0'));
        }
        let more = fraction.iter().skip(9).any(|d| *d != b'0');
        if negative && more {
            nanos += 1;
        }
    }
    Ok(match (negative, nanos) {
        (false, _) => Time { secs: whole, nanos },
        (true, 0) => Time { secs: -whole, nanos: 0 },
        (true, 1_000_000_000) => Time { secs: -whole - 1, nanos: 0 },
        (true, _) => Time { secs: -whole - 1, nanos: 1_000_000_000 - nanos },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        let data = b"12 path=a/b\n22 mtime=1350244992.5\n30 SCHILY.xattr.user.x=1\n2=\n3\n";
        let r = Records::parse(data, 10).unwrap();
        assert_eq!(r.path.as_deref(), Some(&b"a/b"[..]));
        assert_eq!(r.mtime, Some(Time { secs: 1350244992, nanos: 500_000_000 }));
        assert_eq!(r.xattrs, [(b"user.x".to_vec(), b"1\n2=\n3".to_vec())]);
        for bad in [
            &b"12 path=a/b"[..],
            b"13 path=a/b\n",
            b"11 path=a/b\n",
            b"012 path=a/b\n",
            b"+12 path=a/b\n",
            b"-12 path=a/b\n",
            b" 12 path=a/b\n",
            b"0 path=a/b\n",
            b"12 path=a/b\n12 path=a/c\n",
            b"10 path=\n\0",
            b"9 path=\n",
            b"12 path:a/b\n",
            b"6 =ab\n",
            b"99999999999999999999 path=a/b\n",
            b"10 size=-1\n",
            b"10 size= 1\n",
            b"9 size=\n",
            b"14 uid=429496729\n",
            b"18 uid=4294967295\n",
            b"12 path=a\0b\n",
        ] {
            assert!(Records::parse(bad, 10).is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn times_round_towards_the_past() {
        assert_eq!(time(b"-1.5").unwrap(), Time { secs: -2, nanos: 500_000_000 });
        assert_eq!(time(b"-1").unwrap(), Time { secs: -1, nanos: 0 });
        assert_eq!(time(b"-0.0000000001").unwrap(), Time { secs: -1, nanos: 999_999_999 });
        assert_eq!(time(b"1.0000000019").unwrap(), Time { secs: 1, nanos: 1 });
        assert_eq!(time(b"1.").unwrap(), Time { secs: 1, nanos: 0 });
        assert!(time(b"1.5e3").is_err());
        assert!(time(b"--1").is_err());
        assert!(time(b"").is_err());
    }
}
