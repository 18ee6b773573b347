//! The maps of sparse files: which ranges of the file the archive holds, in four encodings.

use super::header::{self, BLOCK, invalid};
use super::pax;
use crate::error::Result;

/// Offset and length of each range with data, ascending and apart.
pub type Ranges = Vec<(u64, u64)>;

/// Refuses a map that is not ascending, does not lie within `size`, or does not add up to `stored` bytes.
pub fn verify(ranges: Ranges, size: u64, stored: u64) -> Result<Ranges> {
    let mut end = 0u64;
    let mut sum = 0u64;
    for (offset, len) in &ranges {
        let next = offset.checked_add(*len).filter(|next| *next <= size && *offset >= end);
        end = next.ok_or_else(|| invalid("sparse map has ranges that overlap or leave the file"))?;
        sum += len;
    }
    if sum != stored {
        return Err(invalid("sparse map does not add up to the stored size"));
    }
    Ok(ranges)
}

/// The pairs of a map given as one list of numbers.
pub fn pairs(numbers: &[u64]) -> Ranges {
    numbers.chunks_exact(2).filter_map(|pair| Some((*pair.first()?, *pair.get(1)?))).collect()
}

/// Adds the 24-byte ranges of one GNU header. Returns whether the map has ended.
pub fn gnu(fields: &[u8], ranges: &mut Ranges, most: usize) -> Result<bool> {
    let mut ended = false;
    for field in fields.chunks_exact(24) {
        if header::is_zero(field) {
            ended = true;
            continue;
        }
        let (offset, len) = field.split_at(12);
        // An empty field ends the map for one reader and is a 0 for another.
        if ended || offset.first() == Some(&0) || len.first() == Some(&0) {
            return Err(invalid("sparse map is malformed"));
        }
        let (Some(offset), Some(len)) = (header::number(offset), header::number(len)) else {
            return Err(invalid("sparse map is malformed"));
        };
        if ranges.len() >= most {
            return Err(invalid("sparse map has too many ranges"));
        }
        ranges.push((offset, len));
    }
    Ok(ended)
}

/// Reads a map of version 1.0, which stands before the data in blocks of its own: decimal numbers, a newline after each.
/// `next` gives a block.
pub fn version_1(most: usize, mut next: impl FnMut() -> Result<[u8; BLOCK]>) -> Result<Ranges> {
    let mut numbers: Vec<u64> = Vec::new();
    let mut want: Option<usize> = None;
    let mut digits: Vec<u8> = Vec::new();
    while want.is_none_or(|want| numbers.len() < want) {
        for byte in next()? {
            if want.is_some_and(|want| numbers.len() >= want) {
                if byte != 0 {
                    return Err(invalid("sparse map is followed by something else"));
                }
                continue;
            }
            if byte != b'\n' {
                if digits.len() >= 20 {
                    return Err(invalid("sparse map is malformed"));
                }
                digits.push(byte);
                continue;
            }
            let number = pax::decimal(&digits)?;
            digits.clear();
            if want.is_some() {
                numbers.push(number);
                continue;
            }
            let count = usize::try_from(number).ok().filter(|count| *count <= most);
            want = Some(2 * count.ok_or_else(|| invalid("sparse map has too many ranges"))?);
        }
    }
    Ok(pairs(&numbers))
}
