//! ps

use super::filters;
use crate::engine::{Ask, Engine};
use crate::failure::{Failure, Result};
use crate::flags::{Parsed, quote};
use crate::format::{List, ellipsis, field, label_list, label_method, ports, row, short_id, time};
use crate::{output, reference};
use api::container::ContainerSummary;
use api::units::human_size_with;
use template::{Template, Value};

const KIND: &str = "*formatter.ContainerContext";
const TABLE: &str = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";
/// Columns.
pub const HEADERS: [(&str, &str); 15] = [
    ("ID", "CONTAINER ID"),
    ("Names", "NAMES"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Ports", "PORTS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Size", "SIZE"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
    ("Platform", "PLATFORM"),
];

/// `ps`
pub async fn ps(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let mut source = flags.text("format").to_string();
    let quiet = flags.is("quiet");
    if source.is_empty() && !quiet {
        source = engine.settings.file().ps_format.clone();
    }
    if quiet && flags.changed("format") {
        output::complain("WARNING: Ignoring custom format, because both --format and --quiet are set.");
    }
    let format = choose(&source, quiet, flags.is("size"));
    if !source.is_empty() {
        check(&format)?;
    }
    // a template that shows the size asks for it
    let size = flags.is("size") || (!flags.changed("size") && shows_size(&format));
    let last = if flags.is("latest") && flags.int("last", -1) == -1 { 1 } else { flags.int("last", -1) };
    let filters = filters(flags);
    let mut ask = Ask::get("/containers/json").query_if("all", flags.is("all")).query_if("size", size);
    if last != -1 {
        ask = ask.query("limit", last.to_string());
    }
    if !filters.is_empty() {
        ask = ask.query("filters", filters.to_query());
    }
    let containers: Vec<ContainerSummary> = engine.fetch(ask).await?;
    let trunc = !flags.is("no-trunc");
    if quiet && format == "{{.ID}}" {
        // nothing to format
        let ids: String =
            containers.iter().map(|c| format!("{}\n", if trunc { short_id(&c.id) } else { &c.id })).collect();
        return crate::output::print(&ids);
    }
    let make = if format == TABLE { in_table } else { container };
    let rows: Vec<Value> = containers.iter().map(|c| make(c, trunc)).collect();
    crate::output::print(&List { headers: &HEADERS }.render(&format, &rows)?)
}

fn shows_size(format: &str) -> bool {
    [".Size", "json .}", "json . "].iter().any(|part| format.contains(part))
}

/// Refuses a template that no container could be shown with, also when there is none.
fn check(format: &str) -> Result<()> {
    let text = match format.strip_prefix("table") {
        Some(rest) => rest,
        None if format == "json" => return Ok(()),
        None => format,
    };
    let template = Template::parse(text).map_err(|e| Failure::new(format!("failed to parse template: {e}")))?;
    let nothing = container(&ContainerSummary::default(), true);
    let done = template.execute(&nothing).map(drop);
    done.map_err(|e| Failure::new(format!("failed to execute template: {e}")))
}

fn choose(source: &str, quiet: bool, size: bool) -> String {
    match source {
        "table" | "" if quiet => "{{.ID}}".into(),
        "table" | "" => format!("{TABLE}{}", if size { "\t{{.Size}}" } else { "" }),
        "raw" if quiet => "container_id: {{.ID}}".into(),
        "raw" => {
            let mut raw = String::from(
                "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\n\
                 state: {{- pad .State 1 0}}\nstatus: {{- pad .Status 1 0}}\nnames: {{.Names}}\n\
                 labels: {{- pad .Labels 1 0}}\nports: {{- pad .Ports 1 0}}\n",
            );
            if size {
                raw.push_str("size: {{.Size}}\\n");
            }
            raw
        }
        _ if quiet => "{{.ID}}".into(),
        custom => custom.into(),
    }
}

/// What the table without further wishes shows of a container.
fn in_table(c: &ContainerSummary, trunc: bool) -> Value {
    row(KIND, main_fields(c, trunc))
}

fn main_fields(c: &ContainerSummary, trunc: bool) -> Vec<(String, Value)> {
    let names: Vec<&str> = c.names.iter().map(|n| n.strip_prefix('/').unwrap_or(n)).collect();
    let names = match names.iter().find(|n| !n.contains('/')).filter(|_| trunc) {
        Some(own) => (*own).to_string(),
        None => names.join(","),
    };
    let command = if trunc { ellipsis(&c.command, 20) } else { c.command.clone() };
    vec![
        field("ID", if trunc { short_id(&c.id) } else { &c.id }),
        field("Names", names),
        field("Image", image(c, trunc)),
        field("Command", quote(&command)),
        field("RunningFor", time::ago(c.created)),
        field("Ports", ports::line(&c.ports)),
        field("Status", c.status.clone()),
    ]
}

/// One row.
pub fn container(c: &ContainerSummary, trunc: bool) -> Value {
    let mounts: Vec<String> = c
        .mounts
        .iter()
        .map(|m| if m.name.is_empty() { &m.source } else { &m.name })
        .map(|name| if trunc { ellipsis(name, 15) } else { name.clone() })
        .collect();
    let local = c.mounts.iter().filter(|m| m.driver == "local").count();
    let networks: Vec<&str> = c.network_settings.networks.keys().map(String::as_str).collect();
    let mut size = human_size_with(c.size_rw as f64, 3);
    if c.size_root_fs > 0 {
        size = format!("{size} (virtual {})", human_size_with(c.size_root_fs as f64, 3));
    }
    let mut fields = main_fields(c, trunc);
    fields.extend([
        field("CreatedAt", time::local(c.created)),
        field("State", c.state.clone()),
        field("Size", size),
        field("Labels", label_list(&c.labels)),
        label_method(&c.labels),
        field("Mounts", mounts.join(",")),
        field("LocalVolumes", local.to_string()),
        field("Networks", networks.join(",")),
        ("Platform".into(), Value::NilPointer),
    ]);
    row(KIND, fields)
}

fn image(c: &ContainerSummary, trunc: bool) -> String {
    if c.image.is_empty() {
        return "<no image>".into();
    }
    if !trunc {
        return c.image.clone();
    }
    if short_id(&c.image_id) == short_id(&c.image) {
        return short_id(&c.image_id).into();
    }
    match reference::parse(&c.image) {
        Ok(r) => match r.tag() {
            Some(tag) => format!("{}:{tag}", r.familiar_repository()),
            None => r.familiar_repository(),
        },
        Err(_) => c.image.clone(),
    }
}
