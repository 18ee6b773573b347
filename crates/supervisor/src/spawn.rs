//! The daemon's side of a start.

use crate::connect::read_line;
use crate::protocol::{Launch, MAX_MESSAGE, Started};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Runs `init supervise`, hands it the launch with its descriptors and waits for the one answer.
///
/// The socket's end of file tells later that the supervisor has ended. `Child` must then be waited for, or it stays a
/// zombie; after [`Started::Failed`] this has already happened.
pub fn spawn(init: &Path, launch: &Launch, fds: Vec<OwnedFd>) -> io::Result<(Started, UnixStream, Child)> {
    if fds.len() != launch.fds.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "as many descriptors as the launch names are needed"));
    }
    let body = serde_json::to_vec(launch)?;
    if body.len() > MAX_MESSAGE {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the configuration of the container is too large"));
    }
    let (ours, theirs) = UnixStream::pair()?;
    // No environment, and nothing that would keep this call from posix_spawn (which does not copy page tables).
    let mut child = Command::new(init)
        .arg("supervise")
        .env_clear()
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    match send(&ours, &body, &fds).and_then(|()| answer(&ours)) {
        Ok(started) => {
            if matches!(started, Started::Failed(_)) {
                child.wait()?;
            }
            Ok((started, ours, child))
        }
        Err(error) => {
            // Without an answer it has not started anything, or is dead: its end of the socket closed.
            drop(ours);
            child.wait()?;
            Err(error)
        }
    }
}

fn send(socket: &UnixStream, body: &[u8], fds: &[OwnedFd]) -> io::Result<()> {
    let mut message = Vec::with_capacity(4 + body.len());
    message.extend_from_slice(&(body.len() as u32).to_be_bytes());
    message.extend_from_slice(body);
    let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    // One message carries only so many descriptors: the first ones ride on a byte each.
    let mut sent = 0;
    for group in borrowed.chunks(sys::socket::MAX_FDS) {
        sent += sys::socket::send_with_fds(socket.as_fd(), &message[sent..=sent], group)?;
    }
    (&mut &*socket).write_all(&message[sent..])
}

fn answer(socket: &UnixStream) -> io::Result<Started> {
    Ok(serde_json::from_slice(&read_line(socket)?)?)
}
