//! The Dockerfile lines that `import --change` takes, applied to a configuration.

use crate::{Error, Result};
use oci::image::{ContainerConfig, Empty};
use std::iter::Peekable;
use std::str::Chars;

/// Applies lines in order. A backslash at the end of a line joins it with the next.
pub(crate) fn apply(config: &mut ContainerConfig, changes: &[String]) -> Result<()> {
    let text = changes.join("\n").replace("\\\n", "");
    for line in text.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let (word, rest) = (word.to_ascii_uppercase(), rest.trim());
        one(config, &word, rest).map_err(|why| Error::Invalid(format!("--change {line:?}: {why}")))?;
    }
    Ok(())
}

fn one(config: &mut ContainerConfig, word: &str, rest: &str) -> std::result::Result<(), String> {
    const KNOWN: [&str; 11] = [
        "CMD",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "HEALTHCHECK",
        "LABEL",
        "ONBUILD",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
    ];
    if !KNOWN.contains(&word) {
        return Err(format!("{word} is not a valid change command"));
    }
    if rest.is_empty() && !matches!(word, "CMD" | "ENTRYPOINT") {
        return Err(format!("{word} requires at least one argument"));
    }
    match word {
        "CMD" => config.cmd = command(rest),
        "ENTRYPOINT" => config.entrypoint = command(rest),
        "ENV" => {
            for (name, value) in pairs(rest, &config.env, word)? {
                config.env.retain(|e| e.split('=').next() != Some(&name));
                config.env.push(format!("{name}={value}"));
            }
        }
        "LABEL" => config.labels.extend(pairs(rest, &config.env, word)?),
        "HEALTHCHECK" => config.healthcheck = Some(healthcheck(rest)?),
        "ONBUILD" => config.on_build.push(rest.to_owned()),
        "EXPOSE" => {
            for port in words(rest, &config.env)? {
                config.exposed_ports.extend(ports(&port)?.into_iter().map(|p| (p, Empty {})));
            }
        }
        "VOLUME" => {
            for path in list(rest).map_or_else(|| words(rest, &config.env), Ok)? {
                if path.trim().is_empty() {
                    return Err("VOLUME specified can not be an empty string".into());
                }
                config.volumes.insert(path, Empty {});
            }
        }
        _ => {
            let value = words(rest, &config.env)?;
            let [value] = value.as_slice() else { return Err(format!("{word} requires exactly one argument")) };
            match word {
                "USER" => config.user = value.clone(),
                "STOPSIGNAL" if !is_signal(value) => return Err(format!("invalid signal: {value}")),
                "STOPSIGNAL" => config.stop_signal = value.clone(),
                _ => config.working_dir = join(&config.working_dir, value),
            }
        }
    }
    Ok(())
}

/// `NONE`, or `[--interval=… …] CMD command`, as the configuration has it.
fn healthcheck(text: &str) -> std::result::Result<serde_json::Value, String> {
    let mut out = serde_json::Map::new();
    let mut rest = text;
    loop {
        let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let Some(option) = word.strip_prefix("--") else { break };
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let key = match name {
            "interval" => "Interval",
            "timeout" => "Timeout",
            "start-period" => "StartPeriod",
            "start-interval" => "StartInterval",
            "retries" => "Retries",
            _ => return Err(format!("unknown flag: {name}")),
        };
        let number = match key {
            "Retries" => match value.parse::<i64>() {
                Ok(n) if n >= 0 => n,
                Ok(n) => return Err(format!("--retries cannot be negative ({n})")),
                Err(_) => return Err(format!("strconv.ParseInt: parsing {value:?}: invalid syntax")),
            },
            _ => match duration_ns(value).ok_or_else(|| format!("time: invalid duration {value:?}"))? {
                short @ 1..1_000_000 => return Err(format!("Interval \"{short}ns\" cannot be less than 1ms")),
                ns => ns,
            },
        };
        if number != 0 {
            out.insert(key.into(), number.into());
        }
        rest = after.trim_start();
    }
    let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let command = command.trim();
    let test = match kind.to_ascii_uppercase().as_str() {
        "NONE" if !command.is_empty() => return Err("HEALTHCHECK NONE takes no arguments".into()),
        "NONE" => vec!["NONE".to_owned()],
        "CMD" if command.is_empty() => return Err("Missing command after HEALTHCHECK CMD".into()),
        "CMD" => match list(command) {
            Some(words) => std::iter::once("CMD".to_owned()).chain(words).collect(),
            None => vec!["CMD-SHELL".into(), command.into()],
        },
        other => return Err(format!("Unknown type {other:?} in HEALTHCHECK (try CMD)")),
    };
    out.insert("Test".into(), test.into());
    Ok(out.into())
}

/// None is negative here.
fn duration_ns(text: &str) -> Option<i64> {
    oci::duration::parse(text).ok().filter(|ns| *ns >= 0)
}

/// A JSON array of strings, or nothing.
fn list(text: &str) -> Option<Vec<String>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

/// The exec form is taken as it is, the shell form is handed to a shell.
fn command(text: &str) -> Option<Vec<String>> {
    if text.is_empty() {
        return None;
    }
    Some(list(text).unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into(), text.into()]))
}

/// `name=value name="a value"`, or the old `name a value`.
fn pairs(text: &str, env: &[String], word: &str) -> std::result::Result<Vec<(String, String)>, String> {
    let first = text.split(char::is_whitespace).next().unwrap_or_default();
    if !first.contains('=') {
        let (name, value) =
            text.split_once(char::is_whitespace).ok_or_else(|| format!("{word} must have two arguments"))?;
        let value = expand(value.trim(), env)?;
        return Ok(vec![(name.to_owned(), value)]);
    }
    let mut pairs = Vec::new();
    for pair in words(text, env)? {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| format!("Syntax error - can't find = in {pair:?}. Must be of the form: name=value"))?;
        if name.is_empty() || name.contains('\0') {
            return Err(format!("{word} names can not be blank"));
        }
        pairs.push((name.to_owned(), value.to_owned()));
    }
    Ok(pairs)
}

/// Words as a shell splits them, with variables of the image's own environment.
fn words(text: &str, env: &[String]) -> std::result::Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Ok(words);
        }
        words.push(word(&mut chars, env, true)?);
    }
}

fn expand(text: &str, env: &[String]) -> std::result::Result<String, String> {
    word(&mut text.chars().peekable(), env, false)
}

fn word(chars: &mut Peekable<Chars>, env: &[String], one: bool) -> std::result::Result<String, String> {
    let mut out = String::new();
    let mut quote = None;
    while let Some(c) = chars.next_if(|c| quote.is_some() || !one || !c.is_whitespace()) {
        match (c, quote) {
            ('\'', None) | ('"', None) => quote = Some(c),
            (c, Some(q)) if c == q => quote = None,
            ('\\', None) => out.extend(chars.next()),
            ('\\', Some('"')) => match chars.next() {
                Some(c @ ('"' | '$' | '\\')) => out.push(c),
                Some(c) => out.extend(['\\', c]),
                None => out.push('\\'),
            },
            ('$', None | Some('"')) => out.push_str(&variable(chars, env)?),
            (c, _) => out.push(c),
        }
    }
    match quote {
        Some(quote) => Err(format!("unexpected end of statement while looking for matching {quote}")),
        None => Ok(out),
    }
}

/// What stands after a `$`: `NAME`, `{NAME}`, `{NAME:-other}`, `{NAME:+other}`.
fn variable(chars: &mut Peekable<Chars>, env: &[String]) -> std::result::Result<String, String> {
    let value = |name: &str| {
        let found = env.iter().rev().find_map(|e| e.split_once('=').filter(|(n, _)| *n == name));
        found.map(|(_, value)| value.to_owned()).unwrap_or_default()
    };
    let braces = chars.next_if_eq(&'{').is_some();
    let mut name = String::new();
    while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
        name.push(c);
    }
    if !braces {
        return Ok(if name.is_empty() { "$".into() } else { value(&name) });
    }
    let mut rest = String::new();
    for c in chars.by_ref() {
        if c == '}' {
            return match (rest.get(..2), value(&name)) {
                (None, value) if rest.is_empty() && !name.is_empty() => Ok(value),
                (Some(":-"), value) => Ok(if value.is_empty() { rest[2..].into() } else { value }),
                (Some(":+"), value) => Ok(if value.is_empty() { value } else { rest[2..].into() }),
                _ => Err(format!("unsupported modifier ({rest}) in substitution")),
            };
        }
        rest.push(c);
    }
    Err("unexpected end of statement while looking for matching }".into())
}

/// `80`, `80/udp`, `8000-8010/tcp` → `80/tcp` …
fn ports(text: &str) -> std::result::Result<Vec<String>, String> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number = |t: &str| t.parse::<u16>().ok().filter(|n| *n > 0 && t.bytes().all(|b| b.is_ascii_digit()));
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last && matches!(protocol.as_str(), "tcp" | "udp" | "sctp") => {
            Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
        }
        _ => Err(format!("invalid containerPort: {text}")),
    }
}

fn is_signal(text: &str) -> bool {
    const NAMES: &str = "ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT \
                         STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX";
    if let Ok(number) = text.parse::<u8>() {
        return (1..=64).contains(&number);
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let real_time = |prefix: &str, sign: char, most: u8| {
        let offset = name.strip_prefix(prefix).and_then(|r| r.strip_prefix(sign)).and_then(|r| r.parse::<u8>().ok());
        offset.is_some_and(|n| (1..=most).contains(&n))
    };
    NAMES.split_whitespace().any(|n| n == name) || real_time("RTMIN", '+', 15) || real_time("RTMAX", '-', 14)
}

/// A directory relative to another, without `.` and `..`.
fn join(base: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{base}/{path}") };
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn config(lines: &[&str]) -> std::result::Result<ContainerConfig, String> {
        let mut config = ContainerConfig::default();
        let lines: Vec<String> = lines.iter().map(|l| (*l).to_owned()).collect();
        apply(&mut config, &lines).map_err(|e| e.to_string()).map(|()| config)
    }

    #[test]
    fn health_checks() {
        let health = |line: &str| config(&[line]).unwrap().healthcheck.unwrap();
        assert_eq!(health("HEALTHCHECK none"), serde_json::json!({"Test": ["NONE"]}));
        assert_eq!(
            health(
                "HEALTHCHECK --interval=1m30s --timeout=1.5s --start-period=0s  --retries=4 CMD curl -f x || exit 1"
            ),
            serde_json::json!({
                "Interval": 90_000_000_000_i64, "Timeout": 1_500_000_000, "Retries": 4,
                "Test": ["CMD-SHELL", "curl -f x || exit 1"]
            })
        );
        assert_eq!(health("HEALTHCHECK CMD [\"a\", \"b c\"]"), serde_json::json!({"Test": ["CMD", "a", "b c"]}));
    }

    #[test]
    fn every_instruction() {
        let c = config(&[
            "CMD [\"a\", \"b c\"]",
            "entrypoint run me",
            "ENV A=1 B=\"two words\"",
            // A line sees the lines before it, not itself.
            "ENV C=$A-${B} E=$C",
            "ENV D a value",
            "ENV A=${NONE:-other}",
            "EXPOSE 80 53/UDP 8000-8001",
            "LABEL x=y \"a b\"='c $A'",
            "USER me:group",
            "VOLUME /data /more",
            "VOLUME [\"/with space\"]",
            "WORKDIR /srv",
            "WORKDIR ../opt/./x",
            "STOPSIGNAL SIGRTMIN+3",
            "ONBUILD RUN x",
            "# nothing",
        ])
        .unwrap();
        assert_eq!(c.cmd.unwrap(), ["a", "b c"]);
        assert_eq!(c.entrypoint.unwrap(), ["/bin/sh", "-c", "run me"]);
        assert_eq!(c.env, ["B=two words", "C=1-two words", "E=", "D=a value", "A=other"]);
        assert_eq!(c.exposed_ports.keys().collect::<Vec<_>>(), ["53/udp", "80/tcp", "8000/tcp", "8001/tcp"]);
        assert_eq!(c.labels.into_iter().collect::<Vec<_>>(), [("a b".into(), "c $A".into()), ("x".into(), "y".into())]);
        assert_eq!(
            (c.user.as_str(), c.working_dir.as_str(), c.stop_signal.as_str()),
            ("me:group", "/opt/x", "SIGRTMIN+3")
        );
        assert_eq!(c.volumes.keys().collect::<Vec<_>>(), ["/data", "/more", "/with space"]);
        assert_eq!(c.on_build, ["RUN x"]);
    }

    #[test]
    fn refused_lines_say_why() {
        for (line, why) in [
            ("RUN x", "RUN is not a valid change command"),
            ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
            ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
            ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
            ("HEALTHCHECK true", "Unknown type \"TRUE\" in HEALTHCHECK (try CMD)"),
            ("HEALTHCHECK --often CMD true", "unknown flag: often"),
            ("HEALTHCHECK --interval=5 CMD true", "time: invalid duration \"5\""),
            ("HEALTHCHECK --interval=5us CMD true", "Interval \"5000ns\" cannot be less than 1ms"),
            ("HEALTHCHECK --retries=-1 CMD true", "--retries cannot be negative (-1)"),
            ("ENV", "ENV requires at least one argument"),
            ("ENV x", "ENV must have two arguments"),
            ("EXPOSE 0", "invalid containerPort: 0"),
            ("EXPOSE 70000", "invalid containerPort: 70000"),
            ("EXPOSE 80/icmp", "invalid containerPort: 80/icmp"),
            ("STOPSIGNAL NOPE", "invalid signal: NOPE"),
            ("USER a b", "USER requires exactly one argument"),
            ("LABEL a=\"b", "unexpected end of statement while looking for matching \""),
        ] {
            assert_eq!(config(&[line]), Err(format!("--change {line:?}: {why}")), "{line}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(line in "(ENV|LABEL|EXPOSE|CMD|VOLUME|WORKDIR) \\PC{0,60}") {
            let _ = config(&[&line]);
        }
    }
}
