//! How much processor time a million lines of a hundred bytes cost: from a pipe into the log, and from the log to a socket.
//!
//! `log_speed DIRECTORY [json-file|local] [LINES]`

use rustix::time::{ClockId, clock_gettime};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Instant;
use supervisor::log::{Format, Query, Reader, Record, STDOUT, Writer};
use supervisor::protocol::LogFile;

fn cpu() -> f64 {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    t.tv_sec as f64 * 1e3 + t.tv_nsec as f64 / 1e6
}

fn main() {
    let mut args = std::env::args().skip(1);
    let directory = args.next().expect("a directory");
    let format = match args.next().as_deref() {
        Some("local") => Format::Local,
        _ => Format::Json,
    };
    let lines: usize = args.next().map_or(1_000_000, |n| n.parse().expect("a number"));
    let path = Path::new(&directory).join("speed.log");
    let _ = std::fs::remove_file(&path);
    let (mut from, mut to) = std::io::pipe().expect("a pipe");
    let writer = std::thread::spawn(move || {
        let mut text = Vec::new();
        for n in 0..lines {
            let _ = writeln!(text, "{n:0>99}");
            if text.len() >= 64_000 {
                to.write_all(&text).expect("write");
                text.clear();
            }
        }
        to.write_all(&text).expect("write");
    });
    let mut log = Writer::open(format, &LogFile::new(path.clone())).expect("log");
    let (start, cpu0) = (Instant::now(), cpu());
    let mut buffer = vec![0; 64 << 10];
    let mut reads = 0;
    loop {
        let n = from.read(&mut buffer).expect("read");
        if n == 0 {
            break;
        }
        reads += 1;
        log.append(STDOUT, &buffer[..n]);
    }
    log.finish(STDOUT);
    writer.join().expect("writer");
    println!("written  {:7.1} ms, cpu {:7.1} ms, {reads} reads", start.elapsed().as_secs_f64() * 1e3, cpu() - cpu0);
    for _ in 0..2 {
        let (start, cpu0) = (Instant::now(), cpu());
        let mut sink = std::fs::File::options().write(true).open("/dev/null").expect("null");
        let mut reader = Reader::open(&path, format, Query::default()).expect("log");
        let mut record = Record::default();
        let mut out = Vec::new();
        let mut count = 0;
        while reader.fill().expect("read") {
            while reader.take(&mut record) {
                count += 1;
                out.extend_from_slice(&[1, 0, 0, 0]);
                out.extend_from_slice(&(record.line.len() as u32).to_be_bytes());
                out.extend_from_slice(&record.line);
            }
            sink.write_all(&out).expect("write");
            out.clear();
        }
        println!(
            "read     {:7.1} ms, cpu {:7.1} ms, {count} records",
            start.elapsed().as_secs_f64() * 1e3,
            cpu() - cpu0
        );
    }
    let _ = std::fs::remove_file(&path);
}
