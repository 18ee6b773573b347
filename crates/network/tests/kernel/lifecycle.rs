//! Joining and giving back.

use crate::world::*;
use network::{Config, Join, Networks, Protocol};
use std::collections::HashSet;
use std::net::Ipv4Addr;

#[test]
fn a_container_gets_an_address_a_route_and_no_ipv6() {
    world(|world| {
        let networks = world.networks();
        let lease = join(&networks, 1);
        assert_eq!((lease.ip, lease.prefix), (Ipv4Addr::new(172, 17, 0, 2), 16));
        assert_eq!(lease.gateway, Ipv4Addr::new(172, 17, 0, 1));
        assert_eq!(lease.mac.to_string(), "02:42:ac:11:00:02");
        assert_eq!((lease.network_id.len(), lease.endpoint_id.len()), (64, 64));
        let addresses = inside(&lease.netns, || sh("ip -o addr show dev eth0; ip -o addr show dev lo"));
        assert!(addresses.contains("inet 172.17.0.2/16 brd 172.17.255.255 scope global eth0"), "{addresses}");
        assert!(addresses.contains("inet 127.0.0.1/8"), "{addresses}");
        assert!(!addresses.contains("fe80"), "{addresses}");
        let routes = inside(&lease.netns, || sh("ip -o route"));
        assert!(routes.contains("default via 172.17.0.1 dev eth0"), "{routes}");
        let link = inside(&lease.netns, || sh("ip -o link show eth0"));
        assert!(link.contains("02:42:ac:11:00:02") && link.contains("mtu 1500") && link.contains("LOWER_UP"), "{link}");
        let of = |name: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/eth0/{name}")).unwrap();
        assert_eq!(inside(&lease.netns, || (of("disable_ipv6"), of("accept_ra"))), ("1\n".into(), "0\n".into()));
        let host = sh("ip -o -6 addr | grep -v -e ' lo ' -e ' lan0 ' || true");
        assert_eq!(host, "");
        assert_eq!(sh("cat /proc/sys/net/ipv4/ip_forward"), "1\n");
        assert_eq!(networks.endpoint(&id(1)).as_ref(), Some(&lease.endpoint));
        assert_eq!(sh(&format!("ip link show {}", veth(&lease))).matches(&format!("dhow:dhow:{}", id(1))).count(), 1);
    });
}

#[test]
fn release_gives_everything_back() {
    world(|world| {
        let networks = world.networks();
        // The first join makes the bridge and the table, which stay until teardown.
        drop(join(&networks, 1));
        assert!(networks.release(&id(1)).is_empty());
        networks.settle();
        let before = state();
        let mut wants = with_ports(vec![
            publish(Protocol::Tcp, 80, None, Some(8080)),
            publish(Protocol::Udp, 53, None, Some(5353)),
            publish(Protocol::Sctp, 99, Some("192.0.2.1"), Some(99)),
            publish(Protocol::Tcp, 81, Some("127.0.0.1"), None),
        ]);
        wants.mac = Some("02:00:00:00:00:99".parse().unwrap());
        let lease = networks.join(&id(2), &wants).unwrap();
        assert_ne!(state(), before);
        assert!(networks.release(&id(2)).is_empty());
        let again = join(&networks, 3);
        let up = sh("ip -o link show up | grep -v 'alias dhow:dhow:ready' || true");
        assert_eq!(again.ip, lease.ip, "the lowest address is free for the next one");
        assert_eq!(up.matches("veth").count(), 1, "what remains for a moment is down by then: {up}");
        assert!(networks.release(&id(3)).is_empty());
        networks.settle();
        assert_eq!(state(), before);
        assert!(networks.release(&id(2)).is_empty(), "again is no error");
        drop(lease);
        let leases =
            std::fs::read_dir(&world.run).unwrap().filter(|e| e.as_ref().unwrap().path().extension().is_some());
        assert_eq!((leases.count(), networks.endpoint(&id(2))), (0, None));
        assert!(networks.teardown().is_empty());
        let (links, addresses, rules) = state();
        assert_eq!(links, ["lan0", "lo"].map(String::from));
        assert!(!addresses.contains("172.17"), "{addresses}");
        assert_eq!(rules, "");
    });
}

#[test]
fn the_next_ones_place_is_made_ahead() {
    world(|world| {
        let networks = world.networks();
        let _first = join(&networks, 1);
        networks.settle();
        let [ready] = ready().try_into().unwrap();
        let mut wants = with_ports(vec![publish(Protocol::Tcp, 80, None, Some(8080))]);
        wants.mac = Some("02:00:00:00:00:99".parse().unwrap());
        let lease = networks.join(&id(2), &wants).unwrap();
        assert_eq!(veth(&lease), ready);
        let link = inside(&lease.netns, || sh("ip -o link show eth0; ip -o -4 addr show dev eth0; ip route"));
        for part in ["02:00:00:00:00:99", "LOWER_UP", "172.17.0.3/16", "default via 172.17.0.1 dev eth0"] {
            assert!(link.contains(part), "{part}: {link}");
        }
        let port = sh(&format!("ip -d link show {ready}"));
        assert!(port.contains("hairpin on") && port.contains(&format!("alias dhow:dhow:{}", id(2))), "{port}");
        networks.settle();
        // The bridge under the next one is removed: it is not used, and goes.
        let [ready] = crate::world::ready().try_into().unwrap();
        sh("ip link del dhow0");
        let third = join(&networks, 3);
        assert!(sh("bridge link").contains(&format!("{}@", veth(&third))), "{ready}");
        networks.settle();
        // Recovery takes what another engine's crash has left, and no more than that.
        let [ready] = crate::world::ready().try_into().unwrap();
        end(networks);
        let networks = world.networks();
        assert!(networks.recover(&[id(1), id(2), id(3)]).is_empty());
        assert!(!state().0.contains(&ready) && state().0.contains(&veth(&third)));
        assert!(networks.teardown().is_empty());
        assert_eq!(crate::world::ready(), [] as [String; 0]);
    });
}

#[test]
fn a_container_whose_processes_are_gone_is_released_without_error() {
    world(|world| {
        let networks = world.networks();
        let lease = join(&networks, 1);
        let name = veth(&lease);
        drop(lease);
        eventually("the kernel removes the pair", || !state().0.contains(&name));
        assert!(networks.release(&id(1)).is_empty());
        assert_eq!(join(&networks, 2).ip, Ipv4Addr::new(172, 17, 0, 2));
    });
}

#[test]
fn a_failed_join_leaves_nothing() {
    world(|world| {
        let networks = world.networks();
        let _first = join(&networks, 1);
        let before = state();
        // Something else stands where the bridge was: the kernel refuses, and so does the second try.
        sh("ip link del dhow0 && ip link add dhow0 type veth peer name other");
        let wants = with_ports(vec![publish(Protocol::Tcp, 80, None, Some(8080))]);
        let error = networks.join(&id(2), &wants).unwrap_err();
        assert_eq!(error.to_string(), "the device dhow0 exists and is not a bridge");
        assert_eq!(networks.endpoint(&id(2)), None);
        sh("ip link del dhow0");
        assert!(!sh("nft list ruleset").contains("8080"));
        assert_eq!(before.0.len(), state().0.len() + 1);
        let again = networks.join(&id(3), &with_ports(vec![publish(Protocol::Tcp, 80, None, Some(8080))])).unwrap();
        assert_eq!(again.ip, Ipv4Addr::new(172, 17, 0, 3));
    });
}

#[test]
fn bad_wishes_are_refused() {
    world(|world| {
        let networks = world.networks();
        let refused = |id: &str, join: &Join| networks.join(id, join).unwrap_err().to_string();
        assert_eq!(refused("../x", &Join::default()), "invalid container id \"../x\"");
        let multicast = Join { mac: Some("01:00:00:00:00:01".parse().unwrap()), ..Join::default() };
        assert!(refused(&id(1), &multicast).starts_with("invalid MAC address 01:00:00:00:00:01"));
        let foreign = Join { ip: Some(Ipv4Addr::new(10, 0, 0, 1)), ..Join::default() };
        assert_eq!(refused(&id(1), &foreign), "invalid address 10.0.0.1: it is not one of network 172.17.0.0/16");
        let _lease = join(&networks, 1);
        assert_eq!(
            refused(&id(1), &Join::default()),
            format!("container {} is already connected to network bridge", id(1))
        );
        let taken = Join { ip: Some(Ipv4Addr::new(172, 17, 0, 2)), ..Join::default() };
        assert_eq!(refused(&id(2), &taken), "Address already in use");
    });
}

#[test]
fn a_restarted_daemon_knows_the_live_and_releases_the_dead() {
    world(|world| {
        let networks = world.networks();
        let wants = |port| with_ports(vec![publish(Protocol::Tcp, 80, None, Some(port))]);
        let alive = networks.join(&id(1), &wants(8081)).unwrap();
        let dead = networks.join(&id(2), &wants(8082)).unwrap();
        let endpoint = alive.endpoint.clone();
        let rules = sh("nft list ruleset");
        end(networks);
        // Between the two lives: someone flushes the rules, and a device remains whose lease is lost.
        sh("nft flush ruleset");
        sh("ip link add vethlost type veth peer name lost1 && ip link set vethlost alias dhow:dhow:lost");
        sh("ip link add vethother type veth peer name other1 && ip link set vethother alias dhow:other:x");
        let networks = world.networks();
        assert!(networks.recover(&[id(1)]).is_empty());
        assert_eq!(networks.endpoint(&id(1)), Some(endpoint));
        assert_eq!(networks.endpoint(&id(2)), None);
        let (links, _, now) = state();
        assert!(links.contains(&veth(&alive)), "{links:?}");
        for gone in [veth(&dead), "vethlost".into()] {
            assert!(!links.contains(&gone), "{gone}");
        }
        assert!(links.contains(&"vethother".to_owned()), "another engine's device stays");
        assert!(rules.contains("8081") && now.contains("8081") && !now.contains("8082"), "{now}");
        assert_eq!(join(&networks, 3).ip, dead.ip);
        assert_eq!(networks.recover(&[]).len(), 0);
        let (links, _, rules) = state();
        assert!(!links.contains(&veth(&alive)), "{links:?}");
        assert_eq!(rules, "");
    });
}

#[test]
fn an_unreadable_lease_is_set_aside() {
    world(|world| {
        let directory = world.run.clone();
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("abc.json"), "{").unwrap();
        std::fs::write(directory.join("abd.tmp"), "{").unwrap();
        let networks = world.networks();
        assert_eq!(join(&networks, 1).ip, Ipv4Addr::new(172, 17, 0, 2));
        assert!(directory.join("abc.corrupt").exists() && !directory.join("abd.tmp").exists());
    });
}

#[test]
fn leases_are_unique_under_eight_threads() {
    world(|world| {
        let networks = world.networks();
        let leases = std::sync::Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for thread in 0..8u32 {
                let (networks, leases) = (&networks, &leases);
                scope.spawn(move || {
                    for round in 0..12 {
                        let own = thread * 100 + round;
                        let lease =
                            networks.join(&id(own), &with_ports(vec![publish(Protocol::Tcp, 80, None, None)])).unwrap();
                        if round % 3 == 0 {
                            assert_eq!(networks.release(&id(own)).len(), 0);
                        } else {
                            leases.lock().unwrap().push(lease);
                        }
                    }
                });
            }
        });
        let leases = leases.into_inner().unwrap();
        assert_eq!(leases.len(), 64);
        assert_eq!(leases.iter().map(|l| l.ip).collect::<HashSet<_>>().len(), 64);
        assert_eq!(leases.iter().map(|l| l.ports[0].host_port).collect::<HashSet<_>>().len(), 64);
        assert_eq!(networks.default_bridge().unwrap().endpoints.len(), 64);
        assert_eq!(networks.recover(&[]).len(), 0);
        assert_eq!(networks.teardown().len(), 0);
        assert_eq!(state().0, ["lan0", "lo"].map(String::from));
    });
}

#[test]
fn a_clash_with_the_host_is_avoided_or_named() {
    world(|world| {
        sh("ip route add 172.16.0.0/13 via 192.0.2.9");
        sh("ip addr add 172.24.3.3/24 dev lan0");
        let networks = world.networks();
        assert_eq!(networks.default_bridge().unwrap().gateway, Some(Ipv4Addr::new(172, 25, 0, 1)));
        assert_eq!(join(&networks, 1).ip, Ipv4Addr::new(172, 25, 0, 2));
        assert_eq!(networks.release(&id(1)).len(), 0);
        // The bridge that is there is used as it is.
        end(networks);
        assert_eq!(join(&world.networks(), 1).ip, Ipv4Addr::new(172, 25, 0, 2));
    });
    world(|world| {
        sh("ip route add 10.1.0.0/16 via 192.0.2.9");
        let config = Config { bip: Some("10.1.2.1/24".parse().unwrap()), ..Config::default() };
        let error = world.open(config).join(&id(1), &Join::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the bridge's network 10.1.2.0/24 clashes with the route 10.1.0.0/16 dev lan0 of this host: choose another --bip"
        );
        sh("ip route add 172.16.0.0/12 via 192.0.2.9 && ip route add 192.168.0.0/16 via 192.0.2.9");
        let error = world.networks().join(&id(1), &Join::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "all predefined address pools have been fully subnetted: 172.17.0.0/16, the first, clashes with \
             the route 172.16.0.0/12 dev lan0"
        );
        assert_eq!(state().0, ["lan0", "lo"].map(String::from), "nothing was made");
    });
}

#[test]
fn the_configured_network_is_used() {
    world(|world| {
        let config = |bip: &str| Config {
            bip: Some(bip.parse().unwrap()),
            fixed_cidr: Some("10.9.0.64/26".parse().unwrap()),
            default_gateway: Some(Ipv4Addr::new(10, 9, 0, 64)),
            mtu: 1400,
            ..Config::default()
        };
        let networks = world.open(config("10.9.0.1/24"));
        let lease = join(&networks, 1);
        assert_eq!((lease.ip, lease.gateway), (Ipv4Addr::new(10, 9, 0, 65), Ipv4Addr::new(10, 9, 0, 64)));
        assert!(inside(&lease.netns, || sh("ip -o link show eth0")).contains("mtu 1400"));
        end(networks);
        // Another address of the bridge only when nobody uses the old one.
        let networks = world.open(config("10.9.0.2/24"));
        let error = networks.join(&id(2), &Join::default()).unwrap_err();
        end(networks);
        assert!(
            error.to_string().starts_with("the bridge dhow0 has the address 10.9.0.1/24 and not 10.9.0.2/24"),
            "{error}"
        );
        let networks = world.open(config("10.9.0.2/24"));
        assert_eq!(networks.recover(&[]).len(), 0);
        assert_eq!(join(&networks, 2).ip, Ipv4Addr::new(10, 9, 0, 65));
        assert!(state().1.contains("10.9.0.2/24") && !state().1.contains("10.9.0.1/24"));
    });
}

#[test]
fn a_bridge_of_somebody_else_is_used_and_left() {
    world(|world| {
        sh("ip link add br0 type bridge && ip addr add 10.7.0.1/24 dev br0 && ip link set br0 up");
        let networks = world.open(Config { bridge: "br0".into(), ..Config::default() });
        assert_eq!(join(&networks, 1).ip, Ipv4Addr::new(10, 7, 0, 2));
        assert_eq!(networks.recover(&[]).len(), 0);
        assert_eq!(networks.teardown().len(), 0);
        assert!(state().0.contains(&"br0".to_owned()));
        let error = world.open(Config { bridge: "lan0".into(), ..Config::default() }).join(&id(1), &Join::default());
        assert_eq!(error.unwrap_err().to_string(), "the device lan0 exists and is not a bridge");
    });
}

#[test]
fn a_removed_bridge_is_made_again() {
    world(|world| {
        let networks = world.networks();
        let first = join(&networks, 1);
        assert_eq!(networks.release(&id(1)).len(), 0);
        sh("ip link del dhow0");
        let again = networks.join(&id(2), &with_ports(vec![publish(Protocol::Tcp, 80, None, Some(8080))])).unwrap();
        assert_eq!(again.ip, first.ip);
        let _server = Server::tcp(&again.netns, Ipv4Addr::UNSPECIFIED, 80);
        assert_eq!(tcp(Ipv4Addr::LOCALHOST, 8080, PATIENCE).as_deref(), Some("172.17.0.1"));
    });
}

#[test]
fn without_a_network_there_is_a_loopback() {
    world(|world| {
        let networks = world.open(Config { disabled: true, ..Config::default() });
        let namespace = networks.loopback().unwrap();
        assert_eq!(inside(&namespace, || sh("ip -o link | wc -l")), "1\n");
        let _server = Server::tcp(&namespace, Ipv4Addr::LOCALHOST, 80);
        assert_eq!(inside(&namespace, || tcp(Ipv4Addr::LOCALHOST, 80, PATIENCE)).as_deref(), Some("127.0.0.1"));
        assert_eq!(
            networks.join(&id(1), &Join::default()).unwrap_err().to_string(),
            "there is no default network: the engine runs with bridge \"none\""
        );
        let names: Vec<_> = networks.list().unwrap().into_iter().map(|n| (n.name, n.driver)).collect();
        assert_eq!(names, [("host", "host"), ("none", "null")]);
        assert_eq!(state().0, ["lan0", "lo"].map(String::from));
    });
}

#[test]
fn networks_keep_their_ids() {
    world(|world| {
        let root = world.run.join("root");
        let open = |run: &str| {
            Networks::open(&world.run.join(run), Config { root: Some(root.clone()), ..Config::default() }).unwrap()
        };
        let ids = |networks: &Networks| networks.list().unwrap().into_iter().map(|n| n.id).collect::<Vec<_>>();
        let first = ids(&open("a"));
        assert_eq!((first.len(), first.iter().collect::<HashSet<_>>().len()), (3, 3));
        assert_eq!(ids(&open("b")), first);
        std::fs::write(root.join("ids"), "").unwrap();
        assert_ne!(ids(&open("b")), first);
    });
}

#[test]
fn a_container_is_back_before_its_old_device_is_gone() {
    world(|world| {
        let networks = world.networks();
        let mut last = None;
        for _ in 0..20 {
            let lease = networks.join(&id(1), &with_ports(vec![publish(Protocol::Tcp, 80, None, Some(8080))])).unwrap();
            assert_eq!(lease.ip, Ipv4Addr::new(172, 17, 0, 2));
            let _server = Server::tcp(&lease.netns, Ipv4Addr::UNSPECIFIED, 80);
            // Sooner than a lost packet would be sent again: the device carried traffic when `join` returned.
            let at_once = std::time::Duration::from_millis(900);
            assert!(inside(&world.lan, || tcp(HOST_LAN, 8080, at_once)).is_some());
            assert_eq!(networks.release(&id(1)).len(), 0);
            let port_is_free = || std::net::TcpListener::bind("0.0.0.0:8080").is_ok();
            // As when another container shares the namespace: it outlives the lease.
            last = Some(lease.netns);
            // A program that another test starts right now holds all descriptors until its exec.
            drop(lease.sockets);
            eventually("the port is free", port_is_free);
        }
        drop(last);
        networks.settle();
        let left = state().0;
        assert!(!left.iter().any(|name| name.starts_with("veth")), "{left:?}");
    });
}
