//! volume ls, create, rm, prune

use super::{confirm, each, filters};
use crate::engine::{Ask, Engine, escape};
use crate::failure::{Failure, Result};
use crate::flags::Parsed;
use crate::format::{List, field, label_list, label_method, row};
use crate::options::{files, values};
use crate::output;
use api::units::human_size;
use api::volume::{CreateVolume, Volume, VolumeList, VolumesPruned};
use template::Value;

const KIND: &str = "*formatter.volumeContext";

/// `volume ls`
pub async fn ls(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    const HEADERS: [(&str, &str); 10] = [
        ("Name", "VOLUME NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("Availability", "AVAILABILITY"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Labels", "LABELS"),
        ("Links", "LINKS"),
        ("Size", "SIZE"),
        ("Group", "GROUP"),
        ("Status", "STATUS"),
    ];
    let quiet = flags.is("quiet");
    let mut source = flags.text("format").to_string();
    if source.is_empty() && !quiet {
        source = engine.settings.file().volumes_format.clone();
    }
    if flags.is("cluster") {
        return Err(crate::failure::Failure::new("--cluster: volumes of a cluster are not part of this version"));
    }
    let filters = filters(flags);
    let mut ask = Ask::get("/volumes");
    if !filters.is_empty() {
        ask = ask.query("filters", filters.to_query());
    }
    let list: VolumeList = engine.fetch(ask).await?;
    let mut volumes: Vec<Volume> = list.volumes;
    volumes.sort_by(|a, b| crate::format::natural(&a.name, &b.name));
    let format = match source.as_str() {
        "" | "table" | "raw" if quiet => "{{.Name}}",
        "" | "table" => "table {{.Driver}}\t{{.Name}}",
        "raw" => "name: {{.Name}}\ndriver: {{.Driver}}\n",
        custom => custom,
    };
    let rows: Vec<Value> = volumes.iter().map(volume).collect();
    output::print(&List { headers: &HEADERS }.render(format, &rows)?)
}

/// One row.
pub fn volume(v: &Volume) -> Value {
    let usage = v.usage_data.as_ref();
    let size = usage.map_or("N/A".into(), |u| human_size(u.size as f64));
    let links = usage.map_or("N/A".into(), |u| u.ref_count.to_string());
    row(
        KIND,
        vec![
            field("Name", v.name.clone()),
            field("Driver", v.driver.clone()),
            field("Scope", v.scope.clone()),
            field("Mountpoint", v.mountpoint.clone()),
            field("Labels", label_list(&v.labels)),
            label_method(&v.labels),
            field("Links", links),
            field("Size", size),
            field("Availability", "N/A"),
            field("Group", "N/A"),
            field("Status", "N/A"),
        ],
    )
}

/// `volume create`
pub async fn create(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    const CLUSTER: [&str; 9] = [
        "availability",
        "group",
        "limit-bytes",
        "required-bytes",
        "scope",
        "secret",
        "sharing",
        "topology-preferred",
        "topology-required",
    ];
    if let Some(name) = CLUSTER.iter().chain(&["type"]).find(|name| flags.changed(name)) {
        return Err(Failure::new(format!("--{name}: cluster volumes are not part of this engine")));
    }
    let body = CreateVolume {
        name: flags.args.first().cloned().unwrap_or_default(),
        driver: if flags.changed("driver") { flags.text("driver").into() } else { "local".into() },
        driver_opts: values::key_values(&flags.all("opt")),
        labels: files::labels(&[], &flags.all("label")).map_err(Failure::new)?,
    };
    let made: Volume = engine.fetch(Ask::post("/volumes/create").json(&body)).await?;
    output::print(&format!("{}\n", made.name))
}

/// `volume rm`
pub async fn rm(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    each(&flags.args, async |name| {
        engine.tell(Ask::delete(format!("/volumes/{}", escape(&name))).query_if("force", flags.is("force"))).await?;
        Ok(name)
    })
    .await
}

/// `volume prune`
pub async fn prune(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let all = flags.is("all");
    let which = if all { "all local volumes" } else { "anonymous local volumes" };
    let question = format!(
        "WARNING! This will remove {which} not used by at least one container.\nAre you sure you want to continue?"
    );
    if !flags.is("force") && !confirm(&question)? {
        return Err(Failure::new("volume prune has been cancelled"));
    }
    let mut filters = filters(flags);
    if all {
        filters.add("all", "true");
    }
    output::print(&prune_volumes(engine, &filters).await?)
}

/// Removes unused volumes and tells of it.
pub async fn prune_volumes(engine: &Engine<'_>, filters: &api::filters::Filters) -> Result<String> {
    let pruned: VolumesPruned = engine.fetch(Ask::post("/volumes/prune").query("filters", filters.to_query())).await?;
    let mut text = String::new();
    if !pruned.volumes_deleted.is_empty() {
        let names: String = pruned.volumes_deleted.iter().map(|n| format!("{n}\n")).collect();
        text = format!("Deleted Volumes:\n{names}\n");
    }
    text.push_str(&format!("Total reclaimed space: {}\n", human_size(pruned.space_reclaimed as f64)));
    Ok(text)
}
