//! Tokens to a tree. Error texts are Go's: people search the web for them.

use crate::Error;
use crate::funcs;
use crate::lex::{LexError, Tok, Token, lex};
use crate::tree::{Branch, Command, Kind, List, Node, Operand, Pipe};
use std::collections::HashMap;

/// The main tree and the named ones.
pub fn parse(name: &str, text: &str) -> Result<(List, HashMap<String, List>), Error> {
    let (tokens, lex_error) = lex(text);
    let mut parser = Parser {
        name,
        text,
        tokens,
        at: 0,
        lex_error,
        variables: vec!["$".into()],
        ranges: 0,
        depth: 0,
        defined: HashMap::new(),
    };
    let mut main = List::new();
    loop {
        match parser.node(true)? {
            Parsed::Node(node) => main.push(node),
            Parsed::Nothing => {}
            Parsed::Eof => return Ok((main, parser.defined)),
            Parsed::End => return Err(parser.error("unexpected {{end}}")),
            Parsed::Else => return Err(parser.error("unexpected {{else}}")),
        }
    }
}

/// A Go number: an integer (decimal, hex, octal, binary, with underscores) or a float.
pub fn number(text: &str) -> Option<Kind> {
    let digits = text.trim_start_matches(['+', '-']);
    if text.len() - digits.len() > 1 || digits.is_empty() {
        return None;
    }
    let negative = text.starts_with('-');
    let lower = digits.to_ascii_lowercase().replace('_', "");
    let (radix, body) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', rest @ ..] if !rest.is_empty() && rest.iter().all(u8::is_ascii_digit) => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if let Ok(value) = i128::from_str_radix(body, radix) {
        let value = i64::try_from(if negative { -value } else { value }).ok()?;
        return Some(Kind::Int(value, text.into()));
    }
    if radix != 10 || !lower.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let value: f64 = lower.parse().ok()?;
    let value = if negative { -value } else { value };
    // a float constant that is a whole number serves as an integer too, as in Go
    Some(Kind::Float(value, text.into()))
}

enum Parsed {
    Node(Node),
    Nothing,
    End,
    /// `{{else}}`: the token after the keyword has not been read.
    Else,
    Eof,
}

struct Parser<'a> {
    name: &'a str,
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
    lex_error: Option<LexError>,
    variables: Vec<String>,
    ranges: usize,
    depth: usize,
    defined: HashMap<String, List>,
}

/// Deeper nesting than any person writes; a limit so that hostile templates cannot exhaust the stack.
const MAX_DEPTH: usize = 200;

impl Parser<'_> {
    fn line(&self, pos: usize) -> usize {
        1 + self.text.as_bytes()[..pos.min(self.text.len())].iter().filter(|b| **b == b'\n').count()
    }

    fn error(&self, message: impl std::fmt::Display) -> Error {
        let pos = self.tokens.get(self.at.saturating_sub(1)).map_or(self.text.len(), |t| t.pos);
        Error(format!("template: {}:{}: {message}", self.name, self.line(pos)))
    }

    /// The next token, or the lexer's error when the tokens run out early.
    fn next(&mut self) -> Result<Token, Error> {
        match self.tokens.get(self.at) {
            Some(token) => {
                self.at += 1;
                Ok(token.clone())
            }
            None => match &self.lex_error {
                Some((pos, message)) => Err(Error(format!("template: {}:{}: {message}", self.name, self.line(*pos)))),
                None => Ok(Token { pos: self.text.len(), kind: Tok::Eof }),
            },
        }
    }

    fn back(&mut self) {
        self.at = self.at.saturating_sub(1);
    }

    fn next_non_space(&mut self) -> Result<Token, Error> {
        loop {
            let token = self.next()?;
            if token.kind != Tok::Space {
                return Ok(token);
            }
        }
    }

    fn peek_non_space(&mut self) -> Result<Token, Error> {
        let token = self.next_non_space()?;
        self.back();
        Ok(token)
    }

    fn expect(&mut self, kind: Tok, context: &str) -> Result<Token, Error> {
        let token = self.next_non_space()?;
        if token.kind != kind { Err(self.unexpected(&token, context)) } else { Ok(token) }
    }

    fn unexpected(&self, token: &Token, context: &str) -> Error {
        self.error(format!("unexpected {} in {context}", token.kind.show()))
    }

    fn enter(&mut self) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(self.error("template nested too deeply")) } else { Ok(()) }
    }

    fn node(&mut self, top: bool) -> Result<Parsed, Error> {
        let token = self.next()?;
        match token.kind {
            Tok::Text(text) => Ok(Parsed::Node(Node::Text(text))),
            Tok::Eof => Ok(Parsed::Eof),
            Tok::Left => self.action(top),
            _ => Err(self.unexpected(&token, "input")),
        }
    }

    fn action(&mut self, top: bool) -> Result<Parsed, Error> {
        let token = self.next_non_space()?;
        let Tok::Keyword(word) = &token.kind else {
            self.back();
            let pipe = self.pipeline("command", Tok::Right)?;
            return Ok(Parsed::Node(Node::Action(pipe)));
        };
        match word.as_str() {
            "if" => Ok(Parsed::Node(Node::If(self.branch("if")?))),
            "with" => Ok(Parsed::Node(Node::With(self.branch("with")?))),
            "range" => Ok(Parsed::Node(Node::Range(self.branch("range")?))),
            "end" => {
                self.expect(Tok::Right, "end")?;
                Ok(Parsed::End)
            }
            "else" => Ok(Parsed::Else),
            "break" | "continue" => {
                let word = word.clone();
                let next = self.next_non_space()?;
                if next.kind != Tok::Right {
                    return Err(self.unexpected(&next, &format!("{{{{{word}}}}}")));
                }
                if self.ranges == 0 {
                    return Err(self.error(format!("{{{{{word}}}}} outside {{{{range}}}}")));
                }
                Ok(Parsed::Node(if word == "break" { Node::Break } else { Node::Continue }))
            }
            "template" => self.template(),
            "block" => self.block(token.pos),
            "define" if top => self.define(),
            _ => Err(self.unexpected(&token, "command")),
        }
    }

    fn template_name(&mut self, context: &str) -> Result<String, Error> {
        let token = self.next_non_space()?;
        match token.kind {
            Tok::Str(value, _) => Ok(value),
            _ => Err(self.unexpected(&token, context)),
        }
    }

    fn template(&mut self) -> Result<Parsed, Error> {
        let name_at = self.peek_non_space()?.pos;
        let name = self.template_name("template clause")?;
        let pipe = if self.peek_non_space()?.kind == Tok::Right {
            self.next_non_space()?;
            None
        } else {
            Some(self.pipeline("template clause", Tok::Right)?)
        };
        Ok(Parsed::Node(Node::Template { pos: name_at, name, pipe }))
    }

    fn block(&mut self, pos: usize) -> Result<Parsed, Error> {
        let name = self.template_name("block clause")?;
        let pipe = self.pipeline("block clause", Tok::Right)?;
        let list = self.separate_body()?;
        self.defined.entry(name.clone()).or_insert(list);
        Ok(Parsed::Node(Node::Template { pos, name, pipe: Some(pipe) }))
    }

    fn define(&mut self) -> Result<Parsed, Error> {
        let name = self.template_name("define clause")?;
        self.expect(Tok::Right, "define clause")?;
        let list = self.separate_body()?;
        self.defined.insert(name, list);
        Ok(Parsed::Nothing)
    }

    /// The body of a `define` or `block`: a tree with variables of its own.
    fn separate_body(&mut self) -> Result<List, Error> {
        self.enter()?;
        let variables = std::mem::replace(&mut self.variables, vec!["$".into()]);
        let ranges = std::mem::take(&mut self.ranges);
        let (list, ended_by_else) = self.list()?;
        if ended_by_else {
            return Err(self.error("unexpected {{else}} in define clause"));
        }
        self.variables = variables;
        self.ranges = ranges;
        self.depth -= 1;
        Ok(list)
    }

    /// Nodes up to `{{end}}` or `{{else`; true for the latter.
    fn list(&mut self) -> Result<(List, bool), Error> {
        let mut list = List::new();
        loop {
            match self.node(false)? {
                Parsed::Node(node) => list.push(node),
                Parsed::Nothing => {}
                Parsed::End => return Ok((list, false)),
                Parsed::Else => return Ok((list, true)),
                Parsed::Eof => return Err(self.error("unexpected EOF")),
            }
        }
    }

    fn branch(&mut self, context: &str) -> Result<Branch, Error> {
        self.enter()?;
        let mark = self.variables.len();
        let pipe = self.pipeline(context, Tok::Right)?;
        if context == "range" {
            self.ranges += 1;
        }
        let (list, other) = self.list()?;
        if context == "range" {
            self.ranges -= 1;
        }
        let otherwise = match other {
            false => None,
            true => Some(self.otherwise(context)?),
        };
        self.variables.truncate(mark);
        self.depth -= 1;
        Ok(Branch { pipe, list, otherwise })
    }

    /// What follows `{{else`: `}}`, ` if …}}` or ` with …}}`.
    fn otherwise(&mut self, context: &str) -> Result<List, Error> {
        let token = self.next_non_space()?;
        match &token.kind {
            Tok::Keyword(word) if word == context && context != "range" => {
                let branch = self.branch(context)?;
                Ok(vec![if context == "if" { Node::If(branch) } else { Node::With(branch) }])
            }
            Tok::Right => {
                let (list, other) = self.list()?;
                if other {
                    return Err(self.error("expected end; found {{else}}"));
                }
                Ok(list)
            }
            _ => Err(self.unexpected(&token, "else")),
        }
    }

    fn pipeline(&mut self, context: &str, end: Tok) -> Result<Pipe, Error> {
        self.enter()?;
        let pos = self.peek_non_space()?.pos;
        let mut pipe = Pipe { pos, variables: Vec::new(), assigns: false, commands: Vec::new() };
        self.declarations(context, &mut pipe)?;
        loop {
            let token = self.next_non_space()?;
            if token.kind == end {
                self.check_pipeline(&pipe, context)?;
                self.depth -= 1;
                return Ok(pipe);
            }
            match token.kind {
                Tok::Right | Tok::RightParen => return Err(self.unexpected(&token, context)),
                Tok::Bool(_)
                | Tok::Char(..)
                | Tok::Dot
                | Tok::Field(_)
                | Tok::Ident(_)
                | Tok::Number(_)
                | Tok::Nil
                | Tok::Str(..)
                | Tok::Variable(_)
                | Tok::LeftParen => {
                    self.back();
                    let command = self.command()?;
                    pipe.commands.push(command);
                }
                _ => return Err(self.unexpected(&token, context)),
            }
        }
    }

    /// `$x :=`, `$x =`, `$i, $x :=`
    fn declarations(&mut self, context: &str, pipe: &mut Pipe) -> Result<(), Error> {
        let start = self.at;
        let mut names = Vec::new();
        loop {
            let token = self.next_non_space()?;
            let Tok::Variable(name) = token.kind else {
                self.at = start;
                return Ok(());
            };
            names.push(name);
            let next = self.next_non_space()?;
            match next.kind {
                Tok::Declare | Tok::Assign => {
                    pipe.assigns = next.kind == Tok::Assign;
                    if !pipe.assigns {
                        self.variables.extend(names.iter().cloned());
                    }
                    pipe.variables = names;
                    return Ok(());
                }
                Tok::Comma if context == "range" && names.len() < 2 => {}
                Tok::Comma => return Err(self.error(format!("too many declarations in {context}"))),
                _ => {
                    self.at = start;
                    return Ok(());
                }
            }
        }
    }

    fn check_pipeline(&self, pipe: &Pipe, context: &str) -> Result<(), Error> {
        if pipe.commands.is_empty() {
            return Err(self.error(format!("missing value for {context}")));
        }
        for (i, command) in pipe.commands.iter().enumerate().skip(1) {
            if let Some(first) = command.operands.first()
                && matches!(
                    first.kind,
                    Kind::Bool(_) | Kind::Dot | Kind::Nil | Kind::Int(..) | Kind::Float(..) | Kind::Text(..)
                )
            {
                return Err(self.error(format!("non executable command in pipeline stage {}", i + 1)));
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Result<Command, Error> {
        let mut command = Command { operands: Vec::new() };
        loop {
            self.peek_non_space()?;
            while self.tokens.get(self.at).is_some_and(|t| t.kind == Tok::Space) {
                self.at += 1;
            }
            if let Some(operand) = self.operand()? {
                command.operands.push(operand);
            }
            let token = self.next()?;
            match token.kind {
                Tok::Space => continue,
                Tok::Right | Tok::RightParen => self.back(),
                Tok::Pipe => {}
                _ => return Err(self.unexpected(&token, "operand")),
            }
            break;
        }
        if command.operands.is_empty() {
            return Err(self.error("empty command"));
        }
        Ok(command)
    }

    fn operand(&mut self) -> Result<Option<Operand>, Error> {
        let Some(mut operand) = self.term()? else { return Ok(None) };
        let mut names = Vec::new();
        let after = self.tokens.get(self.at).map_or(operand.pos, |t| t.pos);
        while let Some(Token { kind: Tok::Field(name), .. }) = self.tokens.get(self.at) {
            names.push(name.clone());
            self.at += 1;
        }
        if names.is_empty() {
            return Ok(Some(operand));
        }
        // Go places a chain at its first dot after the term
        operand.pos = after;
        match &mut operand.kind {
            Kind::Field(fields) | Kind::Variable(_, fields) => fields.extend(names),
            Kind::Bool(_) | Kind::Text(..) | Kind::Int(..) | Kind::Float(..) | Kind::Nil | Kind::Dot => {
                return Err(self.error(format!("unexpected . after term {:?}", operand.to_string())));
            }
            _ => {
                let pos = after;
                operand = Operand { pos, kind: Kind::Chain(Box::new(operand), names) };
            }
        }
        Ok(Some(operand))
    }

    fn term(&mut self) -> Result<Option<Operand>, Error> {
        let token = self.next_non_space()?;
        let pos = token.pos;
        let kind = match token.kind {
            Tok::Ident(name) => {
                if !funcs::exists(&name) {
                    return Err(self.error(format!("function {name:?} not defined")));
                }
                Kind::Function(name)
            }
            Tok::Dot => Kind::Dot,
            Tok::Nil => Kind::Nil,
            Tok::Bool(b) => Kind::Bool(b),
            Tok::Char(value, written) => Kind::Int(value, written),
            Tok::Str(value, written) => Kind::Text(value, written),
            Tok::Field(name) => Kind::Field(vec![name]),
            Tok::Variable(name) => {
                if !self.variables.contains(&name) {
                    return Err(self.error(format!("undefined variable {name:?}")));
                }
                Kind::Variable(name, Vec::new())
            }
            Tok::Number(text) => number(&text).ok_or_else(|| self.error(format!("bad number syntax: {text:?}")))?,
            Tok::LeftParen => Kind::Pipe(Box::new(self.pipeline("parenthesized pipeline", Tok::RightParen)?)),
            _ => {
                self.back();
                return Ok(None);
            }
        };
        Ok(Some(Operand { pos, kind }))
    }
}
