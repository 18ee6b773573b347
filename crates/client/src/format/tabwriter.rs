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

/// A cell: where it ends in the text, in bytes, and how wide it is, in characters; in the end the spaces after it.
struct Cell {
    end: usize,
    width: usize,
}

/// A table that is written cell by cell.
#[derive(Default)]
pub struct Table {
    text: String,
    cells: Vec<Cell>,
    lines: Vec<Range<usize>>,
}

impl Table {
    /// Adds a cell to the line.
    pub fn cell(&mut self, text: &str) {
        self.text.push_str(text);
        self.cells.push(Cell { end: self.text.len(), width: text.chars().count() });
    }

    /// Ends the line.
    pub fn end_line(&mut self) {
        let first = self.lines.last().map_or(0, |line| line.end);
        self.lines.push(first..self.cells.len());
    }

    /// The lines with their columns aligned.
    pub fn align(mut self, layout: Layout) -> String {
        block(&self.lines, &mut self.cells, 0, layout);
        let mut out = String::with_capacity(self.text.len() * 2);
        let mut start = 0;
        for line in self.lines {
            for Cell { end, width } in &self.cells[line] {
                out.push_str(&self.text[start..*end]);
                pad(&mut out, *width);
                start = *end;
            }
            out.push('\n');
        }
        out
    }
}

/// Aligns the columns of `text`.
pub fn align(text: &str, layout: Layout) -> String {
    let mut table = Table::default();
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        line.split('\t').for_each(|cell| table.cell(cell));
        table.end_line();
    }
    let mut out = table.align(layout);
    if !text.ends_with('\n') {
        out.pop();
    }
    out
}

/// Makes widths of cells the spaces after them, for one column and those that follow it. A line without that column, or with
/// nothing after it, ends a block.
fn block(lines: &[Range<usize>], cells: &mut [Cell], column: usize, layout: Layout) {
    let has = |line: &Range<usize>| column + 1 < line.len();
    for block in lines.chunk_by(|a, b| has(a) == has(b)) {
        let Range { start, end } = block[0];
        if !has(&(start..end)) {
            block.iter().filter(|line| column < line.len()).for_each(|line| cells[line.start + column].width = 0);
            continue;
        }
        let widest = block.iter().map(|line| cells[line.start + column].width).max().unwrap_or(0);
        let width = layout.min_width.max(widest + layout.padding);
        block.iter().for_each(|line| cells[line.start + column].width = width - cells[line.start + column].width);
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
