//! `source:destination[:mode]` and `--mount`, with Docker's refusals.

use super::{Depth, Kind, MountPoint, clean, is_local, tmpfs};
use crate::error::{Error, Result, invalid};
use api::container::Mount;

const PROPAGATION: [&str; 6] = ["private", "rprivate", "slave", "rslave", "shared", "rshared"];
const TARGET_IS_ROOT: &str = "invalid specification: destination can't be '/'";

/// The kinds of words in a mode; one of each at most.
fn mode_word(word: &str) -> Option<usize> {
    match word {
        "rw" | "ro" => Some(0),
        "z" | "Z" => Some(1),
        word if PROPAGATION.contains(&word) => Some(2),
        "nocopy" => Some(3),
        "consistent" | "cached" | "delegated" => Some(4),
        _ => None,
    }
}

fn is_mode(mode: &str) -> bool {
    let mut seen = [false; 5];
    mode.is_empty()
        || mode.split(',').all(|word| mode_word(word).is_some_and(|kind| !std::mem::replace(&mut seen[kind], true)))
}

/// One of `HostConfig.Binds`.
///
/// # Errors
/// In Docker's words.
pub(crate) fn parse_bind(raw: &str, volume_driver: &str) -> Result<MountPoint> {
    let spec = || invalid!("invalid volume specification: '{raw}'");
    let parts: Vec<&str> = raw.splitn(4, ':').collect();
    let (source, target, mode) = match parts[..] {
        ["", ..] => return Err(spec()),
        [target] => ("", target, ""),
        [_, mode] if is_mode(mode) => return Err(spec()),
        [source, target] => (source, target, ""),
        [source, target, mode] => (source, target, mode),
        _ => return Err(spec()),
    };
    if !is_mode(mode) {
        return Err(invalid!("invalid mode: {mode}"));
    }
    let words: Vec<&str> = mode.split(',').collect();
    let propagation = words.iter().find(|w| PROPAGATION.contains(w)).copied().unwrap_or_default();
    let bind = source.starts_with('/');
    let wrong = |e: Error| invalid!("invalid volume specification: '{raw}': {e}");
    let kind = if bind { "bind" } else { "volume" };
    target_ok(target).map_err(|e| wrong(invalid!("invalid mount config for type {kind:?}: {e}")))?;
    if raw.contains('\0') {
        return Err(spec());
    }
    let point = MountPoint {
        destination: clean(target),
        mode: mode.to_owned(),
        rw: !words.contains(&"ro"),
        ..MountPoint::default()
    };
    if bind {
        if words.contains(&"nocopy") {
            return Err(wrong(invalid!(
                "invalid mount config for type \"bind\": field VolumeOptions must not be specified"
            )));
        }
        return Ok(MountPoint {
            kind: Kind::Bind,
            source: clean(source),
            propagation: if propagation.is_empty() { "rprivate" } else { propagation }.to_owned(),
            create_source: true,
            ..point
        });
    }
    if !propagation.is_empty() {
        return Err(wrong(invalid!(
            "invalid mount config for type \"volume\": field BindOptions must not be specified"
        )));
    }
    Ok(MountPoint {
        kind: Kind::Volume,
        name: source.to_owned(),
        anonymous: source.is_empty(),
        driver: driver(volume_driver)?,
        mode: if mode.is_empty() { "z".to_owned() } else { mode.to_owned() },
        copy: !words.contains(&"nocopy"),
        ..point
    })
}

fn driver(name: &str) -> Result<String> {
    match name {
        "" | "local" => Ok("local".to_owned()),
        other => Err(Error::NotFound(format!("error looking up volume plugin {other}: plugin {other:?} not found"))),
    }
}

fn target_ok(target: &str) -> Result<()> {
    if target.is_empty() {
        return Err(invalid!("field Target must not be empty"));
    }
    if clean(target) == "/" && target.starts_with('/') {
        return Err(invalid!("{TARGET_IS_ROOT}"));
    }
    if !target.starts_with('/') {
        return Err(invalid!("invalid mount path: '{target}' mount path must be absolute"));
    }
    match target.contains('\0') {
        true => Err(invalid!("invalid mount path: it contains a NUL byte")),
        false => Ok(()),
    }
}

/// One of `HostConfig.Mounts`. `exists` says whether a path of the host is there.
///
/// # Errors
/// In Docker's words: `invalid mount config for type "bind": …`.
pub(crate) fn parse_mount(mount: &Mount, exists: impl Fn(&str) -> Result<bool>) -> Result<MountPoint> {
    let wrong = |e: Error| match e {
        missing @ Error::NotFound(_) => missing,
        unsupported @ Error::Unsupported(_) => unsupported,
        e => invalid!("invalid mount config for type {:?}: {e}", mount.kind),
    };
    target_ok(&mount.target).map_err(wrong)?;
    let point = MountPoint { destination: clean(&mount.target), rw: !mount.read_only, ..MountPoint::default() };
    match mount.kind.as_str() {
        "bind" => bind(mount, point, exists),
        "volume" => volume(mount, point),
        "tmpfs" => memory(mount, point),
        "image" => Err(Error::Unsupported("mounts of type \"image\" are not supported by this engine".into())),
        "cluster" => Err(invalid!("mount type unknown")),
        _ => Err(invalid!("mount type unknown")),
    }
    .map_err(wrong)
}

fn extra(field: &str, there: bool) -> Result<()> {
    if there { Err(invalid!("field {field} must not be specified")) } else { Ok(()) }
}

fn bind(mount: &Mount, point: MountPoint, exists: impl Fn(&str) -> Result<bool>) -> Result<MountPoint> {
    if mount.source.is_empty() {
        return Err(invalid!("field Source must not be empty"));
    }
    let options = mount.bind_options.clone().unwrap_or_default();
    if !options.propagation.is_empty() && !PROPAGATION.contains(&options.propagation.as_str()) {
        return Err(invalid!("invalid propagation mode: {}", options.propagation));
    }
    extra("VolumeOptions", mount.volume_options.is_some())?;
    extra("ImageOptions", mount.image_options.is_some())?;
    extra("TmpfsOptions", mount.tmpfs_options.is_some())?;
    if !mount.source.starts_with('/') || mount.source.contains('\0') {
        return Err(invalid!("invalid mount path: '{}' mount path must be absolute", mount.source));
    }
    if !options.create_mountpoint && !exists(&mount.source)? {
        return Err(invalid!("bind source path does not exist: {}", mount.source));
    }
    Ok(MountPoint {
        kind: Kind::Bind,
        source: clean(&mount.source),
        propagation: if options.propagation.is_empty() { "rprivate".to_owned() } else { options.propagation },
        create_source: options.create_mountpoint,
        non_recursive: options.non_recursive,
        read_only: match (options.read_only_non_recursive, options.read_only_force_recursive) {
            (true, true) => {
                return Err(invalid!("mount options conflict: ReadOnlyNonRecursive && ReadOnlyForceRecursive"));
            }
            (true, false) => Depth::Top,
            (false, true) => Depth::Forced,
            (false, false) => Depth::Recursive,
        },
        ..point
    })
}

fn volume(mount: &Mount, point: MountPoint) -> Result<MountPoint> {
    extra("BindOptions", mount.bind_options.is_some())?;
    extra("ImageOptions", mount.image_options.is_some())?;
    extra("TmpfsOptions", mount.tmpfs_options.is_some())?;
    let options = mount.volume_options.clone().unwrap_or_default();
    if !options.subpath.is_empty() {
        if mount.source.is_empty() {
            return Err(invalid!("must not set Subpath when using anonymous volumes"));
        }
        if !is_local(&options.subpath) {
            return Err(invalid!("subpath must be a relative path within the volume"));
        }
    }
    if mount.read_only && mount.source.is_empty() {
        return Err(invalid!("must not set ReadOnly mode when using anonymous volumes"));
    }
    let config = options.driver_config.unwrap_or_default();
    Ok(MountPoint {
        kind: Kind::Volume,
        name: mount.source.clone(),
        anonymous: mount.source.is_empty(),
        driver: driver(&config.name)?,
        mode: "z".to_owned(),
        copy: !options.no_copy && options.subpath.is_empty(),
        subpath: options.subpath,
        labels: options.labels.into_btree(),
        driver_options: config.options.into_btree(),
        ..point
    })
}

fn memory(mount: &Mount, point: MountPoint) -> Result<MountPoint> {
    extra("BindOptions", mount.bind_options.is_some())?;
    extra("ImageOptions", mount.image_options.is_some())?;
    extra("VolumeOptions", mount.volume_options.is_some())?;
    extra("Source", !mount.source.is_empty())?;
    let text = tmpfs::from_mount(mount.tmpfs_options.as_ref(), mount.read_only)?;
    Ok(MountPoint { kind: Kind::Tmpfs, options: tmpfs::options(&text)?, ..point })
}

/// One of `HostConfig.VolumesFrom`: the container and whether its mounts stay writable.
///
/// # Errors
/// In Docker's words.
pub(crate) fn parse_volumes_from(spec: &str) -> Result<(&str, bool)> {
    if spec.is_empty() {
        return Err(invalid!("volumes from specification must not be an empty string"));
    }
    let (container, mode) = spec.split_once(':').unwrap_or((spec, "rw"));
    let words: Vec<&str> = mode.split(',').collect();
    if !is_mode(mode) || words.iter().any(|w| PROPAGATION.contains(w) || *w == "nocopy") {
        return Err(invalid!("invalid mode: {mode}"));
    }
    Ok((container, !words.contains(&"ro")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::container::{BindOptions, VolumeOptions};

    #[test]
    fn binds() {
        let p = parse_bind("/src/:/dst/../d:ro,rslave", "").unwrap();
        assert_eq!((p.kind, p.source.as_str(), p.destination.as_str(), p.rw), (Kind::Bind, "/src", "/d", false));
        assert_eq!((p.propagation.as_str(), p.create_source), ("rslave", true));
        let p = parse_bind("data:/d", "").unwrap();
        assert_eq!(
            (p.kind, p.name.as_str(), p.mode.as_str(), p.copy, p.anonymous),
            (Kind::Volume, "data", "z", true, false)
        );
        let p = parse_bind("/d", "").unwrap();
        assert_eq!((p.kind, p.anonymous, p.destination.as_str()), (Kind::Volume, true, "/d"));
        assert!(!parse_bind("data:/d:nocopy", "").unwrap().copy);
        for (raw, text) in [
            ("", "invalid volume specification: ''"),
            (":/x", "invalid volume specification: ':/x'"),
            ("/x:ro", "invalid volume specification: '/x:ro'"),
            ("/a:/b:ro:x", "invalid volume specification: '/a:/b:ro:x'"),
            ("/a:/b:bogus", "invalid mode: bogus"),
            ("/a:/b:ro,rw", "invalid mode: ro,rw"),
            (
                "/a:/",
                "invalid volume specification: '/a:/': invalid mount config for type \"bind\": invalid specification: destination can't be '/'",
            ),
            (
                "/a:b",
                "invalid volume specification: '/a:b': invalid mount config for type \"bind\": invalid mount path: 'b' mount path must be absolute",
            ),
        ] {
            assert_eq!(parse_bind(raw, "").unwrap_err().to_string(), text);
        }
        assert_eq!(
            parse_bind("a:/b", "nfs").unwrap_err().to_string(),
            "error looking up volume plugin nfs: plugin \"nfs\" not found"
        );
    }

    fn mount(kind: &str, source: &str, target: &str) -> Mount {
        Mount { kind: kind.into(), source: source.into(), target: target.into(), ..Mount::default() }
    }

    #[test]
    fn mounts() {
        let err = |m: Mount| parse_mount(&m, |_| Ok(false)).unwrap_err().to_string();
        assert_eq!(
            err(mount("bind", "/no/such", "/d")),
            "invalid mount config for type \"bind\": bind source path does not exist: /no/such"
        );
        assert_eq!(
            err(mount("bind", "", "/d")),
            "invalid mount config for type \"bind\": field Source must not be empty"
        );
        assert_eq!(
            err(mount("bind", "/a", "")),
            "invalid mount config for type \"bind\": field Target must not be empty"
        );
        assert_eq!(
            err(mount("tmpfs", "x", "/d")),
            "invalid mount config for type \"tmpfs\": field Source must not be specified"
        );
        assert_eq!(err(mount("what", "", "/d")), "invalid mount config for type \"what\": mount type unknown");
        let sub = Mount {
            volume_options: Some(VolumeOptions { subpath: "../x".into(), ..Default::default() }),
            ..mount("volume", "v", "/d")
        };
        assert_eq!(
            err(sub),
            "invalid mount config for type \"volume\": subpath must be a relative path within the volume"
        );
        let made = Mount {
            bind_options: Some(BindOptions { create_mountpoint: true, ..Default::default() }),
            ..mount("bind", "/no/such", "/d")
        };
        assert!(parse_mount(&made, |_| Ok(false)).unwrap().create_source);
        assert_eq!(
            parse_mount(&mount("tmpfs", "", "/t"), |_| Ok(false)).unwrap().options,
            ["noexec", "nosuid", "nodev", "rprivate"]
        );
    }

    proptest::proptest! {
        #[test]
        fn any_bind_is_absolute_or_refused(raw in "[a/.:rwoz, ]{0,24}") {
            if let Ok(p) = parse_bind(&raw, "") {
                proptest::prop_assert!(p.destination.starts_with('/') && p.destination != "/");
                proptest::prop_assert!(!p.destination.split('/').any(|n| n == ".." || n == "."));
            }
        }
    }
}
