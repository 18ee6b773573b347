//! stats

use super::lifecycle::path;
use crate::engine::{Ask, Engine};
use crate::failure::{Failure, Result};
use crate::flags::Parsed;
use crate::format::{List, field, row, short_id};
use crate::output;
use api::container::{ContainerSummary, Stats};
use api::units::{bytes_size, human_size_with};
use template::Value;

const KIND: &str = "*container.statsContext";
const HEADERS: [(&str, &str); 9] = [
    ("Container", "CONTAINER"),
    ("Name", "NAME"),
    ("ID", "CONTAINER ID"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];
const TABLE: &str =
    "table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";

/// `stats`
pub async fn stats(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let mut source = flags.text("format").to_string();
    if source.is_empty() {
        source = engine.settings.file().stats_format.clone();
    }
    let format = match source.as_str() {
        "" | "table" => TABLE,
        custom => custom,
    };
    let trunc = !flags.is("no-trunc");
    loop {
        let names = match flags.args.is_empty() {
            false => flags.args.clone(),
            true => {
                let ask = Ask::get("/containers/json").query_if("all", flags.is("all"));
                engine.fetch::<Vec<ContainerSummary>>(ask).await?.into_iter().map(|c| c.id).collect()
            }
        };
        let samples = names.iter().map(|name| sample(engine, name));
        let mut rows = Vec::new();
        let mut failed = Vec::new();
        for (name, sampled) in names.iter().zip(futures_util::future::join_all(samples).await) {
            match sampled {
                Ok(stats) => rows.push(line(name, &stats, trunc)),
                Err(failure) => failed.push(failure.text),
            }
        }
        if rows.is_empty() && !failed.is_empty() {
            return Err(Failure::new(failed.join("\n")));
        }
        let text = List { headers: &HEADERS }.render(format, &rows)?;
        if flags.is("no-stream") {
            output::print(&text)?;
            return if failed.is_empty() { Ok(()) } else { Err(Failure::new(failed.join("\n"))) };
        }
        if names.is_empty() {
            // Otherwise the samples take the second.
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
        // home, the rows with what was right of them erased, and nothing below
        let drawn: String = output::visible(&text).lines().map(|l| format!("{l}\x1b[K\n")).collect();
        output::raw(format!("\x1b[H{drawn}\x1b[J").as_bytes())?;
    }
}

/// One sample; the engine takes a second for it.
async fn sample(engine: &Engine<'_>, name: &str) -> Result<Stats> {
    engine.fetch(Ask::get(format!("{}/stats", path(name))).query("stream", "0")).await
}

fn line(name: &str, stats: &Stats, trunc: bool) -> Value {
    let cpu = cpu_percent(stats);
    let memory = &stats.memory_stats;
    // page cache that can be given back is not use
    let cache =
        ["total_inactive_file", "inactive_file"].iter().find_map(|k| memory.stats.get(*k)).copied().unwrap_or(0);
    let used = if cache < memory.usage { memory.usage - cache } else { memory.usage };
    let share = if memory.limit == 0 { 0.0 } else { used as f64 / memory.limit as f64 * 100.0 };
    let (mut read, mut written) = (0, 0);
    for entry in &stats.blkio_stats.io_service_bytes_recursive {
        match entry.op.to_ascii_lowercase().as_str() {
            "read" => read += entry.value,
            "write" => written += entry.value,
            _ => {}
        }
    }
    let (received, sent) = stats
        .networks
        .values()
        .fold((0u64, 0u64), |(rx, tx), n| (rx.saturating_add(n.rx_bytes), tx.saturating_add(n.tx_bytes)));
    let size = |n: u64| human_size_with(n as f64, 3);
    row(
        KIND,
        vec![
            field("Container", name),
            field("Name", stats.name.trim_start_matches('/')),
            field("ID", if trunc { short_id(&stats.id) } else { &stats.id }),
            field("CPUPerc", format!("{cpu:.2}%")),
            field("MemUsage", format!("{} / {}", bytes_size(used as f64), bytes_size(memory.limit as f64))),
            field("MemPerc", format!("{share:.2}%")),
            field("NetIO", format!("{} / {}", size(received), size(sent))),
            field("BlockIO", format!("{} / {}", size(read), size(written))),
            field("PIDs", stats.pids_stats.current.to_string()),
        ],
    )
}

fn cpu_percent(stats: &Stats) -> f64 {
    let (now, before) = (&stats.cpu_stats, &stats.precpu_stats);
    let used = now.cpu_usage.total_usage.saturating_sub(before.cpu_usage.total_usage) as f64;
    let system = now.system_cpu_usage.saturating_sub(before.system_cpu_usage) as f64;
    let cpus = match now.online_cpus {
        0 => now.cpu_usage.percpu_usage.len() as f64,
        n => f64::from(n),
    };
    if system > 0.0 && used > 0.0 { used / system * cpus * 100.0 } else { 0.0 }
}
