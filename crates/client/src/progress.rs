//! Progress of pull and import: bars that move on a terminal, plain lines elsewhere.

use api::message::{JsonMessage, ProgressDetail, Units};
use api::units::human_size;
use std::collections::HashMap;
use std::fmt::Write;

/// Draws messages; remembers on which line each layer stands.
#[derive(Debug)]
pub struct Display {
    terminal: bool,
    width: usize,
    lines: HashMap<String, usize>,
}

impl Display {
    /// On a terminal of `width` columns, or not on a terminal.
    pub fn new(terminal: bool, width: usize) -> Display {
        Display { terminal, width, lines: HashMap::new() }
    }

    /// The text that shows a message.
    pub fn show(&mut self, message: &JsonMessage, now: i64) -> String {
        let mut out = String::new();
        let mut up = 0;
        let moves = !message.id.is_empty() && (message.progress_detail.is_some() || !message.progress.is_empty());
        if moves {
            let count = self.lines.len();
            let line = *self.lines.entry(message.id.clone()).or_insert_with(|| {
                if self.terminal {
                    out.push('\n');
                }
                count
            });
            up = self.lines.len() - line;
            if self.terminal {
                let _ = write!(out, "\x1b[{up}A");
            }
        } else {
            self.lines.clear();
        }
        self.line(&mut out, message, now);
        if !message.id.is_empty() && self.terminal && up > 0 {
            let _ = write!(out, "\x1b[{up}B");
        }
        out
    }

    fn line(&self, out: &mut String, message: &JsonMessage, now: i64) {
        let mut end = "";
        let bar = message.progress_detail.as_ref().map(|p| bar(p, self.width, now));
        match &bar {
            Some(_) if self.terminal && message.stream.is_empty() => {
                out.push_str("\x1b[2K\r");
                end = "\r";
            }
            Some(bar) if !bar.is_empty() => return,
            _ => {}
        }
        if !message.id.is_empty() {
            let _ = write!(out, "{}: ", message.id);
        }
        let status = &message.status;
        let _ = match bar {
            Some(bar) if self.terminal => write!(out, "{status} {bar}{end}"),
            _ if !message.progress.is_empty() => write!(out, "{status} {}{end}", message.progress),
            _ if !message.stream.is_empty() => write!(out, "{}{end}", message.stream),
            _ => writeln!(out, "{status}{end}"),
        };
    }
}

/// `[====>   ]  1.2MB/3.4MB`
fn bar(progress: &ProgressDetail, width: usize, now: i64) -> String {
    let (current, total) = (progress.current, progress.total);
    if current <= 0 && total <= 0 {
        return String::new();
    }
    let unit = |n: i64| match progress.units {
        Units::Bytes => format!("{:>8}", human_size(n as f64)),
        Units::Seconds => format!("{n} s"),
    };
    if total <= 0 {
        return unit(current);
    }
    let half = (((current as f64 / total as f64) * 100.0) as i64 / 2).clamp(0, 50);
    let mut out = String::new();
    if width > 110 {
        let filled = half as usize;
        let _ = write!(out, "[{}>{}] ", "=".repeat(filled), " ".repeat(50 - filled));
    }
    if !progress.hidecounts {
        match progress.units {
            Units::Bytes if current > total => out.push_str(&unit(current)),
            Units::Bytes => {
                let _ = write!(out, "{:>8}/{}", human_size(current as f64), human_size(total as f64));
            }
            Units::Seconds => {
                let _ = write!(out, "{current}/{total} s");
            }
        }
    }
    if current > 0 && progress.start > 0 && half < 50 && width > 50 {
        let left = (total - current) as f64 * (now - progress.start) as f64 / current as f64;
        let _ = write!(out, " {}", go_duration(left.round() as i64));
    }
    out
}

/// Whole seconds in Go's form: `1h2m3s`.
pub fn go_duration(seconds: i64) -> String {
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (h, m) {
        (0, 0) => format!("{s}s"),
        (0, m) => format!("{m}m{s}s"),
        (h, m) => format!("{h}h{m}m{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(id: &str, status: &str, current: i64, total: i64) -> JsonMessage {
        let mut message = JsonMessage::layer(id, status);
        message.progress_detail = Some(ProgressDetail { current, total, ..ProgressDetail::default() });
        message
    }

    #[test]
    fn bars() {
        let progress = |current, total| ProgressDetail { current, total, ..ProgressDetail::default() };
        let half = format!("[{}>{}] ", "=".repeat(25), " ".repeat(25));
        assert_eq!(bar(&progress(500_000, 1_000_000), 200, 0), format!("{half}   500kB/1MB"));
        assert_eq!(bar(&progress(500_000, 1_000_000), 80, 0), "   500kB/1MB");
        assert_eq!(bar(&progress(5, 0), 80, 0), "      5B");
        assert_eq!(bar(&progress(20, 10), 80, 0), "     20B");
        assert_eq!(bar(&progress(0, 0), 80, 0), "");
    }

    #[test]
    fn a_terminal_is_redrawn() {
        let mut display = Display::new(true, 80);
        let mut out = display.show(&JsonMessage::status("Pulling from x"), 0);
        out += &display.show(&JsonMessage::layer("aa", "Pulling fs layer"), 0);
        out += &display.show(&JsonMessage::layer("bb", "Waiting"), 0);
        out += &display.show(&layer("aa", "Downloading", 1000, 2000), 0);
        assert_eq!(
            out,
            "Pulling from x\n\n\x1b[1A\x1b[2K\raa: Pulling fs layer \r\x1b[1B\n\x1b[1A\x1b[2K\rbb: Waiting \r\x1b[1B\
             \x1b[2A\x1b[2K\raa: Downloading      1kB/2kB\r\x1b[2B"
        );
    }

    #[test]
    fn a_pipe_gets_lines() {
        let mut display = Display::new(false, 200);
        let mut out = display.show(&JsonMessage::layer("aa", "Pulling fs layer"), 0);
        out += &display.show(&layer("aa", "Downloading", 1, 2), 0);
        out += &display.show(&JsonMessage::layer("aa", "Pull complete"), 0);
        assert_eq!(out, "aa: Pulling fs layer\naa: Pull complete\n");
    }
}
