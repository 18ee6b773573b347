//! The tree of a parsed template. Positions are byte offsets into the template's text.

/// A sequence of nodes.
pub type List = Vec<Node>;

/// A piece of a template.
#[derive(Clone, Debug)]
pub enum Node {
    /// Text between actions.
    Text(String),
    /// `{{pipeline}}`
    Action(Pipe),
    /// `{{if}}`
    If(Branch),
    /// `{{range}}`
    Range(Branch),
    /// `{{with}}`
    With(Branch),
    /// `{{template "name" pipeline}}`
    Template {
        /// Where it stands.
        pos: usize,
        /// Which template.
        name: String,
        /// Its dot.
        pipe: Option<Pipe>,
    },
    /// `{{break}}`
    Break,
    /// `{{continue}}`
    Continue,
}

/// What `if`, `range` and `with` have in common.
#[derive(Clone, Debug)]
pub struct Branch {
    /// The condition or the range.
    pub pipe: Pipe,
    /// Done when it is not empty.
    pub list: List,
    /// Done when it is.
    pub otherwise: Option<List>,
}

/// `$a, $b := cmd | cmd`
#[derive(Clone, Debug)]
pub struct Pipe {
    /// Where it stands.
    pub pos: usize,
    /// Variables that get the result.
    pub variables: Vec<String>,
    /// `=` rather than `:=`.
    pub assigns: bool,
    /// What is run, each result the last argument of the next.
    pub commands: Vec<Command>,
}

/// An operand with its arguments.
#[derive(Clone, Debug)]
pub struct Command {
    /// Operands; the first is called when there are more.
    pub operands: Vec<Operand>,
}

/// An operand and where it stands.
#[derive(Clone, Debug)]
pub struct Operand {
    /// Where it stands.
    pub pos: usize,
    /// What it is.
    pub kind: Kind,
}

/// The kinds of operands.
#[derive(Clone, Debug)]
pub enum Kind {
    /// `.`
    Dot,
    /// `nil`
    Nil,
    /// `true`
    Bool(bool),
    /// `1`, `'x'`
    Int(i64, String),
    /// `1.5`
    Float(f64, String),
    /// `"text"` (value, as written)
    Text(String, String),
    /// `.A.B`
    Field(Vec<String>),
    /// `$x.A` (the name with its `$`, fields)
    Variable(String, Vec<String>),
    /// `printf`
    Function(String),
    /// `(pipeline)`
    Pipe(Box<Pipe>),
    /// `(pipeline).A.B`
    Chain(Box<Operand>, Vec<String>),
}

impl std::fmt::Display for Operand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fields = |f: &mut std::fmt::Formatter<'_>, names: &[String]| -> std::fmt::Result {
            names.iter().try_for_each(|name| write!(f, ".{name}"))
        };
        match &self.kind {
            Kind::Dot => f.write_str("."),
            Kind::Nil => f.write_str("nil"),
            Kind::Bool(b) => write!(f, "{b}"),
            Kind::Int(_, text) | Kind::Float(_, text) | Kind::Text(_, text) => f.write_str(text),
            Kind::Field(names) => fields(f, names),
            Kind::Variable(name, names) => {
                f.write_str(name)?;
                fields(f, names)
            }
            Kind::Function(name) => f.write_str(name),
            Kind::Pipe(pipe) => write!(f, "({pipe})"),
            Kind::Chain(base, names) => {
                write!(f, "{base}")?;
                fields(f, names)
            }
        }
    }
}

impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, operand) in self.operands.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{operand}")?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Pipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.variables.is_empty() {
            write!(f, "{} {} ", self.variables.join(", "), if self.assigns { "=" } else { ":=" })?;
        }
        for (i, command) in self.commands.iter().enumerate() {
            if i > 0 {
                f.write_str(" | ")?;
            }
            write!(f, "{command}")?;
        }
        Ok(())
    }
}
