//! Just enough of regular expressions for name filters: literals, `.`, classes, groups, `|`, `*`, `+`, `?`, `{m,n}`,
//! `^`, `$`, `\d \w \s` and escapes. It simulates all states at once, so no pattern takes longer than pattern × text.

#[derive(Debug, Clone)]
enum Step {
    /// One character for which the test holds.
    One(Test),
    Start,
    End,
    Jump(usize),
    /// Go on at both.
    Split(usize, usize),
    Match,
}

#[derive(Debug, Clone)]
enum Test {
    Any,
    Is(char),
    /// Ranges, and whether they are the ones refused.
    Class(Vec<(char, char)>, bool),
}

impl Test {
    fn holds(&self, c: char) -> bool {
        match self {
            Test::Any => c != '\n',
            Test::Is(x) => *x == c,
            Test::Class(ranges, not) => ranges.iter().any(|(a, b)| (*a..=*b).contains(&c)) != *not,
        }
    }
}

/// The longest compiled pattern: a filter comes from outside.
const MAX_STEPS: usize = 4096;
/// The deepest nesting of groups.
const MAX_DEPTH: usize = 50;

/// Whether `pattern` is found anywhere in `text`. A pattern that is not well formed is never found.
pub fn found(pattern: &str, text: &str) -> bool {
    let mut parser = Parser { input: pattern.chars().collect(), at: 0, depth: 0 };
    match parser.alternatives() {
        Some(mut steps) if parser.at == parser.input.len() => {
            steps.push(Step::Match);
            run(&steps, text)
        }
        _ => false,
    }
}

fn run(steps: &[Step], text: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    let mut now = Vec::new();
    let mut seen = vec![usize::MAX; steps.len()];
    for position in 0..=chars.len() {
        // A match may begin at every position.
        add(steps, 0, position, chars.len(), &mut now, &mut seen);
        let mut next = Vec::new();
        let mut marks = vec![usize::MAX; steps.len()];
        for &at in &now {
            match &steps[at] {
                Step::Match => return true,
                Step::One(test) if chars.get(position).is_some_and(|c| test.holds(*c)) => {
                    add(steps, at + 1, position + 1, chars.len(), &mut next, &mut marks);
                }
                _ => {}
            }
        }
        now = next;
        seen = marks;
    }
    false
}

/// Puts `at`, and all that follows it without reading a character, into the set of states.
fn add(steps: &[Step], at: usize, position: usize, end: usize, states: &mut Vec<usize>, seen: &mut [usize]) {
    let mut todo = vec![at];
    while let Some(at) = todo.pop() {
        if seen[at] == position {
            continue;
        }
        seen[at] = position;
        match &steps[at] {
            Step::Jump(to) => todo.push(*to),
            Step::Split(a, b) => todo.extend([*b, *a]),
            Step::Start if position == 0 => todo.push(at + 1),
            Step::End if position == end => todo.push(at + 1),
            Step::Start | Step::End => {}
            Step::One(_) | Step::Match => states.push(at),
        }
    }
}

struct Parser {
    input: Vec<char>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.input.get(self.at).copied()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    fn alternatives(&mut self) -> Option<Vec<Step>> {
        let mut left = self.sequence()?;
        while self.peek() == Some('|') {
            self.at += 1;
            let right = self.sequence()?;
            let mut both = vec![Step::Split(1, left.len() + 2)];
            both.extend(moved(&left, 1));
            both.push(Step::Jump(left.len() + right.len() + 2));
            both.extend(moved(&right, left.len() + 2));
            left = both;
        }
        (left.len() <= MAX_STEPS).then_some(left)
    }

    fn sequence(&mut self) -> Option<Vec<Step>> {
        let mut steps: Vec<Step> = Vec::new();
        while let Some(c) = self.peek() {
            if c == '|' || c == ')' {
                break;
            }
            let atom = self.atom()?;
            let atom = self.repeated(atom)?;
            let base = steps.len();
            steps.extend(moved(&atom, base));
            if steps.len() > MAX_STEPS {
                return None;
            }
        }
        Some(steps)
    }

    fn repeated(&mut self, atom: Vec<Step>) -> Option<Vec<Step>> {
        let (min, max) = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => match self.counts() {
                Some(counts) => counts,
                None => return Some(atom),
            },
            _ => return Some(atom),
        };
        self.at += 1;
        // A lazy mark changes what is captured, not whether it is found.
        if self.peek() == Some('?') {
            self.at += 1;
        }
        repeat(&atom, min, max)
    }

    /// `{m}`, `{m,}` or `{m,n}`; leaves the closing brace as the current character.
    fn counts(&mut self) -> Option<(usize, Option<usize>)> {
        let close = self.input[self.at..].iter().position(|c| *c == '}')? + self.at;
        let inside: String = self.input[self.at + 1..close].iter().collect();
        let counts = match inside.split_once(',') {
            None => {
                let n = inside.parse().ok()?;
                (n, Some(n))
            }
            Some((m, "")) => (m.parse().ok()?, None),
            Some((m, n)) => (m.parse().ok()?, Some(n.parse().ok()?)),
        };
        if counts.0 > 1000 || counts.1.is_some_and(|n| n > 1000 || n < counts.0) {
            return None;
        }
        self.at = close;
        Some(counts)
    }

    fn atom(&mut self) -> Option<Vec<Step>> {
        let one = |test| Some(vec![Step::One(test)]);
        match self.take()? {
            '.' => one(Test::Any),
            '^' => Some(vec![Step::Start]),
            '$' => Some(vec![Step::End]),
            '*' | '+' | '?' => None,
            '[' => one(self.class()?),
            '\\' => {
                let c = self.take()?;
                one(escape(c).map_or(Test::Is(c), |ranges| Test::Class(ranges, c.is_ascii_uppercase())))
            }
            '(' => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return None;
                }
                if self.input[self.at..].starts_with(&['?', ':']) {
                    self.at += 2;
                }
                let inside = self.alternatives()?;
                self.depth -= 1;
                (self.take()? == ')').then_some(inside)
            }
            c => one(Test::Is(c)),
        }
    }

    fn class(&mut self) -> Option<Test> {
        let not = self.peek() == Some('^');
        if not {
            self.at += 1;
        }
        let mut ranges = Vec::new();
        let first = self.at;
        loop {
            let c = self.take()?;
            if c == ']' && self.at > first + 1 {
                return Some(Test::Class(ranges, not));
            }
            let low = if c == '\\' {
                let c = self.take()?;
                if let Some(more) = escape(c).filter(|_| c.is_ascii_lowercase()) {
                    ranges.extend(more);
                    continue;
                }
                c
            } else {
                c
            };
            if self.peek() == Some('-') && self.input.get(self.at + 1).is_some_and(|c| *c != ']') {
                self.at += 1;
                let high = self.take()?;
                if high < low {
                    return None;
                }
                ranges.push((low, high));
            } else {
                ranges.push((low, low));
            }
        }
    }
}

fn escape(c: char) -> Option<Vec<(char, char)>> {
    Some(match c.to_ascii_lowercase() {
        'd' => vec![('0', '9')],
        'w' => vec![('0', '9'), ('A', 'Z'), ('a', 'z'), ('_', '_')],
        's' => vec![(' ', ' '), ('\t', '\t'), ('\n', '\n'), ('\r', '\r'), ('\x0c', '\x0c')],
        _ => return None,
    })
}

fn moved(steps: &[Step], by: usize) -> impl Iterator<Item = Step> + '_ {
    steps.iter().map(move |step| match step {
        Step::Jump(to) => Step::Jump(to + by),
        Step::Split(a, b) => Step::Split(a + by, b + by),
        other => other.clone(),
    })
}

fn repeat(atom: &[Step], min: usize, max: Option<usize>) -> Option<Vec<Step>> {
    let copies = max.unwrap_or(min + 1);
    if (atom.len() + 2) * copies > MAX_STEPS {
        return None;
    }
    let mut steps = Vec::new();
    for _ in 0..min {
        let base = steps.len();
        steps.extend(moved(atom, base));
    }
    match max {
        None => {
            let base = steps.len();
            steps.push(Step::Split(base + 1, base + atom.len() + 2));
            steps.extend(moved(atom, base + 1));
            steps.push(Step::Jump(base));
        }
        Some(max) => {
            for _ in min..max {
                let base = steps.len();
                steps.push(Step::Split(base + 1, base + atom.len() + 1));
                steps.extend(moved(atom, base + 1));
            }
        }
    }
    Some(steps)
}

#[cfg(test)]
mod tests {
    use super::found;

    #[test]
    fn finds_what_go_finds() {
        for (pattern, text, want) in [
            ("web", "myweb1", true),
            ("^web$", "web", true),
            ("^web$", "web1", false),
            ("^/web", "/web1", true),
            ("a.c", "xabcx", true),
            ("^(web|db)-[0-9]+$", "db-12", true),
            ("^(web|db)-[0-9]+$", "db-", false),
            ("^[^a-c]+$", "xyz", true),
            ("^[^a-c]+$", "xbz", false),
            ("^a{2,3}$", "aa", true),
            ("^a{2,3}$", "aaaa", false),
            (r"^\w+\.\d$", "web.1", true),
            ("x*", "", true),
            ("(", "(", false),
            ("*", "*", false),
            ("[", "[", false),
            ("a{", "a{", true),
            ("^(a*)*$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", false),
        ] {
            assert_eq!(found(pattern, text), want, "{pattern} in {text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(pattern in ".{0,30}", text in ".{0,30}") {
            found(&pattern, &text);
        }
        #[test]
        fn literals_are_substrings(a in "[a-z]{0,5}", b in "[a-z]{0,5}", c in "[a-z]{0,5}") {
            assert!(found(&b, &format!("{a}{b}{c}")));
        }
    }
}
