//! The room against a real directory.

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Uid, XattrFlags};
use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use volume::{Error, Volumes};

struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("dhow-volume-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(path.join("image")).unwrap();
        Place(path)
    }
    fn open(&self) -> Volumes {
        Volumes::open(&self.0.join("volume")).unwrap()
    }
    fn image(&self) -> PathBuf {
        self.0.join("image")
    }
    fn copy_up(&self, volumes: &Volumes, name: &str) -> volume::Result<bool> {
        volumes.copy_up(name, fs::File::open(self.image()).unwrap().as_fd())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn map(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

#[test]
fn volumes_are_made_listed_and_removed() {
    let place = Place::new();
    let volumes = place.open();
    let made = volumes.create("data", map(&[("a", "b")]), map(&[])).unwrap();
    assert_eq!((made.name.as_str(), &made.labels, made.is_anonymous()), ("data", &map(&[("a", "b")]), false));
    assert_eq!(made.mountpoint, place.0.join("volume/data/_data"));
    assert_eq!(volumes.mountpoint("data").unwrap(), made.mountpoint);
    assert_eq!(made.mountpoint.metadata().unwrap().permissions().mode() & 0o7777, 0o755);
    // Again is the same one, with what it was made with.
    assert_eq!(volumes.create("data", map(&[]), map(&[])).unwrap(), made);
    let anonymous = volumes.create("", map(&[]), map(&[])).unwrap();
    assert!(anonymous.name.len() == 64 && anonymous.name.bytes().all(|b| b.is_ascii_hexdigit()));
    assert_eq!(anonymous.labels, map(&[("com.docker.volume.anonymous", "")]));
    let mut names = vec![anonymous.name.clone(), "data".into()];
    names.sort();
    assert_eq!(place.open().list().unwrap().into_iter().map(|v| v.name).collect::<Vec<_>>(), names);
    fs::write(made.mountpoint.join("f"), vec![1; 8192]).unwrap();
    fs::hard_link(made.mountpoint.join("f"), made.mountpoint.join("g")).unwrap();
    assert_eq!(volumes.size("data").unwrap(), 8192);
    volumes.remove("data").unwrap();
    assert_eq!(volumes.remove("data").unwrap_err().to_string(), "get data: no such volume");
    assert_eq!(volumes.get("../image").unwrap_err().to_string(), "get ../image: no such volume");
    volumes.remove(&anonymous.name).unwrap();
    assert_eq!(fs::read_dir(place.0.join("volume")).unwrap().count(), 0);
}

#[test]
fn eight_threads_make_one_volume() {
    let place = Place::new();
    let volumes = place.open();
    let made: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|n| {
                scope.spawn({
                    let volumes = &volumes;
                    move || volumes.create("one", map(&[("n", &n.to_string())]), map(&[])).unwrap()
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert!(made.iter().all(|volume| *volume == made[0]));
    assert_eq!(fs::read_dir(place.0.join("volume")).unwrap().count(), 1);
}

#[test]
fn what_a_crash_left_is_cleared_away_and_data_is_kept() {
    let place = Place::new();
    let volumes = place.open();
    let volume = volumes.create("data", map(&[("a", "b")]), map(&[])).unwrap();
    fs::write(volume.mountpoint.join("precious"), "x").unwrap();
    let root = place.0.join("volume");
    fs::create_dir_all(root.join(".new-1/_data")).unwrap();
    fs::create_dir_all(root.join(".gone-1/_data")).unwrap();
    fs::write(root.join("data/volume.json"), "").unwrap();
    let volume = place.open().get("data").unwrap();
    assert_eq!((volume.labels.len(), fs::read(volume.mountpoint.join("precious")).unwrap()), (0, b"x".to_vec()));
    assert_eq!(fs::read_dir(root).unwrap().count(), 1);
}

#[test]
fn a_directory_of_the_host_is_a_volume() {
    let place = Place::new();
    let volumes = place.open();
    let device = place.0.join("srv");
    fs::create_dir(&device).unwrap();
    let options = map(&[("type", "none"), ("o", "bind"), ("device", device.to_str().unwrap())]);
    let volume = volumes.create("host", map(&[]), options.clone()).unwrap();
    assert_eq!((volume.options.clone(), volume.source()), (options, device.clone()));
    assert_eq!(volumes.mountpoint("host").unwrap(), device);
    fs::write(place.image().join("f"), "x").unwrap();
    assert!(!place.copy_up(&volumes, "host").unwrap());
    volumes.remove("host").unwrap();
    assert!(device.is_dir());
    let refused = volumes.create("t1", map(&[]), map(&[("type", "tmpfs"), ("device", "tmpfs")]));
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    assert_eq!(volumes.list().unwrap(), []);
}

/// All that counts of a tree, as text: kind, mode, owner, time, link target, content, attributes.
fn describe(root: &Path) -> Vec<String> {
    let output = Command::new("sh")
        .args(["-ec", "cd \"$1\"; find . -printf '%P %y %m %U %G %T@ %l %n\\n' | sort; find . -type f -exec md5sum {} + | sort; getfattr -hRd -m - . 2>/dev/null | grep -v '^$' || true", "-"])
        .arg(root)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn a_new_volume_gets_what_the_image_has() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: this test changes owners and must run as root");
        return;
    }
    let place = Place::new();
    let volumes = place.open();
    let image = place.image();
    let canary = place.0.join("canary");
    fs::write(&canary, "outside").unwrap();
    fs::create_dir_all(image.join("a/b/c")).unwrap();
    fs::write(image.join("a/b/file"), vec![7; 300_000]).unwrap();
    fs::write(image.join("a/setuid"), "#!").unwrap();
    fs::hard_link(image.join("a/setuid"), image.join("other-name")).unwrap();
    symlink("../canary", image.join("out")).unwrap();
    symlink(place.0.join("canary"), image.join("a/absolute")).unwrap();
    symlink("/proc/self/root", image.join("magic")).unwrap();
    fs::write(image.join("a/b/\u{fc}\n name"), "").unwrap();
    rustix::fs::mknodat(CWD, image.join("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    rustix::fs::mknodat(CWD, image.join("null"), FileType::CharacterDevice, Mode::RWXU, rustix::fs::makedev(1, 3))
        .unwrap();
    let own = |name: &str, uid: u32| {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(uid + 1));
        rustix::fs::chownat(CWD, image.join(name), Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).unwrap();
    };
    for (name, uid) in [("", 999), ("a", 1000), ("a/setuid", 33), ("out", 5), ("fifo", 6), ("a/b/file", 70_000)] {
        own(name, uid);
    }
    fs::set_permissions(image.join("a/setuid"), PermissionsExt::from_mode(0o4711)).unwrap();
    fs::set_permissions(&image, PermissionsExt::from_mode(0o1770)).unwrap();
    for (name, value) in [
        ("user.note", &b"hello"[..]),
        ("security.capability", &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        match rustix::fs::lsetxattr(image.join("a/b/file"), name, value, XattrFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOTSUP) => {}
            Err(e) => panic!("{name}: {e}"),
        }
    }
    let before = describe(&image);
    let volume = volumes.create("data", map(&[]), map(&[])).unwrap();
    let inode = volume.mountpoint.metadata().unwrap().ino();
    assert!(place.copy_up(&volumes, "data").unwrap());
    assert_eq!(describe(&volume.mountpoint), before);
    assert_eq!(describe(&image), before, "the image is as it was");
    assert_eq!(volume.mountpoint.metadata().unwrap().ino(), inode, "the directory may be mounted: it is the same one");
    assert_eq!(fs::read(&canary).unwrap(), b"outside");
    assert!(volume.mountpoint.join("null").symlink_metadata().unwrap().file_type().is_char_device());
    let mut left: Vec<_> = fs::read_dir(place.0.join("volume/data"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["_data", "volume.json"]);
    // Not again: it is not empty any more.
    fs::remove_dir_all(volume.mountpoint.join("a")).unwrap();
    assert!(!place.copy_up(&volumes, "data").unwrap());
    assert!(!volume.mountpoint.join("a").exists());
}

#[test]
fn a_copy_that_a_crash_cut_short_is_started_again_or_finished() {
    let place = Place::new();
    let volumes = place.open();
    fs::write(place.image().join("f"), "image").unwrap();
    fs::write(place.image().join("g"), "image").unwrap();
    let data = volumes.create("data", map(&[]), map(&[])).unwrap().mountpoint;
    let own = place.0.join("volume/data");
    fs::create_dir(own.join("_copy.tmp")).unwrap();
    fs::write(own.join("_copy.tmp/half"), "").unwrap();
    assert!(place.copy_up(&volumes, "data").unwrap());
    assert!(!data.join("half").exists() && data.join("f").exists());
    // Complete, and half of it delivered; one name written by a container since.
    fs::remove_file(data.join("g")).unwrap();
    fs::write(data.join("f"), "newer").unwrap();
    fs::create_dir(own.join("_copy")).unwrap();
    fs::write(own.join("_copy/f"), "image").unwrap();
    fs::write(own.join("_copy/g"), "image").unwrap();
    assert!(place.copy_up(&volumes, "data").unwrap());
    assert_eq!(
        (fs::read(data.join("f")).unwrap(), fs::read(data.join("g")).unwrap()),
        (b"newer".to_vec(), b"image".to_vec())
    );
    assert!(!own.join("_copy").exists());
}
