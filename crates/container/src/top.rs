//! `top`: the host's `ps`, narrowed to the container's processes, or our own reading of /proc where there is no `ps`.

use crate::containers::{Container, Containers};
use crate::error::{Error, Result, invalid, text};
use crate::state::Phase;
use api::container::Top;
use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use supervisor::protocol::{Reply, Request};

impl Containers {
    /// The processes of a container; `arguments` are those of ps(1), empty is `-ef`.
    ///
    /// # Errors
    /// `Conflict` when it does not run.
    pub fn top(&self, name: &str, arguments: &str) -> Result<Top> {
        let arguments = if arguments.is_empty() { "-ef" } else { arguments };
        check(arguments)?;
        let c = self.shared.find(name)?;
        match c.peek(|s| s.phase) {
            Phase::Running => {}
            Phase::Restarting => return Err(text::restarting(&c.id)),
            _ => return Err(text::not_running(&c.id)),
        }
        let pids: BTreeSet<i32> = c.pids()?.into_iter().collect();
        let top = match ps(arguments, &pids) {
            Some(output) => parse(&output?, &pids)?,
            None if arguments == "-ef" => own(&pids),
            None => return Err(Error::System("ps: executable file not found in $PATH".into())),
        };
        self.shared.tell(&c, "top", &[]);
        Ok(top)
    }
}

impl Container {
    /// All its processes, as the host numbers them.
    pub fn pids(&self) -> Result<Vec<i32>> {
        match self.ask(&Request::Processes)? {
            Reply::Pids(pids) => Ok(pids),
            other => Err(Error::System(format!("the supervisor answered {other:?}"))),
        }
    }
}

/// A column that calls itself PID would let everything through.
fn check(arguments: &str) -> Result<()> {
    for word in arguments.split_ascii_whitespace().flat_map(|w| w.split(',')) {
        if let Some((key, value)) = word.split_once('=')
            && value.trim_start().starts_with("PID")
            && key != "pid"
        {
            return Err(invalid!("specifying \"{key}={value}\" is not allowed"));
        }
    }
    Ok(())
}

/// What ps prints; `None` when there is no ps.
fn ps(arguments: &str, pids: &BTreeSet<i32>) -> Option<Result<String>> {
    let words: Vec<&str> = arguments.split(' ').filter(|w| !w.is_empty()).collect();
    let list = pids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    let run = |more: Option<String>| Command::new("ps").args(&words).args(more).stdin(Stdio::null()).output();
    let narrowed = run(Some(format!("-q{list}")));
    let output = match narrowed {
        Ok(output) if output.status.success() => Ok(output),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return None,
        // Some options cannot be used together with -q.
        _ => run(None),
    };
    Some(match output {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => {
            let words = String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned();
            Err(Error::System(format!("ps: {}", if words.is_empty() { output.status.to_string() } else { words })))
        }
        Err(e) => Err(Error::System(format!("ps: {e}"))),
    })
}

fn parse(output: &str, pids: &BTreeSet<i32>) -> Result<Top> {
    let mut lines = output.lines();
    let titles: Vec<String> = lines.next().unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect();
    let Some(column) = titles.iter().position(|t| t == "PID") else {
        return Err(Error::System("Couldn't find PID field in ps output".into()));
    };
    let mut processes = Vec::new();
    let mut before = false;
    for line in lines.filter(|l| !l.trim().is_empty()) {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let Some(field) = fields.get(column) else { continue };
        // With option m the threads follow their process under "-".
        let ours = match *field {
            "-" => before,
            number => {
                let pid =
                    number.parse::<i32>().map_err(|e| Error::System(format!("Unexpected pid '{number}': {e}")))?;
                pids.contains(&pid)
            }
        };
        if ours {
            processes.push(row(&fields, titles.len()));
        }
        before = ours;
    }
    Ok(Top { titles: titles.into(), processes: processes.into() })
}

/// As many fields as there are titles, the last one with all that is left.
fn row(fields: &[&str], columns: usize) -> Vec<String> {
    let last = columns.saturating_sub(1).min(fields.len());
    let mut out: Vec<String> = fields[..last].iter().map(|f| f.to_string()).collect();
    out.push(fields[last..].join(" "));
    out
}

/// `ps -ef` by ourselves: users as numbers, no terminals.
fn own(pids: &BTreeSet<i32>) -> Top {
    let titles = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];
    let processes = pids.iter().filter_map(|pid| own_row(*pid)).collect();
    Top { titles: titles.iter().map(|t| t.to_string()).collect(), processes }
}

fn own_row(pid: i32) -> Option<Vec<String>> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let of_status = |name: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(name))?;
        line.split_ascii_whitespace().next().map(str::to_owned)
    };
    let after: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let ticks: u64 = after.get(11)?.parse::<u64>().ok()? + after.get(12)?.parse::<u64>().ok()?;
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    let seconds = ticks / per_second;
    let started = after.get(19)?.parse::<u64>().ok()? / per_second;
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?.split('.').next()?.parse::<u64>().ok()?;
    let begun = crate::containers::now_ns() / 1_000_000_000 - uptime.saturating_sub(started);
    let zone = jiff::tz::TimeZone::system();
    let begun = jiff::Timestamp::from_second(begun as i64).ok()?.to_zoned(zone).strftime("%H:%M").to_string();
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<String> =
        line.split(|b| *b == 0).filter(|w| !w.is_empty()).map(|w| String::from_utf8_lossy(w).into_owned()).collect();
    let command = if words.is_empty() { format!("[{}]", of_status("Name:")?) } else { words.join(" ") };
    let time = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let (uid, parent) = (of_status("Uid:")?, of_status("PPid:")?);
    Some(vec![uid, pid.to_string(), parent, "0".into(), begun, "?".into(), time, command])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_and_the_rest_of_the_line() {
        let output = "UID   PID PPID CMD\nroot  7 1 sh -c  sleep 1d\nroot  8 1 other\nann  9 7 sleep\n- - - thread\n";
        let top = parse(output, &BTreeSet::from([7, 9])).unwrap();
        assert_eq!(*top.titles, ["UID", "PID", "PPID", "CMD"]);
        assert_eq!(top.processes[0], ["root", "7", "1", "sh -c sleep 1d"]);
        assert_eq!(top.processes[1][1], "9");
        assert_eq!(top.processes.len(), 3);
        assert_eq!(parse("A B\n", &BTreeSet::new()).unwrap_err().to_string(), "Couldn't find PID field in ps output");
    }

    #[test]
    fn threads_follow_their_process() {
        let top = parse("PID CMD\n7 a\n- t\n8 b\n- u\n", &BTreeSet::from([7])).unwrap();
        assert_eq!(top.processes.len(), 2);
    }

    #[test]
    fn columns_in_disguise() {
        assert!(check("-o pid=PID,cmd").is_ok());
        assert_eq!(check("-o ppid=PID").unwrap_err().to_string(), "specifying \"ppid=PID\" is not allowed");
    }

    #[test]
    fn without_ps() {
        let me = std::process::id() as i32;
        let top = own(&BTreeSet::from([me]));
        assert_eq!((top.processes.len(), top.processes[0][1].as_str()), (1, me.to_string().as_str()));
    }
}
