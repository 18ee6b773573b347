//! A file system that stops answering: what a dead NFS server or a broken disk does to whoever touches it.
//!
//! FUSE spoken over `/dev/fuse` itself, as much of it as the tests need: a root directory with files `hang0` to `hang9`,
//! whose reading is never answered, and a switch after which nothing is.

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const INIT: u32 = 26;
const OPENDIR: u32 = 27;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;
const ENOENT: i32 = 2;
const ENOSYS: i32 = 38;
/// Number of the root's inode; a file's is its last character.
const ROOT: u64 = 1;

/// The file system, mounted. Dropping it ends every wait for it with an error and takes the mount away.
pub struct Hanging {
    path: PathBuf,
    silent: Arc<AtomicBool>,
    waiting: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl Hanging {
    /// Mounts it at a new directory.
    pub fn mount(path: &Path) -> Hanging {
        std::fs::create_dir(path).expect("mount point");
        let device =
            rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).expect("open /dev/fuse");
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", device.as_raw_fd());
        let options = CString::new(options).expect("no NUL");
        mount("hanging", path, "fuse", MountFlags::NOSUID | MountFlags::NODEV, options.as_c_str()).expect("mount fuse");
        let (silent, waiting) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let of_thread = (silent.clone(), waiting.clone());
        let thread = std::thread::spawn(move || serve(&device, &of_thread.0, &of_thread.1));
        Hanging { path: path.to_owned(), silent, waiting, thread: Some(thread) }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &str {
        self.path.to_str().expect("utf-8")
    }

    /// From now on nothing is answered.
    pub fn fall_silent(&self) {
        self.silent.store(true, Ordering::Release);
    }

    /// How many wait for an answer that they will not get.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Acquire)
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        // By force: the connection is aborted, and everybody who waits is told.
        let _ = unmount(&self.path, UnmountFlags::FORCE | UnmountFlags::DETACH);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_dir(&self.path);
    }
}

/// Answers, or not, until the connection is aborted.
fn serve(device: &OwnedFd, silent: &AtomicBool, waiting: &AtomicU32) {
    let mut request = vec![0u8; 256 << 10];
    loop {
        let length = match rustix::io::read(device, &mut request[..]) {
            Ok(length) if length >= 40 => length,
            // A request that was taken back before it was read.
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => continue,
            _ => return,
        };
        let number = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().expect("four bytes"));
        let long = |at: usize| u64::from_ne_bytes(request[at..at + 8].try_into().expect("eight bytes"));
        let (kind, unique, node) = (number(4), long(8), long(16));
        if matches!(kind, FORGET | BATCH_FORGET | INTERRUPT) {
            continue;
        }
        if kind != INIT && silent.load(Ordering::Acquire) || kind == READ {
            waiting.fetch_add(1, Ordering::AcqRel);
            continue;
        }
        let (error, body) = match kind {
            INIT => (0, init(number(44))),
            GETATTR => (0, [vec![0; 16], attributes(node)].concat()),
            LOOKUP if node == ROOT && is_file(&request[40..length]) => {
                let file = u64::from(request[44]);
                let mut entry = vec![0; 40];
                entry[..8].copy_from_slice(&file.to_ne_bytes());
                (0, [entry, attributes(file)].concat())
            }
            LOOKUP => (-ENOENT, vec![]),
            OPEN | OPENDIR => (0, vec![0; 16]),
            _ => (-ENOSYS, vec![]),
        };
        let mut answer = Vec::with_capacity(16 + body.len());
        answer.extend_from_slice(&(16 + body.len() as u32).to_ne_bytes());
        answer.extend_from_slice(&i32::to_ne_bytes(error));
        answer.extend_from_slice(&unique.to_ne_bytes());
        answer.extend_from_slice(&body);
        let _ = rustix::io::write(device, &answer);
    }
}

fn is_file(name: &[u8]) -> bool {
    matches!(name, [b'h', b'a', b'n', b'g', digit, 0] if digit.is_ascii_digit())
}

/// Version 7.31, or the kernel's if that is older. One look at a directory does not wait for another.
fn init(minor: u32) -> Vec<u8> {
    const PARALLEL_DIROPS: u32 = 1 << 18;
    let words = [7, minor.min(31), 0, PARALLEL_DIROPS, 0, 4096, 1];
    let mut out: Vec<u8> = words.iter().flat_map(|w: &u32| w.to_ne_bytes()).collect();
    out.resize(64, 0);
    out
}

/// Valid for no time at all: each look is asked anew.
fn attributes(node: u64) -> Vec<u8> {
    let (mode, links, size) = if node == ROOT { (0o40_755, 2, 0u64) } else { (0o100_644, 1, 4096) };
    let mut out = Vec::with_capacity(88);
    for long in [node, size, 0, 0, 0, 0] {
        out.extend_from_slice(&long.to_ne_bytes());
    }
    for word in [0, 0, 0, mode, links, 0, 0, 0, 4096, 0u32] {
        out.extend_from_slice(&word.to_ne_bytes());
    }
    out
}
