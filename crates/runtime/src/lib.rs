//! An OCI configuration becomes a process: namespaces, mounts, cgroup, seccomp, capabilities; and more processes join it.
//!
//! ```text
//! create.rs      the parent: clone3, cgroup, user namespace maps, go
//!   netdev.rs      network devices that move in
//! exec.rs        one more process in a running container
//! plan.rs        the configuration, read and checked before there is a process
//!   namespaces.rs  what it shares with whom
//!   options.rs     mount options
//!   idmap.rs       idmapped mounts, which the parent makes
//!   privileges.rs  names of capabilities, limits and scheduling
//!   sysctl.rs      kernel parameters that belong to a namespace
//! sync.rs        what parent and child say to each other (drawn there)
//! init.rs        the life of the first process, in kernel order
//!   root.rs        the root file system, and pivot_root
//!   mount.rs       mounts inside it
//!   copy.rs        tmpcopyup
//!   cgroups.rs     what it shows of the cgroup
//!   dev.rs         /dev
//!   hide.rs        masked and read-only paths
//!   terminal.rs    a pty
//! hooks.rs       programs of the configuration that run at moments of its life
//! identity.rs    user, capabilities, limits, filter, execve: of the first process and of an exec
//!   command.rs     finding the program
//!   gate.rs        waiting for the start without a parent
//!   notify.rs      handing a filter's notifications to their reader
//! cgroup/        the container's cgroup, v1 and v2
//! systemd/       where systemd makes it: D-Bus
//! seccomp/       profile → BPF
//! failure.rs     what went wrong, as data
//! ```
//!
//! Invariants
//! - One clone3 makes the final process; there is none between it and the caller, and the caller has one thread.
//! - A path of the container is resolved by `sys::rootfs` and acted on through its descriptor; mounts are made detached
//!   and moved onto descriptors. mount(2) appears once, for old kernels, on the host's `/` in the child's own namespace.
//! - After a failure nothing is left: no process, no cgroup; mounts die with their namespace.
//! - What the configuration asks for is done or refused by name; nothing is silently left out, except labels, keyrings
//!   and the like where the kernel has no such thing and runc goes on as well.
//! - Nothing of the container's file system is executed or loaded before the last execve.
//!
//! It needs Linux 5.12 (mount_setattr).
//!
//! It must never know what an image, a registry or a daemon is, and it reads no annotations but `org.systemd.property.*`,
//! by which runc's users give properties to the scopes that systemd makes.

mod cgroups;
mod command;
mod copy;
mod create;
mod dev;
mod exec;
mod gate;
mod hide;
mod identity;
mod idmap;
mod init;
mod mount;
mod namespaces;
mod netdev;
mod notify;
mod options;
mod plan;
mod privileges;
mod root;
mod sync;
mod sysctl;
mod systemd;
mod terminal;

pub mod cgroup;
pub mod failure;
pub mod hooks;
pub mod seccomp;

pub use create::{Create, Created, Detached, Parked, Running, Stdio, begin, create, create_failed, read_only, release};
pub use exec::{Executed, exec, exec_detached};
pub use failure::{Failure, FailureKind};
pub use notify::Notified;
pub use options::known as mount_options;
pub use plan::{has_apparmor, has_selinux};
pub use privileges::capability_names;
pub use root::{mount_of, unmount_root};

/// Mounts can be idmapped.
pub const IDMAP: bool = true;
/// Network devices can be moved into a container.
pub const NET_DEVICES: bool = true;

/// Does what can be done before it is known which container to make: finds the cgroup hierarchies, compiles `filter`.
/// What fails here fails again where it can be told.
pub fn prepare(filter: Option<&oci::runtime::Seccomp>) {
    match filter {
        None => cgroup::prepare(),
        Some(filter) => seccomp::prepare(filter),
    }
}
