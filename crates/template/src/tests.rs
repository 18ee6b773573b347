use crate::{Functions, Template, Value, indent, to_json};

fn data() -> Value {
    let json: serde_json::Value = serde_json::from_str(
        r#"{"Name":"/web","N":42,"F":1.5,"Big":1e21,"On":true,"Off":false,"Nil":null,
            "List":["a","b","c"],"Empty":[],"Map":{"z":1,"a":2},"Labels":{"com.x/y":"v"},
            "Deep":{"A":{"B":"c"}},"Text":"he said \"hi\" <b>&'\n"}"#,
    )
    .unwrap();
    Value::from(&json)
}

fn run(text: &str) -> String {
    match Template::parse(text).and_then(|t| t.execute(&data())) {
        Ok(out) => out,
        Err(e) => format!("ERROR {e}"),
    }
}

/// Each line was printed by Go 1.24's text/template with Docker's functions: `[template, output or "ERROR …"]`.
#[test]
fn as_go_prints() {
    let mut wrong = Vec::new();
    for line in include_str!("golden.jsonl").lines() {
        let (template, want): (String, String) = serde_json::from_str(line).unwrap();
        let got = run(&template);
        if got != want {
            wrong.push(format!("{template}\n  go   {want}\n  ours {got}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn structs_are_not_maps() {
    let value = Value::structure(
        "container.State",
        vec![
            ("Status".into(), Value::str("running")),
            ("Pid".into(), Value::Int(7)),
            ("Err".into(), Value::NilPointer),
            ("Env".into(), Value::NilList),
            ("Label".into(), Value::func(|args| Ok(Value::str(format!("<{}>", args[0].as_str().unwrap_or("")))))),
        ],
    );
    let run = |text: &str| Template::parse(text).unwrap().execute(&value);
    assert_eq!(run("{{.}} {{.Env}} {{.Err}}").unwrap(), "{running 7 <nil> []} [] <nil>");
    assert_eq!(run("{{json .}}").unwrap(), r#"{"Status":"running","Pid":7,"Err":null,"Env":null}"#);
    assert_eq!(run("{{.Label \"x\"}} {{printf \"%+v\" .}}").unwrap(), "<x> {Status:running Pid:7 Err:<nil> Env:[]}");
    assert_eq!(
        run("{{.Nope}}").unwrap_err().0,
        "template: :1:2: executing \"\" at <.Nope>: can't evaluate field Nope in type container.State"
    );
}

#[test]
fn header_functions_leave_names_alone() {
    let header = Value::string_map(vec![("ID".into(), Value::str("CONTAINER ID"))]);
    let template = Template::parse("{{lower .ID}}{{json .ID}}{{pad .ID 1 0}}").unwrap();
    assert_eq!(
        template.with_functions(Functions::Header).execute(&header).unwrap(),
        "CONTAINER IDCONTAINER ID CONTAINER ID"
    );
}

#[test]
fn missing_key_as_an_error() {
    let template = Template::parse("{{.Foo}}").unwrap().missing_key_error();
    assert_eq!(
        template.execute(&data()).unwrap_err().0,
        "template: :1:2: executing \"\" at <.Foo>: map has no entry for key \"Foo\""
    );
}

#[test]
fn documents_keep_their_order() {
    let value: Value = serde_json::from_str(r#"{"b":1,"a":{"z":[],"y":{}},"c":1.50}"#).unwrap();
    assert_eq!(to_json(&value), r#"{"b":1,"a":{"z":[],"y":{}},"c":1.5}"#);
    assert_eq!(
        indent(r#"{"b":1,"a":{"z":[],"y":{}},"s":"a:{,"}"#, "    "),
        "{\n    \"b\": 1,\n    \"a\": {\n        \"z\": [],\n        \"y\": {}\n    },\n    \"s\": \"a:{,\"\n}"
    );
}

#[test]
fn recursion_is_limited() {
    let error = run("{{define \"r\"}}{{template \"r\"}}{{end}}{{template \"r\"}}");
    assert!(error.contains("exceeded maximum template depth"), "{error}");
    let deep = format!("{}1{}", "{{if 1}}".repeat(5000), "{{end}}".repeat(5000));
    assert!(run(&deep).contains("nested too deeply"));
}

proptest::proptest! {
    #[test]
    fn nothing_panics(text in "([a-z .$|()\"`'0-9-]|\\{\\{|\\}\\}|end|if |range |printf \"%[a-z*.0-9]\"|\\.List|index ){0,30}") {
        let _ = run(&text);
    }

    #[test]
    fn printf_never_panics(format in "(%|[a-zA-Z0-9 .*+#\\[\\]-]|ü){0,12}") {
        let _ = crate::fmt::sprintf(&format, &[Value::Int(-3), Value::str("aü"), Value::Float(2.5), Value::Nil]);
    }
}
