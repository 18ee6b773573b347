//! JSON of inspect as the Go structs that Docker's client decodes it into, as far as a template can tell: which objects
//! are structs and which maps, what a null is, and Go's names of fields.

use std::rc::Rc;
use template::{Map, Shape, Value};

/// Objects by these names are maps of strings.
const STRING_MAPS: [&str; 13] = [
    "Labels",
    "Options",
    "DriverOpts",
    "Data",
    "Sysctls",
    "Annotations",
    "StorageOpt",
    "Tmpfs",
    "AuxiliaryAddresses",
    "Status",
    "Details",
    "AuxAddress",
    "Config#LogConfig",
];

/// Objects by these names are maps of other things.
const MAPS: [&str; 9] = [
    "Ports",
    "PortBindings",
    "Networks",
    "ExposedPorts",
    "Volumes",
    "Containers",
    "Runtimes",
    "IndexConfigs",
    "Services",
];

/// Fields by these names are slices.
const LISTS: [&str; 44] = [
    "Args",
    "Binds",
    "CapAdd",
    "CapDrop",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "ExtraHosts",
    "GroupAdd",
    "Links",
    "SecurityOpt",
    "Devices",
    "DeviceCgroupRules",
    "DeviceRequests",
    "Ulimits",
    "VolumesFrom",
    "MaskedPaths",
    "ReadonlyPaths",
    "Cmd",
    "Entrypoint",
    "Env",
    "OnBuild",
    "Shell",
    "ExecIDs",
    "Mounts",
    "RepoTags",
    "RepoDigests",
    "Aliases",
    "DNSNames",
    "SecondaryIPAddresses",
    "SecondaryIPv6Addresses",
    "BlkioWeightDevice",
    "BlkioDeviceReadBps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteIOps",
    "Config#IPAM",
    "Warnings",
    "Labels#Info",
    "Layers",
    "Volume#Plugins",
    "Network#Plugins",
    "Authorization",
    "Log",
];

/// Go's names of fields, and the names in JSON.
const ALIASES: [(&str, &str); 16] = [
    ("ID", "Id"),
    ("NanoCPUs", "NanoCpus"),
    ("CPUShares", "CpuShares"),
    ("CPUPeriod", "CpuPeriod"),
    ("CPUQuota", "CpuQuota"),
    ("CPURealtimePeriod", "CpuRealtimePeriod"),
    ("CPURealtimeRuntime", "CpuRealtimeRuntime"),
    ("CPUCount", "CpuCount"),
    ("CPUPercent", "CpuPercent"),
    ("DNS", "Dns"),
    ("DNSOptions", "DnsOptions"),
    ("DNSSearch", "DnsSearch"),
    ("HostIP", "HostIp"),
    ("APIVersion", "ApiVersion"),
    ("MinAPIVersion", "MinApiVersion"),
    ("NFd", "NFD"),
];

/// A document as Go's struct `kind`.
pub fn structure(document: &Value, kind: &str) -> Value {
    convert(document, kind, "", kind)
}

fn convert(value: &Value, name: &str, parent: &str, kind: &str) -> Value {
    let qualified = format!("{name}#{parent}");
    let named = |names: &[&str]| names.contains(&qualified.as_str()) || names.contains(&name);
    // LogConfig.Config and IPAM.Config are known by their parents; every other Config is a struct
    let list = named(&LISTS) && !(name == "Labels" && parent != "Info");
    match value {
        Value::Nil if list => Value::NilList,
        Value::Nil if named(&STRING_MAPS) || named(&MAPS) => Value::NilMap,
        Value::Nil => Value::NilPointer,
        Value::List(items) => Value::list(items.iter().map(|item| convert(item, "", name, name)).collect()),
        Value::Map(map) => {
            let shape = match () {
                () if named(&STRING_MAPS) && map.entries.iter().all(|(_, v)| matches!(v, Value::Str(_))) => {
                    Shape::Strings
                }
                () if named(&MAPS) => Shape::Any,
                () => Shape::Struct(kind.into()),
            };
            let is_struct = matches!(shape, Shape::Struct(_));
            let mut entries: Vec<(String, Value)> = map
                .entries
                .iter()
                .map(|(key, item)| {
                    let item = match (is_struct, item) {
                        // a null list of port bindings
                        (false, Value::Nil) if matches!(name, "Ports" | "PortBindings") => Value::NilList,
                        (true, item) => convert(item, key, name, key),
                        (false, item) => convert(item, "", name, name),
                    };
                    (key.clone(), item)
                })
                .collect();
            if !is_struct {
                entries.sort_by(|a, b| a.0.cmp(&b.0));
            }
            Value::Map(Rc::new(Map { shape, entries, aliases: if is_struct { &ALIASES } else { &[] } }))
        }
        other => other.clone(),
    }
}

/// A document as Go's `map[string]any`, keys sorted: what a template sees when the struct has no such field.
pub fn raw(document: &Value) -> Value {
    match document {
        Value::List(items) => Value::list(items.iter().map(raw).collect()),
        Value::Map(map) => Value::map(map.entries.iter().map(|(k, v)| (k.clone(), raw(v))).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use template::Template;

    #[test]
    fn as_docker_prints_them() {
        let json = r#"{"Id":"abc","State":{"Status":"running","Pid":7},
            "HostConfig":{"Binds":null,"PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8080"}]},"Init":null,
                          "LogConfig":{"Type":"json-file","Config":{}}},
            "Config":{"Labels":{"b":"2","a":"1"},"Cmd":["x","y"]},"NetworkSettings":{"Ports":{"1/tcp":null}}}"#;
        let value = structure(&serde_json::from_str(json).unwrap(), "container.InspectResponse");
        for (template, want) in [
            ("{{.ID}} {{.Id}}", "abc abc"),
            ("{{.State}}", "{running 7}"),
            ("{{.HostConfig.Binds}} {{.HostConfig.Init}}", "[] <nil>"),
            ("{{.HostConfig.PortBindings}}", "map[80/tcp:[{ 8080}]]"),
            ("{{.HostConfig.LogConfig}}", "{json-file map[]}"),
            ("{{.Config.Labels}} {{index .Config.Labels \"zz\"}}|", "map[a:1 b:2] |"),
            ("{{.Config.Cmd}} {{.NetworkSettings.Ports}}", "[x y] map[1/tcp:[]]"),
            ("{{json .HostConfig.Binds}}", "null"),
        ] {
            assert_eq!(Template::parse(template).unwrap().execute(&value).unwrap(), want, "{template}");
        }
        assert!(Template::parse("{{.Nope}}").unwrap().execute(&value).is_err());
    }
}
