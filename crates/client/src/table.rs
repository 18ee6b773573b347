//! Every command: names, arguments, flags and the words of its help.

mod container;
mod image;
mod network;
mod run;
mod system;
mod volume;

pub use container::*;
pub use image::*;
pub use network::*;
pub use run::*;
pub use system::*;
pub use volume::*;

use crate::flags::{Command, Flag, flag};

/// All of them, in the order of the alphabet within their nouns.
pub const ALL: [&Command; 59] = [
    &CONTAINER_ATTACH,
    &CONTAINER_COMMIT,
    &CONTAINER_CP,
    &CONTAINER_CREATE,
    &CONTAINER_DIFF,
    &CONTAINER_EXEC,
    &CONTAINER_EXPORT,
    &CONTAINER_INSPECT,
    &CONTAINER_KILL,
    &CONTAINER_LOGS,
    &CONTAINER_LS,
    &CONTAINER_PAUSE,
    &CONTAINER_PORT,
    &CONTAINER_PRUNE,
    &CONTAINER_RENAME,
    &CONTAINER_RESTART,
    &CONTAINER_RM,
    &CONTAINER_RUN,
    &CONTAINER_START,
    &CONTAINER_STATS,
    &CONTAINER_STOP,
    &CONTAINER_TOP,
    &CONTAINER_UNPAUSE,
    &CONTAINER_UPDATE,
    &CONTAINER_WAIT,
    &IMAGE_BUILD,
    &IMAGE_HISTORY,
    &IMAGE_IMPORT,
    &IMAGE_INSPECT,
    &IMAGE_LOAD,
    &IMAGE_LS,
    &IMAGE_PRUNE,
    &IMAGE_PULL,
    &IMAGE_PUSH,
    &IMAGE_RM,
    &IMAGE_SAVE,
    &IMAGE_TAG,
    &NETWORK_CONNECT,
    &NETWORK_CREATE,
    &NETWORK_DISCONNECT,
    &NETWORK_INSPECT,
    &NETWORK_LS,
    &NETWORK_PRUNE,
    &NETWORK_RM,
    &VOLUME_CREATE,
    &VOLUME_INSPECT,
    &VOLUME_LS,
    &VOLUME_PRUNE,
    &VOLUME_RM,
    &SYSTEM_CHECK,
    &SYSTEM_DF,
    &SYSTEM_EVENTS,
    &SYSTEM_INFO,
    &SYSTEM_PRUNE,
    &VERSION,
    &INSPECT,
    &LOGIN,
    &LOGOUT,
    &SEARCH,
];

/// Nouns that commands stand under, with their help.
pub const NOUNS: [(&str, &str); 5] = [
    ("container", "Manage containers"),
    ("image", "Manage images"),
    ("network", "Manage networks"),
    ("system", "Manage Docker"),
    ("volume", "Manage volumes"),
];

/// What the top of the help lists first.
pub const COMMON: [&str; 12] =
    ["run", "exec", "ps", "build", "pull", "push", "images", "login", "logout", "search", "version", "info"];

/// `image build`: this version has none; its flags are not looked at.
pub const IMAGE_BUILD: Command = Command {
    path: "image build",
    top: "build",
    other_paths: &["image build", "build"],
    args: "[OPTIONS] PATH | URL | -",
    top_args: "[OPTIONS] PATH | URL | -",
    about: "Build an image from a Dockerfile",
    least: 0,
    most: None,
    interspersed: false,
    flags: &[],
};

/// Flags before the command.
pub const GLOBAL: [Flag; 11] = [
    flag("config", '\0', "string", "Location of client config files (default \"{CONFIG}\")"),
    flag(
        "context",
        'c',
        "string",
        "Name of the context to use to connect to the daemon (overrides DOCKER_HOST env var and default context set with \"docker context use\")",
    ),
    flag("debug", 'D', "bool", "Enable debug mode"),
    flag("host", 'H', "list", "Daemon socket to connect to"),
    flag(
        "log-level",
        'l',
        "string",
        "Set the logging level (\"debug\", \"info\", \"warn\", \"error\", \"fatal\") (default \"info\")",
    ),
    flag("tls", '\0', "bool", "Use TLS; implied by --tlsverify"),
    flag("tlscacert", '\0', "string", "Trust certs signed only by this CA (default \"{CONFIG}/ca.pem\")"),
    flag("tlscert", '\0', "string", "Path to TLS certificate file (default \"{CONFIG}/cert.pem\")"),
    flag("tlskey", '\0', "string", "Path to TLS key file (default \"{CONFIG}/key.pem\")"),
    flag("tlsverify", '\0', "bool", "Use TLS and verify the remote"),
    flag("version", 'v', "bool", "Print version information and quit"),
];

/// The command that `words` begin with, and how many of them name it.
pub fn find(words: &[&str]) -> Option<(&'static Command, usize)> {
    let first = words.first()?;
    if let Some(command) = ALL.iter().find(|c| c.top == *first || c.path == *first) {
        return Some((command, 1));
    }
    let two = format!("{first} {}", words.get(1)?);
    let found = ALL.iter().find(|c| c.path == two || c.other_paths.contains(&two.as_str()));
    found.map(|command| (*command, 2))
}
