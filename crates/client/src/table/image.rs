//! Commands about images. Flags in the order of the alphabet, as help shows them.

use crate::flags::{Command, flag};

/// `image history`
pub const IMAGE_HISTORY: Command = Command {
    path: "image history",
    top: "history",
    other_paths: &["image history", "history"],
    args: "[OPTIONS] IMAGE",
    top_args: "[OPTIONS] IMAGE",
    about: "Show the history of an image",
    least: 1,
    most: Some(1),
    interspersed: true,
    flags: &[
        flag(
            "format",
            '\0',
            "string",
            "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates",
        ),
        flag("human", 'H', "bool", "Print sizes and dates in human readable format (default true)"),
        flag("no-trunc", '\0', "bool", "Don't truncate output"),
        flag(
            "platform",
            '\0',
            "string",
            "Show history for the given platform. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
        ),
        flag("quiet", 'q', "bool", "Only show image IDs"),
    ],
};

/// `image import`
pub const IMAGE_IMPORT: Command = Command {
    path: "image import",
    top: "import",
    other_paths: &["image import", "import"],
    args: "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    top_args: "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    about: "Import the contents from a tarball to create a filesystem image",
    least: 1,
    most: None,
    interspersed: true,
    flags: &[
        flag("change", 'c', "list", "Apply Dockerfile instruction to the created image"),
        flag("message", 'm', "string", "Set commit message for imported image"),
        flag("platform", '\0', "string", "Set platform if server is multi-platform capable"),
    ],
};

/// `image inspect`
pub const IMAGE_INSPECT: Command = Command {
    path: "image inspect",
    top: "",
    other_paths: &[],
    args: "[OPTIONS] IMAGE [IMAGE...]",
    top_args: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Display detailed information on one or more images",
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
        flag(
            "platform",
            '\0',
            "string",
            "Inspect a specific platform of the multi-platform image.\nIf the image or the server is not multi-platform capable, the command will error out if the platform does not match.\n'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)",
        ),
    ],
};

/// `image load`
pub const IMAGE_LOAD: Command = Command {
    path: "image load",
    top: "load",
    other_paths: &["image load", "load"],
    args: "[OPTIONS]",
    top_args: "[OPTIONS]",
    about: "Load an image from a tar archive or STDIN",
    least: 0,
    most: Some(0),
    interspersed: true,
    flags: &[
        flag("input", 'i', "string", "Read from tar archive file, instead of STDIN"),
        flag(
            "platform",
            '\0',
            "string",
            "Load only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
        ),
        flag("quiet", 'q', "bool", "Suppress the load output"),
    ],
};

/// `image ls`
pub const IMAGE_LS: Command = Command {
    path: "image ls",
    top: "images",
    other_paths: &["image ls", "image list", "images"],
    args: "[OPTIONS] [REPOSITORY[:TAG]]",
    top_args: "[OPTIONS] [REPOSITORY[:TAG]]",
    about: "List images",
    least: 0,
    most: Some(1),
    interspersed: true,
    flags: &[
        flag("all", 'a', "bool", "Show all images (default hides intermediate images)"),
        flag("digests", '\0', "bool", "Show digests"),
        flag("filter", 'f', "filter", "Filter output based on conditions provided"),
        flag(
            "format",
            '\0',
            "string",
            "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates",
        ),
        flag("no-trunc", '\0', "bool", "Don't truncate output"),
        flag("quiet", 'q', "bool", "Only show image IDs"),
        flag("tree", '\0', "bool", "List multi-platform images as a tree (EXPERIMENTAL)"),
    ],
};

/// `image prune`
pub const IMAGE_PRUNE: Command = Command {
    path: "image prune",
    top: "",
    other_paths: &[],
    args: "[OPTIONS]",
    top_args: "[OPTIONS]",
    about: "Remove unused images",
    least: 0,
    most: Some(0),
    interspersed: true,
    flags: &[
        flag("all", 'a', "bool", "Remove all unused images, not just dangling ones"),
        flag("filter", '\0', "filter", "Provide filter values (e.g. \"until=<timestamp>\")"),
        flag("force", 'f', "bool", "Do not prompt for confirmation"),
    ],
};

/// `image pull`
pub const IMAGE_PULL: Command = Command {
    path: "image pull",
    top: "pull",
    other_paths: &["image pull", "pull"],
    args: "[OPTIONS] NAME[:TAG|@DIGEST]",
    top_args: "[OPTIONS] NAME[:TAG|@DIGEST]",
    about: "Download an image from a registry",
    least: 1,
    most: Some(1),
    interspersed: true,
    flags: &[
        flag("all-tags", 'a', "bool", "Download all tagged images in the repository"),
        flag("disable-content-trust", '\0', "bool", "Skip image verification (default true)"),
        flag("platform", '\0', "string", "Set platform if server is multi-platform capable"),
        flag("quiet", 'q', "bool", "Suppress verbose output"),
    ],
};

/// `image push`
pub const IMAGE_PUSH: Command = Command {
    path: "image push",
    top: "push",
    other_paths: &["image push", "push"],
    args: "[OPTIONS] NAME[:TAG]",
    top_args: "[OPTIONS] NAME[:TAG]",
    about: "Upload an image to a registry",
    least: 1,
    most: Some(1),
    interspersed: true,
    flags: &[
        flag("all-tags", 'a', "bool", "Push all tags of an image to the repository"),
        flag("disable-content-trust", '\0', "bool", "Skip image signing (default true)"),
        flag(
            "platform",
            '\0',
            "string",
            "Push a platform-specific manifest as a single-platform image to the registry.\nImage index won't be pushed, meaning that other manifests, including attestations won't be preserved.\n'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)",
        ),
        flag("quiet", 'q', "bool", "Suppress verbose output"),
    ],
};

/// `image rm`
pub const IMAGE_RM: Command = Command {
    path: "image rm",
    top: "rmi",
    other_paths: &["image rm", "image remove", "rmi"],
    args: "[OPTIONS] IMAGE [IMAGE...]",
    top_args: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Remove one or more images",
    least: 1,
    most: None,
    interspersed: true,
    flags: &[
        flag("force", 'f', "bool", "Force removal of the image"),
        flag("no-prune", '\0', "bool", "Do not delete untagged parents"),
        flag(
            "platform",
            '\0',
            "strings",
            "Remove only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
        ),
    ],
};

/// `image save`
pub const IMAGE_SAVE: Command = Command {
    path: "image save",
    top: "save",
    other_paths: &["image save", "save"],
    args: "[OPTIONS] IMAGE [IMAGE...]",
    top_args: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Save one or more images to a tar archive (streamed to STDOUT by default)",
    least: 1,
    most: None,
    interspersed: true,
    flags: &[
        flag("output", 'o', "string", "Write to a file, instead of STDOUT"),
        flag(
            "platform",
            '\0',
            "string",
            "Save only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
        ),
    ],
};

/// `image tag`
pub const IMAGE_TAG: Command = Command {
    path: "image tag",
    top: "tag",
    other_paths: &["image tag", "tag"],
    args: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    top_args: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    about: "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    least: 2,
    most: Some(2),
    interspersed: true,
    flags: &[],
};
