//! info, events, system check, system prune

use super::{confirm, filters, image, lifecycle, network, volume};
use crate::engine::{Ask, Engine, next_piece};
use crate::failure::{Failure, Result, describe};
use crate::flags::Parsed;
use crate::format::{execute, parse, time, typed};
use crate::output;
use api::event::Event;
use api::system::{Check, Fault, Info};
use api::units::{bytes_size, human_size};
use template::Value;

/// What this client is, as `info --format` shows it.
fn client(engine: &Engine<'_>) -> Value {
    let mut fields = super::version::client(engine, "");
    fields.push(("Debug".into(), Value::Bool(engine.settings.debug)));
    fields.push(("Plugins".into(), Value::list(Vec::new())));
    Value::map(fields)
}

/// `info`
pub async fn info(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let fetched = engine.bytes(Ask::get("/info")).await;
    let format = flags.text("format");
    if !format.is_empty() {
        let template = parse(if format == "json" { "{{json .}}" } else { format }).map_err(|f| f.with_code(64))?;
        let bytes = fetched?;
        let document: Value =
            serde_json::from_slice(&bytes).map_err(|e| Failure::new(format!("Error reading remote info: {e}")))?;
        let mut fields = document.as_map().map(|map| map.entries.clone()).unwrap_or_default();
        fields.push(("ClientInfo".into(), client(engine)));
        let all = typed::structure(&Value::map(fields), "system.dockerInfo");
        let done = template.execute(&all);
        // the line is ended also where a template failed
        output::print(&format!("{}\n", done.as_deref().unwrap_or_default()))?;
        return done.map(drop).map_err(|e| Failure::new(e.to_string()));
    }
    let head = format!(
        "Client:\n Version:    {}\n Context:    default\n Debug Mode: {}\n\nServer:\n",
        env!("CARGO_PKG_VERSION"),
        engine.settings.debug
    );
    match fetched {
        Ok(bytes) => {
            let info: Info =
                serde_json::from_slice(&bytes).map_err(|e| Failure::new(format!("Error reading remote info: {e}")))?;
            output::print(&(head + &pretty(&info)))?;
            info.warnings.iter().for_each(|w| output::complain(w));
            Ok(())
        }
        Err(failure) => {
            output::print(&head)?;
            Err(failure)
        }
    }
}

fn pretty(info: &Info) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &dyn std::fmt::Display| out.push_str(&format!(" {name}: {value}\n"));
    line("Containers", &info.containers);
    line(" Running", &info.containers_running);
    line(" Paused", &info.containers_paused);
    line(" Stopped", &info.containers_stopped);
    line("Images", &info.images);
    line("Server Version", &info.server_version);
    line("Storage Driver", &info.driver);
    for [name, value] in &info.driver_status {
        line(&format!(" {name}"), value);
    }
    for (name, value) in [
        ("Logging Driver", &info.logging_driver),
        ("Cgroup Driver", &info.cgroup_driver),
        ("Cgroup Version", &info.cgroup_version),
    ] {
        if !value.is_empty() {
            line(name, value);
        }
    }
    out.push_str(&format!(
        " Plugins:\n  Volume: {}\n  Network: {}\n",
        info.plugins.volume.join(" "),
        info.plugins.network.join(" ")
    ));
    if !info.plugins.authorization.is_empty() {
        out.push_str(&format!("  Authorization: {}\n", info.plugins.authorization.join(" ")));
    }
    out.push_str(&format!("  Log: {}\n", info.plugins.log.join(" ")));
    if !info.cdi_spec_dirs.is_empty() {
        out.push_str(" CDI spec directories:\n");
        info.cdi_spec_dirs.iter().for_each(|d| out.push_str(&format!("  {d}\n")));
    }
    out.push_str(&format!(" Swarm: {}\n", info.swarm.local_node_state));
    if !info.runtimes.is_empty() {
        let names: Vec<&str> = info.runtimes.keys().map(String::as_str).collect();
        out.push_str(&format!(" Runtimes: {}\n Default Runtime: {}\n", names.join(" "), info.default_runtime));
    }
    out.push_str(&format!(
        " Init Binary: {}\n containerd version: {}\n runc version: {}\n init version: {}\n",
        info.init_binary, info.containerd_commit.id, info.runc_commit.id, info.init_commit.id
    ));
    if !info.security_options.is_empty() {
        out.push_str(" Security Options:\n");
    }
    for option in &info.security_options {
        for part in option.split(',') {
            match part.split_once('=') {
                Some(("name", name)) => out.push_str(&format!("  {name}\n")),
                Some(("profile", profile)) => out.push_str(&format!("   Profile: {profile}\n")),
                Some(_) => {}
                None => out.push_str(&format!("  {part}\n")),
            }
        }
    }
    rest(info, out)
}

fn rest(info: &Info, mut out: String) -> String {
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            out.push_str(&format!(" {name}: {value}\n"));
        }
    };
    line("Kernel Version", &info.kernel_version);
    line("Operating System", &info.operating_system);
    line("OSType", &info.os_type);
    line("Architecture", &info.architecture);
    line("CPUs", &info.ncpu.to_string());
    line("Total Memory", &bytes_size(info.mem_total as f64));
    line("Name", &info.name);
    line("ID", &info.id);
    line("Docker Root Dir", &info.docker_root_dir);
    line("Debug Mode", &info.debug.to_string());
    if info.debug {
        line(" File Descriptors", &info.n_fd.to_string());
        line(" Goroutines", &info.n_goroutines.to_string());
        line(" System Time", &info.system_time);
        line(" EventsListeners", &info.n_events_listener.to_string());
    }
    line("HTTP Proxy", &info.http_proxy);
    line("HTTPS Proxy", &info.https_proxy);
    line("No Proxy", &info.no_proxy);
    if !info.labels.is_empty() {
        out.push_str(" Labels:\n");
        info.labels.iter().for_each(|l| out.push_str(&format!("  {l}\n")));
    }
    out.push_str(&format!(" Experimental: {}\n", info.experimental_build));
    if let Some(registries) = &info.registry_config {
        if !registries.insecure_registry_cidrs.is_empty() || !registries.index_configs.is_empty() {
            out.push_str(" Insecure Registries:\n");
            let insecure = registries.index_configs.values().filter(|i| !i.secure).map(|i| &i.name);
            insecure.chain(&registries.insecure_registry_cidrs).for_each(|name| out.push_str(&format!("  {name}\n")));
        }
        if !registries.mirrors.is_empty() {
            out.push_str(" Registry Mirrors:\n");
            registries.mirrors.iter().for_each(|m| out.push_str(&format!("  {m}\n")));
        }
    }
    out.push_str(&format!(" Live Restore Enabled: {}\n", info.live_restore_enabled));
    if !info.default_address_pools.is_empty() {
        out.push_str(" Default Address Pools:\n");
        let pools = info.default_address_pools.iter();
        pools.for_each(|p| out.push_str(&format!("   Base: {}, Size: {}\n", p.base, p.size)));
    }
    out.push('\n');
    out
}

/// `events`
pub async fn events(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let template = match flags.text("format") {
        "" => None,
        "json" => Some(parse("{{json .}}")?),
        text => Some(parse(text).map_err(|f| f.with_code(64))?),
    };
    let moment = jiff::Timestamp::now();
    let when = |name: &str| match flags.text(name) {
        "" => Ok(String::new()),
        text => time::moment(text, moment).map_err(Failure::new),
    };
    let filters = filters(flags);
    let mut ask = Ask::get("/events").query_some("since", &when("since")?).query_some("until", &when("until")?);
    if !filters.is_empty() {
        ask = ask.query("filters", filters.to_query());
    }
    let mut body = engine.send(ask).await?.into_body();
    let mut pending = Vec::new();
    while let Some(piece) = next_piece(&mut body).await? {
        pending.extend_from_slice(&piece);
        // events are JSON values one after the other, with or without newlines between
        let mut stream = serde_json::Deserializer::from_slice(&pending).into_iter::<Value>();
        let mut text = String::new();
        while let Some(Ok(document)) = stream.next() {
            match &template {
                Some(template) => {
                    text.push_str(&execute(template, &typed::structure(&document, "events.Message"))?);
                    text.push('\n');
                }
                None => {
                    let event: Event = serde_json::from_str(&template::to_json(&document)).unwrap_or_default();
                    text.push_str(&pretty_event(&event));
                }
            }
        }
        let done = stream.byte_offset();
        pending.drain(..done);
        output::print(&text)?;
    }
    Ok(())
}

fn pretty_event(event: &Event) -> String {
    let nanos = if event.time_nano != 0 { event.time_nano } else { event.time * 1_000_000_000 };
    let mut out = format!("{} {} {} {}", time::nanos_local(nanos), event.kind, event.action, event.actor.id);
    if !event.actor.attributes.is_empty() {
        let pairs: Vec<String> = event.actor.attributes.iter().map(|(k, v)| format!("{k}={v}")).collect();
        out.push_str(&format!(" ({})", pairs.join(", ")));
    }
    out.push('\n');
    out
}

/// `system check`: of an engine that does not run, by the same program as the engine would be.
pub async fn check(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let format = flags.text("format");
    if !matches!(format, "" | "json") {
        return Err(Failure::new("system check: --format takes json").with_code(64));
    }
    if let Some(own) = engine.settings.own_socket()
        && std::os::unix::net::UnixStream::connect(own).is_err()
        && rustix::process::geteuid().is_root()
    {
        return Err(at_rest(flags));
    }
    let check: Check = engine.fetch(Ask::post("/system/check").query_if("repair", flags.is("repair"))).await?;
    let text = match format {
        "json" => format!("{}\n", serde_json::to_string(&check).unwrap_or_default()),
        _ => check.faults.iter().map(|fault| format!("{fault}\n")).collect(),
    };
    output::print(&text)?;
    match check.faults.iter().any(Fault::remains) {
        true => Err(Failure::new("")),
        false => Ok(()),
    }
}

/// Becomes the program that looks at the state of an engine that does not run.
fn at_rest(flags: &Parsed) -> Failure {
    use std::os::unix::process::CommandExt;
    if flags.text("format") == "json" {
        return Failure::new("system check: --format needs an engine that runs");
    }
    let failed = |e: std::io::Error| Failure::new(format!("cannot check the engine: {}", describe(&e)));
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(e) => return failed(e),
    };
    let mut command = std::process::Command::new(program);
    command.args(["daemon", "--check"]);
    if flags.is("repair") {
        command.arg("--repair");
    }
    failed(command.exec())
}

/// `system prune`
pub async fn prune(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let (all, volumes) = (flags.is("all"), flags.is("volumes"));
    let mut warning = String::from(
        "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n",
    );
    if volumes {
        warning.push_str("  - all anonymous volumes not used by at least one container\n");
    }
    warning.push_str(match all {
        true => "  - all images without at least one container associated to them\n",
        false => "  - all dangling images\n",
    });
    warning.push_str("\nAre you sure you want to continue?");
    if !flags.is("force") && !confirm(&warning)? {
        return Err(Failure::new("system prune has been cancelled"));
    }
    let filters = filters(flags);
    let mut texts = vec![lifecycle::prune_containers(engine, &filters).await?];
    texts.push(network::prune_networks(engine, &filters).await?);
    if volumes {
        texts.push(volume::prune_volumes(engine, &filters).await?);
    }
    texts.push(image::prune_images(engine, filters, all).await?);
    // each part tells what it freed: the whole is told once, at the end
    let mut freed = 0f64;
    let mut out = String::new();
    for line in texts.iter().flat_map(|t| t.lines()) {
        match line.strip_prefix("Total reclaimed space: ") {
            Some(size) => freed += api::units::parse_size(size).unwrap_or(0) as f64,
            None => out.push_str(&format!("{line}\n")),
        }
    }
    output::print(&format!("{out}Total reclaimed space: {}\n", human_size(freed)))
}
