//! The one integration test binary: a module per noun.

mod autostart;
mod bad_archives;
mod bad_input;
mod bad_registry;
mod copy;
mod course;
mod docker_cli;
mod errors;
mod escapes;
mod health;
mod images;
mod isolation;
mod lifecycle;
mod limits;
mod logging;
mod network;
mod recovery;
mod run;
mod runtimes;
mod safety;
mod same_words;
mod stats;
mod streams;
mod structure;
mod stuck;
mod upgrade;
