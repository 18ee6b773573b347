use super::*;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;

/// `<tmp>/root` is the root; `<tmp>/outside` is what nothing may reach.
struct Tree {
    base: PathBuf,
    root: OwnedFd,
}

impl Tree {
    fn new(name: &str) -> Tree {
        let base = std::env::temp_dir().join(format!("dhow-rootfs-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&base);
        for directory in ["root/dir/sub", "outside"] {
            std::fs::create_dir_all(base.join(directory)).unwrap();
        }
        std::fs::write(base.join("root/dir/file"), "inside").unwrap();
        std::fs::write(base.join("outside/file"), "outside").unwrap();
        let root = open_root(&base.join("root")).unwrap();
        Tree { base, root }
    }

    fn link(&self, target: &str, name: &str) {
        symlink(target, self.base.join("root").join(name)).unwrap();
    }

    /// Inode of a path as the host sees it.
    fn inode(&self, path: &str) -> u64 {
        std::fs::symlink_metadata(self.base.join(path)).unwrap().ino()
    }

    fn resolved(&self, path: &str) -> Result<u64> {
        let fd = resolve(self.root.as_fd(), path.as_bytes(), OFlags::PATH)?;
        Ok(rustix::fs::fstat(fd).unwrap().st_ino)
    }

    fn outside_is_untouched(&self) {
        let names: Vec<_> =
            std::fs::read_dir(self.base.join("outside")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["file"]);
        assert_eq!(std::fs::read(self.base.join("outside/file")).unwrap(), b"outside");
        let mut top: Vec<_> = std::fs::read_dir(&self.base).unwrap().map(|e| e.unwrap().file_name()).collect();
        top.sort();
        assert_eq!(top, ["outside", "root"]);
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.base);
    }
}

#[test]
fn every_path_ends_inside() {
    let t = Tree::new("inside");
    let outside = t.base.join("outside");
    t.link(outside.to_str().unwrap(), "absolute");
    t.link("../outside", "up");
    t.link("../../../../../../../../..", "far-up");
    t.link("/dir", "to-dir");
    t.link("dir/sub/..", "dots");
    t.link("loop", "loop");
    assert_eq!(t.resolved(""), Ok(t.inode("root")));
    assert_eq!(t.resolved("/"), Ok(t.inode("root")));
    assert_eq!(t.resolved("../../.."), Ok(t.inode("root")));
    assert_eq!(t.resolved("/../../../dir"), Ok(t.inode("root/dir")));
    assert_eq!(t.resolved("far-up"), Ok(t.inode("root")));
    assert_eq!(t.resolved("far-up/dir/file"), Ok(t.inode("root/dir/file")));
    assert_eq!(t.resolved("to-dir/file"), Ok(t.inode("root/dir/file")));
    assert_eq!(t.resolved("dots"), Ok(t.inode("root/dir")));
    assert_eq!(t.resolved("absolute"), Err(Errno::NOENT));
    assert_eq!(t.resolved("absolute/file"), Err(Errno::NOENT));
    assert_eq!(t.resolved("up/file"), Err(Errno::NOENT));
    assert_eq!(t.resolved("loop"), Err(Errno::LOOP));
    assert_eq!(t.resolved("dir/file/x"), Err(Errno::NOTDIR));
    assert_eq!(t.resolved("nul\0x"), Err(Errno::INVAL));
    t.outside_is_untouched();
}

#[test]
fn magic_links_are_refused() {
    // Here the root is the host's own /proc: its links would lead anywhere.
    let proc = open_root(Path::new("/proc")).unwrap();
    for path in ["self/root", "self/cwd", "self/fd/0", "self/root/etc", "self/exe"] {
        assert_eq!(resolve(proc.as_fd(), path.as_bytes(), OFlags::PATH).err(), Some(Errno::LOOP), "{path}");
    }
    assert!(resolve(proc.as_fd(), b"self/status", OFlags::RDONLY).is_ok());
    assert_eq!(resolve_plain(proc.as_fd(), b"self/status", OFlags::RDONLY).err(), Some(Errno::LOOP));
    assert_eq!(resolve_plain(proc.as_fd(), b"../etc", OFlags::PATH).err(), Some(Errno::XDEV));
    assert!(resolve_plain(proc.as_fd(), b"sys/kernel/hostname", OFlags::RDONLY).is_ok());
}

#[test]
fn a_last_link_can_be_left_alone() {
    let t = Tree::new("nofollow");
    t.link("dir", "link");
    let fd = resolve(t.root.as_fd(), b"link", OFlags::PATH | OFlags::NOFOLLOW).unwrap();
    assert_eq!(kind(fd.as_fd()).unwrap().0, rustix::fs::FileType::Symlink);
}

#[test]
fn directories_are_made_inside() {
    let t = Tree::new("mkdir");
    let outside = t.base.join("outside/new");
    t.link(outside.to_str().unwrap(), "absolute");
    t.link("../../outside/new2", "up");
    t.link("/missing/target", "dangling");
    t.link("gone", "dir/relative");
    t.link("b", "a");
    t.link("a", "b");
    let made = |path: &str| {
        let fd = create_dir_all(t.root.as_fd(), path.as_bytes(), 0o755)?;
        Ok::<u64, Errno>(rustix::fs::fstat(fd).unwrap().st_ino)
    };
    assert_eq!(made("x/y/z"), Ok(t.inode("root/x/y/z")));
    assert_eq!(made("/x//./y/z/"), Ok(t.inode("root/x/y/z")));
    assert_eq!(made("x/new/../../other"), Ok(t.inode("root/other")));
    assert_eq!(made("../../over/the/top"), Ok(t.inode("root/over/the/top")));
    assert_eq!(made("dangling/deep"), Ok(t.inode("root/missing/target/deep")));
    assert_eq!(made("dir/relative"), Ok(t.inode("root/dir/gone")));
    let inside = format!("root{}", outside.display());
    assert_eq!(made("absolute/sub"), Ok(t.inode(&format!("{inside}/sub"))));
    assert_eq!(made("up"), Ok(t.inode("root/outside/new2")));
    assert_eq!(made("a"), Err(Errno::LOOP));
    assert_eq!(made("dir/file"), Err(Errno::NOTDIR));
    assert_eq!(made("dir/file/below"), Err(Errno::NOTDIR));
    t.outside_is_untouched();
}

#[test]
fn files_are_made_inside() {
    let t = Tree::new("mkfile");
    t.link("../run/systemd/resolve/stub", "dir/resolv.conf");
    t.link("../../outside/file", "dir/escape");
    t.link("/dir/escape", "twice");
    t.link("self", "self");
    let made = |path: &str| {
        let fd = create_file(t.root.as_fd(), path.as_bytes(), 0o644)?;
        Ok::<u64, Errno>(rustix::fs::fstat(fd).unwrap().st_ino)
    };
    assert_eq!(made("dir/file"), Ok(t.inode("root/dir/file")));
    assert_eq!(made("new/deep/file"), Ok(t.inode("root/new/deep/file")));
    assert_eq!(made("dir/resolv.conf"), Ok(t.inode("root/run/systemd/resolve/stub")));
    assert_eq!(made("twice"), Ok(t.inode("root/outside/file")));
    assert_eq!(made("self"), Err(Errno::LOOP));
    assert_eq!(made("dir"), Ok(t.inode("root/dir")));
    assert_eq!(std::fs::read(t.base.join("root/dir/file")).unwrap(), b"inside");
    t.outside_is_untouched();
}

#[test]
fn the_parent_is_resolved_and_the_name_is_not() {
    let t = Tree::new("parent");
    t.link("dir", "link");
    let of = |path: &str| {
        let (fd, name) = parent(t.root.as_fd(), path.as_bytes())?;
        Ok::<_, Errno>((rustix::fs::fstat(fd).unwrap().st_ino, String::from_utf8(name).unwrap()))
    };
    assert_eq!(of("link/new"), Ok((t.inode("root/dir"), "new".into())));
    assert_eq!(of("/link/"), Ok((t.inode("root"), "link".into())));
    assert_eq!(of("x"), Ok((t.inode("root"), "x".into())));
    assert_eq!(of("../x"), Ok((t.inode("root"), "x".into())));
    for bad in ["", "/", "..", "dir/..", "dir/.", "//"] {
        assert_eq!(of(bad), Err(Errno::INVAL), "{bad:?}");
    }
    assert_eq!(exists(t.root.as_fd(), b"link"), Ok(true));
    assert_eq!(exists(t.root.as_fd(), b"none/x"), Ok(false));
    assert_eq!(exists(t.root.as_fd(), b"/"), Ok(true));
}

/// A directory is exchanged with a link to the outside all the time; what is made below it stays inside.
#[test]
fn a_race_of_directory_and_link_never_leads_out() {
    use rustix::fs::RenameFlags;
    use std::sync::atomic::{AtomicBool, Ordering};
    let t = Tree::new("race");
    t.link("../../outside", "dir/evil");
    let stop = AtomicBool::new(false);
    std::thread::scope(|s| {
        s.spawn(|| {
            let dir = resolve(t.root.as_fd(), b"dir", OFlags::PATH).unwrap();
            while !stop.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(&dir, "sub", &dir, "evil", RenameFlags::EXCHANGE).unwrap();
            }
        });
        for n in 0..2000 {
            // Each outcome is fine, if only it is inside.
            let _ = create_dir_all(t.root.as_fd(), format!("dir/sub/{n}/x").as_bytes(), 0o755);
            let _ = create_file(t.root.as_fd(), format!("dir/sub/f{n}").as_bytes(), 0o644);
        }
        stop.store(true, Ordering::Relaxed);
    });
    t.outside_is_untouched();
}
