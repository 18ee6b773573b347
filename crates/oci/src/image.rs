//! Descriptors, manifests, indexes and the image configuration (image-spec 1.1), with Docker's own media types.
//!
//! Documents of others are kept as the raw bytes their digest names; these types are only for reading them.

use crate::json::{self, maybe_object, object, object_or_default, objects, objects_or_null};
use crate::{Digest, Error, Platform};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// Media types, OCI's and Docker's.
pub mod media {
    #![allow(missing_docs)]
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    pub const OCI_LAYER_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
    pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    pub const DOCKER_LAYER_TAR: &str = "application/vnd.docker.image.rootfs.diff.tar";
}

/// How the bytes of a layer are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Plain tar.
    None,
    /// gzip, RFC 1952; any number of members.
    Gzip,
    /// Zstandard, RFC 8878; any number of frames.
    Zstd,
}

/// What a descriptor's media type says its blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A list of manifests for platforms.
    Index,
    /// One image.
    Manifest,
    /// The image configuration.
    Config,
    /// A layer.
    Layer(Compression),
    /// Nothing this engine runs.
    Other,
}

/// The meaning of a media type.
pub fn kind(media_type: &str) -> Kind {
    match media_type {
        media::OCI_INDEX | media::DOCKER_INDEX => Kind::Index,
        media::OCI_MANIFEST | media::DOCKER_MANIFEST => Kind::Manifest,
        media::OCI_CONFIG | media::DOCKER_CONFIG => Kind::Config,
        media::OCI_LAYER_TAR | media::DOCKER_LAYER_TAR => Kind::Layer(Compression::None),
        media::OCI_LAYER_GZIP | media::DOCKER_LAYER_GZIP => Kind::Layer(Compression::Gzip),
        media::OCI_LAYER_ZSTD => Kind::Layer(Compression::Zstd),
        // Non-distributable layers (deprecated) have the same bytes under another name.
        other if other.contains("nondistributable") || other.contains("foreign.diff") => match other {
            o if o.ends_with("gzip") => Kind::Layer(Compression::Gzip),
            o if o.ends_with("zstd") => Kind::Layer(Compression::Zstd),
            _ => Kind::Layer(Compression::None),
        },
        _ => Kind::Other,
    }
}

/// Go encodes an absent list or map as `null`; read that as empty.
fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(d: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

/// A typed, sized reference to a blob (descriptor.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// What the blob is.
    #[serde(rename = "mediaType", default)]
    pub media_type: String,
    /// Its name.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Where else it may be had. Never followed with credentials.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Data of others; no meaning to this engine.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// In an index: which platform the manifest is for.
    #[serde(default, deserialize_with = "maybe_object", skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The kind of artifact, when it is not an image.
    #[serde(rename = "artifactType", default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

/// One image: its configuration and its layers, lowest first (manifest.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always 2.
    #[serde(rename = "schemaVersion")]
    pub schema_version: u32,
    /// Optional in OCI, always there in Docker's.
    #[serde(rename = "mediaType", default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The image configuration.
    #[serde(deserialize_with = "object")]
    pub config: Descriptor,
    /// Lowest first.
    #[serde(deserialize_with = "objects")]
    pub layers: Vec<Descriptor>,
    /// Data of others.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Manifests for several platforms (image-index.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Always 2.
    #[serde(rename = "schemaVersion")]
    pub schema_version: u32,
    /// Optional in OCI, always there in Docker's.
    #[serde(rename = "mediaType", default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// In order of preference.
    #[serde(deserialize_with = "objects")]
    pub manifests: Vec<Descriptor>,
    /// Data of others.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A manifest or an index, told apart strictly: one digest has one meaning (CVE-2021-41190).
#[allow(clippy::large_enum_variant, reason = "one exists at a time, for moments")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// Several.
    Index(Index),
}

/// The keys of manifests, indexes and descriptors that mean something to some reader.
const KEYS: &[&str] = &[
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "manifests",
    "subject",
    "fsLayers",
    "history",
    "signatures",
    "annotations",
    "digest",
    "size",
    "urls",
    "data",
    "platform",
    "architecture",
    "os",
    "os.version",
    "os.features",
    "variant",
    "features",
];

impl Document {
    /// Reads a manifest or an index of `content_type` (what the registry or the descriptor said it is).
    ///
    /// # Errors
    /// When the JSON is not of the shape its type asks for, names a different media type inside, has both `layers` and
    /// `manifests`, repeats a key (or one in another case, which Go takes for the same), or has more than one value.
    pub fn parse(bytes: &[u8], content_type: &str) -> Result<Document, Error> {
        let wrong = |why: String| Error::Document { what: "image manifest", why };
        // A first look at the top-level keys; serde refuses a repeated field of this struct by itself.
        #[derive(Deserialize)]
        struct Look<'a> {
            #[serde(rename = "schemaVersion")]
            schema_version: u32,
            #[serde(rename = "mediaType")]
            media_type: Option<String>,
            #[serde(borrow)]
            layers: Option<&'a serde_json::value::RawValue>,
            #[serde(borrow)]
            manifests: Option<&'a serde_json::value::RawValue>,
            #[serde(rename = "fsLayers", borrow)]
            fs_layers: Option<&'a serde_json::value::RawValue>,
        }
        let look: Look = serde_json::from_slice(bytes).map_err(|e| wrong(e.to_string()))?;
        if look.schema_version == 1 || look.fs_layers.is_some() {
            return Err(wrong("Docker image manifest version 2, schema 1 is not supported: ask the publisher for a schema 2 or OCI image".into()));
        }
        if look.schema_version != 2 {
            return Err(wrong(format!("schemaVersion {} is unknown", look.schema_version)));
        }
        if look.layers.is_some() && look.manifests.is_some() {
            return Err(wrong("it has both \"layers\" and \"manifests\"".into()));
        }
        let media_type = match &look.media_type {
            Some(inside) if kind(content_type) != Kind::Other && inside != content_type => {
                return Err(wrong(format!("it says it is {inside:?} but was served as {content_type:?}")));
            }
            Some(inside) => inside.as_str(),
            None => content_type,
        };
        match kind(media_type) {
            Kind::Index if look.layers.is_none() => {
                Ok(Document::Index(json::parse(bytes, KEYS).map_err(|e| wrong(e.to_string()))?))
            }
            Kind::Manifest if look.manifests.is_none() => {
                Ok(Document::Manifest(json::parse(bytes, KEYS).map_err(|e| wrong(e.to_string()))?))
            }
            Kind::Index | Kind::Manifest => Err(wrong(format!("its content is not a {media_type:?}"))),
            _ => Err(wrong(format!("unsupported media type {media_type:?}"))),
        }
    }
}

/// What a container of this image starts with (config.md). Untrusted data: nothing here opens an isolation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct ContainerConfig {
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Empty>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// Docker's extension; kept as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<serde_json::Value>,
    /// Docker's extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Docker's extension.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// Docker's extension, of Windows images.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "std::ops::Not::not")]
    pub args_escaped: bool,
}

/// `{}`: the values of Go's `map[string]struct{}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Empty {}

impl<'de> Deserialize<'de> for Empty {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Empty, D::Error> {
        // Go takes null, and an object whose keys it does not look at.
        #[derive(Deserialize, Default)]
        struct Any {}
        object_or_default::<D, Any>(d).map(|_| Empty {})
    }
}

/// The layers' uncompressed digests, lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Digests of the uncompressed tar of each layer.
    #[serde(deserialize_with = "null_is_default")]
    pub diff_ids: Vec<Digest>,
}

/// One line of `history`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct History {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// This step made no layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_layer: Option<bool>,
}

/// The image configuration (config.md). Its digest is the image's ID.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ImageConfig {
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The platform, flattened into the document.
    #[serde(flatten)]
    pub platform: Platform,
    /// What a container starts with.
    #[serde(default, deserialize_with = "object_or_default")]
    pub config: ContainerConfig,
    /// The layers.
    #[serde(deserialize_with = "object")]
    pub rootfs: RootFs,
    /// How it was made.
    #[serde(default, deserialize_with = "objects_or_null", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// Docker's extension: the engine that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker_version: Option<String>,
}

impl ImageConfig {
    /// Reads an image configuration.
    ///
    /// # Errors
    /// When the JSON does not have its shape.
    pub fn parse(bytes: &[u8]) -> Result<ImageConfig, Error> {
        serde_json::from_slice(bytes).map_err(|e| Error::Document { what: "image configuration", why: e.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(extra: &str) -> String {
        let d = format!("sha256:{}", "ab".repeat(32));
        format!(
            r#"{{"schemaVersion":2,{extra}"config":{{"mediaType":"{}","digest":"{d}","size":2}},"layers":[]}}"#,
            media::OCI_CONFIG
        )
    }

    #[test]
    fn one_digest_has_one_meaning() {
        let ok = manifest("");
        assert!(matches!(Document::parse(ok.as_bytes(), media::OCI_MANIFEST), Ok(Document::Manifest(_))));
        let both = manifest(r#""manifests":[],"#);
        let other = manifest(&format!(r#""mediaType":"{}","#, media::DOCKER_MANIFEST));
        let twice = manifest(r#""layers":[],"#);
        let trailing = format!("{ok}{{}}");
        for bad in [both.as_str(), &other, &twice, &trailing, "\u{feff}{}", "[]", "", "null"] {
            assert!(Document::parse(bad.as_bytes(), media::OCI_MANIFEST).is_err(), "{bad}");
        }
        assert!(Document::parse(ok.as_bytes(), media::OCI_INDEX).is_err());
        assert!(Document::parse(ok.as_bytes(), "text/html").is_err());
    }

    #[test]
    fn go_nulls_are_empty() {
        let c = ImageConfig::parse(
            br#"{"architecture":"amd64","os":"linux","config":{"Env":null,"Cmd":null,"Volumes":null},"rootfs":{"type":"layers","diff_ids":null},"history":null}"#,
        )
        .unwrap();
        assert_eq!((c.platform.architecture.as_str(), c.config.env.len(), c.rootfs.diff_ids.len()), ("amd64", 0, 0));
    }
}
