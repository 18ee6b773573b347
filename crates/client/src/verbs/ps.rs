//! ps

use super::filters;
use crate::engine::{self, Ask, Engine};
use crate::failure::{Failure, Result};
use crate::flags::{Parsed, quote};
use crate::format::{List, ellipsis, field, label_list, label_method, ports, row, short_id, tabwriter, time};
use crate::{output, reference};
use api::container::{ContainerSummary, SummaryLine};
use api::units::human_size_with;
use std::borrow::Cow;
use template::{Template, Value};

const KIND: &str = "*formatter.ContainerContext";
const TABLE: &str = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";
/// The first line of that.
const HEAD: [&str; 7] = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"];
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
    let trunc = !flags.is("no-trunc");
    let ids = quiet && format == "{{.ID}}";
    if ids || format == TABLE {
        let answer = engine.bytes(ask.query("brief", "1")).await?;
        let mut text = String::new();
        let mut table = head();
        engine::read_each(&answer, |line: SummaryLine<'_>| match ids {
            true => text.extend([if trunc { short_id(&line.id) } else { &line.id }, "\n"]),
            false => add(&mut table, &line, trunc),
        })?;
        return output::print(&if ids { text } else { table.align(tabwriter::LIST) });
    }
    let containers: Vec<ContainerSummary> = engine.fetch(ask).await?;
    let rows: Vec<Value> = containers.iter().map(|c| container(c, trunc)).collect();
    output::print(&List { headers: &HEADERS }.render(&format, &rows)?)
}

/// The table's first line.
fn head() -> tabwriter::Table {
    let mut table = tabwriter::Table::default();
    HEAD.iter().for_each(|title| table.cell(title));
    table.end_line();
    table
}

/// Adds what [`TABLE`] makes of a container, without the machinery of templates: most lists are this one.
fn add(table: &mut tabwriter::Table, line: &SummaryLine<'_>, trunc: bool) {
    let Cells { id, image, command, running_for, status, ports, names } = Cells::of(line, trunc);
    [id, &image, &command, &running_for, status, &ports, &names].into_iter().for_each(|cell| table.cell(cell));
    table.end_line();
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
struct Cells<'a> {
    id: &'a str,
    image: Cow<'a, str>,
    command: String,
    running_for: String,
    status: &'a str,
    ports: String,
    names: Cow<'a, str>,
}

impl<'a> Cells<'a> {
    fn of(c: &'a SummaryLine<'_>, trunc: bool) -> Cells<'a> {
        let mut names = c.names.iter().map(|n| n.strip_prefix('/').unwrap_or(n));
        let names = match names.clone().find(|n| !n.as_bytes().contains(&b'/')).filter(|_| trunc) {
            Some(own) => own.into(),
            None => names.by_ref().collect::<Vec<_>>().join(",").into(),
        };
        Cells {
            id: if trunc { short_id(&c.id) } else { &c.id },
            image: image(c, trunc),
            command: quote(&if trunc { ellipsis(&c.command, 20) } else { (&*c.command).into() }),
            running_for: time::ago(c.created),
            status: &c.status,
            ports: ports::line(&c.ports),
            names,
        }
    }
}

/// One row.
pub fn container(c: &ContainerSummary, trunc: bool) -> Value {
    let mounts: Vec<Cow<'_, str>> = c
        .mounts
        .iter()
        .map(|m| if m.name.is_empty() { &m.source } else { &m.name })
        .map(|name| if trunc { ellipsis(name, 15) } else { name.into() })
        .collect();
    let local = c.mounts.iter().filter(|m| m.driver == "local").count();
    let networks: Vec<&str> = c.network_settings.networks.keys().map(String::as_str).collect();
    let mut size = human_size_with(c.size_rw as f64, 3);
    if c.size_root_fs > 0 {
        size = format!("{size} (virtual {})", human_size_with(c.size_root_fs as f64, 3));
    }
    let line = line(c);
    let cells = Cells::of(&line, trunc);
    let fields = vec![
        field("ID", cells.id),
        field("Names", cells.names),
        field("Image", cells.image),
        field("Command", cells.command),
        field("RunningFor", cells.running_for),
        field("Ports", cells.ports),
        field("Status", cells.status),
        field("CreatedAt", time::local(c.created)),
        field("State", c.state.clone()),
        field("Size", size),
        field("Labels", label_list(&c.labels)),
        label_method(&c.labels),
        field("Mounts", mounts.join(",")),
        field("LocalVolumes", local.to_string()),
        field("Networks", networks.join(",")),
        ("Platform".into(), Value::NilPointer),
    ];
    row(KIND, fields)
}

fn line(c: &ContainerSummary) -> SummaryLine<'_> {
    SummaryLine {
        id: (&c.id).into(),
        names: c.names.clone(),
        image: (&c.image).into(),
        image_id: (&c.image_id).into(),
        command: (&c.command).into(),
        created: c.created,
        ports: c.ports.clone(),
        status: (&c.status).into(),
    }
}

fn image<'a>(c: &'a SummaryLine<'_>, trunc: bool) -> Cow<'a, str> {
    if c.image.is_empty() {
        return "<no image>".into();
    }
    if !trunc {
        return (&*c.image).into();
    }
    if short_id(&c.image_id) == short_id(&c.image) {
        return short_id(&c.image_id).into();
    }
    // Without a host and a path it is as short as it can be.
    if c.image.len() < 64 && !c.image.bytes().any(|b| matches!(b, b'/' | b'@')) {
        return (&*c.image).into();
    }
    match reference::parse(&c.image) {
        Ok(r) => match r.tag() {
            Some(tag) => format!("{}:{tag}", r.familiar_repository()).into(),
            None => r.familiar_repository().into(),
        },
        Err(_) => (&*c.image).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_what_its_template_says() {
        let summary = |name: &str, image: &str, command: &str| ContainerSummary {
            id: "0123456789abcdef".into(),
            names: vec![format!("/{name}"), format!("/other/{name}")].into(),
            image: image.into(),
            image_id: "sha256:feedfeedfeedfeed".into(),
            command: command.into(),
            status: "Up 2 hours".into(),
            ..ContainerSummary::default()
        };
        let all = [
            summary("a", "docker.io/library/debian:13", "sh -c 'sleep 1d; true'"),
            summary("a-longer-name", "sha256:feedfeedfeedfeed", "it \"is\"\tü"),
            summary("", "", ""),
            summary("b", "no reference", "true"),
        ];
        for trunc in [true, false] {
            let rows: Vec<Value> = all.iter().map(|c| container(c, trunc)).collect();
            let mut table = head();
            all.iter().for_each(|c| add(&mut table, &line(c), trunc));
            let rendered = List { headers: &HEADERS }.render(TABLE, &rows).unwrap_or_default();
            assert_eq!(table.align(tabwriter::LIST), rendered);
        }
    }
}
