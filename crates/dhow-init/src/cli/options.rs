//! The command line, as runc reads it: options with one or two dashes, `--name value` or `--name=value`, before or after
//! the arguments, except where these are a command of their own.

use super::{Error, Result};

/// An option: its name, its letter, and what its value is, if it has one.
struct Known(&'static str, Option<char>, Option<&'static str>);

/// A command: its name, what it does, its arguments (fewest, most, and how they are called), whether everything after the
/// first is taken as it is, its options.
struct Spoken {
    name: &'static str,
    about: &'static str,
    arguments: (usize, usize, &'static str),
    verbatim: bool,
    options: &'static [Known],
}

const GLOBAL: &[Known] = &[
    Known("debug", None, None),
    Known("log", None, Some("FILE")),
    Known("log-format", None, Some("text|json")),
    Known("root", None, Some("DIR")),
    Known("systemd-cgroup", None, None),
    Known("rootless", None, Some("true|false|auto")),
    Known("version", Some('v'), None),
];

const ID: (usize, usize, &str) = (1, 1, "<container-id>");
const NONE: &[Known] = &[];

const COMMANDS: &[Spoken] = &[
    Spoken {
        name: "create",
        about: "make a container; it waits for start",
        arguments: ID,
        verbatim: false,
        options: &[
            Known("bundle", Some('b'), Some("DIR")),
            Known("console-socket", None, Some("SOCKET")),
            Known("pidfd-socket", None, Some("SOCKET")),
            Known("pid-file", None, Some("FILE")),
            Known("no-pivot", None, None),
            Known("no-new-keyring", None, None),
            Known("preserve-fds", None, Some("N")),
        ],
    },
    Spoken {
        name: "run",
        about: "make and start a container",
        arguments: ID,
        verbatim: false,
        options: &[
            Known("bundle", Some('b'), Some("DIR")),
            Known("console-socket", None, Some("SOCKET")),
            Known("pidfd-socket", None, Some("SOCKET")),
            Known("detach", Some('d'), None),
            Known("keep", None, None),
            Known("pid-file", None, Some("FILE")),
            Known("no-subreaper", None, None),
            Known("no-pivot", None, None),
            Known("no-new-keyring", None, None),
            Known("preserve-fds", None, Some("N")),
        ],
    },
    Spoken {
        name: "start",
        about: "let a container that was made execute its command",
        arguments: ID,
        verbatim: false,
        options: NONE,
    },
    Spoken {
        name: "exec",
        about: "execute one more process in a container",
        arguments: (1, usize::MAX, "<container-id> <command> [arguments]"),
        verbatim: true,
        options: &[
            Known("console-socket", None, Some("SOCKET")),
            Known("pidfd-socket", None, Some("SOCKET")),
            Known("cwd", None, Some("DIR")),
            Known("env", Some('e'), Some("NAME=VALUE")),
            Known("tty", Some('t'), None),
            Known("user", Some('u'), Some("UID[:GID]")),
            Known("additional-gids", Some('g'), Some("GID")),
            Known("process", Some('p'), Some("FILE")),
            Known("detach", Some('d'), None),
            Known("pid-file", None, Some("FILE")),
            Known("process-label", None, Some("LABEL")),
            Known("apparmor", None, Some("PROFILE")),
            Known("no-new-privs", None, None),
            Known("cap", Some('c'), Some("CAP_NAME")),
            Known("preserve-fds", None, Some("N")),
            Known("cgroup", None, Some("[CONTROLLER:]PATH")),
            Known("ignore-paused", None, None),
        ],
    },
    Spoken { name: "state", about: "print how a container is, as JSON", arguments: ID, verbatim: false, options: NONE },
    Spoken {
        name: "kill",
        about: "send a signal (SIGTERM) to a container's first process",
        arguments: (1, 2, "<container-id> [signal]"),
        verbatim: false,
        options: &[Known("all", Some('a'), None)],
    },
    Spoken {
        name: "delete",
        about: "remove what is left of a container",
        arguments: ID,
        verbatim: false,
        options: &[Known("force", Some('f'), None)],
    },
    Spoken {
        name: "list",
        about: "list the containers below --root",
        arguments: (0, 0, ""),
        verbatim: false,
        options: &[Known("format", Some('f'), Some("table|json")), Known("quiet", Some('q'), None)],
    },
    Spoken {
        name: "ps",
        about: "list the processes in a container",
        arguments: (1, usize::MAX, "<container-id> [ps options]"),
        verbatim: true,
        options: &[Known("format", Some('f'), Some("table|json"))],
    },
    Spoken {
        name: "pause",
        about: "stop every process of a container where it is",
        arguments: ID,
        verbatim: false,
        options: NONE,
    },
    Spoken { name: "resume", about: "let them go on", arguments: ID, verbatim: false, options: NONE },
    Spoken {
        name: "update",
        about: "change the limits of a container",
        arguments: ID,
        verbatim: false,
        options: &[
            Known("resources", Some('r'), Some("FILE|-")),
            Known("blkio-weight", None, Some("N")),
            Known("cpu-period", None, Some("USEC")),
            Known("cpu-quota", None, Some("USEC")),
            Known("cpu-burst", None, Some("USEC")),
            Known("cpu-share", None, Some("N")),
            Known("cpu-rt-period", None, Some("USEC")),
            Known("cpu-rt-runtime", None, Some("USEC")),
            Known("cpuset-cpus", None, Some("LIST")),
            Known("cpuset-mems", None, Some("LIST")),
            Known("cpu-idle", None, Some("0|1")),
            Known("kernel-memory", None, Some("BYTES")),
            Known("kernel-memory-tcp", None, Some("BYTES")),
            Known("memory", None, Some("BYTES")),
            Known("memory-reservation", None, Some("BYTES")),
            Known("memory-swap", None, Some("BYTES")),
            Known("pids-limit", None, Some("N")),
            Known("l3-cache-schema", None, Some("SCHEMA")),
            Known("mem-bw-schema", None, Some("SCHEMA")),
        ],
    },
    Spoken {
        name: "events",
        about: "print usage and out-of-memory events, as JSON",
        arguments: ID,
        verbatim: false,
        options: &[Known("interval", None, Some("DURATION")), Known("stats", None, None)],
    },
    Spoken {
        name: "features",
        about: "print what this runtime can, as JSON",
        arguments: (0, 0, ""),
        verbatim: false,
        options: NONE,
    },
    Spoken {
        name: "spec",
        about: "write an example config.json",
        arguments: (0, 0, ""),
        verbatim: false,
        options: &[Known("bundle", Some('b'), Some("DIR")), Known("rootless", None, None)],
    },
    Spoken { name: "checkpoint", about: "refused", arguments: (0, usize::MAX, ""), verbatim: true, options: NONE },
    Spoken { name: "restore", about: "refused", arguments: (0, usize::MAX, ""), verbatim: true, options: NONE },
];

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// The usage, of one command or of all.
    Help(Option<&'static str>),
    Version,
    Named(&'static str, Given),
}

/// The options and arguments of one command.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Given {
    options: Vec<(&'static str, String)>,
    pub arguments: Vec<String>,
}

impl Given {
    /// The option's last value.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.options.iter().rev().find(|(n, _)| *n == name).map(|(_, value)| value.as_str())
    }

    /// All its values in order.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.options.iter().filter(move |(n, _)| *n == name).map(|(_, value)| value.as_str())
    }

    /// Whether a switch is on.
    pub fn is(&self, name: &str) -> bool {
        self.value(name) == Some("true")
    }

    /// The option's value as a number; `Err` with what it is instead.
    pub fn number(&self, name: &str) -> Result<Option<i64>> {
        let bad = |value: &str| Error(format!("invalid value {value:?} for flag -{name}: parse error"));
        self.value(name).map(|value| value.parse().map_err(|_| bad(value))).transpose()
    }

    /// The first argument: the container.
    pub fn id(&self) -> Result<&str> {
        match self.arguments.first().map(String::as_str) {
            None | Some("") => Error::new("container id cannot be empty"),
            Some(id) => Ok(id),
        }
    }
}

/// Reads a whole command line.
pub fn parse(called: &str, words: &[String]) -> Result<(Given, Command)> {
    let mut global = Given::default();
    let mut rest = words.iter();
    let mut command = None;
    while let Some(word) = rest.next() {
        if word == "-h" || word == "--help" || word == "-help" {
            return Ok((global, Command::Help(None)));
        }
        if !option(word, GLOBAL, &mut rest, &mut global)? {
            command = Some(word);
            break;
        }
    }
    if global.is("version") {
        return Ok((global, Command::Version));
    }
    let Some(word) = command.filter(|word| *word != "help" && *word != "h") else {
        let of = rest.next().and_then(|name| COMMANDS.iter().find(|known| known.name == name));
        return Ok((global, Command::Help(of.map(|known| known.name))));
    };
    let Some(known) = COMMANDS.iter().find(|known| known.name == word) else {
        return Error::new(format!("No help topic for '{word}'"));
    };
    let mut given = Given::default();
    while let Some(word) = rest.next() {
        if word == "--" {
            given.arguments.extend(rest.cloned());
            break;
        }
        if word == "-h" || word == "--help" {
            return Ok((global, Command::Help(Some(known.name))));
        }
        if option(word, known.options, &mut rest, &mut given)? {
            continue;
        }
        given.arguments.push(word.clone());
        if known.verbatim {
            // A `--` between the container and its command separates them only.
            let mut rest = rest.peekable();
            if known.name == "exec" {
                rest.next_if(|word| *word == "--");
            }
            given.arguments.extend(rest.cloned());
            break;
        }
    }
    let (fewest, most, _) = known.arguments;
    let count = given.arguments.len();
    if count < fewest || count > most {
        let (how, number) = match () {
            () if fewest == most => ("exactly", fewest),
            () if count < fewest => ("a minimum of", fewest),
            () => ("a maximum of", most),
        };
        return Error::new(format!("{called}: {:?} requires {how} {number} argument(s)", known.name));
    }
    Ok((global, Command::Named(known.name, given)))
}

/// Reads `word` and its value into `given`; false when it is no option.
fn option<'a>(
    word: &str,
    known: &[Known],
    rest: &mut impl Iterator<Item = &'a String>,
    given: &mut Given,
) -> Result<bool> {
    let Some(bare) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).filter(|bare| !bare.is_empty()) else {
        return Ok(false);
    };
    let (name, mut value) = match bare.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (bare, None),
    };
    let letter = |c: char| name.len() == c.len_utf8() && name.starts_with(c);
    let Some(Known(name, _, takes)) = known.iter().find(|k| k.0 == name || k.1.is_some_and(letter)) else {
        return Error::new(format!("flag provided but not defined: -{name}"));
    };
    if takes.is_some() && value.is_none() {
        value = rest.next().cloned();
    }
    let value = match (takes, value) {
        (Some(_), Some(value)) => value,
        (Some(_), None) => return Error::new(format!("flag needs an argument: -{name}")),
        (None, None) => "true".into(),
        (None, Some(value)) => match value.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => "true".into(),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => "false".into(),
            _ => return Error::new(format!("invalid boolean value {value:?} for -{name}: parse error")),
        },
    };
    given.options.push((name, value));
    Ok(true)
}

/// How a command is used, or all are.
pub fn usage(called: &str, name: Option<&str>) -> String {
    let line = |known: &Known| {
        let letter = known.1.map_or(String::new(), |c| format!(", -{c}"));
        format!("   --{}{letter}{}\n", known.0, known.2.map_or(String::new(), |value| format!(" {value}")))
    };
    match name.and_then(|name| COMMANDS.iter().find(|known| known.name == name)) {
        Some(known) => {
            let options: String = known.options.iter().map(line).collect();
            format!(
                "NAME:\n   {called} {0} - {1}\n\nUSAGE:\n   {called} {0} [options] {2}\n\nOPTIONS:\n{options}",
                known.name, known.about, known.arguments.2
            )
        }
        None => {
            let commands: String = COMMANDS.iter().map(|k| format!("   {:<12}{}\n", k.name, k.about)).collect();
            let options: String = GLOBAL.iter().map(line).collect();
            format!(
                "NAME:\n   {called} - Open Container Initiative runtime\n\nUSAGE:\n   {called} [global options] command \
                 [options] [arguments]\n\nCOMMANDS:\n{commands}\nGLOBAL OPTIONS:\n{options}"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<(Given, Command)> {
        parse("dhow-runtime", &line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    fn named(line: &str) -> (&'static str, Given) {
        match of(line) {
            Ok((_, Command::Named(name, given))) => (name, given),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn options_stand_before_and_after_the_id() {
        for line in ["create -b /x c1 --pid-file=p", "create --pid-file p c1 -bundle /x", "create c1 -b=/x -pid-file p"]
        {
            let (name, given) = named(line);
            assert_eq!((name, given.id()), ("create", Ok("c1")), "{line}");
            assert_eq!((given.value("bundle"), given.value("pid-file")), (Some("/x"), Some("p")), "{line}");
        }
        let (_, given) = named("kill c1 KILL --all");
        assert_eq!((given.arguments, given.options), (vec!["c1".into(), "KILL".into()], vec![("all", "true".into())]));
    }

    #[test]
    fn a_command_of_the_container_is_left_alone() {
        let (_, given) = named("exec -t -e A=1 --env B=2 c1 sh -c --tty");
        assert_eq!(given.arguments, ["c1", "sh", "-c", "--tty"]);
        assert_eq!(given.values("env").collect::<Vec<_>>(), ["A=1", "B=2"]);
        assert!(given.is("tty") && !given.is("detach"));
        assert_eq!(named("exec c1 -- ls").1.arguments, ["c1", "ls"]);
        assert_eq!(named("ps c1 -aux").1.arguments, ["c1", "-aux"]);
    }

    #[test]
    fn global_options() {
        let (global, command) = of("--root /r --log=l --log-format json --debug state c").unwrap();
        assert_eq!(["root", "log", "log-format"].map(|n| global.value(n)), [Some("/r"), Some("l"), Some("json")]);
        assert!(global.is("debug") && matches!(command, Command::Named("state", _)));
        assert_eq!(of("--version").unwrap().1, Command::Version);
        assert_eq!(of("").unwrap().1, Command::Help(None));
        assert_eq!(of("help exec").unwrap().1, Command::Help(Some("exec")));
        assert_eq!(of("state --help").unwrap().1, Command::Help(Some("state")));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, text) in [
            ("state", "dhow-runtime: \"state\" requires exactly 1 argument(s)"),
            ("kill", "dhow-runtime: \"kill\" requires a minimum of 1 argument(s)"),
            ("kill a b c", "dhow-runtime: \"kill\" requires a maximum of 2 argument(s)"),
            ("state --nosuch c", "flag provided but not defined: -nosuch"),
            ("create c --bundle", "flag needs an argument: -bundle"),
            ("delete --force=maybe c", "invalid boolean value \"maybe\" for -force: parse error"),
            ("nosuch", "No help topic for 'nosuch'"),
        ] {
            assert_eq!(of(line).map(|_| ()), Err(Error(text.into())), "{line}");
        }
        let (_, given) = named("create --preserve-fds x c");
        assert_eq!(
            given.number("preserve-fds").map_err(|e| e.0),
            Err("invalid value \"x\" for flag -preserve-fds: parse error".into())
        );
    }
}
