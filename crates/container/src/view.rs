//! The files of a container that does not run, without mounting them: a look through the layers of its overlay, highest
//! first, with whiteouts and opaque directories as overlayfs sees them.
//!
//! `/etc/passwd` and `/etc/group` must be known before the container's process is made. Mounting the overlay for that, or
//! asking a helper, would cost more than the rest of a start; opening a name in each layer costs a microsecond. Symbolic
//! links are resolved here, name by name, so nothing can lead out: a name is only ever opened in a layer's directory, with
//! `O_NOFOLLOW`.

use oci::runtime::Mount;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const READ: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Symbolic links on one path, the kernel's own limit.
const MAX_LINKS: usize = 40;

/// One directory of the merged view: the same directory in the layers that have it, highest first.
struct Merged(Vec<OwnedFd>);

/// The layers of an overlay.
pub(crate) struct View {
    root: Merged,
    /// It is one mounted root, which the kernel resolves in.
    mounted: bool,
}

enum Entry {
    Nothing,
    Directory(Merged),
    Link(Vec<u8>),
    /// A file of some kind, in this layer's directory.
    File(OwnedFd),
}

impl View {
    /// The layers that the mount names; relative paths start from `base`.
    pub fn open(mount: &Mount, base: &Path) -> std::io::Result<View> {
        let base = rustix::fs::open(base, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let mut layers = Vec::new();
        let option = |name: &str| mount.options.iter().find_map(|o| o.strip_prefix(name)?.strip_prefix('='));
        let upper = option("upperdir");
        let lower =
            mount.options.iter().filter_map(|o| o.strip_prefix("lowerdir+=").or_else(|| o.strip_prefix("lowerdir=")));
        for path in upper.into_iter().chain(lower.flat_map(|l| l.split(':')).filter(|l| !l.is_empty())) {
            layers.push(rustix::fs::openat(&base, path, DIRECTORY, Mode::empty())?);
        }
        if mount.kind == "bind" || layers.is_empty() && !mount.source.is_empty() && mount.kind != "overlay" {
            layers.push(rustix::fs::openat(&base, mount.source.as_str(), DIRECTORY, Mode::empty())?);
        }
        Ok(View { root: Merged(layers), mounted: false })
    }

    /// The root of a running container, mounts and all.
    pub fn of_root(root: OwnedFd) -> View {
        View { root: Merged(vec![root]), mounted: true }
    }

    /// What a regular file holds; nothing when it is not there.
    ///
    /// # Errors
    /// `EFBIG` beyond `limit`, `EINVAL` for what is not a regular file, `ELOOP`.
    pub fn read(&self, path: &str, limit: usize) -> std::io::Result<Vec<u8>> {
        match self.find(path)? {
            Some(file) => read_regular(file, limit),
            None => Ok(Vec::new()),
        }
    }

    /// The directory at `path`, open for reading: the layer's own where one layer has all of it, otherwise an overlay of
    /// those that have a part, which is mounted in no namespace and is gone with the descriptor.
    pub fn directory(&self, path: &str) -> std::io::Result<Option<OwnedFd>> {
        let Some(Merged(parts)) = self.walk(path)?.1 else { return Ok(None) };
        match &parts[..] {
            [] => Ok(None),
            [only] => Ok(Some(rustix::fs::openat(only, ".", READ, Mode::empty())?)),
            several => Ok(Some(overlay(several)?)),
        }
    }

    /// What is at `path`, a link being itself.
    pub fn status(&self, path: &str) -> std::io::Result<Option<rustix::fs::Stat>> {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        if above.is_empty() {
            return self.root.status(name.as_bytes());
        }
        self.walk(above)?.1.map_or(Ok(None), |directory| directory.status(name.as_bytes()))
    }

    /// The file at `path`, opened with `O_PATH`.
    fn find(&self, path: &str) -> std::io::Result<Option<OwnedFd>> {
        if let (true, Some(root)) = (self.mounted, self.root.0.first()) {
            return match sys::rootfs::resolve(root.as_fd(), path.as_bytes(), OFlags::PATH) {
                Ok(file) => Ok(Some(file)),
                Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
                Err(e) => Err(e.into()),
            };
        }
        match self.walk(path)? {
            (Some(file), _) => Ok(Some(file)),
            (None, Some(_)) => Err(Errno::ISDIR.into()),
            (None, None) => Ok(None),
        }
    }

    /// What is at `path`, a last link followed: a file, or a directory, or nothing.
    fn walk(&self, path: &str) -> std::io::Result<(Option<OwnedFd>, Option<Merged>)> {
        let mut ahead: VecDeque<Vec<u8>> = names(path.as_bytes()).collect();
        let mut above: Vec<Merged> = Vec::new();
        let mut links = 0;
        while let Some(name) = ahead.pop_front() {
            if name == b".." {
                above.pop();
                continue;
            }
            match above.last().unwrap_or(&self.root).entry(&name)? {
                Entry::Nothing => return Ok((None, None)),
                Entry::Directory(directory) => above.push(directory),
                Entry::File(file) if ahead.is_empty() => return Ok((Some(file), None)),
                Entry::File(_) => return Ok((None, None)),
                Entry::Link(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    if target.starts_with(b"/") {
                        above.clear();
                    }
                    for part in names(&target).collect::<Vec<_>>().into_iter().rev() {
                        ahead.push_front(part);
                    }
                }
            }
        }
        Ok((None, above.pop()))
    }
}

/// A read-only overlay of directories, highest first.
fn overlay(parts: &[OwnedFd]) -> std::io::Result<OwnedFd> {
    let path = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let lower = parts.iter().map(path).collect::<Vec<_>>().join(":");
    let mount = sys::overlay::mount("overlay", &[("lowerdir".into(), Some(lower))], sys::mount::attr::RDONLY);
    let mount = mount.map_err(|(e, _)| e)?;
    Ok(rustix::fs::openat(&mount, ".", READ, Mode::empty())?)
}

fn names(path: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    path.split(|b| *b == b'/').filter(|n| !n.is_empty() && *n != b".").map(<[u8]>::to_vec)
}

impl Merged {
    /// The highest thing of this name.
    fn status(&self, name: &[u8]) -> std::io::Result<Option<rustix::fs::Stat>> {
        for layer in &self.0 {
            match rustix::fs::statat(layer, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0 => {
                    return Ok(None);
                }
                Ok(stat) => return Ok(Some(stat)),
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(None)
    }

    fn entry(&self, name: &[u8]) -> std::io::Result<Entry> {
        let mut found = Vec::new();
        for layer in &self.0 {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let here = match rustix::fs::openat(layer, name, flags, Mode::empty()) {
                Ok(here) => here,
                Err(Errno::NOENT | Errno::NOTDIR) => continue,
                Err(e) => return Err(e.into()),
            };
            let stat = rustix::fs::fstat(&here)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    let opaque = is_opaque(layer.as_fd(), name)?;
                    found.push(here);
                    if opaque {
                        break;
                    }
                }
                // Anything else hides what is below; above it there were only directories, which it ends.
                _ if !found.is_empty() => break,
                FileType::CharacterDevice if stat.st_rdev == 0 => return Ok(Entry::Nothing),
                FileType::Symlink => {
                    return Ok(Entry::Link(rustix::fs::readlinkat(&here, "", Vec::new())?.into_bytes()));
                }
                _ => return Ok(Entry::File(here)),
            }
        }
        Ok(if found.is_empty() { Entry::Nothing } else { Entry::Directory(Merged(found)) })
    }
}

/// Whether a directory hides those of the same name below.
fn is_opaque(layer: BorrowedFd, name: &[u8]) -> std::io::Result<bool> {
    let directory = match rustix::fs::openat(layer, name, READ, Mode::empty()) {
        Ok(directory) => directory,
        Err(Errno::ACCESS) => return Ok(false),
        Err(e) => return Err(e.into()),
    };
    let mut value = [0u8; 4];
    match rustix::fs::fgetxattr(&directory, "trusted.overlay.opaque", &mut value[..]) {
        Ok(n) => Ok(value.first() == Some(&b'y') && n == 1),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Reads what an `O_PATH` descriptor stands for, if that is a regular file of at most `limit` bytes.
pub(crate) fn read_regular(file: OwnedFd, limit: usize) -> std::io::Result<Vec<u8>> {
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL.into());
    }
    if stat.st_size as usize > limit {
        return Err(Errno::FBIG.into());
    }
    // Through our own /proc: the one way from O_PATH to a readable descriptor of the very same file.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let opened = std::fs::File::open(path)?;
    let mut bytes = Vec::with_capacity(stat.st_size as usize);
    opened.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit { Err(Errno::FBIG.into()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    struct Scratch(PathBuf);
    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn scratch(name: &str) -> (Scratch, View) {
        let path = std::env::temp_dir().join(format!("dhow-view-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        for layer in ["upper", "a", "b"] {
            std::fs::create_dir_all(path.join(layer).join("etc")).unwrap();
        }
        let options = vec!["lowerdir=a:b".to_owned(), "upperdir=upper".to_owned(), "workdir=work".to_owned()];
        let mount = Mount { kind: "overlay".into(), options, ..Mount::default() };
        let view = View::open(&mount, &path).unwrap();
        (Scratch(path), view)
    }

    #[test]
    fn the_highest_layer_wins_and_links_stay_inside() {
        let (s, view) = scratch("wins");
        let write = |p: &str, t: &str| std::fs::write(s.0.join(p), t).unwrap();
        let link = |to: &str, p: &str| std::os::unix::fs::symlink(to, s.0.join(p)).unwrap();
        write("b/etc/passwd", "low");
        assert_eq!(view.read("/etc/passwd", 10).unwrap(), b"low");
        write("upper/etc/passwd", "high");
        assert_eq!(view.read("/etc/passwd", 10).unwrap(), b"high");
        assert_eq!(view.read("/etc/none", 10).unwrap(), b"");
        write("b/real", "real");
        link("../../../../../real", "a/etc/group");
        assert_eq!(view.read("/etc/group", 10).unwrap(), b"real");
        link("/etc/host-only", "a/etc/abs");
        assert_eq!(view.read("/etc/abs", 10).unwrap(), b"");
        link("loop", "a/loop");
        assert_eq!(view.read("/loop", 10).unwrap_err().raw_os_error(), Some(Errno::LOOP.raw_os_error()));
        assert_eq!(view.read("/etc/passwd", 3).unwrap_err().raw_os_error(), Some(Errno::FBIG.raw_os_error()));
        assert_eq!(view.read("/etc", 3).unwrap_err().raw_os_error(), Some(Errno::ISDIR.raw_os_error()));
    }

    #[test]
    fn whiteouts_and_opaque_directories_hide() {
        let (s, view) = scratch("hide");
        std::fs::write(s.0.join("b/etc/passwd"), "low").unwrap();
        let whiteout =
            rustix::fs::mknodat(rustix::fs::CWD, s.0.join("a/etc/passwd"), FileType::CharacterDevice, Mode::empty(), 0);
        if whiteout.is_err() {
            eprintln!("SKIPPED: whiteouts need root");
            return;
        }
        assert_eq!(view.read("/etc/passwd", 10).unwrap(), b"");
        std::fs::remove_file(s.0.join("a/etc/passwd")).unwrap();
        assert_eq!(view.read("/etc/passwd", 10).unwrap(), b"low");
        let opaque =
            rustix::fs::setxattr(s.0.join("a/etc"), "trusted.overlay.opaque", b"y", rustix::fs::XattrFlags::empty());
        if opaque.is_ok() {
            assert_eq!(view.read("/etc/passwd", 10).unwrap(), b"");
        }
    }

    #[test]
    fn a_fifo_is_refused_at_once() {
        let (s, view) = scratch("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, s.0.join("a/etc/passwd"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(view.read("/etc/passwd", 10).unwrap_err().raw_os_error(), Some(Errno::INVAL.raw_os_error()));
    }
}
