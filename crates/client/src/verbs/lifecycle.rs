//! stop, restart, kill, rm, rename, pause, unpause, wait, update, container prune

use super::{Told, confirm, each, each_at_once, filters};
use crate::engine::{Ask, Engine, escape};
use crate::failure::{Failure, Result};
use crate::flags::Parsed;
use crate::options;
use api::container::{Pruned, Resources, UpdateContainer, Updated, Wait};

/// A container's path in the API.
pub fn path(name: &str) -> String {
    format!("/containers/{}", escape(name))
}

/// `stop` and `restart`; the latter one by one, so that what others need can be named first.
pub async fn stop(engine: &Engine<'_>, flags: &Parsed, verb: &str) -> Result<()> {
    let act = async |name: String| {
        let mut ask = Ask::post(format!("{}/{verb}", path(&name))).query_some("signal", flags.text("signal"));
        if flags.changed("timeout") {
            ask = ask.query("t", flags.int("timeout", 0).to_string());
        }
        engine.tell(ask).await?;
        Ok(name)
    };
    match verb {
        "restart" => each(&flags.args, act).await,
        _ => each_at_once(engine, &flags.args, act).await,
    }
}

/// `kill`
pub async fn kill(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    each_at_once(engine, &flags.args, async |name| {
        engine.tell(Ask::post(format!("{}/kill", path(&name))).query_some("signal", flags.text("signal"))).await?;
        Ok(name)
    })
    .await
}

/// `rm`
pub async fn rm(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    each_at_once(engine, &flags.args, async |name| {
        let bare = name.trim_matches('/');
        if bare.is_empty() {
            return Err(Failure::new("container name cannot be empty"));
        }
        let ask = Ask::delete(path(bare))
            .query_if("v", flags.is("volumes"))
            .query_if("link", flags.is("link"))
            .query_if("force", flags.is("force"));
        match engine.tell(ask).await {
            // what is not there need not be forced away
            Err(failure) if failure.is_not_found() && flags.is("force") => Ok(Told::Complaint(failure.text)),
            other => other.map(|()| Told::Done(name)),
        }
    })
    .await
}

/// `rename`
pub async fn rename(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let (old, new) = (flags.args[0].trim(), flags.args[1].trim());
    if old.is_empty() || new.is_empty() {
        return Err(Failure::new("Error: Neither old nor new names may be empty"));
    }
    let renamed = engine.tell(Ask::post(format!("{}/rename", path(old))).query("name", new)).await;
    renamed.map_err(|failure| {
        crate::output::complain(&failure.text);
        Failure::new(format!("Error: failed to rename container named {old}"))
    })
}

/// `pause` and `unpause`
pub async fn pause(engine: &Engine<'_>, flags: &Parsed, verb: &str) -> Result<()> {
    each_at_once(engine, &flags.args, async |name| {
        engine.tell(Ask::post(format!("{}/{verb}", path(&name)))).await?;
        Ok(name)
    })
    .await
}

/// `wait`
pub async fn wait(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    each(&flags.args, async |name| {
        let wait: Wait = engine.fetch(Ask::post(format!("{}/wait", path(&name)))).await?;
        match wait.error {
            Some(error) => Err(Failure::new(error.message)),
            None => Ok(wait.status_code.to_string()),
        }
    })
    .await
}

/// `update`
pub async fn update(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    const LIMITS: [&str; 15] = [
        "blkio-weight",
        "cpu-period",
        "cpu-quota",
        "cpu-rt-period",
        "cpu-rt-runtime",
        "cpuset-cpus",
        "cpuset-mems",
        "cpu-shares",
        "cpus",
        "memory",
        "memory-reservation",
        "memory-swap",
        "kernel-memory",
        "pids-limit",
        "restart",
    ];
    if !LIMITS.iter().any(|name| flags.changed(name)) {
        return Err(Failure::new("you must provide one or more flags when using this command"));
    }
    let size = |name: &str| options::size(flags, name).map_err(Failure::new);
    let body = UpdateContainer {
        resources: Resources {
            blkio_weight: u16::try_from(flags.int("blkio-weight", 0)).unwrap_or(0),
            cpu_shares: flags.int("cpu-shares", 0),
            cpu_period: flags.int("cpu-period", 0),
            cpu_quota: flags.int("cpu-quota", 0),
            cpu_realtime_period: flags.int("cpu-rt-period", 0),
            cpu_realtime_runtime: flags.int("cpu-rt-runtime", 0),
            cpuset_cpus: flags.text("cpuset-cpus").into(),
            cpuset_mems: flags.text("cpuset-mems").into(),
            nano_cpus: flags.get("cpus").map_or(Ok(0), options::values::nano_cpus).map_err(Failure::new)?,
            memory: size("memory")?,
            memory_reservation: size("memory-reservation")?,
            memory_swap: size("memory-swap")?,
            kernel_memory: size("kernel-memory")?,
            pids_limit: flags.changed("pids-limit").then(|| flags.int("pids-limit", 0)),
            ..Resources::default()
        },
        restart_policy: flags
            .get("restart")
            .map_or(Ok(Default::default()), options::values::restart_policy)
            .map_err(Failure::new)?,
    };
    each(&flags.args, async |name| {
        let updated: Updated = engine.fetch(Ask::post(format!("{}/update", path(&name))).json(&body)).await?;
        for warning in &updated.warnings {
            crate::output::complain(warning);
        }
        Ok(name)
    })
    .await
}

/// `container prune`
pub async fn prune(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let warning = "WARNING! This will remove all stopped containers.\nAre you sure you want to continue?";
    if !flags.is("force") && !confirm(warning)? {
        return Err(Failure::new("container prune has been cancelled"));
    }
    let text = prune_containers(engine, &filters(flags)).await?;
    crate::output::print(&text)
}

/// Removes stopped containers and tells of it.
pub async fn prune_containers(engine: &Engine<'_>, filters: &api::filters::Filters) -> Result<String> {
    let ask = Ask::post("/containers/prune").query("filters", filters.to_query());
    let pruned: Pruned = engine.fetch(ask).await?;
    let mut out = String::new();
    if !pruned.containers_deleted.is_empty() {
        out.push_str("Deleted Containers:\n");
        for id in &pruned.containers_deleted {
            out.push_str(&format!("{id}\n"));
        }
        out.push('\n');
    }
    out.push_str(&format!("Total reclaimed space: {}\n", api::units::human_size(pruned.space_reclaimed as f64)));
    Ok(out)
}
