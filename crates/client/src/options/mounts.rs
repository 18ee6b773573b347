//! `--mount` and `--volume`.

use super::values::csv;
use crate::flags::{parse_bool, units_size};
use api::container::{BindOptions, Driver, ImageOptions, Mount, TmpfsOptions, VolumeOptions};
use api::go::Map;

/// One `--mount`: `type=bind,source=/a,target=/b,readonly`.
pub fn mount(value: &str) -> Result<Mount, String> {
    let mut mount = Mount { kind: "volume".into(), ..Mount::default() };
    for field in csv(value)? {
        set(&mut mount, &field)?;
    }
    verify(&mount)?;
    Ok(mount)
}

fn volume(mount: &mut Mount) -> &mut VolumeOptions {
    mount.volume_options.get_or_insert_with(|| VolumeOptions {
        labels: Map::empty(),
        driver_config: Some(Driver::default()),
        ..VolumeOptions::default()
    })
}

fn set(mount: &mut Mount, field: &str) -> Result<(), String> {
    let (key, value) = match field.split_once('=') {
        Some((key, value)) => (key.to_ascii_lowercase(), Some(value)),
        None => (field.to_ascii_lowercase(), None),
    };
    let bind =
        |mount: &mut Mount, change: &dyn Fn(&mut BindOptions)| change(mount.bind_options.get_or_insert_default());
    let Some(value) = value else {
        match key.as_str() {
            "readonly" | "ro" => mount.read_only = true,
            "volume-nocopy" => volume(mount).no_copy = true,
            "bind-nonrecursive" => bind(mount, &|b| b.non_recursive = true),
            "bind-create-src" => bind(mount, &|b| b.create_mountpoint = true),
            _ => return Err(format!("invalid field '{field}' must be a key=value pair")),
        }
        return Ok(());
    };
    let wrong = || format!("invalid value for {key}: {value}");
    let flag = || parse_bool(value).ok_or_else(wrong);
    match key.as_str() {
        "type" => mount.kind = value.to_ascii_lowercase(),
        "source" | "src" => mount.source = absolute(value),
        "target" | "dst" | "destination" => mount.target = value.into(),
        "readonly" | "ro" => mount.read_only = flag()?,
        "consistency" => mount.consistency = value.to_ascii_lowercase(),
        "bind-propagation" => bind(mount, &|b| b.propagation = value.to_ascii_lowercase()),
        "bind-nonrecursive" => {
            let on = flag()?;
            bind(mount, &|b| b.non_recursive = on);
        }
        "bind-create-src" => {
            let on = flag()?;
            bind(mount, &|b| b.create_mountpoint = on);
        }
        "bind-recursive" => match value {
            "enabled" => {}
            "disabled" => bind(mount, &|b| b.non_recursive = true),
            "writable" => bind(mount, &|b| b.read_only_non_recursive = true),
            "readonly" => bind(mount, &|b| b.read_only_force_recursive = true),
            _ => {
                return Err(format!("{} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")", wrong()));
            }
        },
        "volume-subpath" => volume(mount).subpath = value.into(),
        "volume-nocopy" => volume(mount).no_copy = flag()?,
        "volume-label" => put(&mut volume(mount).labels, value),
        "volume-driver" => volume(mount).driver_config.get_or_insert_default().name = value.into(),
        "volume-opt" => put(&mut volume(mount).driver_config.get_or_insert_default().options, value),
        "image-subpath" => mount.image_options.get_or_insert_with(ImageOptions::default).subpath = value.into(),
        "tmpfs-size" => {
            mount.tmpfs_options.get_or_insert_with(TmpfsOptions::default).size_bytes =
                units_size(value).map_err(|_| wrong())?;
        }
        "tmpfs-mode" => {
            mount.tmpfs_options.get_or_insert_with(TmpfsOptions::default).mode =
                u32::from_str_radix(value, 8).map_err(|_| wrong())?;
        }
        _ => return Err(format!("unexpected key '{key}' in '{field}'")),
    }
    Ok(())
}

fn put(map: &mut Map<String>, pair: &str) {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    if !key.is_empty() {
        map.insert(key.into(), value.into());
    }
}

fn verify(mount: &Mount) -> Result<(), String> {
    if mount.kind.is_empty() {
        return Err("type is required".into());
    }
    if mount.target.is_empty() {
        return Err("target is required".into());
    }
    for (given, kind) in [
        (mount.volume_options.is_some(), "volume"),
        (mount.image_options.is_some(), "image"),
        (mount.bind_options.is_some(), "bind"),
        (mount.tmpfs_options.is_some(), "tmpfs"),
    ] {
        if given && mount.kind != kind {
            return Err(format!("cannot mix '{kind}-*' options with mount type '{}'", mount.kind));
        }
    }
    let needs = |option: &str, other: &str| {
        Err(format!("option 'bind-recursive={option}' requires '{other}' to be specified in conjunction"))
    };
    match &mount.bind_options {
        Some(b) if b.read_only_non_recursive && !mount.read_only => needs("writable", "readonly"),
        Some(b) if b.read_only_force_recursive && !mount.read_only => needs("readonly", "readonly"),
        Some(b) if b.read_only_force_recursive && b.propagation != "rprivate" => {
            needs("readonly", "bind-propagation=rprivate")
        }
        _ => Ok(()),
    }
}

/// A path that begins with a dot is relative to where the client runs.
fn absolute(path: &str) -> String {
    if !path.starts_with('.') {
        return path.into();
    }
    match std::env::current_dir() {
        Ok(here) => super::values::clean(&format!("{}/{path}", here.to_string_lossy())),
        Err(_) => path.into(),
    }
}

/// What one `--volume` is.
#[derive(Debug, PartialEq, Eq)]
pub enum Volume {
    /// A destination alone.
    Anonymous(String),
    /// `source:destination[:options]`, the source made absolute.
    Bind(String),
}

/// One `--volume`.
pub fn volume_spec(spec: &str) -> Result<Volume, String> {
    if spec.is_empty() {
        return Err("invalid empty volume spec".into());
    }
    if spec.len() <= 2 {
        return Ok(Volume::Anonymous(spec.into()));
    }
    let parts: Vec<&str> = spec.split(':').collect();
    if parts.iter().any(|p| p.is_empty()) {
        return Err(format!("invalid spec: {spec}: empty section between colons"));
    }
    match parts.as_slice() {
        [_] => Ok(Volume::Anonymous(spec.into())),
        [_, _] | [_, _, _] => match spec.split_once(':') {
            Some((source, rest)) if source.starts_with('.') => Ok(Volume::Bind(format!("{}:{rest}", absolute(source)))),
            _ => Ok(Volume::Bind(spec.into())),
        },
        _ => Err(format!("invalid spec: {spec}: too many colons")),
    }
}
