//! The handle: what is made once and then shared by all containers.

use crate::bridge::{self, Bridge};
use crate::claim::{self, Claim};
use crate::config::Config;
use crate::firewall::{self, Elements, Rules};
use crate::lease::{Endpoint, Leases, Range};
use crate::monitor::Monitor;
use crate::namespace::{self, Namespace, Netns};
use crate::netlink::nft::Transaction;
use crate::netlink::{NETFILTER, Pool, ROUTE, Socket};
use crate::place::Place;
use crate::ports::{Binding, Ephemeral};
use crate::ready::{LATER, Ready};
use crate::reaper::Reaper;
use crate::subnet::Subnet;
use crate::{Error, Result, new_id};
use fault::Survey;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The networks of one engine. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Networks(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) directory: PathBuf,
    pub(crate) ids: Ids,
    pub(crate) ipv6: bool,
    pub(crate) route: Arc<Pool>,
    pub(crate) reaper: Arc<Reaper>,
    pub(crate) leases: Mutex<Leases>,
    /// For a container without a network.
    pub(crate) namespaces: Arc<Ready<Namespace>>,
    /// For a container on the bridge.
    pub(crate) places: Arc<Ready<Place>>,
    pub(crate) ephemeral: Ephemeral,
    /// Made at the first join. The lock is held while it is made, so that it is made once.
    /// From the first join on. Taken before the others, as it may have to be waited for.
    claim: Mutex<Option<Claim>>,
    bridge: Mutex<Option<Arc<Bridge>>>,
    /// Transactions wait for one another in the kernel anyway.
    firewall: Mutex<Firewall>,
    /// By which our own changes are told from other people's.
    firewall_port: AtomicU32,
}

#[derive(Default)]
pub(crate) struct Firewall {
    socket: Option<Socket>,
    made: bool,
    loopback_routed: bool,
    monitor: Option<Monitor>,
}

/// A network as `GET /networks` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// 64 hexadecimal digits, the same for the life of the data root.
    pub id: String,
    /// `bridge`, `host`, `none`
    pub name: &'static str,
    /// `bridge`, `host`, `null`
    pub driver: &'static str,
    /// When the engine first ran.
    pub created: SystemTime,
    /// Its addresses.
    pub subnet: Option<Subnet>,
    /// The part that containers get addresses from, when it is not all.
    pub ip_range: Option<Subnet>,
    /// Where containers route to.
    pub gateway: Option<Ipv4Addr>,
    /// Docker's driver options.
    pub options: Vec<(&'static str, String)>,
    /// Who is on it: container id and place.
    pub endpoints: Vec<(String, Endpoint)>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ids {
    version: u32,
    pub(crate) bridge: String,
    pub(crate) host: String,
    pub(crate) none: String,
    /// Nanoseconds since 1970.
    created: u64,
}

impl Ids {
    /// Reads the ids, or makes them, durably: clients remember them.
    fn open(directory: &Path) -> Result<Ids> {
        let path = directory.join("ids");
        match std::fs::read(&path) {
            Ok(bytes) => match serde_json::from_slice::<Ids>(&bytes) {
                Ok(ids) if ids.version == 1 => return Ok(ids),
                Ok(ids) => {
                    return Err(Error::Corrupt(format!("{}: format {} is not known", path.display(), ids.version)));
                }
                // Ids can be made anew; losing them stops nobody.
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "network ids unreadable: set aside and made anew");
                    std::fs::rename(&path, path.with_extension("corrupt")).map_err(Error::io("rename", &path))?;
                }
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("read", &path)(error)),
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let created = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let ids = Ids { version: 1, bridge: new_id()?, host: new_id()?, none: new_id()?, created };
        let bytes = serde_json::to_vec_pretty(&ids).map_err(|e| Error::Corrupt(e.to_string()))?;
        let tmp = path.with_extension("tmp");
        let write = || {
            let mut file = std::fs::File::create(&tmp)?;
            std::io::Write::write_all(&mut file, &bytes)?;
            file.sync_all()?;
            std::fs::rename(&tmp, &path)?;
            std::fs::File::open(directory)?.sync_all()
        };
        write().map_err(Error::io("write", &path))?;
        Ok(ids)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

impl Networks {
    /// Opens the room on its run directory, `<exec root>/network`. Nothing is made in the kernel until the first join.
    pub fn open(run: &Path, config: Config) -> Result<Networks> {
        let mut survey = Survey::mending();
        let networks = Networks::open_surveyed(run, config, &mut survey)?;
        survey.faults().iter().for_each(|fault| tracing::error!("{fault}"));
        Ok(networks)
    }

    /// The same, with what is found wrong told to `survey`. One that only looks gets a room that must only be looked at.
    pub fn open_surveyed(run: &Path, config: Config, survey: &mut Survey) -> Result<Networks> {
        config.validate()?;
        let directory = run.to_owned();
        std::fs::create_dir_all(&directory).map_err(Error::io("create", &directory))?;
        let ids = match &config.root {
            None => Ids::open(&directory),
            Some(root) => {
                std::fs::create_dir_all(root).map_err(Error::io("create", root))?;
                Ids::open(root)
            }
        }?;
        let leases = Leases::load(&directory, survey)?;
        let ipv6 = Path::new("/proc/sys/net/ipv6").exists();
        let route = Arc::new(Pool::open(ROUTE)?);
        Ok(Networks(Arc::new(Inner {
            config,
            directory,
            ids,
            ipv6,
            reaper: Arc::new(Reaper::new(route.clone())),
            route,
            leases: Mutex::new(leases),
            namespaces: Ready::new(),
            places: Ready::new(),
            ephemeral: Ephemeral::new(),
            claim: Mutex::new(None),
            bridge: Mutex::new(None),
            firewall: Mutex::default(),
            firewall_port: AtomicU32::new(0),
        })))
    }

    /// The engine runs without a default network.
    pub fn disabled(&self) -> bool {
        self.0.config.disabled
    }

    /// A namespace that has a loopback and nothing else.
    pub fn loopback(&self) -> Result<Netns> {
        let ipv6 = self.0.ipv6;
        let namespace = match self.0.namespaces.take() {
            Some(ready) => ready,
            None => namespace::make(ipv6)?,
        };
        self.0.make_namespace_ready(LATER);
        Ok(namespace.outside)
    }

    /// A container is being made: what its start will need is made meanwhile, but not the bridge, which only a start makes.
    pub fn expect(&self, bridged: bool) {
        if !bridged {
            self.0.make_namespace_ready(Duration::ZERO);
        } else if self.0.bridge.try_lock().is_ok_and(|bridge| bridge.is_some()) {
            self.0.make_ready(Duration::ZERO);
        }
    }

    /// A container's place, while it has one.
    pub fn endpoint(&self, id: &str) -> Option<Endpoint> {
        self.0.leases().records.get(id).map(|record| record.endpoint.clone())
    }

    /// The default bridge: as it is, or as it will be after the first join.
    pub fn default_bridge(&self) -> Result<Network> {
        let inner = &*self.0;
        let made = lock(&inner.bridge).clone();
        let (gateway, subnet) = match made {
            Some(bridge) => (bridge.gateway, bridge.subnet),
            None => bridge::plan(&inner.route, &inner.config).map(|cidr| (cidr.address, cidr.subnet))?,
        };
        let config = &inner.config;
        let mut endpoints: Vec<_> =
            inner.leases().records.values().map(|record| (record.id.clone(), record.endpoint.clone())).collect();
        endpoints.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Network {
            id: inner.ids.bridge.clone(),
            name: "bridge",
            driver: "bridge",
            created: inner.created(),
            subnet: Some(subnet),
            ip_range: config.fixed_cidr,
            gateway: Some(config.default_gateway.unwrap_or(gateway)),
            options: vec![
                ("com.docker.network.bridge.default_bridge", "true".into()),
                ("com.docker.network.bridge.enable_icc", config.icc.to_string()),
                ("com.docker.network.bridge.enable_ip_masquerade", config.ip_masq.to_string()),
                ("com.docker.network.bridge.host_binding_ipv4", config.publish_ip.to_string()),
                ("com.docker.network.bridge.name", config.bridge.clone()),
                ("com.docker.network.driver.mtu", config.mtu.to_string()),
            ],
            endpoints,
        })
    }

    /// The id of the network of that name.
    pub fn id(&self, name: &str) -> Option<&str> {
        match name {
            "bridge" if !self.disabled() => Some(&self.0.ids.bridge),
            "host" => Some(&self.0.ids.host),
            "none" => Some(&self.0.ids.none),
            _ => None,
        }
    }

    /// Every network: bridge (unless disabled), host, none.
    pub fn list(&self) -> Result<Vec<Network>> {
        let plain = |id: &str, name, driver| Network {
            id: id.to_owned(),
            name,
            driver,
            created: self.0.created(),
            subnet: None,
            ip_range: None,
            gateway: None,
            options: Vec::new(),
            endpoints: Vec::new(),
        };
        let mut all = Vec::new();
        if !self.disabled() {
            all.push(self.default_bridge()?);
        }
        all.push(plain(&self.0.ids.host, "host", "host"));
        all.push(plain(&self.0.ids.none, "none", "null"));
        Ok(all)
    }

    /// Waits until the devices of released containers are gone from the kernel, which `release` leaves to a thread, and
    /// what is kept ready for the next container is made.
    pub fn settle(&self) {
        self.0.places.settle();
        self.0.namespaces.settle();
        self.0.reaper.settle();
    }

    /// Puts the firewall table back as it must be. The monitor calls it by itself when someone changes the table.
    pub fn heal(&self) -> Result<()> {
        let mut firewall = lock(&self.0.firewall);
        if !firewall.made {
            return Ok(());
        }
        let Some(bridge) = lock(&self.0.bridge).clone() else { return Ok(()) };
        self.0.replace_table(&mut firewall, &bridge)
    }
}

impl Inner {
    pub(crate) fn leases(&self) -> MutexGuard<'_, Leases> {
        lock(&self.leases)
    }

    fn created(&self) -> SystemTime {
        UNIX_EPOCH + std::time::Duration::from_nanos(self.ids.created)
    }

    /// Where containers on this bridge get addresses.
    pub(crate) fn range(&self, bridge: &Bridge) -> Range {
        Range {
            subnet: bridge.subnet,
            part: self.config.fixed_cidr.unwrap_or(bridge.subnet),
            reserved: [bridge.gateway, self.config.default_gateway.unwrap_or(bridge.gateway)],
        }
    }

    fn make_namespace_ready(&self, delay: Duration) {
        let ipv6 = self.ipv6;
        self.namespaces.refill(delay, move || namespace::make(ipv6).ok());
    }

    /// The bridge, and with it the table and its monitor.
    pub(crate) fn bridge(self: &Arc<Inner>) -> Result<Arc<Bridge>> {
        {
            let mut claim = lock(&self.claim);
            if claim.is_none() {
                *claim = Some(claim::claim(&self.config.table, &self.config.bridge)?);
            }
        }
        let bridge = {
            let mut place = lock(&self.bridge);
            match &*place {
                Some(bridge) => bridge.clone(),
                None => {
                    let in_use = !self.leases().records.is_empty();
                    let made = Arc::new(bridge::ensure(&self.route, &self.config, self.ipv6, in_use)?);
                    *place = Some(made.clone());
                    made
                }
            }
        };
        let mut firewall = lock(&self.firewall);
        if !firewall.made {
            self.replace_table(&mut firewall, &bridge)?;
            firewall.made = true;
            firewall.monitor = Some(Monitor::start(self)?);
        }
        Ok(bridge)
    }

    /// Forgets the bridge when the one in the kernel is another or gone; says whether it did.
    pub(crate) fn bridge_is_stale(&self, known: &Bridge) -> bool {
        let found = self.route.with(|socket| crate::netlink::route::find_link(socket, &known.name));
        if found.is_ok_and(|link| link.is_some_and(|link| link.index == known.index)) {
            return false;
        }
        *lock(&self.bridge) = None;
        let mut firewall = lock(&self.firewall);
        firewall.made = false;
        firewall.loopback_routed = false;
        true
    }

    fn commit(&self, firewall: &mut Firewall, transaction: Transaction) -> Result<()> {
        let mut socket = match firewall.socket.take() {
            Some(socket) => socket,
            None => {
                let socket = Socket::open(NETFILTER, 0)?;
                self.firewall_port.store(socket.port(), Ordering::SeqCst);
                socket
            }
        };
        transaction.commit(&mut socket)?;
        // After an error more answers may be on their way: such a socket is not used again.
        firewall.socket = Some(socket);
        Ok(())
    }

    /// Whether a change was made by this engine.
    pub(crate) fn is_own_change(&self, port: u32) -> bool {
        port == self.firewall_port.load(Ordering::SeqCst)
    }

    /// Asks the kernel what ports are open; nothing when there is no table.
    pub(crate) fn open_ports(&self) -> Result<Option<Elements>> {
        let mut socket = Socket::open(NETFILTER, 0)?;
        Ok(Elements::read(&mut socket, &self.config.table)?)
    }

    fn replace_table(&self, firewall: &mut Firewall, bridge: &Bridge) -> Result<()> {
        let mut elements = Elements::default();
        for record in self.leases().records.values() {
            elements.extend(record.endpoint.ip, &record.endpoint.ports);
        }
        if !elements.is_empty() {
            self.route_loopback(firewall, bridge)?;
        }
        let config = &self.config;
        let rules = Rules { table: &config.table, bridge, icc: config.icc, masquerade: config.ip_masq };
        self.commit(firewall, firewall::replace(&rules, &elements))
    }

    fn route_loopback(&self, firewall: &mut Firewall, bridge: &Bridge) -> Result<()> {
        if !firewall.loopback_routed {
            bridge::route_loopback(&bridge.name)?;
            firewall.loopback_routed = true;
        }
        Ok(())
    }

    /// Opens the ports of a container whose record is already among the leases.
    pub(crate) fn publish(&self, bridge: &Bridge, container: Ipv4Addr, ports: &[Binding]) -> Result<()> {
        let mut elements = Elements::default();
        elements.extend(container, ports);
        let mut firewall = lock(&self.firewall);
        self.route_loopback(&mut firewall, bridge)?;
        match self.commit(&mut firewall, firewall::add_elements(&self.config.table, &elements)) {
            Ok(()) => Ok(()),
            // The table is gone, or someone put an element there: the whole table, with these elements in it.
            Err(_) => self.replace_table(&mut firewall, bridge),
        }
    }

    /// Closes the ports of a container whose record is no longer among the leases.
    pub(crate) fn withdraw(&self, container: Ipv4Addr, ports: &[Binding]) -> Result<()> {
        let mut elements = Elements::default();
        elements.extend(container, ports);
        let mut firewall = lock(&self.firewall);
        let removed = self.commit(&mut firewall, firewall::remove_elements(&self.config.table, &elements));
        let bridge = lock(&self.bridge).clone();
        match (removed, bridge) {
            (Ok(()), _) => Ok(()),
            (Err(_), Some(bridge)) if firewall.made => self.replace_table(&mut firewall, &bridge),
            // Not made by this process: what an earlier one left is replaced with the first join, and so are they.
            (Err(Error::Kernel { source: rustix::io::Errno::NOENT, .. }), _) => Ok(()),
            (Err(error), _) => Err(error),
        }
    }

    /// Removes the table and forgets the bridge.
    pub(crate) fn unmake(&self) -> Result<()> {
        let mut claim = lock(&self.claim);
        let mut firewall = lock(&self.firewall);
        firewall.made = false;
        firewall.loopback_routed = false;
        firewall.monitor = None;
        *lock(&self.bridge) = None;
        self.commit(&mut firewall, firewall::remove(&self.config.table))?;
        *claim = None;
        Ok(())
    }
}
