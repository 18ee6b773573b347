//! What an archive costs: time in proportion to its length, and nothing that stays. Each test runs in a process of its
//! own, where nobody else's work is measured.

use crate::scene::{Scene, archive, header, member, open, pax};
use layer::unpack::Options;
use layer::{Layers, Limits, unpack};
use oci::image::Compression;
use std::os::fd::AsFd;
use std::process::Command;

/// Runs the test of this name alone in a process, its files in memory, where no disk makes a difference; true in that
/// process.
fn alone(name: &str) -> bool {
    const MARK: &str = "DHOW_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let me = std::env::current_exe().unwrap();
    let done = Command::new(me)
        .args([name, "--exact", "--test-threads=1"])
        .env(MARK, "1")
        .env("TMPDIR", "/dev/shm")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&done.stderr));
    false
}

fn cpu() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// Archives of `n` entries that speak of whiteouts.
fn whiteouts(n: usize) -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let file = |name: String| member(b'0', name.as_bytes(), b"", b"");
    let replaced = |i: usize| match i % 3 {
        0 => member(b'5', b"d/e", b"", b""),
        1 => member(b'0', b"d/e/f", b"", b""),
        _ => member(b'0', b"d/e", b"", b""),
    };
    let each = |make: &dyn Fn(usize) -> String| (0..n).map(|i| file(make(i))).collect::<Vec<_>>();
    vec![
        ("the same opaque one", each(&|_| "d/.wh..wh..opq".into())),
        ("opaque ones in turn", each(&|i| format!("d{}/.wh..wh..opq", i % 50))),
        ("opaque ones of as many directories", each(&|i| format!("d{i}/.wh..wh..opq"))),
        ("the root's", each(&|_| ".wh..wh..opq".into())),
        ("many in one directory", each(&|i| format!("d/.wh.{i}"))),
        ("one file again and again", each(&|i| if i % 2 == 0 { "d/f".into() } else { "d/.wh.f".into() })),
        ("one directory again and again", each(&|i| if i % 2 == 0 { "d/e/f".into() } else { "d/.wh.e".into() })),
        ("a file in place of a directory", (0..n).map(replaced).collect()),
        ("deep ones", each(&|i| format!("{}.wh.{i}", "d/".repeat(30)))),
    ]
}

#[test]
fn whiteouts_take_time_in_proportion() {
    if !alone("cost::whiteouts_take_time_in_proportion") {
        return;
    }
    let scene = Scene::new();
    let time = |members: &[Vec<u8>]| {
        let to = scene.dir("to");
        let tar = archive(members);
        let begun = cpu();
        unpack(open(&to).as_fd(), b"", tar.as_slice(), &Options::layer(&Limits::default())).unwrap();
        let taken = cpu() - begun;
        std::fs::remove_dir_all(&to).unwrap();
        taken
    };
    const SMALL: usize = 100;
    const TIMES: usize = 16;
    for ((what, small), (_, large)) in whiteouts(SMALL).into_iter().zip(whiteouts(SMALL * TIMES)) {
        // The better of two: other work of the machine only adds.
        let best = |members: &[Vec<u8>]| (0..2).map(|_| time(members)).fold(f64::MAX, f64::min);
        let (a, b) = (best(&small), best(&large));
        // What is quadratic would take 256 times as long.
        assert!(b < a.max(0.002) * 4.0 * TIMES as f64, "{what}: {SMALL} take {a} s, {TIMES} times as many {b} s");
    }
}

#[test]
fn depth_takes_time_in_proportion() {
    if !alone("cost::depth_takes_time_in_proportion") {
        return;
    }
    let scene = Scene::new();
    let time = |depth: usize| {
        let below = "/d".repeat(depth - 1);
        let entries = (0..6400 / depth).flat_map(|i| {
            let path = format!("t{i}{below}/f");
            [pax(&[("path", &path)]), member(b'0', b"x", b"", b"")]
        });
        let to = scene.dir("to");
        let tar = archive(&entries.collect::<Vec<_>>());
        let begun = cpu();
        unpack(open(&to).as_fd(), b"", tar.as_slice(), &Options::layer(&Limits::default())).unwrap();
        let taken = cpu() - begun;
        std::fs::remove_dir_all(&to).unwrap();
        taken
    };
    // As many directories in all, made by few deep entries or by many that are less deep.
    let best = |depth: usize| (0..2).map(|_| time(depth)).fold(f64::MAX, f64::min);
    let (a, b) = (best(50), best(500));
    assert!(b < a.max(0.005) * 4.0, "50 deep takes {a} s, 500 deep {b} s");
}

/// Archives and streams that are no layers, each in its own way, by number.
fn malformed(n: usize) -> (Compression, Vec<u8>) {
    let good = archive(&[member(b'0', b"d/f", b"", &vec![b'x'; 9000]), member(b'2', b"l", b"d", b"")]);
    let cut = good[..700 + n * 37 % 9000].to_vec();
    let mut flipped = good.clone();
    flipped[n * 61 % 1500] ^= 1 << (n % 8);
    match n % 10 {
        0 => (Compression::None, cut),
        1 => (Compression::Gzip, good),
        2 => (Compression::Zstd, good),
        3 => (Compression::Gzip, [&[0x1f, 0x8b, 8, 0][..], &vec![n as u8; 300]].concat()),
        4 => (Compression::Zstd, [&[0x28, 0xb5, 0x2f, 0xfd][..], &vec![n as u8; 300]].concat()),
        5 => (Compression::None, archive(&[member(b'0', b"a/../b", b"", b"")])),
        6 => (Compression::None, [flipped, b"more".to_vec()].concat()),
        7 => (Compression::None, archive(&[pax(&[("size", "99999999999")]), member(b'0', b"f", b"", b"x")])),
        8 => (Compression::None, archive(&[header(b'0', b"f", b"", 1 << 32)])),
        _ => (Compression::None, archive(&[member(b'0', b"d/f", b"", b""), member(b'3', b"null", b"", b"")])),
    }
}

#[test]
fn malformed_layers_leave_nothing() {
    if !alone("cost::malformed_layers_leave_nothing") {
        return;
    }
    let rounds = std::env::var("DHOW_TEST_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let count = |dir: &str| std::fs::read_dir(dir).unwrap().count();
    let resident = || {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap();
        text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    let scene = Scene::new();
    let layers = Layers::open(&scene.0.join("layer")).unwrap();
    let apply = |n: usize| {
        let (compression, bytes) = malformed(n);
        let done = layers.apply(None, &mut bytes.as_slice(), compression, None, &Limits::default());
        assert!(done.is_err(), "{n}: {:?} {bytes:?}", done.unwrap());
    };
    let names = || scene.sh("find layer | sort");
    (0..50).for_each(apply);
    layers.settle();
    let before = (count("/proc/self/fd"), count("/proc/self/task"), resident(), names());
    (50..50 + rounds).for_each(apply);
    layers.settle();
    assert_eq!(count("/proc/self/fd"), before.0, "descriptors");
    assert!(count("/proc/self/task") <= before.1, "threads");
    assert!(resident() < before.2 + (8 << 20), "memory: from {} to {}", before.2, resident());
    assert_eq!(names(), before.3);
}
