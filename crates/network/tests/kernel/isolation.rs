//! Who reaches whom, and what others see of it.

use crate::world::*;
use network::{Config, Join, Networks, Protocol};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

#[test]
fn containers_reach_one_another_and_the_outside_under_the_hosts_address() {
    world(|world| {
        let networks = world.networks();
        let (a, b) = (join(&networks, 1), join(&networks, 2));
        let _server = Server::tcp(&b.netns, Ipv4Addr::UNSPECIFIED, 80);
        assert_eq!(inside(&a.netns, || tcp(b.ip, 80, PATIENCE)).as_deref(), Some("172.17.0.2"));
        assert_eq!(tcp(b.ip, 80, PATIENCE).as_deref(), Some("172.17.0.1"), "the host reaches its containers");
        let _outside = Server::tcp(&world.lan, Ipv4Addr::UNSPECIFIED, 8000);
        assert_eq!(inside(&a.netns, || tcp(NEIGHBOUR, 8000, PATIENCE)).as_deref(), Some("192.0.2.1"));
    });
}

#[test]
fn a_neighbour_reaches_nothing_that_is_not_published() {
    world(|world| {
        let networks = world.networks();
        let wants = with_ports(vec![publish(Protocol::Tcp, 80, None, Some(8080))]);
        let web = networks.join(&id(1), &wants).unwrap();
        let _published = Server::tcp(&web.netns, Ipv4Addr::UNSPECIFIED, 80);
        let _private = Server::tcp(&web.netns, Ipv4Addr::UNSPECIFIED, 81);
        let _on_bridge = Server::tcp(&world.host, web.gateway, 7000);
        inside(&world.lan, || {
            sh("ip route add 172.17.0.0/16 via 192.0.2.1");
            for (to, port) in [(web.ip, 80), (web.ip, 81), (web.gateway, 7000), (web.gateway, 8080), (HOST_LAN, 81)] {
                assert_eq!(tcp(to, port, SILENCE), None, "{to}:{port}");
            }
            assert!(tcp(HOST_LAN, 8080, PATIENCE).is_some());
        });
    });
}

#[test]
fn containers_do_not_reach_the_hosts_loopback() {
    world(|world| {
        let networks = world.networks();
        let wants = with_ports(vec![publish(Protocol::Tcp, 80, Some("127.0.0.1"), Some(8080))]);
        let web = networks.join(&id(1), &wants).unwrap();
        let _web = Server::tcp(&web.netns, Ipv4Addr::UNSPECIFIED, 80);
        let evil = join(&networks, 2);
        let _secret = Server::tcp(&world.host, Ipv4Addr::LOCALHOST, 7000);
        inside(&evil.netns, || {
            // All that root in a container with NET_ADMIN can do to send such packets.
            sh("echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet");
            sh("ip link set lo down; ip route add 127.0.0.1/32 via 172.17.0.1 src 172.17.0.3");
            for port in [7000, 8080] {
                assert_eq!(tcp(Ipv4Addr::LOCALHOST, port, SILENCE), None, "{port}");
            }
        });
        assert!(tcp(Ipv4Addr::LOCALHOST, 8080, PATIENCE).is_some());
    });
}

#[test]
fn without_icc_only_published_ports_are_reached() {
    world(|world| {
        let networks = world.open(Config { icc: false, ..Config::default() });
        let wants = with_ports(vec![publish(Protocol::Tcp, 80, None, Some(8080))]);
        let web = networks.join(&id(1), &wants).unwrap();
        let other = join(&networks, 2);
        let _server = Server::tcp(&web.netns, Ipv4Addr::UNSPECIFIED, 80);
        inside(&other.netns, || {
            assert_eq!(tcp(web.ip, 80, SILENCE), None, "directly");
            assert!(tcp(HOST_LAN, 8080, PATIENCE).is_some());
            sh(&format!("ip route add {}/32 via 172.17.0.1", web.ip));
            assert_eq!(tcp(web.ip, 80, SILENCE), None, "by the gateway");
        });
        let _outside = Server::tcp(&world.lan, Ipv4Addr::UNSPECIFIED, 8000);
        assert_eq!(inside(&other.netns, || tcp(NEIGHBOUR, 8000, PATIENCE)).as_deref(), Some("192.0.2.1"));
    });
}

#[test]
fn without_masquerade_containers_keep_their_address() {
    world(|world| {
        let networks = world.open(Config { ip_masq: false, ..Config::default() });
        let lease = join(&networks, 1);
        let _outside = Server::tcp(&world.lan, Ipv4Addr::UNSPECIFIED, 8000);
        inside(&world.lan, || sh("ip route add 172.17.0.0/16 via 192.0.2.1"));
        assert_eq!(inside(&lease.netns, || tcp(NEIGHBOUR, 8000, PATIENCE)).as_deref(), Some("172.17.0.2"));
    });
}

#[test]
fn two_engines_live_side_by_side() {
    world(|world| {
        let engine = |name: &str| {
            let config = Config { bridge: name.into(), table: name.into(), ..Config::default() };
            Networks::open(&world.run.join(name), config).unwrap()
        };
        let (one, two) = (engine("dhow0"), engine("dhow1"));
        let a = one.join(&id(1), &with_ports(vec![publish(Protocol::Tcp, 80, None, Some(8080))])).unwrap();
        let b = two.join(&id(2), &with_ports(vec![publish(Protocol::Tcp, 80, None, Some(8081))])).unwrap();
        assert_eq!((a.gateway, b.gateway), (Ipv4Addr::new(172, 17, 0, 1), Ipv4Addr::new(172, 18, 0, 1)));
        let _a = Server::tcp(&a.netns, Ipv4Addr::UNSPECIFIED, 80);
        let _b = Server::tcp(&b.netns, Ipv4Addr::UNSPECIFIED, 80);
        assert!(inside(&world.lan, || tcp(HOST_LAN, 8080, PATIENCE)).is_some());
        assert!(inside(&world.lan, || tcp(HOST_LAN, 8081, PATIENCE)).is_some());
        // Another engine's container is as foreign as a neighbour: by its published port, and not directly.
        assert!(inside(&a.netns, || tcp(HOST_LAN, 8081, PATIENCE)).is_some());
        assert_eq!(inside(&a.netns, || tcp(b.ip, 80, SILENCE)), None);
        assert_eq!(one.recover(&[]).len() + one.teardown().len(), 0);
        assert!(inside(&world.lan, || tcp(HOST_LAN, 8081, PATIENCE)).is_some());
        assert_eq!(two.recover(&[]).len() + two.teardown().len(), 0);
        drop((_a, _b));
        assert_eq!(state().2, "");
    });
}

const OTHERS: &str = "
table inet filter {
    chain forward { type filter hook forward priority filter; policy accept; ip saddr 203.0.113.7 counter drop; }
}
table ip nat {
    set allowed { type ipv4_addr; elements = { 198.51.100.1, 198.51.100.2 } }
    chain prerouting { type nat hook prerouting priority dstnat; policy accept; tcp dport 2222 dnat to 203.0.113.9:22; }
}
table bridge b {
    chain c { type filter hook forward priority 0; policy accept; }
}
";

#[test]
fn other_peoples_rules_stay_byte_for_byte() {
    world(|world| {
        std::fs::write(world.run.join("others.nft"), OTHERS).unwrap();
        sh(&format!("nft -f {}/others.nft", world.run.display()));
        let others = || ["inet filter", "ip nat", "bridge b"].map(|table| sh(&format!("nft -j list table {table}")));
        let before = others();
        let all = sh("nft -j list ruleset");
        let networks = world.networks();
        let lease = networks.join(&id(1), &with_ports(vec![publish(Protocol::Tcp, 80, None, Some(8080))])).unwrap();
        assert_eq!(others(), before);
        networks.heal().unwrap();
        assert_eq!(networks.release(&id(1)).len() + networks.teardown().len(), 0);
        drop(lease);
        assert_eq!(others(), before);
        assert_eq!(sh("nft -j list ruleset"), all);
    });
}

#[test]
fn forwarding_of_others_is_not_touched() {
    world(|world| {
        let networks = world.networks();
        let _lease = join(&networks, 1);
        // The host routes between the LAN and somebody else's network.
        let far = fresh_namespace();
        use std::os::fd::AsRawFd;
        sh(&format!(
            "ip link add far0 type veth peer name far1 netns /proc/{}/fd/{}",
            std::process::id(),
            far.as_raw_fd()
        ));
        sh("ip addr add 198.51.100.1/24 dev far0 && ip link set far0 up");
        inside(&far, || {
            sh("ip link set lo up && ip addr add 198.51.100.2/24 dev far1 && ip link set far1 up");
            sh("ip route add default via 198.51.100.1");
        });
        inside(&world.lan, || sh("ip route add 198.51.100.0/24 via 192.0.2.1"));
        let _server = Server::tcp(&far, Ipv4Addr::UNSPECIFIED, 80);
        let answer = inside(&world.lan, || tcp(Ipv4Addr::new(198, 51, 100, 2), 80, PATIENCE));
        assert_eq!(answer.as_deref(), Some("192.0.2.9"));
    });
}

#[test]
fn whoever_undoes_every_repair_keeps_nobody_busy() {
    world(|world| {
        let networks = world.networks();
        join(&networks, 1);
        let begun = Instant::now();
        for _ in 0..5 {
            eventually("the table is back", || !sh("nft list tables").is_empty());
            sh("nft delete table ip dhow");
        }
        assert!(begun.elapsed() >= Duration::from_millis(600), "{:?}", begun.elapsed());
    });
}

#[test]
fn two_engines_do_not_share_a_bridge() {
    world(|world| {
        let first = world.networks();
        join(&first, 1);
        let second = Networks::open(&world.run.join("second"), Config::default()).unwrap();
        let refused = second.join(&id(2), &Join::default()).err().unwrap().to_string();
        let wanted = format!(
            "failed to set up container networking: bridge dhow0 is used by another engine (process {}): give this one its own with --bridge",
            std::process::id()
        );
        assert_eq!(refused, wanted);
        end(first);
        second.join(&id(2), &Join::default()).unwrap();
    });
}

#[test]
fn a_flushed_ruleset_is_healed_at_once() {
    world(|world| {
        let networks = world.networks();
        let wants = with_ports(vec![publish(Protocol::Tcp, 80, None, Some(8080))]);
        let web = networks.join(&id(1), &wants).unwrap();
        let rules = sh("nft list ruleset");
        let damages = [
            "nft flush ruleset",
            "nft delete table ip dhow",
            "nft flush chain ip dhow forward",
            "nft delete element ip dhow published '{ tcp . 8080 }'",
            "nft insert rule ip dhow forward accept",
        ];
        for damage in damages {
            sh(damage);
            let healed = eventually(damage, || sh("nft list ruleset") == rules);
            assert!(healed < Duration::from_secs(1), "{damage}: {healed:?}");
        }
        let _server = Server::tcp(&web.netns, Ipv4Addr::UNSPECIFIED, 80);
        assert!(inside(&world.lan, || tcp(HOST_LAN, 8080, PATIENCE)).is_some());
        inside(&world.lan, || sh("ip route add 172.17.0.0/16 via 192.0.2.1"));
        assert_eq!(inside(&world.lan, || tcp(web.ip, 80, SILENCE)), None);
        // Joins and releases of our own are not taken for damage, and after a teardown nothing comes back.
        let other = networks.join(&id(2), &Join::default()).unwrap();
        drop(other);
        drop(_server);
        assert_eq!(networks.recover(&[]).len() + networks.teardown().len(), 0);
        sh("nft add table ip dhow && nft delete table ip dhow");
        assert_eq!(sh("nft list ruleset"), "");
    });
}
