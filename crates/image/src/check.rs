//! Whether what lies here, and in the layers, is what is known of images.

use crate::durable::OnDisk;
use crate::names::Names;
use crate::space::Thing;
use crate::store::{Images, quarantine, read_document, read_record};
use crate::{Error, Result};
use fault::Survey;
use oci::Digest;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::PoisonError;

/// What is wrong with a document, and what helps.
enum Wrong {
    /// Nobody knows it.
    Foreign(String),
    /// The image is known, but a part of it is damaged.
    Damaged(String),
    /// It is known here and not, or not so, on the disk.
    Lost(Digest),
    Names(String),
}

impl Images {
    /// Reads every record and the names again, and has the layers checked. `containers` gives the names of all writable
    /// layers that are needed, asked when those that are there are known.
    ///
    /// # Errors
    /// When a directory cannot be listed.
    pub fn check(
        &self,
        survey: &mut Survey,
        containers: impl FnOnce() -> std::io::Result<HashSet<String>>,
    ) -> Result<()> {
        if survey.mends() {
            // What was dropped at the opening.
            self.flush()?;
        }
        for (path, wrong) in self.wrong()? {
            match wrong {
                Wrong::Foreign(cause) => survey.fault(&path, cause, || quarantine(&self.0.root, &path)),
                Wrong::Damaged(cause) => survey.stays(&path, cause, "remove the image and pull it again"),
                Wrong::Lost(id) => survey.fault(&path, "the record of this image is missing", || {
                    self.write_again(Some(&id)).map(|()| "written again".to_owned())
                }),
                Wrong::Names(cause) => survey.fault(&path, cause, || {
                    let aside = if path.exists() { quarantine(&self.0.root, &path)? } else { "it is made".into() };
                    self.write_again(None).map(|()| format!("{aside} and written again"))
                }),
            }
        }
        let needed = || {
            let mut needed = self.needed();
            let state = self.state();
            for thing in state.doomed.iter().chain(&state.dying).chain(&state.kept) {
                // Being freed just now, or kept for another attempt.
                match thing {
                    Thing::Layer(chain) => needed.chains.insert(chain.clone()),
                    Thing::Blob(digest) => needed.blobs.insert(digest.clone()),
                };
            }
            drop(state);
            needed.writable = containers()?;
            Ok(needed)
        };
        Ok(self.0.layers.check(survey, Box::new(needed))?)
    }

    /// Compares the documents with what was last written.
    fn wrong(&self) -> Result<Vec<(PathBuf, Wrong)>> {
        let _nobody_writes = self.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let OnDisk { there, perhaps, names } = self.state().on_disk();
        let directory = self.0.root.join("record");
        let entries = std::fs::read_dir(&directory).map_err(|e| Error::io("listing", &directory, e))?;
        let mut found = HashSet::new();
        let mut wrong = Vec::new();
        for path in entries.flatten().map(|entry| entry.path()) {
            let of_file = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
            let id = there.iter().chain(&perhaps).find(|id| id.hex() == of_file);
            found.extend(id.cloned());
            match (read_record(&self.0.layers, &path), id) {
                (Ok(stored), Some(_)) => {
                    let manifests = stored.record.manifests.iter().map(|d| &d.digest);
                    for digest in manifests.filter(|d| matches!(self.0.layers.blob(d), Ok(None))) {
                        wrong.push((path.clone(), Wrong::Damaged(format!("blob {digest} is missing"))));
                    }
                }
                (Ok(_), None) => wrong.push((path, Wrong::Foreign("nobody knows this image".into()))),
                (Err(_), Some(id)) if perhaps.contains(id) => {}
                (Err(error), Some(_)) => wrong.push((path, Wrong::Damaged(error.to_string()))),
                (Err(error), None) => wrong.push((path, Wrong::Foreign(error.to_string()))),
            }
        }
        let lost = there.difference(&found);
        wrong.extend(lost.map(|id| (directory.join(format!("{}.json", id.hex())), Wrong::Lost(id.clone()))));
        let path = self.0.root.join("repositories.json");
        let read = match read_document(&path) {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(Names::default()),
            Ok(bytes) => Names::parse(&bytes),
            Err(error) => Err(error),
        };
        match read {
            Ok(read) if read == names => {}
            Ok(_) => wrong.push((path, Wrong::Names("these are not the names that were written last".into()))),
            Err(error) => wrong.push((path, Wrong::Names(error.to_string()))),
        }
        Ok(wrong)
    }

    /// Writes what is known of an image, or the names, again.
    fn write_again(&self, image: Option<&Digest>) -> Result<()> {
        {
            let mut state = self.state();
            match image.map(|id| state.images.get(id).cloned()) {
                None => state.pending.lost_names(),
                Some(Some(stored)) => drop(state.pending.changed(stored)),
                Some(None) => {}
            }
        }
        self.flush()
    }
}
