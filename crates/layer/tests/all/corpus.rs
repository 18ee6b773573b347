//! Every kind of entry by every way out that is known: refused by name, or made inside. Whatever an entry carries (mode,
//! owner, extended attribute, time) must not reach through a link either.

use crate::scene::{Scene, archive, look, member, open, pax, seal};
use layer::unpack::Options;
use layer::{Layers, Limits, unpack};
use oci::image::Compression;
use std::collections::BTreeMap;
use std::os::fd::AsFd;

const KINDS: [(u8, &str); 7] = [
    (b'0', "file"),
    (b'5', "directory"),
    (b'2', "symlink"),
    (b'1', "hard link"),
    (b'3', "character device"),
    (b'4', "block device"),
    (b'6', "fifo"),
];

/// What must come of an entry.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Want {
    /// Refused; the error names the entry when it has a name.
    Refused,
    /// Made, inside.
    Taken,
    /// Either.
    Inside,
}

/// A way out: what comes before the entry, and the entry's name.
struct Way {
    what: &'static str,
    before: Vec<Vec<u8>>,
    name: Vec<u8>,
    want: fn(u8) -> Want,
}

fn ways(out: &str) -> Vec<Way> {
    let directory = |flag: u8| if flag == b'5' { Want::Taken } else { Want::Refused };
    let link = |name: &[u8], to: &str| member(b'2', name, to.as_bytes(), b"");
    let way = |what, before: Vec<Vec<u8>>, name: &[u8], want| Way { what, before, name: name.to_vec(), want };
    vec![
        way("absolute", vec![], format!("{out}/file").as_bytes(), |_| Want::Taken),
        way("..", vec![], b"../out/file", |_| Want::Refused),
        way("link", vec![link(b"l", out)], b"l/file", |_| Want::Taken),
        way("link up", vec![link(b"l", "../../../../../../../../out")], b"l/file", |_| Want::Taken),
        way("link itself", vec![link(b"l", &format!("{out}/file"))], b"l", |_| Want::Taken),
        way("hard link", vec![link(b"l", out), member(b'1', b"h", b"l/file", b"")], b"h", |_| Want::Inside),
        way("two links", vec![link(b"a", "/"), link(b"b", &format!("a{out}"))], b"b/file", |_| Want::Taken),
        way("link and ..", vec![link(b"a", "d/.."), link(b"b", "a/../../out")], b"b/file", |_| Want::Taken),
        way("magic link", vec![link(b"l", "/proc/self/root")], b"l/new", |_| Want::Inside),
        way(".", vec![], b".", directory),
        way("/", vec![], b"/", directory),
        way("no name", vec![], b"", |_| Want::Refused),
        way("./../", vec![], b"./../", |_| Want::Refused),
        way("NUL", vec![pax(&[("path", "a\0b")])], b"x", |_| Want::Refused),
        way("high bytes", vec![], b"\x80\xff\xc0\xaf", |_| Want::Taken),
        way("slash", vec![], b"thing/", directory),
        way("root as a link", vec![link(b".", out)], b"file", |_| Want::Refused),
    ]
}

/// The entry with all that metadata can be: set-id bits, an owner, an extended attribute, a time.
fn entry(flag: u8, name: &[u8], attributes: bool) -> Vec<u8> {
    let link: &[u8] = match flag {
        b'1' => b"own",
        b'2' => b"../../out/file",
        _ => b"",
    };
    let mut last = member(flag, name, link, if flag == b'0' { b"evil" } else { b"" });
    last[100..108].copy_from_slice(b"0006777\0");
    last[108..116].copy_from_slice(b"0010222\0");
    last[116..124].copy_from_slice(b"0010223\0");
    if flag == b'3' || flag == b'4' {
        last[329..337].copy_from_slice(b"0000007\0");
        last[337..345].copy_from_slice(b"0000001\0");
    }
    seal(&mut last[..512]);
    // A second extended header would be refused before the entry is looked at.
    let extended = pax(&[("SCHILY.xattr.trusted.evil", "1"), ("mtime", "77.5")]);
    if attributes { [extended, last].concat() } else { last }
}

#[track_caller]
fn judge(what: &str, way: &Way, flag: u8, error: Option<String>) {
    match ((way.want)(flag), error) {
        (Want::Taken | Want::Inside, None) => {}
        (Want::Taken, Some(error)) => panic!("{what}: refused: {error}"),
        (Want::Refused, None) => panic!("{what}: taken"),
        (_, Some(error)) => {
            let name = String::from_utf8_lossy(&way.name);
            let named = way.name.is_empty() || way.what == "NUL" || error.contains(&*name) || error.contains("\"h\"");
            let of_root = way.what == "root as a link" && error.contains("\".\"");
            assert!(named || of_root, "{what}: the error does not name the entry: {error}");
        }
    }
}

fn outside(scene: &Scene) -> (String, BTreeMap<String, String>) {
    scene.sh(
        "mkdir -p out/dir; echo canary > out/file; chmod 600 out/file; chmod 700 out; touch -d 2001-01-01 out/* out",
    );
    (scene.0.join("out").display().to_string(), look(&scene.0.join("out")))
}

#[test]
fn every_kind_by_every_way_in_one_archive() {
    let scene = Scene::new();
    let (out, before) = outside(&scene);
    let mut count = 0;
    for way in ways(&out) {
        for (flag, kind) in KINDS {
            let mut members = vec![member(b'0', b"own", b"", b"own")];
            members.extend(way.before.iter().cloned());
            members.push(entry(flag, &way.name, way.what != "NUL"));
            let tar = archive(&members);
            for options in [Options::layer(&Limits::default()), Options::files(&Limits::default())] {
                let what = format!("{kind} by {} {}", way.what, if options.layer { "in a layer" } else { "in files" });
                scene.dir("root/fs");
                let done = unpack(open(&scene.0.join("root")).as_fd(), b"fs", tar.as_slice(), &options);
                // A hard link to what is not there is a layer's right only, and 7:1 is no whiteout.
                let missing = way.what == "hard link" && !options.layer;
                judge(&what, &way, flag, done.err().map(|e| e.to_string()).filter(|_| !missing));
                assert_eq!(look(&scene.0.join("out")), before, "{what}");
                std::fs::remove_dir_all(scene.0.join("root")).unwrap();
                count += 1;
            }
        }
    }
    assert!(count > 200, "{count}");
}

#[test]
fn every_kind_by_every_way_across_two_layers() {
    let scene = Scene::new();
    let (out, before) = outside(&scene);
    let layers = Layers::open(&scene.0.join("layer")).unwrap();
    let apply = |parent: Option<&layer::ChainId>, members: &[Vec<u8>]| {
        layers.apply(parent, &mut archive(members).as_slice(), Compression::None, None, &Limits::default())
    };
    for way in ways(&out) {
        if matches!(way.what, "NUL" | "root as a link" | "hard link") {
            // What stands before the entry belongs to it, or is refused by itself; the last is below.
            continue;
        }
        let mut lower = vec![member(b'0', b"own", b"", b"own"), member(b'5', b"d", b"", b"")];
        lower.extend(way.before.iter().cloned());
        let lower = apply(None, &lower).unwrap_or_else(|e| panic!("{}: {e}", way.what)).chain;
        for (flag, kind) in KINDS {
            let what = format!("{kind} by {} across layers", way.what);
            let done = apply(Some(&lower), &[entry(flag, &way.name, true)]);
            judge(&what, &way, flag, done.err().map(|e| e.to_string()));
            assert_eq!(look(&scene.0.join("out")), before, "{what}");
        }
        // A hard link to the end of the way must not find the canary's inode.
        for target in [&way.name[..], b"l/file", b"b/file", b"l", b"../out/file", b"a/../out/file"] {
            if target.len() < 100 && apply(Some(&lower), &[member(b'1', b"stolen", target, b"")]).is_ok() {
                let found = scene.sh("find layer -name stolen -type f -exec cat {} +");
                assert!(!found.contains("canary"), "{} {}", way.what, String::from_utf8_lossy(target));
            }
            assert_eq!(look(&scene.0.join("out")), before, "{}", way.what);
        }
    }
}
