//! `--log` and `--log-format`: where an engine reads what went wrong.

use super::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

/// Where errors and warnings go.
pub struct Log {
    file: Option<File>,
    json: bool,
    debug: bool,
}

impl Log {
    pub fn open(file: Option<&str>, format: Option<&str>, debug: bool) -> Result<Log> {
        let json = match format.unwrap_or("text") {
            "" | "text" => false,
            "json" => true,
            other => return Error::new(format!("invalid log-format: {other}")),
        };
        let open = |path: &str| {
            let mut options = OpenOptions::new();
            options.append(true).create(true).mode(0o644).open(path).map_err(Error::io(format!("open {path}")))
        };
        Ok(Log { file: file.filter(|path| !path.is_empty()).map(open).transpose()?, json, debug })
    }

    /// The last word of a command that failed: also to standard error.
    pub fn error(&self, text: &str) {
        self.line("error", text);
        if self.file.is_some() {
            eprintln!("{text}");
        }
    }

    /// What went wrong without stopping the command.
    pub fn warn(&self, text: &str) {
        self.line("warning", text);
    }

    /// What only `--debug` shows.
    pub fn debug(&self, text: &str) {
        if self.debug {
            self.line("debug", text);
        }
    }

    fn line(&self, level: &str, text: &str) {
        let time = super::state::now().0;
        let line = match self.json {
            true => format!("{}\n", serde_json::json!({"level": level, "msg": text, "time": time})),
            false => format!("time=\"{time}\" level={level} msg={text:?}\n"),
        };
        // One write, so that lines of several commands do not mix.
        let _ = match &self.file {
            Some(file) => (&*file).write_all(line.as_bytes()),
            None => std::io::stderr().write_all(line.as_bytes()),
        };
    }
}
