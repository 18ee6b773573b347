//! What a container says reaches its log by whatever way it is written.

use crate::world::World;
use std::io::Read;
use supervisor::log::{Format, Query, Reader, Record};
use supervisor::protocol::*;

fn lines(world: &World, format: Format) -> Vec<String> {
    let mut reader = Reader::open(&world.log_path(), format, Query::default()).unwrap();
    let (mut all, mut record) = (Vec::new(), Record::default());
    while reader.next(&mut record).unwrap() {
        all.push(String::from_utf8(record.line.clone()).unwrap());
    }
    all
}

fn counted(count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("{n}\n")).collect()
}

#[test]
fn a_local_log_is_compressed_beside_the_container() {
    let world = World::new();
    // The last word comes when the disk holds at least one compressed file, so the container waits for its own log.
    let mut launch = world.launch("seq 1 100000; read x; echo end");
    launch.open_stdin = true;
    let file = LogFile { max_size: Some(1 << 20), max_file: 100, compress: true, ..LogFile::new(world.log_path()) };
    launch.log = Log::Local(file);
    let (running, mut client) = world.start_attached(&mut launch);
    let packed = world.dir.join("state/json.log.1.gz");
    let deadline = std::time::Instant::now() + crate::world::PATIENCE;
    while !packed.exists() {
        assert!(std::time::Instant::now() < deadline, "nothing is compressed");
        client.drink();
    }
    client.write("\n");
    client.until("end\n");
    assert_eq!(running.wait().code, 0);
    let mut expected = counted(100_000);
    expected.push("end\n".into());
    assert!(lines(&world, Format::Local) == expected);
}

#[test]
fn a_log_apart_says_all_when_there_is_room() {
    let world = World::new();
    let mut launch = world.launch("seq 1 20000; echo $0 >&2; printf rest");
    launch.log = Log::JsonFile(LogFile { buffer: Some(64 << 20), ..LogFile::new(world.log_path()) });
    let running = world.start(&launch);
    assert_eq!(running.wait().code, 0);
    assert_eq!(world.log(2), "/bin/sh\n");
    assert!(world.log(1) == counted(20_000).concat() + "rest");
}

#[test]
fn a_log_apart_that_is_stopped_holds_nobody_up_and_counts_what_it_lost() {
    let world = World::new();
    let mut launch = world.launch("read x; seq 1 1000000; echo done >&2; read y; echo last");
    launch.open_stdin = true;
    launch.log = Log::JsonFile(LogFile { buffer: Some(256 << 10), ..LogFile::new(world.log_path()) });
    let (running, mut client) = world.start_attached(&mut launch);
    let children = format!("/proc/{0}/task/{0}/children", running.record.supervisor);
    let mut text = String::new();
    std::fs::File::open(children).unwrap().read_to_string(&mut text).unwrap();
    let others = text.split_whitespace().map(|pid| pid.parse::<i32>().unwrap());
    let keeper = others.filter(|pid| *pid != running.record.pid).collect::<Vec<_>>();
    let [keeper] = keeper[..] else { panic!("{text}") };
    sys::process::kill(keeper, 19).unwrap();
    client.write("\n");
    client.until_err("done\n");
    sys::process::kill(keeper, 18).unwrap();
    client.write("\n");
    assert_eq!(running.wait().code, 0);
    let all = lines(&world, Format::Json);
    // Whole lines in their order, and where some are missing their number.
    let (mut next, mut noted) = (1usize, 0usize);
    for line in &all {
        if let Some(rest) = line.strip_prefix("dhow: ") {
            let lost: usize = rest.split(' ').next().unwrap().parse().unwrap();
            assert!(line.ends_with(" log lines were dropped: the log did not keep up\n"), "{line}");
            (next, noted) = (next + lost, noted + 1);
        } else if let Ok(number) = line.trim_end().parse::<usize>() {
            assert_eq!(number, next, "{line}");
            next += 1;
        }
    }
    assert!(noted > 0 && all.len() < 1_000_000, "{noted} of {}", all.len());
    assert!(next > 1_000_000 - 2, "{next}");
}
