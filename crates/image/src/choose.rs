//! Which manifest of an index is for a platform, and what an image must be to be run here.

use crate::{Error, Result};
use oci::Platform;
use oci::image::{Compression, Descriptor, ImageConfig, Index, Kind, Manifest, kind};

/// The most layers overlayfs and Docker take.
pub(crate) const LAYERS: usize = 127;
/// The largest image configuration that is read.
pub(crate) const CONFIG_LIMIT: usize = 8 << 20;

/// A platform as error texts have it: Docker never leaves out that 64-bit ARM is v8.
fn shown(platform: &Platform) -> String {
    let platform = platform.clone().normalized();
    let v8 = platform.architecture == "arm64" && platform.variant.is_none();
    if v8 { format!("{platform}/v8") } else { platform.to_string() }
}

/// The best manifest for `want`; between equals the first, as the publisher ordered them.
pub(crate) fn choose<'a>(index: &'a Index, want: &Platform) -> Result<&'a Descriptor> {
    let mut best: Option<(u32, &Descriptor)> = None;
    for descriptor in &index.manifests {
        if !matches!(kind(&descriptor.media_type), Kind::Manifest | Kind::Index) {
            continue;
        }
        let rank = match &descriptor.platform {
            // BuildKit's attestations say unknown/unknown and so never match.
            Some(platform) => want.rank(platform),
            // Allowed by the specification; better than nothing, and the configuration is looked at later.
            None => Some(u32::MAX),
        };
        if let Some(rank) = rank
            && best.is_none_or(|(before, _)| rank < before)
        {
            best = Some((rank, descriptor));
        }
    }
    let missing = || Error::NotFound(format!("no matching manifest for {} in the manifest list entries", shown(want)));
    best.map(|(_, descriptor)| descriptor).ok_or_else(missing)
}

/// How each layer of a manifest is packed.
pub(crate) fn compressions(manifest: &Manifest) -> Result<Vec<Compression>> {
    if manifest.layers.len() > LAYERS {
        return Err(Error::Invalid(format!("max depth exceeded: {} layers", manifest.layers.len())));
    }
    // Some old tools call the configuration application/octet-stream.
    let config = manifest.config.media_type.as_str();
    if kind(config) != Kind::Config && !matches!(config, "" | "application/octet-stream") {
        return Err(Error::Invalid(format!("unsupported media type {config}: this is no container image")));
    }
    let one = |layer: &Descriptor| match kind(&layer.media_type) {
        Kind::Layer(compression) => Ok(compression),
        _ => Err(Error::Invalid(format!("unsupported layer media type {:?}", layer.media_type))),
    };
    manifest.layers.iter().map(one).collect()
}

/// Reads a configuration and holds it against the manifest that brought it.
pub(crate) fn config(bytes: &[u8], manifest: &Manifest) -> Result<ImageConfig> {
    let config = ImageConfig::parse(bytes)?;
    if !matches!(config.rootfs.kind.as_str(), "layers" | "") {
        return Err(Error::Corrupt("invalid rootfs in image configuration".into()));
    }
    if config.rootfs.diff_ids.len() != manifest.layers.len() {
        return Err(Error::Corrupt("layers from manifest don't match image configuration".into()));
    }
    let os = config.platform.os.as_str();
    if !matches!(os, "linux" | "") {
        return Err(Error::Invalid(format!("image operating system \"{os}\" cannot be used on this platform")));
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(platforms: &[&str]) -> Index {
        let manifests: Vec<String> = platforms
            .iter()
            .enumerate()
            .map(|(n, platform)| {
                let (os, rest) = platform.split_once('/').unwrap();
                let (arch, variant) = rest.split_once('/').unwrap_or((rest, ""));
                let media = oci::image::media::OCI_MANIFEST;
                format!(
                    r#"{{"mediaType":"{media}","digest":"sha256:{}","size":{n},"platform":{{"os":"{os}","architecture":"{arch}","variant":"{variant}"}}}}"#,
                    "ab".repeat(32)
                )
            })
            .collect();
        serde_json::from_str(&format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, manifests.join(","))).unwrap()
    }

    #[test]
    fn the_platform_decides() {
        let all = index(&["unknown/unknown", "linux/arm/v6", "linux/arm/v7", "linux/amd64", "linux/amd64"]);
        let ask = |text: &str| choose(&all, &text.parse().unwrap()).map(|d| d.size).map_err(|e| e.to_string());
        assert_eq!(ask("linux/amd64"), Ok(3));
        assert_eq!(ask("linux/arm/v7"), Ok(2));
        assert_eq!(ask("linux/arm/v6"), Ok(1));
        let none = |p: &str| Err(format!("no matching manifest for {p} in the manifest list entries"));
        assert_eq!(ask("linux/arm64"), none("linux/arm64/v8"));
        assert_eq!(ask("linux/s390x"), none("linux/s390x"));
    }

    #[test]
    fn images_that_contradict_themselves() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let manifest: Manifest = serde_json::from_str(&format!(
            r#"{{"schemaVersion":2,"config":{{"digest":"{digest}","size":2}},"layers":[{{"mediaType":"x","digest":"{digest}","size":2}}]}}"#
        ))
        .unwrap();
        assert_eq!(compressions(&manifest).unwrap_err().to_string(), "unsupported layer media type \"x\"");
        let ask = |text: &str| config(text.as_bytes(), &manifest).map(drop).map_err(|e| e.to_string());
        let with = |os: &str, ids: &str| format!(r#"{{"os":"{os}","rootfs":{{"type":"layers","diff_ids":[{ids}]}}}}"#);
        let one = format!("\"{digest}\"");
        assert_eq!(ask(&with("linux", &one)), Ok(()));
        assert_eq!(ask(&with("linux", "")), Err("layers from manifest don't match image configuration".into()));
        let windows = "image operating system \"windows\" cannot be used on this platform";
        assert_eq!(ask(&with("windows", &one)), Err(windows.into()));
        assert!(ask("{}").is_err() && ask("[]").is_err());
    }
}
