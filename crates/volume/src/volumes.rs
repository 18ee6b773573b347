//! The volumes themselves.

use crate::{Error, Result};
use fault::Survey;
use rustix::fs::{CWD, Mode, OFlags, RenameFlags};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The volumes of one engine. The files are the truth: nothing is kept in memory.
#[derive(Debug, Clone)]
pub struct Volumes {
    root: PathBuf,
}

/// One volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Options of the local driver.
    pub options: BTreeMap<String, String>,
    /// When it was made.
    pub created: SystemTime,
    /// Its directory.
    pub mountpoint: PathBuf,
}

impl Volume {
    /// What containers get bind-mounted: its own directory, or the host's that its options name.
    pub fn source(&self) -> PathBuf {
        self.options.get("device").map_or_else(|| self.mountpoint.clone(), PathBuf::from)
    }

    /// Made without a name, for one container.
    pub fn is_anonymous(&self) -> bool {
        self.labels.contains_key(ANONYMOUS)
    }
}

const ANONYMOUS: &str = "com.docker.volume.anonymous";
pub(crate) const DATA: &str = "_data";
const RECORD: &str = "volume.json";
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
pub(crate) struct Record {
    version: u32,
    name: String,
    labels: BTreeMap<String, String>,
    options: BTreeMap<String, String>,
    /// Nanoseconds since 1970.
    created: u64,
}

fn check_name(name: &str) -> Result<()> {
    let mut bytes = name.bytes();
    let begins = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
    let goes_on = bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if name.len() == 1 {
        return Err(Error::Invalid(
            "volume name is too short, names should be at least two alphanumeric characters".into(),
        ));
    }
    // The name of a directory ends at 255 bytes.
    if begins && goes_on && name.len() <= 255 {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "create {name}: {name:?} includes invalid characters for a local volume name, only \
         \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )))
}

/// Of the local driver's mounts this engine has the one that is a directory of the host.
fn check_options(name: &str, options: &BTreeMap<String, String>) -> Result<()> {
    let wrong = |why: String| Err(Error::Invalid(format!("create {name}: {why}")));
    if options.is_empty() {
        return Ok(());
    }
    if let Some(key) = options.keys().find(|key| !matches!(key.as_str(), "type" | "o" | "device" | "size")) {
        return wrong(format!("invalid option: {key:?}"));
    }
    if options.contains_key("size") {
        return wrong("quota size requested but no quota support".into());
    }
    let option = |key: &str| options.get(key).map(String::as_str).unwrap_or_default();
    let flags: Vec<&str> = option("o").split(',').filter(|flag| !flag.is_empty()).collect();
    let bind = flags.iter().any(|flag| matches!(*flag, "bind" | "rbind"));
    if !matches!(option("type"), "" | "none" | "bind") || !bind {
        return wrong(format!(
            "options type={:?} o={:?} are not supported by this engine: it has type=none with o=bind",
            option("type"),
            option("o")
        ));
    }
    if let Some(flag) = flags.iter().find(|flag| !matches!(**flag, "bind" | "rbind" | "rw")) {
        return wrong(format!("option o={flag} is not supported by this engine"));
    }
    match option("device") {
        "" => wrong("missing required option: \"device\"".into()),
        device if device.starts_with('/') => Ok(()),
        device => wrong(format!("device {device:?} is not an absolute path")),
    }
}

fn random_hex() -> Result<String> {
    let mut bytes = [0; 32];
    let flags = rustix::rand::GetRandomFlags::empty();
    // Up to 256 bytes come whole.
    rustix::rand::getrandom(&mut bytes, flags).map_err(Error::os("read", "/dev/urandom"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

pub(crate) fn sync_directory(path: &Path) -> Result<()> {
    std::fs::File::open(path).and_then(|dir| dir.sync_all()).map_err(Error::io("sync", path))
}

impl Volumes {
    /// Opens the room on its directory and clears away what a crash left half made or half removed.
    pub fn open(root: &Path) -> Result<Volumes> {
        // Others may go through to a volume they were given, but not look around.
        std::fs::DirBuilder::new().recursive(true).mode(0o711).create(root).map_err(Error::io("create", root))?;
        let volumes = Volumes { root: root.to_owned() };
        let mut survey = Survey::mending();
        volumes.sweep(&mut survey, Duration::ZERO)?;
        // What cannot be removed stands in nobody's way.
        survey.faults().iter().for_each(|fault| tracing::warn!("{fault}"));
        Ok(volumes)
    }

    /// A room that must only be looked at: nothing is cleared away.
    pub fn look(root: &Path) -> Volumes {
        Volumes { root: root.to_owned() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// What a crash left half made or half removed, `old` enough that nobody is at it just now.
    pub(crate) fn sweep(&self, survey: &mut Survey, old: Duration) -> Result<()> {
        for entry in std::fs::read_dir(&self.root).map_err(Error::io("read", &self.root))? {
            let entry = entry.map_err(Error::io("read", &self.root))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let cause = match () {
                () if name.starts_with(".new-") => "the making of this volume was cut off",
                () if name.starts_with(".gone-") => "the removal of this volume was cut off",
                () => continue,
            };
            let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
            if old.is_zero() || age().is_some_and(|age| age > old) {
                survey.fault(&entry.path(), cause, || remove_directory(&entry.path()).map(|()| "removed".to_owned()));
            }
        }
        Ok(())
    }

    /// The directory of a volume, for the room itself.
    pub(crate) fn directory(&self, name: &str) -> Result<PathBuf> {
        let directory = self.root.join(name);
        // A name that could not be a volume's must not be looked up: it may lead anywhere.
        if check_name(name).is_err() || !directory.is_dir() {
            return Err(Error::NotFound(name.to_owned()));
        }
        Ok(directory)
    }

    /// Makes a volume; one of this name that is there already is it. Without a name it gets a random one and the label
    /// of anonymous volumes.
    pub fn create(
        &self,
        name: &str,
        mut labels: BTreeMap<String, String>,
        options: BTreeMap<String, String>,
    ) -> Result<Volume> {
        let name = if name.is_empty() {
            labels.entry(ANONYMOUS.into()).or_default();
            random_hex()?
        } else {
            check_name(name)?;
            name.to_owned()
        };
        check_options(&name, &options)?;
        match self.get(&name) {
            Err(Error::NotFound(_)) => {}
            other => return other,
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let created = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let record = Record { version: VERSION, name: name.clone(), labels, options, created };
        let new = self.root.join(format!(".new-{}", random_hex()?));
        let made = self.make(&new, &record).and_then(|()| {
            let rename = rustix::fs::renameat_with(CWD, &new, CWD, self.root.join(&name), RenameFlags::NOREPLACE);
            match rename {
                // Made by someone else meanwhile: that is it.
                Ok(()) | Err(rustix::io::Errno::EXIST) => sync_directory(&self.root),
                Err(errno) => Err(Error::os("name", self.root.join(&name))(errno)),
            }
        });
        if new.exists() {
            let _ = remove_directory(&new).or_else(|_| remove_directory(&new));
        }
        made?;
        self.get(&name)
    }

    fn make(&self, new: &Path, record: &Record) -> Result<()> {
        let create = |path: &Path, mode| {
            std::fs::DirBuilder::new().mode(mode).create(path).map_err(Error::io("create", path))?;
            // Whatever the umask is.
            rustix::fs::chmod(path, Mode::from_raw_mode(mode)).map_err(Error::os("change the mode of", path))
        };
        create(new, 0o701)?;
        create(&new.join(DATA), 0o755)?;
        write_record(new, record)
    }

    /// The record as it lies there, or why it cannot be read.
    pub(crate) fn record(&self, name: &str) -> std::result::Result<Record, String> {
        let bytes = std::fs::read(self.root.join(name).join(RECORD)).map_err(|e| e.to_string())?;
        let record = serde_json::from_slice::<Record>(&bytes).map_err(|e| e.to_string())?;
        match record.version == VERSION {
            true if record.name == name => Ok(record),
            true => Err(format!("it is that of volume {}", record.name)),
            false => Err(format!("format {} is not known", record.version)),
        }
    }

    /// What is known of a volume without its record.
    fn guess(&self, name: &str) -> Record {
        let made = self.root.join(name).metadata().and_then(|m| m.modified()).unwrap_or(UNIX_EPOCH);
        let created = u64::try_from(made.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()).unwrap_or(0);
        let (labels, options) = (BTreeMap::new(), BTreeMap::new());
        Record { version: VERSION, name: name.to_owned(), labels, options, created }
    }

    /// Puts an unreadable record aside and one without labels in its place.
    pub(crate) fn record_anew(&self, name: &str) -> Result<String> {
        let directory = self.root.join(name);
        let path = directory.join(RECORD);
        let aside = directory.join(format!("{RECORD}.corrupt"));
        match std::fs::rename(&path, &aside) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("rename", &path)(e)),
            _ => write_record(&directory, &self.guess(name))?,
        }
        Ok("written anew, without labels; what was there is volume.json.corrupt".into())
    }

    /// One volume.
    pub fn get(&self, name: &str) -> Result<Volume> {
        let directory = self.directory(name)?;
        let record = self.record(name).unwrap_or_else(|error| {
            // The data is the user's and is still there.
            let path = directory.join(RECORD);
            tracing::error!(path = %path.display(), %error, "record unreadable: the volume is shown without labels");
            self.guess(name)
        });
        Ok(Volume {
            name: name.to_owned(),
            labels: record.labels,
            options: record.options,
            created: UNIX_EPOCH + Duration::from_nanos(record.created),
            mountpoint: directory.join(DATA),
        })
    }

    /// The names of all directories that can be volumes.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&self.root).map_err(Error::io("read", &self.root))? {
            let entry = entry.map_err(Error::io("read", &self.root))?;
            let name = entry.file_name().into_string().ok().filter(|name| check_name(name).is_ok());
            all.extend(name.filter(|_| entry.path().is_dir()));
        }
        all.sort();
        Ok(all)
    }

    /// Every volume, by name.
    pub fn list(&self) -> Result<Vec<Volume>> {
        let mut all = Vec::new();
        for name in self.names()? {
            match self.get(&name) {
                // Removed while we looked.
                Err(Error::NotFound(_)) => {}
                volume => all.push(volume?),
            }
        }
        Ok(all)
    }

    /// What containers of this volume get bind-mounted.
    pub fn mountpoint(&self, name: &str) -> Result<PathBuf> {
        Ok(self.get(name)?.source())
    }

    /// Removes a volume and what it holds. Nobody may be using it.
    pub fn remove(&self, name: &str) -> Result<()> {
        let directory = self.directory(name)?;
        let gone = self.root.join(format!(".gone-{}", random_hex()?));
        match std::fs::rename(&directory, &gone) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(Error::NotFound(name.to_owned())),
            other => other.map_err(Error::io("remove", &directory))?,
        }
        sync_directory(&self.root)?;
        // Its name is free: what cannot be cleared away now, on a second attempt either, is left to the next start.
        if let Err(error) = remove_directory(&gone).or_else(|_| remove_directory(&gone)) {
            tracing::warn!("{error}; the next start tries again");
        }
        Ok(())
    }

    /// Bytes on disk that a volume holds; a file with several names counts once.
    pub fn size(&self, name: &str) -> Result<u64> {
        let data = self.directory(name)?.join(DATA);
        Ok(crate::tree::disk_usage(open_directory(&data)?))
    }
}

/// Writes the record of a volume that has none, durably.
fn write_record(directory: &Path, record: &Record) -> Result<()> {
    let path = directory.join(RECORD);
    let bytes = serde_json::to_vec_pretty(record).map_err(|e| Error::Invalid(e.to_string()))?;
    let write = || {
        let mut file = std::fs::File::create_new(&path)?;
        file.write_all(&bytes)?;
        file.sync_all()
    };
    write().map_err(Error::io("write", &path))?;
    sync_directory(directory)
}

/// Removes a directory of the room's own with all that is in it, whatever a container has put there: a tree deeper than
/// any path, too.
pub(crate) fn remove_directory(path: &Path) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let name = std::ffi::CString::new(name.as_encoded_bytes()).map_err(|e| Error::Invalid(e.to_string()))?;
    sys::remove::remove_at(open_directory(parent)?.as_fd(), &name).map_err(Error::os("remove", path))
}

pub(crate) fn open_directory(path: &Path) -> Result<std::os::fd::OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(Error::os("open", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_dockers() {
        for good in ["ab", "a.b", "0-_", "A1.-_", &"x".repeat(255)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        assert_eq!(
            check_name("./x").unwrap_err().to_string(),
            "create ./x: \"./x\" includes invalid characters for a local volume name, only \
             \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
        );
        assert_eq!(
            check_name("a").unwrap_err().to_string(),
            "volume name is too short, names should be at least two alphanumeric characters"
        );
        for bad in ["", ".a", "-a", "a/b", "..", "a b", "ä1", "a\0", &"x".repeat(256)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn options_are_a_bind_or_refused() {
        let check = |list: &[(&str, &str)]| {
            let options = list.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            check_options("v1", &options).map_err(|e| e.to_string())
        };
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&[("type", "none"), ("o", "bind"), ("device", "/srv")]), Ok(()));
        let refused = |list, why: &str| assert_eq!(check(list), Err(format!("create v1: {why}")));
        refused(&[("foo", "1")], "invalid option: \"foo\"");
        refused(&[("size", "1g")], "quota size requested but no quota support");
        refused(&[("type", "none"), ("o", "bind")], "missing required option: \"device\"");
        refused(&[("o", "bind"), ("device", "srv")], "device \"srv\" is not an absolute path");
        refused(&[("o", "bind,ro"), ("device", "/srv")], "option o=ro is not supported by this engine");
        refused(
            &[("type", "tmpfs"), ("device", "tmpfs")],
            "options type=\"tmpfs\" o=\"\" are not supported by this engine: it has type=none with o=bind",
        );
    }

    proptest! {
        #[test]
        fn a_good_name_is_one_name_in_a_directory(name in "\\PC{0,12}|[a-zA-Z0-9_.-]{1,12}") {
            if check_name(&name).is_ok() {
                let path = Path::new(&name);
                prop_assert_eq!(path.components().count(), 1);
                prop_assert_eq!(path.file_name().and_then(|n| n.to_str()), Some(name.as_str()));
            }
        }
    }
}
