//! Template text to tokens.

/// A token and the byte offset where it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// Where it begins.
    pub pos: usize,
    /// What it is.
    pub kind: Tok,
}

/// The kinds of tokens.
#[derive(Clone, Debug, PartialEq)]
pub enum Tok {
    /// Text outside actions.
    Text(String),
    /// `{{`
    Left,
    /// `}}`
    Right,
    /// White space that separates arguments.
    Space,
    /// `.Name`
    Field(String),
    /// `$name`
    Variable(String),
    /// `name`
    Ident(String),
    /// A keyword such as `if`.
    Keyword(String),
    /// `true` or `false`
    Bool(bool),
    /// `nil`
    Nil,
    /// `.`
    Dot,
    /// `"…"` (value, as written)
    Str(String, String),
    /// `'x'` (value, as written)
    Char(i64, String),
    /// A number as written.
    Number(String),
    /// `|`
    Pipe,
    /// `:=`
    Declare,
    /// `=`
    Assign,
    /// `(`
    LeftParen,
    /// `)`
    RightParen,
    /// `,`
    Comma,
    /// A character that means nothing here.
    Other(char),
    /// The end of the text.
    Eof,
}

impl Tok {
    /// The token as error texts quote it.
    pub fn show(&self) -> String {
        match self {
            Tok::Eof => "EOF".into(),
            Tok::Keyword(k) => format!("<{k}>"),
            Tok::Dot => "<.>".into(),
            Tok::Nil => "<nil>".into(),
            other => {
                let text = other.written();
                let mut chars = text.chars();
                let head: String = chars.by_ref().take(10).collect();
                if chars.next().is_some() { format!("{head:?}...") } else { format!("{head:?}") }
            }
        }
    }

    fn written(&self) -> String {
        match self {
            Tok::Text(t) | Tok::Ident(t) | Tok::Keyword(t) | Tok::Variable(t) | Tok::Number(t) => t.clone(),
            Tok::Str(_, t) | Tok::Char(_, t) => t.clone(),
            Tok::Field(name) => format!(".{name}"),
            Tok::Left => "{{".into(),
            Tok::Right => "}}".into(),
            Tok::Space => " ".into(),
            Tok::Bool(b) => b.to_string(),
            Tok::Nil => "nil".into(),
            Tok::Dot => ".".into(),
            Tok::Pipe => "|".into(),
            Tok::Declare => ":=".into(),
            Tok::Assign => "=".into(),
            Tok::LeftParen => "(".into(),
            Tok::RightParen => ")".into(),
            Tok::Comma => ",".into(),
            Tok::Other(c) => c.to_string(),
            Tok::Eof => String::new(),
        }
    }
}

const KEYWORDS: [&str; 10] = ["block", "break", "continue", "define", "else", "end", "if", "range", "template", "with"];

/// A lexical error: the offset where it was noticed and Go's words for it.
pub type LexError = (usize, String);

/// All tokens of `text`. After an error the tokens so far are given too: the parser may fail earlier.
pub fn lex(text: &str) -> (Vec<Token>, Option<LexError>) {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new(), parens: 0 };
    let error = lexer.run().err();
    (lexer.tokens, error)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Token>,
    parens: usize,
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn push(&mut self, pos: usize, kind: Tok) {
        self.tokens.push(Token { pos, kind });
    }

    fn run(&mut self) -> Result<(), LexError> {
        loop {
            let start = self.at;
            let Some(found) = self.rest().find("{{") else {
                if !self.rest().is_empty() {
                    let text = self.rest().to_string();
                    self.push(start, Tok::Text(text));
                }
                self.at = self.text.len();
                self.push(self.at, Tok::Eof);
                return Ok(());
            };
            let mut text = &self.text[start..start + found];
            self.at = start + found + 2;
            let trims = self.rest().starts_with('-') && self.rest()[1..].starts_with(is_space);
            if trims {
                text = text.trim_end_matches(is_space);
            }
            if !text.is_empty() {
                self.push(start, Tok::Text(text.to_string()));
            }
            let left = start + found;
            if trims {
                self.at += 2;
            }
            if self.rest().starts_with("/*") {
                self.comment(left)?;
            } else {
                self.push(left, Tok::Left);
                self.parens = 0;
                self.action(left)?;
            }
        }
    }

    fn comment(&mut self, left: usize) -> Result<(), LexError> {
        let Some(end) = self.rest().find("*/") else { return Err((left, "unclosed comment".into())) };
        self.at += end + 2;
        match self.right_delimiter() {
            Some((length, trims)) => self.close(length, trims),
            None => return Err((left, "comment ends before closing delimiter".into())),
        }
        Ok(())
    }

    /// The length of a right delimiter here, and whether it trims.
    fn right_delimiter(&self) -> Option<(usize, bool)> {
        let rest = self.rest();
        if rest.starts_with("}}") {
            return Some((2, false));
        }
        let mut chars = rest.chars();
        let space = chars.next().is_some_and(is_space);
        (space && rest[1..].starts_with("-}}")).then_some((4, true))
    }

    fn close(&mut self, length: usize, trims: bool) {
        self.at += length;
        if trims {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start_matches(is_space).len();
        }
    }

    fn action(&mut self, left: usize) -> Result<(), LexError> {
        loop {
            let pos = self.at;
            if let Some((length, trims)) = self.right_delimiter() {
                if self.parens > 0 {
                    return Err((pos, "unclosed left paren".into()));
                }
                self.push(pos, Tok::Right);
                self.close(length, trims);
                return Ok(());
            }
            let Some(c) = self.rest().chars().next() else { return Err((left, "unclosed action".into())) };
            match c {
                c if is_space(c) => self.spaces(pos),
                '=' => self.one(pos, Tok::Assign),
                ':' => {
                    if !self.rest().starts_with(":=") {
                        return Err((pos, "expected :=".into()));
                    }
                    self.at += 2;
                    self.push(pos, Tok::Declare);
                }
                '|' => self.one(pos, Tok::Pipe),
                ',' => self.one(pos, Tok::Comma),
                '"' => self.quoted(pos)?,
                '`' => self.raw(pos)?,
                '\'' => self.character(pos)?,
                '$' => {
                    let name = self.word_after(1);
                    self.at += 1 + name.len();
                    self.terminated(pos)?;
                    self.push(pos, Tok::Variable(format!("${name}")));
                }
                '.' if !self.rest()[1..].starts_with(|c: char| c.is_ascii_digit()) => self.field(pos)?,
                '+' | '-' | '.' | '0'..='9' => self.number(pos)?,
                c if is_word(c) => self.word(pos)?,
                '(' => {
                    self.parens += 1;
                    self.one(pos, Tok::LeftParen);
                }
                ')' => {
                    if self.parens == 0 {
                        return Err((pos, "unexpected right paren".into()));
                    }
                    self.parens -= 1;
                    self.one(pos, Tok::RightParen);
                }
                c if c.is_ascii_graphic() => self.one(pos, Tok::Other(c)),
                c => return Err((pos, format!("unrecognized character in action: U+{:04X} {c:?}", c as u32))),
            }
        }
    }

    fn one(&mut self, pos: usize, kind: Tok) {
        self.at += 1;
        self.push(pos, kind);
    }

    fn spaces(&mut self, pos: usize) {
        while self.rest().starts_with(is_space) {
            // the space of ` -}}` belongs to the delimiter
            if self.rest()[1..].starts_with("-}}") {
                if self.at > pos {
                    self.push(pos, Tok::Space);
                }
                return;
            }
            self.at += 1;
        }
        self.push(pos, Tok::Space);
    }

    fn word_after(&self, skip: usize) -> String {
        self.rest()[skip..].chars().take_while(|c| is_word(*c)).collect()
    }

    /// Fields, variables and identifiers must be followed by something that ends them.
    fn terminated(&self, pos: usize) -> Result<(), LexError> {
        match self.rest().chars().next() {
            None => Ok(()),
            Some(c) if is_space(c) || matches!(c, '.' | ',' | '|' | ':' | ')' | '(') => Ok(()),
            Some(_) if self.rest().starts_with("}}") => Ok(()),
            Some(c) => Err((pos, format!("bad character U+{:04X} '{c}'", c as u32))),
        }
    }

    fn field(&mut self, pos: usize) -> Result<(), LexError> {
        let name = self.word_after(1);
        self.at += 1 + name.len();
        self.terminated(pos)?;
        self.push(pos, if name.is_empty() { Tok::Dot } else { Tok::Field(name) });
        Ok(())
    }

    fn word(&mut self, pos: usize) -> Result<(), LexError> {
        let name = self.word_after(0);
        self.at += name.len();
        self.terminated(pos)?;
        let kind = match name.as_str() {
            "true" => Tok::Bool(true),
            "false" => Tok::Bool(false),
            "nil" => Tok::Nil,
            word if KEYWORDS.contains(&word) => Tok::Keyword(name),
            _ => Tok::Ident(name),
        };
        self.push(pos, kind);
        Ok(())
    }

    fn number(&mut self, pos: usize) -> Result<(), LexError> {
        let rest = self.rest();
        let hex = rest.trim_start_matches(['+', '-']).to_ascii_lowercase().starts_with("0x");
        let mut end = 0;
        let mut previous = ' ';
        for (i, c) in rest.char_indices() {
            let exponent = matches!(previous, 'e' | 'E' | 'p' | 'P') && !(hex && matches!(previous, 'e' | 'E'));
            let belongs = is_word(c) || c == '.' || (matches!(c, '+' | '-') && (i == 0 || exponent));
            if !belongs {
                break;
            }
            end = i + c.len_utf8();
            previous = c;
        }
        let text = rest[..end].to_string();
        self.at += end;
        if crate::parse::number(&text).is_none() {
            return Err((pos, format!("bad number syntax: {text:?}")));
        }
        self.push(pos, Tok::Number(text));
        Ok(())
    }

    fn quoted(&mut self, pos: usize) -> Result<(), LexError> {
        let mut escaped = false;
        for (i, c) in self.rest().char_indices().skip(1) {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => {
                    let written = self.rest()[..=i].to_string();
                    let Some(value) = unquote(&written[1..i]) else { return Err((pos, "invalid syntax".into())) };
                    self.at += i + 1;
                    self.push(pos, Tok::Str(value, written));
                    return Ok(());
                }
                _ => {}
            }
        }
        Err((pos, "unterminated quoted string".into()))
    }

    fn raw(&mut self, pos: usize) -> Result<(), LexError> {
        let Some(end) = self.rest()[1..].find('`') else { return Err((pos, "unterminated raw quoted string".into())) };
        let written = self.rest()[..end + 2].to_string();
        self.at += end + 2;
        self.push(pos, Tok::Str(written[1..=end].replace('\r', ""), written));
        Ok(())
    }

    fn character(&mut self, pos: usize) -> Result<(), LexError> {
        let mut escaped = false;
        for (i, c) in self.rest().char_indices().skip(1) {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '\'' => {
                    let written = self.rest()[..=i].to_string();
                    let inner = written[1..i].replace("\\'", "'");
                    let value = unquote(&inner).unwrap_or_default();
                    let mut chars = value.chars();
                    let (Some(c), None) = (chars.next(), chars.next()) else {
                        return Err((pos, format!("malformed character constant: {written}")));
                    };
                    self.at += i + 1;
                    self.push(pos, Tok::Char(c as i64, written));
                    return Ok(());
                }
                _ => {}
            }
        }
        Err((pos, "unterminated character constant".into()))
    }
}

/// The value of a Go string literal without its quotes.
fn unquote(inner: &str) -> Option<String> {
    let mut bytes: Vec<u8> = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    let mut buffer = [0u8; 4];
    while let Some(c) = chars.next() {
        if c != '\\' {
            bytes.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
            continue;
        }
        let letter = chars.next()?;
        let number = |digits: usize, chars: &mut std::str::Chars<'_>| {
            let text: String = chars.take(digits).collect();
            (text.len() == digits).then(|| u32::from_str_radix(&text, 16).ok()).flatten()
        };
        let simple = match letter {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'v' => 11,
            '\\' | '"' | '\'' => letter as u8,
            'x' => number(2, &mut chars)? as u8,
            '0'..='7' => {
                let rest: String = chars.by_ref().take(2).collect();
                u8::try_from(u32::from_str_radix(&format!("{letter}{rest}"), 8).ok()?).ok()?
            }
            'u' | 'U' => {
                let c = char::from_u32(number(if letter == 'u' { 4 } else { 8 }, &mut chars)?)?;
                bytes.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
                continue;
            }
            _ => return None,
        };
        bytes.push(simple);
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
