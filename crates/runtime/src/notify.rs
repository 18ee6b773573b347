//! Seccomp notifications: their descriptor goes to who listens at `listenerPath`, with what runtime-spec says about the
//! container (config-linux.md#containerprocessstate).

use crate::Failure;
use crate::hooks::Told;
use oci::runtime::Seccomp;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// Calls that the container's process makes itself between the filter and its command: to hand over the listener, and for hooks.
const NEEDED: [&str; 3] = ["sendmsg", "sendto", "write"];

/// Who is given the notifications of a container's filter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notified {
    path: PathBuf,
    metadata: String,
    /// What it is told of the container.
    pub told: Told,
}

impl Notified {
    /// The listener of `profile`, if it has a rule that notifies.
    ///
    /// # Errors
    /// `Invalid` when nobody is named to whom to notify, or for calls that nobody could answer in time.
    pub fn of(id: &str, profile: &Seccomp) -> Result<Option<Notified>, Failure> {
        const NOTIFY: &str = "SCMP_ACT_NOTIFY";
        let invalid = |text: String| Err(Failure::invalid("seccomp", text));
        if profile.default_action == NOTIFY {
            return invalid("seccomp: SCMP_ACT_NOTIFY cannot be used as default action".into());
        }
        let mut names = profile.syscalls.iter().filter(|rule| rule.action == NOTIFY).flat_map(|rule| &rule.names);
        let Some(first) = names.next() else {
            // Profiles name a listener whether their rules need one or not.
            return match (&profile.listener_path, &profile.listener_metadata) {
                (None, Some(metadata)) if !metadata.is_empty() => {
                    invalid("seccomp: listenerMetadata needs a listenerPath".into())
                }
                _ => Ok(None),
            };
        };
        if let Some(name) = std::iter::once(first).chain(names).find(|name| NEEDED.contains(&name.as_str())) {
            return invalid(format!("seccomp: SCMP_ACT_NOTIFY cannot be used for the {name} syscall"));
        }
        let Some(path) = profile.listener_path.clone().filter(|path| !path.as_os_str().is_empty()) else {
            return invalid("seccomp: SCMP_ACT_NOTIFY needs a listenerPath".into());
        };
        let told = Told { id: id.into(), ..Told::default() };
        Ok(Some(Notified { path, metadata: profile.listener_metadata.clone().unwrap_or_default(), told }))
    }

    /// Sends `listener`, of the process `pid`, on its way.
    pub(crate) fn hand_over(&self, listener: OwnedFd, pid: i32) -> Result<(), Failure> {
        let state: serde_json::Value =
            serde_json::from_slice(&self.told.state("creating", Some(pid))).unwrap_or_default();
        let packet = serde_json::json!({
            "ociVersion": self.told.version, "fds": ["seccompFd"], "pid": pid, "metadata": self.metadata, "state": state,
        });
        let send = || -> Result<(), Errno> {
            let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
            rustix::net::connect(&socket, &SocketAddrUnix::new(&self.path)?)?;
            let bytes = packet.to_string().into_bytes();
            let mut sent = sys::socket::send_with_fds(socket.as_fd(), &bytes, &[listener.as_fd()])?;
            while sent < bytes.len() {
                sent += sys::socket::send_with_fds(socket.as_fd(), &bytes[sent..], &[])?;
            }
            Ok(())
        };
        send().map_err(|e| {
            let what = format!("failed to connect with seccomp agent {}", self.path.display());
            Failure::system("seccomp", &what, e)
        })
    }
}
