//! Go's `text/template`, as far as `--format` reaches it.
//!
//! A person writes `docker ps --format '{{.ID}} {{upper .Image}}'` and expects what Go prints. This room parses and
//! executes such a template over a [`Value`], which knows the differences that Go's reflection makes visible:
//! a struct is not a map, a missing key of a `map[string]string` is an empty string under `index`, nil slices are `[]`.
//!
//! ```text
//! src/
//!   value.rs   the values a template sees, and how JSON becomes one
//!   json.rs    values as JSON, escaped and ordered as Go's encoder does
//!   lex.rs     text -> tokens
//!   parse.rs   tokens -> tree, with Go's error texts
//!   tree.rs    the tree
//!   exec.rs    tree + value -> text
//!   funcs.rs   builtin functions and those Docker adds
//!   fmt.rs     Go's fmt: verbs, flags and default formats
//! ```
//!
//! Invariants: execution is pure; a template cannot loop forever (it only ranges over finite values, and the depth of
//! `template` calls is limited); no input makes it panic.
//! It must never know: Docker's objects, the API, terminals.

mod exec;
mod fmt;
mod funcs;
mod json;
mod lex;
mod parse;
mod tree;
mod value;

pub use fmt::display;
pub use funcs::Functions;
pub use json::{indent, to_json};
pub use value::{Call, Function, Map, NUMBER, Scalar, Shape, Tag, Value};

use std::collections::HashMap;
use std::rc::Rc;

/// What went wrong, in Go's words (`template: :1:2: executing "" at <.X>: …`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(pub String);

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// A parsed template, ready to be executed any number of times.
#[derive(Clone, Debug)]
pub struct Template {
    name: String,
    text: Rc<str>,
    trees: Rc<HashMap<String, tree::List>>,
    functions: Functions,
    missing_key_is_error: bool,
}

impl Template {
    /// Parses `text` as an anonymous template with Docker's functions.
    pub fn parse(text: &str) -> Result<Template, Error> {
        Template::parse_named("", text)
    }

    /// The same for a template that errors call by a name.
    pub fn parse_named(name: &str, text: &str) -> Result<Template, Error> {
        let (main, mut trees) = parse::parse(name, text)?;
        trees.insert(name.to_string(), main);
        Ok(Template {
            name: name.to_string(),
            text: text.into(),
            trees: Rc::new(trees),
            functions: Functions::Docker,
            missing_key_is_error: false,
        })
    }

    /// The same template with other meanings of the functions.
    pub fn with_functions(mut self, functions: Functions) -> Template {
        self.functions = functions;
        self
    }

    /// The same template, failing on a key that a map does not have (Go's `missingkey=error`).
    pub fn missing_key_error(mut self) -> Template {
        self.missing_key_is_error = true;
        self
    }

    /// Executes the template with `data` as the dot.
    pub fn execute(&self, data: &Value) -> Result<String, Error> {
        exec::execute(self, data)
    }
}

#[cfg(test)]
mod tests;
