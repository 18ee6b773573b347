//! network ls, create, rm, connect, disconnect, prune

use super::{confirm, each, filters};
use crate::engine::{Ask, Engine, escape};
use crate::failure::{Failure, Result};
use crate::flags::Parsed;
use crate::format::{List, field, label_list, label_method, row, short_id, time};
use crate::options::{files, values};
use crate::output;
use api::go::List as GoList;
use api::network::{
    ConfigFrom, CreateNetwork, EndpointIpam, EndpointSettings, Ipam, IpamPool, Network, NetworkCreated, NetworksPruned,
};
use serde::Serialize;
use template::Value;

const KIND: &str = "*network.networkContext";

/// `network ls`
pub async fn ls(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    const HEADERS: [(&str, &str); 9] = [
        ("ID", "NETWORK ID"),
        ("Name", "NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("IPv4", "IPV4"),
        ("IPv6", "IPV6"),
        ("Labels", "LABELS"),
        ("Internal", "INTERNAL"),
        ("CreatedAt", "CREATED AT"),
    ];
    let quiet = flags.is("quiet");
    let mut source = flags.text("format").to_string();
    if source.is_empty() && !quiet {
        source = engine.settings.file().networks_format.clone();
    }
    let filters = filters(flags);
    let mut ask = Ask::get("/networks");
    if !filters.is_empty() {
        ask = ask.query("filters", filters.to_query());
    }
    let mut networks: Vec<Network> = engine.fetch(ask).await?;
    networks.sort_by(|a, b| crate::format::natural(&a.name, &b.name));
    let format = match source.as_str() {
        "" | "table" if quiet => "{{.ID}}",
        "" | "table" => "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
        "raw" if quiet => "network_id: {{.ID}}",
        "raw" => "network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n",
        custom => custom,
    };
    let trunc = !flags.is("no-trunc");
    let rows: Vec<Value> = networks.iter().map(|n| network(n, trunc)).collect();
    output::print(&List { headers: &HEADERS }.render(format, &rows)?)
}

fn network(n: &Network, trunc: bool) -> Value {
    let created = n.created.parse::<jiff::Timestamp>().map(|t| {
        let fraction = t.subsec_nanosecond();
        let zoned = t.to_zoned(jiff::tz::TimeZone::UTC);
        match fraction {
            0 => zoned.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string(),
            _ => zoned.strftime("%Y-%m-%d %H:%M:%S%.f +0000 UTC").to_string(),
        }
    });
    row(
        KIND,
        vec![
            field("ID", if trunc { short_id(&n.id) } else { &n.id }),
            field("Name", n.name.clone()),
            field("Driver", n.driver.clone()),
            field("Scope", n.scope.clone()),
            field("IPv4", n.enable_ipv4.to_string()),
            field("IPv6", n.enable_ipv6.to_string()),
            field("Internal", n.internal.to_string()),
            field("Labels", label_list(&n.labels)),
            label_method(&n.labels),
            field(
                "CreatedAt",
                created.unwrap_or_else(|_| time::seconds(&n.created).map(time::local).unwrap_or_default()),
            ),
        ],
    )
}

/// `network create`
pub async fn create(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let subnets = flags.all("subnet");
    let (ranges, gateways) = (flags.all("ip-range"), flags.all("gateway"));
    let mut config: Vec<IpamPool> = Vec::new();
    for (i, subnet) in subnets.iter().enumerate() {
        let at = |items: &[String]| items.get(i).cloned().unwrap_or_default();
        config.push(IpamPool {
            subnet: subnet.clone(),
            ip_range: at(&ranges),
            gateway: at(&gateways),
            auxiliary_addresses: match i {
                0 => values::key_values(&flags.all("aux-address")),
                _ => Default::default(),
            },
        });
    }
    if subnets.is_empty() && (!ranges.is_empty() || !gateways.is_empty()) {
        let what = if ranges.is_empty() { format!("gateway {}", gateways[0]) } else { format!("range {}", ranges[0]) };
        return Err(Failure::new(format!("no matching subnet for {what}")));
    }
    let choice = |name: &str| flags.changed(name).then(|| flags.is(name));
    let ipam_driver = if flags.changed("ipam-driver") { flags.text("ipam-driver") } else { "default" };
    let body = CreateNetwork {
        name: flags.args[0].clone(),
        driver: if flags.changed("driver") { flags.text("driver").into() } else { "bridge".into() },
        scope: flags.text("scope").into(),
        enable_ipv4: choice("ipv4"),
        enable_ipv6: choice("ipv6"),
        ipam: Some(Ipam {
            driver: ipam_driver.into(),
            options: values::key_values(&flags.all("ipam-opt")),
            config: config.into(),
        }),
        internal: flags.is("internal"),
        attachable: flags.is("attachable"),
        ingress: flags.is("ingress"),
        config_only: flags.is("config-only"),
        config_from: flags.get("config-from").map(|network| ConfigFrom { network: network.into() }),
        options: values::key_values(&flags.all("opt")),
        labels: files::labels(&[], &flags.all("label")).map_err(Failure::new)?,
    };
    let made: NetworkCreated = engine.fetch(Ask::post("/networks/create").json(&body)).await?;
    if !made.warning.is_empty() {
        output::complain(&made.warning);
    }
    output::print(&format!("{}\n", made.id))
}

/// `network rm`
pub async fn rm(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let force = flags.is("force");
    let failed =
        each(&flags.args, async |name| match engine.tell(Ask::delete(format!("/networks/{}", escape(&name)))).await {
            Err(failure) if force && failure.is_not_found() => Ok(String::new()),
            Err(failure) => {
                output::complain(&failure.text);
                Err(Failure::exit(1))
            }
            Ok(()) => Ok(name),
        })
        .await;
    // Docker's own last line
    failed.map_err(|_| Failure::new("exit status 1"))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Connect {
    container: String,
    endpoint_config: EndpointSettings,
}

/// `network connect`
pub async fn connect(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let list = |name: &str| {
        let items = flags.all(name);
        if items.is_empty() { GoList::null() } else { GoList::from(items) }
    };
    let body = Connect {
        container: flags.args[1].clone(),
        endpoint_config: EndpointSettings {
            ipam_config: Some(EndpointIpam {
                ipv4_address: flags.text("ip").into(),
                ipv6_address: flags.text("ip6").into(),
                link_local_ips: list("link-local-ip"),
            }),
            links: list("link"),
            aliases: list("alias"),
            driver_opts: values::key_values(&flags.all("driver-opt")),
            gw_priority: flags.int("gw-priority", 0),
            ..EndpointSettings::default()
        },
    };
    engine.tell(Ask::post(format!("/networks/{}/connect", escape(&flags.args[0]))).json(&body)).await
}

/// `network disconnect`
pub async fn disconnect(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let body = serde_json::json!({"Container": flags.args[1], "Force": flags.is("force")});
    engine.tell(Ask::post(format!("/networks/{}/disconnect", escape(&flags.args[0]))).json(&body)).await
}

/// `network prune`
pub async fn prune(engine: &Engine<'_>, flags: &Parsed) -> Result<()> {
    let question = "WARNING! This will remove all custom networks not used by at least one container.\nAre you sure you want to continue?";
    if !flags.is("force") && !confirm(question)? {
        return Err(Failure::new("network prune has been cancelled"));
    }
    output::print(&prune_networks(engine, &filters(flags)).await?)
}

/// Removes unused networks and tells of it.
pub async fn prune_networks(engine: &Engine<'_>, filters: &api::filters::Filters) -> Result<String> {
    let pruned: NetworksPruned =
        engine.fetch(Ask::post("/networks/prune").query("filters", filters.to_query())).await?;
    if pruned.networks_deleted.is_empty() {
        return Ok(String::new());
    }
    let names: String = pruned.networks_deleted.iter().map(|n| format!("{n}\n")).collect();
    Ok(format!("Deleted Networks:\n{names}\n"))
}
