//! Two layers seen through overlayfs itself, in a mount namespace of the test's own thread.

use crate::scene::{Scene, archive, look, member};
use layer::{ChainId, Layers, Limits};
use oci::image::Compression;
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use std::path::Path;
use std::time::{Duration, Instant};

/// Runs `test` where its mounts are nobody else's.
pub fn alone<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            sys::namespace::unshare(sys::clone::flags::NEWNS).unwrap();
            mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).unwrap();
            test()
        });
        thread.join().unwrap()
    })
}

pub fn apply(layers: &Layers, parent: Option<&ChainId>, members: &[Vec<u8>]) -> ChainId {
    let tar = archive(members);
    layers.apply(parent, &mut tar.as_slice(), Compression::None, None, &Limits::default()).unwrap().chain
}

fn mounted<T>(layers: &Layers, id: &str, volatile: bool, at: &Path, see: impl FnOnce() -> T) -> T {
    let rootfs = layers.mount(id, volatile).unwrap();
    std::env::set_current_dir(&rootfs.base).unwrap();
    let options = std::ffi::CString::new(rootfs.mount.options.join(",")).unwrap();
    mount("overlay", at, "overlay", MountFlags::empty(), options.as_c_str()).unwrap();
    let seen = see();
    std::env::set_current_dir("/").unwrap();
    // A child that another test is just making has a directory of it open until it executes its program.
    let end = Instant::now() + Duration::from_secs(10);
    while let Err(error) = unmount(at, UnmountFlags::empty()) {
        assert!(error == Errno::BUSY && Instant::now() < end, "unmount: {error}");
        std::thread::yield_now();
    }
    seen
}

fn names(at: &Path) -> Vec<String> {
    look(at).into_keys().filter(|name| !name.is_empty()).collect()
}

#[test]
fn whiteouts_links_and_implied_directories_across_layers() {
    alone(|| {
        let scene = Scene::new();
        let at = scene.dir("at");
        let layers = Layers::open(&scene.0.join("layer")).unwrap();
        let mut tmp = member(b'5', b"tmp/", b"", b"");
        tmp[100..108].copy_from_slice(b"0001777\0");
        crate::scene::seal(&mut tmp);
        let lower = apply(
            &layers,
            None,
            &[
                member(b'0', b"gone", b"", b"1"),
                member(b'0', b"dir/old", b"", b"2"),
                member(b'0', b"again/old", b"", b"3"),
                member(b'0', b"before/old", b"", b"3"),
                member(b'0', b"hidden/old", b"", b"4"),
                member(b'0', b"keep/file", b"", b"linked"),
                member(b'2', b"alias", b"keep", b""),
                tmp,
            ],
        );
        let upper = [
            member(b'0', b".wh.gone", b"", b""),
            member(b'0', b"dir/.wh.old", b"", b""),
            // First the whiteout, then the new directory; and the other way round.
            member(b'0', b".wh.again", b"", b""),
            member(b'5', b"again/", b"", b""),
            member(b'0', b"again/new", b"", b""),
            member(b'5', b"before/", b"", b""),
            member(b'0', b"before/new", b"", b""),
            member(b'0', b".wh.before", b"", b""),
            member(b'0', b"hidden/.wh..wh..opq", b"", b""),
            member(b'0', b"hidden/new", b"", b""),
            member(b'1', b"lower-link", b"alias/file", b""),
            member(b'1', b"second-link", b"lower-link", b""),
            member(b'0', b"tmp/x", b"", b""),
        ];
        let top = apply(&layers, Some(&lower), &upper);
        layers.prepare("one", Some(&top)).unwrap();
        mounted(&layers, "one", false, &at, || {
            let want = [
                "again",
                "again/new",
                "alias",
                "before",
                "before/new",
                "dir",
                "hidden",
                "hidden/new",
                "keep",
                "keep/file",
                "lower-link",
                "second-link",
                "tmp",
                "tmp/x",
            ];
            assert_eq!(names(&at), want);
            let seen = look(&at);
            assert!(seen["tmp"].starts_with("41777 "), "{}", seen["tmp"]);
            assert!(seen["lower-link"].contains("=keep/file") && seen["second-link"].contains("=keep/file"));
            assert_eq!(std::fs::read(at.join("lower-link")).unwrap(), b"linked");
            std::fs::write(at.join("written"), b"12345").unwrap();
        });
        assert_eq!(layers.writable_size("one").unwrap(), 5);
        // A volatile mount leaves its mark, and can be made again all the same.
        for _ in 0..2 {
            mounted(&layers, "one", true, &at, || assert!(at.join("written").exists()));
        }
        assert!(matches!(layers.remove(&top), Err(layer::Error::InUse { .. })));
        layers.discard("one").unwrap();
        layers.remove(&top).unwrap();
        // All below is hidden by a layer that is opaque at its root.
        let only =
            apply(&layers, Some(&lower), &[member(b'0', b".wh..wh..opq", b"", b""), member(b'0', b"only", b"", b"")]);
        layers.prepare("two", Some(&only)).unwrap();
        mounted(&layers, "two", false, &at, || assert_eq!(names(&at), ["only"]));
        layers.prepare("three", None).unwrap();
        mounted(&layers, "three", false, &at, || assert_eq!(names(&at), [""; 0]));
        layers.settle();
        assert_eq!(std::fs::read_dir(scene.0.join("layer/trash")).unwrap().count(), 0);
    });
}

#[test]
fn a_full_disk_is_an_error_that_leaves_nothing() {
    alone(|| {
        let scene = Scene::new();
        let small = scene.dir("small");
        mount("tmpfs", &small, "tmpfs", MountFlags::empty(), c"size=2m").unwrap();
        let layers = Layers::open(&small.join("layer")).unwrap();
        let tar = archive(&[member(b'0', b"big", b"", &vec![7; 3 << 20])]);
        let digest = crate::scene::digest(&tar);
        let limits = Limits::default();
        let small_files = (0..300).map(|i| member(b'0', format!("f{i}").as_bytes(), b"", &[7; 10_000]));
        for tar in [&tar, &archive(&small_files.collect::<Vec<_>>())] {
            let error = layers.apply(None, &mut tar.as_slice(), Compression::None, None, &limits).unwrap_err();
            assert!(error.is_full(), "{error}");
            layers.settle();
        }
        let mut sink = layers.pull_sink(&digest, Some(tar.len() as u64), Compression::None, None, &limits).unwrap();
        let error = sink.write(&tar).and_then(|()| sink.finish().map(drop)).unwrap_err();
        assert!(error.is_full(), "{error}");
        layers.settle();
        assert!(layers.blob(&digest).unwrap().is_none());
        for dir in ["layers", "partial", "trash", "blobs/sha256"] {
            assert_eq!(std::fs::read_dir(small.join("layer").join(dir)).unwrap().count(), 0, "{dir}");
        }
        // The last descriptor of what was removed may be closed a moment later.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        let free = || rustix::fs::statvfs(&small).map(|s| s.f_bavail * s.f_bsize).unwrap();
        while free() <= 1 << 20 {
            assert!(std::time::Instant::now() < deadline, "{} bytes are free", free());
            std::thread::yield_now();
        }
        drop(layers);
        unmount(&small, UnmountFlags::DETACH).unwrap();
    });
}
