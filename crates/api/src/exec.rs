//! Processes added to a running container.

use crate::go::{List, objects};

objects! {
    /// Body of `POST /containers/{id}/exec`.
    struct CreateExec {
        user: String,
        privileged: bool,
        tty: bool,
        /// Height, width.
        #[serde(skip_serializing_if = "Option::is_none")]
        console_size: Option<[u32; 2]>,
        attach_stdin: bool,
        attach_stderr: bool,
        attach_stdout: bool,
        detach_keys: String,
        env: List<String>,
        working_dir: String,
        cmd: List<String>,
    }

    /// Body of `POST /exec/{id}/start`.
    struct StartExec {
        detach: bool,
        tty: bool,
        /// Height, width.
        #[serde(skip_serializing_if = "Option::is_none")]
        console_size: Option<[u32; 2]>,
    }

    /// Answer of `GET /exec/{id}/json`.
    struct ExecInspect {
        #[serde(rename = "ID")]
        id: String,
        running: bool,
        /// Null while it runs.
        exit_code: Option<i32>,
        process_config: ExecProcess,
        open_stdin: bool,
        open_stderr: bool,
        open_stdout: bool,
        can_remove: bool,
        #[serde(rename = "ContainerID")]
        container_id: String,
        detach_keys: String,
        pid: i32,
    }
}

/// What an exec runs: the one object of it with lower-case names.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct ExecProcess {
    pub tty: bool,
    pub entrypoint: String,
    pub arguments: List<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privileged: Option<bool>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
}
