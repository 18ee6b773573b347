//! Published ports.

use crate::world::*;
use network::{Config, Protocol, PublishedPort};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

#[test]
fn a_published_port_is_reached_from_everywhere() {
    world(|world| {
        let networks = world.networks();
        let ports = vec![publish(Protocol::Tcp, 80, None, Some(8080)), publish(Protocol::Udp, 53, None, Some(5353))];
        let web = networks.join(&id(1), &with_ports(ports)).unwrap();
        let other = join(&networks, 2);
        assert_eq!(web.sockets.len(), 2);
        let _server = Server::tcp(&web.netns, Ipv4Addr::UNSPECIFIED, 80);
        // The neighbour's own address is seen: no proxy stands between.
        assert_eq!(inside(&world.lan, || tcp(HOST_LAN, 8080, PATIENCE)).as_deref(), Some("192.0.2.9"));
        assert_eq!(tcp(Ipv4Addr::LOCALHOST, 8080, PATIENCE).as_deref(), Some("172.17.0.1"));
        assert_eq!(tcp(HOST_LAN, 8080, PATIENCE).as_deref(), Some("192.0.2.1"));
        for (from, what) in [(&other, "another container"), (&web, "itself")] {
            for to in [HOST_LAN, web.gateway] {
                let answer = inside(&from.netns, || tcp(to, 8080, PATIENCE));
                assert_eq!(answer.as_deref(), Some("172.17.0.1"), "{what} by {to}");
            }
        }
        let echo = udp_echo(&web.netns, 53, 3);
        let from = |to: Ipv4Addr| move || udp_ask(&UdpSocket::bind("0.0.0.0:0").unwrap(), to, 5353, PATIENCE);
        assert!(inside(&world.lan, from(HOST_LAN)));
        assert!(from(Ipv4Addr::LOCALHOST)());
        assert!(inside(&other.netns, from(HOST_LAN)));
        echo.join().unwrap();
        assert_eq!(networks.release(&id(1)).len(), 0);
        assert_eq!(inside(&world.lan, || tcp(HOST_LAN, 8080, SILENCE)), None);
    });
}

#[test]
fn a_port_at_one_address_is_not_at_another() {
    world(|world| {
        sh("ip addr add 192.0.2.2/24 dev lan0");
        let networks = world.networks();
        let ports = vec![
            publish(Protocol::Tcp, 80, Some("127.0.0.1"), Some(8080)),
            publish(Protocol::Tcp, 80, Some("192.0.2.2"), Some(9090)),
        ];
        let web = networks.join(&id(1), &with_ports(ports)).unwrap();
        let _server = Server::tcp(&web.netns, Ipv4Addr::UNSPECIFIED, 80);
        assert!(tcp(Ipv4Addr::LOCALHOST, 8080, PATIENCE).is_some());
        assert!(inside(&world.lan, || tcp(Ipv4Addr::new(192, 0, 2, 2), 9090, PATIENCE)).is_some());
        assert_eq!(inside(&world.lan, || tcp(HOST_LAN, 9090, SILENCE)), None);
        assert_eq!(inside(&world.lan, || tcp(HOST_LAN, 8080, SILENCE)), None);
        // A neighbour that sends to 127.0.0.1 by wire (its own kernel has to be talked into that).
        inside(&world.lan, || {
            sh("ip link set lo down; echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet");
            sh("ip route add 127.0.0.1/32 via 192.0.2.1 src 192.0.2.9");
            assert_eq!(tcp(Ipv4Addr::LOCALHOST, 8080, SILENCE), None);
        });
    });
}

#[test]
fn a_port_in_use_is_refused_in_dockers_words() {
    world(|world| {
        let networks = world.networks();
        let _bridge = join(&networks, 1);
        let before = state();
        let refused = |ports: Vec<PublishedPort>| {
            let text = networks.join(&id(2), &with_ports(ports)).unwrap_err().to_string();
            // The endpoint's id is new every time.
            let (head, rest) = text.split_once("endpoint web (").unwrap();
            let (endpoint, tail) = rest.split_once("): ").unwrap();
            assert_eq!(endpoint.len(), 64);
            assert_eq!(
                head,
                "failed to set up container networking: driver failed programming external connectivity on "
            );
            tail.to_owned()
        };
        let listener = TcpListener::bind("0.0.0.0:8080").unwrap();
        let _udp = UdpSocket::bind("127.0.0.1:5353").unwrap();
        assert_eq!(
            refused(vec![publish(Protocol::Tcp, 80, None, Some(8080))]),
            "failed to bind host port for 0.0.0.0:8080:172.17.0.3:80/tcp: address already in use"
        );
        assert_eq!(
            refused(vec![publish(Protocol::Udp, 53, Some("127.0.0.1"), Some(5353))]),
            "failed to bind host port for 127.0.0.1:5353:172.17.0.3:53/udp: address already in use"
        );
        assert_eq!(
            refused(vec![publish(Protocol::Tcp, 80, Some("203.0.113.1"), Some(8080))]),
            "failed to bind host port for 203.0.113.1:8080:172.17.0.3:80/tcp: cannot assign requested address"
        );
        assert_eq!(state(), before, "nothing is left of a refused container");
        let taken = networks.join(&id(3), &with_ports(vec![publish(Protocol::Tcp, 80, None, Some(9090))])).unwrap();
        assert_eq!(taken.ip, Ipv4Addr::new(172, 17, 0, 3));
        assert_eq!(
            refused(vec![publish(Protocol::Tcp, 80, Some("127.0.0.1"), Some(9090))]),
            "Bind for 127.0.0.1:9090 failed: port is already allocated"
        );
        // Two of its own: nothing is published when one cannot be.
        let twice = vec![publish(Protocol::Tcp, 1, None, Some(7070)), publish(Protocol::Tcp, 2, None, Some(7070))];
        assert_eq!(refused(twice), "Bind for 0.0.0.0:7070 failed: port is already allocated");
        drop(TcpListener::bind("0.0.0.0:7070").unwrap());
        assert!(TcpListener::bind("0.0.0.0:9090").is_err(), "the lease's sockets hold the port");
        drop(listener);
        let six = vec![publish(Protocol::Tcp, 80, Some("::1"), Some(8080))];
        let error = networks.join(&id(4), &with_ports(six)).unwrap_err().to_string();
        assert_eq!(error, "cannot publish a port at [::1]: the default network has no IPv6");
    });
}

#[test]
fn a_port_on_which_only_ended_connections_linger_is_free() {
    world(|world| {
        let listener = TcpListener::bind("0.0.0.0:8080").unwrap();
        let client = std::net::TcpStream::connect("127.0.0.1:8080").unwrap();
        let (server, _) = listener.accept().unwrap();
        drop((server, listener));
        drop(client);
        eventually("the connection lingers", || sh("ss -Htan state time-wait sport = :8080").contains(":8080"));
        let networks = world.networks();
        let wants = with_ports(vec![publish(Protocol::Tcp, 80, None, Some(8080))]);
        let lease = networks.join(&id(1), &wants).unwrap();
        // … and now it is held, against another engine too.
        let other = network::Networks::open(
            &world.run.join("other"),
            Config { bridge: "dhow1".into(), table: "dhow1".into(), ..Config::default() },
        )
        .unwrap();
        let error = other.join(&id(1), &wants).unwrap_err().to_string();
        assert!(error.ends_with("address already in use"), "{error}");
        drop(lease);
    });
}

#[test]
fn free_ports_are_chosen() {
    world(|world| {
        sh("echo 40000 40003 > /proc/sys/net/ipv4/ip_local_port_range");
        let networks = world.networks();
        let _taken = TcpListener::bind("0.0.0.0:40001").unwrap();
        let any = || publish(Protocol::Tcp, 80, None, None);
        let exact = publish(Protocol::Tcp, 81, None, Some(40000));
        let lease = networks.join(&id(1), &with_ports(vec![any(), any(), exact])).unwrap();
        let mut chosen: Vec<_> = lease.ports.iter().map(|p| (p.container_port, p.host_port)).collect();
        chosen.sort();
        assert_eq!(chosen, [(80, 40002), (80, 40003), (81, 40000)]);
        let error = networks.join(&id(2), &with_ports(vec![any()])).unwrap_err().to_string();
        assert!(error.ends_with("): all ports are allocated"), "{error}");
        let range = |end| PublishedPort { host_port: Some(40000), host_port_end: Some(end), ..any() };
        let error = networks.join(&id(2), &with_ports(vec![range(40003)])).unwrap_err().to_string();
        assert!(error.ends_with("Bind for 0.0.0.0:40003 failed: port is already allocated"), "{error}");
        let lease = networks.join(&id(2), &with_ports(vec![range(40005), range(40005)])).unwrap();
        assert_eq!(lease.ports.iter().map(|p| p.host_port).collect::<Vec<_>>(), [40004, 40005]);
    });
}

#[test]
fn two_thousand_ports_are_one_container() {
    world(|world| {
        let networks = world.networks();
        let ports = (0..2000).map(|n| publish(Protocol::Udp, 20000 + n, None, Some(20000 + n))).collect();
        // As many sockets: more than the usual limit of a test's process.
        let most = rustix::process::Resource::Nofile;
        let limit = rustix::process::getrlimit(most);
        rustix::process::setrlimit(most, rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum })
            .unwrap();
        let lease = networks.join(&id(1), &with_ports(ports)).unwrap();
        assert_eq!(lease.ports.len(), 2000);
        let echo = udp_echo(&lease.netns, 21999, 1);
        assert!(inside(&world.lan, || udp_ask(&UdpSocket::bind("0.0.0.0:0").unwrap(), HOST_LAN, 21999, PATIENCE)));
        echo.join().unwrap();
        assert_eq!(networks.release(&id(1)).len(), 0);
        assert!(!sh("nft list ruleset").contains("21999"));
    });
}

#[test]
fn a_udp_client_that_never_stops_reaches_who_is_there_now() {
    world(|world| {
        let networks = world.networks();
        let client = inside(&world.lan, || UdpSocket::bind("192.0.2.9:4000").unwrap());
        let ask = |patience| udp_ask(&client, HOST_LAN, 5353, patience);
        // Before anything is published the kernel already remembers the flow: to the host.
        let _first = join(&networks, 9);
        assert!(!ask(SILENCE));
        let wants = || with_ports(vec![publish(Protocol::Udp, 53, None, Some(5353))]);
        let lease = networks.join(&id(1), &wants()).unwrap();
        let echo = udp_echo(&lease.netns, 53, 1);
        assert!(ask(PATIENCE), "published while the client was sending");
        echo.join().unwrap();
        assert_eq!(networks.release(&id(1)).len(), 0);
        drop(lease);
        let _between = join(&networks, 2);
        let lease = networks.join(&id(3), &wants()).unwrap();
        let echo = udp_echo(&lease.netns, 53, 1);
        assert!(ask(PATIENCE), "another container has the port now");
        echo.join().unwrap();
    });
}
