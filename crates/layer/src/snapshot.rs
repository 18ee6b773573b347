//! Writable layers, by overlayfs.
//!
//! ```text
//! rw/<id>/u     what is written: the upper directory
//! rw/<id>/w     overlayfs' own work directory
//! rw/<id>/top   a symbolic link whose text is the record: "1 sha256:…" or "1 none". One call makes it, whole.
//! ```
//!
//! Nothing is mounted here: [`Layers::mount`] says what to mount, and that happens inside the container.

use crate::error::{Error, Result};
use crate::store::{ChainId, Layers};
use crate::unpack::place::is_whiteout;
use fault::Survey;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RawDir, Uid, chmodat, chownat, mkdirat, openat, readlinkat, statat, symlinkat,
};
use rustix::io::Errno;
use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// What to mount as a root file system.
#[derive(Debug, Clone, PartialEq)]
pub struct Rootfs {
    /// The mount, at `/`; directories in its options are relative to [`Rootfs::base`].
    pub mount: oci::runtime::Mount,
    /// Where they start.
    pub base: PathBuf,
}

impl Layers {
    /// Makes the writable layer `id` on top of `top`; `None` is an empty root.
    pub fn prepare(&self, id: &str, top: Option<&ChainId>) -> Result<()> {
        let path = rw(id)?;
        let lower = self.open_chain(top)?;
        {
            let mut state = self.state();
            if state.writable.contains_key(id) {
                return Err(Error::Conflict(format!("writable layer {id}")));
            }
            if let Some(top) = top.filter(|top| !state.layers.contains_key(*top)) {
                return Err(crate::store::no_layer(top));
            }
            // From here on the layers below cannot be removed.
            state.writable.insert(id.into(), top.cloned());
        }
        let made = self.make(&path, top, lower.first());
        if made.is_err() {
            self.state().writable.remove(id);
            // Of what is there; a directory that is not there is the usual case.
            let _ = self.0.trash.take(&path);
        }
        made
    }

    fn make(&self, path: &str, top: Option<&ChainId>, lower: Option<&OwnedFd>) -> Result<()> {
        let error = |doing, e: Errno| Error::io(doing, path, e);
        mkdirat(&self.0.root, path, Mode::RWXU).map_err(|e| error("create", e))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = openat(&self.0.root, path, flags, Mode::empty()).map_err(|e| error("open", e))?;
        mkdirat(&dir, "u", Mode::from_raw_mode(0o755)).map_err(|e| error("create", e))?;
        mkdirat(&dir, "w", Mode::RWXU).map_err(|e| error("create", e))?;
        // The root directory looks as the uppermost layer's: overlayfs shows the upper one's attributes.
        let (mode, uid, gid) = match lower {
            None => (0o755, 0, 0),
            Some(lower) => {
                let stat = rustix::fs::fstat(lower).map_err(|e| error("stat", e))?;
                (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid)
            }
        };
        if (uid, gid) != (0, 0) {
            chownat(&dir, "u", Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|e| error("change owner of", e))?;
        }
        chmodat(&dir, "u", Mode::from_raw_mode(mode), AtFlags::empty()).map_err(|e| error("change mode of", e))?;
        sys::step::reached(sys::step::Step::CreateUpper);
        let record = format!("{} {}", crate::store::VERSION, top.map_or("none".into(), ChainId::to_string));
        symlinkat(record.as_str(), &dir, "top").map_err(|e| error("record", e))
    }

    /// What to mount for the writable layer `id`. `volatile`: the kernel never syncs it, and after a crash of the machine
    /// it must be thrown away.
    pub fn mount(&self, id: &str, volatile: bool) -> Result<Rootfs> {
        let path = rw(id)?;
        let top = self.state().writable.get(id).cloned().ok_or_else(|| missing(id))?;
        let lower: Vec<String> =
            self.visible(top.as_ref())?.iter().map(|record| format!("layers/{}/d", record.number)).collect();
        let lower = if lower.is_empty() { "empty".into() } else { lower.join(":") };
        // A volatile mount leaves a mark here, and overlayfs refuses to mount again while it is there.
        let work_path = format!("{path}/w/work");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&self.0.root, work_path.as_str(), flags, Mode::empty()) {
            Ok(work) => {
                sys::remove::remove_at(work.as_fd(), c"incompat").map_err(|e| Error::io("clear", work_path, e))?
            }
            Err(Errno::NOENT) => {}
            Err(e) => return Err(Error::io("open", work_path, e)),
        }
        let mut options = vec![format!("lowerdir={lower}"), format!("upperdir={path}/u"), format!("workdir={path}/w")];
        // No file handles and no redirects in what is written: any other program can read the upper directory.
        options.extend(["index=off", "redirect_dir=off", "metacopy=off"].map(String::from));
        if volatile {
            options.push("volatile".into());
        }
        let mount = oci::runtime::Mount {
            destination: "/".into(),
            kind: "overlay".into(),
            source: "overlay".into(),
            options,
            ..Default::default()
        };
        Ok(Rootfs { mount, base: self.0.path.clone() })
    }

    /// What the writable layer `id` stands on.
    pub fn writable_top(&self, id: &str) -> Result<Option<ChainId>> {
        self.state().writable.get(id).cloned().ok_or_else(|| missing(id))
    }

    /// Throws the writable layer `id` away. It must not be mounted. Its space comes back soon after.
    pub fn discard(&self, id: &str) -> Result<()> {
        let path = rw(id)?;
        if !self.state().writable.contains_key(id) {
            return Err(missing(id));
        }
        match self.0.trash.take(&path) {
            Ok(()) | Err(Error::NotFound { .. }) => {}
            Err(e) => return Err(e),
        }
        self.state().writable.remove(id);
        Ok(())
    }

    /// Bytes of the files in the writable layer `id`; a file with several names counts once.
    pub fn writable_size(&self, id: &str) -> Result<u64> {
        let path = format!("{}/u", rw(id)?);
        if !self.state().writable.contains_key(id) {
            return Err(missing(id));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let top = openat(&self.0.root, path.as_str(), flags, Mode::empty()).map_err(|e| Error::io("open", path, e))?;
        let mut seen = HashSet::new();
        size_below(top.as_fd(), 0, &mut seen)
    }

    /// Finds the writable layers that are there.
    pub(crate) fn load_writable(&self, survey: &mut Survey) -> Result<()> {
        for id in crate::store::names(&self.0.root, "rw")? {
            let path = format!("rw/{id}");
            let record = readlinkat(&self.0.root, format!("{path}/top"), Vec::new());
            let record = record.ok().and_then(|text| text.into_string().ok());
            let top = record.as_deref().and_then(|text| text.split_once(' ')).and_then(|(version, top)| {
                match (version, top) {
                    ("1", "none") => Some(None),
                    ("1", chain) => chain.parse().ok().map(|digest| Some(ChainId(digest))),
                    _ => None,
                }
            });
            match top {
                Some(top) => {
                    self.state().writable.insert(id, top);
                }
                // Nobody has been told of it.
                None => survey.fault(&self.0.path.join(&path), "its making was cut off", || self.throw_away(&path)),
            }
        }
        Ok(())
    }
}

fn missing(id: &str) -> Error {
    Error::NotFound { what: "writable layer", name: id.into() }
}

/// Path of a writable layer, whose name must be safe in a path and in mount options.
fn rw(id: &str) -> Result<String> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if id.is_empty() || id.len() > 128 || !id.bytes().all(good) {
        return Err(Error::Name { what: "name of a writable layer", name: id.chars().take(200).collect() });
    }
    Ok(format!("rw/{id}"))
}

/// Trees deeper than this are not followed any further: the figure is for display.
const DEEP: usize = 200;

fn size_below(dir: BorrowedFd, depth: usize, seen: &mut HashSet<u64>) -> Result<u64> {
    let mut sum = 0;
    let mut buffer = Vec::with_capacity(16 << 10);
    let mut entries = RawDir::new(dir, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        // The container may be running: what vanishes meanwhile counts nothing.
        let Ok(entry) = entry else { break };
        let name = entry.file_name();
        if name == c"." || name == c".." || entry.file_type() == FileType::CharacterDevice {
            continue;
        }
        if entry.file_type() == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            if depth < DEEP
                && let Ok(below) = openat(dir, name, flags, Mode::empty())
            {
                sum += size_below(below.as_fd(), depth + 1, seen)?;
            }
            continue;
        }
        let Ok(stat) = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        if !is_whiteout(&stat) && (stat.st_nlink == 1 || seen.insert(stat.st_ino)) {
            sum += stat.st_size as u64;
        }
    }
    Ok(sum)
}
