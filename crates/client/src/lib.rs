//! The `dhow` commands: from a command line to requests, and from answers to what a person reads.
//!
//! ```text
//! src/
//!   lib.rs          the command line's beginning: global flags, which command, help
//!   flags.rs        flags as pflag reads them        table.rs, table/  every command and flag
//!   help.rs         help                             completion.rs     bash, zsh, fish
//!   options.rs, options/   flags of run and create -> the API's types
//!   config.rs       endpoint, config.json            autostart.rs      starts the engine when nobody has
//!   engine.rs       requests                         socket.rs         unix and TCP
//!   plain.rs        requests without a runtime
//!   stream.rs       standard streams, signals        terminal.rs       raw mode, size, detach keys
//!   archive.rs      tar for cp                       progress.rs       bars of pull
//!   format.rs, format/     --format: rows, tables, inspect as Go's structs
//!   reference.rs    names of images                  output.rs         what reaches the terminal
//!   verbs.rs, verbs/       what each command does
//! ```
//!
//! Invariants
//! - Nothing is done before it is needed: no configuration is read, no connection made, no thread started for `--help`,
//!   `version --format '{{.Client.Version}}'` or a flag that is wrong.
//! - What a registry, an image or a container says is escaped before it reaches a terminal.
//! - Archives from an engine are unpacked below their destination and nowhere else.
//! - A failure is said once, in Docker's words, with Docker's exit code.
//!
//! It must never know: how the engine does anything. It speaks the API and nothing else.

mod archive;
mod autostart;
mod completion;
mod config;
mod engine;
mod failure;
mod flags;
mod format;
mod help;
mod options;
mod output;
mod plain;
mod progress;
mod reference;
mod socket;
mod stream;
mod table;
mod terminal;
mod verbs;

use failure::{Failure, Result};
use flags::{Command, Parsed};
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs a command line: the name it was called by, and the arguments after it.
pub fn main(name: OsString, args: Vec<OsString>) -> ExitCode {
    let called = std::path::Path::new(&name).file_name();
    let program = if called.is_some_and(|n| n == "docker") { "docker" } else { "dhow" };
    match begin(program, &args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.text.is_empty() {
                output::complain(&failure.text);
            }
            ExitCode::from(failure.code)
        }
    }
}

fn begin(program: &str, args: &[OsString]) -> Result<()> {
    if args.first().is_some_and(|a| a == autostart::DETACH) {
        return Err(autostart::detach());
    }
    let globals = flags::parse(&[&table::GLOBAL], false, args).map_err(|failure| Failure {
        text: format!(
            "{}\n\nUsage:  {program} [OPTIONS] COMMAND [ARG...]\n\nRun '{program} --help' for more information",
            failure.text
        ),
        code: 125,
        ..failure
    })?;
    // the command keeps its own flags: everything after the first word is as it was typed
    let words = &args[args.len() - globals.args.len()..];
    if globals.is("version") {
        let about = if program == "docker" { "Docker" } else { "Dhow" };
        let build = option_env!("DHOW_COMMIT").unwrap_or("unknown");
        return output::print(&format!("{about} version {}, build {build}\n", env!("CARGO_PKG_VERSION")));
    }
    if globals.help || words.is_empty() {
        return top_help(program, &globals);
    }
    let text: Vec<String> = words.iter().take(3).map(|w| w.to_string_lossy().into_owned()).collect();
    let text: Vec<&str> = text.iter().map(String::as_str).collect();
    if text[0] == "help" {
        return help_command(program, &globals, &text[1..]);
    }
    if text[0] == "completion" {
        return completion(program, &text[1..]);
    }
    let Some((command, used)) = table::find(&text) else { return no_command(program, &text) };
    run(program, &globals, command, &text[..used].join(" "), &words[used..])
}

fn top_help(program: &str, globals: &Parsed) -> Result<()> {
    let directory = config::directory(globals);
    output::print(&help::top(program, &directory.to_string_lossy(), help::width()))
}

fn help_command(program: &str, globals: &Parsed, words: &[&str]) -> Result<()> {
    if words.is_empty() {
        return top_help(program, globals);
    }
    if let Some((command, used)) = table::find(words) {
        return output::print(&help::command(program, command, &words[..used].join(" "), help::width()));
    }
    match help::noun(program, words[0]) {
        Some(text) => output::print(&text),
        None => Err(Failure::new(format!("unknown help topic: {}", words.join(" ")))),
    }
}

fn completion(program: &str, words: &[&str]) -> Result<()> {
    match words.first().and_then(|shell| completion::script(shell, program)) {
        Some(script) => output::raw(script.as_bytes()),
        None => Err(Failure::new(format!("{program} completion: one of bash, zsh, fish is required"))),
    }
}

fn no_command(program: &str, words: &[&str]) -> Result<()> {
    if let Some(text) = help::noun(program, words[0]) {
        return match words.get(1) {
            None => {
                output::complain(text.trim_end_matches('\n'));
                Ok(())
            }
            Some(&("--help" | "-h")) => output::print(&text),
            Some(flag) if flag.starts_with('-') => Err(Failure::new(format!(
                "unknown flag: {flag}\n\nUsage:  {program} {noun} COMMAND\n\nRun '{program} {noun} --help' for more information",
                noun = words[0]
            ))
            .with_code(125)),
            Some(verb) => Err(Failure::new(format!(
                "{program}: unknown command: {program} {noun} {verb}\n\nUsage:  {program} {noun}\n\nRun '{program} {noun} --help' for more information",
                noun = words[0]
            ))),
        };
    }
    Err(Failure::new(format!(
        "{program}: unknown command: {program} {}\n\nRun '{program} --help' for more information",
        words[0]
    )))
}

fn run(program: &str, globals: &Parsed, command: &'static Command, words: &str, args: &[OsString]) -> Result<()> {
    // what this version has not is said whatever its flags are
    let parsed = match command.flags.is_empty() && command.path == "image build" {
        true => Parsed::default(),
        false => flags::parse(&[command.flags], command.interspersed, args).map_err(|failure| Failure {
            text: format!(
                "{}\n\nUsage:  {}\n\nRun '{program} {words} --help' for more information",
                failure.text,
                command.use_line(program, words)
            ),
            code: 125,
            ..failure
        })?,
    };
    for (old, new) in &parsed.deprecated {
        output::print(&format!("Flag --{old} has been deprecated, use --{new} instead\n"))?;
    }
    if parsed.help {
        if parsed.short_help {
            output::complain("Flag shorthand -h has been deprecated, use --help");
        }
        return output::print(&help::command(program, command, words, help::width()));
    }
    arity(program, command, words, parsed.args.len())?;
    let settings = config::Settings::new(program, globals)?;
    let engine = engine::Engine::new(&settings);
    engine::drive(verbs::run(command, &engine, &parsed))
}

/// Refuses too few or too many arguments.
fn arity(program: &str, command: &Command, words: &str, got: usize) -> Result<()> {
    let plural = |n: usize| if n == 1 { "argument" } else { "arguments" };
    let least = command.least;
    let (wrong, verb) = match command.most {
        Some(most) if got >= least && got <= most => return Ok(()),
        None if got >= least => return Ok(()),
        Some(0) => ("accepts no arguments".to_string(), "Run"),
        Some(most) if most == least => (format!("requires {least} {}", plural(least)), "Run"),
        Some(most) if least == 0 => (format!("requires at most {most} {}", plural(most)), "Run"),
        Some(most) => (format!("requires at least {least} and at most {most} {}", plural(most)), "Run"),
        None => (format!("requires at least {least} {}", plural(least)), "See"),
    };
    Err(Failure::new(format!(
        "{program}: '{program} {words}' {wrong}\n\nUsage:  {}\n\n{verb} '{program} {words} --help' for more information",
        command.use_line(program, words)
    )))
}
