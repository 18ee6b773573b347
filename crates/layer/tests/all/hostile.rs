//! Archives made to reach outside, to be read differently, or to cost too much.

use crate::scene::{Scene, archive, header, look, member, open, pax, seal};
use layer::tar::{Entry, Kind, Reader};
use layer::unpack::Options;
use layer::{Error, Limits, unpack};
use proptest::prelude::*;
use std::os::fd::AsFd;
use std::process::Command;

fn read(bytes: &[u8]) -> Result<Vec<(Vec<u8>, Kind, u64)>, Error> {
    let mut reader = Reader::new(bytes, &Limits::default());
    let (mut entry, mut all) = (Entry::default(), Vec::new());
    while reader.next(&mut entry)? {
        all.push((entry.path.clone(), entry.kind, entry.size));
    }
    Ok(all)
}

#[test]
fn nothing_outside_changes() {
    let scene = Scene::new();
    scene.sh("mkdir -p out/dir; echo canary > out/file; chmod 600 out/file; touch -d 2001-01-01 out/* out");
    let before = look(&scene.0.join("out"));
    let out = scene.0.join("out").display().to_string();
    let mut names: Vec<String> =
        ["out", "out/file", "out/dir", "../out/file", "a/../../out/file", "./../out", "..", "a/.."]
            .map(String::from)
            .to_vec();
    names.extend(
        ["l/file", "l/dir/x", "l", "l/", "m/file", "h", "", ".", "/", "./", "//", "x/\u{80}"].map(String::from),
    );
    names.extend([format!("{out}/file"), format!("/{out}/dir/x")]);
    let links = [out.as_str(), "../out", "/../../out", "../../../../../../../../../../tmp", "/proc/self/root", "l2"];
    let mut count = 0;
    for link in links {
        for name in &names {
            for flag in [b'0', b'1', b'2', b'3', b'5', b'6'] {
                let target: &[u8] = match flag {
                    b'1' => b"l/file",
                    b'2' => b"../../out/file",
                    _ => b"",
                };
                let mut last = member(flag, name.as_bytes(), target, b"");
                last[329..337].copy_from_slice(b"0000001\0");
                seal(&mut last[..512]);
                let tar = archive(&[
                    member(b'2', b"l", link.as_bytes(), b""),
                    member(b'2', b"l2", b"l", b""),
                    member(b'2', b"m", b"l/dir/..", b""),
                    pax(&[("SCHILY.xattr.user.evil", "1"), ("mtime", "77.5")]),
                    last,
                ]);
                let to = scene.dir("root/fs");
                for options in [Options::layer(&Limits::default()), Options::files(&Limits::default())] {
                    // Refused or confined: both are well.
                    let _ = unpack(open(&scene.0.join("root")).as_fd(), b"fs", tar.as_slice(), &options);
                    count += 1;
                }
                assert_eq!(look(&scene.0.join("out")), before, "{link} {name} {}", char::from(flag));
                std::fs::remove_dir_all(to).unwrap();
            }
        }
    }
    assert!(count > 1000);
}

#[test]
fn entries_that_are_refused_are_named() {
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (member(b'0', b"a/../b", b"", b""), "a/../b"),
        (member(b'0', b"../b", b"", b""), "../b"),
        (member(b'1', b"a", b"../b", b""), "\"a\""),
        (member(b'1', b"a", b"a", b""), "\"a\""),
        (member(b'2', b"./", b"x", b""), "./"),
        (member(b'0', b"f/", b"", b""), "f/"),
        (member(b'5', b"d", b"", b"data"), "\"d\""),
        (member(b'V', b"label", b"", b""), "label"),
        (member(b'3', b"null", b"", b""), "null"),
        (member(b'0', b".wh.", b"", b""), ".wh."),
        (member(b'0', b".wh..", b"", b""), ".wh.."),
        (member(b'0', b".wh...", b"", b""), ".wh..."),
        (member(b'0', b"a/.wh.", b"", b""), "a/.wh."),
        (member(b'0', b"victim/.wh.x/y", b"", b""), "victim/.wh.x/y"),
        (member(b'5', b".wh.dir", b"", b""), ".wh.dir"),
        ([member(b'0', b"f", b"", b""), member(b'0', b"f/x", b"", b"")].concat(), "\"f\""),
        (
            [member(b'2', b"a", b"b", b""), member(b'2', b"b", b"a", b""), member(b'0', b"a/x", b"", b"")].concat(),
            "\"a\"",
        ),
    ];
    for (members, name) in cases {
        let scene = Scene::new();
        let to = scene.dir("to");
        let done = unpack(open(&to).as_fd(), b"", archive(&[members]).as_slice(), &Options::layer(&Limits::default()));
        let text = done.expect_err(name).to_string();
        assert!(text.contains(name), "{name}: {text}");
    }
}

#[test]
fn the_later_entry_wins() {
    let scene = Scene::new();
    let to = scene.dir("to");
    let tar = archive(&[
        member(b'0', b"d/x/y", b"", b"1"),
        member(b'0', b"d", b"", b"now a file"),
        member(b'2', b"s", b"nowhere", b""),
        member(b'5', b"s", b"", b""),
        member(b'0', b"s/in", b"", b""),
        member(b'0', b"twice", b"", b"first"),
        member(b'1', b"other", b"twice", b""),
        member(b'0', b"./twice", b"", b"second"),
        member(b'2', b"into", b"/target/deep", b""),
        member(b'0', b"into/file", b"", b""),
    ]);
    unpack(open(&to).as_fd(), b"", tar.as_slice(), &Options::layer(&Limits::default())).unwrap();
    assert_eq!(std::fs::read(to.join("d")).unwrap(), b"now a file");
    assert!(to.join("s/in").is_file());
    assert_eq!(std::fs::read(to.join("twice")).unwrap(), b"second");
    assert_eq!(std::fs::read(to.join("other")).unwrap(), b"first");
    assert!(to.join("target/deep/file").is_file());
}

#[test]
fn files_may_keep_the_types_of_what_is_there() {
    let scene = Scene::new();
    scene.sh("mkdir -p to/dir; echo x > to/file; ln -s dir to/link");
    let options = Options { keep_types: true, owner: Some((7, 8)), ..Options::files(&Limits::default()) };
    let put = |members: &[Vec<u8>]| {
        unpack(open(&scene.0.join("to")).as_fd(), b"", archive(members).as_slice(), &options).map(drop)
    };
    let text = |done: Result<(), Error>| done.unwrap_err().to_string();
    assert_eq!(
        text(put(&[member(b'0', b"dir", b"", b"")])),
        "tar entry \"dir\": cannot overwrite directory with non-directory"
    );
    assert_eq!(
        text(put(&[member(b'5', b"file", b"", b"")])),
        "tar entry \"file\": cannot overwrite non-directory with directory"
    );
    // A whiteout's name is a name; a link on the way leads inside.
    put(&[member(b'0', b".wh.dir", b"", b""), member(b'0', b"link/in", b"", b"y")]).unwrap();
    assert_eq!(std::fs::read(scene.0.join("to/dir/in")).unwrap(), b"y");
    assert!(look(&scene.0.join("to"))[".wh.dir"].starts_with("100755 7:8 1.000000000 0 "));
}

/// Archives that two readers may read differently, by one change each.
fn ambiguous() -> Vec<Vec<u8>> {
    let inner = member(b'0', b"smuggled", b"", b"");
    let file = |data: &[u8]| member(b'0', b"file", b"", data);
    let mut all = vec![
        archive(&[pax(&[("size", "0")]), file(&inner)]),
        archive(&[pax(&[("size", "512")]), member(b'0', b"file", b"", b""), inner.clone()]),
        archive(&[pax(&[("size", "1024")]), file(&inner), inner.clone()]),
        archive(&[pax(&[("size", "512"), ("size", "0")]), file(&inner)]),
        archive(&[pax(&[("path", "one")]), pax(&[("path", "two")]), file(b"")]),
        archive(&[pax(&[("path", "one")]), member(b'L', b"long", b"", b"two\0"), file(b"")]),
        archive(&[member(b'L', b"long", b"", b"two\0"), pax(&[("path", "one")]), file(b"")]),
        archive(&[member(b'L', b"long", b"", b"a\0b\0"), file(b"")]),
        archive(&[member(b'g', b"g", b"", b"12 path=glo\n"), file(b"")]),
        archive(&[pax(&[("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0")]), file(&inner)]),
        archive(&[header(b'1', b"link", b"file", 512), inner.clone()]),
        archive(&[header(b'5', b"dir/", b"", 512), inner.clone()]),
        archive(&[header(b'0', b"cut", b"", 512)])[..1000].to_vec(),
        [archive(&[file(b"")]), archive(std::slice::from_ref(&inner))].concat(),
        [file(b""), vec![0; 512], inner.clone(), vec![0; 1024]].concat(),
        archive(&[member(b'x', b"p", b"", b"11 path=two\n\n"), file(b"")]),
        archive(&[member(b'x', b"p", b"", b"999 path=two\n"), file(b"")]),
    ];
    for (at, bytes) in [
        (124, &b"\x80\0\0\0\0\0\0\0\0\0\x02\0"[..]),
        (124, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe\0"),
        (124, b"-0000001000\0"),
        (124, b"1000 1000  \0"),
        (124, b"0x200\0\0\0\0\0\0\0"),
        (257, b"ustar  \0"),
        (257, b"\0\0\0\0\0\0\0\0"),
        (345, b"prefix"),
        (156, b"7"),
        (156, b"S"),
        (508, b"tar\0"),
    ] {
        let mut block = file(&inner);
        block[at..at + bytes.len()].copy_from_slice(bytes);
        seal(&mut block[..512]);
        all.push(archive(&[block.clone()]));
        block[345..351].copy_from_slice(b"prefix");
        seal(&mut block[..512]);
        all.push(archive(&[block]));
    }
    all
}

#[test]
fn what_we_accept_python_and_gnu_tar_read_alike() {
    let scene = Scene::new();
    let mut all = ambiguous();
    let first = all.len();
    // And small changes of valid ones, by a fixed sequence.
    let base = archive(&[
        pax(&[("path", "renamed"), ("mtime", "1.5")]),
        member(b'0', b"file", b"", b"some data"),
        member(b'L', b"long", b"", &[b'n'; 120]),
        member(b'5', b"dir/", b"", b""),
        member(b'2', b"link", b"file", b""),
    ]);
    let mut random = 12345u64;
    for _ in 0..300 {
        let mut changed = base.clone();
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let at = (random >> 33) as usize % (base.len() - 1024);
        changed[at] = [0, b'1', b'7', b' ', 0x80, 0xff, b'/', b'\n'][(random >> 29) as usize % 8];
        let block = at / 512 * 512;
        if base[block + 257..block + 262] == *b"ustar" {
            seal(&mut changed[block..block + 512]);
        }
        all.push(changed);
    }
    let mut accepted = 0;
    for (i, bytes) in all.iter().enumerate() {
        let path = scene.0.join(format!("{i}.tar"));
        std::fs::write(&path, bytes).unwrap();
        let Ok(ours) = read(bytes) else {
            std::fs::remove_file(path).unwrap();
            continue;
        };
        accepted += usize::from(i >= first);
        let ours: Vec<String> = ours
            .iter()
            .map(|(p, _, size)| format!("{:?} {size}", String::from_utf8_lossy(p).trim_end_matches('/')))
            .collect();
        std::fs::write(scene.0.join(format!("{i}.ours")), ours.join("\n")).unwrap();
        let gnu = Command::new("tar").args(["-tf"]).arg(&path).env("LC_ALL", "C").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&gnu.stdout).lines().count(), ours.len(), "{i}: {gnu:?} {ours:?}");
    }
    assert!(accepted > 50, "{accepted}");
    let differ = scene.sh(
        r#"cat > d.py <<'EOF'
import glob, tarfile
for path in glob.glob('*.ours'):
    ours = open(path, errors='replace').read().split('\n') if open(path).read() else []
    try:
        theirs = ['%s %d' % ('"' + m.name.rstrip('/') + '"', m.size) for m in tarfile.open(path[:-5] + '.tar', ignore_zeros=False)]
    except Exception as e:
        theirs = [repr(e)]
    if [o.encode('ascii', 'ignore') for o in ours] != [t.encode('ascii', 'ignore') for t in theirs]:
        print(path, ours, theirs)
EOF
python3 d.py"#,
    );
    let real: Vec<&str> = differ.lines().filter(|line| !line.contains('\\')).collect();
    assert!(real.is_empty(), "{}", real.join("\n"));
}

#[test]
fn limits_hold_at_the_limit_and_one_beyond() {
    let count = |bytes: &[u8], limits: &Limits| {
        let mut reader = Reader::new(bytes, limits);
        let (mut entry, mut n) = (Entry::default(), 0);
        while reader.next(&mut entry)? {
            n += 1;
        }
        Ok::<_, Error>(n)
    };
    let three =
        archive(&[member(b'0', b"abc", b"", b"12345"), member(b'0', b"abd", b"", b""), member(b'0', b"abe", b"", b"")]);
    let at = Limits { entries: 3, path: 3, bytes: 5, ..Limits::default() };
    assert_eq!(count(&three, &at).unwrap(), 3);
    for beyond in
        [Limits { entries: 2, ..at.clone() }, Limits { path: 2, ..at.clone() }, Limits { bytes: 4, ..at.clone() }]
    {
        assert!(matches!(count(&three, &beyond), Err(Error::Limit { .. })));
    }
    let long = archive(&[pax(&[("path", "12345")]), member(b'0', b"x", b"", b"")]);
    assert_eq!(count(&long, &Limits { header: 14, ..Limits::default() }).unwrap(), 1);
    assert!(matches!(count(&long, &Limits { header: 13, ..Limits::default() }), Err(Error::Limit { .. })));
}

#[test]
fn opaque_whiteouts_cost_nothing_when_repeated() {
    let scene = Scene::new();
    let to = scene.dir("to");
    let tar = archive(&vec![member(b'0', b"d/.wh..wh..opq", b"", b""); 20_000]);
    let done = unpack(open(&to).as_fd(), b"", tar.as_slice(), &Options::layer(&Limits::default())).unwrap();
    assert_eq!(done.entries, 20_000);
    assert_eq!(std::fs::read_dir(to.join("d")).unwrap().count(), 0);
}

#[test]
fn a_tree_of_any_depth_unpacks_with_few_descriptors() {
    let scene = Scene::new();
    let to = scene.dir("to");
    let mut path = String::new();
    let mut members = Vec::new();
    for depth in 0..400 {
        path += if depth == 0 { "d" } else { "/d" };
        members.push(pax(&[("path", &path)]));
        members.push(member(b'5', b"x", b"", b""));
    }
    members.push(pax(&[("path", &format!("{path}/file"))]));
    members.push(member(b'0', b"x", b"", b"deep"));
    unpack(open(&to).as_fd(), b"", archive(&members).as_slice(), &Options::layer(&Limits::default())).unwrap();
    assert_eq!(std::fs::read(to.join(format!("{path}/file"))).unwrap(), b"deep");
}

#[test]
fn depth_and_implied_directories_are_limited() {
    let deep = |names: usize| vec!["d"; names].join("/");
    let error = |members: &[Vec<u8>], limits: &Limits, layer: bool| {
        let scene = Scene::new();
        let to = scene.dir("to");
        let options = if layer { Options::layer(limits) } else { Options::files(limits) };
        unpack(open(&to).as_fd(), b"", archive(members).as_slice(), &options).err().map(|e| e.to_string())
    };
    let limits = Limits::default();
    let at = |path: &str| [pax(&[("path", path)]), member(b'0', b"x", b"", b"")];
    let too_deep = format!("tar entry {:?}: it lies deeper than the limit of 512 directories", &deep(600)[..200]);
    for layer in [true, false] {
        assert_eq!(error(&at(&deep(512)), &limits, layer), None);
        assert_eq!(error(&at(&deep(513)), &limits, layer).as_ref(), Some(&too_deep));
        // Another way down: a link to what is not there yet.
        let by_link = |names: usize| {
            let link = [pax(&[("linkpath", &deep(names))]), member(b'2', b"l", b"x", b"")];
            [&link[..], &[member(b'0', b"l/f", b"", b"")]].concat()
        };
        assert_eq!(error(&by_link(500), &limits, layer), None);
        let refused = "tar entry \"l\": it lies deeper than the limit of 512 directories".to_owned();
        assert_eq!(error(&by_link(600), &limits, layer), Some(refused));
        // One entry and its four directories make five.
        let few = |entries| Limits { entries, ..Limits::default() };
        assert_eq!(error(&at("a/b/c/d/e"), &few(5), layer), None);
        let refused = "tar entry \"a/b/c/d\": entries and the directories above them exceed the limit of 4".to_owned();
        assert_eq!(error(&at("a/b/c/d/e"), &few(4), layer), Some(refused));
        assert!(error(&by_link(10), &few(10), layer).unwrap().contains("exceed the limit of 10"));
        assert_eq!(error(&by_link(10), &few(12), layer), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(
        changes in proptest::collection::vec((0usize..4608, any::<u8>()), 0..12),
        reseal in any::<bool>(),
        cut in 0usize..6000,
    ) {
        let mut bytes = archive(&[
            pax(&[("path", "renamed"), ("SCHILY.xattr.user.a", "b"), ("size", "9")]),
            member(b'0', b"file", b"", b"some data"),
            member(b'K', b"long", b"", &[b'n'; 120]),
            member(b'2', b"link", b"file", b""),
            pax(&[("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.name", "s"), ("GNU.sparse.realsize", "5000")]),
            member(b'0', b"sparse", b"", &[&b"1\n4096\n4\n"[..], &[0; 503], b"data"].concat()),
        ]);
        for (at, byte) in changes {
            if let Some(b) = bytes.get_mut(at) { *b = byte; }
        }
        if reseal {
            for block in bytes.chunks_exact_mut(512).filter(|b| b[257..262] == *b"ustar") { seal(block); }
        }
        bytes.truncate(cut);
        if let Ok(entries) = read(&bytes) {
            prop_assert!(entries.len() <= 6);
        }
    }
}
