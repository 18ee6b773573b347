//! images, rmi, tag, history, import, image prune

use super::pull::{To, show};
use super::{confirm, filters};
use crate::engine::{Ask, Engine, escape};
use crate::failure::{Failure, Result, describe};
use crate::flags::{Parsed, quote};
use crate::format::{List, ellipsis, field, row, short_id, time};
use crate::{output, reference};
use api::filters::Filters;
use api::image::{HistoryItem, ImageSummary, ImagesPruned, Removed};
use api::units::{human_size, human_size_with};
use bytes::Bytes;
use std::collections::BTreeMap;
use template::Value;

/// Columns.
pub const HEADERS: [(&str, &str); 11] = [
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("VirtualSize", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
];
const CREATED: &str = "{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}";

/// `images`
pub async fn ls(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    if flags.is("tree") {
        refuse_beside_tree(flags)?;
    }
    let mut filters = filters(flags);
    if let Some(name) = flags.args.first() {
        filters.add("reference", name);
    }
    let mut ask = Ask::get("/images/json").query_if("all", flags.is("all"));
    if !filters.is_empty() {
        ask = ask.query("filters", filters.to_query());
    }
    let (quiet, digests) = (flags.is("quiet"), flags.is("digests"));
    let mut source = flags.text("format").to_string();
    if source.is_empty() && !quiet {
        source = engine.settings.file().images_format.clone();
    }
    let format = choose(&source, quiet, digests);
    let images: Vec<ImageSummary> = engine.fetch(ask).await?;
    if flags.is("tree") {
        return output::print(&tree(&images, flags.is("all")));
    }
    let needs_digest = digests || format.contains("{{.Digest}}");
    let trunc = !flags.is("no-trunc");
    let rows: Vec<Value> = images.iter().flat_map(|i| rows(i, trunc, digests, needs_digest)).collect();
    output::print(&List { headers: &HEADERS }.render(&format, &rows)?)
}

fn refuse_beside_tree(flags: &Parsed) -> Result<()> {
    for (flag, name) in [("quiet", "quiet"), ("no-trunc", "no-trunc"), ("digests", "show-digest")] {
        if flags.is(flag) {
            return Err(Failure::new(format!("--{name} is not yet supported with --tree")));
        }
    }
    match flags.text("format") {
        "" => Ok(()),
        _ => Err(Failure::new("--format is not yet supported with --tree")),
    }
}

/// Images with their names below each other. Each is of one platform here: the tree has no branches.
fn tree(images: &[ImageSummary], all: bool) -> String {
    let shown: Vec<(Vec<&str>, &ImageSummary)> = images
        .iter()
        .filter(|i| all || !i.repo_tags.is_empty())
        .map(|i| match i.repo_tags.is_empty() {
            true => (vec!["<untagged>"], i),
            false => (i.repo_tags.iter().map(String::as_str).collect(), i),
        })
        .collect();
    let names = shown.iter().flat_map(|(names, _)| names).map(|n| n.chars().count());
    let width = names.max().unwrap_or(0).max("IMAGE".len());
    let line = |name: &str, id: &str, disk: &str, content: &str, extra: &str| {
        format!("{name:width$}   {id:12}   {disk:>10}   {content:>12}   {extra:5}\n")
    };
    let mut out =
        String::from("WARNING: This is an experimental feature. The output may change and shouldn't be depended on.\n");
    out.push_str(&format!("{:>79} \n\n", "Info ->  U In Use"));
    out.push_str(line("IMAGE", "ID", "DISK USAGE", "CONTENT SIZE", "EXTRA").trim_end());
    out.push('\n');
    for (names, image) in shown {
        let (last, above) = names.split_last().unwrap_or((&"", &[]));
        for name in above {
            out.push_str(&format!("{name}\n"));
        }
        let used = if image.containers > 0 { "U" } else { "" };
        out.push_str(&line(last, short_id(&image.id), &human_size_with(image.size as f64, 3), "0B", used));
    }
    out
}

fn choose(source: &str, quiet: bool, digests: bool) -> String {
    let digest = if digests { "{{.Digest}}\t" } else { "" };
    match source {
        "" | "table" if quiet => "{{.ID}}".into(),
        "" | "table" => {
            format!("table {{{{.Repository}}}}\t{{{{.Tag}}}}\t{digest}{{{{.ID}}}}\t{CREATED}\t{{{{.Size}}}}")
        }
        "raw" if quiet => "image_id: {{.ID}}".into(),
        "raw" => format!(
            "repository: {{{{ .Repository }}}}\ntag: {{{{.Tag}}}}\n{}image_id: {{{{.ID}}}}\ncreated_at: {{{{.CreatedAt}}}}\nvirtual_size: {{{{.Size}}}}\n",
            if digests { "digest: {{.Digest}}\n" } else { "" }
        ),
        custom if custom.starts_with("table") && digests && !custom.contains("{{.Digest}}") => {
            format!("{custom}\t{{{{.Digest}}}}")
        }
        custom => custom.into(),
    }
}

/// One row for each name of an image.
fn rows(image: &ImageSummary, trunc: bool, digests: bool, needs_digest: bool) -> Vec<Value> {
    let mut tags: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut by_digest: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in image.repo_tags.iter().filter_map(|n| reference::parse(n).ok()) {
        if let Some(tag) = name.tag() {
            tags.entry(name.familiar_repository()).or_default().push(tag.into());
        }
    }
    for name in image.repo_digests.iter().filter_map(|n| reference::parse(n).ok()) {
        if let Some(digest) = name.digest() {
            by_digest.entry(name.familiar_repository()).or_default().push(digest.as_str().into());
        }
    }
    let one = |repo: &str, tag: &str, digest: &str| entry(image, trunc, repo, tag, digest);
    let mut out = Vec::new();
    for (repo, tags) in &tags {
        let digests = by_digest.remove(repo).filter(|_| needs_digest).unwrap_or_else(|| vec!["<none>".into()]);
        for tag in tags {
            out.extend(digests.iter().map(|digest| one(repo, tag, digest)));
        }
    }
    for (repo, all) in &by_digest {
        match digests {
            true => out.extend(all.iter().map(|digest| one(repo, "<none>", digest))),
            false => out.push(one(repo, "<none>", "")),
        }
    }
    if out.is_empty() {
        out.push(one("<none>", "<none>", "<none>"));
    }
    out
}

/// One row.
pub fn entry(image: &ImageSummary, trunc: bool, repo: &str, tag: &str, digest: &str) -> Value {
    let known = |n: i64, text: String| if n == -1 { "N/A".to_string() } else { text };
    let id = if trunc { short_id(&image.id) } else { &image.id };
    row(
        "*formatter.imageContext",
        vec![
            field("ID", id),
            field("Repository", repo),
            field("Tag", tag),
            field("Digest", digest),
            field("CreatedSince", time::ago(image.created)),
            field("CreatedAt", time::local(image.created)),
            field("Size", human_size_with(image.size as f64, 3)),
            field("VirtualSize", human_size(image.size as f64)),
            field("Containers", known(image.containers, image.containers.to_string())),
            field("SharedSize", known(image.shared_size, human_size(image.shared_size as f64))),
            field("UniqueSize", known(image.shared_size, human_size((image.size - image.shared_size) as f64))),
        ],
    )
}

/// `rmi`
pub async fn rm(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let platforms: Vec<String> =
        flags.all("platform").iter().filter(|p| !p.is_empty()).map(|p| platform(p)).collect::<Result<_>>()?;
    let mut failed = Vec::new();
    let mut fatal = false;
    for name in &flags.args {
        let mut ask = Ask::delete(format!("/images/{}", escape(name)))
            .query_if("force", flags.is("force"))
            .query_if("noprune", flags.is("no-prune"));
        for platform in &platforms {
            ask = ask.query("platforms", platform.clone());
        }
        match engine.fetch::<Vec<Removed>>(ask).await {
            Ok(removed) => output::print(&told(&removed))?,
            Err(failure) => {
                fatal |= !failure.is_not_found();
                failed.push(failure.text);
            }
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    if !flags.is("force") || fatal {
        return Err(Failure::new(failed.join("\n")));
    }
    output::complain(&failed.join("\n"));
    Ok(())
}

/// A platform as the engine reads it, JSON; in Docker's words when it is none.
pub fn platform(text: &str) -> Result<String> {
    const PART: &str = "^[A-Za-z0-9_.-]+$";
    const SYSTEM: &str = r"^([A-Za-z0-9_-]+)(?:\\(([A-Za-z0-9_.-]*)\\))?$";
    let wrong = |why: String| Err(Failure::new(format!("{why}: invalid argument")));
    let whole = quote(text);
    let part = |p: &str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    let parts: Vec<&str> = text.split('/').collect();
    if parts.len() > 3 {
        return wrong(format!("{whole}: cannot parse platform specifier"));
    }
    if let Some((n, bad)) = parts.iter().enumerate().find(|(_, p)| !part(p)) {
        let bad = quote(bad);
        return wrong(match n {
            0 => format!(
                "{bad} is an invalid OS component of {whole}: OSAndVersion specifier component must match \"{SYSTEM}\""
            ),
            _ => {
                format!("{bad} is an invalid component of {whole}: platform specifier component must match \"{PART}\"")
            }
        });
    }
    match text.parse::<oci::Platform>() {
        Ok(platform) => serde_json::to_string(&platform).map_err(|e| Failure::new(e.to_string())),
        Err(_) => wrong(format!("{whole}: unknown operating system or architecture")),
    }
}

fn told(removed: &[Removed]) -> String {
    removed
        .iter()
        .map(|r| match (&r.deleted, &r.untagged) {
            (Some(id), _) if !id.is_empty() => format!("Deleted: {id}\n"),
            (_, Some(name)) => format!("Untagged: {name}\n"),
            _ => String::new(),
        })
        .collect()
}

/// `tag`
pub async fn tag(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let (source, target) = (&flags.args[0], &flags.args[1]);
    let name = reference::parse(target).map_err(|why| {
        let target = quote(target);
        Failure::new(format!("Error parsing reference: {target} is not a valid repository/tag: {why}"))
    })?;
    if name.digest().is_some() {
        return Err(Failure::new("refusing to create a tag with a digest reference"));
    }
    let ask = Ask::post(format!("/images/{}/tag", escape(source)))
        .query("repo", name.familiar_repository())
        .query("tag", name.tag().unwrap_or("latest"));
    engine.tell(ask).await
}

/// `history`
pub async fn history(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    const KIND: &str = "*formatter.historyContext";
    const HEADERS: [(&str, &str); 6] = [
        ("ID", "IMAGE"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("Size", "SIZE"),
        ("Comment", "COMMENT"),
    ];
    let ask = Ask::get(format!("/images/{}/history", escape(&flags.args[0])));
    let items: Vec<HistoryItem> = engine.fetch(ask).await?;
    let human = !flags.changed("human") || flags.is("human");
    let trunc = !flags.is("no-trunc");
    let format = match flags.text("format") {
        "" | "table" if flags.is("quiet") => "{{.ID}}".to_string(),
        "" | "table" => {
            let created = if human { "{{.CreatedSince}}" } else { "{{.CreatedAt}}" };
            format!("table {{{{.ID}}}}\t{created}\t{{{{.CreatedBy}}}}\t{{{{.Size}}}}\t{{{{.Comment}}}}")
        }
        custom => custom.to_string(),
    };
    let rows: Vec<Value> = items
        .iter()
        .map(|item| {
            let by = item.created_by.replace('\t', " ");
            let since = if item.created <= 0 { "N/A".into() } else { time::ago(item.created) };
            row(
                KIND,
                vec![
                    field("ID", if trunc { short_id(&item.id) } else { &item.id }),
                    field("CreatedSince", if human { since } else { time::rfc3339_local(item.created) }),
                    field("CreatedAt", time::rfc3339_local(item.created)),
                    field("CreatedBy", if trunc { ellipsis(&by, 45) } else { by.into() }),
                    field("Size", if human { human_size_with(item.size as f64, 3) } else { item.size.to_string() }),
                    field("Comment", item.comment.clone()),
                ],
            )
        })
        .collect();
    output::print(&List { headers: &HEADERS }.render(&format, &rows)?)
}

/// `import`
pub async fn import(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let source = flags.args[0].as_str();
    let mut ask = Ask::post("/images/create")
        .query_some("message", flags.text("message"))
        .query_some("repo", flags.args.get(1).map_or("", String::as_str))
        .query_some("platform", flags.text("platform"));
    for change in flags.all("change") {
        ask = ask.query("changes", change);
    }
    let named = || flags.args.get(1).map_or(Ok(()), |name| crate::reference::parse(name).map(drop));
    let body = if source.starts_with("http://") || source.starts_with("https://") {
        named()?;
        engine.send(ask.query("fromSrc", source)).await?.into_body()
    } else {
        let file: Box<dyn std::io::Read + Send> = match source {
            "-" => Box::new(std::io::stdin()),
            path => {
                Box::new(std::fs::File::open(path).map_err(|e| Failure::new(format!("open {path}: {}", describe(&e))))?)
            }
        };
        named()?;
        engine.send_stream(ask.query("fromSrc", "-"), "text/plain", read_stream(file)).await?.into_body()
    };
    show(body, false, To::Stdout).await
}

/// A blocking reader as a stream, read on a thread of its own.
pub fn read_stream(
    mut reader: impl std::io::Read + Send + 'static,
) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + Sync + 'static {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(4);
    std::thread::spawn(move || {
        loop {
            let mut buffer = vec![0; 256 * 1024];
            let read = match reader.read(&mut buffer) {
                Ok(0) => return,
                Ok(n) => {
                    buffer.truncate(n);
                    Ok(Bytes::from(buffer))
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => Err(e),
            };
            let failed = read.is_err();
            if sender.blocking_send(read).is_err() || failed {
                return;
            }
        }
    });
    futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx))
}

/// `image prune`
pub async fn prune(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let what = if flags.is("all") {
        "all images without at least one container associated to them"
    } else {
        "all dangling images"
    };
    let question = format!("WARNING! This will remove {what}.\nAre you sure you want to continue?");
    if !flags.is("force") && !confirm(&question)? {
        return Err(Failure::new("image prune has been cancelled"));
    }
    output::print(&prune_images(engine, filters(flags), flags.is("all")).await?)
}

/// Removes unused images and tells of it.
pub async fn prune_images(engine: &Engine<'_>, mut filters: Filters, all: bool) -> Result<String> {
    filters.add("dangling", if all { "false" } else { "true" });
    let pruned: ImagesPruned = engine.fetch(Ask::post("/images/prune").query("filters", filters.to_query())).await?;
    let mut text = String::new();
    if !pruned.images_deleted.is_empty() {
        for removed in &pruned.images_deleted {
            match (&removed.untagged, &removed.deleted) {
                (Some(name), _) if !name.is_empty() => text.push_str(&format!("untagged: {name}\n")),
                (_, Some(id)) => text.push_str(&format!("deleted: {id}\n")),
                _ => {}
            }
        }
        text = format!("Deleted Images:\n{text}\n");
    }
    text.push_str(&format!("Total reclaimed space: {}\n", human_size(pruned.space_reclaimed as f64)));
    Ok(text)
}
