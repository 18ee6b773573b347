//! Answers as the Go structs that Docker's client decodes them into: a template sees Go's names of fields, pointers,
//! embedded structs, and an empty value where JSON has none. The structs stand in `go_types.txt`.

use std::rc::Rc;
use template::{Map, NUMBER, Scalar, Shape, Tag, Value};

const TYPES: &str = include_str!("go_types.txt");

/// A field of a struct.
struct Field {
    name: &'static str,
    tag: Tag,
    kind: &'static str,
}

/// The struct called `kind`: how it is marked, and its fields.
fn lookup(kind: &str) -> Option<(&'static str, Vec<Field>)> {
    let mut lines = TYPES.lines().filter(|line| !line.starts_with('#'));
    let marks =
        lines.find_map(|line| line.strip_prefix(kind).filter(|rest| rest.is_empty() || rest.starts_with(' ')))?;
    let fields = lines.map_while(|line| line.strip_prefix(' ')).map(field).collect();
    Some((marks.trim_start(), fields))
}

fn field(line: &'static str) -> Field {
    if let Some(kind) = line.strip_prefix('+') {
        let name = kind.rsplit(['.', '*']).next().unwrap_or(kind);
        return Field { name, tag: Tag { json: name.into(), omit_empty: false, embedded: true }, kind };
    }
    let (names, kind) = line.split_once(' ').unwrap_or((line, "any"));
    let (names, omit_empty) = names.strip_suffix('?').map_or((names, false), |names| (names, true));
    let (name, json) = names.split_once(':').unwrap_or((names, names));
    Field { name, tag: Tag { json: json.into(), omit_empty, embedded: false }, kind }
}

/// A document as Go's struct `kind`.
pub fn structure(document: &Value, kind: &'static str) -> Value {
    convert(Some(document), kind)
}

/// A value of the Go type `kind`; no value, and null, are its zero value.
fn convert(value: Option<&Value>, kind: &'static str) -> Value {
    let value = value.filter(|v| !matches!(v, Value::Nil));
    if let Some(to) = kind.strip_prefix('*') {
        return value.map_or(Value::NilPointer, |_| Value::pointer(convert(value, to)));
    }
    if let Some(item) = kind.strip_prefix("[]") {
        return match value {
            Some(Value::List(items)) => Value::list(items.iter().map(|v| convert(Some(v), item)).collect()),
            _ => Value::NilList,
        };
    }
    if let Some(item) = kind.strip_prefix("map") {
        return match value {
            Some(Value::Map(map)) => map_of(map, item.trim_start_matches(':')),
            _ => Value::NilMap,
        };
    }
    match (kind, value) {
        ("any", value) => value.map_or(Value::Nil, raw),
        ("bool", value) => value.cloned().unwrap_or(Value::Bool(false)),
        ("string", value) => value.cloned().unwrap_or_else(|| Value::str("")),
        ("time.Time", value) => moment(value.and_then(Value::as_str)),
        ("time.Duration", value) => match value {
            Some(Value::Int(nanos)) => duration(*nanos),
            _ => duration(0),
        },
        _ => match lookup(kind) {
            Some((marks, fields)) => object(value, kind, marks, fields),
            None => value.cloned().unwrap_or(Value::Int(0)),
        },
    }
}

fn map_of(map: &Map, item: &'static str) -> Value {
    let entries: Vec<(String, Value)> = map
        .entries
        .iter()
        .map(|(key, value)| match item {
            "struct" => (key.clone(), Value::structure("struct {}", Vec::new())),
            item => (key.clone(), convert(Some(value), item)),
        })
        .collect();
    if item == "string" { Value::string_map(entries) } else { Value::map(entries) }
}

fn object(value: Option<&Value>, kind: &str, marks: &str, fields: Vec<Field>) -> Value {
    let document = value.and_then(Value::as_map);
    let (mut entries, mut tags) = (Vec::new(), Vec::new());
    for Field { name, tag, kind } in fields {
        let item = match tag.embedded {
            true => convert(value, kind),
            false => convert(document.and_then(|d| d.get(&tag.json)), kind),
        };
        entries.push((name.to_owned(), item));
        tags.push(tag);
    }
    let text = marks.strip_prefix("text ").map(|between| joined(&entries, between));
    let map = Map { shape: Shape::Struct(kind.into()), entries, tags, text };
    match marks {
        // written by a method of its own, through a map
        "sorted" => {
            let mut both: Vec<_> = map.entries.into_iter().zip(map.tags).collect();
            both.sort_by(|a, b| a.1.json.cmp(&b.1.json));
            let (entries, tags) = both.into_iter().unzip();
            Value::Map(Rc::new(Map { entries, tags, ..map }))
        }
        _ => Value::Map(Rc::new(map)),
    }
}

/// `nofile=1024:2048`: the first field, the first sign, and the rest, last first, with the last sign between.
fn joined(entries: &[(String, Value)], between: &str) -> Rc<str> {
    let shown: Vec<String> = entries.iter().map(|(_, v)| template::display(v)).collect();
    let (first, rest) = between.split_at(1);
    match shown.split_first() {
        Some((name, values)) => {
            let values: Vec<&str> = values.iter().rev().map(String::as_str).collect();
            format!("{name}{first}{}", values.join(rest))
        }
        None => String::new(),
    }
    .into()
}

/// Go's `time.Time`.
fn moment(rfc3339: Option<&str>) -> Value {
    let json = rfc3339.unwrap_or("0001-01-01T00:00:00Z");
    let text = super::time::long(json);
    Value::Scalar(Rc::new(Scalar { text, json: format!("\"{json}\""), kind: "time.Time" }))
}

/// Go's `time.Duration`: `1m30s`.
fn duration(nanos: i64) -> Value {
    let text = super::time::duration(nanos);
    Value::Scalar(Rc::new(Scalar { text, json: nanos.to_string(), kind: "time.Duration" }))
}

/// A document as Go's `map[string]any`, keys sorted: what a template sees when the struct has no such field. Its numbers
/// are texts to Go.
pub fn raw(document: &Value) -> Value {
    match document {
        Value::List(items) => Value::list(items.iter().map(raw).collect()),
        Value::Map(map) => Value::map(map.entries.iter().map(|(k, v)| (k.clone(), raw(v))).collect()),
        Value::Int(_) | Value::Float(_) => {
            let json = template::to_json(document);
            Value::Scalar(Rc::new(Scalar { text: json.clone(), json, kind: NUMBER }))
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use template::Template;

    #[test]
    fn as_docker_prints_them() {
        let json = r#"{"Id":"abc","State":{"Status":"running","Pid":7},
            "HostConfig":{"Binds":null,"PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8080"}]},"Init":null,
                          "LogConfig":{"Type":"json-file","Config":{}},"PidsLimit":100,"Mounts":[{"Type":"tmpfs"}],
                          "Ulimits":[{"Name":"nofile","Soft":1,"Hard":2}]},
            "Config":{"Labels":{"b":"2","a":"1"},"Cmd":["x","y"]},"NetworkSettings":{"Ports":{"1/tcp":null}}}"#;
        let value = structure(&serde_json::from_str(json).unwrap(), "container.InspectResponse");
        for (template, want) in [
            ("{{.ID}} {{.ContainerJSONBase.ID}}", "abc abc"),
            ("{{.State}}", "{running false false false false false 7 0    <nil>}"),
            ("{{print .State}}", "&{running false false false false false 7 0    <nil>}"),
            ("{{.HostConfig.Binds}} {{.HostConfig.Init}} {{.HostConfig.PidsLimit}}", "[] <nil> 100"),
            ("{{.HostConfig.PortBindings}} {{.HostConfig.Sysctls}}", "map[80/tcp:[{ 8080}]] map[]"),
            ("{{.HostConfig.LogConfig}} {{.HostConfig.Ulimits}}", "{json-file map[]} [nofile=1:2]"),
            ("{{range .HostConfig.Ulimits}}{{.Name}}{{end}}", "nofile"),
            ("{{.Config.Labels}} {{index .Config.Labels \"zz\"}}|", "map[a:1 b:2] |"),
            ("{{.Config.Cmd}} {{.NetworkSettings.Ports}}", "[x y] map[1/tcp:[]]"),
            ("{{json .HostConfig.Binds}} {{json .HostConfig.Mounts}}", r#"null [{"Type":"tmpfs"}]"#),
            ("{{json .Config.Healthcheck}} {{json .NetworkSettings.Ports}}", r#"null {"1/tcp":null}"#),
            ("{{if .HostConfig.PidsLimit}}set{{end}}", "set"),
        ] {
            assert_eq!(Template::parse(template).unwrap().execute(&value).unwrap(), want, "{template}");
        }
        assert!(Template::parse("{{.Id}}").unwrap().execute(&value).is_err());
    }

    #[test]
    fn every_type_is_there() {
        let scalars = ["any", "bool", "string", "struct", "time.Time", "time.Duration"];
        for line in TYPES.lines().filter(|l| l.starts_with(' ')) {
            let kind = field(&line[1..]).kind.trim_start_matches(['[', ']', '*', ':']);
            let kind = kind.strip_prefix("map").unwrap_or(kind).trim_start_matches(['[', ']', '*', ':']);
            let number = ["int", "uint"]
                .iter()
                .any(|n| kind.strip_prefix(n).is_some_and(|b| b.parse::<u8>().is_ok() || b.is_empty()));
            assert!(number || scalars.contains(&kind) || lookup(kind).is_some(), "{line}");
        }
    }

    #[test]
    fn raw_numbers_are_texts() {
        let value = raw(&serde_json::from_str(r#"{"a":0,"b":{"c":12}}"#).unwrap());
        for (template, want) in
            [("{{.a}} {{.b}} {{json .b}}", r#"0 map[c:12] {"c":12}"#), ("{{if .a}}y{{end}} {{len .b.c}}", "y 2")]
        {
            assert_eq!(Template::parse(template).unwrap().execute(&value).unwrap(), want, "{template}");
        }
    }
}
