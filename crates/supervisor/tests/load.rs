//! Rotation under load, with followers that keep up, that do not, and that stand still.
//!
//! `DHOW_TEST_LOG_MB` says how many megabytes go through (12 by default).

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use supervisor::log::{Format, Query, Reader, Record, STDOUT, Writer};
use supervisor::protocol::LogFile;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("dhow-load-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn log(&self) -> PathBuf {
        self.0.join("x.log")
    }

    fn names(&self) -> Vec<String> {
        let all = std::fs::read_dir(&self.0).unwrap();
        let mut all: Vec<String> = all.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        all.sort();
        all
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn megabytes() -> usize {
    std::env::var("DHOW_TEST_LOG_MB").ok().and_then(|n| n.parse().ok()).unwrap_or(12)
}

const LINE: usize = 100;

/// Line `number`: its number and as many dots as make it a hundred bytes.
fn line(number: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(number.to_string().as_bytes());
    out.resize(start + LINE - 1, b'.');
    out.push(b'\n');
}

/// Follows on a thread of its own; checks each line, and returns how many there were. It begins when told to.
struct Follower {
    thread: JoinHandle<usize>,
    stop: std::io::PipeWriter,
    go: mpsc::Sender<()>,
}

impl Follower {
    fn new(path: &Path, format: Format, each: Duration) -> Follower {
        let (stop, stopper) = std::io::pipe().unwrap();
        let query = Query { follow: Some(OwnedFd::from(stop)), ..Query::default() };
        let mut reader = Reader::open(path, format, query).unwrap();
        let (go, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            told.recv().unwrap();
            let (mut record, mut expected) = (Record::default(), Vec::new());
            let mut count = 0;
            while reader.fill().unwrap() {
                while reader.take(&mut record) {
                    expected.clear();
                    line(count, &mut expected);
                    assert!(record.line == expected, "line {count}: {}", String::from_utf8_lossy(&record.line));
                    count += 1;
                }
                let until = Instant::now() + each;
                while Instant::now() < until {
                    std::thread::yield_now();
                }
            }
            count
        });
        Follower { thread, stop: stopper, go }
    }

    fn end(self) -> usize {
        let _ = self.go.send(());
        drop(self.stop);
        self.thread.join().unwrap()
    }
}

fn five_followers(format: Format, name: &str, compress: bool, max_size: u64) {
    let scratch = Scratch::new(name);
    let log = LogFile { max_size: Some(max_size), max_file: 3, compress, ..LogFile::new(scratch.log()) };
    let mut writer = Writer::open(format, &log).unwrap();
    let busy = [0, 0, 0, 300].map(|us| Follower::new(&scratch.log(), format, Duration::from_micros(us)));
    let still = Follower::new(&scratch.log(), format, Duration::ZERO);
    for follower in &busy {
        follower.go.send(()).unwrap();
    }
    let total = megabytes() * 1_000_000 / LINE;
    let (mut piece, mut number) = (Vec::new(), 0);
    let mut longest = Duration::ZERO;
    while number < total {
        piece.clear();
        while piece.len() < 60_000 {
            line(number, &mut piece);
            number += 1;
        }
        let (a, b) = piece.split_at(number % piece.len());
        let start = Instant::now();
        writer.append(STDOUT, a);
        writer.append(STDOUT, b);
        longest = longest.max(start.elapsed());
        if let Some(work) = writer.compression() {
            let done = work.run().is_ok();
            writer.compressed(done);
        }
    }
    // All of it is kept for the one that stands still, and it has held nobody up.
    assert!(scratch.names().iter().any(|name| name.contains(".old-")), "{:?}", scratch.names());
    assert!(longest < Duration::from_secs(5), "{longest:?}");
    for follower in busy {
        assert_eq!(follower.end(), number);
    }
    assert_eq!(still.end(), number);
    // Nobody needs it any more: the next rotation takes it away.
    while scratch.names().iter().any(|name| name.contains(".old-")) {
        writer.append(STDOUT, &piece);
    }
    assert!(scratch.names().len() <= 3, "{:?}", scratch.names());
}

#[test]
fn five_followers_of_a_json_log() {
    five_followers(Format::Json, "json", false, 1_000_000);
}

#[test]
fn five_followers_of_a_json_log_in_tiny_files() {
    five_followers(Format::Json, "tiny", false, 100_000);
}

#[test]
fn five_followers_of_a_local_log() {
    five_followers(Format::Local, "local", false, 1_000_000);
}

#[test]
fn five_followers_of_a_compressed_log() {
    five_followers(Format::Local, "packed", true, 1_000_000);
}

#[test]
fn compressed_files_are_read_as_if_they_were_not() {
    for format in [Format::Json, Format::Local] {
        let scratch = Scratch::new(if format == Format::Json { "gz-json" } else { "gz-local" });
        let log = LogFile { max_size: Some(50_000), max_file: 4, compress: true, ..LogFile::new(scratch.log()) };
        let mut writer = Writer::open(format, &log).unwrap();
        let mut all = Vec::new();
        for number in 0..2000 {
            line(number, &mut all);
            writer.append(STDOUT, &all[number * LINE..]);
            while let Some(work) = writer.compression() {
                work.run().unwrap();
                writer.compressed(true);
            }
        }
        assert_eq!(scratch.names(), ["x.log", "x.log.1.gz", "x.log.2.gz", "x.log.3.gz"]);
        let read = |query: Query| {
            let mut reader = Reader::open(&scratch.log(), format, query).unwrap();
            let (mut text, mut times, mut record) = (Vec::new(), Vec::new(), Record::default());
            while reader.next(&mut record).unwrap() {
                text.extend_from_slice(&record.line);
                times.push(record.time_ns);
            }
            (text, times)
        };
        let (text, times) = read(Query::default());
        assert!(text.len() > 500 * LINE && all.ends_with(&text));
        for tail in [0, 1, 300, 400, 700, times.len(), times.len() + 1] {
            let (some, _) = read(Query { tail: Some(tail as u64), ..Query::default() });
            assert!(text.ends_with(&some) && some.len() == tail.min(times.len()) * LINE, "{tail}");
        }
        for from in [0, 1, 300, times.len() - 1] {
            let (some, _) = read(Query { since_ns: Some(times[from]), ..Query::default() });
            assert!(text.ends_with(&some) && some.len() == (times.len() - from) * LINE, "{from}");
        }
    }
}

#[test]
fn what_a_killed_writer_left_is_put_right() {
    let scratch = Scratch::new("killed");
    let log = LogFile { max_size: Some(2_000), max_file: 4, ..LogFile::new(scratch.log()) };
    let mut writer = Writer::open(Format::Local, &log).unwrap();
    for number in 0..200 {
        let mut text = Vec::new();
        line(number, &mut text);
        writer.append(STDOUT, &text);
    }
    drop(writer);
    // In the middle of a rotation, in the middle of a compression, and with files for a follower that has gone.
    std::fs::rename(scratch.0.join("x.log.2"), scratch.0.join("x.log.3")).unwrap();
    std::fs::write(scratch.0.join("x.log.gz~"), "half").unwrap();
    std::fs::write(scratch.0.join("x.log.old-7"), "old").unwrap();
    // And half a message at its end.
    let mut torn = std::fs::read(scratch.log()).unwrap();
    let whole = torn.len();
    torn.extend_from_slice(&[0, 0, 0, 50, 10]);
    std::fs::write(scratch.log(), &torn).unwrap();
    let mut writer = Writer::open(Format::Local, &log).unwrap();
    assert_eq!(std::fs::metadata(scratch.log()).unwrap().len() as usize, whole);
    assert_eq!(scratch.names(), ["x.log", "x.log.1", "x.log.2"]);
    writer.append(STDOUT, b"next\n");
    let mut reader = Reader::open(&scratch.log(), Format::Local, Query { tail: Some(2), ..Query::default() }).unwrap();
    let mut record = Record::default();
    let mut expected = Vec::new();
    line(199, &mut expected);
    assert!(reader.next(&mut record).unwrap() && record.line == expected);
    assert!(reader.next(&mut record).unwrap() && record.line == b"next\n");
    assert!(!reader.next(&mut record).unwrap());
}
