//! Commands about volumes. Flags in the order of the alphabet, as help shows them.

use crate::flags::{Command, flag};

/// `volume create`
pub const VOLUME_CREATE: Command = Command {
    path: "volume create",
    top: "",
    other_paths: &[],
    args: "[OPTIONS] [VOLUME]",
    top_args: "[OPTIONS] [VOLUME]",
    about: "Create a volume",
    least: 0,
    most: Some(1),
    interspersed: false,
    flags: &[
        flag(
            "availability",
            '\0',
            "string",
            "Cluster Volume availability (\"active\", \"pause\", \"drain\") (default \"active\")",
        ),
        flag("driver", 'd', "string", "Specify volume driver name (default \"local\")"),
        flag("group", '\0', "string", "Cluster Volume group (cluster volumes)"),
        flag("label", '\0', "list", "Set metadata for a volume"),
        flag("limit-bytes", '\0', "bytes", "Minimum size of the Cluster Volume in bytes"),
        flag("opt", 'o', "map", "Set driver specific options (default map[])"),
        flag("required-bytes", '\0', "bytes", "Maximum size of the Cluster Volume in bytes"),
        flag("scope", '\0', "string", "Cluster Volume access scope (\"single\", \"multi\") (default \"single\")"),
        flag("secret", '\0', "map", "Cluster Volume secrets (default map[])"),
        flag(
            "sharing",
            '\0',
            "string",
            "Cluster Volume access sharing (\"none\", \"readonly\", \"onewriter\", \"all\") (default \"none\")",
        ),
        flag("topology-preferred", '\0', "list", "A topology that the Cluster Volume would be preferred in"),
        flag("topology-required", '\0', "list", "A topology that the Cluster Volume must be accessible from"),
        flag("type", '\0', "string", "Cluster Volume access type (\"mount\", \"block\") (default \"block\")"),
    ],
};

/// `volume inspect`
pub const VOLUME_INSPECT: Command = Command {
    path: "volume inspect",
    top: "",
    other_paths: &[],
    args: "[OPTIONS] VOLUME [VOLUME...]",
    top_args: "[OPTIONS] VOLUME [VOLUME...]",
    about: "Display detailed information on one or more volumes",
    least: 1,
    most: None,
    interspersed: true,
    flags: &[flag(
        "format",
        'f',
        "string",
        "Format output using a custom template:\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates",
    )],
};

/// `volume ls`
pub const VOLUME_LS: Command = Command {
    path: "volume ls",
    top: "",
    other_paths: &["volume ls", "volume list"],
    args: "[OPTIONS]",
    top_args: "[OPTIONS]",
    about: "List volumes",
    least: 0,
    most: Some(0),
    interspersed: true,
    flags: &[
        flag("cluster", '\0', "bool", "Display only cluster volumes, and use cluster volume list formatting"),
        flag("filter", 'f', "filter", "Provide filter values (e.g. \"dangling=true\")"),
        flag(
            "format",
            '\0',
            "string",
            "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates",
        ),
        flag("quiet", 'q', "bool", "Only display volume names"),
    ],
};

/// `volume prune`
pub const VOLUME_PRUNE: Command = Command {
    path: "volume prune",
    top: "",
    other_paths: &[],
    args: "[OPTIONS]",
    top_args: "[OPTIONS]",
    about: "Remove unused local volumes",
    least: 0,
    most: Some(0),
    interspersed: true,
    flags: &[
        flag("all", 'a', "bool", "Remove all unused volumes, not just anonymous ones"),
        flag("filter", '\0', "filter", "Provide filter values (e.g. \"label=<label>\")"),
        flag("force", 'f', "bool", "Do not prompt for confirmation"),
    ],
};

/// `volume rm`
pub const VOLUME_RM: Command = Command {
    path: "volume rm",
    top: "",
    other_paths: &["volume rm", "volume remove"],
    args: "[OPTIONS] VOLUME [VOLUME...]",
    top_args: "[OPTIONS] VOLUME [VOLUME...]",
    about: "Remove one or more volumes. You cannot remove a volume that is in use by a container.",
    least: 1,
    most: None,
    interspersed: true,
    flags: &[flag("force", 'f', "bool", "Force the removal of one or more volumes")],
};
