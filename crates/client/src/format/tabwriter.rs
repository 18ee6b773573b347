//! Go's `text/tabwriter`, as Docker's tables use it: cells end with a tab, columns are blocks of adjacent lines.

use std::ops::Range;

/// How cells are padded.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Narrowest column.
    pub min_width: usize,
    /// Spaces after the widest cell.
    pub padding: usize,
}

/// The layout of lists.
pub const LIST: Layout = Layout { min_width: 10, padding: 3 };

/// Aligns the columns of `text`.
pub fn align(text: &str, layout: Layout) -> String {
    let count = |wanted: &[u8]| text.bytes().filter(|b| wanted.contains(b)).count() + 1;
    let mut cells = Vec::with_capacity(count(b"\t\n"));
    let mut lines = Vec::with_capacity(count(b"\n"));
    for line in text.split('\n') {
        let first = cells.len();
        cells.extend(line.split('\t').map(|text| Cell { text, length: text.chars().count(), width: 0 }));
        lines.push(first..cells.len());
    }
    block(&lines, &mut cells, 0, layout);
    let mut out = String::with_capacity(text.len() * 2);
    for (i, line) in lines.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        for cell in &cells[line.clone()] {
            out.push_str(cell.text);
            pad(&mut out, cell.width.saturating_sub(cell.length));
        }
    }
    out
}

struct Cell<'t> {
    text: &'t str,
    /// In characters.
    length: usize,
    /// Of its column; 0 for the last cell of a line, which ends with no tab.
    width: usize,
}

/// Sets the widths of a column and of those that follow it; a line without that column ends a block.
fn block(lines: &[Range<usize>], cells: &mut [Cell<'_>], column: usize, layout: Layout) {
    let has = |line: &Range<usize>| column + 1 < line.len();
    for block in lines.chunk_by(|a, b| has(a) && has(b)).filter(|block| has(&block[0])) {
        let widest = block.iter().map(|line| cells[line.start + column].length).max().unwrap_or(0);
        for line in block {
            cells[line.start + column].width = layout.min_width.max(widest + layout.padding);
        }
        self::block(block, cells, column + 1, layout);
    }
}

fn pad(out: &mut String, mut spaces: usize) {
    const SPACES: &str = "                                                                ";
    while spaces > 0 {
        let some = spaces.min(SPACES.len());
        out.push_str(&SPACES[..some]);
        spaces -= some;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns() {
        assert_eq!(
            align("A\tB\tC\naaaaaaaaaaaa\tb\tc\n", LIST),
            "A              B         C\naaaaaaaaaaaa   b         c\n"
        );
        assert_eq!(align("ü\tx\n", LIST), "ü         x\n");
        let tight = Layout { min_width: 1, padding: 1 };
        assert_eq!(align("a\tb\nx\nccc\td\n", tight), "a b\nx\nccc d\n");
    }
}
