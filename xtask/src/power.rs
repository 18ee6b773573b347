//! `cargo xtask vm power`: the power of the virtual machine is cut at random moments of its work, again and again.
//!
//! Each boot checks what the last one left (`xtask/vm/power.sh`), then pulls, creates, starts and removes, and says what has
//! been answered; the host hears it, kills QEMU, and tells the next boot what must be there and what may.

use crate::Outcome;
use crate::vm::Machine;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// The cut comes within so long of the beginning of the work; on an emulated processor a round takes a little less.
const WORK: Duration = Duration::from_secs(6);
/// What a container has synchronised is there when it is said. An image that was pulled, and a container's record, are on the
/// disk for good within a second or two (docs/adr/003); the kernel's own period, after which a removal is, is five.
const DURABLE: [(&str, Duration); 4] = [
    ("pull", Duration::from_secs(2)),
    ("write", Duration::ZERO),
    ("create", Duration::from_secs(2)),
    ("remove", Duration::from_secs(8)),
];
/// What the guest reads as its fourth disk.
const HEARD: &str = "heard.img";
const HEARD_SIZE: usize = 64 << 10;
/// A boot that has not begun its work by then has failed.
const PATIENCE: Duration = Duration::from_secs(600);

/// What the guest has said was answered, and when.
struct Answered {
    what: String,
    name: String,
    at: Instant,
}

/// Cuts the power so often, and looks once more after the last time.
pub fn cuts(machine: &Machine, dir: &Path, count: u32) -> Outcome {
    let begun = Instant::now();
    let mut seed = match std::env::var("DHOW_TEST_SEED") {
        Ok(text) => text.parse().map_err(|_| format!("DHOW_TEST_SEED={text} is no number"))?,
        Err(_) => SystemTime::UNIX_EPOCH.elapsed().map_or(1, |t| t.as_nanos() as u64 | 1),
    };
    eprintln!("+ {count} cuts, DHOW_TEST_SEED={seed}");
    machine.empty_disk("power.img")?;
    let mut heard = String::new();
    let (mut passed, mut failed) = (0, Vec::new());
    for round in 0..=count {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        // After the last cut there is only the look at what it left.
        let delay = if round == count { Duration::ZERO } else { Duration::from_millis(seed % WORK.as_millis() as u64) };
        let mut disk = heard.clone().into_bytes();
        disk.resize(HEARD_SIZE.max(disk.len()), 0);
        std::fs::write(dir.join(HEARD), disk).map_err(|e| format!("{HEARD}: {e}"))?;
        let boot = boot(machine, dir, round, delay)?;
        passed += boot.passed;
        if !boot.failed.is_empty() {
            let text = format!("boot {round}, after it had heard:\n{heard}{}", boot.failed.join("\n"));
            eprintln!("{text}");
            failed.push(text);
        }
        heard = boot.heard;
    }
    let wall = begun.elapsed().as_secs();
    eprintln!("  {count} cuts, {passed} passed, {} boots with failures, {wall} s", failed.len());
    match failed.is_empty() {
        true => Ok(()),
        false => Err(format!("{} of {} boots found something wrong", failed.len(), count + 1)),
    }
}

struct Boot {
    passed: u32,
    failed: Vec<String>,
    heard: String,
}

fn boot(machine: &Machine, dir: &Path, round: u32, delay: Duration) -> Result<Boot, String> {
    let from = Instant::now();
    let log = dir.join(format!("power-{round}.log"));
    let mut guest = machine.start(&format!("vm=power round={round}"), &["power.img", HEARD], &log)?;
    let (mut passed, mut failed, mut answered) = (0, Vec::new(), Vec::new());
    let mut end = from + PATIENCE;
    let mut began = None;
    while let Some(line) = guest.line(end)? {
        if line.contains("ok      ") {
            passed += 1;
        } else if line.contains("FAILED  ") || line.starts_with("expected: ") || line.starts_with("but was:  ") {
            failed.push(line);
        } else if let Some(rest) = line.strip_prefix("ack ")
            && let Some((what, name)) = rest.split_once(' ')
        {
            answered.push(Answered { what: what.into(), name: name.into(), at: Instant::now() });
        } else if line == "vm: begin" {
            began = Some(Instant::now());
            end = Instant::now() + delay;
        } else if line == "vm: at rest" {
            break;
        }
    }
    guest.cut();
    let cut = Instant::now();
    let Some(began) = began else {
        return Err(format!("boot {round} did not come to its work: see {}", log.display()));
    };
    let mut heard = String::new();
    for Answered { what, name, at } in &answered {
        let Some((_, durable)) = DURABLE.iter().find(|(known, _)| known == what) else { continue };
        let force = if cut.duration_since(*at) >= *durable { "must" } else { "may" };
        let _ = writeln!(heard, "{force} {what} {name}");
    }
    eprintln!(
        "  boot {round}: {passed} ok, {} failed, at work after {:.1} s, {} answers, cut after {:.1} s",
        failed.iter().filter(|l| l.contains("FAILED")).count(),
        (began - from).as_secs_f32(),
        answered.len(),
        (cut - began).as_secs_f32()
    );
    if failed.is_empty() {
        let _ = std::fs::remove_file(&log);
    }
    Ok(Boot { passed, failed, heard })
}
