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
    let cells = || text.split('\n').map(|line| line.split('\t'));
    let mut pads = Vec::new();
    let mut lines = Vec::new();
    for line in cells() {
        let first = pads.len();
        pads.extend(line.map(|cell| cell.chars().count()));
        lines.push(first..pads.len());
    }
    block(&lines, &mut pads, 0, layout);
    let mut out = String::with_capacity(text.len() * 2);
    for (line, pads) in cells().zip(lines.into_iter().map(|line| &pads[line])) {
        for (cell, spaces) in line.zip(pads) {
            out.push_str(cell);
            pad(&mut out, *spaces);
        }
        out.push('\n');
    }
    // Lines are divided, not ended.
    out.pop();
    out
}

/// Makes lengths of cells, in characters, the spaces after them, for one column and those that follow it. A line without
/// that column, or with nothing after it, ends a block.
fn block(lines: &[Range<usize>], cells: &mut [usize], column: usize, layout: Layout) {
    let has = |line: &Range<usize>| column + 1 < line.len();
    for block in lines.chunk_by(|a, b| has(a) == has(b)) {
        let Range { start, end } = block[0];
        if !has(&(start..end)) {
            block.iter().filter(|line| column < line.len()).for_each(|line| cells[line.start + column] = 0);
            continue;
        }
        let widest = block.iter().map(|line| cells[line.start + column]).max().unwrap_or(0);
        let width = layout.min_width.max(widest + layout.padding);
        block.iter().for_each(|line| cells[line.start + column] = width - cells[line.start + column]);
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
