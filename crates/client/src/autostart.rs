//! Starts the engine when nobody has: one client does it, the others wait for it.

use crate::failure::{Failure, Result, describe};
use crate::plain::Connection;
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long an engine may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts the engine that listens on `socket`, and returns when it answers.
pub fn start(socket: &Path) -> Result<()> {
    let directory = socket.parent().unwrap_or(Path::new("/"));
    let failed = |doing: &str, error: &std::io::Error| {
        Failure::new(format!("cannot start the engine: {doing}: {}", describe(error)))
    };
    if !rustix::process::geteuid().is_root() {
        return Err(Failure::new(format!(
            "the engine does not run ({} is not there), and only root can start it",
            socket.display()
        )));
    }
    std::fs::create_dir_all(directory).map_err(|e| failed(&format!("making {}", directory.display()), &e))?;
    let lock_path = socket.with_extension("lock");
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(|e| failed(&format!("opening {}", lock_path.display()), &e))?;
    flock(&lock, FlockOperation::LockExclusive)
        .map_err(|e| failed(&format!("locking {}", lock_path.display()), &e.into()))?;
    if UnixStream::connect(socket).is_ok() {
        return Ok(());
    }
    let (mut log, log_path) = open_log(socket)?;
    let begin = log.seek(SeekFrom::End(0)).unwrap_or(0);
    let mut child = spawn(&log).map_err(|e| failed("running it", &e))?;
    wait(socket, &mut child, || tail(&log_path, begin), PATIENCE)
}

fn open_log(socket: &Path) -> Result<(File, PathBuf)> {
    let mut last = None;
    for path in [PathBuf::from("/var/log/dhow.log"), socket.with_extension("log")] {
        match OpenOptions::new().create(true).append(true).read(true).open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(e) => last = Some(format!("opening {}: {}", path.display(), describe(&e))),
        }
    }
    Err(Failure::new(format!("cannot start the engine: {}", last.unwrap_or_default())))
}

/// What the client calls itself with to become the engine.
pub const DETACH: &str = "__engine";

/// Our other descriptors are all close-on-exec. The child leaves our session itself (see [`detach`]), so that no signal
/// of our terminal reaches it.
fn spawn(log: &File) -> std::io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(DETACH).current_dir("/").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
    command.spawn()
}

/// In the child: a session of its own, then the engine in this very process.
pub fn detach() -> Failure {
    if let Err(e) = rustix::process::setsid() {
        return Failure::new(format!("cannot start the engine: setsid: {}", describe(&e.into())));
    }
    match std::env::current_exe() {
        Ok(path) => {
            let error = Command::new(path).arg("daemon").exec();
            Failure::new(format!("cannot start the engine: exec: {}", describe(&error)))
        }
        Err(e) => Failure::new(format!("cannot start the engine: {}", describe(&e))),
    }
}

/// Tries the socket until it answers, the engine ends, or patience does.
fn wait(socket: &Path, child: &mut Child, said: impl Fn() -> String, patience: Duration) -> Result<()> {
    let deadline = Instant::now() + patience;
    let mut pause = Duration::from_millis(1);
    let explain = |how: String| {
        let said = said();
        let said = if said.is_empty() { String::new() } else { format!("; the end of its log:\n{said}") };
        Failure::new(format!("the engine did not start: {how}{said}"))
    };
    loop {
        if answers(socket, deadline) {
            return Ok(());
        }
        if let Ok(Some(status)) = child.try_wait()
            && !status.success()
        {
            return Err(explain(format!("it ended with {status}")));
        }
        if Instant::now() >= deadline {
            return Err(explain(format!("no answer on {} within {} s", socket.display(), patience.as_secs())));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Whether an engine answers. It listens before it has read all its records, which can still end it.
fn answers(socket: &Path, deadline: Instant) -> bool {
    let Ok(stream) = UnixStream::connect(socket) else { return false };
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let _ = stream.set_read_timeout(Some(left));
    Connection::new(stream).exchange(b"GET /_ping HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n").is_ok()
}

/// The last lines that were logged since `begin`.
fn tail(path: &Path, begin: u64) -> String {
    let mut text = String::new();
    if let Ok(mut file) = File::open(path) {
        let end = file.seek(SeekFrom::End(0)).unwrap_or(0);
        let _ = file.seek(SeekFrom::Start(begin.max(end.saturating_sub(4096))));
        let mut bytes = Vec::new();
        let _ = file.take(4096).read_to_end(&mut bytes);
        text = String::from_utf8_lossy(&bytes).into_owned();
    }
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_fails_is_quoted() {
        let directory = std::env::temp_dir().join(format!("dhow-autostart-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let log = directory.join("log");
        std::fs::write(&log, "old\nbad flag\nbye\n").unwrap();
        let mut child = Command::new("false").spawn().unwrap();
        let error = wait(&directory.join("none"), &mut child, || tail(&log, 4), PATIENCE).unwrap_err();
        assert_eq!(
            error.text,
            "the engine did not start: it ended with exit status: 1; the end of its log:\nbad flag\nbye"
        );
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
