//! Commands about networks. Flags in the order of the alphabet, as help shows them.

use crate::flags::{Command, flag};

/// `network connect`
pub const NETWORK_CONNECT: Command = Command {
    path: "network connect",
    top: "",
    other_paths: &[],
    args: "[OPTIONS] NETWORK CONTAINER",
    top_args: "[OPTIONS] NETWORK CONTAINER",
    about: "Connect a container to a network",
    least: 2,
    most: Some(2),
    interspersed: true,
    flags: &[
        flag("alias", '\0', "strings", "Add network-scoped alias for the container"),
        flag("driver-opt", '\0', "strings", "driver options for the network"),
        flag(
            "gw-priority",
            '\0',
            "int",
            "Highest gw-priority provides the default gateway. Accepts positive and negative values.",
        ),
        flag("ip", '\0', "string", "IPv4 address (e.g., \"172.30.100.104\")"),
        flag("ip6", '\0', "string", "IPv6 address (e.g., \"2001:db8::33\")"),
        flag("link", '\0', "list", "Add link to another container"),
        flag("link-local-ip", '\0', "strings", "Add a link-local address for the container"),
    ],
};

/// `network create`
pub const NETWORK_CREATE: Command = Command {
    path: "network create",
    top: "",
    other_paths: &[],
    args: "[OPTIONS] NETWORK",
    top_args: "[OPTIONS] NETWORK",
    about: "Create a network",
    least: 1,
    most: Some(1),
    interspersed: false,
    flags: &[
        flag("attachable", '\0', "bool", "Enable manual container attachment"),
        flag("aux-address", '\0', "map", "Auxiliary IPv4 or IPv6 addresses used by Network driver (default map[])"),
        flag("config-from", '\0', "string", "The network from which to copy the configuration"),
        flag("config-only", '\0', "bool", "Create a configuration only network"),
        flag("driver", 'd', "string", "Driver to manage the Network (default \"bridge\")"),
        flag("gateway", '\0', "strings", "IPv4 or IPv6 Gateway for the master subnet"),
        flag("ingress", '\0', "bool", "Create swarm routing-mesh network"),
        flag("internal", '\0', "bool", "Restrict external access to the network"),
        flag("ip-range", '\0', "strings", "Allocate container ip from a sub-range"),
        flag("ipam-driver", '\0', "string", "IP Address Management Driver (default \"default\")"),
        flag("ipam-opt", '\0', "map", "Set IPAM driver specific options (default map[])"),
        flag("ipv4", '\0', "bool", "Enable or disable IPv4 address assignment (default true)"),
        flag("ipv6", '\0', "bool", "Enable or disable IPv6 address assignment"),
        flag("label", '\0', "list", "Set metadata on a network"),
        flag("opt", 'o', "map", "Set driver specific options (default map[])"),
        flag("scope", '\0', "string", "Control the network's scope"),
        flag("subnet", '\0', "strings", "Subnet in CIDR format that represents a network segment"),
    ],
};

/// `network disconnect`
pub const NETWORK_DISCONNECT: Command = Command {
    path: "network disconnect",
    top: "",
    other_paths: &[],
    args: "[OPTIONS] NETWORK CONTAINER",
    top_args: "[OPTIONS] NETWORK CONTAINER",
    about: "Disconnect a container from a network",
    least: 2,
    most: Some(2),
    interspersed: true,
    flags: &[flag("force", 'f', "bool", "Force the container to disconnect from a network")],
};

/// `network inspect`
pub const NETWORK_INSPECT: Command = Command {
    path: "network inspect",
    top: "",
    other_paths: &[],
    args: "[OPTIONS] NETWORK [NETWORK...]",
    top_args: "[OPTIONS] NETWORK [NETWORK...]",
    about: "Display detailed information on one or more networks",
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
        flag("verbose", 'v', "bool", "Verbose output for diagnostics"),
    ],
};

/// `network ls`
pub const NETWORK_LS: Command = Command {
    path: "network ls",
    top: "",
    other_paths: &["network ls", "network list"],
    args: "[OPTIONS]",
    top_args: "[OPTIONS]",
    about: "List networks",
    least: 0,
    most: Some(0),
    interspersed: true,
    flags: &[
        flag("filter", 'f', "filter", "Provide filter values (e.g. \"driver=bridge\")"),
        flag(
            "format",
            '\0',
            "string",
            "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates",
        ),
        flag("no-trunc", '\0', "bool", "Do not truncate the output"),
        flag("quiet", 'q', "bool", "Only display network IDs"),
    ],
};

/// `network prune`
pub const NETWORK_PRUNE: Command = Command {
    path: "network prune",
    top: "",
    other_paths: &[],
    args: "[OPTIONS]",
    top_args: "[OPTIONS]",
    about: "Remove all unused networks",
    least: 0,
    most: Some(0),
    interspersed: true,
    flags: &[
        flag("filter", '\0', "filter", "Provide filter values (e.g. \"until=<timestamp>\")"),
        flag("force", 'f', "bool", "Do not prompt for confirmation"),
    ],
};

/// `network rm`
pub const NETWORK_RM: Command = Command {
    path: "network rm",
    top: "",
    other_paths: &["network rm", "network remove"],
    args: "NETWORK [NETWORK...]",
    top_args: "NETWORK [NETWORK...]",
    about: "Remove one or more networks",
    least: 1,
    most: None,
    interspersed: true,
    flags: &[flag("force", 'f', "bool", "Do not error if the network does not exist")],
};
