//! A small world: a host namespace with a neighbour on a LAN.

use network::{Config, Join, Lease, Networks, Protocol, PublishedPort};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Long enough for a loaded machine, and for a dropped packet to be told from a slow one by nothing else.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long a packet that must not arrive is waited for.
pub const SILENCE: Duration = Duration::from_millis(300);

pub const HOST_LAN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);

pub struct World {
    pub run: PathBuf,
    pub host: OwnedFd,
    pub lan: OwnedFd,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.run);
    }
}

fn this_namespace() -> OwnedFd {
    OwnedFd::from(std::fs::File::open("/proc/thread-self/ns/net").unwrap())
}

/// Runs `test` in a new host namespace with a LAN neighbour; as somebody else than root it says so and does nothing.
pub fn world(test: impl FnOnce(&World) + Send) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: this test makes network namespaces and must run as root");
        return;
    }
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let run = std::env::temp_dir().join(format!("dhow-network-{}-{count}", std::process::id()));
    let lan = fresh_namespace();
    let result = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            sys::unshare(sys::clone::flags::NEWNET).unwrap();
            std::fs::create_dir_all(&run).unwrap();
            let world = World { run, host: this_namespace(), lan };
            sh("ip link set lo up");
            world.with_lan_fd(|fd| sh(&format!("ip link add lan0 type veth peer name lan1 netns {fd}")));
            sh("ip addr add 192.0.2.1/24 dev lan0 && ip link set lan0 up");
            inside(&world.lan, || sh("ip link set lo up && ip addr add 192.0.2.9/24 dev lan1 && ip link set lan1 up"));
            test(&world);
        });
        thread.join()
    });
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

pub fn fresh_namespace() -> OwnedFd {
    std::thread::spawn(|| {
        sys::unshare(sys::clone::flags::NEWNET).unwrap();
        this_namespace()
    })
    .join()
    .unwrap()
}

impl World {
    /// A path by which `ip` finds the LAN's namespace.
    fn with_lan_fd<T>(&self, f: impl FnOnce(String) -> T) -> T {
        use std::os::fd::AsRawFd;
        f(format!("/proc/{}/fd/{}", std::process::id(), self.lan.as_raw_fd()))
    }

    pub fn open(&self, config: Config) -> Networks {
        Networks::open(&self.run, config).unwrap()
    }

    pub fn networks(&self) -> Networks {
        self.open(Config::default())
    }
}

/// Runs `f` in another network namespace.
pub fn inside<T: Send>(namespace: &impl AsFd, f: impl FnOnce() -> T + Send) -> T {
    let fd: BorrowedFd = namespace.as_fd();
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            sys::setns(fd, sys::clone::flags::NEWNET).unwrap();
            f()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs a command line and returns what it printed.
pub fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-ec", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Links, but for the pair that is kept ready for the next container, and firewall, as other programs see them.
pub fn state() -> (Vec<String>, String, String) {
    let links: serde_json::Value = serde_json::from_str(&sh("ip -j link")).unwrap();
    let owned = links.as_array().unwrap().iter().filter(|link| !is_ready(link));
    let mut names: Vec<String> = owned.map(|link| link["ifname"].as_str().unwrap().to_owned()).collect();
    names.sort();
    (names, sh("ip -4 -o addr | grep -v 'inet 127' || true"), sh("nft -n list ruleset"))
}

fn is_ready(link: &serde_json::Value) -> bool {
    link["ifalias"].as_str().is_some_and(|alias| alias.starts_with("dhow:") && alias.ends_with(":ready"))
}

/// Names of the pairs that are kept ready.
pub fn ready() -> Vec<String> {
    let links: serde_json::Value = serde_json::from_str(&sh("ip -j link")).unwrap();
    let ready = links.as_array().unwrap().iter().filter(|link| is_ready(link));
    ready.map(|link| link["ifname"].as_str().unwrap().to_owned()).collect()
}

pub fn id(seed: u32) -> String {
    format!("{seed:08x}").repeat(8)
}

pub fn publish(proto: Protocol, container_port: u16, host: Option<&str>, host_port: Option<u16>) -> PublishedPort {
    let host_ip = host.map(|ip| ip.parse::<IpAddr>().unwrap());
    PublishedPort { proto, container_port, host_ip, host_port, host_port_end: None }
}

pub fn with_ports(ports: Vec<PublishedPort>) -> Join {
    Join { name: "web".into(), ports, ..Join::default() }
}

/// A TCP server in a namespace that answers every connection with the address it came from.
pub struct Server(Option<std::thread::JoinHandle<()>>, SocketAddr, OwnedFd);

impl Server {
    pub fn tcp(namespace: &impl AsFd, at: impl Into<IpAddr>, port: u16) -> Server {
        let address = SocketAddr::new(at.into(), port);
        let listener = inside(namespace, || TcpListener::bind(address).unwrap());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let peer = stream.peer_addr().unwrap();
                let _ = stream.write_all(peer.ip().to_string().as_bytes());
                let mut word = [0; 4];
                stream.set_read_timeout(Some(SILENCE)).unwrap();
                if stream.read(&mut word).is_ok_and(|n| n == 4) && &word == b"stop" {
                    return;
                }
            }
        });
        let fd = namespace.as_fd().try_clone_to_owned().unwrap();
        let own = if address.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { address.ip() };
        Server(Some(thread), SocketAddr::new(own, port), fd)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let address = self.1;
        inside(&self.2, || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"stop").unwrap();
        });
        self.0.take().unwrap().join().unwrap();
    }
}

/// What a TCP server answers; nothing when it cannot be reached.
pub fn tcp(to: impl Into<IpAddr>, port: u16, patience: Duration) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(to.into(), port), patience).ok()?;
    stream.set_read_timeout(Some(patience)).unwrap();
    let mut text = String::new();
    let mut buffer = [0; 64];
    let n = stream.read(&mut buffer).ok()?;
    text.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
    (!text.is_empty()).then_some(text)
}

/// Sends a datagram and waits for the echo.
pub fn udp_ask(socket: &UdpSocket, to: impl Into<IpAddr>, port: u16, patience: Duration) -> bool {
    socket.set_read_timeout(Some(patience)).unwrap();
    let _ = socket.send_to(b"hello", SocketAddr::new(to.into(), port));
    let mut buffer = [0; 16];
    socket.recv_from(&mut buffer).is_ok_and(|(n, _)| &buffer[..n] == b"hello")
}

/// Answers `count` datagrams on a port of a namespace.
pub fn udp_echo(namespace: &impl AsFd, port: u16, count: usize) -> std::thread::JoinHandle<()> {
    let socket = inside(namespace, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 16];
        for _ in 0..count {
            let Ok((n, from)) = socket.recv_from(&mut buffer) else { return };
            socket.send_to(&buffer[..n], from).unwrap();
        }
    })
}

/// Name of the host's end of a container's device.
pub fn veth(lease: &Lease) -> String {
    format!("veth{}", &lease.endpoint_id[..11])
}

/// Waits until something is so; fails when it never is.
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::yield_now();
    }
    start.elapsed()
}

/// Ends an engine; a thread of its own may hold it for a moment longer.
pub fn end(networks: Networks) {
    use std::os::unix::fs::MetadataExt;
    drop(networks);
    let namespace = std::fs::metadata("/proc/thread-self/ns/net").unwrap().ino();
    let claim = PathBuf::from(format!("/run/dhow-network/{namespace}-dhow"));
    eventually("the bridge is free for another engine", || !claim.exists());
}

pub fn join(networks: &Networks, seed: u32) -> Lease {
    networks.join(&id(seed), &Join::default()).unwrap()
}
