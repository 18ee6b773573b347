//! What dockerd 28.5 and its client print survives a round trip byte for byte.

use crate::container::{ContainerInspect, ContainerSummary, CreateContainer, Top, Wait};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The text without white space outside strings.
fn compact(text: &str) -> String {
    let (mut out, mut inside, mut escaped) = (String::new(), false, false);
    for c in text.chars() {
        if inside || !c.is_whitespace() {
            out.push(c);
        }
        match c {
            _ if escaped => escaped = false,
            '\\' if inside => escaped = true,
            '"' => inside = !inside,
            _ => {}
        }
    }
    out
}

fn survives<T: Serialize + DeserializeOwned>(text: &str) {
    let value: T = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&value).unwrap(), compact(text));
}

#[test]
fn containers() {
    survives::<ContainerInspect>(include_str!("container_inspect.json"));
    survives::<Vec<ContainerSummary>>(include_str!("container_list.json"));
    survives::<CreateContainer>(include_str!("create.json"));
    survives::<Wait>(r#"{"StatusCode": 137}"#);
    survives::<Wait>(r#"{"Error": {"Message": "x"}, "StatusCode": -1}"#);
    survives::<Top>(r#"{"Processes": [["root", "1"]], "Titles": ["UID", "PID"]}"#);
    survives::<crate::container::Created>(r#"{"Id": "4c", "Warnings": []}"#);
    survives::<crate::container::PathStat>(
        r#"{"name": "d", "size": 4096, "mode": 2147484141, "mtime": "2026-01-05T10:11:12Z", "linkTarget": ""}"#,
    );
}

#[test]
fn images() {
    survives::<crate::image::ImageInspect>(include_str!("image_inspect.json"));
    survives::<Vec<crate::image::ImageSummary>>(
        r#"[{"Containers": 1, "Created": 1767607872, "Id": "sha256:aa", "Labels": null, "ParentId": "",
            "RepoDigests": ["debian@sha256:bb"], "RepoTags": ["debian:13"], "SharedSize": -1, "Size": 116528000}]"#,
    );
    survives::<Vec<crate::image::HistoryItem>>(
        r#"[{"Comment": "", "Created": 1767607872, "CreatedBy": "CMD [\"bash\"]", "Id": "sha256:aa", "Size": 0,
            "Tags": ["debian:13"]}]"#,
    );
    survives::<Vec<crate::image::Removed>>(r#"[{"Untagged": "debian:13"}, {"Deleted": "sha256:aa"}]"#);
}

#[test]
fn networks_volumes_and_execs() {
    survives::<crate::network::Network>(include_str!("network_inspect.json"));
    survives::<crate::volume::VolumeList>(
        r#"{"Volumes": [{"CreatedAt": "2026-01-05T10:11:12Z", "Driver": "local", "Labels": null,
            "Mountpoint": "/v/_data", "Name": "v", "Options": null, "Scope": "local"}], "Warnings": null}"#,
    );
    survives::<crate::exec::ExecInspect>(
        r#"{"ID": "e", "Running": false, "ExitCode": 2, "ProcessConfig": {"tty": false, "entrypoint": "sh",
            "arguments": ["-c", "exit 2"], "privileged": false}, "OpenStdin": false, "OpenStderr": true,
            "OpenStdout": true, "CanRemove": false, "ContainerID": "4c", "DetachKeys": "", "Pid": 12}"#,
    );
}

#[test]
fn the_engine() {
    survives::<crate::system::Version>(
        r#"{"Platform": {"Name": "Docker Engine - Community"}, "Components": [{"Name": "Engine", "Version": "28.5.2",
            "Details": {"ApiVersion": "1.51", "Os": "linux"}}], "Version": "28.5.2", "ApiVersion": "1.51",
            "MinAPIVersion": "1.24", "GitCommit": "x", "GoVersion": "go1.25", "Os": "linux", "Arch": "amd64",
            "KernelVersion": "6.18.0", "BuildTime": "2026-01-05T10:11:12Z"}"#,
    );
    survives::<crate::event::Event>(
        r#"{"status": "start", "id": "4c", "from": "debian:13", "Type": "container", "Action": "start",
            "Actor": {"ID": "4c", "Attributes": {"image": "debian:13", "name": "web"}}, "scope": "local",
            "time": 1767607872, "timeNano": 1767607872500000000}"#,
    );
    survives::<crate::message::JsonMessage>(
        r#"{"status": "Downloading", "progressDetail": {"current": 5, "total": 10}, "progress": "[=>  ]", "id": "ab"}"#,
    );
    survives::<crate::message::JsonMessage>(r#"{"errorDetail": {"message": "no"}, "error": "no"}"#);
    survives::<crate::error::ErrorResponse>(r#"{"message": "No such container: x"}"#);
}

#[test]
fn absent_null_and_unknown_fields_are_defaults() {
    let nothing: CreateContainer = serde_json::from_str("{}").unwrap();
    assert_eq!(nothing, CreateContainer::default());
    let nulls = r#"{"Hostname": null, "Tty": null, "Env": null, "Cmd": null, "Labels": null, "StopTimeout": null,
        "HostConfig": {"Memory": null, "LogConfig": null, "RestartPolicy": null, "Ulimits": null, "ConsoleSize": null},
        "NetworkingConfig": null, "Unknown": {"a": [1]}}"#;
    let nulls: CreateContainer = serde_json::from_str(nulls).unwrap();
    assert_eq!(nulls.config, nothing.config);
    assert_eq!(nulls.host_config, Some(crate::container::HostConfig::default()));
    let shell: CreateContainer = serde_json::from_str(r#"{"Cmd": "echo hi", "Entrypoint": [""]}"#).unwrap();
    assert_eq!(*shell.config.cmd, ["echo hi"]);
    assert_eq!(*shell.config.entrypoint, [""]);
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(text in ".{0,200}") {
        let _ = serde_json::from_str::<CreateContainer>(&text);
        let _ = crate::filters::Filters::parse(&text);
        let _ = crate::auth::AuthConfig::from_header(&text);
        let _ = crate::units::parse_ram(&text);
    }
}
