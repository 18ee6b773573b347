//! Layers and images made by hand.

use oci::Digest;
use oci::digest::Algorithm;
use oci::image::media;
use serde_json::json;
use std::io::Write;
use std::process::{Command, Stdio};

pub fn sha256(bytes: &[u8]) -> Digest {
    registry::digest(Algorithm::Sha256, bytes)
}

/// A tar archive of regular files.
pub fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (path, bytes) in files {
        let mut block = [0u8; 512];
        let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, path);
        put(100, "0000644\u{0}0000000\u{0}0000000\u{0}");
        put(124, &format!("{:011o}\u{0}00000000000\u{0}        0", bytes.len()));
        put(257, "ustar\u{0}00");
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        out.extend_from_slice(&block);
        out.extend_from_slice(bytes);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

/// Bytes that do not compress.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Through a program, from its input to its output.
pub fn through(program: &str, argument: &str, bytes: &[u8]) -> Vec<u8> {
    let mut child =
        Command::new(program).arg(argument).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect(program);
    let mut input = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&bytes).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    output.stdout
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    through("gzip", "-nc", bytes)
}

/// An image as a registry keeps it.
#[derive(Clone)]
pub struct Made {
    pub config: Vec<u8>,
    pub manifest: Vec<u8>,
    /// Media type and bytes.
    pub layers: Vec<(&'static str, Vec<u8>)>,
}

/// An image of layers given as plain archives, packed with gzip.
pub fn image(archives: &[Vec<u8>]) -> Made {
    let packed = archives.iter().map(|a| (media::OCI_LAYER_GZIP, gzip(a))).collect();
    let diff_ids: Vec<Digest> = archives.iter().map(|a| sha256(a)).collect();
    with(json!({"type": "layers", "diff_ids": diff_ids}), packed)
}

/// An image whose configuration says what it wants.
pub fn with(rootfs: serde_json::Value, layers: Vec<(&'static str, Vec<u8>)>) -> Made {
    let config = json!({
        "architecture": oci::Platform::host().architecture, "os": "linux", "created": "2026-01-02T03:04:05Z",
        "config": {"Cmd": ["/bin/sh"], "Labels": {"a": "b"}}, "rootfs": rootfs,
        "history": [{"created_by": "one", "created": "2026-01-02T03:04:05Z"}, {"created_by": "none", "empty_layer": true}],
    });
    let config = serde_json::to_vec(&config).unwrap();
    let described =
        |media: &str, bytes: &[u8]| json!({"mediaType": media, "digest": sha256(bytes), "size": bytes.len()});
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media::OCI_MANIFEST,
        "config": described(media::OCI_CONFIG, &config),
        "layers": layers.iter().map(|(media, bytes)| described(media, bytes)).collect::<Vec<_>>(),
    });
    Made { config, manifest: serde_json::to_vec(&manifest).unwrap(), layers }
}
