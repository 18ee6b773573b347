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

const HEADERS: [(&str, &str); 11] = [
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
        return Err(Failure::new("--tree: the tree of images is not part of this version"));
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
    let needs_digest = digests || format.contains("{{.Digest}}");
    let trunc = !flags.is("no-trunc");
    let rows: Vec<Value> = images.iter().flat_map(|i| rows(i, trunc, digests, needs_digest)).collect();
    output::print(&List { headers: &HEADERS }.render(&format, &rows)?)
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

fn entry(image: &ImageSummary, trunc: bool, repo: &str, tag: &str, digest: &str) -> Value {
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
    if flags.changed("platform") {
        return Err(Failure::new("--platform: removing one platform of an image is not part of this version"));
    }
    let mut failed = Vec::new();
    let mut fatal = false;
    for name in &flags.args {
        let ask = Ask::delete(format!("/images/{}", escape(name)))
            .query_if("force", flags.is("force"))
            .query_if("noprune", flags.is("no-prune"));
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
                    field("CreatedBy", if trunc { ellipsis(&by, 45) } else { by }),
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
