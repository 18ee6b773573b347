//! What the tests share: directories of their own, raw archives, and what a tree looks like.

use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that is gone afterwards.
pub struct Scene(pub PathBuf);

impl Scene {
    pub fn new() -> Scene {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("dhow-layer-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Scene(path)
    }

    pub fn dir(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// Runs a shell script in it.
    pub fn sh(&self, script: &str) -> String {
        let out = Command::new("sh").args(["-ec", script]).current_dir(&self.0).output().unwrap();
        assert!(out.status.success(), "{script}\n{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn open(path: &Path) -> OwnedFd {
    sys::rootfs::open_root(path).unwrap()
}

pub fn digest(bytes: &[u8]) -> oci::Digest {
    oci::Digest::from_sha256(&Sha256::digest(bytes).into())
}

/// All that is to be seen of a tree, by path.
pub fn look(root: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut inodes = BTreeMap::new();
    visit(root, "", &mut all, &mut inodes);
    all
}

fn visit(root: &Path, inner: &str, all: &mut BTreeMap<String, String>, inodes: &mut BTreeMap<u64, String>) {
    let path = root.join(inner);
    let meta = std::fs::symlink_metadata(&path).unwrap();
    let kind = meta.mode() & 0o170000;
    let content = match kind {
        0o100000 => format!("{} {}", meta.size(), digest(&std::fs::read(&path).unwrap())),
        0o120000 => std::fs::read_link(&path).unwrap().display().to_string(),
        0o020000 | 0o060000 => meta.rdev().to_string(),
        _ => String::new(),
    };
    let first = if kind == 0o040000 { inner.into() } else { inodes.entry(meta.ino()).or_insert(inner.into()).clone() };
    let mut names = vec![0u8; 65536];
    let n = rustix::fs::llistxattr(&path, names.as_mut_slice()).unwrap_or(0);
    let mut xattrs: Vec<String> = names[..n]
        .split(|b| *b == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0u8; 65536];
            let n = rustix::fs::lgetxattr(&path, name, value.as_mut_slice()).unwrap();
            format!("{}={:?}", String::from_utf8_lossy(name), &value[..n])
        })
        .collect();
    xattrs.sort();
    let time = format!("{}.{:09}", meta.mtime(), meta.mtime_nsec());
    let text = format!("{:o} {}:{} {time} {content} ={first} {xattrs:?}", meta.mode(), meta.uid(), meta.gid());
    all.insert(inner.into(), text);
    if kind == 0o040000 {
        let mut names: Vec<_> = std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            let name = name.to_str().unwrap();
            let inner = if inner.is_empty() { name.into() } else { format!("{inner}/{name}") };
            visit(root, &inner, all, inodes);
        }
    }
}

/// One raw block and its data, with a right checksum.
pub fn member(flag: u8, name: &[u8], link: &[u8], data: &[u8]) -> Vec<u8> {
    let mut block = header(flag, name, link, data.len() as u64);
    block.extend_from_slice(data);
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

pub fn header(flag: u8, name: &[u8], link: &[u8], size: u64) -> Vec<u8> {
    let mut block = vec![0u8; 512];
    block[..name.len()].copy_from_slice(name);
    block[100..108].copy_from_slice(b"0000755\0");
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[136..148].copy_from_slice(b"00000000001\0");
    block[156] = flag;
    block[157..157 + link.len()].copy_from_slice(link);
    block[257..265].copy_from_slice(b"ustar\x0000");
    seal(&mut block);
    block
}

/// Makes the checksum right again.
pub fn seal(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block[..512].iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

pub fn archive(members: &[Vec<u8>]) -> Vec<u8> {
    [members.concat(), vec![0; 1024]].concat()
}

/// A PAX header with these records.
pub fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let mut data = String::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let len = (rest..rest + 9).find(|len| rest + len.to_string().len() == *len).unwrap();
        data += &format!("{len} {key}={value}\n");
    }
    member(b'x', b"pax", b"", data.as_bytes())
}

/// Compares two trees and shows where they differ.
pub fn assert_same(ours: &Path, theirs: &Path, what: &str) {
    let (ours, theirs) = (look(ours), look(theirs));
    let paths = ours.keys().chain(theirs.keys());
    let differ: Vec<String> = paths
        .filter(|path| ours.get(*path) != theirs.get(*path))
        .map(|path| format!("{path}:\n  {:?}\n  {:?}", ours.get(path), theirs.get(path)))
        .collect();
    assert!(differ.is_empty(), "{what}\n{}", differ.join("\n"));
}
