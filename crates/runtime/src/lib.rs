//! runtime
pub mod cgroup;
pub mod failure;
pub mod seccomp;
pub use failure::{Failure, FailureKind};
