//! system df

use super::{image, ps, volume};
use crate::engine::{Ask, Engine};
use crate::failure::Result;
use crate::flags::Parsed;
use crate::format::{List, execute, field, parse, row};
use crate::{output, reference};
use api::container::ContainerSummary;
use api::image::ImageSummary;
use api::system::DiskUsage;
use api::units::human_size;
use template::Value;

/// `system df`
pub async fn df(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    const KIND: &str = "*formatter.diskUsageContext";
    const HEADERS: [(&str, &str); 5] = [
        ("Type", "TYPE"),
        ("TotalCount", "TOTAL"),
        ("Active", "ACTIVE"),
        ("Size", "SIZE"),
        ("Reclaimable", "RECLAIMABLE"),
    ];
    let usage: DiskUsage = engine.fetch(Ask::get("/system/df")).await?;
    if flags.is("verbose") {
        return verbose(&usage, flags.text("format"));
    }
    let share = |reclaimable: i64, size: i64| match size {
        n if n > 0 => format!("{} ({}%)", human_size(reclaimable as f64), reclaimable * 100 / n),
        _ => human_size(reclaimable as f64),
    };
    let line = |kind: &str, total: usize, active: usize, size: i64, reclaimable: String| {
        row(
            KIND,
            vec![
                field("Type", kind),
                field("TotalCount", total.to_string()),
                field("Active", active.to_string()),
                field("Size", human_size(size as f64)),
                field("Reclaimable", reclaimable),
            ],
        )
    };
    let used: i64 = usage
        .images
        .iter()
        .filter(|i| i.containers > 0 && i.size != -1 && i.shared_size != -1)
        .map(|i| i.size - i.shared_size)
        .sum();
    let busy = |state: &str| ["running", "paused", "restarting"].contains(&state);
    let written: i64 = usage.containers.iter().map(|c| c.size_rw).sum();
    let stopped: i64 = usage.containers.iter().filter(|c| !busy(&c.state)).map(|c| c.size_rw).sum();
    let known = |v: &api::volume::Volume| v.usage_data.as_ref().map_or((0, 0), |u| (u.size.max(0), u.ref_count));
    let volumes: i64 = usage.volumes.iter().map(|v| known(v).0).sum();
    let unused: i64 = usage.volumes.iter().filter(|v| known(v).1 == 0).map(|v| known(v).0).sum();
    let rows = [
        line(
            "Images",
            usage.images.len(),
            usage.images.iter().filter(|i| i.containers > 0).count(),
            usage.layers_size,
            share(usage.layers_size - used, usage.layers_size),
        ),
        line(
            "Containers",
            usage.containers.len(),
            usage.containers.iter().filter(|c| busy(&c.state)).count(),
            written,
            share(stopped, written),
        ),
        line(
            "Local Volumes",
            usage.volumes.len(),
            usage.volumes.iter().filter(|v| known(v).1 > 0).count(),
            volumes,
            share(unused, volumes),
        ),
        line("Build Cache", usage.build_cache.len(), 0, 0, "0B".into()),
    ];
    let format = match flags.text("format") {
        "" | "table" => "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
        custom => custom,
    };
    output::print(&List { headers: &HEADERS }.render(format, &rows)?)
}

/// Everything by itself.
fn verbose(usage: &DiskUsage, format: &str) -> Result<()> {
    const VOLUMES: [(&str, &str); 3] = [("Name", "VOLUME NAME"), ("Links", "LINKS"), ("Size", "SIZE")];
    const CACHE: [(&str, &str); 7] = [
        ("ID", "CACHE ID"),
        ("CacheType", "CACHE TYPE"),
        ("Size", "SIZE"),
        ("CreatedSince", "CREATED"),
        ("LastUsedSince", "LAST USED"),
        ("UsageCount", "USAGE"),
        ("Shared", "SHARED"),
    ];
    let table = matches!(format, "" | "table");
    let images: Vec<Value> = usage.images.iter().map(|i| one(i, table)).collect();
    let containers: Vec<Value> = usage.containers.iter().map(|c| container(c, table)).collect();
    let volumes: Vec<Value> = usage.volumes.iter().map(volume::volume).collect();
    if !table {
        let fields = [("Images", images), ("Containers", containers), ("Volumes", volumes), ("BuildCache", vec![])];
        let all = fields.into_iter().map(|(name, rows)| (name.to_owned(), Value::list(rows))).collect();
        let template = parse(if format == "json" { "{{json .}}" } else { format })?;
        return output::print(&execute(&template, &Value::row("*formatter.diskUsageContext", all))?);
    }
    let mut out = String::from("Images space usage:\n\n");
    let columns = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}";
    out.push_str(&List { headers: &image::HEADERS }.render(columns, &images)?);
    out.push_str("\nContainers space usage:\n\n");
    let columns = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}";
    out.push_str(&List { headers: &ps::HEADERS }.render(columns, &containers)?);
    out.push_str("\nLocal Volumes space usage:\n\n");
    out.push_str(&List { headers: &VOLUMES }.render("table {{.Name}}\t{{.Links}}\t{{.Size}}", &volumes)?);
    out.push_str("\nBuild cache usage: 0B\n\n");
    let columns =
        "table {{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}";
    out.push_str(&List { headers: &CACHE }.render(columns, &[])?);
    output::print(&out)
}

/// An image by the first of its names.
fn one(image: &ImageSummary, trunc: bool) -> Value {
    let name = image.repo_tags.first().and_then(|name| reference::parse(name).ok());
    let (repository, tag) = match &name {
        Some(name) => (name.familiar_repository(), name.tag().unwrap_or("<none>").to_owned()),
        None => ("<none>".to_owned(), "<none>".to_owned()),
    };
    image::entry(image, trunc, &repository, &tag, "")
}

/// A container with what it has written itself.
fn container(container: &ContainerSummary, trunc: bool) -> Value {
    ps::container(&ContainerSummary { size_root_fs: 0, ..container.clone() }, trunc)
}
