//! The values a template sees.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::rc::Rc;

/// What a method does: arguments to a result, or what is wrong with them.
pub type Call = dyn Fn(&[Value]) -> Result<Value, String>;

/// A callable value: a method of a context (`.Label "x"`).
#[derive(Clone)]
pub struct Function(pub Rc<Call>);

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Function")
    }
}

/// What kind of Go value an object stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `map[string]any`: a missing key is nil.
    Any,
    /// `map[string]string`: a missing key is an empty string under `index`.
    Strings,
    /// A struct of this type name; unknown fields are errors, fields keep their order.
    Struct(Rc<str>),
    /// A struct that writes its own JSON, in which Go then escapes what HTML would take for its own.
    Row(Rc<str>),
}

/// An object: a Go map or struct.
#[derive(Clone, Debug)]
pub struct Map {
    /// Map or struct.
    pub shape: Shape,
    /// Keys and values: in order of declaration for structs, sorted for maps.
    pub entries: Vec<(String, Value)>,
    /// How the entries of a struct are written in JSON; none: all of them, by their own names.
    pub tags: Vec<Tag>,
    /// What it prints as, when its type says so itself.
    pub text: Option<Rc<str>>,
}

/// What Go's struct tag says of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The name in JSON; `-` is left out.
    pub json: Rc<str>,
    /// Left out when it is empty.
    pub omit_empty: bool,
    /// An embedded struct: its fields are found, and written, among those of the outer one.
    pub embedded: bool,
}

/// A scalar that is written one way and shown another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// What a template prints.
    pub text: String,
    /// In JSON.
    pub json: String,
    /// The Go type.
    pub kind: &'static str,
}

impl Map {
    /// The value of a key or field.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let direct = self.entries.iter().find(|(k, _)| k == key).map(|(_, v)| v);
        direct.or_else(|| {
            let embedded = self.entries.iter().zip(&self.tags).filter(|(_, tag)| tag.embedded);
            embedded.filter_map(|((_, value), _)| value.pointed().as_map()?.get(key)).next()
        })
    }
}

/// The Go type of numbers in a document that is no struct: a kind of string.
pub const NUMBER: &str = "json.Number";

/// A value as Go's templates see it.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// An untyped nil, or no value at all.
    #[default]
    Nil,
    /// A nil pointer of some type: prints `<nil>`.
    NilPointer,
    /// A nil slice: prints `[]`, is `null` in JSON.
    NilList,
    /// A nil map: prints `map[]`, is `null` in JSON.
    NilMap,
    /// A pointer to something.
    Pointer(Rc<Value>),
    /// A `json.Number`, a time, a duration.
    Scalar(Rc<Scalar>),
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating point number.
    Float(f64),
    /// A character constant or the like is an [`Value::Int`]; this is a string.
    Str(Rc<str>),
    /// A slice.
    List(Rc<Vec<Value>>),
    /// A map or a struct.
    Map(Rc<Map>),
    /// A method or function.
    Func(Function),
}

impl Value {
    /// A string.
    pub fn str(text: impl Into<Rc<str>>) -> Value {
        Value::Str(text.into())
    }

    /// A slice.
    pub fn list(items: Vec<Value>) -> Value {
        Value::List(Rc::new(items))
    }

    /// A slice of strings.
    pub fn strings<I: IntoIterator<Item = S>, S: Into<Rc<str>>>(items: I) -> Value {
        Value::list(items.into_iter().map(Value::str).collect())
    }

    /// A `map[string]any`; its keys are sorted here.
    pub fn map(mut entries: Vec<(String, Value)>) -> Value {
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Value::Map(Rc::new(Map { shape: Shape::Any, entries, tags: Vec::new(), text: None }))
    }

    /// A `map[string]string`; its keys are sorted here.
    pub fn string_map(mut entries: Vec<(String, Value)>) -> Value {
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Value::Map(Rc::new(Map { shape: Shape::Strings, entries, tags: Vec::new(), text: None }))
    }

    /// A struct whose Go type is called `name`.
    pub fn structure(name: &str, entries: Vec<(String, Value)>) -> Value {
        Value::Map(Rc::new(Map { shape: Shape::Struct(name.into()), entries, tags: Vec::new(), text: None }))
    }

    /// A struct whose Go type has a `MarshalJSON` of its own.
    pub fn row(name: &str, entries: Vec<(String, Value)>) -> Value {
        Value::Map(Rc::new(Map { shape: Shape::Row(name.into()), entries, tags: Vec::new(), text: None }))
    }

    /// A method.
    pub fn func(f: impl Fn(&[Value]) -> Result<Value, String> + 'static) -> Value {
        Value::Func(Function(Rc::new(f)))
    }

    /// A pointer.
    pub fn pointer(to: Value) -> Value {
        Value::Pointer(Rc::new(to))
    }

    /// What a pointer points to, or the value itself.
    pub fn pointed(&self) -> &Value {
        match self {
            Value::Pointer(to) => to.pointed(),
            other => other,
        }
    }

    /// The object, if it is one.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// Whether its type says itself how it prints.
    pub(crate) fn is_printed(&self) -> bool {
        self.as_map().is_some_and(|map| map.text.is_some())
    }

    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(s) => Some(s),
            _ => None,
        }
    }

    /// Go's notion of truth.
    pub(crate) fn truth(&self) -> bool {
        match self {
            Value::Nil | Value::NilPointer | Value::NilList | Value::NilMap => false,
            Value::Bool(b) => *b,
            Value::Int(i) => *i != 0,
            Value::Float(f) => *f != 0.0,
            Value::Str(s) => !s.is_empty(),
            Value::List(l) => !l.is_empty(),
            Value::Map(m) => m.is_struct() || !m.entries.is_empty(),
            Value::Scalar(s) => s.kind != NUMBER || !s.text.is_empty(),
            Value::Pointer(_) | Value::Func(_) => true,
        }
    }

    /// The name of the Go type, for `%T` and error texts.
    pub(crate) fn type_name(&self) -> String {
        match self {
            Value::Nil => "<nil>".into(),
            Value::NilPointer => "*struct {}".into(),
            Value::NilList => "[]string".into(),
            Value::NilMap => "map[string]string".into(),
            Value::Bool(_) => "bool".into(),
            Value::Int(_) => "int".into(),
            Value::Float(_) => "float64".into(),
            Value::Str(_) => "string".into(),
            Value::List(l) if !l.is_empty() && l.iter().all(|v| matches!(v, Value::Str(_))) => "[]string".into(),
            Value::List(_) => "[]interface {}".into(),
            Value::Map(m) => match &m.shape {
                Shape::Any => "map[string]interface {}".into(),
                Shape::Strings => "map[string]string".into(),
                Shape::Struct(name) | Shape::Row(name) => name.to_string(),
            },
            Value::Pointer(to) => format!("*{}", to.type_name()),
            Value::Scalar(s) => s.kind.into(),
            Value::Func(_) => "func()".into(),
        }
    }
}

impl From<&serde_json::Value> for Value {
    fn from(json: &serde_json::Value) -> Value {
        match json {
            serde_json::Value::Null => Value::Nil,
            serde_json::Value::Bool(b) => Value::Bool(*b),
            serde_json::Value::Number(n) => match n.as_i64() {
                Some(i) => Value::Int(i),
                None => Value::Float(n.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::String(s) => Value::str(s.as_str()),
            serde_json::Value::Array(items) => Value::list(items.iter().map(Value::from).collect()),
            serde_json::Value::Object(map) => {
                Value::map(map.iter().map(|(k, v)| (k.clone(), Value::from(v))).collect())
            }
        }
    }
}

/// JSON read straight into a value keeps the order of keys: what is read is a `Shape::Any` map in document order,
/// for the caller to sort or to declare a struct.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(Document)
    }
}

struct Document;

impl<'de> Visitor<'de> for Document {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }
    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Bool(b))
    }
    fn visit_i64<E>(self, i: i64) -> Result<Value, E> {
        Ok(Value::Int(i))
    }
    fn visit_u64<E>(self, u: u64) -> Result<Value, E> {
        Ok(i64::try_from(u).map_or(Value::Float(u as f64), Value::Int))
    }
    fn visit_f64<E>(self, f: f64) -> Result<Value, E> {
        Ok(Value::Float(f))
    }
    fn visit_str<E>(self, s: &str) -> Result<Value, E> {
        Ok(Value::str(s))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::list(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries: Vec<(String, Value)> = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, Value>()? {
            match entries.iter_mut().find(|(k, _)| *k == key) {
                Some(entry) => entry.1 = value,
                None => entries.push((key, value)),
            }
        }
        Ok(Value::Map(Rc::new(Map { shape: Shape::Any, entries, tags: Vec::new(), text: None })))
    }
}
