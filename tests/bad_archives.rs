//! Archives that try to get out of where they are unpacked, or to mean two things: taken or refused, never outside, and
//! nothing left of those that are refused.

use std::io::Write;
use std::time::{Duration, Instant};
use tests::evil::{self, Evil, Parts, found};
use tests::tar::{Tar, header, sum};
use tests::{Canary, Engine, Said, busybox_tar, need_root, wait_for};

/// What must become of an archive.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Want {
    Refused,
    Taken,
    /// Either, but never outside.
    Inside,
}
use Want::{Inside, Refused, Taken};

fn bent(name: &str, change: impl FnOnce(&mut [u8; 512])) -> Tar {
    let mut h = header(name.as_bytes(), b'0', 0, b"");
    change(&mut h);
    sum(&mut h);
    Tar::new().raw(&h)
}

/// Archives that try to get out, or to mean two things.
fn archives(canary: &str) -> Vec<(&'static str, Vec<u8>, Want)> {
    let t = Tar::new;
    let up = format!("../../../../../../../../../..{canary}");
    let deep = "d/".repeat(45);
    vec![
        ("absolute", t().file(&format!("{canary}/new"), b"x").end(), Inside),
        ("up", t().file(&format!("{up}/new"), b"x").end(), Refused),
        ("up-over", t().file(&format!("{up}/file"), b"x").end(), Refused),
        ("dot-up", t().file(&format!("./../{canary}/new"), b"x").end(), Refused),
        ("up-dir", t().dir(&format!("{up}/new/")).end(), Refused),
        ("only-up", t().dir("..").end(), Refused),
        ("link-file", t().symlink("l", canary).file("l/new", b"x").end(), Inside),
        ("link-up-file", t().symlink("l", &up).file("l/new", b"x").end(), Inside),
        ("link-over", t().symlink("l", &format!("{canary}/file")).file("l", b"x").end(), Inside),
        ("link-link", t().symlink("a", "/").symlink("b", &format!("a{canary}")).file("b/new", b"x").end(), Inside),
        ("link-dir", t().symlink("l", canary).dir("l/").end(), Inside),
        ("link-dir-in", t().symlink("l", canary).dir("l/new/").end(), Inside),
        ("link-fifo", t().symlink("l", canary).raw(&header(b"l/new", b'6', 0, b"")).end(), Inside),
        ("link-node", t().symlink("l", canary).node("l/new", b'3', 1, 3).end(), Inside),
        ("link-symlink", t().symlink("l", canary).symlink("l/new", "x").end(), Inside),
        ("proc-link", t().symlink("l", "/proc/self/cwd").file("l/new", b"x").end(), Inside),
        ("hard-abs", t().link("h", &format!("{canary}/file")).end(), Refused),
        ("hard-up", t().link("h", &format!("{up}/file")).end(), Refused),
        ("hard-via-link", t().symlink("l", canary).link("h", "l/file").end(), Refused),
        ("hard-to-link", t().symlink("l", &format!("{canary}/file")).link("h", "l").file("h", b"x").end(), Inside),
        ("hard-write", t().symlink("l", canary).link("h", "l/file").file("h", b"x").end(), Refused),
        ("hard-self", t().link("h", "h").end(), Refused),
        ("hard-missing", t().link("h", "nothing").end(), Refused),
        ("root-link", t().symlink(".", canary).file("new", b"x").end(), Refused),
        ("root-link-2", t().symlink("./", canary).file("new", b"x").end(), Refused),
        ("root-file", t().file(".", b"x").end(), Refused),
        ("root-dir", t().dir("./").file("f", b"x").end(), Taken),
        ("empty-name", t().file("", b"x").end(), Refused),
        ("slash-name", t().file("/", b"x").end(), Refused),
        ("whiteout-empty", t().file(".wh.", b"").end(), Refused),
        ("whiteout-dot", t().file(".wh..", b"").end(), Refused),
        ("whiteout-up", t().file(".wh...", b"").end(), Refused),
        ("whiteout-below-up", t().dir("a/").file("a/.wh...", b"").end(), Refused),
        ("whiteout-via-link", t().symlink("l", canary).file("l/.wh.file", b"").end(), Inside),
        ("opaque-via-link", t().symlink("l", canary).file("l/.wh..wh..opq", b"").end(), Inside),
        ("whiteout-nothing", t().file(".wh.nothing", b"").end(), Inside),
        ("plnk", t().dir(".wh..wh.plnk/").file(".wh..wh.plnk/1", b"x").link("a", ".wh..wh.plnk/1").end(), Inside),
        ("opaque-many", (0..3000).fold(t().dir("o/"), |t, _| t.file("o/.wh..wh..opq", b"")).end(), Inside),
        ("device-00", t().node("whiteout", b'3', 0, 0).end(), Refused),
        ("device-00-over", t().file("f", b"x").node("f", b'3', 0, 0).end(), Refused),
        ("device", t().node("null", b'3', 1, 3).end(), Taken),
        ("device-huge", t().node("n", b'3', 0o7777777, 0o7777777).end(), Inside),
        ("redirect", t().pax(&[("SCHILY.xattr.trusted.overlay.redirect", b"/../../..")]).dir("d/").end(), Inside),
        ("metacopy", t().pax(&[("SCHILY.xattr.trusted.overlay.metacopy", b"")]).file("f", b"").end(), Inside),
        ("opaque-xattr", t().pax(&[("SCHILY.xattr.trusted.overlay.opaque", b"y")]).dir("d/").end(), Inside),
        ("user-overlay", t().pax(&[("SCHILY.xattr.user.overlay.opaque", b"y")]).dir("d/").end(), Inside),
        ("xattr-name", t().pax(&[("SCHILY.xattr.", b"y")]).file("f", b"").end(), Inside),
        ("xattr-other", t().pax(&[("LIBARCHIVE.xattr.security.selinux", b"eQ==")]).file("f", b"").end(), Inside),
        ("pax-up", t().pax(&[("path", format!("{up}/new").as_bytes())]).file("f", b"x").end(), Refused),
        ("pax-twice", t().pax(&[("path", b"a"), ("path", b"../../b")]).file("f", b"x").end(), Refused),
        (
            "pax-size",
            t().pax(&[("size", b"512")]).raw(&header(b"f", b'0', 0, b"")).file("smuggled", b"x").end(),
            Inside,
        ),
        ("pax-size-bad", t().pax(&[("size", b"-1")]).file("f", b"x").end(), Refused),
        ("pax-size-word", t().pax(&[("size", b"12x")]).file("f", b"x").end(), Refused),
        ("pax-size-huge", t().pax(&[("size", b"18446744073709551615")]).file("f", b"x").end(), Refused),
        ("pax-link", t().pax(&[("linkpath", format!("{up}/file").as_bytes())]).link("h", "f").end(), Refused),
        ("pax-nul", t().pax(&[("path", b"a\0b")]).file("f", b"x").end(), Refused),
        ("pax-length", t().raw(&header(b"p", b'x', 9, b"")).raw(b"99 path=a").file("f", b"x").end(), Refused),
        ("pax-length-0", t().raw(&header(b"p", b'x', 9, b"")).raw(b"0 path=a\n").file("f", b"x").end(), Refused),
        ("pax-no-equals", t().raw(&header(b"p", b'x', 7, b"")).raw(b"7 path\n").file("f", b"x").end(), Refused),
        ("pax-alone", t().pax(&[("path", b"a")]).end(), Refused),
        ("pax-2-in-a-row", t().pax(&[("path", b"a")]).pax(&[("path", b"b")]).file("f", b"x").end(), Inside),
        (
            "pax-10MB",
            t().raw(&header(b"p", b'x', 10 << 20, b"")).raw(&vec![b'x'; 10 << 20]).file("f", b"x").end(),
            Refused,
        ),
        (
            "long-up",
            t().raw(&header(b"././@LongLink", b'L', up.len() as u64 + 5, b""))
                .raw(format!("{up}/new\0").as_bytes())
                .file("f", b"")
                .end(),
            Refused,
        ),
        ("long-deep", t().file(&format!("{deep}f"), b"x").end(), Taken),
        (
            "checksum",
            t().raw(&{
                let mut h = header(b"f", b'0', 0, b"");
                h[0] = b'g';
                h
            })
            .end(),
            Refused,
        ),
        (
            "size-negative",
            bent("f", |h| h[124..136].copy_from_slice(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")).end(),
            Refused,
        ),
        (
            "size-huge",
            bent("f", |h| h[124..136].copy_from_slice(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff")).end(),
            Refused,
        ),
        ("size-garbage", bent("f", |h| h[124..136].copy_from_slice(b"zzzzzzzzzzz\0")).end(), Refused),
        ("mode-setuid", bent("f", |h| h[100..108].copy_from_slice(b"0007777\0")).end(), Taken),
        ("unknown-kind", t().raw(&header(b"f", b'Z', 0, b"")).end(), Inside),
        (
            "sparse-bomb",
            t().pax(&[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.realsize", b"99999999999999"),
                ("GNU.sparse.name", b"f"),
            ])
            .file("f", b"0\n")
            .end(),
            Refused,
        ),
        ("cut-header", t().file("f", b"x").cut()[..700].to_vec(), Refused),
        ("cut-body", t().raw(&header(b"f", b'0', 5000, b"")).cut(), Refused),
        ("no-end", t().file("f", b"x").cut(), Inside),
        ("garbage", vec![0xa5; 4096], Refused),
        ("gzip-garbage", [&[0x1f, 0x8b, 8, 0][..], &[0xff; 500]].concat(), Refused),
        ("high-bytes", t().file("\u{80}\u{7ff}", b"x").end(), Taken),
        ("file-slash", t().file("f/", b"x").end(), Inside),
        ("file-then-dir", t().file("a", b"x").dir("a/").file("a/b", b"y").end(), Inside),
        ("dir-then-file", t().dir("a/").file("a/b", b"y").file("a", b"x").end(), Inside),
        ("file-below-file", t().file("a", b"x").file("a/b", b"y").end(), Inside),
        ("dir-then-link", t().dir("a/").symlink("a", canary).file("a/new", b"x").end(), Inside),
        ("empty", vec![0; 1024], Inside),
    ]
}

/// 1.2 GiB of zeros behind an archive, as 1.2 MB of gzip.
fn bomb() -> Vec<u8> {
    let member = |bytes: &[u8]| {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(bytes).unwrap();
        gz.finish().unwrap()
    };
    let zeros = member(&vec![0; 16 << 20]);
    let mut all = member(&Tar::new().file("f", b"x").end());
    (0..80).for_each(|_| all.extend_from_slice(&zeros));
    all
}

/// What is wrong with the outcome of `way`, if anything.
fn judge(way: &str, name: &str, want: Want, said: &Said) -> Option<String> {
    let right = match want {
        Refused => said.code == 1,
        Taken => said.code == 0,
        Inside => said.code <= 1,
    };
    let silent = said.code != 0 && said.err.trim().is_empty();
    (!right || silent || said.err.contains("panic")).then(|| format!("{way} {name}: want {want:?}, got {said:?}"))
}

/// Removes all images; what the stores then hold is what they held before.
fn forget_all(e: &Engine, before: &[String]) {
    let ids = e.dhow(["images", "-q", "--no-trunc"]).ok();
    let ids: std::collections::BTreeSet<&str> = ids.lines().collect();
    if !ids.is_empty() {
        e.dhow(["rmi", "-f"].into_iter().chain(ids)).ok();
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut left = e.stored();
        left.retain(|p| !before.contains(p) && !p.starts_with("layer/partial"));
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "of removed images there is {left:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn imported_archives_stay_inside() {
    need_root!();
    let mut e = Engine::start(&[]);
    let canary = Canary::new();
    let empty = e.stored_at_first();
    let mut wrong = Vec::new();
    for (name, archive, want) in archives(canary.path()) {
        let before = e.stored();
        let said = e.import(name, &archive);
        wrong.extend(judge("import", name, want, &said));
        let mut more = e.stored();
        more.retain(|p| !before.contains(p));
        if said.code != 0 && !more.is_empty() {
            wrong.push(format!("import {name}: left {more:?}"));
        }
        canary.check(name);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    forget_all(&e, &empty);
    e.alive();
}

#[test]
fn pulled_archives_stay_inside() {
    need_root!();
    let mut e = Engine::start(&[]);
    let canary = Canary::new();
    let empty = e.stored_at_first();
    let all = archives(canary.path());
    let base = std::fs::read(busybox_tar()).unwrap();
    let one =
        |(name, layer, _): &(&str, Vec<u8>, Want)| ((*name).to_owned(), evil::image(&[base.clone(), layer.clone()]));
    let images: std::collections::BTreeMap<String, Parts> = all.iter().map(one).collect();
    let server = Evil::start(&e.net, move |asked| {
        let name = asked.path.split('/').nth(2).unwrap_or_default();
        images.get(name).map_or_else(|| found("application/json", b"{}"), |parts| parts.answer(asked))
    });
    let mut wrong = Vec::new();
    for (name, _, want) in all {
        let image = format!("{}/{name}", server.host);
        let said = e.dhow(["pull", "-q", &image]);
        // On top of another layer a name may be settled that alone is not.
        wrong.extend(judge("pull", name, if name.starts_with("gzip") { Refused } else { want }, &said));
        if said.code == 0
            && (name.contains("link") || name.contains("hard") || name.contains("xattr") || name == "redirect")
        {
            let ran = e.dhow(["run", "--rm", &image, "sh", "-c", "cat /h /l /d/* /a/* 2>/dev/null; echo end"]);
            assert!(!ran.out.contains("alive") && ran.out.ends_with("end\n"), "{name}: {ran:?}");
        }
        canary.check(name);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    forget_all(&e, &empty);
    e.alive();
}

/// The same archives as uploads into a container, running and stopped: there whiteouts are names like any other, and what is
/// absent can be no link's target.
#[test]
fn copied_archives_stay_inside() {
    need_root!();
    let mut e = Engine::with_busybox();
    let canary = Canary::new();
    let before = e.stored();
    e.dhow(["create", "--name", "still", "busybox"]).ok();
    e.dhow(["run", "-d", "--name", "run", "-v", "/volume", "busybox", "sleep", "1d"]).ok();
    let mut wrong = Vec::new();
    for (n, (name, archive, want)) in archives(canary.path()).into_iter().enumerate() {
        let (container, path) = [("still", "/"), ("run", "/tmp"), ("run", "/volume")][n % 3];
        let (code, text) = e.raw("PUT", &format!("/containers/{container}/archive?path={path}"), &archive);
        let own = name.starts_with("whiteout") || name.starts_with("device") || name.starts_with("opaque");
        let right = match want {
            Refused if !own => code >= 400,
            Taken if !own => code == 200,
            _ => code == 200 || code >= 400,
        };
        if !right || code != 200 && !text.contains("message") || text.contains("panic") {
            wrong.push(format!("{name} in {container}:{path}: want {want:?}, got {code} {text}"));
        }
        canary.check(name);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Whatever was made there, reading it again leads nowhere either.
    for (container, path) in [("still", "/etc"), ("run", "/tmp"), ("run", "/volume")] {
        let (code, text) = e.raw("GET", &format!("/containers/{container}/archive?path={path}"), b"");
        assert!(code == 200 && !text.contains("alive"), "{container}:{path}: {code}");
    }
    e.dhow(["rm", "-f", "-v", "still", "run"]).ok();
    canary.check("rm");
    wait_for("the stores to be as they were", || (e.stored() == before).then_some(()));
    e.alive();
}

#[test]
fn a_bomb_is_given_up() {
    need_root!();
    let mut e = Engine::start(&[]);
    let before = e.stored_at_first();
    e.import("bomb", &bomb()).fails(1, "compression ratio of the layer exceeds the limit of 20");
    assert_eq!(e.stored(), before);
    e.alive();
}
