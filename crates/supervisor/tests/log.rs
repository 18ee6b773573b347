//! The log against its own reader: whatever is written comes back, whole and in order, through rotation, truncation and
//! a full disk.

use proptest::prelude::*;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use supervisor::log::{CHUNK, Format, Query, Reader, Record, STDERR, STDOUT, Writer};
use supervisor::protocol::LogFile;

/// A directory of the test's own.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("dhow-log-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn log(&self) -> PathBuf {
        self.0.join("json.log")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn written_to(scratch: &Scratch, max_size: Option<u64>, max_file: u32) -> Writer {
    Writer::open(Format::Json, &LogFile { max_size, max_file, ..LogFile::new(scratch.log()) }).unwrap()
}

fn read(path: &Path, query: Query) -> Vec<Record> {
    let mut reader = Reader::open(path, Format::Json, query).unwrap();
    let (mut all, mut record) = (Vec::new(), Record::default());
    while reader.next(&mut record).unwrap() {
        all.push(record.clone());
    }
    all
}

fn lines(records: &[Record]) -> Vec<String> {
    records.iter().map(|r| String::from_utf8(r.line.clone()).unwrap()).collect()
}

/// As Go decodes: every byte that is not part of valid UTF-8 becomes a replacement character.
fn as_go_reads(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes;
    loop {
        match std::str::from_utf8(rest) {
            Ok(text) => {
                out.extend_from_slice(text.as_bytes());
                return out;
            }
            Err(error) => {
                out.extend_from_slice(&rest[..error.valid_up_to()]);
                out.extend_from_slice("\u{fffd}".as_bytes());
                rest = &rest[error.valid_up_to() + 1..];
            }
        }
    }
}

/// Compares and, of long lists, shows only where they part.
#[track_caller]
fn same(left: &[String], right: &[String]) {
    let at = left.iter().zip(right).take_while(|(l, r)| l == r).count();
    assert_eq!((left.get(at), left.len()), (right.get(at), right.len()), "they part at {at}");
}

fn text_of(records: &[Record], stream: u8) -> Vec<u8> {
    records.iter().filter(|r| r.stream == stream).flat_map(|r| r.line.clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Arbitrary bytes on both streams, in arbitrary pieces.
    #[test]
    fn what_goes_in_comes_out(pieces in proptest::collection::vec(
        (any::<bool>(), prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'a'), Just(b'"')], 0..50),
            "\\PC{0,40}\n?".prop_map(String::into_bytes),
            (0usize..3 * CHUNK).prop_map(|n| vec![b'x'; n]),
            (0usize..CHUNK).prop_map(|n| "ä€😀".repeat(n / 8).into_bytes()),
        ]), 0..30)) {
        let scratch = Scratch::new();
        let mut writer = written_to(&scratch, None, 1);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        for (to_err, bytes) in &pieces {
            writer.append(if *to_err { STDERR } else { STDOUT }, bytes);
            if *to_err { &mut err } else { &mut out }.extend_from_slice(bytes);
        }
        writer.finish(STDOUT);
        writer.finish(STDERR);
        let records = read(&scratch.log(), Query::default());
        prop_assert_eq!(text_of(&records, STDOUT), as_go_reads(&out));
        prop_assert_eq!(text_of(&records, STDERR), as_go_reads(&err));
        prop_assert!(records.windows(2).all(|w| w[0].time_ns < w[1].time_ns));
        // Every line of the file is a document that others can read.
        for line in std::fs::read_to_string(scratch.log()).unwrap().lines() {
            let document: serde_json::Value = serde_json::from_str(line).unwrap();
            prop_assert!(document["log"].as_str().unwrap().len() <= 3 * CHUNK + 1);
        }
        let tail = pieces.len() as u64 / 2;
        let expected = &records[records.len().saturating_sub(tail as usize)..];
        prop_assert_eq!(read(&scratch.log(), Query { tail: Some(tail), ..Query::default() }), expected);
    }
}

#[test]
fn a_line_is_written_as_docker_writes_it() {
    let scratch = Scratch::new();
    let mut writer = written_to(&scratch, None, 1);
    writer.append(STDERR, b"<b>\t\"x\"\r\n");
    let text = std::fs::read_to_string(scratch.log()).unwrap();
    let (head, time) = text.split_at(text.find("\"time\"").unwrap());
    assert_eq!(head, r#"{"log":"\u003cb\u003e\u0009\"x\"\r\n","stream":"stderr","#);
    assert!(time.ends_with("Z\"}\n") && time.starts_with("\"time\":\"20"), "{time}");
}

#[test]
fn long_lines_are_cut_at_sixteen_kibibytes() {
    let scratch = Scratch::new();
    let mut writer = written_to(&scratch, None, 1);
    let mut line = vec![b'a'; CHUNK + 1];
    line.push(b'\n');
    writer.append(STDOUT, &line[..10]);
    writer.append(STDOUT, &line[10..]);
    writer.append(STDOUT, &[b'b'; CHUNK]);
    writer.append(STDOUT, b"\nrest");
    writer.finish(STDOUT);
    let lengths: Vec<usize> = read(&scratch.log(), Query::default()).iter().map(|r| r.line.len()).collect();
    assert_eq!(lengths, [CHUNK, 2, CHUNK, 1, 4]);
}

#[test]
fn files_rotate_in_dockers_order_and_none_grows_past_its_limit() {
    let scratch = Scratch::new();
    let mut writer = written_to(&scratch, Some(1000), 3);
    for number in 0..100 {
        writer.append(STDOUT, format!("line {number}\n").as_bytes());
    }
    let mut names: Vec<String> =
        std::fs::read_dir(&scratch.0).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["json.log", "json.log.1", "json.log.2"]);
    for name in names {
        assert!(std::fs::metadata(scratch.0.join(name)).unwrap().len() <= 1000);
    }
    let kept = lines(&read(&scratch.log(), Query::default()));
    let first: usize = kept[0].trim()[5..].parse().unwrap();
    let expected: Vec<String> = (first..100).map(|n| format!("line {n}\n")).collect();
    assert_eq!(kept, expected);
    assert!(kept.len() > 20);
    for tail in 0..kept.len() {
        let read = lines(&read(&scratch.log(), Query { tail: Some(tail as u64), ..Query::default() }));
        assert_eq!(read, kept[kept.len() - tail..]);
    }
}

#[test]
fn since_and_until_include_their_moment() {
    let scratch = Scratch::new();
    let mut text = String::new();
    for second in 0..10 {
        text +=
            &format!("{{\"log\":\"{second}\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-01T00:00:0{second}Z\"}}\n");
    }
    std::fs::write(scratch.log(), text).unwrap();
    let start = read(&scratch.log(), Query::default())[0].time_ns;
    let query =
        Query { since_ns: Some(start + 3_000_000_000), until_ns: Some(start + 5_000_000_000), ..Query::default() };
    assert_eq!(lines(&read(&scratch.log(), query)), ["3\n", "4\n", "5\n"]);
}

#[test]
fn a_torn_end_is_healed_by_the_writer_and_skipped_by_the_reader() {
    let scratch = Scratch::new();
    let mut writer = written_to(&scratch, None, 1);
    writer.append(STDOUT, b"whole\n");
    drop(writer);
    let mut file = std::fs::OpenOptions::new().append(true).open(scratch.log()).unwrap();
    file.write_all(b"{\"log\":\"torn").unwrap();
    assert_eq!(lines(&read(&scratch.log(), Query::default())), ["whole\n"]);
    assert_eq!(lines(&read(&scratch.log(), Query { tail: Some(1), ..Query::default() })), ["whole\n"]);
    let mut writer = written_to(&scratch, None, 1);
    writer.append(STDOUT, b"next\n");
    assert_eq!(lines(&read(&scratch.log(), Query::default())), ["whole\n", "next\n"]);
}

/// A reader on a thread of its own, and how to tell it that there will be no more.
fn follow(
    path: PathBuf,
    tail: Option<u64>,
    seen: Arc<AtomicU32>,
) -> (std::thread::JoinHandle<Vec<Record>>, std::io::PipeWriter) {
    let (stop, stopper) = std::io::pipe().unwrap();
    let query = Query { follow: Some(OwnedFd::from(stop)), tail, ..Query::default() };
    // Opened before the thread starts: what is written from now on is seen.
    let mut reader = Reader::open(&path, Format::Json, query).unwrap();
    let thread = std::thread::spawn(move || {
        let (mut all, mut record) = (Vec::new(), Record::default());
        while reader.next(&mut record).unwrap() {
            all.push(record.clone());
            seen.fetch_add(1, Ordering::Release);
        }
        all
    });
    (thread, stopper)
}

#[test]
fn followers_see_every_line_once_through_rotation() {
    const LINES: usize = 20_000;
    for max_file in [2u32, 5] {
        let scratch = Scratch::new();
        let mut writer = written_to(&scratch, Some(200_000), max_file);
        writer.append(STDOUT, b"line 0\nline 1\n");
        let seen = [Arc::new(AtomicU32::new(1)), Arc::new(AtomicU32::new(0))];
        let (late, stop_late) = follow(scratch.log(), Some(1), seen[0].clone());
        let (early, stop_early) = follow(scratch.log(), None, seen[1].clone());
        let mut number = 2;
        while number < LINES {
            let mut piece = String::new();
            for _ in 0..7 {
                piece += &format!("line {number}\n");
                number += 1;
            }
            // Torn anywhere: the writer puts lines together again.
            let (a, b) = piece.as_bytes().split_at(number % piece.len());
            writer.append(STDOUT, a);
            writer.append(STDOUT, b);
            // Two files hold 4000 lines at least: nobody may be further behind, or what he needs is gone.
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
            while seen.iter().any(|seen| (seen.load(Ordering::Acquire) as usize) + 2000 < number) {
                assert!(std::time::Instant::now() < deadline, "a follower does not get on");
                std::thread::yield_now();
            }
        }
        drop((stop_early, stop_late));
        let expected: Vec<String> = (0..number).map(|n| format!("line {n}\n")).collect();
        same(&lines(&early.join().unwrap()), &expected);
        same(&lines(&late.join().unwrap()), &expected[1..]);
    }
}

#[test]
fn followers_survive_truncation_and_a_log_that_is_not_there_yet() {
    let scratch = Scratch::new();
    let (stop, stopper) = std::io::pipe().unwrap();
    let query = Query { follow: Some(OwnedFd::from(stop)), ..Query::default() };
    let mut reader = Reader::open(&scratch.log(), Format::Json, query).unwrap();
    let mut writer = written_to(&scratch, None, 1);
    let mut record = Record::default();
    writer.append(STDOUT, b"before, and rather long\n");
    assert!(reader.next(&mut record).unwrap());
    assert_eq!(record.line, b"before, and rather long\n");
    std::fs::OpenOptions::new().write(true).open(scratch.log()).unwrap().set_len(0).unwrap();
    writer.append(STDOUT, b"after\n");
    assert!(reader.next(&mut record).unwrap());
    assert_eq!(record.line, b"after\n");
    writer.append(STDERR, b"last\n");
    drop(stopper);
    assert!(reader.next(&mut record).unwrap());
    assert_eq!(record.line, b"last\n");
    assert!(!reader.next(&mut record).unwrap());
}

#[test]
fn a_full_disk_costs_lines_that_are_counted_and_nothing_else() {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    let scratch = Scratch::new();
    if !rustix::process::geteuid().is_root() {
        panic!("this test mounts a small file system: run it as root");
    }
    // A namespace of this thread's own: the mount is gone with it whatever happens.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            sys::unshare(sys::clone::flags::NEWNS).unwrap();
            rustix::mount::mount_change(
                "/",
                rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC,
            )
            .unwrap();
            let options = std::ffi::CString::new("size=128k").unwrap();
            mount("none", &scratch.0, "tmpfs", MountFlags::empty(), options.as_c_str()).unwrap();
            let filler = scratch.0.join("filler");
            std::fs::write(&filler, vec![0; 64 << 10]).unwrap();
            let mut writer = written_to(&scratch, None, 1);
            for number in 0..2000 {
                writer.append(STDOUT, format!("line {number} {}\n", "x".repeat(100)).as_bytes());
            }
            assert!(writer.dropped() > 0);
            std::fs::remove_file(&filler).unwrap();
            writer.append(STDOUT, b"room again\n");
            assert_eq!(writer.dropped(), 0);
            let all = lines(&read(&scratch.log(), Query::default()));
            let kept = all.len() - 2;
            for (number, line) in all[..kept].iter().enumerate() {
                assert_eq!(*line, format!("line {number} {}\n", "x".repeat(100)));
            }
            let note = format!("dhow: {} log lines were dropped: No space left on device (os error 28)\n", 2000 - kept);
            assert_eq!(all[kept..], [note, "room again\n".into()]);
            unmount(&scratch.0, UnmountFlags::DETACH).unwrap();
        });
    });
}
