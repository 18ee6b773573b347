//! One engine per bridge: two that make the same one, and the table of the same name, would undo each other's rules for ever.
//!
//! The claim is a socket with an abstract name, `dhow-network-<table>`: such names belong to a network namespace, as bridge
//! and table do, and the kernel frees them with the process, however it ends.

use crate::{Error, Result};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with};
use std::os::fd::OwnedFd;

/// Held as long as this lives.
#[derive(Debug)]
pub(crate) struct Claim {
    _socket: Option<OwnedFd>,
}

/// Claims the table, and with it its bridge, in the calling thread's network namespace.
///
/// # Errors
/// `Conflict`, naming the process, when another engine has it.
pub(crate) fn claim(table: &str, bridge: &str) -> Result<Claim> {
    let failed = |errno| Error::Kernel { doing: "claiming the bridge", source: errno };
    let socket = || {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(failed)
    };
    let name = SocketAddrUnix::new_abstract_name(format!("dhow-network-{table}").as_bytes()).map_err(failed)?;
    let own = socket()?;
    match bind(&own, &name) {
        // It listens only so that others can ask the kernel whose it is.
        Ok(()) => listen(&own, 128).map(|()| Claim { _socket: Some(own) }).map_err(failed),
        Err(Errno::ADDRINUSE) => {
            let other = socket()?;
            let holder = connect(&other, &name).and_then(|()| socket_peercred(&other));
            match holder {
                Ok(holder) if !holder.uid.is_root() => {
                    let pid = holder.pid.as_raw_nonzero();
                    tracing::warn!(%pid, "the name by which an engine claims its bridge is taken by an ordinary user");
                    Ok(Claim { _socket: None })
                }
                holder => {
                    let process = holder.map_or(String::new(), |h| format!(" (process {})", h.pid.as_raw_nonzero()));
                    Err(Error::Conflict(format!(
                        "failed to set up container networking: bridge {bridge} is used by another engine{process}: \
                         give this one its own with --bridge"
                    )))
                }
            }
        }
        Err(errno) => Err(failed(errno)),
    }
}
