//! Platforms, `os/arch[/variant]`, in the normal form that Docker and containerd use.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The platform an image is for (image-spec image-index.md#platform-object).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Platform {
    /// A GOARCH value: `amd64`, `arm64`, `arm` …
    #[serde(default)]
    pub architecture: String,
    /// A GOOS value: `linux` …
    #[serde(default)]
    pub os: String,
    /// Of Windows images.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Of Windows images.
    #[serde(rename = "os.features", default, skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// The CPU variant: `v7`, `v8` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// The platform this engine runs on.
    pub fn host() -> Platform {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            other => other,
        };
        Platform { architecture: architecture.into(), os: "linux".into(), ..Platform::default() }
    }

    /// The same platform with aliases resolved: `x86_64` is `amd64`, `aarch64` and `arm64/v8` are `arm64`.
    pub fn normalized(mut self) -> Platform {
        self.os = self.os.to_lowercase();
        let variant = self.variant.take().filter(|v| !v.is_empty()).map(|v| v.to_lowercase());
        let (arch, variant) = match (self.architecture.to_lowercase().as_str(), variant.as_deref()) {
            ("x86_64" | "x86-64" | "amd64", None | Some("v1")) => ("amd64".to_owned(), None),
            ("x86_64" | "x86-64", _) => ("amd64".to_owned(), variant),
            ("aarch64" | "arm64", None | Some("8" | "v8")) => ("arm64".to_owned(), None),
            ("aarch64", _) => ("arm64".to_owned(), variant),
            ("i386" | "i686" | "x86", _) => ("386".to_owned(), None),
            ("armhf", _) => ("arm".to_owned(), Some("v7".to_owned())),
            ("armel", _) => ("arm".to_owned(), Some("v6".to_owned())),
            ("arm", None | Some("7")) => ("arm".to_owned(), Some("v7".to_owned())),
            ("arm", Some(v @ ("5" | "6" | "8"))) => ("arm".to_owned(), Some(format!("v{v}"))),
            (other, _) => (other.to_owned(), variant),
        };
        self.architecture = arch;
        self.variant = variant;
        self
    }

    /// How well a machine that wants `self` can use an image for `offered`: `None` not at all, lower is better.
    /// A 32-bit image is never chosen for a 64-bit machine unless asked for by name, as Docker does on Linux.
    pub fn rank(&self, offered: &Platform) -> Option<u32> {
        let (want, have) = (self.clone().normalized(), offered.clone().normalized());
        if want.os != have.os || want.architecture != have.architecture {
            return None;
        }
        if want.variant == have.variant {
            return Some(0);
        }
        // Variants of one architecture run on any later one: v6 code on a v7 machine, amd64 on amd64/v3.
        let level = |v: &Option<String>| v.as_deref().and_then(|v| v.strip_prefix('v')?.parse::<u32>().ok());
        let base = if want.architecture == "arm64" { 8 } else { 1 };
        let (w, h) = (level(&want.variant).unwrap_or(base), level(&have.variant).unwrap_or(base));
        (h <= w).then(|| 1 + w - h)
    }
}

impl FromStr for Platform {
    type Err = Error;
    fn from_str(s: &str) -> Result<Platform, Error> {
        let bad = || Error::Platform(s.chars().take(100).collect());
        let part = |p: &str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        let parts: Vec<&str> = s.split('/').collect();
        if parts.len() > 3 || !parts.iter().all(|p| part(p)) {
            return Err(bad());
        }
        let mut platform = Platform::host();
        match parts.as_slice() {
            [one] if ["linux", "windows", "darwin", "freebsd"].contains(&one.to_lowercase().as_str()) => {
                platform.os = (*one).into();
            }
            [arch] => {
                platform = Platform { architecture: (*arch).into(), ..platform }.normalized();
                let known = ["amd64", "arm64", "arm", "386", "ppc64le", "s390x", "riscv64", "mips64le", "loong64"];
                if !known.contains(&platform.architecture.as_str()) {
                    return Err(bad());
                }
            }
            [os, arch, rest @ ..] => {
                platform = Platform {
                    os: (*os).into(),
                    architecture: (*arch).into(),
                    variant: rest.first().map(|v| (*v).into()),
                    ..Platform::default()
                };
            }
            [] => return Err(bad()),
        }
        Ok(platform.normalized())
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(v) => write!(f, "/{v}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_and_normalize() {
        for (text, normal) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("aarch64", "linux/arm64"),
            ("Linux/ARM/7", "linux/arm/v7"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), normal, "{text}");
        }
        for bad in ["", "/", "linux/", "a/b/c/d", "nonsense", "linux/am d64"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }

    #[test]
    fn nearest_variant_wins() {
        let want: Platform = "linux/arm/v7".parse().unwrap();
        let rank = |p: &str| want.rank(&p.parse().unwrap());
        assert_eq!(rank("linux/arm/v7"), Some(0));
        assert_eq!(rank("linux/arm/v6"), Some(2));
        assert_eq!(rank("linux/arm/v8"), None);
        assert_eq!(rank("linux/amd64"), None);
    }
}
