//! `--format`: tables, JSON and templates over rows.
//!
//! ```text
//! format/tabwriter.rs   columns        format/time.rs   moments
//! format/ports.rs       PORTS of ps    format/typed.rs  answers as Go's structs, which
//!                                                        format/go_types.txt lists
//! ```

pub mod ports;
pub mod tabwriter;
pub mod time;
pub mod typed;

use crate::failure::{Failure, Result};
use std::borrow::Cow;
use template::{Functions, Template, Value};

/// A list: what kind of rows, and their columns.
pub struct List<'a> {
    /// Columns by field.
    pub headers: &'a [(&'a str, &'a str)],
}

/// A row: fields in the order of the alphabet, as Docker's JSON has them.
pub fn row(kind: &str, mut fields: Vec<(String, Value)>) -> Value {
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    Value::row(kind, fields)
}

/// A field of a row.
pub fn field(name: &str, value: impl Into<String>) -> (String, Value) {
    (name.to_string(), Value::str(value.into()))
}

/// `.Label "name"`: one label's value.
pub fn label_method(labels: &api::Map<String>) -> (String, Value) {
    let labels = labels.clone();
    let method = Value::func(move |args| match args {
        [Value::Str(name)] => Ok(Value::str(labels.get(&**name).cloned().unwrap_or_default())),
        _ => Err(format!("wrong number of args for Label: want 1 got {}", args.len())),
    });
    ("Label".into(), method)
}

/// `a=b,c=d`
pub fn label_list(labels: &api::Map<String>) -> String {
    let mut pairs: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    pairs.sort();
    pairs.join(",")
}

/// Parses a template that a person wrote.
pub fn parse(text: &str) -> Result<Template> {
    Template::parse(text).map_err(|e| Failure::new(format!("template parsing error: {e}")))
}

/// Executes it.
pub fn execute(template: &Template, value: &Value) -> Result<String> {
    template.execute(value).map_err(|e| Failure::new(format!("template parsing error: {e}")))
}

impl List<'_> {
    /// All rows in a format: `table …`, `json` or a template.
    pub fn render(&self, format: &str, rows: &[Value]) -> Result<String> {
        let table = format.strip_prefix("table");
        let text = match (table, format) {
            (Some(rest), _) => rest,
            (None, "json") => "{{json .}}",
            (None, other) => other,
        };
        let text = text.trim_matches(' ').replace("\\t", "\t").replace("\\n", "\n");
        let template = parse(&text)?;
        let mut body = String::new();
        for row in rows {
            body.push_str(&execute(&template, row)?);
            body.push('\n');
        }
        if table.is_none() {
            return Ok(body);
        }
        let mut headers: Vec<(String, Value)> =
            self.headers.iter().map(|(field, header)| ((*field).to_string(), Value::str(*header))).collect();
        headers.push(("Label".into(), Value::func(label_header)));
        // Docker ignores what is wrong with a template over the headers: the rows have been printed with it
        let head = template.with_functions(Functions::Header).execute(&Value::string_map(headers)).unwrap_or_default();
        Ok(tabwriter::align(&format!("{head}\n{body}"), tabwriter::LIST))
    }
}

/// The header of a label's column: the last word of its name.
fn label_header(args: &[Value]) -> std::result::Result<Value, String> {
    match args {
        [Value::Str(name)] => {
            let last = name.rsplit('.').next().unwrap_or(name);
            Ok(Value::str(last.replace(['-', '_'], " ")))
        }
        _ => Err(format!("wrong number of args for Label: want 1 got {}", args.len())),
    }
}

/// Cuts text to a width, the last place being an ellipsis.
pub fn ellipsis(text: &str, width: usize) -> Cow<'_, str> {
    if text.len() <= width || text.chars().count() <= width {
        return text.into();
    }
    let head: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{head}…").into()
}

/// The first twelve digits of an ID, without the algorithm.
pub fn short_id(id: &str) -> &str {
    let hex = id.split_once(':').map_or(id, |(_, hex)| hex);
    hex.get(..12).unwrap_or(hex)
}

/// Order in which `a2` comes before `a10`.
pub fn natural(a: &str, b: &str) -> std::cmp::Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (Some(x), Some(y)) = (a.chars().next(), b.chars().next()) else { return a.len().cmp(&b.len()) };
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let digits = |s: &str| s.len() - s.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (n, m) = (digits(a), digits(b));
            let (left, right) = (a[..n].trim_start_matches('0'), b[..m].trim_start_matches('0'));
            let order = left.len().cmp(&right.len()).then_with(|| left.cmp(right));
            if order.is_ne() {
                return order;
            }
            (a, b) = (&a[n..], &b[m..]);
        } else if x != y {
            return x.cmp(&y);
        } else {
            (a, b) = (&a[x.len_utf8()..], &b[y.len_utf8()..]);
        }
    }
}
