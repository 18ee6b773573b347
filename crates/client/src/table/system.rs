//! Commands about the engine. Flags in the order of the alphabet, as help shows them.

use crate::flags::{Command, flag};

/// `system check`
pub const SYSTEM_CHECK: Command = Command {
    path: "system check",
    top: "",
    other_paths: &[],
    args: "[OPTIONS]",
    top_args: "[OPTIONS]",
    about: "Check the engine's state, on disk and in the kernel",
    least: 0,
    most: Some(0),
    interspersed: true,
    flags: &[
        flag("format", '\0', "string", "'json': print in JSON format"),
        flag("repair", '\0', "bool", "Mend what can be mended, put aside what is damaged"),
    ],
};

/// `system df`
pub const SYSTEM_DF: Command = Command {
    path: "system df",
    top: "",
    other_paths: &[],
    args: "[OPTIONS]",
    top_args: "[OPTIONS]",
    about: "Show docker disk usage",
    least: 0,
    most: Some(0),
    interspersed: true,
    flags: &[
        flag(
            "format",
            '\0',
            "string",
            "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates",
        ),
        flag("verbose", 'v', "bool", "Show detailed information on space usage"),
    ],
};

/// `system events`
pub const SYSTEM_EVENTS: Command = Command {
    path: "system events",
    top: "events",
    other_paths: &["system events", "events"],
    args: "[OPTIONS]",
    top_args: "[OPTIONS]",
    about: "Get real time events from the server",
    least: 0,
    most: Some(0),
    interspersed: true,
    flags: &[
        flag("filter", 'f', "filter", "Filter output based on conditions provided"),
        flag(
            "format",
            '\0',
            "string",
            "Format output using a custom template:\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates",
        ),
        flag("since", '\0', "string", "Show all events created since timestamp"),
        flag("until", '\0', "string", "Stream events until this timestamp"),
    ],
};

/// `system info`
pub const SYSTEM_INFO: Command = Command {
    path: "system info",
    top: "info",
    other_paths: &["system info", "info"],
    args: "[OPTIONS]",
    top_args: "[OPTIONS]",
    about: "Display system-wide information",
    least: 0,
    most: Some(0),
    interspersed: true,
    flags: &[flag(
        "format",
        'f',
        "string",
        "Format output using a custom template:\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates",
    )],
};

/// `system prune`
pub const SYSTEM_PRUNE: Command = Command {
    path: "system prune",
    top: "",
    other_paths: &[],
    args: "[OPTIONS]",
    top_args: "[OPTIONS]",
    about: "Remove unused data",
    least: 0,
    most: Some(0),
    interspersed: true,
    flags: &[
        flag("all", 'a', "bool", "Remove all unused images not just dangling ones"),
        flag("filter", '\0', "filter", "Provide filter values (e.g. \"label=<key>=<value>\")"),
        flag("force", 'f', "bool", "Do not prompt for confirmation"),
        flag("volumes", '\0', "bool", "Prune anonymous volumes"),
    ],
};

/// `version`
pub const VERSION: Command = Command {
    path: "version",
    top: "",
    other_paths: &[],
    args: "[OPTIONS]",
    top_args: "[OPTIONS]",
    about: "Show the Docker version information",
    least: 0,
    most: Some(0),
    interspersed: true,
    flags: &[flag(
        "format",
        'f',
        "string",
        "Format output using a custom template:\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates",
    )],
};

/// `inspect`
pub const INSPECT: Command = Command {
    path: "inspect",
    top: "",
    other_paths: &[],
    args: "[OPTIONS] NAME|ID [NAME|ID...]",
    top_args: "[OPTIONS] NAME|ID [NAME|ID...]",
    about: "Return low-level information on Docker objects",
    least: 1,
    most: None,
    interspersed: true,
    flags: &[
        flag(
            "format",
            'f',
            "string",
            "Format output using a custom template:\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates",
        ),
        flag("size", 's', "bool", "Display total file sizes if the type is container"),
        flag("type", '\0', "string", "Only inspect objects of the given type"),
    ],
};

/// `login`
pub const LOGIN: Command = Command {
    path: "login",
    top: "",
    other_paths: &[],
    args: "[OPTIONS] [SERVER]",
    top_args: "[OPTIONS] [SERVER]",
    about: "Authenticate to a registry.\nDefaults to Docker Hub if no server is specified.",
    least: 0,
    most: Some(1),
    interspersed: true,
    flags: &[
        flag("password", 'p', "string", "Password or Personal Access Token (PAT)"),
        flag("password-stdin", '\0', "bool", "Take the Password or Personal Access Token (PAT) from stdin"),
        flag("username", 'u', "string", "Username"),
    ],
};

/// `logout`
pub const LOGOUT: Command = Command {
    path: "logout",
    top: "",
    other_paths: &[],
    args: "[SERVER]",
    top_args: "[SERVER]",
    about: "Log out from a registry.\nIf no server is specified, the default is defined by the daemon.",
    least: 0,
    most: Some(1),
    interspersed: true,
    flags: &[],
};

/// `search`
pub const SEARCH: Command = Command {
    path: "search",
    top: "",
    other_paths: &[],
    args: "[OPTIONS] TERM",
    top_args: "[OPTIONS] TERM",
    about: "Search Docker Hub for images",
    least: 1,
    most: Some(1),
    interspersed: true,
    flags: &[
        flag("filter", 'f', "filter", "Filter output based on conditions provided"),
        flag("format", '\0', "string", "Pretty-print search using a Go template"),
        flag("limit", '\0', "int", "Max number of search results"),
        flag("no-trunc", '\0', "bool", "Don't truncate output"),
    ],
};
