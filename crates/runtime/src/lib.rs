//! runtime
pub mod cgroup;
pub mod seccomp;
