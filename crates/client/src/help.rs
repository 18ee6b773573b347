//! Help, in the layout that Docker's users know.

use crate::flags::{Command, Flag};
use crate::table::{ALL, COMMON, GLOBAL, NOUNS};

/// The width to wrap at: the terminal's, or 80.
pub fn width() -> usize {
    match rustix::termios::tcgetwinsize(rustix::stdio::stdin()) {
        Ok(size) => usize::from(size.ws_col),
        Err(_) => 80,
    }
}

/// `dhow run --help`.
pub fn command(program: &str, command: &Command, words: &str, width: usize) -> String {
    let mut out = format!("Usage:  {}\n\n{}\n", command.use_line(program, words), command.about);
    if !command.other_paths.is_empty() {
        let names: Vec<String> = command.other_paths.iter().map(|p| format!("{program} {p}")).collect();
        out.push_str(&format!("\nAliases:\n  {}\n", names.join(", ")));
    }
    if command.flags.iter().any(|f| !f.hidden) {
        out.push_str(&format!("\nOptions:\n{}", options(command.flags, width)));
    }
    out
}

/// `dhow container --help`.
pub fn noun(program: &str, noun: &str) -> Option<String> {
    let (_, about) = NOUNS.iter().find(|(n, _)| *n == noun)?;
    let mut out = format!("Usage:  {program} {noun} COMMAND\n\n{about}\n\nCommands:\n");
    for command in ALL {
        if let Some(verb) = command.path.strip_prefix(noun).and_then(|rest| rest.strip_prefix(' ')) {
            out.push_str(&format!("  {verb:<11} {}\n", first_line(command)));
        }
    }
    out.push_str(&format!("\nRun '{program} {noun} COMMAND --help' for more information on a command.\n"));
    Some(out)
}

/// `dhow --help`.
pub fn top(program: &str, config: &str, width: usize) -> String {
    let mut out = format!("Usage:  {program} [OPTIONS] COMMAND\n\nA self-sufficient runtime for containers\n");
    let short = |name: &str| ALL.iter().find(|c| c.top == name || c.path == name).copied();
    out.push_str("\nCommon Commands:\n");
    for name in COMMON {
        if let Some(command) = short(name) {
            out.push_str(&format!("  {name:<11} {}\n", first_line(command)));
        }
    }
    out.push_str("\nManagement Commands:\n");
    for (name, about) in NOUNS {
        out.push_str(&format!("  {name:<11} {about}\n"));
    }
    out.push_str("\nCommands:\n");
    let mut rest: Vec<(&str, &str)> = ALL
        .iter()
        .map(|c| (if c.path.contains(' ') { c.top } else { c.path }, first_line(c)))
        .filter(|(name, _)| !name.is_empty() && !COMMON.contains(name))
        .chain([("completion", "Print the completion of a shell: bash, zsh or fish"), ("daemon", "Run the engine")])
        .collect();
    rest.sort_unstable();
    for (name, about) in rest {
        out.push_str(&format!("  {name:<11} {about}\n"));
    }
    out.push_str(&format!(
        "\nGlobal Options:\n{}",
        options_with(&GLOBAL, width, &|usage| usage.replace("{CONFIG}", config))
    ));
    out.push_str(&format!("\nRun '{program} COMMAND --help' for more information on a command.\n"));
    out
}

fn first_line(command: &Command) -> &'static str {
    let line = command.about.lines().next().unwrap_or("").trim_end_matches('.');
    line.split_once(". ").map_or(line, |(first, _)| first)
}

fn options(flags: &[Flag], width: usize) -> String {
    options_with(flags, width, &|usage| usage.to_string())
}

fn options_with(flags: &[Flag], width: usize, usage: &dyn Fn(&str) -> String) -> String {
    let shown: Vec<(String, String)> = flags
        .iter()
        .filter(|f| !f.hidden)
        .map(|f| {
            let mut line = match f.short {
                '\0' => format!("      --{}", f.name),
                short => format!("  -{short}, --{}", f.name),
            };
            if f.kind != "bool" {
                line.push(' ');
                line.push_str(f.kind);
            }
            (line, usage(f.usage))
        })
        .collect();
    let longest = shown.iter().map(|(line, _)| line.len()).max().unwrap_or(0);
    let indent = longest + 3;
    let mut out = String::new();
    for (line, usage) in shown {
        out.push_str(&format!("{line:<longest$}   {}\n", wrap(indent, width.saturating_sub(1), &usage)));
    }
    out
}

/// Words over a little are kept on a line rather than left alone on the next.
const SLOP: usize = 5;

/// Wraps text that begins at column `indent`.
fn wrap(indent: usize, width: usize, text: &str) -> String {
    let newline = |indent: usize| format!("\n{}", " ".repeat(indent));
    if width == 0 {
        return text.replace('\n', &newline(indent));
    }
    let mut indent = indent;
    let mut room = width.saturating_sub(indent);
    let mut out = String::new();
    if room < 24 {
        indent = 16;
        room = width.saturating_sub(indent);
        out = newline(indent);
    }
    if room < 24 {
        return text.replace('\n', &out);
    }
    let (line, mut rest) = cut(room - SLOP, text);
    out.push_str(&line.replace('\n', &newline(indent)));
    while !rest.is_empty() {
        let (line, after) = cut(room - SLOP, rest);
        out.push_str(&newline(indent));
        out.push_str(&line.replace('\n', &newline(indent)));
        rest = after;
    }
    out
}

fn cut(room: usize, text: &str) -> (&str, &str) {
    if room + SLOP > text.len() {
        return (text, "");
    }
    let head = &text.as_bytes()[..room];
    let Some(space) = head.iter().rposition(|b| b" \t\n".contains(b)).filter(|at| *at > 0) else { return (text, "") };
    match head.iter().rposition(|b| *b == b'\n') {
        Some(newline) if newline > 0 && newline < space => (&text[..newline], &text[newline + 1..]),
        _ => (&text[..space], &text[space + 1..]),
    }
}
