//! A tree and a value to text.

use crate::fmt::{display, quote};
use crate::funcs::Failure;
use crate::tree::{Branch, Command, Kind, List, Node, Operand, Pipe};
use crate::value::{Map, Shape, Value};
use crate::{Error, Template, funcs};

/// Go's own limit on templates that call templates is 100 000; ours keeps the stack small.
const MAX_CALLS: usize = 400;

pub fn execute(template: &Template, data: &Value) -> Result<String, Error> {
    let mut run = Run {
        template,
        out: String::new(),
        variables: vec![("$".into(), data.clone())],
        current: template.name.clone(),
        calls: 0,
    };
    let Some(main) = template.trees.get(&template.name) else { return Ok(String::new()) };
    run.list(data, main)?;
    Ok(run.out)
}

enum Flow {
    On,
    Break,
    Continue,
}

struct Run<'a> {
    template: &'a Template,
    out: String,
    variables: Vec<(String, Value)>,
    current: String,
    calls: usize,
}

impl<'a> Run<'a> {
    /// Go's `template: name:line:column: executing "name" at <node>: message`.
    fn error(&self, pos: usize, node: &dyn std::fmt::Display, message: impl std::fmt::Display) -> Error {
        let before = &self.template.text.as_bytes()[..pos.min(self.template.text.len())];
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        let column = match before.iter().rposition(|b| *b == b'\n') {
            Some(newline) => pos - newline - 1,
            None => pos,
        };
        let (name, current) = (&self.template.name, quote(&self.current, false));
        Error(format!("template: {name}:{line}:{column}: executing {current} at <{node}>: {message}"))
    }

    fn list(&mut self, dot: &Value, list: &'a List) -> Result<Flow, Error> {
        for node in list {
            let flow = match node {
                Node::Text(text) => {
                    self.out.push_str(text);
                    Flow::On
                }
                Node::Action(pipe) => {
                    let value = self.pipe(dot, pipe)?;
                    if pipe.variables.is_empty() {
                        if matches!(value, Value::Func(_)) {
                            return Err(self.error(pipe.pos, pipe, "can't print func() of type func()"));
                        }
                        self.out.push_str(&display(&value));
                    }
                    Flow::On
                }
                Node::If(branch) => self.branch(dot, branch, false)?,
                Node::With(branch) => self.branch(dot, branch, true)?,
                Node::Range(branch) => {
                    self.range(dot, branch)?;
                    Flow::On
                }
                Node::Template { pos, name, pipe } => {
                    self.call_template(dot, *pos, name, pipe.as_ref())?;
                    Flow::On
                }
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if !matches!(flow, Flow::On) {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn branch(&mut self, dot: &Value, branch: &'a Branch, rebinds: bool) -> Result<Flow, Error> {
        let mark = self.variables.len();
        let value = self.pipe(dot, &branch.pipe)?;
        let flow = if value.truth() {
            self.list(if rebinds { &value } else { dot }, &branch.list)
        } else if let Some(otherwise) = &branch.otherwise {
            self.list(dot, otherwise)
        } else {
            Ok(Flow::On)
        };
        self.variables.truncate(mark);
        flow
    }

    fn range(&mut self, dot: &Value, branch: &'a Branch) -> Result<(), Error> {
        let mark = self.variables.len();
        // the variables of a range are set for each element, not to the whole
        let value = self.pipe_value(dot, &branch.pipe)?;
        let items: Vec<(Value, Value)> = match value.pointed() {
            Value::List(items) => items.iter().enumerate().map(|(i, v)| (Value::Int(i as i64), v.clone())).collect(),
            Value::Map(map) if !map.is_struct() => {
                let mut sorted: Vec<&(String, Value)> = map.entries.iter().collect();
                sorted.sort_by(|a, b| a.0.cmp(&b.0));
                sorted.into_iter().map(|(k, v)| (Value::str(k.as_str()), v.clone())).collect()
            }
            Value::NilList | Value::NilMap | Value::Nil => Vec::new(),
            Value::Int(n) => (0..*n).take(1 << 20).map(|i| (Value::Int(i), Value::Int(i))).collect(),
            other => {
                let message = format!("range can't iterate over {}", display(other));
                return Err(self.error(branch.pipe.pos, &branch.pipe, message));
            }
        };
        if items.is_empty() {
            if let Some(otherwise) = &branch.otherwise {
                self.list(dot, otherwise)?;
            }
            self.variables.truncate(mark);
            return Ok(());
        }
        let inner = self.variables.len();
        for (key, item) in items {
            let names = &branch.pipe.variables;
            let bound: Vec<(&String, Value)> = match names.as_slice() {
                [one] => vec![(one, item.clone())],
                [first, second] => vec![(first, key), (second, item.clone())],
                _ => Vec::new(),
            };
            for (name, value) in bound {
                match branch.pipe.assigns {
                    true => self.assign(name, value),
                    false => self.variables.push((name.clone(), value)),
                }
            }
            let flow = self.list(&item, &branch.list)?;
            self.variables.truncate(inner);
            if matches!(flow, Flow::Break) {
                break;
            }
        }
        self.variables.truncate(mark);
        Ok(())
    }

    fn call_template(&mut self, dot: &Value, pos: usize, name: &str, pipe: Option<&'a Pipe>) -> Result<(), Error> {
        let argument = pipe.map(|p| format!(" {p}")).unwrap_or_default();
        let shown = format!("{{{{template {}{argument}}}}}", quote(name, false));
        let Some(tree) = self.template.trees.get(name) else {
            return Err(self.error(pos, &shown, format!("template {} not defined", quote(name, false))));
        };
        if self.calls == MAX_CALLS {
            return Err(self.error(pos, &shown, format!("exceeded maximum template depth ({MAX_CALLS})")));
        }
        let data = match pipe {
            Some(pipe) => self.pipe(dot, pipe)?,
            None => Value::Nil,
        };
        let variables = std::mem::replace(&mut self.variables, vec![("$".into(), data.clone())]);
        let current = std::mem::replace(&mut self.current, name.into());
        self.calls += 1;
        self.list(&data, tree)?;
        self.calls -= 1;
        self.variables = variables;
        self.current = current;
        Ok(())
    }

    fn assign(&mut self, name: &str, value: Value) {
        if let Some(variable) = self.variables.iter_mut().rev().find(|(n, _)| n == name) {
            variable.1 = value;
        }
    }

    fn pipe(&mut self, dot: &Value, pipe: &'a Pipe) -> Result<Value, Error> {
        let value = self.pipe_value(dot, pipe)?;
        for name in &pipe.variables {
            match pipe.assigns {
                true if !self.variables.iter().any(|(n, _)| n == name) => {
                    let at = pipe.commands.last().and_then(|c| c.operands.first());
                    return Err(match at {
                        Some(operand) => self.error(operand.pos, operand, format!("undefined variable: {name}")),
                        None => self.error(pipe.pos, pipe, format!("undefined variable: {name}")),
                    });
                }
                true => self.assign(name, value.clone()),
                false => self.variables.push((name.clone(), value.clone())),
            }
        }
        Ok(value)
    }

    fn pipe_value(&mut self, dot: &Value, pipe: &'a Pipe) -> Result<Value, Error> {
        let mut last = None;
        for command in &pipe.commands {
            last = Some(self.command(dot, command, last.take())?);
        }
        Ok(last.unwrap_or(Value::Nil))
    }

    fn command(&mut self, dot: &Value, command: &'a Command, last: Option<Value>) -> Result<Value, Error> {
        let Some((first, rest)) = command.operands.split_first() else { return Ok(Value::Nil) };
        match &first.kind {
            Kind::Function(name) => self.function(dot, first, name, rest, last, command),
            Kind::Field(names) => self.fields(dot, dot.clone(), first, names, rest, last),
            Kind::Variable(name, names) => {
                let value = self.variable(name);
                if names.is_empty() {
                    self.no_arguments(first, rest, &last)?;
                }
                self.fields(dot, value, first, names, rest, last)
            }
            Kind::Chain(base, names) => {
                let value = self.operand(dot, base)?;
                self.fields(dot, value, first, names, rest, last)
            }
            Kind::Nil => Err(self.error(first.pos, first, "nil is not a command")),
            _ => {
                self.no_arguments(first, rest, &last)?;
                self.operand(dot, first)
            }
        }
    }

    fn no_arguments(&self, first: &Operand, rest: &[Operand], last: &Option<Value>) -> Result<(), Error> {
        if rest.is_empty() && last.is_none() {
            return Ok(());
        }
        Err(self.error(first.pos, first, format!("can't give argument to non-function {first}")))
    }

    fn variable(&self, name: &str) -> Value {
        self.variables.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.clone()).unwrap_or_default()
    }

    /// An operand that stands for a value: an argument.
    fn operand(&mut self, dot: &Value, operand: &'a Operand) -> Result<Value, Error> {
        match &operand.kind {
            Kind::Dot => Ok(dot.clone()),
            Kind::Nil => Ok(Value::Nil),
            Kind::Bool(b) => Ok(Value::Bool(*b)),
            Kind::Int(i, _) => Ok(Value::Int(*i)),
            Kind::Float(f, _) => Ok(Value::Float(*f)),
            Kind::Text(text, _) => Ok(Value::str(text.as_str())),
            Kind::Field(names) => self.fields(dot, dot.clone(), operand, names, &[], None),
            Kind::Variable(name, names) => {
                let value = self.variable(name);
                self.fields(dot, value, operand, names, &[], None)
            }
            Kind::Function(name) => self.function(dot, operand, name, &[], None, operand),
            Kind::Pipe(pipe) => self.pipe(dot, pipe),
            Kind::Chain(base, names) => {
                let value = self.operand(dot, base)?;
                self.fields(dot, value, operand, names, &[], None)
            }
        }
    }

    fn function(
        &mut self,
        dot: &Value,
        first: &'a Operand,
        name: &str,
        rest: &'a [Operand],
        last: Option<Value>,
        whole: &dyn std::fmt::Display,
    ) -> Result<Value, Error> {
        if matches!(name, "and" | "or") {
            return self.and_or(dot, first, name, rest, last);
        }
        let mut args = Vec::with_capacity(rest.len() + 1);
        for operand in rest {
            args.push(self.operand(dot, operand)?);
        }
        args.extend(last);
        funcs::call(name, &args, self.template.functions).map_err(|failure| match failure {
            Failure::Called(message) => self.error(first.pos, whole, format!("error calling {name}: {message}")),
            Failure::Arity(sentence) => self.error(first.pos, first, sentence),
            Failure::Argument(i, sentence) => {
                let at = rest.get(i).unwrap_or(first);
                self.error(at.pos, at, sentence)
            }
        })
    }

    fn and_or(
        &mut self,
        dot: &Value,
        first: &'a Operand,
        name: &str,
        rest: &'a [Operand],
        last: Option<Value>,
    ) -> Result<Value, Error> {
        if rest.is_empty() && last.is_none() {
            return Err(self.error(
                first.pos,
                first,
                format!("wrong number of args for {name}: want at least 1 got 0"),
            ));
        }
        let mut value = Value::Nil;
        for operand in rest {
            value = self.operand(dot, operand)?;
            if value.truth() == (name == "or") {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }

    /// `.A.B` applied to a value; only the last name may be a method with arguments.
    fn fields(
        &mut self,
        dot: &Value,
        mut value: Value,
        node: &'a Operand,
        names: &'a [String],
        rest: &'a [Operand],
        last: Option<Value>,
    ) -> Result<Value, Error> {
        // what comes out of a map[string]any is an interface to Go, whatever it holds
        let mut interface = false;
        for (i, name) in names.iter().enumerate() {
            let found = self.field(&value, node, name, interface)?;
            interface = matches!(value.pointed(), Value::Map(m) if m.shape == Shape::Any);
            let is_last = i + 1 == names.len();
            value = match found {
                Value::Func(f) => {
                    let mut args = Vec::new();
                    if is_last {
                        for operand in rest {
                            args.push(self.operand(dot, operand)?);
                        }
                        args.extend(last.clone());
                    }
                    (f.0)(&args)
                        .map_err(|message| self.error(node.pos, node, format!("error calling {name}: {message}")))?
                }
                other => {
                    if is_last && (!rest.is_empty() || last.is_some()) {
                        let message = format!("{name} is not a method but has arguments");
                        return Err(self.error(node.pos, node, message));
                    }
                    other
                }
            };
        }
        Ok(value)
    }

    fn field(&self, value: &Value, node: &Operand, name: &str, interface: bool) -> Result<Value, Error> {
        match value.pointed() {
            Value::Map(map) => match (map.get(name), &map.shape) {
                (Some(found), _) => Ok(found.clone()),
                (None, Shape::Struct(_) | Shape::Row(_)) => {
                    let kind = value.type_name();
                    Err(self.error(node.pos, node, format!("can't evaluate field {name} in type {kind}")))
                }
                (None, _) if self.template.missing_key_is_error => {
                    Err(self.error(node.pos, node, format!("map has no entry for key {}", quote(name, false))))
                }
                (None, _) => Ok(Value::Nil),
            },
            Value::NilMap if self.template.missing_key_is_error => {
                Err(self.error(node.pos, node, format!("map has no entry for key {}", quote(name, false))))
            }
            Value::NilMap => Ok(Value::Nil),
            Value::Nil if self.template.missing_key_is_error => {
                Err(self.error(node.pos, node, format!("nil data; no entry for key {}", quote(name, false))))
            }
            Value::Nil => Ok(Value::Nil),
            Value::NilPointer => Err(self.error(node.pos, node, format!("nil pointer evaluating *struct {{}}.{name}"))),
            other => {
                let kind = if interface { "interface {}".into() } else { other.type_name() };
                Err(self.error(node.pos, node, format!("can't evaluate field {name} in type {kind}")))
            }
        }
    }
}

impl Map {
    /// Whether it is a struct.
    pub fn is_struct(&self) -> bool {
        matches!(self.shape, Shape::Struct(_) | Shape::Row(_))
    }
}
