//! An image of a few files that the program carries inside itself, the same bytes on every machine.

use crate::store::Images;
use crate::{Error, Result};
use oci::image::{Compression, ContainerConfig, History, ImageConfig};
use oci::{Digest, Platform, Reference};
use std::collections::BTreeSet;

/// A regular file of an embedded image.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// Below the root, without a leading slash.
    pub path: &'a str,
    /// Permission bits.
    pub mode: u32,
    /// Its content.
    pub bytes: &'a [u8],
}

/// The time in everything embedded: nothing of it depends on when or where it was built.
const EPOCH: &str = "1970-01-01T00:00:00Z";

impl Images {
    /// Makes sure that an image of `files` exists under `name`. Does nothing when the name exists. Blocks.
    ///
    /// # Errors
    /// As [`Images::import`].
    pub fn ensure_embedded(&self, name: &str, files: &[File], config: ContainerConfig) -> Result<Digest> {
        let reference = name.parse::<Reference>()?.or_latest();
        if let Some(id) = self.state().names.get(&reference) {
            return Ok(id.clone());
        }
        let archive = archive(files)?;
        let image = ImageConfig {
            created: Some(EPOCH.into()),
            platform: Platform::host(),
            config,
            history: vec![History {
                created: Some(EPOCH.into()),
                created_by: Some("dhow".into()),
                comment: Some("carried inside the program".into()),
                ..History::default()
            }],
            ..ImageConfig::default()
        };
        self.build(&mut archive.as_slice(), Compression::None, image, Some(&reference))
    }
}

/// A ustar archive (POSIX.1-2024 pax, "ustar Interchange Format") of the files and the directories they need.
fn archive(files: &[File]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut directories = BTreeSet::new();
    for file in files {
        for (at, _) in file.path.match_indices('/') {
            if directories.insert(&file.path[..at]) {
                header(&mut out, &file.path[..=at], 0o755, 0, b'5')?;
            }
        }
        header(&mut out, file.path, file.mode, file.bytes.len(), b'0')?;
        out.extend_from_slice(file.bytes);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    Ok(out)
}

fn header(out: &mut Vec<u8>, path: &str, mode: u32, size: usize, kind: u8) -> Result<()> {
    let mut block = [0u8; 512];
    if path.len() > 100 || path.is_empty() || path.starts_with('/') || size >= 1 << 33 {
        return Err(Error::Invalid(format!("embedded file {path:?} does not fit an archive")));
    }
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, path);
    put(100, &format!("{mode:07o}"));
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{size:011o}"));
    put(136, "00000000000");
    put(148, "        ");
    put(257, "ustar\u{0}00");
    block[156] = kind;
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    out.extend_from_slice(&block);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn tar_reads_it() {
        let files = [
            File { path: "bin/hello", mode: 0o755, bytes: b"#!" },
            File { path: "etc/a/b", mode: 0o600, bytes: &[b'x'; 600] },
            File { path: "etc/c", mode: 0o644, bytes: b"" },
        ];
        let bytes = archive(&files).unwrap();
        assert_eq!(bytes, archive(&files).unwrap());
        let mut tar = Command::new("tar")
            .args(["--utc", "-tvf", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        tar.stdin.take().unwrap().write_all(&bytes).unwrap();
        let output = tar.wait_with_output().unwrap();
        assert!(output.status.success());
        let lines: Vec<String> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|l| l.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            lines,
            [
                "drwxr-xr-x 0/0 0 1970-01-01 00:00 bin/",
                "-rwxr-xr-x 0/0 2 1970-01-01 00:00 bin/hello",
                "drwxr-xr-x 0/0 0 1970-01-01 00:00 etc/",
                "drwxr-xr-x 0/0 0 1970-01-01 00:00 etc/a/",
                "-rw------- 0/0 600 1970-01-01 00:00 etc/a/b",
                "-rw-r--r-- 0/0 0 1970-01-01 00:00 etc/c",
            ]
        );
        assert!(archive(&[File { path: "/abs", mode: 0, bytes: b"" }]).is_err());
    }
}
