//! The one integration test binary: a module per noun.

mod autostart;
mod copy;
mod course;
mod docker_cli;
mod errors;
mod images;
mod isolation;
mod lifecycle;
mod limits;
mod network;
mod recovery;
mod run;
mod streams;
mod structure;
