//! Go's `text/tabwriter`, as Docker's tables use it: cells end with a tab, columns are blocks of adjacent lines.

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
    let lines: Vec<Vec<&str>> = text.split('\n').map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|cells| vec![0; cells.len()]).collect();
    block(&lines, &mut widths, 0, lines.len(), 0, layout);
    let mut out = String::with_capacity(text.len() * 2);
    for (i, cells) in lines.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        for (column, cell) in cells.iter().enumerate() {
            out.push_str(cell);
            if column + 1 < cells.len() {
                let width = widths[i][column];
                out.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
            }
        }
    }
    out
}

/// Sets the widths of a column for lines `from..to`; a line without that column ends a block.
fn block(lines: &[Vec<&str>], widths: &mut [Vec<usize>], from: usize, to: usize, column: usize, layout: Layout) {
    let mut i = from;
    while i < to {
        if column + 1 >= lines[i].len() {
            i += 1;
            continue;
        }
        let begin = i;
        let mut width = layout.min_width;
        while i < to && column + 1 < lines[i].len() {
            let cell = lines[i][column].chars().count();
            width = width.max(cell + layout.padding);
            i += 1;
        }
        for line in widths.iter_mut().take(i).skip(begin) {
            line[column] = width;
        }
        block(lines, widths, begin, i, column + 1, layout);
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
