//! What lies on disk about a container.
//!
//! ```text
//! <root>/<id>/config.json   Record: what it is. Written at create, update and rename.
//! <root>/<id>/state.json    State: what it does. Written at every change of it.
//! <root>/<id>/exit.json     the supervisor's; how its last run ended
//! <root>/<id>/{hosts,hostname,resolv.conf}, <id>-json.log[.N][.gz], local-logs/container.log[.N][.gz]
//! <root>/quarantine/<id>    what could not be read; never touched again by us
//! ```
//!
//! Everything is written beside and renamed. A create does not wait for the disk: one second later, if the container is
//! still there, its record and the directories above are fsynced. A power cut before that leaves no `config.json`, or an
//! empty one: such a container is wholly absent after the next start, and what it left is swept away. A record that is
//! there but not readable was durable once: it is moved aside and reported, and what its layer holds is kept.

use crate::error::{Error, Result};
use crate::mounts::MountPoint;
use crate::state::State;
use api::container::{ContainerConfig, HostConfig, NetworkingConfig};
use rustix::fs::{AtFlags, Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// The version of both documents.
pub(crate) const VERSION: u32 = 1;
const CONFIG: &str = "config.json";
/// Below the room's root: containers that could not be read.
pub(crate) const QUARANTINE: &str = "quarantine";
const STATE: &str = "state.json";
/// The longest document that is read back.
const MAX_LENGTH: u64 = 32 << 20;

/// What a container is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    pub version: u32,
    pub id: String,
    /// Without a slash.
    pub name: String,
    pub created_ns: u64,
    /// The image's ID, `sha256:…`; empty for none.
    pub image: String,
    /// The command: entrypoint and arguments.
    pub path: String,
    pub args: Vec<String>,
    /// The request's over the image's.
    pub config: ContainerConfig,
    pub host_config: HostConfig,
    pub networking: NetworkingConfig,
    pub mounts: Vec<MountPoint>,
}

impl Record {
    /// Entrypoint and arguments in one list.
    pub fn command(&self) -> Vec<String> {
        std::iter::once(&self.path).chain(&self.args).cloned().collect()
    }
}

/// What reading a directory back gives.
pub(crate) enum Found {
    Whole(Box<Record>, Box<State>),
    /// Never finished, or not durable before a power cut.
    Absent,
    /// There, but not to be understood.
    Damaged(String),
}

/// Writes `<name>.tmp` and renames it.
pub(crate) fn replace(directory: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let (target, beside) = (directory.join(name), directory.join(format!("{name}.tmp")));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(&beside, flags, Mode::from_raw_mode(0o600)).map_err(std::io::Error::from);
    let written = file.and_then(|fd| std::fs::File::from(fd).write_all(bytes));
    let done = written
        .map_err(Error::io("write", &beside))
        .and_then(|()| rustix::fs::rename(&beside, &target).map_err(|e| Error::io("rename", &target)(e.into())));
    if done.is_err() {
        let _ = rustix::fs::unlink(&beside);
    }
    done
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::System(e.to_string()))
}

/// Writes what the container is.
pub(crate) fn write_config(directory: &Path, record: &Record) -> Result<()> {
    replace(directory, CONFIG, &json(record)?)
}

/// Writes what the container does.
pub(crate) fn write_state(directory: &Path, state: &State) -> Result<()> {
    replace(directory, STATE, &json(state)?)
}

/// Makes the record survive a power cut.
pub(crate) fn sync(directory: &Path) -> Result<()> {
    for name in [CONFIG, STATE] {
        let path = directory.join(name);
        match std::fs::File::open(&path) {
            Ok(file) => file.sync_all().map_err(Error::io("fsync", &path))?,
            Err(e) if e.kind() == ErrorKind::NotFound && name == STATE => {}
            Err(e) => return Err(Error::io("open", &path)(e)),
        }
    }
    for directory in [Some(directory), directory.parent()].into_iter().flatten() {
        let opened = std::fs::File::open(directory).map_err(Error::io("open", directory))?;
        opened.sync_all().map_err(Error::io("fsync", directory))?;
    }
    Ok(())
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_LENGTH + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_LENGTH {
        true => Err(ErrorKind::FileTooLarge.into()),
        false => Ok(bytes),
    }
}

/// Reads a container's directory.
pub(crate) fn load(directory: &Path, id: &str) -> Found {
    let bytes = match read(&directory.join(CONFIG)) {
        Ok(bytes) if bytes.is_empty() => return Found::Absent,
        Ok(bytes) => bytes,
        Err(e) if e.kind() == ErrorKind::NotFound => return Found::Absent,
        Err(e) => return Found::Damaged(format!("{CONFIG}: {e}")),
    };
    let record: Record = match serde_json::from_slice(&bytes) {
        Ok(record) => record,
        Err(e) => return Found::Damaged(format!("{CONFIG}: {e}")),
    };
    if record.version != VERSION {
        return Found::Damaged(format!("{CONFIG}: version {} is unknown", record.version));
    }
    if record.id != id || crate::names::check_name(&record.name).is_err() {
        return Found::Damaged(format!("{CONFIG}: it is not about this container"));
    }
    // The state can be lost in a power cut without the container being lost: then it is as after create, or as after an
    // exit that nobody saw.
    let state = read_state(directory).ok().flatten();
    Found::Whole(Box::new(record), Box::new(state.unwrap_or_default()))
}

/// What the container does, as it lies there: nothing when it has never been written, or why it cannot be read.
pub(crate) fn read_state(directory: &Path) -> std::result::Result<Option<State>, String> {
    match read(&directory.join(STATE)) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.to_string()),
        // Its first name came to the disk before its bytes, and then the power was cut: within a second of the first start,
        // as docs/adr/003 says. To have the bytes come first would make every start slower.
        Ok(bytes) if bytes.is_empty() => Ok(None),
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| e.to_string()),
    }
}

/// The supervisor's record of the end, if it is there.
pub(crate) fn exit_record(directory: &Path) -> Option<supervisor::protocol::ExitRecord> {
    serde_json::from_slice(&read(&directory.join(supervisor::protocol::EXIT_RECORD)).ok()?).ok()
}

/// Whether the record of the end is there and cannot be read. An empty one is none, for the reason that [`read_state`] has.
pub(crate) fn exit_is_damaged(directory: &Path) -> bool {
    let written = read(&directory.join(supervisor::protocol::EXIT_RECORD)).is_ok_and(|bytes| !bytes.is_empty());
    written && exit_record(directory).is_none()
}

/// The supervisor's record of the start, if it is there.
pub(crate) fn start_record(run: &Path) -> Option<supervisor::protocol::StartRecord> {
    serde_json::from_slice(&read(&run.join(supervisor::protocol::START_RECORD)).ok()?).ok()
}

/// Moves a damaged container out of the way; gives the place.
pub(crate) fn quarantine(directory: &Path, id: &str) -> Result<PathBuf> {
    let aside = directory.parent().unwrap_or(directory).join(QUARANTINE);
    std::fs::create_dir_all(&aside).map_err(Error::io("mkdir", &aside))?;
    let mut target = aside.join(id);
    for n in 1.. {
        if rustix::fs::statat(rustix::fs::CWD, &target, AtFlags::SYMLINK_NOFOLLOW).is_err() {
            break;
        }
        target = aside.join(format!("{id}.{n}"));
    }
    std::fs::rename(directory, &target).map_err(Error::io("rename", &target))?;
    Ok(target)
}

/// 64 hex digits.
pub(crate) fn is_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);
    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("dhow-record-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(&path).unwrap();
            Scratch(path)
        }
    }
    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn record(id: &str) -> Record {
        Record {
            version: VERSION,
            id: id.into(),
            name: "web".into(),
            created_ns: 5,
            path: "sh".into(),
            ..Record::default()
        }
    }

    #[test]
    fn written_and_read_back() {
        let s = Scratch::new("back");
        let id = "a".repeat(64);
        assert!(matches!(load(&s.0, &id), Found::Absent));
        write_config(&s.0, &record(&id)).unwrap();
        let state = State { restart_count: 3, ..State::default() };
        write_state(&s.0, &state).unwrap();
        sync(&s.0).unwrap();
        match load(&s.0, &id) {
            Found::Whole(r, st) => assert_eq!((*r, *st), (record(&id), state)),
            _ => panic!("not whole"),
        }
        assert_eq!(std::fs::read_dir(&s.0).unwrap().count(), 2);
    }

    #[test]
    fn empty_is_absent_and_nonsense_is_damaged() {
        let s = Scratch::new("damaged");
        let id = "b".repeat(64);
        let put = |bytes: &[u8]| std::fs::write(s.0.join(CONFIG), bytes).unwrap();
        put(b"");
        assert!(matches!(load(&s.0, &id), Found::Absent));
        for bad in [&b"{"[..], b"[]", b"{}", b"\0\0\0\0", br#"{"version":2}"#] {
            put(bad);
            assert!(matches!(load(&s.0, &id), Found::Damaged(_)), "{bad:?}");
        }
        write_config(&s.0, &record(&"c".repeat(64))).unwrap();
        assert!(matches!(load(&s.0, &id), Found::Damaged(_)));
        write_config(&s.0, &record(&id)).unwrap();
        std::fs::write(s.0.join(STATE), b"{").unwrap();
        assert!(read_state(&s.0).is_err());
        assert!(matches!(load(&s.0, &id), Found::Whole(..)));
        std::fs::write(s.0.join(STATE), b"").unwrap();
        assert_eq!(read_state(&s.0), Ok(None));
        let exit = s.0.join(supervisor::protocol::EXIT_RECORD);
        for (text, damaged) in [("", false), ("{", true)] {
            std::fs::write(&exit, text).unwrap();
            assert_eq!((exit_record(&s.0).is_none(), exit_is_damaged(&s.0)), (true, damaged), "{text:?}");
        }
    }

    #[test]
    fn quarantine_never_overwrites() {
        let s = Scratch::new("aside");
        for n in 0..3 {
            let d = s.0.join("x");
            std::fs::create_dir(&d).unwrap();
            std::fs::write(d.join("n"), n.to_string()).unwrap();
            let to = quarantine(&d, "x").unwrap();
            assert_eq!(std::fs::read_to_string(to.join("n")).unwrap(), n.to_string());
        }
    }
}
