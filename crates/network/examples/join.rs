//! How long a join and a release take, in a network namespace of its own: `join [rounds] [containers that are there]`.

use network::{Config, Join, Networks, Protocol, PublishedPort};
use std::time::{Duration, Instant};

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|a| a.parse::<u32>().ok());
    let rounds = arguments.next().unwrap_or(200);
    let there = arguments.next().unwrap_or(0);
    if let Err(error) = sys::unshare(sys::clone::flags::NEWNET) {
        return eprintln!("a network namespace cannot be made: {error}");
    }
    let run = std::env::temp_dir().join(format!("dhow-join-{}", std::process::id()));
    if let Err(error) = measure(&run, rounds, there) {
        eprintln!("{error}");
    }
    let _ = std::fs::remove_dir_all(run);
}

fn measure(run: &std::path::Path, rounds: u32, there: u32) -> network::Result<()> {
    let networks = Networks::open(run, Config::default())?;
    let id = |n: u32| format!("{n:08x}").repeat(8);
    let mut kept = Vec::new();
    for n in 0..there {
        kept.push(networks.join(&id(n), &Join::default())?);
    }
    let published = PublishedPort {
        proto: Protocol::Tcp,
        container_port: 80,
        host_ip: None,
        host_port: Some(8080),
        host_port_end: None,
    };
    for (what, ports) in [("plain", vec![]), ("one port", vec![published])] {
        let wants = Join { ports, ..Join::default() };
        let (mut joins, mut releases) = (Vec::new(), Vec::new());
        for n in 0..rounds {
            let start = Instant::now();
            let lease = networks.join(&id(there + n), &wants)?;
            joins.push(start.elapsed());
            // As in life: between the two a container runs for a moment, and then its namespace goes.
            std::thread::sleep(Duration::from_millis(5));
            drop(lease);
            let start = Instant::now();
            for error in networks.release(&id(there + n)) {
                eprintln!("{error}");
            }
            releases.push(start.elapsed());
            std::thread::sleep(Duration::from_millis(5));
        }
        joins.sort();
        releases.sort();
        let middle = |list: &[Duration]| list.get(list.len() / 2).copied().unwrap_or_default();
        let most = |list: &[Duration]| list.last().copied().unwrap_or_default();
        println!(
            "{what}, {there} there: join median {:?} max {:?}; release median {:?} max {:?}",
            middle(&joins),
            most(&joins),
            middle(&releases),
            most(&releases)
        );
    }
    for error in networks.recover(&[]).into_iter().chain(networks.teardown()) {
        eprintln!("{error}");
    }
    Ok(())
}
