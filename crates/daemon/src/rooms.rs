//! The rooms of one engine, opened: what routes are handed.

use crate::Carried;
use crate::config::{BUILTIN, Config, RuntimeCommand, STOCK};
use anyhow::{Context, Result};
use container::{Containers, Events};
use image::Images;
use layer::Layers;
use network::Networks;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use volume::Volumes;

/// Handles, each cheap to clone.
pub struct Rooms {
    config: RwLock<Arc<Config>>,
    /// Images.
    pub images: Images,
    /// Networks.
    pub networks: Networks,
    /// Volumes.
    pub volumes: Volumes,
    /// Containers.
    pub containers: Containers,
    /// What happens.
    pub events: Events,
    /// What this machine is.
    pub host: container::Host,
    /// This engine's own name, the same for the life of the data root.
    pub id: String,
    /// The program of the built-in image.
    pub hello: &'static [u8],
}

impl Rooms {
    /// The settings now; a reload gives others.
    pub fn config(&self) -> Arc<Config> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The machine's name.
    pub fn host_name(&self) -> String {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }

    /// Other settings.
    pub fn set_config(&self, config: Config) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }
}

/// Opens all rooms, finds the containers that have gone on meanwhile, and gives back what crashed work left. Blocks.
///
/// # Errors
/// When a room cannot be opened. A single container or image that is broken is only reported.
pub fn open(config: Config, init: &Path, carried: Carried) -> Result<Rooms> {
    let (root, run) = (&config.data_root, &config.exec_root);
    let layers = Layers::open(&root.join("layer")).context("opening the layers")?;
    let images =
        Images::open(&root.join("image"), layers.clone(), image_config(&config)).context("opening the images")?;
    let networks = Networks::open(&run.join("network"), network_config(&config)?).context("opening the networks")?;
    let volumes = Volumes::open(&root.join("volume")).context("opening the volumes")?;
    let paths = container::Paths { root: root.join("container"), run: run.join("container"), init: init.to_owned() };
    let joined = container::Rooms {
        images: images.clone(),
        layers: layers.clone(),
        networks: networks.clone(),
        volumes: volumes.clone(),
    };
    let containers = Containers::open(paths, joined, options(&config)?).context("opening the containers")?;
    images.reclaim(&containers.kept()?, &[]).context("freeing what crashed work left")?;
    let id = match engine_id(root) {
        Some(id) => id,
        None => {
            // The first start here. Later a user may have removed the image, and it stays so.
            embedded(&images, carried.hello).context("making the built-in image")?;
            new_engine_id(root)?
        }
    };
    let events = containers.events().clone();
    let host = containers.host().clone();
    let hello = carried.hello;
    Ok(Rooms { config: RwLock::new(Arc::new(config)), images, networks, volumes, containers, events, host, id, hello })
}

pub fn image_config(config: &Config) -> image::Config {
    let mut registry = registry::Config {
        insecure: config.insecure_registries.clone(),
        mirrors: config.registry_mirrors.clone(),
        ..registry::Config::default()
    };
    registry.patience.retries = config.max_download_attempts;
    image::Config {
        registry,
        max_concurrent_downloads: config.max_concurrent_downloads,
        limits: layer::Limits::default(),
    }
}

pub fn network_config(config: &Config) -> Result<network::Config> {
    let default = network::Config::default();
    let disabled = config.bridge.as_deref() == Some("none");
    let bridge = config.bridge.clone().filter(|_| !disabled).unwrap_or_else(|| default.bridge.clone());
    // Engines side by side have a bridge each, and so each has a table.
    let table = if bridge == default.bridge { default.table.clone() } else { format!("dhow-{bridge}") };
    let pool = |(base, size): &(String, u8)| {
        let subnet: network::Subnet = base.parse().map_err(|e| anyhow::anyhow!("default-address-pools: {e}"))?;
        network::AddressPool::new(subnet, *size)
            .ok_or_else(|| anyhow::anyhow!("default-address-pools: base {base} has no network of size {size}"))
    };
    let pools = config.address_pools.iter().map(pool).collect::<Result<Vec<_>>>()?;
    let publish_ip = match config.ip {
        None => default.publish_ip,
        Some(std::net::IpAddr::V4(ip)) => ip,
        Some(ip) => anyhow::bail!("ip: publishing on {ip}: IPv6 is not implemented in this version of dhow"),
    };
    Ok(network::Config {
        bridge,
        disabled,
        bip: config.bip.as_deref().map(str::parse).transpose().context("bip")?,
        fixed_cidr: config.fixed_cidr.as_deref().map(str::parse).transpose().context("fixed-cidr")?,
        pools: if pools.is_empty() { default.pools } else { pools },
        mtu: config.mtu,
        icc: config.icc,
        ip_masq: config.ip_masq,
        ip_forward: config.ip_forward,
        publish_ip,
        table,
        root: Some(config.data_root.join("network")),
        default_gateway: None,
    })
}

pub fn options(config: &Config) -> Result<container::Options> {
    let seccomp = match config.seccomp_profile.as_deref() {
        None | Some("" | "builtin") => String::new(),
        Some("unconfined") => "unconfined".into(),
        Some(path) => {
            std::fs::read_to_string(path).with_context(|| format!("opening seccomp profile ({path}) failed"))?
        }
    };
    let runtimes = config.runtimes.iter().map(|(name, runtime)| {
        let path = find_program(&runtime.path).with_context(|| {
            format!("invalid runtime {name}: exec: {:?}: executable file not found in $PATH", runtime.path)
        })?;
        Ok((name.clone(), supervisor::protocol::ForeignRuntime { path, args: runtime.args.clone() }))
    });
    let default = &config.default_runtime;
    if default != BUILTIN && !config.runtimes.contains_key(default) {
        anyhow::bail!("invalid runtime {default}: exec: {default:?}: executable file not found in $PATH");
    }
    if config.systemd_cgroup && !std::path::Path::new("/run/systemd/system").is_dir() {
        anyhow::bail!(
            "native.cgroupdriver=systemd: systemd not running on this host, cannot use systemd cgroups manager: set native.cgroupdriver=cgroupfs"
        );
    }
    let options = container::Options {
        defaults: container::Defaults {
            ulimits: config.ulimits.values().cloned().collect(),
            cgroup_parent: config.cgroup_parent.clone(),
            systemd_cgroup: config.systemd_cgroup,
            no_new_privileges: config.no_new_privileges,
            profile: config.security_profile,
            seccomp,
        },
        shm_size: config.shm_size,
        ipc_mode: config.ipc_mode.clone(),
        cgroupns_mode: config.cgroupns_mode.clone(),
        init: config.init,
        log: api::container::LogConfig { kind: config.log_driver.clone(), config: config.log_opts.clone().into() },
        dns: config.dns.clone(),
        dns_search: config.dns_search.clone(),
        dns_options: config.dns_opts.clone(),
        host_gateway: None,
        runtimes: runtimes.collect::<Result<_>>()?,
        default_runtime: config.default_runtime.clone(),
        stop_timeout: None,
    };
    options.check()?;
    Ok(options)
}

/// Registers Docker's own runtime, which `--runtime runc` finds everywhere, if it is installed and nobody else has the name.
pub fn add_stock_runtime(config: &mut Config) {
    if !config.runtimes.contains_key(STOCK)
        && let Some(path) = find_program(STOCK)
    {
        let path = path.to_string_lossy().into_owned();
        config.runtimes.insert(STOCK.into(), RuntimeCommand { path, args: vec![] });
    }
}

fn find_program(name: &str) -> Option<std::path::PathBuf> {
    if name.contains('/') {
        return Some(name.into());
    }
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// Name of the built-in image.
pub const HELLO: &str = "hello";

/// The image `hello`, made of the program that this binary carries. Blocks.
///
/// # Errors
/// When it cannot be written.
pub fn embedded(images: &Images, program: &'static [u8]) -> image::Result<oci::Digest> {
    let files = [image::File { path: "hello", mode: 0o755, bytes: program }];
    let config = oci::image::ContainerConfig { cmd: Some(vec!["/hello".into()]), ..Default::default() };
    images.ensure_embedded(HELLO, &files, config)
}

/// This engine's own name, if it has one already.
fn engine_id(root: &Path) -> Option<String> {
    let text = std::fs::read_to_string(root.join("engine-id")).ok()?;
    Some(text.trim().to_owned()).filter(|id| !id.is_empty())
}

/// Whether the engine's own name is still what is kept of it.
pub fn check_id(root: &Path, id: &str, survey: &mut fault::Survey) {
    if engine_id(root).as_deref() != Some(id) {
        let path = root.join("engine-id");
        survey.fault(&path, "this is not the engine's identifier", || {
            write_engine_id(root, id).map(|()| "written again".to_owned())
        });
    }
}

fn write_engine_id(root: &Path, id: &str) -> Result<()> {
    let path = root.join("engine-id");
    std::fs::write(&path, format!("{id}\n")).with_context(|| format!("writing {}", path.display()))
}

/// A random identifier in the form that dockerd uses.
fn new_engine_id(root: &Path) -> Result<String> {
    let mut bytes = [0u8; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).context("reading random bytes")?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let id = format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
    write_engine_id(root, &id)?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_makes_no_cgroups_where_it_does_not_run() {
        let options = options(&Config { systemd_cgroup: true, ..Config::default() }).map(|o| o.defaults.systemd_cgroup);
        match std::path::Path::new("/run/systemd/system").exists() {
            true => assert!(options.unwrap()),
            false => assert!(
                options
                    .unwrap_err()
                    .to_string()
                    .starts_with("native.cgroupdriver=systemd: systemd not running on this host")
            ),
        }
    }
}
