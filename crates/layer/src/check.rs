//! Whether what lies here is what the records say.

use crate::error::{Error, Result};
use crate::store::{ChainId, Layers, names};
use crate::unpack::place::is_whiteout;
use fault::Survey;
use oci::Digest;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, openat, statat};
use std::collections::HashSet;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

/// What others need of this room, for [`Layers::check`].
#[derive(Debug, Default)]
pub struct Needed {
    /// Writable layers, by the names of their containers.
    pub writable: HashSet<String>,
    /// Layers of images.
    pub chains: HashSet<ChainId>,
    /// Blobs of images, those included that were never fetched, because their layers were there.
    pub blobs: HashSet<Digest>,
}

/// Asks for what is needed.
pub type Needs<'a> = Box<dyn FnOnce() -> std::io::Result<Needed> + 'a>;

impl Layers {
    /// Compares every layer's files with its record, hashes every blob, and looks for what is missing or nobody's.
    /// `needed` is asked after this room was looked at: what came into being meanwhile is nobody's fault.
    ///
    /// # Errors
    /// When the room's own directories cannot be listed.
    pub fn check(&self, survey: &mut Survey, needed: Needs<'_>) -> Result<()> {
        let (records, unsynced, writable) = {
            let state = self.state();
            let records: Vec<_> = state.layers.values().cloned().collect();
            (records, state.unsynced.clone(), state.writable.clone())
        };
        let (on_disk, blobs) = (names(&self.0.root, "rw")?, self.0.blobs.list()?);
        let needed = needed().map_err(|e| Error::io("list containers for", &self.0.path, e))?;
        for record in records.iter().filter(|r| !unsynced.contains(&r.chain)) {
            self.check_tree(survey, &record.chain, record.number, record.size, record.exact);
        }
        self.check_orphans(survey, &needed, &records.into_iter().map(|r| r.chain).collect::<Vec<_>>());
        for digest in &blobs {
            self.check_blob(survey, &needed, digest);
        }
        for (id, top) in &writable {
            self.check_writable(survey, &needed, id, top.as_ref());
        }
        // One that is just being made is in the table before it is on the disk, and leaves both in that order.
        for id in on_disk.iter().filter(|id| !writable.contains_key(*id) && !self.state().writable.contains_key(*id)) {
            let path = format!("rw/{id}");
            if statat(&self.0.root, path.as_str(), AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                survey.fault(&self.at(&path), "no record says what this writable layer stands on", || {
                    self.quarantine(&path, &format!("rw-{id}")).map(|to| format!("moved to {to}"))
                });
            }
        }
        Ok(())
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path.join(path)
    }

    fn check_tree(&self, survey: &mut Survey, chain: &ChainId, number: u64, size: u64, exact: bool) {
        let path = format!("layers/{number}/d");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = openat(&self.0.root, path.as_str(), flags, Mode::empty()).and_then(|tree| {
            let mut bytes = 0;
            bytes_below(tree.as_fd(), &mut HashSet::new(), &mut bytes).map(|()| bytes)
        });
        if !self.has(chain) {
            return;
        }
        const AGAIN: &str = "remove its images and pull them again";
        match found {
            Err(e) => survey.stays(&self.at(&path), format!("layer {chain} cannot be read: {e}"), AGAIN),
            Ok(bytes) if bytes > size || exact && bytes < size => {
                survey.stays(
                    &self.at(&path),
                    format!("layer {chain} has {bytes} bytes of files where its record says {size}"),
                    AGAIN,
                );
            }
            Ok(_) => {}
        }
    }

    /// Layers that nothing stands on and no image has.
    fn check_orphans(&self, survey: &mut Survey, needed: &Needed, chains: &[ChainId]) {
        let mut kept = HashSet::new();
        let writable: Vec<ChainId> = self.state().writable.values().flatten().cloned().collect();
        for top in needed.chains.iter().chain(&writable) {
            kept.extend(self.chain(Some(top)).unwrap_or_default().into_iter().map(|record| record.chain));
        }
        let mut orphans: Vec<_> = chains.iter().filter(|c| !kept.contains(*c) && self.has(c)).collect();
        // Those on top go first.
        orphans.sort_by_key(|c| std::cmp::Reverse(self.chain(Some(c)).map_or(0, |all| all.len())));
        for chain in orphans {
            let number = self.chain(Some(chain)).ok().and_then(|all| Some(all.first()?.number)).unwrap_or_default();
            survey.fault(&self.at(&format!("layers/{number}")), "no image and no container has this layer", || {
                self.remove(chain).map(|()| "removed".to_owned())
            });
        }
    }

    fn check_blob(&self, survey: &mut Survey, needed: &Needed, digest: &Digest) {
        let path = self.at(&blob_path(digest));
        if !needed.blobs.contains(digest) {
            return survey
                .fault(&path, "no image has this blob", || self.remove_blob(digest).map(|()| "removed".to_owned()));
        }
        let aside = || self.quarantine_blob(digest).map(|()| "moved to quarantine/: pull its image again".to_owned());
        match self.hash(digest) {
            Ok(None) => {}
            Ok(Some(found)) if found == *digest => {}
            Ok(Some(found)) => survey.fault(&path, format!("it is damaged: its digest is {found}"), aside),
            Err(e) => survey.fault(&path, format!("it cannot be read: {e}"), aside),
        }
    }

    fn hash(&self, digest: &Digest) -> Result<Option<Digest>> {
        let Some(mut file) = self.blob(digest)? else { return Ok(None) };
        let mut hasher = crate::hash::Hasher::new(digest.algorithm());
        let mut buffer = vec![0; 256 << 10];
        loop {
            match file.read(&mut buffer).map_err(|e| Error::io("read", blob_path(digest), e))? {
                0 => return hasher.finish().map(Some),
                n => hasher.update(buffer.get(..n).unwrap_or_default()),
            }
        }
    }

    fn check_writable(&self, survey: &mut Survey, needed: &Needed, id: &str, top: Option<&ChainId>) {
        let path = format!("rw/{id}");
        let whole = ["u", "w"].iter().all(|part| {
            let stat = statat(&self.0.root, format!("{path}/{part}").as_str(), AtFlags::SYMLINK_NOFOLLOW);
            stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
        });
        if !self.state().writable.contains_key(id) {
            return;
        }
        if !needed.writable.contains(id) {
            return survey.fault(&self.at(&path), "no container has this writable layer", || {
                let to = self.quarantine(&path, &format!("rw-{id}"))?;
                self.state().writable.remove(id);
                Ok::<_, Error>(format!("moved to {to}"))
            });
        }
        if !whole {
            survey.stays(&self.at(&path), "a part of this writable layer is missing", "its container cannot start");
        } else if let Some(top) = top.filter(|top| !self.has(top)) {
            let cause = format!("it stands on layer {top}, which is missing");
            survey.stays(&self.at(&path), cause, "its container can start when its image has been pulled again");
        }
    }
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// Bytes of the regular files of a tree that nobody changes; one with several names counts once.
fn bytes_below(dir: BorrowedFd, seen: &mut HashSet<u64>, bytes: &mut u64) -> rustix::io::Result<()> {
    let mut buffer = Vec::with_capacity(16 << 10);
    let mut entries = RawDir::new(dir, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        match entry.file_type() {
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                bytes_below(openat(dir, name, flags, Mode::empty())?.as_fd(), seen, bytes)?;
            }
            FileType::RegularFile | FileType::Unknown => {
                let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
                let file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && !is_whiteout(&stat);
                if file && (stat.st_nlink == 1 || seen.insert(stat.st_ino)) {
                    *bytes += stat.st_size as u64;
                }
            }
            _ => {}
        }
    }
    Ok(())
}
