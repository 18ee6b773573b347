//! The built binary with real containers: a busybox root file system, the built-in runtime, the real kernel. Needs root.

mod end;
mod exec;
mod foreign;
mod logs;
mod oom;
mod spare;
mod stdio;
mod world;
