//! Completion for bash, zsh and fish, made from the tables of commands.

use crate::table::{ALL, GLOBAL, NOUNS};

/// The script for a shell.
pub fn script(shell: &str, program: &str) -> Option<String> {
    match shell {
        "bash" => Some(bash(program)),
        "zsh" => Some(zsh(program)),
        "fish" => Some(fish(program)),
        _ => None,
    }
}

/// Words that may follow the program, or a noun.
fn verbs(noun: Option<&str>) -> Vec<(&'static str, &'static str)> {
    let about = |about: &'static str| about.lines().next().unwrap_or("").trim_end_matches('.');
    let mut out: Vec<(&str, &str)> = match noun {
        Some(noun) => {
            ALL.iter().filter_map(|c| Some((c.path.strip_prefix(noun)?.strip_prefix(' ')?, about(c.about)))).collect()
        }
        None => ALL
            .iter()
            .map(|c| (if c.path.contains(' ') { c.top } else { c.path }, about(c.about)))
            .filter(|(name, _)| !name.is_empty())
            .chain(NOUNS)
            .chain([
                ("completion", "Print the completion of a shell"),
                ("daemon", "Run the engine"),
                ("help", "Show help"),
            ])
            .collect(),
    };
    out.sort_unstable();
    out
}

/// What the arguments of a command name, as a command of ours that lists them.
fn names(args: &str) -> &'static str {
    match args.trim_start_matches("[OPTIONS] ") {
        a if a.starts_with("CONTAINER") => "ps -a --format {{.Names}}",
        a if a.starts_with("IMAGE") || a.starts_with("SOURCE_IMAGE") => "images --format {{.Repository}}:{{.Tag}}",
        a if a.starts_with("NETWORK") => "network ls --format {{.Name}}",
        a if a.starts_with("VOLUME") => "volume ls --format {{.Name}}",
        _ => "",
    }
}

fn flags_of(flags: &[crate::flags::Flag]) -> String {
    let mut words = Vec::new();
    for flag in flags.iter().filter(|f| !f.hidden) {
        words.push(format!("--{}", flag.name));
        if flag.short != '\0' {
            words.push(format!("-{}", flag.short));
        }
    }
    words.push("--help".into());
    words.join(" ")
}

fn bash(program: &str) -> String {
    let mut cases = String::new();
    for command in ALL {
        let names = names(command.args);
        let mut patterns = vec![format!("'{}'", command.path)];
        if !command.top.is_empty() {
            patterns.push(format!("'{}'", command.top));
        }
        cases.push_str(&format!(
            "    {}) flags='{}'; list='{names}' ;;\n",
            patterns.join("|"),
            flags_of(command.flags)
        ));
    }
    let mut nouns = String::new();
    for (noun, _) in NOUNS {
        let words: Vec<&str> = verbs(Some(noun)).iter().map(|(v, _)| *v).collect();
        nouns.push_str(&format!("    {noun}) words='{}' ;;\n", words.join(" ")));
    }
    let top: Vec<&str> = verbs(None).iter().map(|(v, _)| *v).collect();
    format!(
        r#"# bash completion for {program}
_{program}() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} path='' i word words='' flags='' list=''
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${{COMP_WORDS[i]}}
    case $word in
      -*) continue ;;
    esac
    if [ -z "$path" ]; then
      path=$word
      case $path in {noun_pattern}) continue ;; esac
      break
    fi
    path="$path $word"
    break
  done
  case $path in
    '') words='{top}'; flags='{global}' ;;
{nouns}  esac
  case $path in
{cases}  esac
  if [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "$flags" -- "$cur"))
  elif [ -n "$words" ]; then
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
  elif [ -n "$list" ]; then
    COMPREPLY=($(compgen -W "$({program} $list 2>/dev/null)" -- "$cur"))
    [[ $COMP_WORDBREAKS == *:* && $cur == *:* ]] && COMPREPLY=("${{COMPREPLY[@]#"${{cur%"${{cur##*:}}"}}"}}")
  else
    COMPREPLY=($(compgen -f -- "$cur"))
  fi
  return 0
}}
complete -F _{program} {program}
"#,
        noun_pattern = NOUNS.map(|(n, _)| n).join("|"),
        top = top.join(" "),
        global = flags_of(&GLOBAL),
    )
}

/// Text inside single quotes, for shells.
fn quoted(text: &str) -> String {
    text.replace('\'', "'\\''")
}

fn zsh(program: &str) -> String {
    let described = |noun: Option<&str>| {
        let items: Vec<String> =
            verbs(noun).iter().map(|(v, about)| format!("'{v}:{}'", quoted(&about.replace(':', "\\:")))).collect();
        items.join(" ")
    };
    let mut nouns = String::new();
    for (noun, _) in NOUNS {
        nouns.push_str(&format!("    {noun}) items=({}) ;;\n", described(Some(noun))));
    }
    let mut cases = String::new();
    for command in ALL {
        let names = names(command.args);
        let mut patterns = vec![format!("'{}'", command.path)];
        if !command.top.is_empty() {
            patterns.push(format!("'{}'", command.top));
        }
        cases.push_str(&format!(
            "    {}) flags=({}); list='{names}' ;;\n",
            patterns.join("|"),
            flags_of(command.flags)
        ));
    }
    format!(
        r#"#compdef {program}
# zsh completion for {program}
_{program}() {{
  local path_='' i word list=''
  local -a items flags found
  for ((i = 2; i < CURRENT; i++)); do
    word=${{words[i]}}
    [[ $word == -* ]] && continue
    if [[ -z $path_ ]]; then
      path_=$word
      case $path_ in {noun_pattern}) continue ;; esac
      break
    fi
    path_="$path_ $word"
    break
  done
  case $path_ in
    '') items=({top}); flags=({global}) ;;
{nouns}  esac
  case $path_ in
{cases}  esac
  if [[ ${{words[CURRENT]}} == -* ]]; then
    compadd -- $flags
  elif (( ${{#items}} )); then
    _describe command items
  elif [[ -n $list ]]; then
    found=(${{(f)"$({program} ${{=list}} 2>/dev/null)"}})
    compadd -- $found
  else
    _files
  fi
}}
if [ "$funcstack[1]" = "_{program}" ]; then
  _{program} "$@"
else
  compdef _{program} {program}
fi
"#,
        noun_pattern = NOUNS.map(|(n, _)| n).join("|"),
        top = described(None),
        global = flags_of(&GLOBAL),
    )
}

fn fish(program: &str) -> String {
    let mut out = format!("# fish completion for {program}\ncomplete -c {program} -f\n");
    let nouns = NOUNS.map(|(n, _)| n).join(" ");
    let line = |condition: &str, rest: &str| format!("complete -c {program} -n '{condition}' {rest}\n");
    for (verb, about) in verbs(None) {
        out.push_str(&line("__fish_use_subcommand", &format!("-a {verb} -d '{}'", quoted(about))));
    }
    for (noun, _) in NOUNS {
        let all: Vec<&str> = verbs(Some(noun)).iter().map(|(v, _)| *v).collect();
        for (verb, about) in verbs(Some(noun)) {
            let condition =
                format!("__fish_seen_subcommand_from {noun}; and not __fish_seen_subcommand_from {}", all.join(" "));
            out.push_str(&line(&condition, &format!("-a {verb} -d '{}'", quoted(about))));
        }
    }
    for command in ALL {
        let condition = match command.path.split_once(' ') {
            Some((noun, verb)) if command.top.is_empty() || command.top == verb => match command.top {
                "" => format!("__fish_seen_subcommand_from {noun}; and __fish_seen_subcommand_from {verb}"),
                top => format!("__fish_seen_subcommand_from {top}"),
            },
            Some((noun, verb)) => format!(
                "__fish_seen_subcommand_from {}; or begin; __fish_seen_subcommand_from {noun}; and __fish_seen_subcommand_from {verb}; end",
                command.top
            ),
            None => {
                format!("__fish_seen_subcommand_from {}; and not __fish_seen_subcommand_from {nouns}", command.path)
            }
        };
        let names = names(command.args);
        if !names.is_empty() {
            out.push_str(&line(
                &condition,
                &format!("-a \"({program} {names} 2>/dev/null)\"").replace("{{", "\\{\\{").replace("}}", "\\}\\}"),
            ));
        }
        for flag in command.flags.iter().filter(|f| !f.hidden) {
            let short = if flag.short == '\0' { String::new() } else { format!("-s {} ", flag.short) };
            let value = if flag.kind == "bool" { "" } else { "-r " };
            let about = quoted(flag.usage.lines().next().unwrap_or(""));
            out.push_str(&line(&condition, &format!("{short}-l {} {value}-d '{about}'", flag.name)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    /// Whether the shell, when there is one, reads the script without complaint.
    fn reads(shell: &str, args: &[&str], text: &str) -> bool {
        let child = Command::new(shell).args(args).stdin(Stdio::piped()).spawn();
        let Ok(mut child) = child else { return true };
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        child.wait().unwrap().success()
    }

    #[test]
    fn scripts_are_syntax() {
        for program in ["dhow", "docker"] {
            let bash = script("bash", program).unwrap();
            assert!(bash.contains("'container run'|'run'") && bash.contains("--restart"));
            assert!(reads("bash", &["-n"], &bash));
            assert!(reads("zsh", &["-n"], &script("zsh", program).unwrap()));
            assert!(reads("fish", &["--no-execute"], &script("fish", program).unwrap()));
        }
        assert_eq!(script("tcsh", "dhow"), None);
    }

    #[test]
    fn bash_completes() {
        let ask = |line: &str, cword: usize| {
            let text = format!(
                "{}\nCOMP_WORDS=({line}); COMP_CWORD={cword}; _dhow; echo ${{COMPREPLY[@]}}\n",
                script("bash", "dhow").unwrap()
            );
            String::from_utf8(Command::new("bash").args(["-c", &text]).output().unwrap().stdout).unwrap()
        };
        assert_eq!(ask("dhow ren", 1), "rename\n");
        assert_eq!(ask("dhow container ren", 2), "rename\n");
        assert_eq!(ask("dhow run --memory-s", 2), "--memory-swap --memory-swappiness\n");
    }
}
